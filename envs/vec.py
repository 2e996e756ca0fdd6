"""Vectorised environments from any registered id, as Stable-Baselines3 steps them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from l2l_gail.devices import choose_device
from l2l_gail.errors import InputError
from l2l_gail.evaluation import MakeBatch
from l2l_gail.gym_env import check_env_id, make_env

from .batched import BatchedEnv
from .make import make, simulation_device
from .tasks import GYMNASIUM_TASKS, TASKS

__all__ = ["batch_of_episodes", "can_be_batched", "learning_device", "make_vec"]


def make_vec(
    env_id: str,
    n_envs: int,
    seed: int,
    env_kwargs: Mapping[str, Any] | None = None,
    monitor_dir: str | Path | None = None,
    device: str = "auto",
    num_threads: int | None = None,
) -> VecEnv:
    """Make ``n_envs`` copies of an environment that step together in this process.

    Tasks that :func:`~envs.make.make` knows are batched; any other registered environment is
    stepped one by one, with SB3's ``Monitor`` around each. Either way each copy has a seed of its
    own (``seed + i``) and reports its episodes in its infos.

    Args:
        env_id: Registered environment.
        n_envs: Number of copies, at least 1.
        seed: Seed of the first copy.
        env_kwargs: Keyword arguments of the environment, for instance
            ``{"include_cfrc_ext_in_observation": False}`` for Ant.
        monitor_dir: Folder for one ``<i>.monitor.csv`` per copy, which are then stepped one by
            one; None writes no file.
        device: Where a batch is simulated, as in :func:`~envs.make.make`.
        num_threads: CPU threads of a batch, likewise.

    Returns:
        Environment with observations ``(n_envs, *shape)``, a dict of such where the space is a
        ``Dict``, and actions ``(n_envs, *shape)``.

    Raises:
        InputError: The id is unknown (the nearest known one is named), the environment does not
            take these arguments, its spaces are not supported, or ``n_envs`` is below 1.
    """
    if n_envs < 1:
        raise InputError(f"{n_envs} environments cannot be stepped: give at least 1")
    kwargs = dict(env_kwargs or {})
    if can_be_batched(env_id, kwargs) and monitor_dir is None:
        return make(env_id, n_envs, device, seed, num_threads=num_threads, **kwargs).sb3()

    def make_one() -> gymnasium.Env:
        return make_env(env_id, kwargs)

    folder = None if monitor_dir is None else str(monitor_dir)
    return make_vec_env(make_one, n_envs=n_envs, seed=seed, monitor_dir=folder)


def learning_device(env_id: str, device: str, num_envs: int | None = None) -> str:
    """Return where to learn: beside the simulation, which only a batch has on a GPU.

    Args:
        env_id: Registered environment.
        device: What :func:`make_vec` is given.
        num_envs: Likewise; by default enough for a GPU.

    Raises:
        InputError: The device is not there.
    """
    if can_be_batched(env_id):
        return simulation_device(device, num_envs)
    return choose_device("cpu" if device == "auto" else device)


def batch_of_episodes(env_id: str, env_kwargs: Mapping[str, Any]) -> MakeBatch | None:
    """Return a function that makes evaluation environments as one batch on the CPU.

    Returns ``None`` for an environment that is to be evaluated in Gymnasium's single environments:
    one that cannot be batched, or a task of the user's own, for which no test has shown that the
    batch equals them.

    Raises:
        InputError: The id is unknown.
    """
    if not can_be_batched(env_id, env_kwargs) or check_env_id(env_id) not in GYMNASIUM_TASKS:
        return None

    def make_batch(env_id: str, n: int, env_kwargs: Mapping[str, Any]) -> BatchedEnv:
        return make(env_id, n, "cpu", **env_kwargs)

    return make_batch


def can_be_batched(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> bool:
    """Return whether :func:`~envs.make.make` can step an environment in batches.

    Args:
        env_id: Registered environment; ``"module:Name-v0"`` imports the module first.
        env_kwargs: Keyword arguments of the environment.

    Raises:
        InputError: The id is unknown.
    """
    return check_env_id(env_id) in TASKS and (env_kwargs or {}).get("render_mode") is None
