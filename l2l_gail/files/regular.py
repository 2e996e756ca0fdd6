"""Opening files that somebody names: regular ones only, each failure told as what it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from l2l_gail.errors import InputError

__all__ = ["open_regular", "read_text"]


def open_regular(path: str | Path, *, missing: str = "") -> BinaryIO:
    """Open a regular file for reading; never wait for one that is not.

    A named pipe without a writer would block for ever, a device can give bytes without end.

    Args:
        path: The file; a symbolic link is followed.
        missing: What to say where there is no file; by default that it does not exist.

    Raises:
        InputError: There is no such file, it is no regular file, or it may not be read. A file
            that may not be read is never called damaged.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(missing or f"{path} does not exist: give the path of a file") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read ({reason}): check its permissions") from None
    try:
        kind = os.fstat(handle).st_mode
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "a pipe, socket or device"
            raise InputError(f"{path} is {what}, not a file: give the path of a file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


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
        try:
            raw = file.read(limit + 1)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})") from None
    if len(raw) > limit:
        raise InputError(f"{path} is larger than {limit} bytes: it is no file of this library")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8: it is damaged or of another kind") from None
