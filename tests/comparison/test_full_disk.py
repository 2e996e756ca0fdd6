"""A disk that is full while a comparison is written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from l2l_gail.comparison import compare
from l2l_gail.errors import InputError
from tests.comparison.support import gail_run


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_is_said_and_leaves_the_boards_of_before(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    compare(tmp_path)
    folder = tmp_path / "comparison"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    gail_run(tmp_path, "later", 0, 1000)
    write = RecordWriter.write

    def until_full(self: RecordWriter, data: Any) -> None:
        if (folder / "Hopper-v5" / "later").exists():  # after whole files of others
            raise OSError(number, "No space left on device")
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", until_full)
    with pytest.raises(InputError, match=r"\(No space left on device\): free some space"):
        compare(tmp_path)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (folder / "Hopper-v5" / "later").exists()
