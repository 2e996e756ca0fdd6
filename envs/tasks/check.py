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


def check_task(task: Task, model: mujoco.MjModel, draw: Draw) -> int:
    """Have a task compute everything once, in numpy, and look at what it returns.

    Args:
        task: The task, bound to the model with numpy arrays.
        model: The compiled model.
        draw: Reset noise for two environments.

    Returns:
        Numbers in one observation.

    Raises:
        InputError: Something has another shape or type than :class:`Task` says, looks into the
            simulation's memory, or is read from it without being listed in ``derived``.
    """
    name = type(task).__name__
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    fields = _Fields(task, data)
    states = task.initial(np, draw)
    if not isinstance(states, tuple) or len(states) != 2:
        raise InputError(f"{name}.initial must return positions and velocities")
    _check(f"{name}.initial's positions", states[0], (_TRIED, model.nq), fields)
    _check(f"{name}.initial's velocities", states[1], (_TRIED, model.nv), fields)
    before = task.before(np, fields)
    obs = task.observation(np, fields)
    width = np.shape(obs)[1] if np.ndim(obs) == 2 else -1
    _check(f"{name}.observation", obs, (_TRIED, max(width, 1)), fields)
    action = np.zeros((_TRIED, model.nu), dtype=np.float32)
    outcome = task.transition(np, None if before is None else before.copy(), fields, action)
    if not isinstance(outcome, tuple) or len(outcome) != 3:
        raise InputError(f"{name}.transition must return reward, terminated and a dict of terms")
    reward, terminated, terms = outcome
    _check(f"{name}.transition's reward", reward, (_TRIED,), fields, ("float64", "float32"))
    _check(f"{name}.transition's terminated", terminated, (_TRIED,), fields, ("bool",))
    for where, entries in (("transition", terms), ("reset_info", task.reset_info(np, fields))):
        for key, value in entries.items():
            if not isinstance(value, np.ndarray) or value.shape[:1] != (_TRIED,):
                raise InputError(
                    f"{name}.{where}'s {key!r} must be an array with a row for each environment, "
                    f"shape (B, ...), not {_what(value)}"
                )
    return int(obs.shape[1])


class _Fields(SimpleNamespace):
    """The fields that a task may read, of equal environments at the model's defaults."""

    def __init__(self, task: Task, data: mujoco.MjData) -> None:
        self._name = type(task).__name__
        for name in ("qpos", "qvel", "ctrl", *task.derived):
            if not hasattr(data, name):
                raise InputError(f"{self._name}.derived has {name!r}, which is no field of MjData")
            setattr(self, name, np.stack([np.asarray(getattr(data, name))] * _TRIED))

    def __getattr__(self, name: str) -> Any:
        raise InputError(
            f"{self._name} reads {name!r} of the simulation: list it in its property 'derived'"
        )


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


def _what(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.shape} {value.dtype.name} for B = {_TRIED}"
