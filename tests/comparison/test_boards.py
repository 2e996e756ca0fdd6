from __future__ import annotations

import io
import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from l2l_gail import stats
from l2l_gail.compare import compare
from l2l_gail.comparison import boards_of, find
from l2l_gail.comparison.boards import OVERVIEW, PALETTE, REFERENCES
from l2l_gail.comparison.distributions import draw_profiles, profile
from l2l_gail.comparison.figures import board_figures, score_figures
from l2l_gail.comparison.hparams import hyperparameters
from l2l_gail.comparison.media import adversarial_pictures, median_run
from l2l_gail.comparison.reading import TRACES
from l2l_gail.comparison.scores import CURVES
from tests.comparison.support import (
    STEPS,
    cifar_run,
    events,
    gail_run,
    log,
    sections_of,
    table_cells,
    unfinished_run,
)

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
RETURN = "1 true return/a IQM over seeds"
LOW, HIGH = "1 true return/e low end of 95% CI", "1 true return/f high end of 95% CI"


def board(root: Path, name: str) -> Path:
    return root / "comparison" / name


def scalar_tags(folder: Path) -> set[str]:
    return set(events(folder).Tags()["scalars"])


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


def hparams_of(folder: Path) -> tuple[dict[str, float | str], dict[str, float]]:
    """Settings and metrics of a row of the HParams tab."""
    read = events(folder)

    def stored(tag: str) -> plugin_data_pb2.HParamsPluginData:
        content = read.summary_metadata[f"_hparams_/{tag}"].plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(content)

    values = stored("session_start_info").session_start_info.hparams
    settings = {key: value.string_value or value.number_value for key, value in values.items()}
    wanted = [info.name.tag for info in stored("experiment").experiment.metric_infos]
    return settings, {tag: read.Scalars(tag)[-1].value for tag in wanted}


def test_a_setting_too_large_for_a_number_is_a_word() -> None:
    method = SimpleNamespace(method="gail", runs=[0], settings={"rate": 10**400, "size": 3})
    found = hyperparameters([method])  # type: ignore[list-item]
    assert found["gail"]["~ rate, same for all"] == str(10**400)
    assert found["gail"]["~ size, same for all"] == 3.0


def test_what_tells_methods_apart_comes_first_in_hparams() -> None:
    shared = {"batch_size": 256, "action_samples": 8}
    methods = [
        SimpleNamespace(method="gail", runs=(1,), settings={**shared, "update_rule": "muon"}),
        SimpleNamespace(
            method="l2l_gail", runs=(1,),
            settings={**shared, "action_samples": 4, "learned": "both", "learned_rule": "m"},
        ),
    ]  # fmt: skip
    found = hyperparameters(methods)  # type: ignore[arg-type]
    assert sorted(found["gail"])[:5] == [
        "1 method", "1 seeds", "2 learned", "2 learned_rule", "2 update_rule",
    ]  # fmt: skip
    assert found["gail"]["2 learned"] == "-"
    assert "~ batch_size, same for all" in found["gail"]


def test_hparams_have_a_row_a_method_with_the_same_keys_and_filled_metrics(compared: Path) -> None:
    keys, metrics = [], []
    for method in ("gail", "l2l_gail"):
        settings, measured = hparams_of(board(compared, "Hopper-v5") / method)
        keys.append(set(settings))
        metrics.append(list(measured))
        assert settings["1 method"] == method
        assert settings["1 seeds"] == 3
    assert keys[0] == keys[1]
    assert "~ learning_rate, same for all" in keys[0]
    assert not any("epochs" in key for key in keys[0])  # of the other game
    assert metrics[0] == metrics[1]
    assert RETURN in metrics[0]


def test_hparams_have_the_same_keys_on_all_boards_of_a_game(tmp_path: Path) -> None:
    for i in range(8):
        own = {"attack": f"a{i}"} if i == 7 else {}
        gail_run(tmp_path, f"method{i}", 0, 1000.0 + i, config={"learning_rate": i + 1.0, **own})
    compare(tmp_path)
    first, second = boards_of(sections_of(tmp_path)["Hopper-v5"])
    keys = [
        set(hparams_of(board(tmp_path, shown.name) / method.method)[0])
        for shown in (first, second)
        for method in shown.methods
    ]
    assert len(keys) == 8
    assert all(each == keys[0] for each in keys)
    assert "attack" in keys[0]


