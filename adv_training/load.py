"""From a request for data to a dataset: a folder, a download, or the generated set."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from l2l_gail.devices import own_defaults
from l2l_gail.errors import InputError
from l2l_gail.files import home_expanded

from .cifar_files import (
    FOLDER,
    FOLDER_100,
    find_cifar10,
    find_cifar100,
    read_cifar10,
    read_cifar100,
)
from .data import Dataset, Images
from .download import URL, URL_100, archive_of, download_cifar10, download_cifar100, reachable
from .layers import CIFAR10_STATISTICS, CIFAR100_STATISTICS
from .synthetic import synthetic_dataset

__all__ = ["DATA_VARIABLE", "DataName", "check_sizes", "load_dataset", "locate"]

DataName = Literal["auto", "cifar10", "cifar100", "synthetic"]

DATA_VARIABLE = "L2L_GAIL_DATA"
"""Environment variable that names the data folder where no flag does."""

_SYNTHETIC_TRAIN = 10_000
_SYNTHETIC_TEST = 2_000
_HELD_OUT = 1_000
_MOST = 60_000


@dataclass(frozen=True)
class _Source:
    """Where a dataset can be had."""

    name: str
    title: str
    folder: str
    archive: str
    find: Callable[[Path], Path | None]
    fetch: Callable[[Path], Path]


_CIFAR10 = _Source("cifar10", "CIFAR-10", FOLDER, archive_of(URL), find_cifar10, download_cifar10)
_CIFAR100 = _Source(
    "cifar100", "CIFAR-100", FOLDER_100, archive_of(URL_100), find_cifar100, download_cifar100
)


def locate(
    data: DataName,
    data_dir: str | Path | None,
    *,
    has_network: Callable[[], bool] = reachable,
    fetch: Callable[[Path], Path] | None = None,
) -> Path | None:
    """Find CIFAR-10 or CIFAR-100; unpack its archive if that lies there, else download it.

    Args:
        data: ``cifar10`` and ``cifar100`` insist on it; ``auto`` takes CIFAR-10 if it can be had.
        data_dir: The user's folder; ``None`` means ``$L2L_GAIL_DATA`` or else ``data``.
        has_network: Whether a download can be tried.
        fetch: Downloads into a folder and returns where the files lie; the dataset's own by
            default.

    Returns:
        The folder with the files; ``None`` for the generated set.

    Raises:
        InputError: If a dataset was asked for, by name or by a folder, and cannot be had, or the
            folder is the other one's.
    """
    if data == "synthetic":
        return None
    source = _CIFAR100 if data == "cifar100" else _CIFAR10
    data_dir = None if data_dir is None else home_expanded(data_dir)
    if data_dir is not None and not os.path.isdir(data_dir):
        raise InputError(
            f"--data-dir {data_dir} is no folder; give one that exists, or leave it out to "
            f"download {source.title} to data/ where there is a network"
        )
    named = os.environ.get(DATA_VARIABLE)
    if data_dir is None and named and not os.path.isdir(home_expanded(named)):
        raise InputError(
            f"${DATA_VARIABLE} names {named}, which is no folder; let it name one that exists, or "
            f"unset it to download {source.title} to data/ where there is a network"
        )
    root = home_expanded(data_dir or named or "data")
    folder = source.find(root)
    if folder is not None:
        return folder
    asked = data != "auto" or data_dir is not None
    other = _CIFAR10 if source is _CIFAR100 else _CIFAR100
    there = other.find(root) if asked else None
    # Not into the other's own folder; beside it in a folder of both a download is welcome.
    if there != root and (os.path.lexists(root / source.archive) or has_network()):
        return (fetch or source.fetch)(root)
    if there is not None:
        raise InputError(
            f"{root} holds {other.title} and no {source.title}; to train on that give --data "
            f"{other.name}, else --data-dir a folder that holds {source.folder}"
        )
    if asked:
        raise InputError(
            f"no {source.title} in {root} and no network to download it; give --data-dir a folder "
            f"that holds {source.folder} or {source.archive}, or connect to a network"
        )
    return None


@own_defaults
def load_dataset(
    folder: str | Path | None,
    *,
    name: str | None = None,
    train_size: int | None = None,
    eval_size: int | None = None,
    check_md5: bool = True,
) -> Dataset:
    """Read CIFAR-10 or CIFAR-100 from ``folder``, or generate ``synthetic`` if there is none.

    Which of the two it is the files tell, or the name, if they are there both. A tenth of the
    training images, at most 1,000, is held out to choose the best epoch.

    Args:
        folder: As :func:`locate` returns it: the one that holds the files, or ``None``.
        name: ``cifar10`` or ``cifar100``, to read no other; anything else for what is there,
            CIFAR-10 first.
        train_size: Training images, the held-out ones included; ``None`` takes all there are.
        eval_size: Test images; ``None`` takes all there are.
        check_md5: Warn where a file is not the original one.

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
    folder = home_expanded(folder)
    hundred = name == "cifar100"
    if name not in ("cifar10", "cifar100"):
        hundred = find_cifar10(folder) is None and find_cifar100(folder) is not None
    read = read_cifar100 if hundred else read_cifar10
    parts = (read(folder, train=train, check_md5=check_md5) for train in (True, False))
    train, test = (Images(torch.from_numpy(x), torch.from_numpy(y)) for x, y in parts)
    return Dataset.split(
        "cifar100" if hundred else "cifar10",
        train,
        test,
        held_out=_held_out(train_size or len(train)),
        train_size=train_size,
        eval_size=eval_size,
        classes=100 if hundred else 10,
        statistics=CIFAR100_STATISTICS if hundred else CIFAR10_STATISTICS,
    )


def check_sizes(train_size: int | None, eval_size: int | None) -> None:
    """Refuse numbers of images that nothing can be trained or judged on, or that no set has.

    Raises:
        InputError: If one is below 10 or above 60,000: CIFAR has no more, and as many generated
            ones take 2 GB while they are made.
    """
    for flag, size in (("--train-size", train_size), ("--eval-size", eval_size)):
        if size is not None and size < 10:
            raise InputError(f"{flag} {size} must be at least 10")
        if size is not None and size > _MOST:
            raise InputError(f"{flag} {size} must be at most {_MOST}")


def _held_out(train_size: int) -> int:
    return min(_HELD_OUT, train_size // 10)
