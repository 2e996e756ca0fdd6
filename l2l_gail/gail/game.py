"""GAIL as a game for the core: the follower is the discriminator's weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from l2l_gail.core import Game, Vars
from l2l_gail.gail.batch import TransitionBatch
from l2l_gail.gail.config import DiscriminatorConfig
from l2l_gail.gail.discriminator import Discriminator
from l2l_gail.gail.losses import LOSSES
from l2l_gail.gail.penalties import PENALTIES

__all__ = ["DiscriminatorGame", "bernoulli_entropy"]


class DiscriminatorGame(Game):
    """The follower minimises a loss on its logits plus penalties; the leader (PPO) is elsewhere.

    The penalties are part of the inner *and* the meta loss: with them the follower's loss has a
    finite optimum, which a learned rule can track.

    Args:
        discriminator: The network; only its functional methods are used.
        config: The loss, the penalties and their weights.
    """

    def __init__(self, discriminator: Discriminator, config: DiscriminatorConfig) -> None:
        self.discriminator = discriminator
        self.config = config
        self._loss = LOSSES[config.loss]
        weighted = config.penalty_weight > 0
        self._penalties = [PENALTIES[n] for n in config.penalty if n != "none" and weighted]

    def init_follower(self, batch: Any = None) -> Vars:
        """Return a copy of the discriminator's weights."""
        return self.discriminator.weights()

    def follower_loss(self, follower: Vars, batch: TransitionBatch) -> Tensor:
        """Return the discriminator's loss, a scalar, on ``batch``.

        A loss of :mod:`l2l_gail.gail.losses` plus ``penalty_weight`` times the penalties of
        :mod:`l2l_gail.gail.penalties`, and the two regularisers on ``D = sigmoid(logit)`` of
        :class:`~l2l_gail.gail.config.DiscriminatorConfig`.
        """
        config = self.config
        both = torch.cat([batch.expert, batch.policy])
        logits = self.discriminator.logits_expert_is_high(both, follower)
        loss = self._loss(*logits.split([len(batch.expert), len(batch.policy)]))
        for penalty in self._penalties:
            loss = loss + config.penalty_weight * penalty(self.discriminator, follower, batch)
        if config.entropy_weight > 0:
            loss = loss - config.entropy_weight * bernoulli_entropy(logits).mean()
        if config.controller_weight > 0:
            gap = logits.sigmoid() - 0.5
            loss = loss + config.controller_weight / 2 * gap.square().mean()
        return loss


def bernoulli_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of ``sigmoid(logits)`` in nats, same shape; log 2 at logit 0."""
    return F.softplus(logits) - logits * logits.sigmoid()
