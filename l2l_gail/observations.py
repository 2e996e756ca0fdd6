"""Observations as arrays: one, or a dict of them where the observation space is a ``Dict``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Observations", "arrays_of", "entries_of", "map_arrays"]

Observations: TypeAlias = np.ndarray | dict[str, np.ndarray]
"""``(n, *shape)``, or one such array for each key of a ``Dict`` space."""


def map_arrays(function: Callable[..., Any], *observations: Any) -> Any:
    """Apply a function to the arrays of observations of one structure, and keep the structure."""
    first = observations[0]
    if isinstance(first, Mapping):
        return {key: function(*(each[key] for each in observations)) for key in first}
    return function(*observations)


def arrays_of(observations: Any) -> list[Any]:
    """Return the arrays of observations: those of a dict, or the one there is."""
    return list(observations.values()) if isinstance(observations, Mapping) else [observations]


def entries_of(observations: Observations) -> np.ndarray:
    """Return the numbers of observations, ``(T, n)``: the arrays of a dict beside each other."""
    arrays = arrays_of(observations)
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
