"""A rollout as tensors ``(T, N, ...)`` on one device, and its advantages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l2l_gail.observations import map_parts
from l2l_gail.ppo.observations import TensorObservations, leading

__all__ = ["TensorRolloutBuffer", "advantages_and_returns", "minibatch_order"]


class TensorRolloutBuffer:
    """What one rollout leaves behind; filled step by step, then read as whole tensors.

    =============== ==================================================== =======================
    attribute       meaning                                              shape, dtype
    =============== ==================================================== =======================
    observations    states before each step                              (T, N, ...)
    actions         as the policy drew them, before any clipping         (T, N, ...)
    rewards         the environment's; then what they are replaced with  (T, N) float32
    step_rewards    the latter, without values of time limits' states    (T, N) float32
    dones           the episode ended in this step                       (T, N) bool
    time_limits     ... and only because of its time limit               (T, N) bool
    final_obs       states that each step reached, before any reset      (T, N, ...)
    values          V of ``observations`` under the acting policy        (T, N) float32
    log_probs       log-density of ``actions`` under it                  (T, N) float32
    advantages      generalised advantage estimates                      (T, N) float32
    returns         ``advantages + values``                              (T, N) float32
    last_values     V of the states after the last step                  (N,) float32
    =============== ==================================================== =======================

    ``observations`` and ``final_obs`` are dicts of such tensors where the space is a ``Dict``;
    floating observations are float32. The steps' tensors are kept as they come and stacked once at
    the end of the rollout: on the CPU that saves a dozen small copies a step.

    Args:
        buffer_size: Steps of a rollout; SB3 makes the buffer with the arguments of its own ones,
            and this one needs ``gamma`` and ``gae_lambda`` only.
        observation_space: Not used.
        action_space: Not used.
        device: Not used: tensors stay where they come from.
        gae_lambda: Trade-off of bias and variance in the advantages.
        gamma: Discount factor.
        n_envs: Not used.
    """

    observations: TensorObservations
    actions: Tensor
    rewards: Tensor
    step_rewards: Tensor
    dones: Tensor
    time_limits: Tensor
    final_obs: TensorObservations
    values: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor
    last_values: Tensor

    def __init__(
        self,
        buffer_size: int = 0,
        observation_space: Any = None,
        action_space: Any = None,
        device: torch.device | str = "auto",
        gae_lambda: float = 1.0,
        gamma: float = 0.99,
        n_envs: int = 1,
    ) -> None:
        self.gamma = gamma
        self.gae_lambda = gae_lambda
        self._steps: list[tuple[Any, ...]] = []

    def reset(self) -> None:
        """Forget the steps of the last rollout."""
        self._steps.clear()

    def add(
        self,
        obs: TensorObservations,
        actions: Tensor,
        rewards: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        final_obs: TensorObservations,
    ) -> None:
        """Append one step of all environments, tensors of leading dimension ``N``."""
        self._steps.append((obs, actions, rewards, terminated, truncated, final_obs))

    def stack(self) -> None:
        """Turn the steps into tensors ``(T, N, ...)``, on the device of the observations."""
        obs, actions, rewards, terminated, truncated, final_obs = (
            map_parts(lambda *steps: torch.stack(steps), *column)
            for column in zip(*self._steps, strict=True)
        )
        self._steps.clear()
        device = leading(obs).device
        self.observations, self.actions = obs, actions
        self.rewards = rewards.to(device, torch.float32)
        self.dones = (terminated | truncated).to(device)
        self.time_limits = (truncated & ~terminated).to(device)
        self.final_obs = map_parts(lambda x: x.to(device), final_obs)

    def __len__(self) -> int:
        """Return the number of transitions, ``T * N``."""
        return self.rewards.numel()

    def compute_returns_and_advantages(self) -> None:
        """Compute ``advantages`` and ``returns`` from rewards, values and ends."""
        self.advantages, self.returns = advantages_and_returns(
            self.rewards, self.values, self.dones, self.last_values, self.gamma, self.gae_lambda
        )

    def by_env(self, tensor: Tensor) -> Tensor:
        """Return ``(T, N, ...)`` as ``(N * T, ...)``, one environment after the other."""
        return tensor.transpose(0, 1).flatten(0, 1)


def advantages_and_returns(
    rewards: Tensor,
    values: Tensor,
    dones: Tensor,
    last_values: Tensor,
    gamma: float,
    gae_lambda: float,
) -> tuple[Tensor, Tensor]:
    """Compute generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

    The value of a cut episode's last state must be in its reward already.

    Args:
        rewards: ``(T, N)``.
        values: ``V(s_t)``, ``(T, N)``.
        dones: Whether the episode ended in step ``t``, ``(T, N)`` bool.
        last_values: ``V(s_T)``, ``(N,)``.
        gamma: Discount factor.
        gae_lambda: ``lambda``.

    Returns:
        Advantages and returns, ``(T, N)`` each; the operations and their order are those of SB3's
        ``RolloutBuffer``, so that float32 results are equal to the bit.
    """
    continues = 1.0 - dones.to(values.dtype)  # (T, N)
    next_values = torch.cat([values[1:], last_values[None]])
    advantages = rewards + gamma * next_values * continues - values
    decay = (gamma * gae_lambda) * continues
    rows, decays = advantages.unbind(), decay.unbind()
    for t in range(len(rows) - 2, -1, -1):
        rows[t].add_(decays[t] * rows[t + 1])
    return advantages, advantages + values


def minibatch_order(n: int, device: torch.device) -> Iterator[Tensor]:
    """Yield one random order of ``n`` transitions after the other, ``(n,)`` int64 on ``device``.

    On the CPU it is drawn from numpy's global generator, as SB3 does, so that both train alike;
    elsewhere on the device.
    """
    while True:
        if device.type == "cpu":
            yield torch.from_numpy(np.random.permutation(n))
        else:
            yield torch.randperm(n, device=device)
