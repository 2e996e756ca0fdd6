"""Reader of CIFAR's standard python batches, strict about what a file may contain.

The format (https://www.cs.toronto.edu/~kriz/cifar.html): CIFAR-10 is five training batches and one
test batch, CIFAR-100 one file of each kind. Every file is a pickled dict whose ``data`` is uint8 of
shape (n, 3072), rows red-green-blue planes of 32 x 32, and whose labels are n whole numbers:
``labels`` below 10, or ``fine_labels`` below 100 and ``coarse_labels`` below 20. The originals are
pickles of Python 2; they are read as data (:mod:`l2l_gail.files.pickles`), by no unpickler that
could import, run or overwrite anything.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np

from l2l_gail.errors import InputError
from l2l_gail.files import home_expanded, open_regular
from l2l_gail.files.numpy_pickles import NUMPY_TABLE, PickledArray
from l2l_gail.files.pickles import Refused, read_plain

__all__ = [
    "BATCH_MD5",
    "CIFAR100_MD5",
    "FOLDER",
    "FOLDER_100",
    "find_cifar10",
    "find_cifar100",
    "read_cifar10",
    "read_cifar100",
]

FOLDER = "cifar-10-batches-py"
FOLDER_100 = "cifar-100-python"

BATCH_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The files of CIFAR-10 and the md5 sums of the originals."""

CIFAR100_MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
"""The files of CIFAR-100, likewise."""

_CLASSES = {"labels": 10, "fine_labels": 100, "coarse_labels": 20}
_LARGEST_FILE = 1 << 30
_PACKERS = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


def find_cifar10(data_dir: str | Path) -> Path | None:
    """Return CIFAR-10's folder: ``data_dir`` itself or the standard folder inside it."""
    return _find(data_dir, FOLDER, ("test_batch", "data_batch_1"))


def find_cifar100(data_dir: str | Path) -> Path | None:
    """Return CIFAR-100's folder, likewise."""
    return _find(data_dir, FOLDER_100, CIFAR100_MD5)


def _find(data_dir: str | Path, standard: str, names: Collection[str]) -> Path | None:
    """Return the folder that holds one of some files: ``data_dir`` or ``standard`` inside it."""
    data_dir = home_expanded(data_dir)
    for folder in (data_dir, data_dir / standard):
        if any(os.path.isfile(folder / name) for name in names):
            return folder
    return None


def read_cifar10(
    data_dir: str | Path, *, train: bool, check_md5: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Read the training or the test images of CIFAR-10.

    Args:
        data_dir: The folder with the six batches, or the one that holds ``cifar-10-batches-py``.
        train: The 50,000 training images if true, the 10,000 test images if false.
        check_md5: Warn where a file is not the original one, byte by byte.

    Returns:
        Images, uint8 of shape ``(N, 3, 32, 32)``, and labels, int64 of shape ``(N,)``.

    Raises:
        InputError: If a file is missing, damaged, of another shape, or has other labels.
    """
    folder = find_cifar10(data_dir)
    if folder is None:
        raise InputError(
            f"no CIFAR-10 in {data_dir}: it holds neither data_batch_1 nor {FOLDER}/; give "
            "--data-dir the folder with the python batches"
        )
    sums = {name: md5 for name, md5 in BATCH_MD5.items() if name.startswith("data") == train}
    return _read_files(folder, sums, "labels", check_md5, every=tuple(BATCH_MD5))


def read_cifar100(
    data_dir: str | Path,
    *,
    train: bool,
    labels: Literal["fine", "coarse"] = "fine",
    check_md5: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Read the training or the test images of CIFAR-100.

    Args:
        data_dir: The folder with ``train`` and ``test``, or the one that holds
            ``cifar-100-python``.
        train: The 50,000 training images if true, the 10,000 test images if false.
        labels: The 100 classes, or the 20 that they are grouped into.
        check_md5: Warn where a file is not the original one, byte by byte.

    Returns:
        As :func:`read_cifar10`.

    Raises:
        InputError: Likewise.
    """
    folder = find_cifar100(data_dir)
    if folder is None:
        raise InputError(
            f"no CIFAR-100 in {data_dir}: it holds neither train nor {FOLDER_100}/; give "
            "--data-dir the folder with the python files"
        )
    name = "train" if train else "test"
    sums = {name: CIFAR100_MD5[name]}
    return _read_files(folder, sums, f"{labels}_labels", check_md5, every=tuple(CIFAR100_MD5))


def _read_files(
    folder: Path, sums: dict[str, str], labels: str, check_md5: bool, *, every: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Read files one after the other.

    Args:
        folder: Where they lie.
        sums: Names and md5 sums of those to read.
        labels: Entry that holds the labels.
        check_md5: Warn where a file is another than the original.
        every: Names of all files of the dataset, for whoever lacks one.
    """
    parts, altered = [], []
    lacking = ", ".join(name for name in every if not os.path.exists(folder / name))
    missing = f"{folder} lacks {lacking} (of {', '.join(every)}); copy or download it again"
    for name, md5 in sums.items():
        path = folder / name
        with open_regular(path, missing=missing) as file:
            raw = file.read(_LARGEST_FILE + 1)
        if len(raw) > _LARGEST_FILE:
            raise InputError(f"{path} is larger than 1 GiB; copy or download it again")
        parts.append(_parse(path, raw, labels))
        if check_md5 and hashlib.md5(raw, usedforsecurity=False).hexdigest() != md5:
            altered.append(name)
    if altered:
        warnings.warn(
            f"{', '.join(altered)} in {folder}: md5 differs from the original files; shapes and "
            "labels are right, so training goes on",
            stacklevel=3,
        )
    images, targets = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images, targets


def _parse(path: Path, raw: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return one file's images ``(n, 3, 32, 32)`` and labels ``(n,)``, or say what is wrong."""
    try:
        content, _ = read_plain(raw, NUMPY_TABLE)
    except Exception as error:  # a damaged pickle raises nearly anything
        for mark, packer in _PACKERS.items():
            if raw.startswith(mark):
                raise InputError(f"{path} is packed by {packer}: unpack it in its place") from error
        reason = str(error) if isinstance(error, Refused) else "no pickle, or a damaged one"
        raise InputError(
            f"{path} is not a CIFAR batch ({reason}); copy or download it again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a CIFAR batch: a {type(content).__name__}, not a dict")
    content = {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in content.items()}
    data = _array(content.get("data"))
    if data is None or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        found = "none" if data is None else f"{data.dtype} {data.shape}"
        raise InputError(f"{path}: data must be uint8 of shape (n, 3072), found {found}")
    labels = _whole_numbers(content.get(name))
    if labels is None:
        raise InputError(
            f"{path}: {name!r} must be whole numbers, one an image; is this the right dataset?"
        )
    if len(labels) != len(data) or not len(data):
        raise InputError(f"{path}: {len(data)} images but {len(labels)} labels")
    outside = labels[(labels < 0) | (labels >= _CLASSES[name])]
    if len(outside):
        raise InputError(f"{path}: label {outside[0]} is outside 0..{_CLASSES[name] - 1}")
    return data.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _array(value: Any) -> np.ndarray | None:
    return value.value if isinstance(value, PickledArray) else None


def _whole_numbers(value: Any) -> np.ndarray | None:
    """A list of whole numbers, or a vector of them; else None."""
    if isinstance(value, list):
        if any(type(number) is not int or not abs(number) < 2**31 for number in value):
            return None
        return np.asarray(value, dtype=np.int64)
    array = _array(value)
    if array is None or array.ndim != 1 or array.dtype.kind not in "iu":
        return None
    return array
