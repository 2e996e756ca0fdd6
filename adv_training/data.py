"""Images on the device: uint8 tensors, augmented sample by sample where they lie."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.files import digest_of

from .layers import Statistics
from .views import View, draw_view

__all__ = ["Dataset", "ImageBatch", "Images", "statistics_of"]

_WHOLE = {
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
}
"""Types of labels."""


class ImageBatch(NamedTuple):
    """What the two players meet on.

    Attributes:
        x: Images, float32 in [0, 1], shape ``(B, C, H, W)``.
        y: Labels, int64, shape ``(B,)``.
        indices: Place of each image in its :class:`Images`, int64, shape ``(B,)``, for methods that
            remember something about each; ``None`` where a batch was put together by hand.
        view: How the images were shifted and mirrored; ``None`` where they were not.
    """

    x: Tensor
    y: Tensor
    indices: Tensor | None = None
    view: View | None = None

    def part(self, part: slice) -> ImageBatch:
        """Return some of the images."""
        indices = None if self.indices is None else self.indices[part]
        view = None if self.view is None else self.view.part(part)
        return ImageBatch(self.x[part], self.y[part], indices, view)


@dataclass(frozen=True, init=False)
class Images:
    """A set of images that stays on the device as bytes (CIFAR-10: 184 MB).

    Args:
        pixels: uint8, shape ``(N, C, H, W)``, channels first: a tensor or a numpy array, whose
            memory is shared where torch can read it.
        labels: Whole numbers of any type, shape ``(N,)``: a tensor, a numpy array or a list; the
            latter two are put where the pixels are.

    Attributes:
        pixels: uint8, shape ``(N, C, H, W)``.
        labels: int64, shape ``(N,)``.

    Raises:
        InputError: They are of another type or shape, or the channels are last.
    """

    pixels: Tensor
    labels: Tensor

    def __init__(self, pixels: Tensor | ArrayLike, labels: Tensor | ArrayLike) -> None:
        # The range of the labels is the data set's.
        pixels = _as_tensor("images", pixels)
        labels = _as_tensor("labels", labels, pixels.device)
        if pixels.dtype != torch.uint8 or pixels.dim() != 4:
            raise InputError(
                "the images must be uint8 of shape (N, C, H, W), not "
                f"{str(pixels.dtype).removeprefix('torch.')} of shape {tuple(pixels.shape)}"
            )
        if pixels.shape[1] > 4 and pixels.shape[3] in (1, 3, 4):
            raise InputError(
                f"the images are of shape {tuple(pixels.shape)}, and these look channels last; "
                "give x.transpose(0, 3, 1, 2), of a tensor x.permute(0, 3, 1, 2)"
            )
        if labels.dtype in _WHOLE:
            labels = labels.long()
        if labels.dtype != torch.int64 or labels.shape != pixels.shape[:1]:
            raise InputError(
                f"the labels must be int64 of shape ({len(pixels)},), not "
                f"{str(labels.dtype).removeprefix('torch.')} of shape {tuple(labels.shape)}"
            )
        object.__setattr__(self, "pixels", pixels)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, part: slice) -> Images:
        """Return a part of the images, without copying."""
        return Images(self.pixels[part], self.labels[part])

    def to(self, device: torch.device | str) -> Images:
        """Return the images on ``device``."""
        return Images(self.pixels.to(device), self.labels.to(device))

    def batch(self, index: Tensor | slice) -> ImageBatch:
        """Return the images of ``index`` as floats in [0, 1], channels last."""
        if isinstance(index, slice):
            index = torch.arange(len(self), device=self.pixels.device)[index]
        return self._as_batch(self.pixels[index], index)

    def batches(self, size: int) -> Iterator[ImageBatch]:
        """Yield all images in order, at most ``size`` at a time."""
        for begin in range(0, len(self), size):
            yield self.batch(slice(begin, begin + size))

    def shuffled(
        self, size: int, generator: torch.Generator, *, augmented: bool
    ) -> Iterator[ImageBatch]:
        """Yield one epoch of full batches in random order; the incomplete last one is dropped.

        Args:
            size: Images a batch.
            generator: Source of order, crops and flips, on the images' device.
            augmented: Whether to crop and flip.
        """
        device = self.pixels.device
        order = torch.randperm(len(self), generator=generator, device=device)
        for begin in range(0, len(self) - size + 1, size):
            index = order[begin : begin + size]
            pixels, view = self.pixels[index], None
            if augmented:
                count, _, height, width = pixels.shape
                view = draw_view(count, height, width, generator)
                pixels = view.of(pixels)
            yield self._as_batch(pixels, index, view)

    def _as_batch(self, pixels: Tensor, index: Tensor, view: View | None = None) -> ImageBatch:
        x = pixels.float().div_(255.0)
        x = x.contiguous(memory_format=torch.channels_last)
        return ImageBatch(x, self.labels[index], index, view)


@dataclass(frozen=True)
class Dataset:
    """The three disjoint parts of a dataset.

    Attributes:
        name: ``cifar10``, ``cifar100``, ``synthetic``, or one of your own.
        train: What the classifier learns from.
        held_out: Part of the training set that is kept back to choose the best epoch.
        test: What results are reported on.
        classes: Number of classes.
        augmented: Whether training crops and flips.
        statistics: Mean and deviation of each channel, which classifiers normalise by; measured on
            the training images if they are not given.

    Raises:
        InputError: If a part has no images, or images of another shape or with labels outside 0 to
            ``classes - 1``, or the statistics are none of that many channels.
    """

    name: str
    train: Images
    held_out: Images
    test: Images
    classes: int
    augmented: bool
    statistics: Statistics = ((), ())

    def __post_init__(self) -> None:
        """Check the images, and measure what was not given."""
        parts = {"training": self.train, "held-out": self.held_out, "test": self.test}
        for part, images in parts.items():
            _check(part, images, self.train.pixels.shape[1:], self.classes)
        if len(self.statistics[0]) == 0:
            object.__setattr__(self, "statistics", statistics_of(self.train))
        mean, std = ([float(value) for value in values] for values in self.statistics)
        channels = self.train.pixels.shape[1]
        possible = all(map(math.isfinite, mean)) and all(0 < value < math.inf for value in std)
        if not len(mean) == len(std) == channels or not possible:
            raise InputError(
                f"the statistics must be {channels} finite means and {channels} deviations above "
                f"0, one for each channel, not {mean} and {std}"
            )
        object.__setattr__(self, "statistics", (tuple(mean), tuple(std)))

    @classmethod
    def split(
        cls,
        name: str,
        train: Images,
        test: Images,
        *,
        held_out: int,
        train_size: int | None = None,
        eval_size: int | None = None,
        classes: int = 10,
        augmented: bool = True,
        statistics: Statistics | None = None,
    ) -> Dataset:
        """Keep the last ``held_out`` of the first ``train_size`` training images back.

        Args:
            name: Of the dataset; run folders carry it.
            train: Training images.
            test: Test images.
            held_out: Training images kept back to choose the best epoch.
            train_size: Training images used; ``None`` takes all.
            eval_size: Test images used; ``None`` takes all.
            classes: Number of classes.
            augmented: Whether training crops and flips.
            statistics: Mean and deviation of each channel; measured on the training images if
                ``None``.

        Raises:
            InputError: If a size asks for more images than there are, or leaves none to train on,
                or the images are no uint8 of one shape with labels from 0 to ``classes - 1``, or
                they come in blocks of one class, so that a part of them would lack some.
        """
        train_size = len(train) if train_size is None else train_size
        eval_size = len(test) if eval_size is None else eval_size
        if held_out < 1:
            raise InputError(f"held_out must be at least 1, not {held_out}: it chooses the epoch")
        if not held_out < train_size <= len(train):
            raise InputError(
                f"--train-size {train_size} must be above the {held_out} images held out and at "
                f"most {len(train)}"
            )
        if not 1 <= eval_size <= len(test):
            raise InputError(f"--eval-size {eval_size} must be 1 to {len(test)}")
        learn = train_size - held_out
        data = cls(
            name,
            train[:learn],
            train[learn:train_size],
            test[:eval_size],
            classes,
            augmented,
            statistics or ((), ()),
        )
        training = {
            f"the first {learn}, which are those to train on,": data.train,
            f"the {held_out} held out to choose the best epoch": data.held_out,
        }
        judged = {f"the first {eval_size}, which are those to judge on,": data.test}
        _check_shuffled("training", train, training)
        if eval_size < len(test):
            _check_shuffled("test", test, judged)
        return data

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all pixels and labels, in hexadecimal."""
        parts = {"train": self.train, "held_out": self.held_out, "test": self.test}
        return digest_of(
            {
                f"{name} {what}": getattr(part, what).cpu().numpy()
                for name, part in parts.items()
                for what in ("pixels", "labels")
            }
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.pixels.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> Dataset:
        """Return the dataset on ``device``."""
        return dataclasses.replace(
            self,
            train=self.train.to(device),
            held_out=self.held_out.to(device),
            test=self.test.to(device),
        )


def statistics_of(images: Images) -> Statistics:
    """Return mean and standard deviation of each channel, in [0, 1]; a constant one has 1."""
    counts = torch.stack([c.flatten().bincount(minlength=256) for c in images.pixels.unbind(1)])
    value = torch.arange(256, dtype=torch.float64, device=counts.device) / 255
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ value
    std = (share @ value.square() - mean.square()).clamp_min(0).sqrt()
    std = torch.where(std > 1e-6, std, 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def _as_tensor(what: str, values: Tensor | ArrayLike, device: torch.device | None = None) -> Tensor:
    """Return a tensor as it is, and of anything else the numbers, on ``device``."""
    if isinstance(values, Tensor):
        return values
    try:
        # A copy only of what torch cannot look at or must not write to: reversed, read-only.
        return torch.from_numpy(np.require(values, requirements=["C", "W"])).to(device)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the {what} are no numbers in a tensor or numpy array of one shape ({error})"
        ) from None


def _check(part: str, images: Images, shape: torch.Size, classes: int) -> None:
    labels = images.labels
    if not len(labels):
        raise InputError(f"there are no {part} images; give at least one")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise InputError(
            f"the {part} labels run from {int(labels.min())} to {int(labels.max())}; with "
            f"{classes} classes they must lie in 0 to {classes - 1}"
        )
    if images.pixels.shape[1:] != shape:
        raise InputError(
            f"training images have shape {tuple(shape)} and {part} images "
            f"{tuple(images.pixels.shape[1:])}; they must be alike"
        )


def _check_shuffled(what: str, whole: Images, parts: Mapping[str, Images]) -> None:
    """Refuse images in blocks of one class, in any order of blocks, if a part of them lacks some.

    A part smaller than the number of classes may lack as many as it must.
    """
    counts = whole.labels.unique(return_counts=True)[1]
    many, classes = len(whole), len(counts)
    blocks = 1 + int((whole.labels.diff() != 0).sum())
    shuffled = 1 + many - float(counts.double().square().sum()) / many  # what would be expected
    if 2 * blocks >= shuffled and not blocks == classes <= many // 2:
        return
    there = set(whole.labels.tolist())
    for name, part in parts.items():
        found = set(part.labels.tolist())
        if len(found) < min(classes, len(part)):
            raise InputError(
                f"the {what} images come in blocks of one class, and {name} have none of class "
                f"{min(there - found)}: shuffle images and labels before"
            )
