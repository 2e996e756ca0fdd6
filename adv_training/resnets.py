"""Residual networks in their CIFAR shapes: ResNet-18, pre-activation ResNet-18, wide ResNets.

Operations and parameters of one 32 x 32 image, ten classes:

=================== ========= ==========
network             GFLOP     parameters
=================== ========= ==========
PreActResNet18(1/8) 0.018     0.18 M
PreActResNet18      1.11      11.2 M
ResNet18            1.11      11.2 M
WideResNet28        10.5      36.5 M
WideResNet34        13.3      46.2 M
=================== ========= ==========
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import CIFAR10_STATISTICS, Network, Normalise, Statistics, conv

__all__ = ["PreActResNet18", "ResNet18", "WideResNet28", "WideResNet34"]

_GROUPS_OF_FOUR = ((64, 1), (128, 2), (256, 2), (512, 2))


class _BasicBlock(nn.Module):
    """The two-convolution residual block of He et al. 2016 (arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, stride)
        self.second = conv(outputs, outputs)[:2]
        self.shortcut = (
            nn.Identity() if stride == 1 else conv(inputs, outputs, stride, kernel=1)[:2]
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class _PreActBlock(nn.Module):
    """Normalisation and ReLU before each convolution (He et al. 2016b, arXiv 1603.05027)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        )
        self.shortcut = (
            None
            if stride == 1 and inputs == outputs
            else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        ready = self.before(x)
        # Where sizes change the shortcut sees the normalised input, as in the original.
        return self.residual(ready) + (x if self.shortcut is None else self.shortcut(ready))


class _PreActNet(Network):
    """A stem, groups of pre-activation blocks, a last normalisation, pooling, a linear layer."""

    def __init__(
        self,
        stem: int,
        groups: list[tuple[int, int]],
        blocks: int,
        classes: int,
        statistics: Statistics,
    ) -> None:
        layers: list[nn.Module] = []
        inputs = stem
        for outputs, stride in groups:
            for i in range(blocks):
                layers.append(_PreActBlock(inputs, outputs, stride if i == 0 else 1))
                inputs = outputs
        super().__init__(
            Normalise(statistics),
            nn.Conv2d(len(statistics[0]), stem, 3, 1, 1, bias=False),
            *layers,
            nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU()),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(inputs, classes),
        )


class ResNet18(Network):
    """ResNet-18 with a stem of stride 1.

    Args:
        classes: Number of classes.
        statistics: Mean and deviation of each channel of the images.
    """

    def __init__(self, classes: int = 10, statistics: Statistics = CIFAR10_STATISTICS) -> None:
        blocks: list[nn.Module] = []
        inputs = 64
        for outputs, stride in _GROUPS_OF_FOUR:
            blocks += [_BasicBlock(inputs, outputs, stride), _BasicBlock(outputs, outputs, 1)]
            inputs = outputs
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
        super().__init__(Normalise(statistics), conv(len(statistics[0]), 64), *blocks, *head)


class PreActResNet18(_PreActNet):
    """Pre-activation ResNet-18, the network of most fast adversarial training.

    Args:
        classes: Number of classes.
        statistics: Mean and deviation of each channel of the images.
        width: Factor on all widths, from 64 to 512; 1/8 is the largest that trains on two cores.
    """

    def __init__(
        self,
        classes: int = 10,
        statistics: Statistics = CIFAR10_STATISTICS,
        *,
        width: float = 1.0,
    ) -> None:
        groups = [(max(1, round(width * outputs)), stride) for outputs, stride in _GROUPS_OF_FOUR]
        super().__init__(groups[0][0], groups, 2, classes, statistics)


class _WideResNet(_PreActNet):
    """Zagoruyko & Komodakis 2016 (arXiv 1605.07146), width 10, no dropout."""

    def __init__(self, depth: int, classes: int, statistics: Statistics) -> None:
        groups = [(160, 1), (320, 2), (640, 2)]
        super().__init__(16, groups, (depth - 4) // 6, classes, statistics)


class WideResNet28(_WideResNet):
    """WRN-28-10.

    Args:
        classes: Number of classes.
        statistics: Mean and deviation of each channel of the images.
    """

    def __init__(self, classes: int = 10, statistics: Statistics = CIFAR10_STATISTICS) -> None:
        super().__init__(28, classes, statistics)


class WideResNet34(_WideResNet):
    """WRN-34-10, without the block that TRADES' code builds and never runs.

    Args:
        classes: Number of classes.
        statistics: Mean and deviation of each channel of the images.
    """

    def __init__(self, classes: int = 10, statistics: Statistics = CIFAR10_STATISTICS) -> None:
        super().__init__(34, classes, statistics)
