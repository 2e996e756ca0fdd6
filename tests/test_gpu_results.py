"""The tables of what a GPU does against the records that they are made from."""

from __future__ import annotations

import pytest

from benchmarks.gpu import report
from l2l_gail.errors import InputError


def test_every_table_of_the_gpu_is_what_its_records_give() -> None:
    found = []
    for document in report.DOCUMENTS:
        for block in report.BLOCK.finditer(document.read_text()):
            assert block[0] == f"{block[1]}{report.table(block[2])}{block[3]}"
            found.append(block[2])
    assert sorted(found) == sorted(report.TABLES)


def test_the_goal_of_the_time_to_the_expert_is_held_by_gymnasiums_own_episodes() -> None:
    cells = report._cells("gail")
    assert sorted(cell["seed"] for cell in cells) == [0, 1, 2, 3, 4]
    for cell in cells:
        *before, last = (score for _, _, score in cell["curve"])
        assert max(before) < 0.95 <= min(last, cell["in_gymnasium"])


def test_an_unknown_table_is_one_line() -> None:
    with pytest.raises(InputError, match="nothing: no such table; there are: rollouts"):
        report.table("nothing")
