"""Where reset noise comes from, so that a task says once what is drawn and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

__all__ = ["Draw"]


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
