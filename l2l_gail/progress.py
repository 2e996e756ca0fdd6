"""What a run tells while it goes on, and how one or several runs at once are shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tqdm import tqdm

__all__ = ["Display", "Message", "Tell", "silent"]


@dataclass(frozen=True)
class Message:
    """One piece of news of a run.

    Attributes:
        kind: ``total`` (the run is of ``total`` steps, ``amount`` of which are done), ``advance``
            (``amount`` more are done; the text is shown beside the bar) or ``line`` (a line to
            keep).
        text: Text of the line, or beside the bar.
        amount: Number of steps.
        total: Steps of the whole run, those of earlier sittings included.
    """

    kind: Literal["total", "advance", "line"]
    text: str = ""
    amount: int = 0
    total: int = 0


Tell: TypeAlias = Callable[[Message], None]
"""Takes the news of one run."""


def silent(message: Message) -> None:
    """Take the news and say nothing."""


class Display:
    """A bar with ETA for each run that is going on, on a terminal; plain lines anywhere else.

    Args:
        labels: Names of the runs.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self._width = max(map(len, labels), default=0)
        self._bars: dict[str, tqdm | _Tenths] = {}

    def tell(self, label: str) -> Tell:
        """Return where the run ``label`` brings its news."""
        return lambda message: self.show(label, message)

    def show(self, label: str, message: Message) -> None:
        """Show one message of the run ``label``."""
        if message.kind == "line":
            tqdm.write(f"{label:<{self._width}}  {message.text}", file=sys.stderr)
        elif message.kind == "total":
            self.done(label)
            self._bars[label] = self._bar(f"{label:<{self._width}}", message)
        elif label in self._bars:
            bar = self._bars[label]
            bar.set_postfix_str(message.text, refresh=False)
            bar.update(message.amount)

    def done(self, label: str) -> None:
        """Leave a run's bar as it stands, and its line to those that go on."""
        if label in self._bars:
            self._bars.pop(label).close()

    def close(self) -> None:
        """Leave the bars as they stand and give the terminal back."""
        for label in list(self._bars):
            self.done(label)

    def _bar(self, name: str, message: Message) -> tqdm | _Tenths:
        if not sys.stderr.isatty():
            return _Tenths(name, message.total, message.amount)
        # What an earlier sitting has done is no part of this one's speed.
        return tqdm(
            desc=name,
            total=message.total,
            initial=message.amount,
            unit="step",
            dynamic_ncols=True,
        )


class _Tenths:
    """What stands in for a bar where there is no terminal: a line at every tenth of the way."""

    def __init__(self, name: str, total: int, n: int) -> None:
        self._name, self._total, self._n, self._text = name, total, n, ""

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        self._text = text

    def update(self, amount: int) -> None:
        before, self._n = self._n, self._n + amount
        # A rollout is taken whole, and may lead past the end.
        tenth, before = (min(10, 10 * n // self._total) for n in (self._n, before))
        if tenth > before:
            text = f", {self._text}" * bool(self._text)
            print(f"{self._name}  {10 * tenth} %{text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        pass
