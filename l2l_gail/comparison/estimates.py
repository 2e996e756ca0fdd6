"""Estimates over seeds: of a score, and of a curve on the steps that all seeds share.

Each is an interquartile mean with a 95 % bootstrap interval; the interval of a single seed is
unknown, and never shown as one of zero width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from l2l_gail import stats
from l2l_gail.stats import Floats

__all__ = ["Curve", "Estimate"]

_CURVE_RESAMPLES = 2_000


@dataclass(frozen=True)
class Estimate:
    """A score over seeds.

    Attributes:
        value: Interquartile mean.
        interval: 95 % bootstrap interval ``(low, high)``; None for a single seed.
        seeds: Number of seeds.
    """

    value: float
    interval: tuple[float, float] | None
    seeds: int

    @classmethod
    def of(cls, scores: Sequence[float] | Floats) -> Estimate:
        """Estimate from one score per seed."""
        return cls(float(stats.iqm(scores)), stats.bootstrap_interval([scores]), len(scores))


@dataclass(frozen=True)
class Curve:
    """One quantity of one method during training, all seeds on a common grid.

    Attributes:
        x: Environment steps or epochs, ``(T,)``, increasing.
        values: The quantity, ``(S, T)``, a row for each seed.
    """

    x: Floats
    values: Floats

    @classmethod
    def align(
        cls, curves: Sequence[tuple[Floats, Floats]], *, points: int | None = None
    ) -> Curve | None:
        """Put seeds on the union of their grids, as far as all of them reach.

        Args:
            curves: Steps and values of each seed.
            points: Upper bound on the length of the result, evenly thinned; unbounded if None.

        Returns:
            The curve, linear between a seed's own points; None where the seeds share no range.
        """
        first = max(x[0] for x, _ in curves)
        last = min(x[-1] for x, _ in curves)
        grid = np.unique(np.concatenate([x for x, _ in curves]))
        grid = grid[(grid >= first) & (grid <= last)]
        if len(grid) == 0:
            return None
        if points is not None and len(grid) > points:
            grid = grid[np.linspace(0, len(grid) - 1, points).round().astype(int)]
        return cls(grid, np.stack([np.interp(grid, x, y) for x, y in curves]))

    @cached_property
    def iqm(self) -> Floats:
        """Interquartile mean over seeds, ``(T,)``."""
        return stats.iqm(self.values, axis=0)

    @cached_property
    def interval(self) -> Floats | None:
        """95 % bootstrap interval at each step, ``(2, T)``: low, high; None for a single seed."""
        return stats.bootstrap_band(self.values, resamples=_CURVE_RESAMPLES)
