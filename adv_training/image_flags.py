"""The flags that say which images to train on, and the way from them to a dataset."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from .data import Dataset
from .load import DataName, check_sizes, load_dataset, locate

__all__ = ["ImageFlags"]

_NO_DATA = (
    "neither CIFAR-10 nor a network: give --data-dir a folder with cifar-10-batches-py, or connect "
    "to a network; for now, a 2-minute demonstration on synthetic data"
)


@dataclass(frozen=True)
class ImageFlags:
    """Which images to train on, and how many of them."""

    data: DataName = "auto"
    """CIFAR-10, CIFAR-100 or a small generated set; auto: CIFAR-10 if it can be had."""
    data_dir: Path | None = None
    """Folder with the python batches; else $L2L_GAIL_DATA, else data/."""
    train_size: int | None = None
    """Use only so many training images."""
    eval_size: int | None = None
    """Use only so many test images."""

    def __post_init__(self) -> None:
        """Refuse sizes that leave nothing to train or to judge on.

        Raises:
            InputError: In one line.
        """
        check_sizes(self.train_size, self.eval_size)

    def locate(self) -> Path | None:
        """Return the folder of CIFAR-10; ``None``, with a line if that is a surprise, without it.

        Raises:
            InputError: CIFAR-10 was asked for and cannot be had.
        """
        folder = locate(self.data, self.data_dir)
        if folder is None and self.data == "auto":
            print(_NO_DATA, flush=True)
        return folder

    def load(self, folder: Path | None, *, check: bool = False) -> Dataset:
        """Return the images from where they were found.

        Args:
            folder: What :meth:`locate` has returned.
            check: Note on stderr what is odd about the files.

        Raises:
            InputError: If a file is wrong, or a size is.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            sizes = {"train_size": self.train_size, "eval_size": self.eval_size}
            dataset = load_dataset(folder, name=self.data, check_md5=check, **sizes)
        for warning in caught if check else ():
            print(f"note: {warning.message}", file=sys.stderr)
        return dataset
