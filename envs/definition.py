"""From an environment id and Gymnasium's keyword arguments to a task, a model and its spaces."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import gymnasium
import mujoco
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from l2l_gail.errors import InputError
from l2l_gail.gym_env import make_env

from .tasks import TASKS, Task

__all__ = ["Definition", "define", "quiet_compiler"]

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
_OF_MAKE = frozenset({"max_episode_steps", "disable_env_checker"})
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
    """

    env_id: str
    task: Task
    model: mujoco.MjModel
    xml: str
    observation_space: spaces.Box
    action_space: spaces.Box
    spec: EnvSpec
    max_episode_steps: int

    @property
    def arguments(self) -> dict[str, Any]:
        """What makes environments of one id differ, those of cameras apart."""
        kept = {k: v for k, v in self.spec.kwargs.items() if k not in _OF_PICTURES}
        return {**kept, "max_episode_steps": self.max_episode_steps}


def define(env_id: str, gym_kwargs: Mapping[str, Any]) -> Definition:
    """Look an environment up, and have Gymnasium check its arguments and compile its model.

    Args:
        env_id: One of :data:`~envs.tasks.TASKS`.
        gym_kwargs: Keyword arguments of ``gymnasium.make``.

    Raises:
        InputError: No task is known by this id, Gymnasium does not take these arguments, or they
            ask for pictures.
    """
    if env_id not in TASKS:
        raise InputError(_unknown(env_id))
    if gym_kwargs.get("render_mode") is not None:
        raise InputError(
            f"batched environments do not render; use gymnasium.make({env_id!r}, "
            f"render_mode={gym_kwargs['render_mode']!r}) for pictures"
        )
    kind = TASKS[env_id]
    own = {k: v for k, v in gym_kwargs.items() if k not in _OF_PICTURES | _OF_MAKE}
    with quiet_compiler():
        env = make_env(env_id, gym_kwargs)
    known = {f.name for f in fields(kind) if f.init} - set(kind.fixed)
    if strange := sorted(set(own) - known):
        raise InputError(f"{env_id} has no argument {strange[0]!r} that a batch could follow")
    assert isinstance(env.observation_space, spaces.Box)
    assert isinstance(env.action_space, spaces.Box)
    assert env.spec is not None
    limit = env.spec.max_episode_steps
    definition = Definition(
        env_id=env_id,
        task=kind(**own),
        model=env.unwrapped.model,  # type: ignore[attr-defined]
        xml=env.unwrapped.fullpath,  # type: ignore[attr-defined]
        observation_space=env.observation_space,
        action_space=env.action_space,
        spec=env.spec,
        max_episode_steps=limit if limit is not None and limit > 0 else _NO_LIMIT,
    )
    env.close()
    return definition


def _unknown(env_id: str) -> str:
    if env_id in gymnasium.registry:
        with quiet_compiler():
            make_env(env_id).close()  # if Gymnasium cannot make it either, it says why
        others = "stable_baselines3.common.env_util.make_vec_env"
        return (
            f"{env_id} cannot be batched: only {', '.join(sorted(TASKS))} can; step it one by one, "
            f"with {others} or gymnasium.make_vec"
        )
    nearest = difflib.get_close_matches(env_id, TASKS, n=1, cutoff=0.5)
    hint = f"perhaps you meant {nearest[0]!r}" if nearest else f"there are: {', '.join(TASKS)}"
    return f"unknown environment {env_id!r}; {hint}"


@contextmanager
def quiet_compiler() -> Iterator[None]:
    """Keep MuJoCo quiet about attributes that Gymnasium's models still use.

    It would print a warning, and write it to MUJOCO_LOG.TXT where the user works.
    """
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "compiler attribute")
            yield
    finally:
        mujoco.set_mju_user_warning(previous)
