from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from l2l_gail.files.locks import holder_of, is_held, locked

HOLD = """
import sys, time
from pathlib import Path
from l2l_gail.files.locks import locked
with locked(Path(sys.argv[1]), named=True):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_keeps_others_out_and_says_who_has_it(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert holder_of(lock) == "another process"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(BlockingIOError), locked(lock, wait_s=0.2):
            pass
        assert holder_of(lock) == f"process {holder.pid}"
        holder.kill()
    with locked(lock):  # the system ends it with the process
        pass


def test_who_looks_at_a_lock_makes_no_file_and_refuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / ".lock"
    assert not is_held(lock)
    assert not lock.exists()
    with locked(lock):
        assert is_held(lock)
    assert not is_held(lock)
    with open(lock) as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # as is_held() does, for a moment
        monkeypatch.setattr("l2l_gail.files.locks.time.sleep", lambda seconds: looking.close())
        with locked(lock):
            pass


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    held = threading.Event()

    def hold() -> None:
        with locked(lock):
            held.set()
            time.sleep(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    with locked(lock, wait_s=60, named=True):
        assert holder_of(lock) == f"process {os.getpid()}"
    thread.join()


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"), locked(tmp_path / ".lock", named=True):
        pass
    assert (tmp_path / "precious").read_text() == "mine"
