"""How far the policy moves in an update, and what its learning rate is corrected by."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["PolicySteering"]

_UPDATES, _TRANSITIONS = 4, 8192
"""What is averaged, at the least, before the rate is judged."""
_TOLERANCE = 1.6
"""How far off the divergence may be, as a factor."""
_CLOSE = 1.25
"""How near it is brought once it was further off."""
_POWER = 0.7
"""From divergences to learning rates. For small steps the divergence goes with the square of the
rate, which asks for 1 / 2 and forbids 1; with PPO's clipped epochs, with the power .6 to 1."""
_QUICKEST = 4.0
"""Largest change of the learning rate at once, as a factor."""
_LOWEST, _HIGHEST = 0.01, 30.0
"""Smallest and largest factor in all."""
_LARGEST = 1e6
"""Nats that count as no more than that."""


class PolicySteering(nn.Module):
    r"""Corrects a learning rate that moves the policy too far in an update, or hardly at all.

    How far a learning rate moves a policy depends on the task, on the advantages, and on how much
    the policy still explores. What a game asks of its leader is a length, and that can be measured:
    the divergence from the old policy to the new one, for each entry of the action. Its geometric
    mean over four updates, and over as many more as 8,192 transitions take,

    .. math:: \log d = \langle \log (KL(\pi_{old} \,\|\, \pi_{new}) / entries) \rangle ,

    is judged, and a new mean begun. Once it is off by more than a factor of 1.6, the rate is
    multiplied by

    .. math:: (\delta / d)^{.7} ,

    within [1/4, 4], then and at the judgements that follow, until it is off by less than 1.25.
    Where it never is, the rate stays as it is, and the training is the same to the bit. PPO's
    variant with an adaptive penalty corrects that penalty by the same measure and with such a
    tolerance (Schulman et al. 2017, arXiv 1707.06347, section 4).

    Args:
        divergence: :math:`\delta`, above 0, in nats for each entry of an action.
        entries: Entries of an action.

    Attributes:
        factor: What PPO's learning rate is multiplied by, from 1/100 to 30, float64 0-d.
        level: Mean of the logarithms so far, the same.
        updates: How many they are, int64 0-d.
        transitions: How many they were taken on, the same.
        corrects: Whether the rate is being corrected, bool 0-d.
    """

    factor: Tensor
    level: Tensor
    updates: Tensor
    transitions: Tensor
    corrects: Tensor

    def __init__(self, divergence: float, entries: int) -> None:
        super().__init__()
        self.divergence = divergence
        self.entries = entries
        self.register_buffer("factor", torch.ones((), dtype=torch.float64))
        self.register_buffer("level", torch.zeros((), dtype=torch.float64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("transitions", torch.zeros((), dtype=torch.int64))
        self.register_buffer("corrects", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def observe(self, divergence: float, transitions: int, *, may_rise: bool = True) -> None:
        """Take in how far an update has moved the policy.

        Args:
            divergence: Of all entries, in nats. One that is NaN or not above 0 is none that was
                measured, and is left out.
            transitions: Of the rollout that it was learned from.
            may_rise: Whether the policy should move further if it hardly does.
        """
        if not divergence > 0:
            return
        self.updates += 1
        self.transitions += transitions
        now = math.log(min(divergence, _LARGEST) / self.entries)
        self.level += (now - self.level) / self.updates
        if self.updates < _UPDATES or self.transitions < _TRANSITIONS:
            return
        self._judge(math.log(self.divergence) - float(self.level), may_rise)
        for count in (self.level, self.updates, self.transitions):
            count.zero_()

    def _judge(self, off: float, may_rise: bool) -> None:
        """Correct the rate, the divergence's logarithm being ``off`` below what it should be."""
        if abs(off) > math.log(_TOLERANCE):
            self.corrects.fill_(True)
        elif abs(off) < math.log(_CLOSE):
            self.corrects.fill_(False)
        if self.corrects and (off < 0 or may_rise):
            change = min(max(math.exp(_POWER * off), 1 / _QUICKEST), _QUICKEST)
            self.factor.mul_(change).clamp_(_LOWEST, _HIGHEST)
