"""Behaviour cloning on the board: a method that takes no environment steps is a level line."""

from __future__ import annotations

from pathlib import Path

import pytest

from l2l_gail.compare import compare
from l2l_gail.comparison import section_notes, section_tables
from tests.comparison.support import STEPS, events, gail_run, log, sections_of, table_cells

RETURN = "1 true return/a IQM over seeds"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in range(2):
        gail_run(tmp_path, "gail", seed, 2000.0)
        bc_run(tmp_path, seed, 1500.0 + 100 * seed)
    return tmp_path


def bc_run(out: Path, seed: int, final: float) -> None:
    curve = {"steps": [0], "return_mean": [final], "length_mean": [600]}
    gail_run(out, "bc", seed, final, steps=0, curve=curve, gradient_steps=5000)


def test_its_return_is_level_along_the_curves_of_the_others(runs: Path) -> None:
    (section,) = sections_of(runs).values()
    bc, gail = section.methods
    assert bc.curves["return"].x.tolist() == [0, STEPS[-1]]
    assert bc.curves["return"].iqm.tolist() == [1550.0, 1550.0]
    assert gail.curves["return"].x.tolist() == STEPS
    compare(runs)
    points = events(runs / "comparison" / "Hopper-v5" / "bc").Scalars(RETURN)
    assert [(point.step, point.value) for point in points] == [(0, 1550.0), (STEPS[-1], 1550.0)]


def test_its_last_policy_is_compared_and_its_stability_is_not(runs: Path) -> None:
    cells = table_cells(runs, "Hopper-v5")
    assert cells["bc"]["steps"] == "0"
    assert cells["bc"]["final return IQM [95% CI]"].startswith("1550 [")
    assert cells["bc"]["tail std"] == "-"
    (section,) = sections_of(runs).values()
    _, stability, by_return, *by_area = section_tables(section)
    assert [row[0] for row in stability.rows] == ["gail"]
    assert by_return.header == ("", "bc", "gail")
    assert by_return.rows == (("bc", "-", "0.00"), ("gail", "1.00", "-"))
    assert not by_area
    assert not any("Not the same length" in note for note in section_notes(section))


def test_it_stands_alone_where_nothing_else_has_run(tmp_path: Path) -> None:
    bc_run(tmp_path, 0, 1500.0)
    compare(tmp_path)
    (section,) = sections_of(tmp_path).values()
    assert section.by_length == {0: section.methods}
    assert section.methods[0].curves["return"].iqm.tolist() == [1500.0]


def test_an_unfinished_one_is_not_drawn_by_its_gradient_steps(runs: Path) -> None:
    from l2l_gail.comparison import find
    from l2l_gail.runs import RunFolder

    folder = RunFolder.create(runs, "Hopper-v5", "bc", 5)
    folder.write_config({"seed": 5})
    log(folder, {"eval/return_mean": [1.0], "eval/length_mean": [1.0]})
    assert not find(runs).unfinished
