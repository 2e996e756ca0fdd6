"""From a request for data to a dataset: a folder, a download, or the generated set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from l2l_gail.errors import InputError

from .cifar_files import find_folder, read_cifar10
from .data import Dataset, Images
from .download import download_cifar10, reachable
from .synthetic import synthetic_dataset

__all__ = ["DATA_VARIABLE", "DataName", "check_sizes", "load_dataset", "locate"]

DataName = Literal["auto", "cifar10", "synthetic"]

DATA_VARIABLE = "L2L_GAIL_DATA"
"""Environment variable that names the data folder where no flag does."""

_SYNTHETIC_TRAIN = 10_000
_SYNTHETIC_TEST = 2_000
_HELD_OUT = 1_000


def locate(
    data: DataName,
    data_dir: str | Path | None,
    *,
    has_network: Callable[[], bool] = reachable,
    fetch: Callable[[Path], Path] = download_cifar10,
) -> Path | None:
    """Find CIFAR-10, downloading it if it is nowhere.

    Args:
        data: ``cifar10`` insists on it; ``auto`` takes it where it can be had.
        data_dir: The user's folder; ``None`` means ``$L2L_GAIL_DATA`` or else ``data``.
        has_network: Whether a download can be tried.
        fetch: Downloads into a folder and returns where the batches lie.

    Returns:
        The folder with the batches; ``None`` for the generated set.

    Raises:
        InputError: If CIFAR-10 was asked for, by name or by a folder, and cannot be had.
    """
    if data == "synthetic":
        return None
    if data_dir is not None and not Path(data_dir).is_dir():
        raise InputError(
            f"--data-dir {data_dir} is no folder; give one that exists, or leave it out to "
            "download CIFAR-10 to data/ where there is a network"
        )
    root = Path(data_dir or os.environ.get(DATA_VARIABLE) or "data")
    folder = find_folder(root)
    if folder is not None:
        return folder
    if has_network():
        return fetch(root)
    if data == "cifar10" or data_dir is not None:
        raise InputError(
            f"no CIFAR-10 in {root} and no network to download it; give --data-dir a folder that "
            "holds cifar-10-batches-py, or connect to a network"
        )
    return None


def load_dataset(
    folder: Path | None,
    *,
    train_size: int | None = None,
    eval_size: int | None = None,
    check_md5: bool = True,
) -> Dataset:
    """Read CIFAR-10 from ``folder``, or generate ``synthetic`` if there is none.

    A tenth of the training images, at most 1,000, is held out to choose the best epoch.

    Args:
        folder: The python batches, or ``None``.
        train_size: Training images, the held-out ones included; ``None`` takes all there are.
        eval_size: Test images; ``None`` takes all there are.
        check_md5: Warn where a batch is not the original file.

    Raises:
        InputError: If a file is wrong, or a size is.
    """
    check_sizes(train_size, eval_size)
    if folder is None:
        train_size = train_size or _SYNTHETIC_TRAIN
        return synthetic_dataset(
            train_size=train_size,
            eval_size=eval_size or _SYNTHETIC_TEST,
            held_out=_held_out(train_size),
        )
    parts = (read_cifar10(folder, train=train, check_md5=check_md5) for train in (True, False))
    train, test = (Images(torch.from_numpy(x), torch.from_numpy(y)) for x, y in parts)
    held_out = _held_out(train_size or len(train))
    return Dataset.split(
        "cifar10", train, test, held_out=held_out, train_size=train_size, eval_size=eval_size
    )


def check_sizes(train_size: int | None, eval_size: int | None) -> None:
    """Refuse numbers of images that nothing can be trained or judged on.

    Raises:
        InputError: If one is below 10.
    """
    for flag, size in (("--train-size", train_size), ("--eval-size", eval_size)):
        if size is not None and size < 10:
            raise InputError(f"{flag} {size} must be at least 10")


def _held_out(train_size: int) -> int:
    return min(_HELD_OUT, train_size // 10)
