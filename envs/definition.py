"""From an environment id and Gymnasium's keyword arguments to a task, a model and its spaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from l2l_gail.checks import nearest
from l2l_gail.errors import InputError
from l2l_gail.gym_env import check_env_id, make_env

from .tasks import TASKS, Task

__all__ = ["Definition", "define", "plain_arguments"]

_OF_PICTURES = frozenset(
    {
        "render_mode",
        "width",
        "height",
        "camera_id",
        "camera_name",
        "default_camera_config",
        "max_geom",
        "visual_options",
    }
)
_OF_REGISTRATION = frozenset({"task"})  # by which one class of environments finds its task
_NO_LIMIT = 2**62


@dataclass(frozen=True)
class Definition:
    """All that a backend needs to know of an environment.

    Attributes:
        env_id: Its id.
        task: Observation, reward, termination and reset noise; not yet bound to the model.
        model: The model as Gymnasium compiles it.
        xml: Path of the file that it is compiled from.
        observation_space: Of one environment, ``(obs_dim,)`` float64.
        action_space: Of one environment, ``(act_dim,)`` float32.
        spec: Gymnasium's specification, keyword arguments included.
        max_episode_steps: The time limit in steps.
        nconmax: Room for contacts on a GPU, per environment on average; ``None`` where the model
            is not the one that the task is registered with.
        njmax: Room for constraint rows in each environment; likewise.
    """

    env_id: str
    task: Task
    model: mujoco.MjModel
    xml: str
    observation_space: spaces.Box
    action_space: spaces.Box
    spec: EnvSpec
    max_episode_steps: int
    nconmax: int | None
    njmax: int | None

    @property
    def arguments(self) -> dict[str, Any]:
        """What makes two environments of one id differ, cameras aside."""
        registered = plain_arguments(gymnasium.registry[self.env_id].kwargs)
        given = {
            name: value
            for name, value in plain_arguments(_arguments_of_task(self.spec)).items()
            if name not in registered or registered[name] != value
        }
        return {**given, "max_episode_steps": self.max_episode_steps}


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as a file keeps them: numbers of numpy as Python's, tuples as lists."""
    return {name: _plain(value) for name, value in arguments.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def define(env_id: str, gym_kwargs: Mapping[str, Any]) -> Definition:
    """Look an environment up, and have Gymnasium check its arguments and compile its model.

    Args:
        env_id: One of :data:`~envs.tasks.TASKS`, with the module that registers it before a colon
            (``"my_tasks:Slider-v0"``) where that is not imported yet.
        gym_kwargs: Keyword arguments of ``gymnasium.make``.

    Raises:
        InputError: No task is known by this id, Gymnasium does not take these arguments, or they
            ask for pictures.
    """
    if ":" in env_id:
        env_id = check_env_id(env_id)
    if env_id not in TASKS:
        raise InputError(_unknown(env_id))
    if gym_kwargs.get("render_mode") is not None:
        raise InputError(
            f"batched environments do not render; use gymnasium.make({env_id!r}, "
            f"render_mode={gym_kwargs['render_mode']!r}) for pictures"
        )
    kind = TASKS[env_id]
    env = make_env(env_id, gym_kwargs)
    assert isinstance(env.observation_space, spaces.Box)
    assert isinstance(env.action_space, spaces.Box)
    for i in np.flatnonzero(env.action_space.low >= env.action_space.high):
        raise InputError(
            f"{env_id}: actuator {i} of the model can only be {env.action_space.low[i]:g}: give it "
            'a range of control (ctrlrange="-1 1" in the MJCF)'
        )
    assert env.spec is not None
    own = _arguments_of_task(env.spec)
    known = {f.name for f in fields(kind) if f.init} - set(kind.fixed)
    if strange := sorted(set(own) - known):
        raise InputError(f"{env_id} has no argument {strange[0]!r} that a batch could follow")
    _check_switches(kind, own)
    task = kind(**own)
    registered = gymnasium.registry[env_id].kwargs.get("xml_file", getattr(kind, "xml_file", None))
    knows_model = task.xml_file == registered
    limit = env.spec.max_episode_steps
    definition = Definition(
        env_id=env_id,
        task=task,
        model=env.unwrapped.model,  # type: ignore[attr-defined]
        xml=env.unwrapped.fullpath,  # type: ignore[attr-defined]
        observation_space=env.observation_space,
        action_space=env.action_space,
        spec=env.spec,
        max_episode_steps=limit if limit is not None and limit > 0 else _NO_LIMIT,
        nconmax=kind.nconmax if knows_model else None,
        njmax=kind.njmax if knows_model else None,
    )
    env.close()
    return definition


def _arguments_of_task(spec: EnvSpec) -> dict[str, Any]:
    """Return the keyword arguments that an environment was made with, cameras aside."""
    apart = _OF_PICTURES | _OF_REGISTRATION
    return {name: value for name, value in spec.kwargs.items() if name not in apart}


def _check_switches(kind: type[Task], own: Mapping[str, Any]) -> None:
    """Refuse for a switch what Python takes for true or false without its being either, as "no"."""
    for field in fields(kind):
        value = own.get(field.name)
        if isinstance(field.default, bool) and value is not None and value not in (True, False):
            raise InputError(f"environment argument {field.name}={value!r}: give True or False")


def _unknown(env_id: str) -> str:
    if env_id in gymnasium.registry:
        make_env(env_id).close()  # if Gymnasium cannot make it either, it says why
        others = "stable_baselines3.common.env_util.make_vec_env"
        return (
            f"{env_id} cannot be batched: only {', '.join(sorted(TASKS))} can, and tasks of your "
            f"own (envs.register_task); step it one by one, with {others} or gymnasium.make_vec"
        )
    near = nearest(env_id, TASKS, cutoff=0.5)
    hint = f"perhaps you meant {near!r}" if near else f"there are: {', '.join(TASKS)}"
    return f"unknown environment {env_id!r}; {hint}"
