"""Make a batched environment on whatever device there is."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import torch

from l2l_gail.cores import available_cores
from l2l_gail.devices import choose_device
from l2l_gail.errors import InputError
from l2l_gail.gym_env import usable

from .batched import BatchedEnv
from .cpu import CpuEnv
from .definition import define
from .warp import WarpEnv, obstacle

__all__ = ["make", "simulation_device"]

_log = logging.getLogger(__name__)

_WORTH_A_GPU = 64
"""Worlds a core from which an H200 beat 16 cores: 35 (Humanoid) to 67 (HalfCheetah)."""


def make(
    env_id: str,
    num_envs: int,
    device: str | torch.device = "auto",
    seed: int | None = 0,
    *,
    num_threads: int | None = None,
    nconmax: int | None = None,
    njmax: int | None = None,
    deterministic: bool = False,
    **gym_kwargs: Any,
) -> BatchedEnv:
    """Make ``num_envs`` copies of a MuJoCo task that step together.

    Args:
        env_id: Hopper, HalfCheetah, Walker2d, Ant, Humanoid, InvertedPendulum,
            InvertedDoublePendulum, Swimmer, Reacher or Pusher, ``-v5`` or ``-v4``; or a task of
            one's own, see :func:`~envs.register.register_task`, with the module that registers it
            before a colon (``"my_tasks:Slider-v0"``) where that is not imported yet.
        num_envs: Number of environments.
        device: ``"cpu"``: MuJoCo's C engine on all cores, float64, equal to Gymnasium bit for bit.
            ``"cuda"``, ``"cuda:1"``, ...: mujoco_warp, float32, everything stays on the GPU; needs
            the ``gpu`` extra. ``"auto"``: the GPU if there is one, the extra is installed and there
            are 64 environments or more for each core of the CPU, which is faster with fewer; the
            choice is logged (INFO) and is ``env.place`` in words.
        seed: Environment ``i`` is seeded with ``seed + i``, and its later episodes continue with
            its own generator; ``None`` takes a different seed at every run.
        num_threads: Threads of the CPU backend; the number changes no result. By default all
            cores, and 1 below 16 environments.
        nconmax: On a GPU, room for contacts per environment; the CPU has no such limit.
        njmax: On a GPU, room for constraint rows in each environment.
        deterministic: Have a GPU order its sums, at a half to a third of the speed; Ant was still
            not repeated bit for bit. The CPU always repeats its results.
        **gym_kwargs: As ``gymnasium.make`` takes them: the task's weights and ranges,
            ``xml_file``, ``frame_skip``, ``max_episode_steps``.

    Returns:
        The environment; ``.sb3()`` and ``.gymnasium()`` are its views for those libraries.

    Raises:
        InputError: An unknown task, arguments that it does not take or cannot be stepped with, or
            a device that is not there.
    """
    place = simulation_device(str(device), num_envs)
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    definition = define(env_id, gym_kwargs)
    env: BatchedEnv
    if place == "cpu":
        env = CpuEnv(definition, num_envs, seed, num_threads)
    else:
        env = WarpEnv(
            definition,
            num_envs,
            seed,
            device=place,
            nconmax=nconmax,
            njmax=njmax,
            deterministic=deterministic,
        )
    if gym_kwargs:
        with usable(env_id, gym_kwargs):
            trial = CpuEnv(definition, 1, seed=0, num_threads=1)
            trial.reset()
            trial.step(torch.zeros(1, *definition.action_space.shape, device="cpu"))
    if str(device) == "auto":
        _log.info("%s: %d environments on %s", env_id, num_envs, env.place)
    return env


def simulation_device(device: str = "auto", num_envs: int | None = None) -> str:
    """Return the device that environments are simulated on: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Args:
        device: ``"auto"`` takes a GPU where it is faster, and warns if it cannot be used.
        num_envs: How many step together; by default enough for a GPU.

    Raises:
        InputError: A GPU was asked for, and there is none or mujoco_warp cannot use it.
    """
    if device == "auto":
        few = num_envs is not None and num_envs < _WORTH_A_GPU * available_cores()
        if few or not torch.cuda.is_available():
            return "cpu"
        if (reason := obstacle("cuda")) is None:
            return "cuda"
        warnings.warn(f"there is a GPU, but {reason}; simulating on the CPU", stacklevel=2)
        return "cpu"
    place = choose_device(device)
    if torch.device(place).type == "cpu":
        return "cpu"
    if (reason := obstacle(place)) is not None:
        raise InputError(f"{reason}; or use cpu")
    return place
