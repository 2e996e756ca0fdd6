"""Reset noise from each environment's own numpy generator, as Gymnasium draws it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["GeneratorDraw"]


class GeneratorDraw:
    """Draws from one numpy generator per environment, as Gymnasium's environments do.

    Each environment's numbers come from its own generator in the order of the calls, so they are
    those of Gymnasium to the last bit, however the environments' episodes interleave.

    Args:
        generators: The generators of the environments to draw for, in their order.
    """

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self.generators = generators

    def uniform(self, low: float, high: float, n: int) -> np.ndarray:
        """Draw from ``[low, high)``, ``(k, n)`` float64."""
        return np.array([generator.uniform(low, high, n) for generator in self.generators])

    def normal(self, n: int) -> np.ndarray:
        """Draw from the standard normal distribution, ``(k, n)`` float64."""
        return np.array([generator.standard_normal(n) for generator in self.generators])

    def uniform_until(
        self,
        accept: Callable[[np.ndarray], np.ndarray],
        low: Sequence[float],
        high: Sequence[float],
    ) -> np.ndarray:
        """Draw points until each is accepted, ``(k, n)`` float64."""
        points = np.empty((len(self.generators), len(low)))
        for row, generator in enumerate(self.generators):
            while True:
                points[row] = generator.uniform(low, high)
                if accept(points[row : row + 1])[0]:
                    break
        return points
