"""A file as a lock between processes: the system's own, which ends with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["holder_of", "locked"]

_LOOK_S = 0.05  # between two tries


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float = 0.0, named: bool = False) -> Iterator[None]:
    """Have a lock to oneself inside; its file stays.

    On a file system without locks nobody is kept out.

    Args:
        path: The lock's file, made if it is missing.
        wait_s: Seconds to wait for another process that has it.
        named: Write this process's number into the file, for :func:`holder_of`.

    Raises:
        BlockingIOError: Another process has it, or another part of this one.
        OSError: The file cannot be made or written.
    """
    # Neither through a link to somebody's file, nor waiting for a pipe.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    end = time.monotonic() + wait_s
    with os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise
                time.sleep(_LOOK_S)
                continue
            except OSError:  # a file system without locks
                pass
            break
        if named:
            with contextlib.suppress(OSError):  # on a full disk it is a lock all the same
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n".encode())
        yield


def holder_of(path: Path) -> str:
    """Words for who has a lock: ``process 4711``; ``another process`` where it is not known."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb", buffering=0) as lock:
            return f"process {int(lock.read(20))}"
    except (OSError, ValueError):
        return "another process"
