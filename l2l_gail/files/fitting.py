"""Building something from a file's content, with one line for whatever does not fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from l2l_gail.errors import MISFITS, InputError, one_line

__all__ = ["fitting"]


@contextlib.contextmanager
def fitting(path: str | Path, way_out: str = "", *, of: str = "this version") -> Iterator[None]:
    """Say in one line what does not fit while something is built from a file that is whole.

    A file of another version, or of other settings, lacks a key here and has another shape there;
    torch and Stable-Baselines3 say so in their own ways.

    Args:
        path: The file.
        way_out: What to do; nothing is added if empty.
        of: What it is that the file may not fit.

    Raises:
        InputError: In place of what was raised inside, if that speaks of content.
    """
    try:
        yield
    except InputError:
        raise
    except MISFITS as error:
        reason = one_line(error)
        if isinstance(error, KeyError):
            reason = f"it lacks {reason}"
        advice = f"; {way_out}" if way_out else ""
        raise InputError(f"{path} does not fit {of}: {reason:.500}{advice}") from error
