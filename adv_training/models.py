"""Classifiers: images in [0, 1] in, logits out; the normalisation is part of the model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l2l_gail.errors import InputError

__all__ = ["MODELS", "Normalise", "ResNet18", "SmallCNN", "TinyCNN", "build_classifier"]

# Mean and standard deviation of CIFAR-10's training images, per channel, in [0, 1].
_MEAN = (0.4914, 0.4822, 0.4465)
_STD = (0.2470, 0.2435, 0.2616)


class Normalise(nn.Module):
    """Subtract the mean and divide by the deviation of CIFAR-10's channels.

    Inside the model, so that every attack works on the images themselves, where epsilon is defined.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images, ``(B, 3, H, W)``."""
        return (x - self.mean) / self.std


def _conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class SmallCNN(nn.Sequential):
    """Five convolutions for a CPU.

    The stem halves the image at once: work at 32 x 32 with few channels is bound by memory, not
    by arithmetic, and would cost half of a CPU's time for a tenth of the operations.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__(
            Normalise(),
            _conv(3, 32, stride=2, kernel=4),  # 16 x 16
            _conv(32, 64, stride=2),  # 8 x 8
            _conv(64, 64),
            _conv(64, 128, stride=2),  # 4 x 4
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, classes),
        )


class TinyCNN(nn.Sequential):
    """Two convolutions, for tests: about 3,000 parameters.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__(
            Normalise(),
            _conv(3, 8, stride=2, kernel=4),
            _conv(8, 24, stride=2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(96, classes),
        )


class _BasicBlock(nn.Module):
    """The two-convolution residual block of He et al. 2016 (arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, stride)
        self.second = _conv(outputs, outputs)[:2]
        self.shortcut = (
            nn.Identity() if stride == 1 else _conv(inputs, outputs, stride, kernel=1)[:2]
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class ResNet18(nn.Sequential):
    """ResNet-18 in its CIFAR shape: stem of stride 1, 1.11 GFLOP and 11.2 M parameters.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int = 10) -> None:
        blocks: list[nn.Module] = []
        inputs = 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [_BasicBlock(inputs, outputs, stride), _BasicBlock(outputs, outputs, 1)]
            inputs = outputs
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
        super().__init__(Normalise(), _conv(3, 64), *blocks, *head)


MODELS: dict[str, type[nn.Module]] = {
    "small_cnn": SmallCNN,
    "tiny_cnn": TinyCNN,
    "resnet18": ResNet18,
}


def build_classifier(name: str, classes: int, seed: int) -> nn.Module:
    """Return a freshly initialised classifier; torch's global random state is left as it was.

    Raises:
        InputError: For an unknown name.
    """
    if name not in MODELS:
        raise InputError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[name](classes)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
