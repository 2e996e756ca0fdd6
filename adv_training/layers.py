"""What classifiers are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.errors import InputError

__all__ = [
    "CIFAR10_STATISTICS",
    "CIFAR100_STATISTICS",
    "Network",
    "Normalise",
    "Statistics",
    "channels_last",
    "conv",
]

Statistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each channel of the training images, in [0, 1]."""

CIFAR10_STATISTICS: Statistics = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100_STATISTICS: Statistics = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))


class Network(nn.Sequential):
    """Layers one after the other, which ``compile()`` turns into a single graph.

    It would not look into a ``forward`` of torch's own, and compile each block for itself.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return what the last layer makes of the images ``(B, C, H, W)``."""
        for layer in self:
            x = layer(x)
        return x


class Normalise(nn.Module):
    """Subtract each channel's mean and divide by its deviation.

    Inside the model, so that every attack works on the images themselves, where epsilon is defined.

    Args:
        statistics: Mean and deviation of each channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: Statistics = CIFAR10_STATISTICS) -> None:
        super().__init__()
        for name, values in zip(("mean", "std"), statistics, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images, ``(B, C, H, W)``.

        Raises:
            InputError: The images are whole numbers, or of other channels: both would pass by
                broadcasting, as other images.
        """
        channels = self.mean.shape[1]
        if not x.is_floating_point() or x.dim() < 3 or x.shape[-3] != channels:
            raise InputError(
                f"images are floats in [0, 1] of shape (B, {channels}, H, W), not {x.dtype} of "
                f"shape {tuple(x.shape)}; divide bytes by 255"
            )
        return (x - self.mean) / self.std


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Return a convolution, its batch normalisation and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def channels_last(model: nn.Module) -> nn.Module:
    """Return a classifier whose convolutions work on images with their channels last.

    Its group normalisations do so on a GPU alone: with channels last on a CPU torch 2.13 ends the
    process where the gradient of their weights is asked for and none of what came in, as it is
    behind layers that are frozen.
    """
    for layer in model.modules():
        if isinstance(layer, nn.GroupNorm):
            layer.register_forward_pre_hook(_channels_first)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _channels_first(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Put what comes into a layer in the plain order of memory, if it is images on a CPU."""
    x, *others = inputs or (None,)
    if not isinstance(x, Tensor) or x.dim() != 4 or x.device.type != "cpu":
        return None
    # Not `contiguous`, which leaves images of one channel as they are.
    return x.flatten(1).view(x.shape), *others
