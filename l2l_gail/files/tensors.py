"""Files of tensors: written sealed, and looked through before torch reads them.

``torch.load`` with ``weights_only=True`` runs nothing, but believes what a file says about sizes: a
view that repeats one number a billion times, a pickle that doubles its content sixty times.  So the
pickle inside is first read as data (:mod:`l2l_gail.files.pickles`): every tensor must lie inside a
storage that is in the file, and be no larger than it.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from l2l_gail.errors import InputError, one_line
from l2l_gail.files.archive import open_archive, read_member
from l2l_gail.files.pickles import Refused, Shell, Table, encode, read_plain
from l2l_gail.files.regular import open_regular
from l2l_gail.files.seal import check_seal, seal
from l2l_gail.files.writing import atomic_write

__all__ = ["dump_tensors", "load_tensors", "read_tensors", "save_tensors"]

_MOST_DIMENSIONS = 32
_BEFORE_1_6 = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # pickled, torch's old magic number


def dump_tensors(content: Any) -> bytes:
    """The sealed file of tensors, numbers, text and nested containers of them.

    Raises:
        TypeError: It holds an object that could not be read again.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    # A file that cannot be read is worse than none: find out now, not after the crash.
    try:
        load_tensors(buffer.getvalue())
    except (Refused, pickle.UnpicklingError) as error:
        said = one_line(error)
        raise TypeError(f"an object that is not plain data cannot be saved: {said}") from None
    return seal(buffer.getvalue())


def save_tensors(path: str | Path, content: Any) -> None:
    """Write tensors, numbers, text and nested containers of them, in one step.

    Raises:
        TypeError: It holds an object that could not be read again.
        InputError: The file cannot be written.
    """
    atomic_write(path, dump_tensors(content))


def read_tensors(path: str | Path, *, missing: str, way_out: str) -> Any:
    """Read what :func:`save_tensors` or ``torch.save`` wrote, all tensors on the CPU.

    Args:
        path: The file.
        missing: What to say where there is none.
        way_out: What to do if it is damaged.

    Raises:
        InputError: The file is missing, damaged or unreadable, or holds more than plain data.
    """
    with open_regular(path, missing=missing) as file:
        check_seal(file, str(path), way_out)
        try:
            return _load(file, str(path), way_out)
        except InputError:
            raise
        # A damaged file raises whatever its garbage happens to spell.
        except Exception as error:
            raise InputError(
                f"{path} is damaged or no file of tensors ({_reason(error)}): {way_out}"
            ) from None


def load_tensors(content: bytes) -> Any:
    """Read a file of tensors that is in memory.

    Raises:
        Refused: It holds more than plain data. Damaged content raises other exceptions too.
    """
    try:
        return _load(io.BytesIO(content), "the file of tensors in it", "copy it again")
    except InputError as error:
        raise Refused(str(error)) from None


def _load(file: BinaryIO, name: str, way_out: str) -> Any:
    head = file.read(len(_BEFORE_1_6))
    file.seek(0)
    if head == _BEFORE_1_6:
        raise Refused("its tensors are in the format of a torch before 1.6")
    with open_archive(file, name, way_out) as archive:
        _look_through(archive)
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def _reason(error: Exception) -> str:
    if isinstance(error, Refused):
        return str(error)
    return type(error).__name__


def _look_through(archive: zipfile.ZipFile) -> None:
    """Refuse an archive whose pickle is more than data, or whose tensors are not in it."""
    names = archive.namelist()
    pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise Refused("it is no archive of torch.save")
    folder = pickles[0].removesuffix("data.pkl")
    stray = [name for name in names if not name.startswith(folder)]
    packed = [info for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
    if stray or packed:
        raise Refused("it is no archive of torch.save")
    if f"{folder}byteorder" in names and read_member(archive, f"{folder}byteorder") != b"little":
        raise Refused("its numbers are of another byte order")

    def storage(pid: Any) -> _Storage:
        kind, dtype, key, device, count = pid
        if kind != "storage" or not isinstance(dtype, _StorageType):
            raise Refused("a reference to something that is no storage")
        if not isinstance(key, str) or not isinstance(device, str):
            raise Refused("a storage without a name")
        if archive.getinfo(f"{folder}data/{key}").file_size != count * dtype.item_size:
            raise Refused("a storage of another size than its file")
        return _Storage(count)

    read_plain(read_member(archive, pickles[0]), _TABLE, storage)


class _StorageType(Shell):
    def __init__(self, item_size: int) -> None:
        self.item_size = item_size


class _Storage(Shell):
    def __init__(self, count: int) -> None:
        self.count = count


class _Tensor(Shell):
    """A tensor whose place in its storage has been checked."""


class _OrderedDict(OrderedDict, Shell):
    """A module's ``state_dict()`` carries its metadata as an attribute."""

    def set_state(self, state: Any) -> None:
        """Pass over it: torch reads it as the plain dict that it has been found to be."""
        if not isinstance(state, dict) or set(state) != {"_metadata"}:
            raise Refused("a dict with a state")


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> _Tensor:
    plain = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    if not isinstance(storage, _Storage) or not plain or len(size) > _MOST_DIMENSIONS:
        raise Refused("a tensor without a storage or a shape")
    if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise Refused("a tensor with a strange shape")
    if hooks or metadata:
        raise Refused("a tensor with hooks")
    count, last = 1, offset
    for length, step in zip(size, stride, strict=True):
        count *= length
        last += (length - 1) * step
    if count > storage.count or (count and last >= storage.count):
        raise Refused("a tensor larger than its storage")
    if offset > storage.count:
        raise Refused("a tensor outside its storage")
    return _Tensor()


def _parameter(tensor: Any, requires_grad: Any, hooks: Any) -> _Tensor:
    if not isinstance(tensor, _Tensor) or hooks:
        raise Refused("a parameter that is no tensor")
    return tensor


def _ordered_dict(*items: Any) -> _OrderedDict:
    if items:
        raise Refused("a dict in an unusual form")
    return _OrderedDict()


def _size(shape: Any) -> tuple[Any, ...]:
    if not isinstance(shape, tuple):
        raise Refused("a shape that is none")
    return shape


_ITEM_SIZES = {
    "BFloat16": 2, "Bool": 1, "Byte": 1, "Char": 1, "ComplexDouble": 16, "ComplexFloat": 8,
    "Double": 8, "Float": 4, "Half": 2, "Int": 4, "Long": 8, "Short": 2,
}  # fmt: skip

_BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): _size,
    ("collections", "OrderedDict"): _ordered_dict,
    ("_codecs", "encode"): encode,
}
_TABLE: Table = {
    **_BUILDERS,
    **{("torch", f"{name}Storage"): _StorageType(size) for name, size in _ITEM_SIZES.items()},
}
