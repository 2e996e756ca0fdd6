from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from l2l_gail import stats
from l2l_gail.compare import compare, main
from l2l_gail.comparison import Curve, collect, draw_figure, section_tables
from l2l_gail.errors import InputError
from l2l_gail.runs import RunFolder, find_runs

STEPS = [10_000, 20_000, 30_000, 40_000]


def gail_run(out: Path, method: str, seed: int, final: float, **changes: Any) -> RunFolder:
    folder = RunFolder.create(out, changes.get("env", "Hopper-v5"), method, seed)
    folder.write_config({"learning_rate": 3e-4, "seed": seed, "rule": {"hidden": 16}})
    returns = [0.25 * final, 0.5 * final, 0.75 * final, final]
    summary = {
        "kind": "gail",
        "method": method,
        "env": "Hopper-v5",
        "seed": seed,
        "steps": 40_000,
        "eval_returns": [final - 10, final + 10],
        "eval_lengths": [500, 700],
        "expert_return": 3020.0,
        "bc_return": 520.0,
        "random_return": 20.0,
        "wall_s": 100.0 + seed,
        "cpu_s": 90.0,
        "curve": {"steps": STEPS, "return_mean": returns, "length_mean": [100, 200, 300, 600]},
    }
    folder.write_summary(**(summary | changes))
    return folder


