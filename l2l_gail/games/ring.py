"""The ring of Gaussians: the smallest GAN in which a discriminator's optimizer decides success."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from l2l_gail.core.game import Game
from l2l_gail.core.types import Vars

__all__ = ["RingBatch", "RingGame", "RingOfGaussians", "RingQuality"]


class RingQuality(NamedTuple):
    """How well samples match the ring.

    Attributes:
        energy_distance: Squared energy distance to the ring (Szekely & Rizzo 2013); 0 if equal.
        modes: Modes that hold at least a tenth of their fair share of the samples.
        high_quality: Share of samples within five standard deviations of a mode, in [0, 1].
    """

    energy_distance: float
    modes: int
    high_quality: float


class RingOfGaussians:
    """Equal mixture of Gaussians on a circle in the plane.

    Args:
        n_modes: Number of Gaussians.
        radius: Radius of the circle.
        std: Standard deviation of each Gaussian.
    """

    def __init__(self, n_modes: int = 8, radius: float = 2.0, std: float = 0.05) -> None:
        angles = torch.arange(n_modes) * (2 * math.pi / n_modes)
        self.centres = radius * torch.stack([angles.cos(), angles.sin()], dim=1)  # (n_modes, 2)
        self.std = std

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return ``n`` points, shape ``(n, 2)``, float32."""
        modes = torch.randint(len(self.centres), (n,), generator=generator)
        return self.centres[modes] + self.std * torch.randn(n, 2, generator=generator)

    def quality(self, samples: Tensor, generator: torch.Generator) -> RingQuality:
        """Return the quality of samples of shape ``(n, 2)``, ``n`` some thousands at most."""
        real = self.sample(len(samples), generator)
        between = torch.cdist(samples, real).mean()
        within = torch.cdist(samples, samples).mean() + torch.cdist(real, real).mean()
        gap, mode = torch.cdist(samples, self.centres).min(dim=1)
        good = gap <= 5 * self.std
        counts = torch.bincount(mode[good], minlength=len(self.centres))
        fair = len(samples) / len(self.centres)
        return RingQuality(
            energy_distance=float(2 * between - within),
            modes=int((counts >= 0.1 * fair).sum()),
            high_quality=float(good.float().mean()),
        )


class RingBatch(NamedTuple):
    """Real and generated points, shape ``(B, 2)`` each."""

    real: Tensor
    fake: Tensor


class RingGame(Game):
    """A GAN on the ring, seen from its discriminator, whose weights the rule moves.

    The discriminator's loss is binary cross-entropy (logits high for real points) plus the R1
    penalty ``r1/2 E |grad logit|^2`` on the real ones (Mescheder et al. 2018, arXiv 1801.04406).

    Args:
        discriminator: Maps ``(B, 2)`` to logits ``(B, 1)``.
        r1: Weight of the R1 penalty.
    """

    def __init__(self, discriminator: nn.Module, *, r1: float = 1.0) -> None:
        self.discriminator = discriminator
        self.r1 = r1

    def init_follower(self, batch: RingBatch | None = None) -> Vars:
        """Return a copy of the discriminator's weights."""
        return {name: p.detach().clone() for name, p in self.discriminator.named_parameters()}

    def logits_real_is_high(self, follower: Vars, points: Tensor) -> Tensor:
        """Return the logits ``(B,)`` of points ``(B, 2)`` under the follower's weights."""
        return torch.func.functional_call(self.discriminator, follower, (points,)).squeeze(-1)

    def follower_loss(self, follower: Vars, batch: RingBatch) -> Tensor:
        """Return cross-entropy plus the R1 penalty."""
        real = batch.real.detach().requires_grad_(bool(self.r1))
        on_real = self.logits_real_is_high(follower, real)
        on_fake = self.logits_real_is_high(follower, batch.fake.detach())
        loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        if self.r1:
            (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
            loss = loss + self.r1 / 2 * slope.square().sum(1).mean()
        return loss

    def leader_loss(self, follower: Vars, batch: RingBatch) -> Tensor:
        """Return the generator's non-saturating loss on ``batch.fake``, gradient included."""
        return F.softplus(-self.logits_real_is_high(follower, batch.fake)).mean()
