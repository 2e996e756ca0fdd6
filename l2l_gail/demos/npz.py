"""Reading and writing ``.npz`` files of arrays, without pickle.

A file that comes from somebody else is data, never code: object arrays, which only pickle can
hold, are refused, and so is everything that is not an intact archive of plain arrays. An array's
header is read by a pattern and held against the size of its member before room is made for it.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from l2l_gail.errors import InputError
from l2l_gail.files import (
    atomic_write,
    check_seal,
    home_expanded,
    open_archive,
    open_regular,
    read_member,
    seal,
)

__all__ = [
    "array_names",
    "listed",
    "read_archive",
    "read_arrays",
    "sealed_arrays",
    "write_arrays",
]

_WAY_OUT = "copy it again, or make it again"
_SUFFIX = ".npy"
_MOST_LISTED = 10
# A header as NumPy writes it, after the mark, the version and the length.
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?)([biufcmMOSUV])(\d{0,6})(?:\[\d{0,4}\w{1,2}\])?', "
    rb"'fortran_order': (False|True), 'shape': \(((?:\d{1,12}, ?)*(?:\d{1,12})?)\), ?\} *\n?"
)


def read_arrays(
    path: str | Path,
    *,
    required: Collection[str] = (),
    optional: Collection[str] | None = None,
    groups: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """Read arrays by name from an ``.npz`` file.

    Args:
        path: The file.
        required: Arrays that must be there.
        optional: Arrays that are read where they exist; None reads everything in the file.
        groups: Those that may be several arrays instead, named ``name.key``.

    Returns:
        The arrays that were found, by name: numbers, truth values or text.

    Raises:
        InputError: The file is missing, unreadable, empty, damaged or not an ``.npz`` archive, an
            array is missing, holds something else, or would take memory out of proportion.
    """
    path = Path(path)
    with open_regular(
        path, missing=f"{path} does not exist: give the path of an .npz file"
    ) as file:
        start = file.read(8)
        if not start:
            raise InputError(
                f"{path} is empty: it was not written to its end, make or copy it again"
            )
        if start.startswith(b"\x93NUMPY"):
            raise InputError(f"{path} holds a single array: give an .npz file of named arrays")
        return read_archive(file, str(path), required=required, optional=optional, groups=groups)


def array_names(path: str | Path) -> list[str]:
    """Return the names of all arrays in an ``.npz`` file, none of which is read.

    Args:
        path: The file.

    Raises:
        InputError: It is missing, unreadable, damaged or not an ``.npz`` archive.
    """
    with open_regular(path) as file, open_archive(file, str(path), _WAY_OUT) as archive:
        return [name.removesuffix(_SUFFIX) for name in archive.namelist()]


def listed(names: Collection[str]) -> str:
    """Return names in one line, the first few of many."""
    first = sorted(names)[:_MOST_LISTED]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def read_archive(
    file: BinaryIO,
    path: str,
    *,
    required: Collection[str] = (),
    optional: Collection[str] | None = None,
    groups: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """Read arrays by name from an open ``.npz`` file; see :func:`read_arrays`.

    Args:
        file: The open file.
        path: What to call it.
        required: Arrays that must be there.
        optional: Arrays that are read where they exist; None reads everything in the file.
        groups: Those that may be several arrays instead, named ``name.key``.

    Raises:
        InputError: It is damaged or not an ``.npz`` archive, an array is missing, holds something
            else, or would take memory out of proportion.
    """
    check_seal(file, path, _WAY_OUT)
    with open_archive(file, path, _WAY_OUT) as archive:
        members = {name.removesuffix(_SUFFIX): name for name in archive.namelist()}
        grouped = {name: name.partition(".")[0] for name in members if "." in name}
        grouped = {name: group for name, group in grouped.items() if group in groups}
        missing = sorted(set(required) - set(members) - set(grouped.values()))
        if missing:
            raise InputError(
                f"{path} has no array {', '.join(map(repr, missing))}; "
                f"it has {listed(members) or 'none at all'}"
            )
        wanted = members if optional is None else {*required, *optional, *grouped}
        return {
            name: _read_one(archive, member, name, path)
            for name, member in members.items()
            if name in wanted
        }


def _read_one(archive: zipfile.ZipFile, member: str, name: str, path: str) -> np.ndarray:
    if not member.endswith(_SUFFIX):
        raise InputError(f"{path}: {name!r} is not an array: save it with numpy.savez")
    try:
        content = read_member(archive, member)
        return _array(content)
    except _ObjectsError:
        raise InputError(
            f"{path}: array {name!r} holds Python objects, which are not read: "
            "save numbers of one dtype"
        ) from None
    # Damaged content raises whatever its garbage happens to spell.
    except Exception as error:
        raise InputError(
            f"{path}: array {name!r} is damaged ({type(error).__name__}): copy the file again"
        ) from None


class _ObjectsError(Exception):
    """An array of Python objects."""


def _array(content: bytes) -> np.ndarray:
    """The array in a ``.npy`` file (NumPy's format, versions 1 to 3)."""
    if content[:6] != b"\x93NUMPY" or content[6] not in (1, 2, 3):
        raise ValueError("no array of NumPy")
    width = 2 if content[6] == 1 else 4
    begin = 8 + width
    length = int.from_bytes(content[8:begin], "little")
    match = _HEADER.fullmatch(content[begin : begin + length])
    if match is None:
        raise ValueError("no header of NumPy")
    order, kind, size, fortran, shape_text = (group.decode() for group in match.groups())
    if kind == "O":
        raise _ObjectsError
    if kind not in "biufUS":
        raise ValueError(f"an array of kind {kind}")
    dtype = np.dtype(order + kind + size)
    shape = tuple(int(number) for number in shape_text.split(",") if number.strip())
    count = math.prod(shape)
    # The first comparison keeps a shape of many zeros and huge numbers out of NumPy.
    if max(shape, default=0) * dtype.itemsize > len(content) or len(shape) > 8:
        raise ValueError("an array larger than its file")
    if begin + length + count * dtype.itemsize != len(content):
        raise ValueError("an array of another size than its file")
    flat = np.frombuffer(content, dtype, count, begin + length) if count else np.empty(0, dtype)
    array = flat.reshape(shape, order="F" if fortran == "True" else "C")
    return array.astype(dtype.newbyteorder("="))


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a compressed, sealed ``.npz`` file, never over an existing file.

    Args:
        path: File to write.
        arrays: Arrays by name; none may hold Python objects.

    Raises:
        InputError: The file exists, or cannot be written.
        ValueError: An array holds Python objects.
    """
    path = home_expanded(path)
    if os.path.lexists(path):
        raise InputError(f"{path} exists and is not overwritten: give another name, or remove it")
    atomic_write(path, sealed_arrays(arrays))


def sealed_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return what :func:`write_arrays` writes to its file: the same for the same arrays.

    Raises:
        ValueError: An array holds Python objects.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"array {name!r} holds Python objects")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # typed as if one name were a flag
    return seal(buffer.getvalue())
