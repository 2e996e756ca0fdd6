"""Checks that settings share, each refusing a value in one line that names it."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any, SupportsIndex

import numpy as np

from l2l_gail.errors import InputError

__all__ = [
    "check_below_one",
    "check_choice",
    "check_counts",
    "check_fraction",
    "check_kind",
    "check_nonnegative",
    "is_real",
    "is_whole",
    "nearest",
    "origin",
]


def is_real(value: Any) -> bool:
    """Return whether a value is a real number of any kind: Python's, NumPy's, a fraction."""
    return isinstance(value, Real)


def is_whole(value: Any) -> bool:
    """Return whether it is a whole number; True, which Python takes for 1, is none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_nonnegative(name: str, value: Any) -> None:
    """Refuse what is no finite number from 0 on.

    Raises:
        InputError: It says what the number may be.
    """
    if not is_real(value) or not 0 <= value < math.inf:
        raise InputError(f"{name} must be 0 or more and finite, not {value}")


def check_below_one(name: str, value: Any) -> None:
    """Refuse what is no number from 0 to below 1.

    Raises:
        InputError: It says what the number may be.
    """
    if not is_real(value) or not 0 <= value < 1:
        raise InputError(f"{name} must be from 0 to below 1, not {value}")


def check_fraction(name: str, value: Any) -> None:
    """Refuse what is no number from 0 to 1, both included.

    Raises:
        InputError: It says what the number may be.
    """
    if not is_real(value) or not 0 <= value <= 1:
        raise InputError(f"{name} must be in [0, 1], not {value}")


def check_counts(**counts: SupportsIndex) -> None:
    """Refuse numbers that are no whole ones from 1 on.

    Raises:
        InputError: It names the first of them.
    """
    for name, count in counts.items():
        if not isinstance(count, SupportsIndex) or operator.index(count) < 1:
            raise InputError(f"{name} must be a whole number from 1 on, not {count}")


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a name that is none of the choices, and say the nearest one.

    Raises:
        InputError: It says the nearest choice, or all where none is near.
    """
    known = list(choices)
    if value not in known:
        near = nearest(str(value), known, cutoff=0.5)
        hint = f"perhaps you meant {near!r}" if near else f"there are: {', '.join(known)}"
        raise InputError(f"{name} {value!r} is unknown; {hint}")


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name that is most like another one; ``None`` if none is alike.

    Args:
        name: What was given.
        known: What there is.
        cutoff: How alike it must be, from 0 to 1 (equal), as :mod:`difflib` measures it.
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def origin(thing: Any) -> tuple[str, str]:
    """Return module and qualified name of a class or function; alike for a cell that is run again.

    What has no name, such as a ``partial``, is like nothing else.
    """
    name = getattr(thing, "__qualname__", f"object {id(thing)}")
    return getattr(thing, "__module__", ""), name


def check_kind(name: str, given: Any, kind: type, hint: str = "", *, optional: bool = True) -> None:
    """Refuse an argument that is not of its class; ``None`` is no fault where it is optional.

    Raises:
        InputError: It says the class, and the hint.
    """
    if not isinstance(given, kind) and not (optional and given is None):
        also = f", {hint}" if hint else ""
        a = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise InputError(f"{name} is {given!r:.60}: give {a} {kind.__name__}{also}")
