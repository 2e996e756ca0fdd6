"""GAIL as a game for the core: the follower is the discriminator's weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from l2l_gail.core import Game, Vars
from l2l_gail.gail.config import DiscriminatorConfig
from l2l_gail.gail.discriminator import Discriminator

__all__ = ["DiscriminatorGame", "TransitionBatch"]


class TransitionBatch(NamedTuple):
    """What one discriminator loss needs, as network inputs of shape ``(B, in_dim)`` each.

    Attributes:
        expert: Expert transitions.
        policy: The policy's transitions.
        between: A random point on the segment from each policy input to an expert input, for the
            gradient penalty. Part of the batch, so that a loss is a function of its arguments.
    """

    expert: Tensor
    policy: Tensor
    between: Tensor


class DiscriminatorGame(Game):
    """The follower minimises cross-entropy plus regularisers; the leader (PPO) is elsewhere.

    The regularisers are part of the inner *and* the meta loss. Without them the follower's loss has
    no finite optimum, and a rule that learns to reach it faster makes the game worse.

    Args:
        discriminator: The network; only its functional methods are used.
        config: Weights of the terms.
    """

    def __init__(self, discriminator: Discriminator, config: DiscriminatorConfig) -> None:
        self.discriminator = discriminator
        self.config = config

    def init_follower(self, batch: Any = None) -> Vars:
        """Return a copy of the discriminator's weights."""
        return self.discriminator.weights()

    def follower_loss(self, follower: Vars, batch: TransitionBatch) -> Tensor:
        """Return the discriminator's loss, a scalar, on ``batch``.

        ``E_expert softplus(-l) + E_policy softplus(l)``, the negated objective of GAIL (Ho & Ermon
        2016, arXiv 1606.03476, eq. 17, with expert and policy exchanged in the sign), plus the
        penalties of :class:`~l2l_gail.gail.config.DiscriminatorConfig`.
        """
        config = self.config
        both = torch.cat([batch.expert, batch.policy])
        logits = self.discriminator.logits_expert_is_high(both, follower)
        on_expert, on_policy = logits.split([len(batch.expert), len(batch.policy)])
        loss = F.softplus(-on_expert).mean() + F.softplus(on_policy).mean()
        if config.penalty != "none" and config.penalty_weight > 0:
            loss = loss + config.penalty_weight * self._penalty(follower, batch)
        if config.entropy_weight > 0:
            loss = loss - config.entropy_weight * bernoulli_entropy(logits).mean()
        if config.controller_weight > 0:
            gap = logits.sigmoid() - 0.5
            loss = loss + config.controller_weight / 2 * gap.square().mean()
        return loss

    def _penalty(self, follower: Vars, batch: TransitionBatch) -> Tensor:
        if self.config.penalty == "r1":
            slope = self.discriminator.input_gradient(batch.expert, follower)
            return slope.square().sum(1).mean() / 2
        slope = self.discriminator.input_gradient(batch.between, follower)
        # The root's derivative at 0 is infinite; a dead network must not become NaN.
        length = (slope.square().sum(1) + 1e-12).sqrt()
        return (length - 1).square().mean()


def bernoulli_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of ``sigmoid(logits)`` in nats, same shape; log 2 at logit 0."""
    return F.softplus(logits) - logits * logits.sigmoid()
