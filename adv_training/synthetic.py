"""A generated set of ten classes on which robust training is a real problem.

Each image carries its class twice, after Tsipras et al. 2019 (arXiv 1805.12152, section 2.1):

* a **shape**: a coarse pattern of large amplitude, under coarse noise, and in a fifth of the images
  that of another class.  No perturbation of 8/255 can remove it, but it is right only four times
  in five at best;
* a **texture**: a fine tile of amplitude 5/255, always right, and gone, or turned into another
  class's, within 8/255.

Standard training therefore leans on the texture: nearly all right on clean images, nearly none
under attack.  Adversarial training has to fall back on the shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from l2l_gail.devices import own_defaults

from .data import Dataset, Images
from .layers import CIFAR10_STATISTICS

__all__ = ["CLASSES", "synthetic_dataset", "synthetic_images"]

CLASSES = 10

_SIDE = 32
_COARSE = 4
_TILE = 4
_SHAPE_AMPLITUDE = 0.12
_SHAPE_NOISE = 0.10
_WRONG_SHAPE = 0.2
_TEXTURE_AMPLITUDE = 5 / 255
_PIXEL_NOISE = 0.02
_PATTERN_SEED = 20211  # the classes themselves are always the same ten


@own_defaults
def synthetic_images(count: int, *, seed: int) -> Images:
    """Return ``count`` images with labels in 0..9; equal seeds give equal images.

    Args:
        count: Number of images.
        seed: Seed of labels and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes, textures = _patterns()
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    others = (labels + torch.randint(1, CLASSES, (count,), generator=generator)) % CLASSES
    wrong = torch.rand(count, generator=generator) < _WRONG_SHAPE
    coarse = shapes[torch.where(wrong, others, labels)] * _SHAPE_AMPLITUDE
    coarse = coarse + _SHAPE_NOISE * torch.randn(coarse.shape, generator=generator)
    x = 0.5 + F.interpolate(coarse, size=_SIDE, mode="bilinear")  # (N, 3, 32, 32)
    x += _TEXTURE_AMPLITUDE * textures[labels]
    x += _PIXEL_NOISE * torch.randn(x.shape, generator=generator)
    return Images(x.mul_(255).round_().clamp_(0, 255).byte(), labels)


@own_defaults
def synthetic_dataset(*, train_size: int, eval_size: int, held_out: int, seed: int = 0) -> Dataset:
    """Return the whole dataset; train and test images are drawn apart.

    Args:
        train_size: Training images, those held out included.
        eval_size: Test images.
        held_out: Training images kept back to choose the best epoch.
        seed: Seed of the images.
    """
    return Dataset.split(
        "synthetic",
        synthetic_images(train_size, seed=2 * seed),
        synthetic_images(eval_size, seed=2 * seed + 1),
        held_out=held_out,
        classes=CLASSES,
        statistics=CIFAR10_STATISTICS,
        augmented=False,  # more images cost nothing here, and a shift would break the tiles
    )


def _patterns() -> tuple[Tensor, Tensor]:
    """Return shapes of (10, 3, 4, 4) and textures of (10, 3, 32, 32), entries -1 or 1."""
    generator = torch.Generator().manual_seed(_PATTERN_SEED)
    shapes = _signs((CLASSES, 3, _COARSE, _COARSE), generator)
    tiles = _signs((CLASSES, 3, _TILE, _TILE), generator)
    return shapes, tiles.repeat(1, 1, _SIDE // _TILE, _SIDE // _TILE)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator).float() * 2 - 1
