"""What makes a recording impossible is found before the training, and names are not shared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from l2l_gail.demos.__main__ import main
from l2l_gail.errors import InputError
from l2l_gail.files.locks import locked
from l2l_gail.recording import record_command
from l2l_gail.recording.record_files import RecordFiles


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_command, "_policy", lambda *_: pytest.fail("trained"))


@pytest.mark.parametrize("name", ["/proc/x.npz", f"{'x' * 245}.npz", f"{'ä' * 122}.npz"])
def test_a_place_or_a_name_that_takes_no_files_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"cannot be written \(.*\): give another") as caught:
        main(["record", "--out", name])
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_two_recordings_of_one_name_are_not_made_at_once(tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    with RecordFiles(out).alone(trains=True, resume=False):
        (tmp_path / "a.partial.pt").write_bytes(b"of the other training")
        said = r"a\.npz is being recorded by another process \(process \d+\): wait for it, or"
        with pytest.raises(InputError, match=said):
            main(["record", "--out", str(out)])
        with RecordFiles(tmp_path / "b.npz").alone(trains=True, resume=False):
            pass
        (tmp_path / "a.partial.pt").unlink()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_is_removed_at_the_end_is_held_by_one(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with locked(lock, remove=True):
        (tmp_path / ".lock").unlink()  # as if who held it before had just removed it
        with locked(lock, remove=True), pytest.raises(BlockingIOError), locked(lock):
            pass
    assert os.listdir(tmp_path) == []


def test_where_a_set_is_in_the_way_of_a_kept_training_its_policy_is_named(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path / "a.npz")
    for path in (files.demos, files.partial):
        path.touch()
    said = (
        r"a\.npz exists and is not overwritten: give another --out, with --model .*a\.partial\.pt"
    )
    with pytest.raises(InputError, match=said), files.alone(trains=True, resume=True):
        pass
