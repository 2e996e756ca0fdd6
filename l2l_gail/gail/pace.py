"""How fast the policy learns: the slower, the nearer it is to the expert."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PolicyPace"]

_MEMORY = 0.8
"""Decay rate of the margin's average over rollouts."""
_LEAST = 0.01
"""Smallest share of the largest margin that is told apart from none."""


class PolicyPace(nn.Module):
    r"""Multiplies the policy's learning rate by a power of the discriminator's margin.

    The margin is the mean logit of the expert's transitions less that of the rollout's,

    .. math:: m = E_{expert}\, l - E_\pi\, l .

    It is large while the two are easily told apart and 0 where they are the same, the game's
    equilibrium; with a gradient penalty it estimates a distance between the two, as the critic's
    does in Gulrajani et al. (2017, arXiv 1704.00028). PPO scales its advantages, so that its steps
    are as long beside the goal as far from it. With the rate

    .. math:: \eta = \eta_0 (\bar m / \max \bar m)^{pace} ,

    :math:`\bar m` averaged over rollouts and the maximum taken over those so far, they grow shorter
    as there is less to gain. A power of 1 is the step of Polyak (1987, section 5.3) for gradients
    scaled to one length; a leader that slows down before its follower does is what games of two
    time scales need (Heusel et al. 2017, arXiv 1706.08500). Unlike a schedule it does not ask how
    long the training will last.

    Args:
        power: ``pace``, not negative; 0 leaves the rate as it is.

    Attributes:
        margin: Average of the margins, float64 0-d; 0 before the first.
        largest: Largest average so far, the same.
    """

    margin: Tensor
    largest: Tensor

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power
        for name in ("margin", "largest"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def observe(self, margin: float) -> None:
        """Take in the margin of a rollout; one that is not finite is left out."""
        new = self.margin.new_tensor(margin)
        if new.isfinite():
            average = torch.lerp(new, self.margin, _MEMORY) if self.largest > 0 else new
            self.margin.copy_(average)
            self.largest.copy_(torch.maximum(self.largest, average))

    @property
    def share(self) -> float:
        """The margin as a share of the largest, in [0.01, 1]; 1 before the first."""
        if not self.largest > 0:
            return 1.0
        return max(float(self.margin / self.largest), _LEAST)

    @property
    def factor(self) -> float:
        """What the learning rate is multiplied by, in (0, 1]."""
        return float(self.share**self.power)
