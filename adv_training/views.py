"""Crops and mirror images: from where in its image each pixel of an augmented one comes."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["View", "draw_view"]

_WIDEST = 4
_SHARE = 8


class View(NamedTuple):
    """How each image of a batch was shifted and mirrored: where its pixels come from.

    Attributes:
        rows: Of the image with its border (:func:`border`), for each row that is seen, int64
            ``(B, H)``.
        columns: The same of the columns, ``(B, W)``.
    """

    rows: Tensor
    columns: Tensor

    def part(self, part: slice) -> View:
        """Return that of some of the images."""
        return View(self.rows[part], self.columns[part])

    def of(self, images: Tensor) -> Tensor:
        """Return what is seen of images ``(B, C, H, W)``, the same shape; zeros from outside.

        One gather for the whole batch, on its device.
        """
        pixels = _bordered(images).flatten(2)
        return pixels.gather(2, self._places(images.shape[1])).view_as(images)

    def put(self, images: Tensor, seen: Tensor) -> Tensor:
        """Return images in which what is seen is ``seen``, and the rest as it was."""
        whole = _bordered(images)
        places = self._places(images.shape[1])
        whole.flatten(2).scatter_(2, places, seen.contiguous().flatten(2))  # writes into whole
        height, width = images.shape[2:]
        above, left = border(height), border(width)
        return whole[:, :, above : above + height, left : left + width]

    def _places(self, channels: int) -> Tensor:
        """Return where what is seen lies in bordered images, their pixels in one row.

        Returns:
            int64 ``(B, C, H W)`` into the bordered images, alike for all channels.
        """
        width = self.columns.shape[1]
        width += 2 * border(width)
        places = (self.rows[:, :, None] * width + self.columns[:, None, :]).flatten(1)
        return places[:, None].expand(-1, channels, -1)


def border(side: int) -> int:
    """Return by how many pixels an image of that height or width is shifted at most.

    Four, as is usual at 32; an eighth of a smaller image, of which four would be too much.
    """
    return min(_WIDEST, round(side / _SHARE))


def draw_view(count: int, height: int, width: int, generator: torch.Generator) -> View:
    """Draw, for each image, how it is shifted, up to its border, and whether it is mirrored.

    Args:
        count: Images.
        height: Of an image.
        width: Of an image.
        generator: On the device of the images.
    """
    device = generator.device
    reach = [border(height), border(width)]
    if reach[0] == reach[1]:  # one draw
        shift = _shifts(reach[0], (2, count, 1), generator)
    else:
        shift = torch.stack([_shifts(most, (count, 1), generator) for most in reach])
    mirror = torch.randint(0, 2, (count, 1), generator=generator, device=device).bool()
    columns = torch.arange(width, device=device)
    rows = torch.arange(height, device=device) + shift[0]  # (B, H)
    columns = torch.where(mirror, columns.flip(0), columns) + shift[1]  # (B, W)
    return View(rows, columns)


def _shifts(most: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2 * most + 1, shape, generator=generator, device=generator.device)


def _bordered(images: Tensor) -> Tensor:
    """Return images with a border of zeros as wide as they may be shifted."""
    height, width = images.shape[2:]
    above, left = border(height), border(width)
    return F.pad(images, (left, left, above, above))
