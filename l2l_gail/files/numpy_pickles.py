"""NumPy's arrays, numbers and dtypes in a pickle, built from bytes and a checked dtype.

NumPy's own reconstructors believe the file: a forged dtype state makes them read memory that is not
theirs. Here an array is bytes and one of twenty dtypes, or it is not read.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from l2l_gail.files.pickles import Builder, Refused, Shell, encode

__all__ = ["NUMPY_TABLE", "PickledArray", "PickledDType"]

_KINDS = frozenset("b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8".split())
_MOST_DIMENSIONS = 8


class _Type(Shell):
    """Stands for ``numpy.ndarray``, which is only ever named."""


class PickledArray(Shell):
    """An array in a pickle.

    Attributes:
        value: The array, which owns its memory; None if its dtype is of text, objects or the like.
    """

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        """Take version, shape, dtype, order and bytes."""
        _, shape, dtype, fortran, content = state
        self.fill(content, dtype, shape, "F" if fortran else "C")

    def fill(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        """Build the array, whose bytes must be exactly as many as its shape asks for."""
        if not isinstance(dtype, PickledDType) or order not in ("C", "F"):
            raise Refused("an array without a dtype")
        plain = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**48 for n in shape)
        if not plain or len(shape) > _MOST_DIMENSIONS:
            raise Refused("an array without a shape")
        if dtype.kind not in _KINDS:
            return
        if isinstance(content, str):  # of Python 2
            content = content.encode("latin-1")
        size = math.prod(shape)
        exact = np.dtype(dtype.order + dtype.kind)
        if not isinstance(content, bytes) or len(content) != size * exact.itemsize:
            raise Refused("an array of another size than its bytes")
        flat = np.frombuffer(content, exact) if size else np.empty(0, exact)
        self.value = flat.reshape(shape, order=order).astype(exact.newbyteorder("="))


class PickledDType(Shell):
    """A dtype in a pickle.

    Attributes:
        kind: Its letter and size in bytes, whatever the file says.
        order: ``<`` or ``>``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.order = "<"

    @property
    def value(self) -> np.dtype:
        """The dtype.

        Raises:
            Refused: It is none of plain numbers.
        """
        if self.kind not in _KINDS:
            raise Refused("a dtype that is not of numbers")
        return np.dtype(self.order + self.kind)

    def set_state(self, state: Any) -> None:
        """Take the byte order, and refuse fields and the like."""
        if not isinstance(state, tuple) or len(state) < 5:
            raise Refused("a dtype of an unusual form")
        if self.kind in _KINDS:
            if state[1] not in ("<", ">", "|") or state[2:5] != (None, None, None):
                raise Refused("a dtype with parts")
            self.order = "<" if state[1] == "|" else state[1]


def _dtype(kind: Any, *flags: Any) -> PickledDType:
    if not isinstance(kind, str) or len(flags) > 2 or any(flag not in (0, 1) for flag in flags):
        raise Refused("a dtype of an unusual form")
    return PickledDType(kind)


def _reconstruct(kind: Any, shape: Any, code: Any) -> PickledArray:
    if not isinstance(kind, _Type):
        raise Refused("an array of a foreign type")
    return PickledArray()


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> PickledArray:
    """An array of protocol 5; since NumPy 2.3 also one whose axes were exchanged, of order K."""
    array = PickledArray()
    array.fill(content, dtype, shape, "C" if order == "K" and axes is not None else order)
    if axes is not None and array.value is not None:
        whole = isinstance(axes, tuple) and all(type(axis) is int for axis in axes)
        if not whole or sorted(axes) != list(range(array.value.ndim)):
            raise Refused("an array whose axes are in no order")
        array.value = array.value.transpose(axes)
    return array


def _scalar(dtype: Any, content: Any = b"") -> int | float | bool | None:
    array = PickledArray()
    array.fill(content, dtype, (1,), "C")
    return None if array.value is None else array.value[0].item()


def _bytes(*content: Any) -> bytes:
    """``bytes()`` and ``bytearray("...", "latin-1")``, as Python 3 writes them for Python 2."""
    return encode(*content) if content else b""


_MULTIARRAY: dict[str, Builder | Shell] = {"_reconstruct": _reconstruct, "scalar": _scalar}
_BUILTINS: dict[str, Builder | Shell] = {"bytes": _bytes, "bytearray": _bytes}

NUMPY_TABLE: dict[tuple[str, str], Builder | Shell] = {
    ("numpy", "ndarray"): _Type(),
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): encode,
    **{
        (f"numpy.{core}.{module}", name): builder
        for core in ("core", "_core")
        for module, functions in (
            ("multiarray", _MULTIARRAY),
            ("numeric", {"_frombuffer": _frombuffer}),
        )
        for name, builder in functions.items()
    },
    **{
        (module, name): builder
        for module in ("builtins", "__builtin__")
        for name, builder in _BUILTINS.items()
    },
}
"""What stands for the names that pickles of arrays, NumPy's numbers and bytes hold."""
