"""What a run writes down: TensorBoard scalars and the grid of adversarial images."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from l2l_gail.event_files import continued_writer
from l2l_gail.files import atomic_write

__all__ = ["TAGS", "Logbook", "image_grid"]

TAGS = {
    "train/loss": "cross-entropy at the perturbed training batch, in nats; x: step",
    "train/accuracy": "accuracy at the perturbed training batch; x: step",
    "train/lr": "learning rate of the classifier; x: step",
    "attacker/gradient_norm": "2-norm of the learned attacker's gradient before clipping; x: step",
    "attacker/moved": "||phi - phi_0|| / ||phi_0||, phi the attacker's weights; x: epoch",
    "attacker/gain": "mean cross-entropy at the attacker's images minus at clean ones, of held-out "
    "images or, if it remembers images, of training ones; x: epoch",
    "attacker/gain_fgsm": "the same for x + eps sign(gradient), same classifier; x: epoch",
    "held_out/clean": "accuracy on clean held-out images; x: epoch",
    "held_out/pgd20": "accuracy on held-out images under PGD-20; x: epoch",
    "held_out/robust": "accuracy on held-out images under the standing measure; x: epoch",
    "health/fgsm": "accuracy on one held-out batch under FGSM; x: epoch",
    "health/pgd7": "accuracy on the same batch under PGD-7, step eps/3; x: epoch",
    "health/catastrophic_overfitting": "1 if it stands under FGSM and falls under PGD-7; x: epoch",
    "adversarial_images": "clean, perturbation x10 around grey, perturbed; x: epoch",
}
"""Every tag with its formula; a tag that is not listed is refused."""


class Logbook:
    """TensorBoard writer of one run, for the tags of :data:`TAGS` alone.

    Args:
        folder: Where the event file and the PNG go.
        step: Training steps done so far; what an interrupted run wrote beyond is forgotten.
        epoch: Epochs done so far, likewise.
    """

    def __init__(self, folder: Path, *, step: int = 0, epoch: int = 0) -> None:
        self._folder = folder
        self._writer = continued_writer(
            folder, lambda tag, x: x <= (epoch if TAGS.get(tag, "").endswith("epoch") else step)
        )

    def scalars(self, values: Mapping[str, float], x: int) -> None:
        """Write scalars at ``x``.

        Raises:
            KeyError: For a tag that is not documented.
        """
        for tag, value in values.items():
            if tag not in TAGS:
                raise KeyError(f"{tag} is not documented in TAGS")
            self._writer.add_scalar(tag, value, x)

    def images(self, clean: Tensor, perturbed: Tensor, epoch: int) -> None:
        """Write the grid as TensorBoard image and as ``adversarial.png``."""
        grid = image_grid(clean, perturbed)
        self._writer.add_image("adversarial_images", grid, epoch, dataformats="HWC")
        size = (grid.shape[1] * 3, grid.shape[0] * 3)
        file = io.BytesIO()
        Image.fromarray(grid).resize(size, Image.Resampling.NEAREST).save(file, format="png")
        atomic_write(self._folder / "adversarial.png", file.getvalue())

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


def image_grid(clean: Tensor, perturbed: Tensor) -> np.ndarray:
    """Return three rows of images: clean, ten times the perturbation around grey, perturbed.

    Args:
        clean: Images in [0, 1], shape ``(n, 3, H, W)``.
        perturbed: Images of the same shape.

    Returns:
        uint8 of shape ``(3 (H + 2), n (W + 2), 3)``; a white line between images.
    """
    rows = [clean, 0.5 + 10 * (perturbed - clean), perturbed]
    framed = torch.nn.functional.pad(torch.stack(rows), (1, 1, 1, 1), value=1.0)
    grid = framed.permute(0, 3, 1, 4, 2)  # (3, H, n, W, colour)
    grid = grid.reshape(grid.shape[0] * grid.shape[1], -1, clean.shape[1])
    return grid.clamp(0, 1).mul(255).round().byte().cpu().numpy()
