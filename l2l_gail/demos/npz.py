"""Reading and writing ``.npz`` files of arrays, without pickle.

A file that comes from somebody else is data, never code: object arrays, which only pickle can
hold, are refused, and so is everything that is not an intact archive of arrays.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from l2l_gail.errors import InputError
from l2l_gail.runs import atomic_write

__all__ = ["read_arrays", "write_arrays"]


def read_arrays(
    path: str | Path, *, required: Collection[str] = (), optional: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Read arrays by name from an ``.npz`` file.

    Args:
        path: The file.
        required: Arrays that must be there.
        optional: Arrays that are read where they exist; None reads everything in the file.

    Returns:
        The arrays that were found, by name.

    Raises:
        InputError: The file is missing, empty, damaged or not an ``.npz`` archive, an array is
            missing, or one holds Python objects.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}: give the path of an .npz file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: it was not written to its end, make or copy it again")
    try:
        archive = np.load(path, allow_pickle=False)
    # A damaged file raises whatever its garbage happens to spell, here and below.
    except Exception as error:
        raise InputError(
            f"{path} is not a readable .npz file ({type(error).__name__}): "
            "it is damaged, cut off or of another format"
        ) from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(f"{path} holds a single array: give an .npz file of named arrays")
    with archive:
        missing = sorted(set(required) - set(archive.files))
        if missing:
            raise InputError(
                f"{path} has no array {', '.join(map(repr, missing))}; "
                f"it has {', '.join(sorted(archive.files)) or 'none at all'}"
            )
        wanted = archive.files if optional is None else {*required, *optional}
        return {name: _read_one(archive, name, path) for name in archive.files if name in wanted}


def _read_one(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    try:
        array = archive[name]
    except Exception as error:
        if isinstance(error, ValueError) and "Object arrays" in str(error):
            raise InputError(
                f"{path}: array {name!r} holds Python objects, which are not read: "
                "save numbers of one dtype"
            ) from None
        raise InputError(
            f"{path}: array {name!r} is damaged ({type(error).__name__}): copy the file again"
        ) from None
    if not isinstance(array, np.ndarray):  # a member of the archive that is no .npy file
        raise InputError(f"{path}: {name!r} is not an array: save it with numpy.savez")
    return array


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a compressed ``.npz`` file, in one step and never over an existing file.

    The same arrays give the same bytes.

    Args:
        path: File to write.
        arrays: Arrays by name; none may hold Python objects.

    Raises:
        InputError: The file exists.
        ValueError: An array holds Python objects.
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists and is not overwritten: give another name, or remove it")
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"array {name!r} holds Python objects")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # typed as if one name were a flag
    atomic_write(path, buffer.getvalue())