def test_hparams_of_single_runs_have_a_row_a_run_with_the_same_keys_and_filled_metrics(
    compared: Path,
) -> None:
    rows = {
        file.parent.relative_to(board(compared, "Hopper-v5-runs")).as_posix(): file.parent
        for file in board(compared, "Hopper-v5-runs").rglob("events.out.tfevents.*")
    }
    folder = rows.pop(OVERVIEW)
    assert "HParams" in str(events(folder).Tensors("runs/text_summary")[0].tensor_proto)
    assert set(rows) == {f"{m}/seed{k}" for m in ("gail", "l2l_gail") for k in range(3)}
    found = {name: hparams_of(folder) for name, folder in rows.items()}
    first_settings, first_scores = found["gail/seed0"]
    for name, (settings, scores) in found.items():
        assert settings.keys() == first_settings.keys()
        assert scores.keys() == first_scores.keys()
        assert name == f"{settings['1 method']}/seed{settings['1 seed']:.0f}"
        assert settings["steps"] == STEPS[-1]
    finals = {
        name: scores["2 scores/a true return of the last policy"]
        for name, (_, scores) in found.items()
    }
    assert finals["gail/seed1"] == 1500
    assert finals["l2l_gail/seed1"] == 3020
    curve = events(rows["l2l_gail/seed1"]).Scalars("1 true return/a true return")
    assert [(p.step, p.value) for p in curve] == list(
        zip(STEPS, [755, 1510, 2265, 3020], strict=True)
    )


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


def test_images_tab_holds_readable_pictures(compared: Path) -> None:
    overview = events(board(compared, "Hopper-v5") / OVERVIEW)
    tags = overview.Tags()["images"]
    for wanted in ("true return with 95% CI", "by training seconds", "by discriminator gradients"):
        assert any(wanted in tag for tag in tags), wanted
    assert any("performance profile" in tag for tag in tags)
    for tag in tags:
        picture = overview.Images(tag)[0]
        with Image.open(io.BytesIO(picture.encoded_image_string)) as image:
            assert abs(image.width - picture.width) <= 1
            assert abs(image.height - picture.height) <= 1
            assert 600 < image.width < 1000  # twice a card's width


def test_colours_are_tensorboard_s_in_the_order_of_the_runs(compared: Path) -> None:
    (one,) = boards_of(sections_of(compared)["Hopper-v5"])
    starts = {
        folder.name: events(folder).FirstEventTimestamp()
        for folder in board(compared, "Hopper-v5").iterdir()
    }
    order = sorted(starts, key=starts.__getitem__)
    assert order == ["expert", "behaviour cloning", "gail", "l2l_gail", OVERVIEW]
    assert one.colours == dict(zip(order[:-1], PALETTE, strict=False))


def test_no_two_runs_of_a_board_share_a_colour_however_many_methods(tmp_path: Path) -> None:
    for number in range(11):
        gail_run(tmp_path, f"gail_v{number}", 0, 1000)
    section = sections_of(tmp_path)["Hopper-v5"]
    boards = boards_of(section)
    assert [one.name for one in boards] == [f"Hopper-v5-{k}of3" for k in (1, 2, 3)]
    shown = [method.method for one in boards for method in one.methods]
    assert sorted(shown) == sorted(method.method for method in section.methods)
    for one in boards:
        runs = len(REFERENCES) + len(one.methods) + 1
        assert runs <= len(PALETTE)
        assert len(set(one.colours.values())) == len(one.colours) == runs - 1


def test_variants_are_dealt_so_that_methods_stand_side_by_side(tmp_path: Path) -> None:
    for rate in (0.1, 0.2, 0.3):
        for method in ("gail", "l2l_gail"):
            gail_run(tmp_path, method, 0, 1000, config={"learning_rate": rate})
    first, _ = boards_of(sections_of(tmp_path)["Hopper-v5"])
    names = ["gail (learning_rate=0.1)", "l2l_gail (learning_rate=0.1)"]
    assert [method.method for method in first.methods][:2] == names


def test_pictures_have_the_colours_of_the_board(compared: Path) -> None:
    (one,) = boards_of(sections_of(compared)["Hopper-v5"])
    axes = board_figures(one)["1 true return/b true return with 95% CI (picture)"].axes[0]
    drawn = {line.get_label().split(" (")[0]: line.get_color() for line in axes.lines}
    for name, colour in one.colours.items():
        assert drawn[name] == colour
    assert len(axes.collections) == 2  # a band for each method


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


def test_the_median_run_stands_for_its_method(tmp_path: Path) -> None:
    for seed, final in enumerate((3000, 1000, 2000, 500)):
        gail_run(tmp_path, "gail", seed, final)
    (method,) = sections_of(tmp_path)["Hopper-v5"].methods
    assert median_run(method).folder.seed == 1  # the lower one of two


