"""What a board holds: its curves, runs, text, and layout."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tensorboard.plugins.custom_scalar import layout_pb2

from l2l_gail import stats
from l2l_gail.compare import compare
from l2l_gail.comparison import find
from l2l_gail.comparison.boards import PALETTE
from l2l_gail.comparison.reading import TRACES
from l2l_gail.comparison.scores import CURVES
from l2l_gail.finding_runs import OVERVIEW
from tests.comparison.support import (
    RETURN,
    STEPS,
    board,
    cifar_run,
    events,
    gail_run,
    log,
    scalar_tags,
    sections_of,
    table_cells,
    unfinished_run,
)

ROOT = Path(__file__).parents[2]


DOCS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


LOW, HIGH = "1 true return/e low end of 95% CI", "1 true return/f high end of 95% CI"


def test_every_curve_is_documented() -> None:
    for curve in (curve for curves in CURVES.values() for curve in curves):
        assert f"| `{curve.tag}` |" in DOCS, curve.tag
    documented = re.findall(r"^\| `(\d [^`]+)` \|", DOCS, flags=re.MULTILINE)
    known = {curve.tag for curves in CURVES.values() for curve in curves}
    assert {tag for tag in documented if tag[0] in "123"} == known


def test_methods_of_a_board_share_their_tags(compared: Path) -> None:
    for name, methods in (("Hopper-v5", ("gail", "l2l_gail")), ("cifar10", ("pgd", "grad_l2l"))):
        first, second = (scalar_tags(board(compared, name) / method) for method in methods)
        assert first == second
    assert {RETURN, LOW, HIGH} <= scalar_tags(board(compared, "Hopper-v5") / "gail")


def test_no_chart_is_a_single_point(compared: Path) -> None:
    for file in (compared / "comparison").rglob("events.out.tfevents.*"):
        read = events(file.parent)
        assert all(len(read.Scalars(tag)) > 1 for tag in read.Tags()["scalars"])


def test_the_return_comes_first_then_stability_then_cost(compared: Path) -> None:
    tags = sorted(scalar_tags(board(compared, "Hopper-v5") / "gail"))
    assert tags[0] == RETURN
    groups = list(dict.fromkeys(tag.split("/")[0] for tag in tags))
    assert groups == ["1 true return", "2 stability", "3 cost"]


def test_curves_hold_the_iqm_and_its_interval_by_environment_step(compared: Path) -> None:
    read = events(board(compared, "Hopper-v5") / "l2l_gail")
    series = {tag: read.Scalars(tag) for tag in (LOW, RETURN, HIGH)}
    for points in series.values():
        assert [point.step for point in points] == STEPS
    low, iqm, high = ([point.value for point in points] for points in series.values())
    assert iqm[-1] == pytest.approx(np.mean([2000, 3020, 2500]))
    for below, middle, above in zip(low, iqm, high, strict=True):
        assert below <= middle <= above
    assert low[-1] < iqm[-1] < high[-1]


def test_cost_curves_are_by_seconds_and_gradients(compared: Path) -> None:
    read = events(board(compared, "Hopper-v5") / "l2l_gail")
    seconds = [p.step for p in read.Scalars("3 cost/a true return by training seconds")]
    assert seconds == pytest.approx([25, 51, 76, 101], abs=1)  # 101 s on average
    gradients = [p.step for p in read.Scalars("3 cost/b true return by discriminator gradients")]
    # 10 updates and 10 meta-updates after each rollout of 64 x 32 steps
    assert gradients == pytest.approx([20 * step / 2048 for step in STEPS], abs=1)
    plain = events(board(compared, "Hopper-v5") / "gail")
    assert plain.Scalars("3 cost/b true return by discriminator gradients")[-1].step == 195


def test_forward_equivalents_count_all_training_images(compared: Path) -> None:
    read = events(board(compared, "cifar10") / "pgd")
    points = read.Scalars("3 cost/b PGD-20 by forward-equivalents")
    assert [point.step for point in points] == [7_000, 14_000]


def test_stability_is_told_over_time(compared: Path) -> None:
    read = events(board(compared, "Hopper-v5") / "gail")
    finals = (np.array([1000, 1500, 1200]) - 20) / 3000
    worst = read.Scalars("2 stability/a worst seed, normalised")
    assert worst[-1].value == pytest.approx(finals.min())
    spread = read.Scalars("2 stability/d spread over seeds")
    assert spread[-1].value == pytest.approx(finals.std(ddof=1), abs=1e-6)


def test_a_fall_shows_when_it_happens(tmp_path: Path) -> None:
    curve = {"steps": STEPS, "return_mean": [3020, 1520, 3020, 20], "length_mean": [1] * 4}
    gail_run(tmp_path, "gail", 0, 20, curve=curve)
    compare(tmp_path)
    read = events(board(tmp_path, "Hopper-v5") / "gail")
    falls = [point.value for point in read.Scalars("2 stability/b largest fall so far")]
    assert falls == pytest.approx([0, 0.5, 0.5, 1])


def test_one_seed_beside_several_has_no_interval_and_no_missing_tag(tmp_path: Path) -> None:
    for seed in (0, 1):
        gail_run(tmp_path, "gail", seed, 1000 + seed)
    gail_run(tmp_path, "l2l_gail", 0, 1000)
    compare(tmp_path)
    read = events(board(tmp_path, "Hopper-v5") / "l2l_gail")
    for tag in (LOW, HIGH):
        points = read.Scalars(tag)
        assert [point.step for point in points] == STEPS  # as the IQM: no complaint
        assert np.isnan([point.value for point in points]).all()


def test_where_no_method_has_an_interval_none_is_shown(compared: Path) -> None:
    tags = scalar_tags(board(compared, "synthetic") / "grad_l2l")
    assert "1 accuracy/a PGD-20, IQM over seeds" in tags
    assert not any("CI" in tag for tag in tags)
    assert chart_of(board(compared, "synthetic")).WhichOneof("content") == "multiline"


def chart_of(folder: Path) -> layout_pb2.Chart:
    stored = events(folder / OVERVIEW).Tensors("custom_scalars__config__")[0]
    (category,) = layout_pb2.Layout.FromString(stored.tensor_proto.string_val[0]).category
    (chart,) = category.chart
    return chart


@pytest.mark.parametrize("name", ["Hopper-v5", "cifar10"])
def test_every_run_has_all_tags_of_a_chart_with_a_band_or_none(compared: Path, name: str) -> None:
    series = chart_of(board(compared, name)).margin.series[0]
    wanted = {series.value, series.lower, series.upper}
    assert len(wanted) == 3
    for folder in board(compared, name).iterdir():
        assert len(wanted & scalar_tags(folder)) == (0 if folder.name == OVERVIEW else 3)


def test_reference_policies_are_level_lines(compared: Path) -> None:
    for name, level in (("expert", 3020.0), ("behaviour cloning", 520.0)):
        points = events(board(compared, "Hopper-v5") / name).Scalars(RETURN)
        assert [(point.step, point.value) for point in points] == [(0, level), (40_000, level)]


def test_runs_of_more_methods_than_colours_have_no_curves(tmp_path: Path) -> None:
    for number in range(len(PALETTE) + 1):
        gail_run(tmp_path, f"gail_v{number}", 0, 1000)
    compare(tmp_path)
    tags = scalar_tags(board(tmp_path, "Hopper-v5-runs") / "gail_v0" / "seed0")
    assert tags
    assert not any("score" not in tag for tag in tags)


def test_a_method_without_finished_runs_has_no_row(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    unfinished_run(tmp_path, "l2l_gail", 0, [1.0, 2.0])
    compare(tmp_path)
    shown = sorted(path.name for path in board(tmp_path, "Hopper-v5-runs").iterdir())
    assert shown == ["gail", OVERVIEW]


def test_methods_of_long_names_have_folders_of_their_own(tmp_path: Path) -> None:
    alike = "x" * 130
    for ending in "ab":
        gail_run(tmp_path, "gail", 0, 1000, config={"demos": alike + ending})
    compare(tmp_path)
    assert len(list(board(tmp_path, "Hopper-v5").glob("gail*"))) == 2


def test_text_tab_holds_the_tables(compared: Path) -> None:
    overview = events(board(compared, "synthetic") / OVERVIEW)
    text = overview.Tensors("comparison/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| synthetic | grad_l2l | 1 |" in text


def test_traces_of_the_players_are_shown_where_runs_logged_them(tmp_path: Path) -> None:
    for seed, level in ((0, 0.2), (1, 0.4)):
        folder = gail_run(tmp_path, "gail", seed, 1000)
        log(folder, {"disc/entropy": [level] * 4, "disc/accuracy_expert": [0.9] * 4})
    compare(tmp_path)
    read = events(board(tmp_path, "Hopper-v5") / "gail")
    name = TRACES["gail"]["disc/entropy"]
    points = read.Scalars(f"4 players/{name}")
    assert [(p.step, p.value) for p in points] == [(x, pytest.approx(0.3)) for x in STEPS]
    images = events(board(tmp_path, "Hopper-v5") / OVERVIEW).Tags()["images"]
    assert f"6 players (pictures)/c {name}" in images


def test_the_board_s_interval_is_the_stratified_bootstrap(compared: Path) -> None:
    read = events(board(compared, "Hopper-v5") / "gail")
    low, high = stats.bootstrap_interval([[1000, 1500, 1200]], resamples=2000)
    assert read.Scalars(LOW)[-1].value == pytest.approx(low)
    assert read.Scalars(HIGH)[-1].value == pytest.approx(high)


def test_the_standing_measure_is_shown_where_runs_have_it(tmp_path: Path) -> None:
    folder = cifar_run(tmp_path, "cifar10", "pgd", 0, 0.3)
    summary = find(tmp_path).finished[0].summary
    curve = summary["curve"] | {"robust": [0.1, 0.25]}
    folder.write_summary(**(summary | {"robust": 0.25, "curve": curve}))
    compare(tmp_path)
    points = events(board(tmp_path, "cifar10") / "pgd").Scalars(
        "1 accuracy/f robust, IQM over seeds"
    )
    assert [point.value for point in points] == pytest.approx([0.1, 0.25])
    images = events(board(tmp_path, "cifar10") / OVERVIEW).Tags()["images"]
    assert "5 scores (pictures)/b robust accuracy (%)" in images
    cells = table_cells(tmp_path, "cifar10")["pgd"]
    assert cells["robust % [95% CI]"] == "25.0 (1 seed, no interval)"


def test_gradients_are_counted_from_what_a_run_recorded(tmp_path: Path) -> None:
    plain = {"meta_every": None, "learning_rate": 1.0}
    gail_run(tmp_path, "gail", 0, 1000, config=plain)
    gail_run(tmp_path, "own", 0, 1000, config={"meta_learning_rate": 0.01, "meta_every": 5})
    gail_run(tmp_path, "told", 0, 1000, discriminator_gradients=400)
    gail_run(tmp_path, "l2l_gail", 0, 1000, config=plain | {"credit_memory": 0.9})
    rollout = 64 * 32
    efforts = {m.method: m.effort_per_x for m in sections_of(tmp_path)["Hopper-v5"].methods}
    assert efforts == {
        "gail": 10 / rollout,
        "l2l_gail": 10 / rollout,  # which learns credit, and no rule
        "own": 12 / rollout,
        "told": 400 / STEPS[-1],
    }


def test_rule_and_tracking_have_headings_of_their_own(tmp_path: Path) -> None:
    folder = gail_run(tmp_path, "l2l_gail", 0, 1000, state_w1=0.25)
    shown = {
        "rule/gain": "4 rule/a gain over its base",
        "rule/cosine_base": "4 rule/g cosine with its base's step",
        "rule/tracking_loss": "4 tracking/b loss, fresh rollout",
        "eval/state_w1": "4 players/policy: distance of states (W1)",
    }
    log(folder, {tag: [0.5] * 4 for tag in shown})
    compare(tmp_path)
    tags = events(board(tmp_path, "Hopper-v5") / "l2l_gail").Tags()["scalars"]
    assert {tag for tag in tags if tag.startswith("4 ")} == set(shown.values())
    images = events(board(tmp_path, "Hopper-v5") / OVERVIEW).Tags()["images"]
    assert "5 scores (pictures)/e distance of states to the expert's (W1)" in images
