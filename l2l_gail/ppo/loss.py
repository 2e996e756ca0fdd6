"""PPO's loss on one minibatch, as SB3 computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from l2l_gail.ppo.observations import TensorObservations

__all__ = ["LossTerms", "Minibatch", "PPOLoss"]


class Minibatch(NamedTuple):
    """Transitions of a rollout; ``B`` of them.

    Attributes:
        prepared: Observations as the policy's ``prepare`` returned them, ``(B, ...)``.
        actions: ``(B, ...)``.
        old_values: Values under the policy that acted, ``(B,)``.
        old_log_probs: Log-probabilities under it, ``(B,)``.
        advantages: ``(B,)``.
        returns: ``(B,)``.
    """

    prepared: TensorObservations
    actions: Tensor
    old_values: Tensor
    old_log_probs: Tensor
    advantages: Tensor
    returns: Tensor


class LossTerms(NamedTuple):
    """The parts of the loss, 0-d, and the samples' ``log(new / old probability)``, ``(B,)``."""

    policy: Tensor
    value: Tensor
    entropy: Tensor
    total: Tensor
    log_ratio: Tensor


@dataclass(frozen=True)
class PPOLoss:
    """Schulman et al. 2017, arXiv 1707.06347, eq. 7 and 9.

    Attributes:
        clip: Ratios beyond ``1 +- clip`` gain nothing.
        clip_vf: Values move at most this far from the old ones; ``None`` for no limit.
        ent_coef: Weight of the entropy.
        vf_coef: Weight of the values' squared error.
        normalize_advantage: Whether each minibatch's advantages are standardised.
    """

    clip: float
    clip_vf: float | None
    ent_coef: float
    vf_coef: float
    normalize_advantage: bool

    def advantages(self, batch: Minibatch) -> Tensor:
        """Return the minibatch's advantages ``(B,)``, standardised if they are to be."""
        advantages = batch.advantages
        if self.normalize_advantage and len(advantages) > 1:
            # Not std_mean: another rounding than SB3's.
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        return advantages

    def bounded_values(self, batch: Minibatch, values: Tensor) -> Tensor:
        """Return values ``(B,)``, within the limit around the old ones if there is one."""
        if self.clip_vf is None:
            return values
        return batch.old_values + (values - batch.old_values).clamp(-self.clip_vf, self.clip_vf)

    def terms(
        self, batch: Minibatch, values: Tensor, log_probs: Tensor, entropy: Tensor | None
    ) -> LossTerms:
        """Return the loss, differentiable.

        Args:
            batch: The transitions.
            values: Their values under the policy as it is, ``(B,)``.
            log_probs: Their log-probabilities under it, ``(B,)``.
            entropy: Its entropies, ``(B,)``; ``None`` estimates them by the log-probabilities.
        """
        advantages = self.advantages(batch)
        log_ratio = log_probs - batch.old_log_probs
        ratio = log_ratio.exp()
        bounded = advantages * ratio.clamp(1 - self.clip, 1 + self.clip)
        policy_loss = -torch.min(advantages * ratio, bounded).mean()
        value_loss = F.mse_loss(batch.returns, self.bounded_values(batch, values))
        entropy_loss = log_probs.mean() if entropy is None else -entropy.mean()
        total = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss
        return LossTerms(policy_loss, value_loss, entropy_loss, total, log_ratio)
