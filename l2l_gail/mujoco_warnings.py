"""MuJoCo's warnings as Python's, counted: a line for each kind, and no file.

By itself MuJoCo prints a warning for every simulation and step in which something went wrong, and
appends it to ``MUJOCO_LOG.TXT`` in the working directory. A handler, of which a process has one,
takes that over. MuJoCo calls it from C, where an exception would end the process.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import mujoco

__all__ = ["counted_mujoco_warnings", "handle_mujoco_warnings", "without_mujoco_warnings"]

_log = logging.getLogger(__name__)
_DEPRECATED = re.compile(r"compiler attribute '\w+' is deprecated")
"""What MuJoCo says of Gymnasium's own models, which their users cannot mend: not worth a word."""
_TOLD = frozenset(10**n for n in range(12))
"""How often a kind must have come to be told again."""


class _Counts:
    """What MuJoCo has warned of: the first text of each kind, and how often it came."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.numbers: dict[str, int] = {}

    def add(self, message: str) -> tuple[str, int]:
        """Count a message, and return the first of its kind and the number so far."""
        if _DEPRECATED.search(message):
            return message, 0
        text = message.partition(" Time = ")[0].strip()
        kind = re.sub(r"\d+", "#", text)  # whichever joint or actuator it was
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return self.texts.setdefault(kind, text), self.numbers[kind]

    def lines(self) -> list[str]:
        """Return one line for each kind."""
        return [_line(self.texts[kind], number) for kind, number in self.numbers.items()]


class _Handler:
    """Tells of each kind of warning when it comes for the 1st, 10th, 100th, ... time."""

    def __init__(self) -> None:
        self._counts = _Counts()

    def __call__(self, message: str) -> None:
        text, number = self._counts.add(message)
        if number not in _TOLD:
            return
        line = _line(text, number)
        try:
            warnings.warn(line, RuntimeWarning, stacklevel=2)
        except RuntimeWarning:  # the user's filter; C cannot be left by an exception
            _log.warning(line)


def handle_mujoco_warnings() -> None:
    """Turn MuJoCo's warnings of this process into ``RuntimeWarning``, unless it has a handler.

    The first of a kind is told, and from then on the tenth, hundredth, ... with their number.
    """
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_Handler())


@contextmanager
def counted_mujoco_warnings(where: str) -> Iterator[None]:
    """Tell at the end of a block, in one ``RuntimeWarning`` a kind, what MuJoCo warned of in it.

    Args:
        where: What the block simulates, or compiles.
    """
    counts = _Counts()
    with _handled_by(counts.add):
        yield
    for line in counts.lines():
        warnings.warn(f"{where}: {line}", RuntimeWarning, stacklevel=3)


@contextmanager
def without_mujoco_warnings() -> Iterator[None]:
    """Drop what MuJoCo warns of inside a block, where it is known or was said before."""
    with _handled_by(lambda message: None), warnings.catch_warnings():
        warnings.filterwarnings("ignore", _DEPRECATED.pattern)  # MjSpec warns in Python
        yield


@contextmanager
def _handled_by(handler: Callable[[str], object]) -> Iterator[None]:
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(handler)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(previous)


def _line(text: str, number: int) -> str:
    return f"MuJoCo: {text}" + (f" ({number:,} times)" if number > 1 else "")
