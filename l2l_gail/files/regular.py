"""Opening files that somebody names: regular ones only, each failure told as what it is."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from l2l_gail.errors import InputError
from l2l_gail.files.json_text import is_damaged

__all__ = ["check_folder", "home_expanded", "open_regular", "read_json", "read_text"]

_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", re.ASCII)
_LARGEST_JSON = 64 << 20
_POINTER = b"version https://git-lfs.github.com/spec/"


def home_expanded(path: str | Path) -> Path:
    """A path with what a shell makes of ``~``, ``~user`` or ``$NAME`` at its start.

    Raises:
        InputError: There is no such user or variable, and nothing here of that name either, or no
            file can be called so.
    """
    expanded = os.path.expanduser(path)
    if "\0" in os.fspath(expanded):
        raise InputError(f"{str(path)!r} holds a NUL, which no path may: give another one")
    first = os.fspath(expanded).partition("/")[0]
    variable = _VARIABLE.fullmatch(first)
    if variable and not os.path.lexists(first):
        value = os.environ.get(variable[1] or variable[2])
        if not value:
            raise InputError(f"{path}: there is no variable {first}: give the folder that is meant")
        expanded = value + os.fspath(expanded)[len(first) :]
    name = os.fspath(expanded).partition("/")[0]
    if name.startswith("~") and not os.path.lexists(name):
        raise InputError(
            f"{path}: there is no home folder {name}; if a name that begins with ~ is meant, give "
            "its full path"
        )
    return Path(expanded)


def check_folder(path: str | Path) -> None:
    """Refuse a folder that may not be looked into, in which files would only seem to be missing.

    Raises:
        InputError: In one line.
    """
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)  # names may be read where files may not
                break
    except FileNotFoundError:  # the entry has gone since
        pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path} cannot be read ({reason}): check its permissions") from None


@contextlib.contextmanager
def open_regular(path: str | Path, *, missing: str = "") -> Iterator[BinaryIO]:
    """Open a regular file for reading; never wait for one that is not.

    A named pipe without a writer would block for ever, a device can give bytes without end.

    Args:
        path: The file; ``~`` is the home folder, a symbolic link is followed.
        missing: What to say where there is no file; by default that it does not exist.

    Yields:
        The open file; it is closed at the end.

    Raises:
        InputError: There is no such file, it is no regular file, or it cannot be read, which may
            turn out only inside, or it stands in for one that Git LFS has not brought here. A file
            that cannot be read is never called damaged.
    """
    try:
        with os.fdopen(_open(home_expanded(path)), "rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise InputError(
                    f"{path} only says where Git LFS keeps the file: run 'git lfs pull' in its "
                    "folder, or download the file itself"
                )
            file.seek(0)
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(missing or f"{path} does not exist: give the path of a file") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path} cannot be read ({reason}): check its permissions") from None


def _open(path: str | Path) -> int:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
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


def read_json(path: str | Path, *, way_out: str, missing: str = "") -> dict[str, Any]:
    """Read a JSON object: finite numbers, text and containers, not nested without end.

    The seal of :mod:`l2l_gail.files.json_text` is checked, and is no part of what is returned.

    Args:
        path: The file.
        way_out: What to do if it is damaged.
        missing: As for :func:`open_regular`.

    Raises:
        InputError: As for :func:`read_text`, or it holds no such object.
    """
    text = read_text(path, limit=_LARGEST_JSON, missing=missing)
    try:
        content = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):  # the former of numbers with too many digits as well
        raise InputError(f"{path} is damaged: {way_out}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object: {way_out}")
    if is_damaged(text, content):
        raise InputError(
            f"{path} is damaged, its content does not fit its checksum: {way_out}; or take its "
            'line "seal" out, if it was changed on purpose'
        )
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number
