"""The interface of a batched environment: torch in, torch out, on either backend."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor

from l2l_gail.checks import is_whole
from l2l_gail.errors import InputError

from .definition import Definition

if TYPE_CHECKING:
    from l2l_gail.ppo.sb3_view import SB3VecEnv

    from .gym_vector import GymVectorEnv

__all__ = ["BatchedEnv", "Info", "StepResult"]

Info = dict[str, Tensor]
"""Entries with a leading dimension ``N``."""
StepResult = tuple[Tensor, Tensor, Tensor, Tensor, Info]
"""``obs, reward, terminated, truncated, info``."""


class BatchedEnv(ABC):
    """``N`` copies of a MuJoCo task that step together.

    An environment whose episode ends is reset in the same step: ``obs`` is then the first
    observation of the next episode, and ``info["final_obs"]`` the state that was reached.

    =================== ============================================ ==================
    ``step`` returns    meaning                                      shape
    =================== ============================================ ==================
    obs                 observations, after any reset                (N, obs_dim)
    reward              rewards of the step                          (N,)
    terminated          the task ended the episode                   (N,) bool
    truncated           the time limit ended it (on a GPU also a     (N,) bool
                        lack of room for contacts)
    info                the entries below and the task's own
    =================== ============================================ ==================

    ================== ============================================= ==================
    ``info``           meaning                                       shape
    ================== ============================================= ==================
    final_obs          states reached, before any reset: the s' of   (N, obs_dim)
                       (s, a, s') in every row
    _final_obs         rows whose episode ended                      (N,) bool
    episode_return     undiscounted return so far, this step         (N,) float64
                       included; the episode's where it ended
    episode_length     steps so far, likewise                        (N,) int64
    reward_ctrl, ...   the task's named terms (for Gymnasium's       (N, ...)
                       tasks, its own), of the states reached
    ================== ============================================= ==================

    Every step returns new tensors; none is overwritten later.

    Args:
        definition: What to simulate.
        num_envs: Number of environments ``N``.
        device: Device of observations and rewards.
        dtype: Their type.
        seed: Seed of the first reset; environment ``i`` takes ``seed + i``.

    Attributes:
        env_id: The id under which Gymnasium knows the task.
        num_envs: ``N``.
        device: Device of observations and rewards.
        dtype: Type of observations and rewards.
        single_observation_space: Space of one environment.
        single_action_space: Likewise.
        spec: Gymnasium's specification.
        model: The compiled model, for reading only: the batch steps a copy of it.
        max_episode_steps: Time limit in steps.
        reset_info: Gymnasium's info of each environment's latest reset, entries ``(N, ...)``.

    Raises:
        InputError: ``num_envs`` is below 1, or the seed is negative.
    """

    def __init__(
        self,
        definition: Definition,
        num_envs: int,
        device: torch.device,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        if not is_whole(num_envs) or num_envs < 1:
            raise InputError(f"{num_envs} environments cannot be stepped: give a number from 1 on")
        _check_seed(seed)
        self.env_id = definition.env_id
        self.num_envs = int(num_envs)
        self.device = device
        self.dtype = dtype
        self.single_observation_space = definition.observation_space
        self.single_action_space = definition.action_space
        self.spec = definition.spec
        self.model = definition.model
        self.max_episode_steps = definition.max_episode_steps
        self.reset_info: Info = {}
        self._arguments = definition.arguments  # a saved state fits only environments made alike
        self._seed: int | None = seed  # of the first reset
        self._owner = os.getpid()
        self._told = 0  # divergences that check() has warned of
        self._closed = False

    @abstractmethod
    def reset(self, seed: int | Sequence[int | None] | None = None) -> tuple[Tensor, Info]:
        """Begin new episodes everywhere.

        Args:
            seed: A number seeds environment ``i`` with ``seed + i``; a sequence gives each its own
                seed; ``None`` lets each environment's generator continue (the first reset uses the
                seed given to the constructor).

        Returns:
            Observations ``(N, obs_dim)`` and Gymnasium's info of the resets.
        """

    @abstractmethod
    def step(self, actions: Tensor | np.ndarray) -> StepResult:
        """Take one step in every environment.

        Args:
            actions: ``(N, act_dim)`` floating point.

        Returns:
            ``obs, reward, terminated, truncated, info``; see the class.

        Raises:
            InputError: Actions of another shape, or not finite where that can be seen without
                waiting for a device.
            RuntimeError: The environment was closed, not yet reset, or inherited by a fork.
        """

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the physics runs, in words: what ``device="auto"`` resolved to."""

    @property
    @abstractmethod
    def diverged(self) -> int:
        """How many times an environment was reset because its state was not finite or huge."""

    def check(self) -> None:
        """Warn of what has gone wrong in the simulations since the last check, with a count.

        Waits for the device once: call it where training waits anyway, between rollouts.
        """
        diverged = self.diverged
        new, self._told = diverged - self._told, diverged
        if new:
            warnings.warn(
                f"{self.env_id}: states that were not finite or huge ({new}): MuJoCo put them back "
                "to the model's default within the step, as in Gymnasium",
                RuntimeWarning,
                stacklevel=2,
            )

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next steps depend on, as tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> Tensor:
        """Restore a state returned by :meth:`state_dict`.

        Returns:
            The observations ``(N, obs_dim)`` of that state.

        Raises:
            InputError: The state belongs to a different environment.
        """

    def close(self) -> None:
        """Free the simulations' memory and threads; safe to call twice."""
        self._closed = True

    def sb3(self, info_keys: Sequence[str] | str = ()) -> SB3VecEnv:
        """Return a view of the batch as a Stable-Baselines3 ``VecEnv``.

        Args:
            info_keys: Named terms to put into every environment's info at every step, or
                ``"all"``.
        """
        from l2l_gail.ppo.sb3_view import SB3VecEnv

        return SB3VecEnv(self, info_keys)

    def gymnasium(self) -> GymVectorEnv:
        """Return a view of the batch as a ``gymnasium.vector.VectorEnv``."""
        from .gym_vector import GymVectorEnv

        return GymVectorEnv(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        kind, size = type(self).__name__, self.num_envs
        return f"{kind}({self.env_id!r}, num_envs={size}, device={str(self.device)!r})"

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """Return one seed per environment, ``None`` where its generator continues."""
        if seed is None:
            seed = self._seed
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        elif isinstance(seed, (int, np.integer)):
            seeds = [int(seed) + i for i in range(self.num_envs)]
        elif isinstance(seed, (list, tuple, np.ndarray)):
            seeds = [own.item() if isinstance(own, np.integer) else own for own in seed]
        else:
            raise InputError(f"a seed is a whole number from 0 on, or one for each, not {seed!r}")
        if len(seeds) != self.num_envs:
            raise InputError(f"{len(seeds)} seeds for {self.num_envs} environments: give one each")
        for own in seeds:
            _check_seed(own)
        self._seed = None
        return seeds

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: what steps is memory of this process, or of a GPU."""
        raise TypeError(
            f"{self.env_id}: a batch of environments cannot be pickled or copied; make it in the "
            "process that steps it, and hand on its state_dict()"
        )

    def _check_usable(self) -> None:
        if self._closed:
            raise RuntimeError(f"{self.env_id}: the environment is closed")
        if os.getpid() != self._owner:
            raise RuntimeError(
                f"{self.env_id}: a forked process cannot step the environments of its parent; make "
                "them in the process that steps them"
            )

    def _check_shape(self, shape: Sequence[int]) -> None:
        expected = (self.num_envs, *self.single_action_space.shape)
        if tuple(shape) != expected:
            raise InputError(f"actions must have the shape {expected}, not {tuple(shape)}")


def _check_seed(seed: int | None) -> None:
    if seed is not None and (not isinstance(seed, (int, np.integer)) or seed < 0):
        raise InputError(f"a seed is a whole number from 0 on, not {seed}")
