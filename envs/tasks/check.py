"""What a task has to keep to, tried out on two equal environments before any work is done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np

from l2l_gail.errors import InputError

from .base import Task
from .draw import Draw

__all__ = ["check_task"]

_TRIED = 2  # environments: with one, a forgotten leading dimension would not show
_BOOKKEEPING = ("final_obs", "_final_obs", "episode_return", "episode_length")
"""What a step's info holds of every environment; in the order of ``l2l_gail.ppo.env``."""


def check_task(task: Task, model: mujoco.MjModel, draw: Draw) -> int:
    """Have a task compute everything once, in numpy, and look at what it returns.

    Args:
        task: The task, bound to the model with numpy arrays.
        model: The compiled model.
        draw: Reset noise for two environments.

    Returns:
        Numbers in one observation.

    Raises:
        InputError: Something has another shape or type than :class:`Task` says, looks into
            the simulation's memory or changes it, or is read from it without being listed in
            ``derived``; or the reward is not finite.
    """
    name = type(task).__name__
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    fields = _Fields(task, data)
    begun = {
        field: np.copy(value)
        for field, value in vars(fields).items()
        if isinstance(value, np.ndarray)
    }
    states = task.initial(np, draw)
    if not isinstance(states, tuple) or len(states) != 2:
        raise InputError(f"{name}.initial must return positions and velocities")
    _check(f"{name}.initial's positions", states[0], (_TRIED, model.nq), fields)
    _check(f"{name}.initial's velocities", states[1], (_TRIED, model.nv), fields)
    before = task.before(np, fields)
    if before is not None and not _has_rows(before):
        raise InputError(
            f"{name}.before must return None or an array of {_ROWS}, not {_what(before)}"
        )
    obs = task.observation(np, fields)
    width = np.shape(obs)[1] if np.ndim(obs) == 2 else -1
    _check(f"{name}.observation", obs, (_TRIED, max(width, 1)), fields)
    action = np.zeros((_TRIED, model.nu), dtype=np.float32)
    outcome = task.transition(np, None if before is None else before.copy(), fields, action)
    if not isinstance(outcome, tuple) or len(outcome) != 3:
        raise InputError(f"{name}.transition must return reward, terminated and a dict of terms")
    reward, terminated, terms = outcome
    _check(f"{name}.transition's reward", reward, (_TRIED,), fields, ("float64", "float32"))
    if not np.isfinite(reward).all():
        raise InputError(f"{name}.transition's reward is {reward[0]} where the model begins")
    _check(f"{name}.transition's terminated", terminated, (_TRIED,), fields, ("bool",))
    told: tuple[tuple[str, Any], ...] = (
        ("transition", terms),
        ("reset_info", task.reset_info(np, fields)),
    )
    for where, entries in told:
        if not isinstance(entries, dict):
            what = "terms" if where == "transition" else "entries"
            raise InputError(f"{name}.{where} must return a dict of {what}, not {_what(entries)}")
        for key, value in entries.items():
            if key in _BOOKKEEPING:
                raise InputError(
                    f"{name}.{where}'s {key!r} is the name of what every step tells: take another"
                )
            if not _has_rows(value):
                raise InputError(
                    f"{name}.{where}'s {key!r} must be an array of {_ROWS}, not {_what(value)}"
                )
    for field, value in begun.items():
        if not np.array_equal(getattr(fields, field), value, equal_nan=True):
            raise InputError(f"{name} changes {field!r} of the simulation: work on a copy of it")
    return int(obs.shape[1])


_ROWS = "shape (B, ...), with a row for each environment"
_NO_FLOATS = "which is no array of floats, and of which no batch can be made"


class _Fields(SimpleNamespace):
    """The fields that a task may read, of equal environments at the model's defaults."""

    def __init__(self, task: Task, data: mujoco.MjData) -> None:
        self._name, self._data = type(task).__name__, data
        for name in ("qpos", "qvel", "ctrl", *task.derived):
            if not hasattr(data, name):
                raise InputError(f"{self._name}.derived has {name!r}, which is no field of MjData")
            value = self._floats(name)
            if value is None:
                raise InputError(f"{self._name}.derived has {name!r}, {_NO_FLOATS}")
            setattr(self, name, np.stack([value] * _TRIED))

    def __getattr__(self, name: str) -> Any:
        advice = "list it in its property 'derived'"
        if hasattr(self._data, name) and self._floats(name) is None:
            advice = f"leave it, {_NO_FLOATS}"
        raise InputError(f"{self._name} reads {name!r} of the simulation: {advice}")

    def _floats(self, name: str) -> np.ndarray | None:
        value = getattr(self._data, name)
        is_floats = isinstance(value, np.ndarray) and value.dtype == np.float64 and value.ndim
        return value if is_floats else None


def _check(
    what: str,
    value: Any,
    shape: tuple[int, ...],
    fields: _Fields,
    types: tuple[str, ...] = ("float64",),
) -> None:
    fits = isinstance(value, np.ndarray) and value.shape == shape and value.dtype.name in types
    if not fits:
        rows = str(("B", *shape[1:])).replace("'", "")
        raise InputError(f"{what} must be {rows} {' or '.join(types)}, not {_what(value)}")
    arrays = (field for field in vars(fields).values() if isinstance(field, np.ndarray))
    if any(np.may_share_memory(value, field) for field in arrays):
        raise InputError(
            f"{what} looks into the simulation's memory, which the next step overwrites: return a "
            "new array, 1.0 * x for instance"
        )


def _has_rows(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.shape[:1] == (_TRIED,)


def _what(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.shape} {value.dtype.name} for B = {_TRIED}"
