"""The names that observations have in a file: ``obs``, or ``obs.key`` for each key of a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from l2l_gail.observations import Observations

__all__ = ["flat", "group_of", "named_arrays", "nested"]

_BETWEEN = "."


def named_arrays(name: str, observations: Observations) -> dict[str, np.ndarray]:
    """Return the arrays of observations by their names."""
    if isinstance(observations, Mapping):
        return {f"{name}{_BETWEEN}{key}": array for key, array in observations.items()}
    return {name: observations}


def flat(columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return columns, of which observations may be dicts, as arrays by their names in a file.

    Columns that are None are left out.
    """
    named: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        if column is not None:
            named |= named_arrays(name, column)
    return named


def nested(arrays: Mapping[str, np.ndarray], name: str) -> Observations | None:
    """Return observations from the arrays of a file: one, a dict of those ``name.key``, or None."""
    if name in arrays:
        return arrays[name]
    prefix = name + _BETWEEN
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)} or None


def group_of(name: str) -> str:
    """Return the column that an array of a file belongs to."""
    return name.partition(_BETWEEN)[0]
