"""What has become of jobs, and what they have to say on the way."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from l2l_gail.progress import Display, Message

__all__ = ["Failure", "Outcome", "warnings_to"]


@dataclass(frozen=True)
class Failure:
    """How a job failed.

    Attributes:
        kind: By an ``InputError`` ("wrong input"), by another exception ("failure"), or with its
            process, without a last word ("lost").
        text: The message, a traceback, or how the process ended.
    """

    kind: str
    text: str

    @property
    def wrong_input(self) -> bool:
        """Whether it was the input's fault."""
        return self.kind == "wrong input"

    @property
    def last_line(self) -> str:
        """The last line of the text."""
        return self.text.strip().splitlines()[-1]


@dataclass
class Outcome:
    """What has become of the jobs.

    Attributes:
        display: Shows what is noted here.
        results: Of the jobs that were done, by label.
        failures: Of the others, by label.
        interrupted: The signal by which a job was ended; 0 if none was.
        warned: The warnings that were shown.
    """

    display: Display
    results: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    interrupted: int = 0
    warned: set[str] = field(default_factory=set)

    def __contains__(self, label: str) -> bool:
        return label in self.results or label in self.failures

    def take(self, label: str, kind: str, content: Any) -> None:
        """Note one word of a job: its news, its result, or how it failed."""
        if kind == "news":
            self.display.show(label, content)
        elif kind == "warning":
            category, text = content
            if self.is_new(category, text):
                self.display.show(label, Message("line", f"{category}: {text}"))
        elif kind == "result":
            self.results[label] = content
            self.display.done(label)
        elif kind == "interrupted":
            self.interrupted = content
        else:
            self.failures[label] = Failure(kind, content)
            self.display.show(label, Message("line", f"failed: {content.strip()}"))
            self.display.done(label)

    def is_new(self, category: str, text: str) -> bool:
        """Whether a warning is to be shown: one of an input, which all jobs share, only once.

        That is a ``UserWarning``, whatever numbers it names; others are of a job's own course.
        """
        if category != UserWarning.__name__:
            return True
        pattern = re.sub(r"\d[\d.,]*", "0", text)
        known = pattern in self.warned
        self.warned.add(pattern)
        return not known


@contextmanager
def warnings_to(show: Callable[[Any, type[Warning], str, int], None]) -> Iterator[None]:
    """Have what Python shows of warnings go elsewhere inside."""

    def take(
        message: Any,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: Any = None,
    ) -> None:
        show(message, category, filename, lineno)

    before = warnings.showwarning
    warnings.showwarning = take
    try:
        yield
    finally:
        warnings.showwarning = before
