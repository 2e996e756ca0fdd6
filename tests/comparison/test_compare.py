from __future__ import annotations

import html
import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from l2l_gail import stats
from l2l_gail.compare import compare, main
from l2l_gail.comparison import boards_of, collect, draw_figure, section_tables
from l2l_gail.errors import InputError
from l2l_gail.finding_runs import find_runs
from l2l_gail.runs import RunFolder
from tests.comparison.support import (
    close,
    gail_run,
    table_cells,
    unfinished_run,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_summary_page_and_picture_are_written(runs: Path, capsys) -> None:
    main([str(runs)])
    folder = runs / "comparison"
    text = (folder / "summary.md").read_text()
    for heading in ("## Hopper-v5", "## cifar10", "## synthetic (generated images, not CIFAR)"):
        assert heading in text
    assert "1 seed, no interval" in text
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "l2l_gail" in printed
    assert f"tensorboard --logdir {folder / 'Hopper-v5'}" in printed


def test_printed_commands_can_be_pasted_whatever_the_folder_is_called(
    tmp_path: Path, capsys
) -> None:
    root = tmp_path / "O'Neil's runs"
    gail_run(root, "gail", 0, 1000)
    main([str(root)])
    printed = capsys.readouterr().out
    board = printed.split("In TensorBoard: ")[1].partition(", or one")[0]
    assert shlex.split(board)[1:] == ["-m", "l2l_gail.compare", str(root), "--board"]
    (single,) = re.findall(r"^tensorboard .*Hopper-v5'?$", printed, re.MULTILINE)
    assert shlex.split(single)[1:] == ["--logdir", str(root / "comparison" / "Hopper-v5")]


@pytest.mark.parametrize(("verb", "flags"), [("compare", []), ("board", ["--board"])])
def test_make_takes_folders_whatever_they_are_called(
    tmp_path: Path, verb: str, flags: list[str]
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    command = ["make", "-s", "-o", ".venv/.ready", verb, f"BIN={tmp_path}", "RUNS=O'Neil's runs"]
    # Not what a `make test ARGS=...` around this hands on.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    said = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=env, check=True
    ).stdout
    assert said.splitlines() == ["-m", "l2l_gail.compare", "O'Neil's runs", *flags]


def test_the_page_needs_nothing_beside_it(compared: Path) -> None:
    page = (compared / "comparison" / "index.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sum(source.startswith("data:image/png;base64,") for source in sources) > 10
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "<td>gail</td><td>3</td>" in page


@pytest.mark.usefixtures("drawn")
def test_names_of_runs_are_shown_as_they_are(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000, config={"note": "<b>&"})
    gail_run(tmp_path, "gail", 1, 1000, config={"note": "plain"})
    compare(tmp_path)
    page = (tmp_path / "comparison" / "index.html").read_text()
    assert "gail (note=&lt;b&gt;&amp;)" in page
    assert "<b>&)" not in page


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("name", ["$\\frac$", "_mine", "a|b"])
def test_names_that_mean_something_elsewhere_are_letters(tmp_path: Path, name: str) -> None:
    for seed in (0, 1):
        gail_run(tmp_path, "gail", seed, 1000, config={"note": name})
    gail_run(tmp_path, "gail", 2, 1000, config={"note": "$plain$"})
    folder = tmp_path / "Hopper-v5" / "gail"
    folder.rename(folder.with_name(name))
    compare(tmp_path)
    page = (tmp_path / "comparison" / "summary.md").read_text()
    assert f"| {name} (note={name})".replace("|b", r"\|b") in page
    boards = [b for section in collect(find_runs(tmp_path)) for b in boards_of(section)]
    (legend,) = [axes.get_legend() for axes in draw_figure(boards).axes if axes.get_legend()]
    drawn = [text.get_text().strip().replace(r"\$", "$") for text in legend.get_texts()]
    assert any(text.startswith(f"{name} (note={name})") for text in drawn)


def test_figure_draws_each_method_by_its_own_axis(compared: Path) -> None:
    boards = [b for section in collect(find_runs(compared)) for b in boards_of(section)]
    figure = draw_figure(boards)
    assert isinstance(figure, Figure)
    returns, _, clean, pgd20, *_ = figure.axes
    assert returns.get_xlabel() == "environment steps"
    assert clean.get_xlabel() == "epochs"
    lines = {line.get_label(): line for line in returns.lines}
    np.testing.assert_allclose(
        lines["gail (3 seeds)"].get_ydata(),
        np.array([1, 2, 3, 4]) * np.mean([1000, 1500, 1200]) / 4,
    )
    assert {"expert", "behaviour cloning"} <= set(lines)
    assert lines["gail (3 seeds)"].get_color() == boards[0].colours["gail"]
    assert pgd20.lines[0].get_ydata()[-1] == pytest.approx(31)  # per cent
    synthetic = figure.axes[-1]
    assert "synthetic" in synthetic.get_title()
    assert not synthetic.collections  # one seed has no band


def test_a_second_comparison_replaces_its_own_files_only(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    gail_run(tmp_path, "old", 0, 1000)
    compare(tmp_path)
    folder = tmp_path / "comparison"
    assert (folder / "Hopper-v5" / "old").is_dir()
    (tmp_path / "Hopper-v5" / "old" / "seed0" / "summary.json").unlink()
    (folder / "notes.txt").write_text("mine")
    other = folder / "Hopper-v5" / "gail" / "events.out.tfevents.1.of_the_user"
    other.write_text("mine too")
    runs = tmp_path / "Hopper-v5"
    before = {path: path.read_bytes() for path in runs.rglob("seed*/*")}
    compare(tmp_path)
    assert (folder / "notes.txt").read_text() == "mine"
    assert other.read_text() == "mine too"
    assert {path: path.read_bytes() for path in runs.rglob("seed*/*")} == before
    assert len(list((folder / "Hopper-v5" / "gail").glob("events.*.l2l_gail"))) == 1
    for board in ("Hopper-v5", "Hopper-v5-runs"):
        assert (folder / board / "gail").is_dir()
        assert not (folder / board / "old").exists()


def test_runs_that_only_go_on_are_compared_too(tmp_path: Path) -> None:
    unfinished_run(tmp_path, "gail", 0, [10, 20])
    compare(tmp_path)
    text = (tmp_path / "comparison" / "summary.md").read_text()
    assert "| gail (unfinished) | 1 | 20000 so far |" in text


def test_watching_compares_again_when_a_run_has_written(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    looks = iter(["nothing new", "a new run", "stop"])

    def look_again(seconds: float) -> None:
        assert seconds == 5
        match next(looks):
            case "a new run":
                gail_run(tmp_path, "no_demos", 0, 500)
            case "stop":
                raise KeyboardInterrupt

    monkeypatch.setattr("l2l_gail.comparison.__main__.time.sleep", look_again)
    with pytest.raises(KeyboardInterrupt):
        main([str(tmp_path), "--watch", "--every", "5"])
    assert capsys.readouterr().out.count("compared again") == 1
    assert "no_demos" in (tmp_path / "comparison" / "summary.md").read_text()


def test_watching_waits_for_the_first_run(tmp_path: Path, monkeypatch, capsys) -> None:
    def then_comes_a_run(seconds: float) -> None:
        if (tmp_path / "comparison").exists():
            raise KeyboardInterrupt
        gail_run(tmp_path, "gail", 0, 1000)

    monkeypatch.setattr("l2l_gail.comparison.__main__.time.sleep", then_comes_a_run)
    with pytest.raises(KeyboardInterrupt):
        main([str(tmp_path), "--watch"])
    assert capsys.readouterr().out.startswith("Nothing to compare yet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "0"], "--every 0: give 1 to 86,400 seconds"),
        (["--every", "inf", "--watch"], "--every inf: give 1 to 86,400 seconds"),
        (["--port", "70000"], "--port 70000: give one from 1 to 65535"),
        (["--bord"], "unknown flag --bord; perhaps you meant --board"),
    ],
)
def test_wrong_flags_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        main([str(tmp_path), *arguments])


def test_gail_table_shows_the_last_policy_and_its_cost(compared: Path) -> None:
    cells = table_cells(compared, "Hopper-v5")["l2l_gail"]
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


def test_stability_comes_with_intervals_over_seeds(compared: Path) -> None:
    sections = {one.group: one for one in collect(find_runs(compared))}
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


def test_areas_do_not_depend_on_how_often_a_run_is_evaluated(tmp_path: Path) -> None:
    """Each group learns in one and the same line; who is evaluated later begins higher."""
    for seed in range(4):
        for method, every in (("often", 1_000), ("seldom", 5_000)):
            steps = list(range(every, 30_001, every))
            returns = [(1_000.0 + 50 * seed) * step / 30_000 for step in steps]
            curve = {"steps": steps, "return_mean": returns, "length_mean": [9.0] * len(steps)}
            gail_run(tmp_path, method, seed, returns[-1], steps=30_000, curve=curve)
    (section,) = collect(find_runs(tmp_path))
    often, seldom = section.methods
    assert often.normalised_areas == pytest.approx(seldom.normalised_areas)
    assert stats.area_under_curve([0, 2, 3], [0, 2, 3], since=1) == 2.0
    assert stats.area_under_curve([0, 2, 3], [0, 2, 3], since=3) == 1.5  # no range is left


def test_a_method_of_one_seed_does_not_hide_the_others_odds(runs: Path) -> None:
    gail_run(runs, "no_demos", 0, 900)
    sections = {one.group: one for one in collect(find_runs(runs))}
    tables = section_tables(sections["Hopper-v5"])
    assert tables[-1].header == ("", "gail", "l2l_gail")
    alone = dict(zip(tables[1].header, tables[1].rows[-1], strict=True))
    assert alone["method"] == "no_demos"
    assert "[" not in alone["area under curve [95% CI]"]


def test_cifar_table_is_in_percent(compared: Path) -> None:
    cells = table_cells(compared, "cifar10")["grad_l2l"]
    assert cells["clean % [95% CI]"] == "50.0 [50.0, 50.0]"
    assert cells["PGD-20 % [95% CI]"] == "31.0 [30.0, 32.0]"
    assert cells["forward-equivalents"] == "7.0"


def test_improvement_is_told_for_several_seeds_only(compared: Path) -> None:
    sections = {one.group: one for one in collect(find_runs(compared))}
    for improvement in section_tables(sections["Hopper-v5"])[-2:]:
        assert improvement.rows == (("gail", "-", "0.00"), ("l2l_gail", "1.00", "-"))
    assert len(section_tables(sections["synthetic"])) == 1


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


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("summary.json", "{", "seed1/summary.json is damaged"),
        ("summary.json", '{"score": 1}', "neither 'env' nor 'data'"),
        ("summary.json", None, "'expert_return' holds no numbers"),
        ("config.json", "{", "seed1/config.json is damaged"),
    ],
)
def test_a_run_that_cannot_be_read_is_left_out_and_named_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: str | None, said: str
) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    gail_run(tmp_path, "l2l_gail", 0, 2000)
    bad = gail_run(tmp_path, "gail", 1, 1000, **({} if content else {"expert_return": "high"}))
    if content is not None:
        (bad.path / file).write_text(content)
    main([str(tmp_path), "--no-videos"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Left out" in line]
    assert said in line
    for name in ("summary.md", "index.html"):
        text = html.unescape((tmp_path / "comparison" / name).read_text())
        assert line in text
    events = (tmp_path / "comparison").rglob("*tfevents*")
    assert any(said.encode() in path.read_bytes() for path in events)


def test_a_summary_of_something_else_is_named(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "a", "g", "m", 0).write_summary(score=1)
    with pytest.raises(InputError, match="neither 'env' nor 'data'"):
        compare(tmp_path / "a")
    RunFolder.create(tmp_path / "b", "g", "m", 0).write_summary(env="Hopper-v5", steps=1)
    with pytest.raises(InputError, match="lacks eval_returns, eval_lengths, wall_s"):
        compare(tmp_path / "b")


def test_nothing_to_compare_is_one_line(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "Hopper-v5", "gail", 0)  # not finished
    with pytest.raises(InputError, match=r"no finished run below .*: train first"):
        main([str(tmp_path)])
    with pytest.raises(InputError, match="is not a folder"):
        main([str(tmp_path / "missing")])


@pytest.mark.parametrize("what", ["closed", "dead link", "no measurement"])
def test_runs_of_which_none_can_be_compared_are_not_called_missing(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    place = tmp_path / "Hopper-v5"
    if what == "dead link":
        place.symlink_to("nowhere")
        reason = f"{place} is a link to what is not there"
    elif what == "closed":
        place.mkdir()
        close(place, monkeypatch)
        reason = f"{place} cannot be read (Permission denied)"
    else:
        run = RunFolder.create(tmp_path, "Hopper-v5", "gail", 0)
        run.write_config({"seed": 0})
        reason = f"{run.path} has settings but no measurement yet"
    said = re.escape(f"no finished run below {tmp_path}: {reason}; compare again when")
    with pytest.raises(InputError, match=said):
        main([str(tmp_path)])
    assert capsys.readouterr().out == f"Left out: {reason}.\n"

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("l2l_gail.comparison.__main__.time.sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        main([str(tmp_path), "--watch"])
    told = capsys.readouterr().out.splitlines()
    assert told == [f"Left out: {reason}.", f"Nothing to compare yet below {tmp_path}"]


@pytest.mark.parametrize("place", ["a file", "a link to where nothing can be written"])
def test_a_place_that_cannot_be_written_is_one_line(place: str, tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 100.0)
    if place == "a file":
        (tmp_path / "comparison").write_text("in the way")
    else:
        (tmp_path / "comparison").symlink_to("/proc/self/attr")
    with pytest.raises(InputError, match=r"the comparison cannot be written in .*copy the runs"):
        compare(tmp_path)
