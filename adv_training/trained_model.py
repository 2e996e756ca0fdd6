"""``model.pt``, what a finished run leaves behind: the classifier, and the attacker it was met by.

The checkpoint beside it serves to go on with the training; this file serves to use its outcome, and
needs neither the images nor the run's other files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from l2l_gail.errors import InputError
from l2l_gail.files import fitting, home_expanded, read_tensors, save_tensors

from .checks import check_labels, check_pixels
from .data import Dataset, ImageBatch
from .evaluate import attack, check_is_attack, judging_game
from .game import ImageGame
from .methods import build_method
from .models import build_classifier
from .registry import Method
from .settings import Settings

__all__ = ["MODEL_FILE", "TrainedModel", "Which", "load_model", "save_model"]

MODEL_FILE = "model.pt"
"""Its name in a run's folder."""

Which = Literal["best", "last"]
"""The epoch that was best on held-out images, or the last one."""

_WAY_OUT = "copy it again from where it was trained, or train again"


@dataclass(frozen=True)
class TrainedModel:
    """What a run of adversarial training ends with.

    Attributes:
        classifier: Maps images ``(B, C, H, W)``, float32 in [0, 1], to logits ``(B, classes)``; in
            evaluation mode, and the images' normalisation is part of it.
        method: The perturbation's side. A learned rule holds the weights that it ended with, after
            the last epoch whatever epoch the classifier is of.
        settings: What it was trained with.
        classes: Number of classes.
    """

    classifier: nn.Module
    method: Method
    settings: Settings
    classes: int

    @property
    def game(self) -> ImageGame:
        """The game with this classifier, from the start that its method has.

        A learned attacker starts at the image and stays in the ball: noise is for training.
        """
        return judging_game(self.classifier, self.settings.radius, self.method)

    def attack(self, x: Tensor, y: Tensor) -> Tensor:
        """Return images as the run's own attack perturbs them to mislead the classifier.

        A random start comes from torch's global generator.

        Args:
            x: Images, float32 in [0, 1], ``(B, C, H, W)``, on the classifier's device.
            y: True labels, int64, ``(B,)``.

        Returns:
            Perturbed images in [0, 1], same shape; no pixel is moved by more than
            ``settings.radius``, unless the method itself leaves the ball (N-FGSM).

        Raises:
            InputError: The method perturbs the batch at hand of a training, as ``free`` does; the
                images are not in [0, 1], or of another type or number of channels than those it
                was trained on; or a label is missing or none of its classes.
        """
        check_is_attack(self.method, self.settings.method)
        check_pixels(x)
        channels = self.settings.shape[0]
        if x.dtype != torch.float32 or x.shape[1] != channels:
            raise InputError(
                f"the images must be float32 of {channels} channels, not "
                f"{str(x.dtype).removeprefix('torch.')} of {x.shape[1]}"
            )
        if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != x.shape[:1]:
            raise InputError(f"the labels must be an int64 tensor of shape ({len(x)},)")
        if len(y):
            check_labels(y, self.classes)
        return attack(self.game, self.method, ImageBatch(x, y))


def save_model(
    path: Path,
    settings: Settings,
    dataset: Dataset,
    *,
    best: Mapping[str, Tensor],
    last: Mapping[str, Tensor],
    method: Method,
) -> None:
    """Write a finished run's classifier and attacker, in one step.

    Args:
        path: The file, ``<run>/model.pt``.
        settings: What was trained, and how.
        dataset: Whose classes and statistics the classifier knows.
        best: Weights of the classifier at its best epoch.
        last: Weights after the last epoch.
        method: The perturbation's side, its rule as training left it.

    Raises:
        InputError: The file cannot be written.
    """
    mean, std = dataset.statistics
    content = {
        "settings": settings.to_dict(),
        "classes": dataset.classes,
        "statistics": [list(map(float, mean)), list(map(float, std))],
        "classifier": {"best": dict(best), "last": dict(last)},
        "attacker": method.rule.state_dict() if method.learns else None,
    }
    save_tensors(path, content)


def load_model(
    path: str | Path, *, which: Which = "best", device: torch.device | str = "cpu"
) -> TrainedModel:
    """Load the classifier and the attacker of a finished run of ``train_cifar.py``.

    The file is read without unpickling anything. A method or a classifier that was registered from
    outside has to be registered before its model is loaded.

    Args:
        path: The run's folder, ``runs/cifar10/grad_l2l/seed0``, or its ``model.pt``.
        which: The epoch that was best on held-out images, or the last one.
        device: Where to load it to.

    Raises:
        InputError: There is no such file, it is damaged, or it does not fit this version.
    """
    if which not in ("best", "last"):
        raise InputError(f"which is {which!r}: give best or last")
    path = home_expanded(path)
    file = path / MODEL_FILE if os.path.isdir(path) else path
    missing = f"{file} is missing: give the folder of a finished run, .../seed0, or its model.pt"
    content = read_tensors(file, missing=missing, way_out=_WAY_OUT)
    with fitting(file):
        return _build(content, which, device)


def _build(content: Any, which: Which, device: torch.device | str) -> TrainedModel:
    chosen = content["settings"]
    settings = Settings(**{**chosen, "shape": tuple(chosen["shape"])})
    classes = int(content["classes"])
    mean, std = ([float(value) for value in values] for values in content["statistics"])
    if not len(mean) == len(std) == settings.shape[0] or not all(value > 0 for value in std):
        raise ValueError(f"its statistics are not those of {settings.shape[0]} channels")
    weights, attacker = content["classifier"][which], content["attacker"]

    def players() -> tuple[nn.Module, Method]:
        classifier = build_classifier(
            settings.model,
            classes,
            settings.seed,
            statistics=(mean, std),
            width=settings.width,
            size=settings.shape[1:],
        )
        return classifier, build_method(settings)

    # First without memory: sizes that the file only speaks of are not to be allocated.
    try:
        with torch.device("meta"):
            classifier, method = players()
    except RuntimeError as error:
        if "meta" not in str(error):
            raise
        # A constructor of one's own looks at values, of which there are none.
        classifier, method = players()
    _check_shapes(classifier, weights)
    if attacker is not None:
        _check_shapes(method.rule, attacker)
    classifier, method = players()
    classifier.load_state_dict(weights)
    if attacker is not None:
        method.rule.load_state_dict(attacker)
    method.rule.to(device)
    for tensor in (*classifier.state_dict().values(), *method.rule.state_dict().values()):
        if (
            isinstance(tensor, Tensor)
            and tensor.is_floating_point()
            and not tensor.isfinite().all()
        ):
            raise ValueError("it holds numbers that are not finite")
    return TrainedModel(classifier.to(device).eval(), method, settings, classes)


def _check_shapes(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    needed, given = _shapes(module.state_dict()), _shapes(weights)
    for name in sorted(needed.keys() | given.keys()):
        if needed.get(name) != given.get(name):
            raise ValueError(f"{name} is of shape {given.get(name)}, not {needed.get(name)}")


def _shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of tensors; what ``get_extra_state`` has added may be anything."""
    return {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}