def cifar_run(out: Path, data: str, method: str, seed: int, pgd20: float) -> RunFolder:
    folder = RunFolder.create(out, data, method, seed)
    folder.write_config({"epochs": 2, "seed": seed})
    folder.write_summary(
        kind="cifar",
        method=method,
        data=data,
        seed=seed,
        epochs=2,
        clean=0.5,
        pgd20=pgd20,
        forward_equivalents=7.0,
        wall_s=300.0,
        cpu_s=500.0,
        curve={"epochs": [1, 2], "clean": [0.4, 0.5], "pgd20": [0.2, pgd20]},
    )
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Both games: three seeds on Hopper, two on CIFAR-10, one on generated images."""
    root = tmp_path / "runs"
    for seed, (plain, learned) in enumerate([(1000, 2000), (1500, 3020), (1200, 2500)]):
        gail_run(root, "gail", seed, plain)
        gail_run(root, "l2l_gail", seed, learned)
    for seed in (0, 1):
        cifar_run(root, "cifar10", "pgd", seed, 0.28 + 0.02 * seed)
        cifar_run(root, "cifar10", "grad_l2l", seed, 0.30 + 0.02 * seed)
    cifar_run(root, "synthetic", "grad_l2l", 0, 0.33)
    return root


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def scalar_tags(folder: Path, group: str) -> set[str]:
    return {tag for tag in events(folder).Tags()["scalars"] if tag.startswith(f"{group}/")}


def table_cells(runs: Path, group: str) -> dict[str, dict[str, str]]:
    section = next(one for one in collect(find_runs(runs)) if one.group == group)
    table = section_tables(section)[0]
    name = table.header.index("method")
    return {row[name]: dict(zip(table.header, row, strict=True)) for row in table.rows}


def test_methods_of_a_group_share_their_tags(runs: Path) -> None:
    compare(runs)
    digest = runs / "comparison"
    for group, methods in {
        "Hopper-v5": ("gail", "l2l_gail"),
        "cifar10": ("pgd", "grad_l2l"),
    }.items():
        first, second = (scalar_tags(digest / method, group) for method in methods)
        assert first == second
    assert "Hopper-v5/return/iqm" in scalar_tags(digest / "gail", "Hopper-v5")
    assert "cifar10/pgd20/ci_low" in scalar_tags(digest / "pgd", "cifar10")


def test_curves_hold_the_iqm_and_its_interval_by_environment_step(runs: Path) -> None:
    compare(runs)
    digest = events(runs / "comparison" / "l2l_gail")
    series = {
        part: digest.Scalars(f"Hopper-v5/return/{part}") for part in ("iqm", "ci_low", "ci_high")
    }
    for points in series.values():
        assert [point.step for point in points] == STEPS
    iqm, low, high = ([point.value for point in points] for points in series.values())
    assert iqm[-1] == pytest.approx(np.mean([2000, 3020, 2500]))
    for below, middle, above in zip(low, iqm, high, strict=True):
        assert below <= middle <= above
    assert low[-1] < iqm[-1] < high[-1]


def test_one_seed_has_no_interval_anywhere(runs: Path) -> None:
    compare(runs)
    tags = scalar_tags(runs / "comparison" / "grad_l2l", "synthetic")
    assert "synthetic/pgd20/iqm" in tags
    assert not any(tag.endswith(("ci_low", "ci_high")) for tag in tags)
    cells = table_cells(runs, "synthetic")["grad_l2l"]
    assert cells["PGD-20 % [95% CI]"] == "33.0 (1 seed, no interval)"
    synthetic = [one for one in collect(find_runs(runs)) if one.group == "synthetic"]
    axes = draw_figure(synthetic).axes[1]
    assert not axes.collections  # no band
    assert "1 seed, no interval" in (runs / "comparison" / "summary.md").read_text()


def test_layout_has_a_chart_with_all_methods_and_a_band(runs: Path) -> None:
    compare(runs)
    overview = events(runs / "comparison")
    stored = overview.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    layout = layout_pb2.Layout.FromString(stored)
    categories = {category.title: category for category in layout.category}
    assert set(categories) == {"Hopper-v5", "cifar10", "synthetic"}
    margins = [
        chart.margin.series[0]
        for chart in categories["Hopper-v5"].chart
        if chart.WhichOneof("content") == "margin"
    ]
    tags = scalar_tags(runs / "comparison" / "gail", "Hopper-v5")
    for series in margins:
        assert {series.value, series.lower, series.upper} <= tags
    assert [series.value for series in margins] == ["Hopper-v5/return/iqm", "Hopper-v5/length/iqm"]
    kinds = {chart.WhichOneof("content") for chart in categories["synthetic"].chart}
    assert kinds == {"multiline"}  # a single seed has no band
    assert all("synthetic" in chart.title for chart in categories["synthetic"].chart)


def test_hparams_have_the_same_keys_in_every_run(runs: Path) -> None:
    compare(runs)
    keys, metrics = [], []
    for method in ("gail", "l2l_gail", "pgd", "grad_l2l"):
        content = events(runs / "comparison" / method).summary_metadata
        start = plugin_data_pb2.HParamsPluginData.FromString(
            content["_hparams_/session_start_info"].plugin_data.content
        )
        experiment = plugin_data_pb2.HParamsPluginData.FromString(
            content["_hparams_/experiment"].plugin_data.content
        )
        keys.append(set(start.session_start_info.hparams))
        metrics.append([info.name.tag for info in experiment.experiment.metric_infos])
        assert start.session_start_info.hparams["method"].string_value == method
    assert keys == [{"method", "learning_rate", "rule.hidden", "epochs"}] * 4
    assert metrics == [metrics[0]] * 4
    assert {"Hopper-v5/final/return", "cifar10/final/pgd20"} <= set(metrics[0])


def test_text_tab_and_images_tab_are_filled(runs: Path) -> None:
    compare(runs)
    overview = events(runs / "comparison")
    text = overview.Tensors("synthetic/table/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| synthetic | grad_l2l | 1 |" in text
    assert overview.Images("comparison")[0].width > 500


def test_reference_policies_are_level_lines(runs: Path) -> None:
    compare(runs)
    points = events(runs / "comparison" / "baselines" / "expert").Scalars("Hopper-v5/return/iqm")
    assert [(point.step, point.value) for point in points] == [(0, 3020.0), (40_000, 3020.0)]
    cloning = table_cells(runs, "Hopper-v5")["behaviour cloning"]
    assert cloning["final return IQM [95% CI]"] == "520"
    assert cloning["normalised return"] == "0.17"


def test_gail_table_shows_the_last_policy_and_its_cost(runs: Path) -> None:
    cells = table_cells(runs, "Hopper-v5")["l2l_gail"]
    finals = [2000.0, 3020.0, 2500.0]
    low, high = stats.bootstrap_interval([finals])
    assert cells["final return IQM [95% CI]"] == f"{np.mean(finals):.0f} [{low:.0f}, {high:.0f}]"
    assert cells["normalised return"] == f"{(np.mean(finals) - 20) / 3000:.2f}"
    assert cells["seeds"] == "3"
    assert cells["steps"] == "40000"
    assert cells["episode length"] == "600"
    assert cells["wall s"] == "101"
    curve = np.array([0.25, 0.5, 0.75, 1.0])
    tails = [np.std((final * curve - 20) / 3000) for final in finals]
    assert cells["tail std"] == f"{np.mean(tails):.3f}"


def test_stability_comes_with_intervals_over_seeds(runs: Path) -> None:
    sections = {one.group: one for one in collect(find_runs(runs))}
    table = section_tables(sections["Hopper-v5"])[1]
    cells = dict(zip(table.header, table.rows[1], strict=True))
    curve = np.array([0.25, 0.5, 0.75, 1.0])
    areas = []
    for final in (2000.0, 3020.0, 2500.0):
        scaled = (final * curve - 20) / 3000
        areas.append(np.mean((scaled[1:] + scaled[:-1]) / 2))  # the grid is even
    low, high = stats.bootstrap_interval([areas])
    assert cells["method"] == "l2l_gail"
    value, interval = cells["area under curve [95% CI]"].rstrip("]").split(" [")
    shown = [float(number) for number in (value, *interval.split(", "))]
    assert shown == pytest.approx([np.mean(areas), low, high], abs=6e-4)
    assert cells["tail std [95% CI]"].count("[") == 1


def test_a_method_of_one_seed_does_not_hide_the_others_odds(runs: Path) -> None:
    gail_run(runs, "no_demos", 0, 900)
    sections = {one.group: one for one in collect(find_runs(runs))}
    tables = section_tables(sections["Hopper-v5"])
    assert tables[-1].header == ("", "gail", "l2l_gail")
    alone = dict(zip(tables[1].header, tables[1].rows[-1], strict=True))
    assert alone["method"] == "no_demos"
    assert "[" not in alone["area under curve [95% CI]"]


def test_cifar_table_is_in_percent(runs: Path) -> None:
    cells = table_cells(runs, "cifar10")["grad_l2l"]
    assert cells["clean % [95% CI]"] == "50.0 [50.0, 50.0]"
    assert cells["PGD-20 % [95% CI]"] == "31.0 [30.0, 32.0]"
    assert cells["forward-equivalents"] == "7.0"


def test_improvement_is_told_for_several_seeds_only(runs: Path) -> None:
    sections = {one.group: one for one in collect(find_runs(runs))}
    for improvement in section_tables(sections["Hopper-v5"])[-2:]:
        assert improvement.rows == (("gail", "-", "0.00"), ("l2l_gail", "1.00", "-"))
    assert len(section_tables(sections["synthetic"])) == 1


def test_summary_and_picture_are_written(runs: Path, capsys) -> None:
    main([str(runs)])
    text = (runs / "comparison" / "summary.md").read_text()
    for heading in ("## Hopper-v5", "## cifar10", "## synthetic (generated images, not CIFAR)"):
        assert heading in text
    assert (runs / "comparison" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "l2l_gail" in printed
    assert f"tensorboard --logdir {runs / 'comparison'}" in printed


def test_figure_draws_each_method_by_its_own_axis(runs: Path) -> None:
    figure = draw_figure(collect(find_runs(runs)))
    assert isinstance(figure, Figure)
    returns, _, clean, pgd20, *_ = figure.axes
    assert returns.get_xlabel() == "environment steps"
    assert clean.get_xlabel() == "epochs"
    lines = {line.get_label(): line for line in returns.lines}
    np.testing.assert_allclose(
        lines["gail (3 seeds)"].get_ydata(),
        np.array([1, 2, 3, 4]) * np.mean([1000, 1500, 1200]) / 4,
    )
    assert {"expert", "behaviour cloning", "random"} <= set(lines)
    assert lines["gail (3 seeds)"].get_color() != lines["l2l_gail (3 seeds)"].get_color()
    percent = pgd20.lines[0].get_ydata()
    assert percent[-1] == pytest.approx(31)
    assert all("synthetic" in axes.get_title() for axes in figure.axes[-2:])


def test_a_second_comparison_replaces_its_own_files_only(runs: Path) -> None:
    compare(runs)
    notes = runs / "comparison" / "notes.txt"
    notes.write_text("mine")
    other = runs / "comparison" / "gail" / "events.out.tfevents.1.of_the_user"
    other.write_text("mine too")
    before = {path: path.read_bytes() for path in runs.rglob("seed*/*")}
    compare(runs)
    assert notes.read_text() == "mine"
    assert other.read_text() == "mine too"
    assert {path: path.read_bytes() for path in runs.rglob("seed*/*")} == before
    for method in ("gail", "l2l_gail"):
        own = list((runs / "comparison" / method).glob("events.*.l2l_gail"))
        assert len(own) == 1


def test_the_newest_run_of_a_seed_counts(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    gail_run(tmp_path, "gail", 0, 2000)
    cells = table_cells(tmp_path, "Hopper-v5")["gail"]
    assert cells["final return IQM [95% CI]"] == "2000 (1 seed, no interval)"


def test_seeds_on_different_grids_meet_where_both_were_measured() -> None:
    curve = Curve.align(
        [
            (np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0])),
            (np.array([5.0, 15.0, 40.0]), np.array([1.0, 3.0, 8.0])),
        ]
    )
    np.testing.assert_allclose(curve.x, [5, 10, 15, 20])
    np.testing.assert_allclose(curve.values, [[5, 10, 15, 20], [1, 2, 3, 4]])
    apart = [(np.array([0.0]), np.array([1.0])), (np.array([9.0]), np.array([1.0]))]
    assert Curve.align(apart) is None


def test_runs_without_a_curve_are_compared_by_their_end(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000, curve={})
    gail_run(tmp_path, "l2l_gail", 0, 2000, bc_return=None)
    compare(tmp_path)
    cells = table_cells(tmp_path, "Hopper-v5")
    assert cells["gail"]["tail std"] == "-"
    assert cells["gail"]["final return IQM [95% CI]"].startswith("1000")
    assert cells["behaviour cloning"]["final return IQM [95% CI]"] == "520"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eval_returns": []}, "'eval_returns' holds no numbers"),
        ({"wall_s": "long"}, "'wall_s' holds no numbers"),
        (
            {"curve": {"steps": [2, 1], "return_mean": [0, 1], "length_mean": [1, 1]}},
            r"curve\.return_mean does not fit its steps",
        ),
    ],
)
def test_an_unsound_summary_is_named_in_one_line(tmp_path: Path, changes, message) -> None:
    gail_run(tmp_path, "gail", 0, 1000, **changes)
    with pytest.raises(InputError, match=rf"seed0/summary\.json: {message}") as caught:
        compare(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "comparison").exists()


def test_a_summary_of_something_else_is_named(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "g", "m", 0).write_summary(score=1)
    with pytest.raises(InputError, match="neither 'env' nor 'data'"):
        compare(tmp_path)
    RunFolder.create(tmp_path, "g", "m", 0).write_summary(env="Hopper-v5", steps=1)
    with pytest.raises(InputError, match="lacks eval_returns, eval_lengths, wall_s"):
        compare(tmp_path)


def test_nothing_to_compare_is_one_line(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "Hopper-v5", "gail", 0)  # not finished
    with pytest.raises(InputError, match=r"no finished run below .*: train first"):
        main([str(tmp_path)])
    with pytest.raises(InputError, match="is not a folder"):
        main([str(tmp_path / "missing")])


def test_one_seed_does_not_count_twice(tmp_path: Path) -> None:
    gail_run(tmp_path / "a", "gail", 0, 1000.0)
    gail_run(tmp_path / "b", "gail", 0, 2000.0)
    with pytest.raises(InputError, match="one seed of one method"):
        compare(tmp_path)


def test_unequal_settings_are_said(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000.0, config={"n_envs": 16, "update_rule": "adam"})
    gail_run(tmp_path, "l2l_gail", 0, 2000.0, config={"n_envs": 8, "update_rule": "sgd"})
    compare(tmp_path)
    text = (tmp_path / "comparison" / "summary.md").read_text()
    assert "**Not the same setting in all runs**: n_envs is 16 or 8." in text
    assert "update_rule" not in text
