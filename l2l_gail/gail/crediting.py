"""Advantages of a policy that is paid by a discriminator, mixed by learned credit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from l2l_gail.gail.config import DiscriminatorConfig
from l2l_gail.gail.credit import CreditAssignment, action_surprise
from l2l_gail.gail.discriminator import Discriminator
from l2l_gail.gail.pace import PolicyPace
from l2l_gail.gail.rewards import reward_of_logits
from l2l_gail.observations import map_parts
from l2l_gail.ppo import TensorRolloutBuffer
from l2l_gail.ppo.observations import TensorObservations, network_input

__all__ = ["AssignsCredit"]


class AssignsCredit:
    """Inherited from before an algorithm of SB3's: its advantages are mixed by learned credit.

    Attributes:
        credit_assignment: ``None`` for PPO's own advantages.
    """

    credit_assignment: CreditAssignment | None
    # Of the algorithm.
    discriminator: Discriminator
    discriminator_config: DiscriminatorConfig
    logger: Any
    pace: PolicyPace
    policy: Any

    def _rows(self, obs: TensorObservations, acts: Tensor) -> Tensor:
        """Return the discriminator's rows ``(n, in_dim)`` of actions as the policy drew them."""
        raise NotImplementedError

    def rollout_advantages(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Return advantages ``(T, N)``: PPO's own, or mixed by the learned credit."""
        if self.credit_assignment is None:
            return super().rollout_advantages(buffer)  # type: ignore[misc]
        surprise = self._action_surprise(buffer)
        advantages, log = self.credit_assignment.advantages(
            self.policy, buffer, surprise, self.pace.share
        )
        for tag, value in log.items():
            self.logger.record(tag, value)
        return advantages

    def _action_surprise(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Return the rewards less their means over actions, ``(T, N)``.

        Those of the actions taken are the rollout's own, so that a subclass whose
        ``rollout_rewards`` are others than the discriminator's has to answer here, too. Zeros where
        the discriminator does not see the action: no other one has a reward then.
        """
        if self.discriminator.judges != "state_action":
            return torch.zeros_like(buffer.values)
        assert self.credit_assignment is not None
        surprise = action_surprise(
            self.policy,
            network_input(map_parts(buffer.by_env, buffer.observations)),
            buffer.by_env(buffer.step_rewards),
            self._rewards,
            self.credit_assignment.settings.action_samples,
        )
        return surprise.view(buffer.rewards.shape[::-1]).T

    @torch.no_grad()
    def _rewards(self, obs: TensorObservations, acts: Tensor) -> Tensor:
        """Return the learned rewards ``(n,)`` of actions as the policy drew them."""
        logits = self.discriminator.logits_of_rows(self._rows(obs, acts))
        return reward_of_logits(logits, self.discriminator_config.reward)
