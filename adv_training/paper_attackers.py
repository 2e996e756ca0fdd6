"""The three attackers of Jiang et al. 2021 (arXiv 1811.01213), as their code has them.

One difference: GroupNorm where they have BatchNorm, so that the attack on an image depends neither
on its neighbours nor on a train/eval mode (their code trains the attacker in one mode and uses it
in the other). Widths are theirs by default; one forward of ``WideAttacker`` then costs 3.2 forwards
of a ResNet-18, and 0.27 of a WRN-34-10.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["PaperSlimAttacker", "TwoLayerAttacker", "WideAttacker"]

_GROUPS = 4


def _norm(channels: int, *, affine: bool = False) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, channels, affine=affine)


def _stem(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, _norm(outputs, affine=True), nn.ReLU())


class _GenBlock(nn.Module):
    """The pre-activation residual block of their generators: norm, PReLU, conv, twice."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        convs = [nn.Conv2d(a, outputs, 3, padding=1) for a in (inputs, outputs)]
        for conv in convs:
            nn.init.xavier_uniform_(conv.weight, gain=math.sqrt(2))
        self.residual = nn.Sequential(
            _norm(inputs), nn.PReLU(), convs[0], _norm(outputs), nn.PReLU(), convs[1]
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        nn.init.xavier_uniform_(self.shortcut.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


class PaperSlimAttacker(nn.Module):
    """Two blocks at half resolution, a transposed convolution back, the input seen once more.

    Args:
        channels: Width, a multiple of 32.
        colours: Channels ``C`` of the image.
        inputs: Channels that the network sees.
    """

    def __init__(self, channels: int = 128, *, colours: int = 3, inputs: int = 6) -> None:
        super().__init__()
        c = channels
        self.body = nn.Sequential(
            _stem(inputs, c, 2),
            _GenBlock(c, 2 * c),
            _GenBlock(2 * c, c),
            _norm(c),
            nn.ConvTranspose2d(c, c // 8, 4, 2, 1, bias=False),
            _norm(c // 8, affine=True),
            nn.ReLU(),
        )
        self.last = nn.Conv2d(c // 8 + inputs, colours, 3, padding=1, bias=False)
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` from ``(B, inputs, H, W)``."""
        return self.scale * self.last(torch.cat([self.body(inputs), inputs], dim=1))


class _Chain(nn.Sequential):
    """A stem at full resolution, blocks of the widths given, a last convolution."""

    def __init__(self, widths: list[int], colours: int, inputs: int) -> None:
        pairs = pairwise(widths)
        super().__init__(
            _stem(inputs, widths[0], 1),
            *(_GenBlock(a, b) for a, b in pairs),
            _norm(widths[-1]),
            nn.Conv2d(widths[-1], colours, 3, padding=1),
        )


class WideAttacker(_Chain):
    """Four blocks at full resolution, ``c, 2c, 4c, 2c, c``: the one their scripts train with.

    Args:
        channels: Width ``c``, a multiple of 4.
        colours: Channels ``C`` of the image.
        inputs: Channels that the network sees.
    """

    def __init__(self, channels: int = 64, *, colours: int = 3, inputs: int = 6) -> None:
        c = channels
        super().__init__([c, 2 * c, 4 * c, 2 * c, c], colours, inputs)


class TwoLayerAttacker(_Chain):
    """Two blocks at full resolution, ``c, 2c, c``.

    Args:
        channels: Width ``c``, a multiple of 4.
        colours: Channels ``C`` of the image.
        inputs: Channels that the network sees.
    """

    def __init__(self, channels: int = 64, *, colours: int = 3, inputs: int = 6) -> None:
        super().__init__([channels, 2 * channels, channels], colours, inputs)
