"""What training asks of an environment whose steps are tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from gymnasium import spaces
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.ppo.observations import TensorObservations

__all__ = [
    "BOOKKEEPING",
    "StepResult",
    "TensorEnv",
    "env_state",
    "load_env_state",
    "report_broken",
]

BOOKKEEPING = ("final_obs", "_final_obs", "episode_return", "episode_length")
"""Entries of ``info`` that every tensor environment has; the others are its own named terms."""

StepResult = tuple[TensorObservations, Tensor, Tensor, Tensor, dict[str, Any]]
"""``obs, reward, terminated, truncated, info``."""


@runtime_checkable
class TensorEnv(Protocol):
    """Environments that step together, torch in and torch out, with same-step reset.

    An environment whose episode ended is reset in the same step: ``obs`` is then its new episode's
    first observation. Returned tensors are never overwritten later. Observations are one tensor, or
    a dict of them where the observation space is a ``Dict``. ``info`` needs

    ================== ============================================= ==================
    entry              meaning                                       shape
    ================== ============================================= ==================
    final_obs          the state each step reached, before any reset as ``obs``
    _final_obs         whether the episode ended in this step        (N,) bool
    episode_return     its undiscounted return so far                (N,) floating
    episode_length     its steps so far                              (N,) int64
    ================== ============================================= ==================

    and may have named terms of the environment's own, tensors of leading dimension ``N``.

    Four more methods are used where an environment has them: ``check()`` (warn of simulations that
    broke), ``state_dict()`` and ``load_state_dict(state)`` (a resumed training then goes on within
    its episodes), ``close()``. The attribute ``spec`` is its Gymnasium specification.
    """

    @property
    def num_envs(self) -> int:
        """Number of environments ``N``."""

    @property
    def device(self) -> torch.device:
        """Where observations and rewards lie, and where actions are wanted."""

    @property
    def single_observation_space(self) -> spaces.Space:
        """Space of one environment's observations."""

    @property
    def single_action_space(self) -> spaces.Space:
        """Space of one environment's actions."""

    def reset(
        self, seed: int | Sequence[int | None] | None = None
    ) -> tuple[TensorObservations, dict[str, Any]]:
        """Begin new episodes everywhere; return observations ``(N, ...)`` and infos."""

    def step(self, actions: Tensor) -> StepResult:
        """Take actions ``(N, ...)``.

        Returns:
            ``obs (N, ...)``, ``reward (N,)``, ``terminated (N,)`` and ``truncated (N,)`` bool, and
            ``info``.
        """


def report_broken(env: TensorEnv) -> None:
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
