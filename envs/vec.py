"""Vectorised environments from a registered id, as Stable-Baselines3 steps them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from l2l_gail.errors import InputError
from l2l_gail.evaluation import make_env

__all__ = ["make_vec"]


def make_vec(
    env_id: str,
    n_envs: int,
    seed: int,
    env_kwargs: Mapping[str, Any] | None = None,
    monitor_dir: str | Path | None = None,
) -> VecEnv:
    """Make ``n_envs`` copies of an environment that step together in this process.

    Each copy reports its episodes through SB3's ``Monitor`` and has a seed of its own
    (``seed + i``).

    Args:
        env_id: Registered environment with flat ``Box`` observations and actions.
        n_envs: Number of copies, at least 1.
        seed: Seed of the first copy.
        env_kwargs: Keyword arguments of the environment, for instance
            ``{"include_cfrc_ext_in_observation": False}`` for Ant.
        monitor_dir: Folder for one ``<i>.monitor.csv`` per copy; None writes no file.

    Returns:
        Environment with observations ``(n_envs, obs_dim)`` and actions ``(n_envs, act_dim)``.

    Raises:
        InputError: The id is unknown (the nearest known one is named), the environment does not
            take these arguments, its spaces are not flat, or ``n_envs`` is below 1.
    """
    if n_envs < 1:
        raise InputError(f"{n_envs} environments cannot be stepped: give at least 1")

    def make_one() -> gymnasium.Env:
        return make_env(env_id, env_kwargs)

    folder = None if monitor_dir is None else str(monitor_dir)
    return make_vec_env(make_one, n_envs=n_envs, seed=seed, monitor_dir=folder)
