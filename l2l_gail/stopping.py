"""Ctrl-C, SIGTERM and a closed terminal: training ends between two steps, everything saved."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeAlias

__all__ = ["Interrupted", "Killed", "Stop", "raise_on_sigterm", "signals_deferred"]

Stop: TypeAlias = Callable[[], int]
"""Says which signal has asked to end; 0 as long as none has."""


_AGAIN_SECONDS = 0.05
_ECHO_SECONDS = 1.0


class Interrupted(KeyboardInterrupt):
    """Work ended on a signal.

    Args:
        number: The signal.
        resumable: Whether it can be gone on with by the same command and ``--resume``.
    """

    def __init__(self, number: int = signal.SIGINT, *, resumable: bool = False) -> None:
        super().__init__()
        self.number = number
        self.resumable = resumable

    @classmethod
    def of(cls, error: KeyboardInterrupt) -> Interrupted:
        """Return an interrupt as one of these: what is none was Ctrl-C."""
        return error if isinstance(error, Interrupted) else cls()


class Killed(RuntimeError):
    """The process of a job ended without a last word: no defect shows, and it can be gone on with.

    The message says of which, and what may help.
    """


@contextmanager
def signals_deferred() -> Iterator[Stop]:
    """Let the work inside end where it can be gone on with, not where the signal finds it.

    The first Ctrl-C or SIGTERM is only noted, and the yielded function tells of it: the work asks
    between two steps, saves, and raises :class:`Interrupted`.  The second raises that at once,
    wherever the work is, unless it is an echo of the first.  SIGHUP, of a terminal that is closed,
    is noted as well; shell and system both send it, so it never counts as the second.  Signals that
    the process ignores, as it does SIGHUP under ``nohup``, stay ignored; in a thread other than the
    main one, which never sees a signal, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    received: list[int] = []
    is_echo = _echoes()

    def note(number: int, frame: FrameType | None) -> None:
        if is_echo(number):
            return
        if received and number != signal.SIGHUP:
            raise Interrupted(number)
        received.append(number)
        if number == signal.SIGHUP:  # nobody is left to read
            return
        if multiprocessing.parent_process() is None:  # which speaks for its children
            print("ending after this step; once more to end at once", file=sys.stderr, flush=True)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, note)
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _echoes() -> Callable[[int], bool]:
    """Return what tells a SIGTERM that is said again from one that is meant again.

    `timeout` and batch systems send it to all processes of a job, and those that have children,
    this library's or torchrun's, pass it on to them: what was sent once arrives twice.  A parent
    of this library that loses patience kills, so that its children need to be told only once;
    elsewhere an echo comes within a second.
    """
    heard: list[float] = []

    def is_echo(number: int) -> bool:
        heard.append(time.monotonic())
        return (
            number == signal.SIGTERM
            and len(heard) > 1
            and (
                multiprocessing.parent_process() is not None or heard[-1] - heard[0] < _ECHO_SECONDS
            )
        )

    return is_echo


@contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Have SIGTERM raise :class:`Interrupted` inside, as Ctrl-C raises ``KeyboardInterrupt``.

    Python drops what is raised while a weak reference's callback or a ``__del__`` runs, and tells
    ``sys.unraisablehook``: from there an alarm raises it again a moment later, as often as it is
    dropped, and the end of the context at the latest.
    """
    dropped: list[int] = []  # signals that are to be raised again
    is_echo = _echoes()

    def stop(number: int, frame: FrameType | None) -> None:
        if not is_echo(number):
            raise Interrupted(number)

    def stop_again(number: int, frame: FrameType | None) -> None:
        if dropped:
            raise Interrupted(dropped.pop())

    def note(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            usual(unraisable)
            return
        dropped[:] = [unraisable.exc_value.number]
        alarms.append(signal.signal(signal.SIGALRM, stop_again))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    alarms: list[Any] = []  # handlers of SIGALRM; the first is somebody else's
    usual = sys.unraisablehook
    sys.unraisablehook = note
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
        if dropped:
            raise Interrupted(dropped.pop())
    finally:
        dropped.clear()
        signal.signal(signal.SIGTERM, before)
        sys.unraisablehook = usual
        if alarms:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, alarms[0])
