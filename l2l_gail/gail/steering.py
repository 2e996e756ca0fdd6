"""How far the policy moves in an update: as far as is asked for, at whatever learning rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["PolicySteering"]

_QUICKEST = 1.5
"""Largest change of the learning rate in one rollout, as a factor."""
_LOWEST, _HIGHEST = 0.01, 4.0
"""Smallest and largest factor in all. A policy that has arrived hardly moves at any rate; one that
must move would be driven away from where it is."""


class PolicySteering(nn.Module):
    r"""Multiplies the policy's learning rate so that updates have one length, in nats.

    How far a learning rate moves a policy depends on the task, on the advantages, and on how much
    the policy still explores: with the same rate the divergence of an update grows or shrinks by
    several times within a training. What a game asks of its leader is a length, and that can be
    measured: after each update the rate is multiplied by

    .. math:: \sqrt{\delta / KL(\pi_{old} \,\|\, \pi_{new})} ,

    within [1 / 1.5, 1.5], since the divergence goes with the square of the rate. So a rate chosen
    too high, or up to four times too low, comes right within some ten rollouts. It is the rule by
    which PPO's variant with an adaptive penalty corrects the penalty (Schulman et al. 2017, arXiv
    1707.06347, section 4), applied to the learning rate.

    Args:
        divergence: :math:`\delta`, above 0, in nats.

    Attributes:
        factor: What PPO's learning rate is multiplied by, from 1/100 to 4, float64 0-d.
    """

    factor: Tensor

    def __init__(self, divergence: float) -> None:
        super().__init__()
        self.divergence = divergence
        self.register_buffer("factor", torch.ones((), dtype=torch.float64))

    @torch.no_grad()
    def observe(self, divergence: float) -> None:
        """Take in how far the last update has moved the policy; what is not finite is left out."""
        if math.isfinite(divergence):
            change = math.sqrt(self.divergence / max(divergence, 1e-8))
            self.factor *= min(max(change, 1 / _QUICKEST), _QUICKEST)
            self.factor.clamp_(_LOWEST, _HIGHEST)
