"""Comparisons of one folder at the same time: each is whole, and the last one stands."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from l2l_gail.comparison import compare, write
from l2l_gail.comparison.serve import board_names
from l2l_gail.errors import InputError
from l2l_gail.files.locks import locked
from tests.comparison.support import gail_run


def test_two_comparisons_at_once_leave_all_boards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    # Both are at the point of writing before either writes. What comes before is not for threads.
    ready = threading.Barrier(2)
    drawing = threading.Lock()
    prepare, make_report = write.find, write.report

    def find(root: Path):
        drawing.acquire()
        return prepare(root)

    def report(*arguments):
        page = make_report(*arguments)
        drawing.release()
        ready.wait(60)
        return page

    monkeypatch.setattr(write, "find", find)
    monkeypatch.setattr(write, "report", report)
    threads = [threading.Thread(target=compare, args=(tmp_path,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = tmp_path / "comparison"
    assert board_names(folder) == ["Hopper-v5", "Hopper-v5-runs"]
    files = [path.name for path in folder.rglob("events.out.tfevents.*")]
    names = {re.search(r"\d{20}", name).group() for name in files}
    assert len(names) == 1
    assert len(list((folder / "Hopper-v5" / "gail").iterdir())) == 1


def test_who_is_writing_for_too_long_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    compare(tmp_path)
    before = (tmp_path / "comparison" / "summary.md").stat().st_mtime_ns
    monkeypatch.setattr(write, "_WAIT_S", 0.1)
    with (
        locked(tmp_path / "comparison" / ".lock", named=True),
        pytest.raises(InputError, match=r"another comparison \(process \d+\) is writing in .*:"),
    ):
        compare(tmp_path)
    assert (tmp_path / "comparison" / "summary.md").stat().st_mtime_ns == before
