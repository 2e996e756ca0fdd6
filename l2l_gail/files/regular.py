"""Opening files that somebody names: regular ones only, each failure told as what it is."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from l2l_gail.errors import InputError

__all__ = ["open_regular", "read_text"]


@contextlib.contextmanager
def open_regular(path: str | Path, *, missing: str = "") -> Iterator[BinaryIO]:
    """Open a regular file for reading; never wait for one that is not.

    A named pipe without a writer would block for ever, a device can give bytes without end.

    Args:
        path: The file; a symbolic link is followed.
        missing: What to say where there is no file; by default that it does not exist.

    Yields:
        The open file; it is closed at the end.

    Raises:
        InputError: There is no such file, it is no regular file, or it cannot be read, which may
            turn out only inside. A file that cannot be read is never called damaged.
    """
    try:
        with os.fdopen(_open(path), "rb") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(missing or f"{path} does not exist: give the path of a file") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path} cannot be read ({reason}): check its permissions") from None


def _open(path: str | Path) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError as error:  # a zero byte in the name
        raise InputError(f"{path} cannot be read ({error}): give the path of a file") from None
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        what = "a folder" if stat.S_ISDIR(kind) else "a pipe, socket or device"
        raise InputError(f"{path} is {what}, not a file: give the path of a file")
    return handle


def read_text(path: str | Path, *, limit: int, missing: str = "") -> str:
    """Read a text file in UTF-8.

    Args:
        path: The file.
        limit: Most bytes that are read.
        missing: As for :func:`open_regular`.

    Raises:
        InputError: As for :func:`open_regular`, or the file is larger, or no UTF-8.
    """
    with open_regular(path, missing=missing) as file:
        raw = file.read(limit + 1)
    if len(raw) > limit:
        raise InputError(f"{path} is larger than {limit} bytes: it is no file of this library")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8: it is damaged or of another kind") from None
