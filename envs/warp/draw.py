"""Reset noise for all worlds at once from one generator on their device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["TensorDraw"]

_CANDIDATES = 32
"""Points tried by rejection sampling. The tasks accept more than half of their box: the chance
that none of 32 is accepted, and the last one taken as it is, is below 1e-9."""


class TensorDraw:
    """Draws for ``rows`` environments with shapes that no outcome changes.

    No call waits for the device or copies from the host, so that a CUDA graph can record the draws
    and repeat them with new numbers, if it knows the generator.

    Args:
        rows: Number of environments.
        device: Where the numbers are needed.
        generator: A generator on that device; the device's default one if ``None``.
    """

    def __init__(
        self, rows: int, device: torch.device, generator: torch.Generator | None = None
    ) -> None:
        self.rows = rows
        self.device = device
        self.generator = generator

    def uniform(self, low: float, high: float, n: int) -> Tensor:
        """Draw from ``[low, high)``, ``(rows, n)`` float32."""
        return low + (high - low) * self._rand(self.rows, n)

    def normal(self, n: int) -> Tensor:
        """Draw from the standard normal distribution, ``(rows, n)`` float32."""
        return torch.randn(
            self.rows, n, dtype=torch.float32, device=self.device, generator=self.generator
        )

    def uniform_until(
        self, accept: Callable[[Tensor], Tensor], low: Sequence[float], high: Sequence[float]
    ) -> Tensor:
        """Draw points from a box and take each row's first that is accepted.

        Args:
            accept: Points ``(m, n)`` to accepted or not, ``(m,)`` bool.
            low: Lower corner of the box, ``(n,)``, on the host.
            high: Upper corner.

        Returns:
            Points ``(rows, n)`` float32.
        """
        unit = self._rand(_CANDIDATES * self.rows, len(low))
        # Column by column: a tensor of the corners would be a copy from the host.
        columns = [a + (b - a) * unit[:, j] for j, (a, b) in enumerate(zip(low, high, strict=True))]
        points = torch.stack(columns, -1)
        accepted = accept(points).reshape(_CANDIDATES, self.rows)
        tried = torch.arange(_CANDIDATES, device=self.device)[:, None].expand_as(accepted)
        first = tried.masked_fill(~accepted, _CANDIDATES - 1).amin(0)
        candidates = points.reshape(_CANDIDATES, self.rows, len(low))
        return candidates.gather(0, first[None, :, None].expand(1, -1, len(low)))[0]

    def _rand(self, rows: int, n: int) -> Tensor:
        return torch.rand(
            rows, n, dtype=torch.float32, device=self.device, generator=self.generator
        )
