"""Spaces in a saved model, rebuilt from their plain fields by their own constructors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space

from l2l_gail.files.pickles import Refused

__all__ = ["SPACES", "class_name"]

_MOST = 2**24
"""Classes of a space, each of which is an entry of a network's input."""


def class_name(space: Mapping[str, Any]) -> str:
    """Return the name of the class of a space in a model's archive, without its module."""
    return str(space.get(":type:")).rpartition(".")[2].strip("'>")


def _box(state: dict[str, Any]) -> Box:
    low, high, shape = state["low"], state["high"], state.get("_shape", state.get("shape"))
    if not isinstance(low, np.ndarray) or not isinstance(high, np.ndarray):
        raise Refused("a space without bounds")
    dtype = np.dtype(state["dtype"])
    if low.shape != shape or high.shape != shape or low.dtype != dtype or high.dtype != dtype:
        raise Refused("a space whose bounds do not fit it")
    return Box(low, high, dtype=dtype.type)


def _discrete(state: dict[str, Any]) -> Discrete:
    return Discrete(_count(state["n"]), start=int(state.get("start", 0)))


def _multi_discrete(state: dict[str, Any]) -> MultiDiscrete:
    counts = state["nvec"]
    if not isinstance(counts, np.ndarray) or counts.ndim != 1 or counts.dtype.kind not in "iu":
        raise Refused("a space without numbers of classes")
    return MultiDiscrete([_count(count) for count in counts], start=state.get("start"))


def _multi_binary(state: dict[str, Any]) -> MultiBinary:
    n = state["n"]
    return MultiBinary([_count(size) for size in n] if isinstance(n, tuple) else _count(n))


def _dict(state: dict[str, Any]) -> Dict:
    parts = state["spaces"]
    plain = isinstance(parts, dict) and all(isinstance(part, Space) for part in parts.values())
    if not plain or not all(isinstance(key, str) for key in parts):
        raise Refused("a dict of something else than spaces")
    return Dict(list(parts.items()))  # in the order of the file


def _count(value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or not 0 < value < _MOST:
        raise Refused("a space without a number of classes")
    return int(value)


_MADE: dict[str, Callable[[dict[str, Any]], Space]] = {
    "box.Box": _box,
    "discrete.Discrete": _discrete,
    "multi_discrete.MultiDiscrete": _multi_discrete,
    "multi_binary.MultiBinary": _multi_binary,
    "dict.Dict": _dict,
}

SPACES: dict[tuple[str, str], Callable[[dict[str, Any]], Space]] = {
    (f"{gym}.spaces.{name.split('.')[0]}", name.split(".")[1]): make
    for name, make in _MADE.items()
    for gym in ("gymnasium", "gym")
}
"""What makes a space from its state, by the module and name that a file gives it."""
