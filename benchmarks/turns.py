"""CPU time of several pieces of work that take turns, and its ratios to that of one of them.

The machines are shared: what else one does falls on all pieces of a turn alike, so that ratios are
taken turn by turn and not between times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Cost", "ratio_in_words", "take_turns"]

RESAMPLES = 2_000


@dataclass(frozen=True)
class Cost:
    """What a piece of work costs.

    Attributes:
        seconds: Median CPU seconds of a turn, of all threads.
        ratio: Median of the ratios to the reference in the same turn, and the ends of its 95 %
            bootstrap interval over the turns.
    """

    seconds: float
    ratio: tuple[float, float, float]

    def told(self) -> str:
        """Return milliseconds and ratio, as the scripts print them."""
        middle, low, high = self.ratio
        return f"{1000 * self.seconds:.1f}, {middle:.3f} [{low:.3f}, {high:.3f}]"


def ratio_in_words(ratio: tuple[float, float, float]) -> str:
    """Return a :attr:`Cost.ratio` for a table, without the interval of the reference's own."""
    middle, low, high = ratio
    return f"{middle:.2f}" + ("" if low == high else f" [{low:.2f}, {high:.2f}]")


def take_turns(
    work: Mapping[str, Callable[[], object]], turns: int, *, reference: str, uncounted: int
) -> dict[str, Cost]:
    """Let each piece of work be done once a turn.

    Args:
        work: By name.
        turns: How many.
        reference: The piece that the ratios are to.
        uncounted: So many turns at the beginning only warm up.
    """
    spent: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(turns):
        for name, piece in work.items():
            begun = time.process_time()
            piece()
            spent[name].append(time.process_time() - begun)
    counted = {name: np.array(each[uncounted:]) for name, each in spent.items()}
    return {
        name: Cost(round(float(np.median(each)), 5), _median(each / counted[reference]))
        for name, each in counted.items()
    }


def _median(ratios: np.ndarray) -> tuple[float, float, float]:
    drawn = np.random.default_rng(0).choice(ratios, (RESAMPLES, len(ratios)))
    ends = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    middle, low, high = (round(float(x), 3) for x in (np.median(ratios), *ends))
    return middle, low, high
