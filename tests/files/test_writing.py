from __future__ import annotations

import os
from pathlib import Path

import pytest

from l2l_gail.errors import InputError
from l2l_gail.files import check_can_be_written


def test_what_is_tried_is_not_left_behind(tmp_path: Path) -> None:
    check_can_be_written(tmp_path / "one" / "two" / "file")
    check_can_be_written(tmp_path / "file")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["file/below", "x" * 256, f"folder/{'x' * 256}", "file", "ä" * 128, "../../proc/x"]
)
def test_a_file_that_cannot_be_made_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    path = Path("/proc/x") if "proc" in name else tmp_path / name
    with pytest.raises(InputError, match=r"cannot be written \(.*\): give another name"):
        check_can_be_written(path)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "mine"
