"""Demonstrations checked, with arrays in the dtypes that they are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from l2l_gail.demos.arguments import plain_kwargs
from l2l_gail.demos.checks import LARGEST, check_episodes, check_steps
from l2l_gail.demos.columns import flat
from l2l_gail.demos.ends import sound_ends
from l2l_gail.demos.episodes import EPISODE_ARRAYS, STEP_ARRAYS
from l2l_gail.demos.own_file import check_id
from l2l_gail.errors import InputError
from l2l_gail.observations import map_parts

__all__ = ["sound"]


def sound(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record holds that has to be checked, as it is kept: arrays in their dtypes.

    Args:
        record: The constructor arguments of ``Demonstrations``, by name.

    Raises:
        InputError: See :class:`~l2l_gail.demos.demonstrations.Demonstrations`.
    """
    found = _sound_arrays(record)
    if record["env_kwargs"] is not None:
        found["env_kwargs"] = plain_kwargs(record["env_kwargs"])
        if found["env_kwargs"].keys() != record["env_kwargs"].keys():
            raise InputError("demonstrations: 'env_kwargs' holds more than plain values")
    if record["env_id"] is not None:
        check_id(record["env_id"])
    for name in ("random_return", "expert_return"):
        value = record[name]
        if value is not None and not abs(value) <= LARGEST:  # NaN is not either
            raise InputError(f"demonstrations: {name!r} is {value}; measure it again")
    return found


def _sound_arrays(record: Mapping[str, Any]) -> dict[str, Any]:
    known = [name for name in STEP_ARRAYS if record[name] is not None]
    steps: dict[str, Any] = {name: np.asarray(record[name]) for name in known}
    for name in {"obs", "next_obs"} & steps.keys():
        steps[name] = map_parts(np.asarray, record[name])
    check_steps(flat(steps))
    table = {name: np.asarray(record[name]) for name in EPISODE_ARRAYS}
    for name in ("terminals", "truncated"):
        steps[name] = steps[name].astype(bool)
    if "acts" in steps:
        dtype = np.float32 if steps["acts"].dtype.kind == "f" else np.int64
        steps["acts"] = steps["acts"].astype(dtype, copy=False)
    for name in {"obs", "next_obs"} & steps.keys():
        steps[name] = map_parts(_observed, steps[name])
    if "rews" in steps:
        steps["rews"] = _floating(steps["rews"])
    check_episodes(
        table["episode_starts"], table["episode_lengths"], steps["terminals"], steps["truncated"]
    )
    table = {name: array.astype(np.int64, copy=False) for name, array in table.items()}
    return steps | table | sound_ends(record, len(table["episode_lengths"]))


def _observed(array: np.ndarray) -> np.ndarray:
    """Return an observation's array in a dtype that is kept: floats of 32 or 64 bits, or whole."""
    return array if array.dtype.kind in "iub" else _floating(array)


def _floating(array: np.ndarray) -> np.ndarray:
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
