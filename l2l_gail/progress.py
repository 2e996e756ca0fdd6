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
        kind: ``total`` (``amount`` steps are to come), ``advance`` (``amount`` more are done; the
            text is shown beside the bar) or ``line`` (a line to keep).
        text: Text of the line, or beside the bar.
        amount: Number of steps.
    """

    kind: Literal["total", "advance", "line"]
    text: str = ""
    amount: int = 0


Tell: TypeAlias = Callable[[Message], None]
"""Takes the news of one run."""


def silent(message: Message) -> None:
    """Take the news and say nothing."""


class Display:
    """A bar with ETA for each run on a terminal, plain lines anywhere else.

    Args:
        labels: Names of the runs, in the order of their bars.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self._labels = list(labels)
        self._width = max(map(len, self._labels), default=0)
        self._quiet = not sys.stderr.isatty()
        self._bars: dict[str, tqdm] = {}

    def tell(self, label: str) -> Tell:
        """Return where the run ``label`` brings its news."""
        return lambda message: self.show(label, message)

    def show(self, label: str, message: Message) -> None:
        """Show one message of the run ``label``."""
        bar = self._bar(label)
        if message.kind == "total":
            bar.reset(total=message.amount)
        elif message.kind == "advance":
            bar.set_postfix_str(message.text, refresh=False)
            bar.update(message.amount)
        else:
            tqdm.write(f"{label:<{self._width}}  {message.text}", file=sys.stderr)

    def close(self) -> None:
        """Leave the bars as they stand and give the terminal back."""
        for bar in self._bars.values():
            bar.close()

    def _bar(self, label: str) -> tqdm:
        if label not in self._bars:
            self._bars[label] = tqdm(
                desc=f"{label:<{self._width}}",
                position=self._labels.index(label),
                unit="step",
                dynamic_ncols=True,
                disable=self._quiet,
                leave=True,
            )
        return self._bars[label]
