"""A file as a lock between processes: the system's own, which ends with its holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

__all__ = ["holder_of", "is_held", "locked"]

_LOOK_S = 0.05  # between two tries


@contextlib.contextmanager
def locked(
    path: Path, *, wait_s: float = _LOOK_S, named: bool = False, remove: bool = False
) -> Iterator[None]:
    """Have a lock to oneself inside.

    On a file system without locks nobody is kept out.

    Args:
        path: The lock's file, made if it is missing.
        wait_s: Seconds to wait for another process that has it; by default longer than
            :func:`is_held` keeps it.
        named: Write this process's number into the file, for :func:`holder_of`.
        remove: Remove the file at the end; by default it stays.

    Raises:
        BlockingIOError: Another process has it, or another part of this one.
        OSError: The file cannot be made or written.
    """
    end = time.monotonic() + wait_s
    with contextlib.ExitStack() as stack:
        while (lock := _opened_and_locked(path)) is None:
            if time.monotonic() >= end:
                raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), str(path))
            time.sleep(_LOOK_S)
        stack.enter_context(lock)
        if remove:  # while it is held, so that nobody else holds a file of this name
            stack.callback(path.unlink, missing_ok=True)
        if named:
            with contextlib.suppress(OSError):  # on a full disk it is a lock all the same
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n".encode())
        yield


def _opened_and_locked(path: Path) -> FileIO | None:
    """The lock's file, held; None where somebody else holds it, or has just removed it."""
    # Neither through a link to somebody's file, nor waiting for a pipe.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    lock = FileIO(os.open(path, flags, 0o666), "r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    except OSError:  # a file system without locks
        return lock
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(lock.fileno()), os.stat(path, follow_symlinks=False)):
            return lock
    lock.close()
    return None


def is_held(path: Path) -> bool:
    """Whether somebody has a lock; false where that cannot be told, without locks for instance."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with FileIO(os.open(path, flags), "r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def holder_of(path: Path) -> str:
    """Words for who has a lock: ``process 4711``; ``another process`` where it is not known."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb", buffering=0) as lock:
            return f"process {int(lock.read(20))}"
    except (OSError, ValueError):
        return "another process"
