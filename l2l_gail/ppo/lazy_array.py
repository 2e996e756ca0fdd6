"""Tensors that callbacks see as arrays."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["LazyArray", "as_array"]


class LazyArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A device's tensor for callbacks that want an array: brought over when looked at, not before.

    It is brought over once; what is written into the array does not reach the tensor.

    Args:
        tensor: Tensor of any shape.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    @cached_property
    def _values(self) -> np.ndarray:
        return self.tensor.cpu().numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the values as an array."""
        return np.array(self._values, dtype=dtype, copy=copy)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] = (), **kwargs: Any
    ) -> Any:
        """Return what operators and numpy's functions make of the values: arrays."""
        if out:
            kwargs["out"] = _plain(out)
        return getattr(ufunc, method)(*_plain(inputs), **kwargs)

    def __bool__(self) -> bool:
        return bool(self._values)

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "tensor":  # numpy's own questions, a bare copy
            raise AttributeError(name)
        return getattr(self._values, name)


def _plain(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value._values if isinstance(value, LazyArray) else value for value in values)


def as_array(tensor: Tensor) -> np.ndarray | LazyArray:
    """Return a tensor's values: an array that shares its memory, or one that is made on demand."""
    return tensor.numpy() if tensor.device.type == "cpu" else LazyArray(tensor)
