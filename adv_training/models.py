"""Classifiers: images in [0, 1] in, logits out; the normalisation is part of the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from l2l_gail.checks import origin
from l2l_gail.errors import InputError

from .checks import first_look
from .game import in_mode
from .layers import CIFAR10_STATISTICS, Network, Normalise, Statistics, channels_last, conv
from .resnets import PreActResNet18, ResNet18, WideResNet28, WideResNet34

__all__ = [
    "MODELS",
    "SmallCNN",
    "TinyCNN",
    "build_classifier",
    "check_model",
    "register_model",
]


class SmallCNN(Network):
    """Five convolutions for a CPU.

    The stem halves the image at once: work at 32 x 32 with few channels is bound by memory, not
    by arithmetic, and would cost half of a CPU's time for a tenth of the operations.

    Args:
        classes: Number of classes.
        statistics: Mean and deviation of each channel; as many as the images have channels.
    """

    def __init__(self, classes: int = 10, statistics: Statistics = CIFAR10_STATISTICS) -> None:
        colours = len(statistics[0])
        super().__init__(
            Normalise(statistics),
            conv(colours, 32, stride=2, kernel=4),  # 16 x 16
            conv(32, 64, stride=2),  # 8 x 8
            conv(64, 64),
            conv(64, 128, stride=2),  # 4 x 4
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, classes),
        )


class TinyCNN(Network):
    """Two convolutions, for tests: about 3,000 parameters.

    Args:
        classes: Number of classes.
        statistics: Mean and deviation of each channel; as many as the images have channels.
    """

    def __init__(self, classes: int = 10, statistics: Statistics = CIFAR10_STATISTICS) -> None:
        colours = len(statistics[0])
        super().__init__(
            Normalise(statistics),
            conv(colours, 8, stride=2, kernel=4),
            conv(8, 24, stride=2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(96, classes),
        )


MODELS: dict[str, Callable[..., nn.Module]] = {
    "small_cnn": SmallCNN,
    "tiny_cnn": TinyCNN,
    "preact_resnet18": PreActResNet18,
    "resnet18": ResNet18,
    "wrn28_10": WideResNet28,
    "wrn34_10": WideResNet34,
}
"""Classifiers by name, each made from the number of classes and the images' statistics.

:func:`register_model` adds to them.
"""


def register_model(name: str, build: Callable[[int, Statistics], nn.Module]) -> None:
    """Enter a classifier of your own into the table, under ``name``.

    ``Settings(model=name)`` then trains it, and :func:`~adv_training.trained_model.load_model`
    loads it, in any program that has registered it.

    Args:
        name: What the settings call it.
        build: Called as ``build(classes, statistics)``: the number of classes, an int, and mean and
            deviation of each channel of the images, two sequences of floats in [0, 1]. A class
            whose constructor takes both will do. It returns a fresh module from images
            ``(B, C, H, W)``, float32 in [0, 1], to logits ``(B, classes)``, the normalisation being
            part of it; initial weights come from torch's global generator, which has been seeded.
            Lazy layers learn from a first image what they are.
            When a model is loaded it is also called on torch's meta device, where tensors have no
            values.

    Raises:
        InputError: If the name is no text or another model's (one that is defined once more takes
            its own place), or ``build`` cannot be called with these two.
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"the name of a model is a text, not {name!r}")
    if name in MODELS and origin(MODELS[name]) != origin(build):
        raise InputError(f"a model {name!r} is registered already; choose another name")
    if not callable(build):
        raise InputError(
            f"the model {name!r} needs a class or function that makes it, build(classes, "
            f"statistics), not {type(build).__name__}"
        )
    try:
        inspect.signature(build).bind(10, CIFAR10_STATISTICS)
    except TypeError as error:
        raise InputError(
            f"the model {name!r} is made by build(classes, statistics), and "
            f"{getattr(build, '__name__', build)!s} cannot be called so: {error}"
        ) from error
    except ValueError:  # of some that are written in C nothing is known
        pass
    MODELS[name] = build


def check_model(name: str) -> None:
    """Refuse a name that is none of :data:`MODELS`.

    Raises:
        InputError: In one line.
    """
    if name not in MODELS:
        raise InputError(
            f"unknown model {name!r}; known: {', '.join(MODELS)}; one of your own is made known by "
            "adv_training.register_model"
        )


def build_classifier(
    name: str,
    classes: int,
    seed: int,
    *,
    statistics: Statistics = CIFAR10_STATISTICS,
    width: float = 1.0,
    size: tuple[int, int] = (32, 32),
) -> nn.Module:
    """Return a freshly initialised classifier; torch's global random state is left as it was.

    Args:
        name: One of :data:`MODELS`.
        classes: Number of classes.
        seed: Seed of the initial weights.
        statistics: Mean and deviation of each channel of the images, in [0, 1].
        width: Factor on the width, for ``preact_resnet18``.
        size: Height and width of the images; one of zeros tells lazy layers what they are.

    Raises:
        InputError: For an unknown name, one whose builder returns no module, or lazy layers that
            take no such image or are not reached by it.
    """
    check_model(name)
    options = {} if width == 1.0 else {"width": width}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[name](classes, statistics, **options)
        if not isinstance(model, nn.Module):
            raise InputError(
                f"what makes the model {name!r} must return a torch.nn.Module, not "
                f"{type(model).__name__}"
            )
        if _waiting(model):
            with in_mode(model, training=False), torch.no_grad():
                first_look(model, torch.zeros(1, len(statistics[0]), *size), f"the model {name}")
    if waiting := _waiting(model):
        raise InputError(
            f"the model {name} has lazy layers that its forward does not call, {waiting[0]} being "
            "of one; leave them out"
        )
    return channels_last(model)


def _waiting(model: nn.Module) -> list[str]:
    """Return the names of what lazy layers have not made yet."""
    made = chain(model.named_parameters(), model.named_buffers())
    return [name for name, tensor in made if is_lazy(tensor)]
