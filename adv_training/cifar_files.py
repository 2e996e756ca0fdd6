"""Reader of CIFAR-10's standard python batches, strict about what a file may contain.

The format (https://www.cs.toronto.edu/~kriz/cifar.html): five training batches and one test batch,
each a pickled dict whose ``data`` is uint8 of shape (10000, 3072), rows red-green-blue planes of
32 x 32, and whose ``labels`` are 10,000 integers below 10.  The files are pickles of Python 2; they
are read by an unpickler that builds numpy arrays and plain containers and nothing else.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from l2l_gail.errors import InputError

__all__ = ["BATCH_MD5", "FOLDER", "find_folder", "read_cifar10"]

FOLDER = "cifar-10-batches-py"

BATCH_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The files of the dataset and the md5 sums of the originals."""

_CLASSES = 10

_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays and plain containers; any other object is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        if name == "_reconstruct":
            return _reconstruct
        if name == "encode":
            return codecs.encode
        return getattr(np, name)


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """Return the empty array that a pickled array's state is then written into."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError("an array of a foreign type")
    return np.ndarray.__new__(np.ndarray, shape, "b")


def find_folder(data_dir: str | Path) -> Path | None:
    """Return the folder of the batches: ``data_dir`` itself or the standard folder inside it."""
    for folder in (Path(data_dir), Path(data_dir) / FOLDER):
        if (folder / "test_batch").is_file() or (folder / "data_batch_1").is_file():
            return folder
    return None


def read_cifar10(
    data_dir: str | Path, *, train: bool, check_md5: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Read the training or the test images.

    Args:
        data_dir: The folder with the six batches, or the one that holds ``cifar-10-batches-py``.
        train: The 50,000 training images if true, the 10,000 test images if false.
        check_md5: Warn where a file is not the original one, byte by byte.

    Returns:
        Images, uint8 of shape ``(N, 3, 32, 32)``, and labels, int64 of shape ``(N,)``.

    Raises:
        InputError: If a file is missing, damaged, of another shape, or has other labels.
    """
    folder = find_folder(data_dir)
    if folder is None:
        raise InputError(
            f"no CIFAR-10 in {data_dir}: it holds neither data_batch_1 nor {FOLDER}/; give "
            "--data-dir the folder with the python batches"
        )
    names = [name for name in BATCH_MD5 if name.startswith("data") == train]
    parts, altered = [], []
    for name in names:
        path = folder / name
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}); CIFAR-10 is {', '.join(BATCH_MD5)}"
            ) from error
        parts.append(_parse(path, raw))
        digest = hashlib.md5(raw, usedforsecurity=False).hexdigest() if check_md5 else ""
        if check_md5 and digest != BATCH_MD5[name]:
            altered.append(name)
    if altered:
        warnings.warn(
            f"{', '.join(altered)} in {folder}: md5 differs from the original files; shapes and "
            "labels are right, so training goes on",
            stacklevel=2,
        )
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images, labels


def _parse(path: Path, raw: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return one batch's images ``(n, 3, 32, 32)`` and labels ``(n,)``, or say what is wrong."""
    try:
        content = _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} is not a CIFAR-10 batch ({reason}); copy or download it again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a CIFAR-10 batch: a {type(content).__name__}, not a dict")
    content = {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in content.items()}
    data, labels = content.get("data"), content.get("labels")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data)
        raise InputError(f"{path}: data must be uint8 of shape (n, 3072), found {found}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise InputError(f"{path}: labels must be a list of whole numbers; is this CIFAR-10?")
    if len(labels) != len(data):
        raise InputError(f"{path}: {len(data)} images but {len(labels)} labels")
    outside = [label for label in labels if not 0 <= label < _CLASSES]
    if outside:
        raise InputError(f"{path}: label {outside[0]} is outside 0..{_CLASSES - 1}")
    return data.reshape(-1, 3, 32, 32), np.asarray(labels, dtype=np.int64)
