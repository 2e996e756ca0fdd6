"""Observations: one array or tensor, or a dict of them where their space is a ``Dict``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Observations", "arrays_of", "entries_of", "map_parts", "set_row"]

Observations: TypeAlias = np.ndarray | dict[str, np.ndarray]
"""``(n, *shape)``, or one such array for each key of a ``Dict`` space."""


def map_parts(function: Callable[..., Any], *observations: Any) -> Any:
    """Apply a function to the parts of observations of one structure, and keep the structure.

    Args:
        function: Takes one array or tensor of each of ``observations``.
        *observations: Arrays or tensors, or dicts of such with equal keys.

    Returns:
        The results, in the structure of ``observations``.
    """
    first = observations[0]
    if isinstance(first, Mapping):
        return {key: function(*(each[key] for each in observations)) for key in first}
    return function(*observations)


def set_row(observations: Any, row: int, one: Any) -> None:
    """Write one environment's observation into the arrays of all."""

    def put(array: np.ndarray, value: Any) -> None:
        array[row] = value

    map_parts(put, observations, one)


def arrays_of(observations: Any) -> list[Any]:
    """Return the arrays of observations: those of a dict, or the one there is."""
    return list(observations.values()) if isinstance(observations, Mapping) else [observations]


def entries_of(observations: Observations) -> np.ndarray:
    """Return the numbers of observations, ``(T, n)``: the arrays of a dict beside each other."""
    arrays = arrays_of(observations)
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