def test_adversarial_images_come_with_classes_where_their_run_noted_them(runs: Path) -> None:
    section = sections_of(runs)["cifar10"]
    (one,) = boards_of(section)
    noted = median_run(one.methods[0]).folder.path
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, size=(6, 32, 32, 3), dtype=np.uint8)
    np.savez(
        noted / "adversarial.npz",
        clean=images,
        perturbed=255 - images,
        labels=[0, 1, 2, 0, 1, 2],
        before=[0, 1, 2, 0, 1, 2],
        after=[1, 1, 2, 0, 2, 2],
        classes=["plane", "car", "bird"],
    )
    plain = median_run(one.methods[1]).folder.path
    Image.fromarray(images[0]).save(plain / "adversarial.png")
    (with_classes, without), notes = adversarial_pictures(one)
    assert notes == []
    assert with_classes.tag.endswith(one.methods[0].method)
    assert with_classes.size[0] > 600
    assert without.size == (32, 32)
    (noted / "adversarial.npz").write_bytes(b"PK damaged")
    left, (note,) = adversarial_pictures(one)
    assert [picture.tag for picture in left] == [without.tag]
    assert "adversarial.npz is damaged" in note


def test_a_long_name_over_adversarial_images_is_not_cut(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 8, 3), np.uint8)
    classes = {key: [0, 1, 2, 0] for key in ("labels", "before", "after")}
    cifar_run(
        tmp_path, "cifar10", "grad_l2l+" + "+".join(f"setting_{k}=10" for k in range(9)), 0, 0.2
    )
    (one,) = boards_of(sections_of(tmp_path)["cifar10"])
    path = median_run(one.methods[0]).folder.path / "adversarial.npz"
    np.savez(path, clean=images, perturbed=images, classes=["a", "b", "c"], **classes)
    ((picture,), _) = adversarial_pictures(one)
    with Image.open(io.BytesIO(picture.data)) as image:
        drawn = np.asarray(image.convert("L"))
    assert drawn[:, [0, -1]].min() == 255
    assert drawn[0].min() == 255


def test_a_profile_is_the_share_of_runs_above() -> None:
    shares = profile([0.2, 0.4, 0.4, 1.0], np.array([0.0, 0.2, 0.3, 0.4, 0.9, 1.0]))
    assert shares.tolist() == [1.0, 0.75, 0.75, 0.25, 0.25, 0.0]
    assert all(before >= after for before, after in pairwise(shares))


def test_the_board_s_interval_is_the_stratified_bootstrap(compared: Path) -> None:
    read = events(board(compared, "Hopper-v5") / "gail")
    low, high = stats.bootstrap_interval([[1000, 1500, 1200]], resamples=2000)
    assert read.Scalars(LOW)[-1].value == pytest.approx(low)
    assert read.Scalars(HIGH)[-1].value == pytest.approx(high)


def test_training_notes_the_classes_of_its_adversarial_images(tmp_path: Path) -> None:
    from adv_training.data import ImageBatch
    from adv_training.labelled import save_labelled

    class BrightIsOne(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = x.mean((1, 2, 3)) > 0.5
            return torch.stack([~bright, bright], 1).float()

    dark, bright = torch.full((1, 3, 4, 4), 0.2), torch.full((1, 3, 4, 4), 0.8)
    clean = ImageBatch(torch.cat([dark, bright]), torch.tensor([0, 0]))
    save_labelled(tmp_path, BrightIsOne(), clean, clean.x.flip(0), data="own", classes=2)
    with np.load(tmp_path / "adversarial.npz") as file:
        assert file["before"].tolist() == [0, 1]
        assert file["after"].tolist() == [1, 0]
        assert file["labels"].tolist() == [0, 0]
        assert file["clean"][0, 0, 0].tolist() == [51, 51, 51]
        assert file["perturbed"].shape == (2, 4, 4, 3)
        assert file["classes"].tolist() == ["0", "1"]


def test_pictures_set_only_runs_of_one_length_against_each_other(tmp_path: Path) -> None:
    for seed in (0, 1):
        gail_run(tmp_path, "gail", seed, 1000, steps=8000)
        gail_run(tmp_path, "l2l_gail", seed, 2000)
    boards = boards_of(sections_of(tmp_path)["Hopper-v5"])
    drawn = {
        tag: [label.get_text() for label in figure.axes[0].get_yticklabels()]
        for tag, figure in score_figures(boards).items()
    }
    areas = {tag.split(", ")[1]: rows for tag, rows in drawn.items() if "area" in tag}
    assert areas == {"runs of 40,000 steps": ["l2l_gail"], "runs of 8,000 steps": ["gail"]}
    assert sorted(draw_profiles(boards[0])) == [", runs of 40,000 steps", ", runs of 8,000 steps"]


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
