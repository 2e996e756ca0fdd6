"""What training asks of an environment whose steps are tensors, and how such a one is recognised.

The library steps any environment of this form without leaving its device. ``envs`` has some; the
library does not import them.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor

from l2l_gail.errors import InputError

__all__ = ["BOOKKEEPING", "TensorEnv", "check_env", "env_state", "load_env_state", "tensor_env_of"]

BOOKKEEPING = ("final_obs", "_final_obs", "episode_return", "episode_length")
"""Entries of ``info`` that every tensor environment has; the others are its own named terms."""


@runtime_checkable
class TensorEnv(Protocol):
    """Environments that step together, torch in and torch out, with same-step reset.

    An environment whose episode ended is reset in the same step: ``obs`` is then its new episode's
    first observation. Returned tensors are never overwritten later. ``info`` needs

    ================== ============================================= ==================
    entry              meaning                                       shape
    ================== ============================================= ==================
    final_obs          the state each step reached, before any reset (N, obs_dim)
    _final_obs         whether the episode ended in this step        (N,) bool
    episode_return     its undiscounted return so far                (N,) floating
    episode_length     its steps so far                              (N,) int64
    ================== ============================================= ==================
    """

    @property
    def num_envs(self) -> int:
        """Number of environments ``N``."""

    @property
    def device(self) -> torch.device:
        """Where observations and rewards lie, and where actions are wanted."""

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Take actions ``(N, act_dim)``.

        Returns:
            ``obs (N, obs_dim)``, ``reward (N,)``, ``terminated (N,)`` and ``truncated (N,)`` bool,
            and ``info``.
        """

    def sb3(self) -> VecEnv:
        """Return a view for stable-baselines3, whose attribute ``tensor_env`` is this one.

        It only translates: what SB3 gets to see through it says no more than the tensors.
        """


def tensor_env_of(env: VecEnv | None) -> TensorEnv | None:
    """Return the tensor environment that ``env`` is a plain view of, ``None`` if it is none.

    A wrapper (``VecNormalize``, ``VecMonitor``, ...) or a subclass of the view changes or watches
    what SB3's loop sees, so what lies under one is not used.
    """
    if env is None or isinstance(env, VecEnvWrapper):
        return None
    inner = getattr(env, "tensor_env", None)
    if not isinstance(inner, TensorEnv):
        return None
    return inner if type(env) is type(inner.sb3()) else None


def check_env(env: TensorEnv) -> None:
    """Have the environment warn of simulations that broke, if it can; waits for its device."""
    check = getattr(env, "check", None)
    if check is not None:
        check()


def env_state(env: TensorEnv) -> dict[str, Any] | None:
    """Return the environment's ``state_dict()``, ``None`` if it has none."""
    state_dict = getattr(env, "state_dict", None)
    return None if state_dict is None else state_dict()


def load_env_state(env: TensorEnv, state: dict[str, Any]) -> bool:
    """Go on from an :func:`env_state`.

    Returns:
        False if the environment cannot: it has no ``load_state_dict``, or refuses this state as
        one of another kind of environment (another number of them, another device).
    """
    load_state_dict = getattr(env, "load_state_dict", None)
    if load_state_dict is None:
        return False
    try:
        load_state_dict(state)
    except InputError:
        return False
    return True
