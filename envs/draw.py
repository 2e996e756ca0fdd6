"""Where reset noise comes from, so that a task says once what is drawn and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["Draw", "GeneratorDraw"]


class Draw(Protocol):
    """Random numbers for ``k`` environments at once; every call gives an array ``(k, n)``."""

    def uniform(self, low: float, high: float, n: int) -> Any:
        """Draw uniformly from ``[low, high)``."""
        ...

    def normal(self, n: int) -> Any:
        """Draw from the standard normal distribution."""
        ...

    def uniform_until(
        self, accept: Callable[[Any], Any], low: Sequence[float], high: Sequence[float]
    ) -> Any:
        """Draw points from a box until each is accepted.

        Args:
            accept: Points ``(m, n)`` to accepted or not, ``(m,)`` bool.
            low: Lower corner of the box, ``(n,)``.
            high: Upper corner.
        """
        ...


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
