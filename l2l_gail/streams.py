"""Standard output and error of a script that outlive their reader: a training is worth more."""

from __future__ import annotations

import contextlib
import io
import os
import sys

__all__ = ["keep_streams_open"]


def keep_streams_open() -> None:
    """Have nothing that is printed from now on raise.

    A stream that was closed before the start goes nowhere. Where one breaks later, its reader
    having ended or its disk being full, what is under way goes on without it; of standard output
    that is said once, on standard error. Characters that a stream's encoding lacks are written as
    escapes. Streams that somebody has put in the place of Python's own are left alone.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif type(stream) is io.TextIOWrapper:
            setattr(sys, name, _Steadfast(name, stream))


class _Steadfast(io.TextIOWrapper):
    """A text stream over another one's bytes that gives up instead of raising."""

    def __init__(self, name: str, stream: io.TextIOWrapper) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering or name == "stderr",
        )
        self._stream = stream  # or its end would close the bytes that are shared
        self._what = name

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Lead all further text, and what is still in memory, to nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        with contextlib.suppress(OSError):
            super().flush()
        if self._what == "stdout":
            reason = error.strerror or type(error).__name__
            print(f"standard output is gone ({reason}); going on without it", file=sys.stderr)
