"""A few test images before and after the attack with their classes, for the comparison to draw."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from l2l_gail.files import atomic_write, seal

from .data import ImageBatch
from .game import in_mode

__all__ = ["CLASS_NAMES", "save_pictures"]

CLASS_NAMES = {
    "cifar10": tuple("plane car bird cat deer dog frog horse ship truck".split()),
}
"""Names of the classes, by data set, in the order of their labels; others go by number."""


def save_pictures(
    folder: Path,
    classifier: nn.Module,
    clean: ImageBatch,
    perturbed: Tensor,
    *,
    data: str,
    classes: int,
) -> None:
    """Write ``adversarial.npz``: the images, their classes, and those that the classifier sees.

    Args:
        folder: Folder of the run.
        classifier: Images in [0, 1] to logits.
        clean: Images and labels.
        perturbed: The same images after the attack, ``(n, C, H, W)``.
        data: Name of the data set.
        classes: Number of its classes.
    """
    with in_mode(classifier, training=False), torch.no_grad():
        before, after = (classifier(x).argmax(1) for x in (clean.x, perturbed))
    names = CLASS_NAMES.get(data) or tuple(map(str, range(classes)))
    file = io.BytesIO()
    np.savez_compressed(
        file,
        clean=_as_pixels(clean.x),
        perturbed=_as_pixels(perturbed),
        labels=clean.y.cpu().numpy(),
        before=before.cpu().numpy(),
        after=after.cpu().numpy(),
        classes=np.array(names),
    )
    atomic_write(folder / "adversarial.npz", seal(file.getvalue()))


def _as_pixels(images: Tensor) -> np.ndarray:
    """``(n, C, H, W)`` in [0, 1] as uint8 ``(n, H, W, C)``."""
    pixels = images.detach().float().clamp(0, 1).mul(255).round().byte()
    return pixels.permute(0, 2, 3, 1).cpu().numpy()
