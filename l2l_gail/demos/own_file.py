"""The file of this library, and what its arrays say of themselves.

The file is an ``.npz`` archive without pickle:

=================== ==================== ================================================
array               shape, dtype         meaning
=================== ==================== ================================================
``obs``             (T, *shape)          observation before the action, raw units
``acts``            (T, *shape)          the action, in units of the action space; optional
``rews``            (T,) float           the environment's own reward; optional
``next_obs``        (T, *shape)          observation after the action, same episode; optional
``final_obs``       (E, *shape)          instead of ``next_obs``: that after the last action of
                                         each episode; the others are the rows of ``obs``
``terminals``       (T,) bool            the episode ended in a terminal state
``truncated``       (T,) bool, optional  the episode ended at its time limit
``episode_starts``  (E,) int             index of each episode's first step
``episode_lengths`` (E,) int             steps of each episode
``ended_after``     (E,) int, optional   steps after which it ended, where the kind of the end is
                                         not known, else 0
``ended_unseen``    (E,) bool, optional  the step that it ended with is not in the file
``full_lengths``    (E,) int, optional   steps before it was thinned out, 0 where none are left out
``env_id``          () str, optional     Gymnasium id of the environment
``env_kwargs``      () str, optional     its keyword arguments, a JSON object, in which
                                         ``Infinity`` is a number
``random_return``   () float, optional   mean return of uniformly random actions
``expert_return``   () float, optional   mean return of the policy that was recorded
=================== ==================== ================================================

Observations of a ``Dict`` space are one array for each key: ``obs.camera``, ``obs.position``, and
``next_obs`` and ``final_obs`` likewise. Whole numbers stay what they are: pixels are uint8, the
actions of a ``Discrete`` space ``(T,)`` int64.

A time limit is not a terminal state: with ``truncated`` in the file, ``terminals`` is true for true
termination only, and no step is both. A file without ``truncated`` comes from a recorder that did
not tell the two apart; there a terminal at the environment's time limit (its argument
``max_episode_steps``, else the registered one) is read as a truncation. Where the file does not say
its environment, that of the one decides in which it is used; see :mod:`l2l_gail.demos.ends`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from l2l_gail.demos.arguments import left_out, plain_kwargs
from l2l_gail.demos.columns import flat, group_of, nested
from l2l_gail.demos.compact import with_next_obs, without_next_obs
from l2l_gail.demos.ends import END_ARRAYS
from l2l_gail.demos.episodes import EPISODE_ARRAYS, MAY_BE_MISSING, SCALARS, STEP_ARRAYS
from l2l_gail.demos.npz import listed, write_arrays
from l2l_gail.errors import InputError

__all__ = [
    "OBSERVATIONS",
    "check_id",
    "record_of",
    "write_record",
]

_REQUIRED = ("obs", "terminals", *EPISODE_ARRAYS)
OBSERVATIONS = ("obs", "next_obs", "final_obs")
"""What may be several arrays, one for each key of a dict."""

_LONGEST_ID = 200


def record_of(arrays: dict[str, np.ndarray], names: Collection[str]) -> dict[str, Any]:
    """The constructor arguments of ``Demonstrations`` in the arrays of a file.

    Args:
        arrays: Those of its arrays that mean something here.
        names: All that are in it.

    Raises:
        InputError: An array is missing, or a scalar is not what it should be.
    """
    found = {group_of(name) for name in arrays}
    missing = [name for name in _REQUIRED if name not in found]
    if missing:
        raise InputError(
            f"no array {missing[0]!r}; there are {listed(names) or 'none at all'}. A file has "
            f"{', '.join(_REQUIRED)}, mostly {', '.join(MAY_BE_MISSING)} too; make one of arrays "
            "of other names with Demonstrations.from_arrays(..., episode_lengths=...)"
        )
    arrays = with_next_obs(arrays)
    record: dict[str, Any] = {
        **{name: nested(arrays, name) for name in (*STEP_ARRAYS, *EPISODE_ARRAYS)},
        **{name: arrays.get(name) for name in END_ARRAYS},
        "env_id": _id(arrays.get("env_id")),
        "env_kwargs": _kwargs(arrays.get("env_kwargs")),
        "random_return": _number("random_return", arrays.get("random_return")),
        "expert_return": _number("expert_return", arrays.get("expert_return")),
    }
    if "truncated" not in arrays:
        record["truncated"] = np.zeros(arrays["terminals"].shape, dtype=bool)
        record["ended_after"] = arrays["episode_lengths"]
    return record


def write_record(path: str | Path, record: dict[str, Any], *, compact: bool = False) -> None:
    """Write what :func:`record_of` reads; see :meth:`Demonstrations.save`."""
    arrays = flat({name: record[name] for name in (*STEP_ARRAYS, *EPISODE_ARRAYS)})
    if compact and record["next_obs"] is not None:
        arrays = without_next_obs(arrays)
    arrays |= {name: record[name] for name in END_ARRAYS if record[name] is not None}
    for name in SCALARS:
        value = record[name]
        if value is not None:
            text = json.dumps(value, sort_keys=True) if name == "env_kwargs" else value
            arrays[name] = np.asarray(text)
    write_arrays(path, arrays)


def _text(name: str, array: np.ndarray) -> str:
    """The string in a scalar array."""
    if array.shape != () or array.dtype.kind != "U":
        raise InputError(f"demonstrations: {name!r} is no text; save it as a single string")
    try:
        return str(array[()])
    except (ValueError, SystemError):  # numbers that are no characters
        raise InputError(f"demonstrations: {name!r} is no text; leave it out") from None


def _id(array: np.ndarray | None) -> str | None:
    if array is None:
        return None
    return check_id(_text("env_id", array))


def check_id(text: str) -> str:
    """Refuse what is no id of an environment.

    Raises:
        InputError: It is no text, empty, too long or not printable.
    """
    if not (isinstance(text, str) and 0 < len(text) <= _LONGEST_ID and text.isprintable()):
        raise InputError("demonstrations: 'env_id' is no id of an environment; leave it out")
    return text


def _kwargs(array: np.ndarray | None) -> dict[str, Any] | None:
    if array is None:
        return None
    try:
        kwargs = json.loads(_text("env_kwargs", array))
    except (ValueError, RecursionError):
        kwargs = None
    if not isinstance(kwargs, dict) or left_out(kwargs):
        raise InputError("demonstrations: 'env_kwargs' is no JSON object; leave it out")
    return plain_kwargs(kwargs)


def _number(name: str, array: np.ndarray | None) -> float | None:
    """The number in a scalar array."""
    if array is None:
        return None
    if array.shape != () or array.dtype.kind not in "fiu":
        raise InputError(f"demonstrations: {name!r} is no single number")
    return float(array[()])
