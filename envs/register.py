"""Register a task of your own: a model, and what of it is observed and rewarded."""

from __future__ import annotations

import dataclasses
import inspect
import os
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from l2l_gail.errors import InputError, one_line
from l2l_gail.files import home_expanded

from .cpu.single import TaskEnv
from .tasks import GYMNASIUM_TASKS, TASKS, Task

__all__ = ["register_task"]


def register_task(
    env_id: str,
    task: type[Task],
    xml_file: str | Path,
    *,
    max_episode_steps: int,
    **arguments: Any,
) -> None:
    """Register a task of your own, here and with Gymnasium.

    :func:`~envs.make.make` then steps it in batches, on the CPU or on a GPU; ``gymnasium.make``
    makes single environments of it; and the scripts take it as ``--env module:id``, where
    ``module`` is the one that calls this function and so has to be imported first.

    Args:
        env_id: Its id, ``Name-v0``. An earlier task of your own by this id is replaced.
        task: A frozen dataclass derived from :class:`~envs.tasks.Task`, whose other fields are the
            environment's keyword arguments.
        xml_file: Path of the model (MJCF); a bare name is one of Gymnasium's models.
        max_episode_steps: The time limit in steps.
        **arguments: Values for fields of the task that have no default, or another default.

    Raises:
        InputError: The id is malformed or taken by somebody else, the class is not a complete task
            or lacks arguments, the file does not exist, or the time limit is below 1.
    """
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise InputError(f"{env_id}: a task is a class derived from envs.tasks.Task, not {task!r}")
    if inspect.isabstract(task):
        missing = ", ".join(sorted(task.__abstractmethods__))
        raise InputError(f"{env_id}: {task.__name__} lacks {missing}")
    if not dataclasses.is_dataclass(task) or "__dataclass_fields__" not in vars(task):
        raise InputError(f"{env_id}: decorate {task.__name__} with @dataclass(frozen=True)")
    given, is_whole = max_episode_steps, isinstance(max_episode_steps, (int, np.integer))
    max_episode_steps = int(given) if is_whole and not isinstance(given, bool) else 0
    if max_episode_steps < 1:
        raise InputError(f"{env_id}: max_episode_steps is at least 1, not {given}")
    if env_id in gymnasium.registry and (env_id in GYMNASIUM_TASKS or env_id not in TASKS):
        raise InputError(f"{env_id} is registered already, and not by you: take another id")
    path = home_expanded(xml_file)
    # No bare name, or one of a file right here.
    if str(xml_file) != path.name or os.path.exists(path):
        if not os.path.isfile(path):
            raise InputError(f"{env_id}: there is no model {path}")
        xml_file = path.resolve()
    arguments = {"xml_file": str(xml_file), **arguments}
    try:
        task(**arguments)
    except TypeError as error:
        raise InputError(f"{env_id}: {task.__name__} cannot be made: {error}") from error
    if env_id in TASKS:
        del gymnasium.registry[env_id]  # replaced without Gymnasium's warning
    try:
        gymnasium.register(
            env_id,
            entry_point=f"{TaskEnv.__module__}:{TaskEnv.__name__}",
            max_episode_steps=max_episode_steps,
            kwargs={"task": env_id, **arguments},
        )
    except gymnasium.error.Error as error:
        raise InputError(f"{env_id!r} is no id: {one_line(error)}") from error
    TASKS[env_id] = task
