"""Learned weights of several estimates of one gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from l2l_gail.errors import InputError

__all__ = ["GradientMixture"]

_STEPS = 3
_TOLERANCE = 1e-10


class GradientMixture(nn.Module):
    r"""Weights with which several estimates of a gradient are mixed, learned from held-out data.

    Of one gradient :math:`\nabla J` there may be many estimates ``g_i``: some right on average and
    drowned in noise, others steady and somewhat beside it. The mixture that is nearest to it,

    .. math:: \min_{\beta \ge 0} \; E \| \textstyle\sum_i \beta_i g_i - \nabla J \|^2 ,

    depends on :math:`E \langle g_i, g_j \rangle`, noise included, and on
    :math:`\langle E g_i, \nabla J \rangle`. The second needs no knowledge of :math:`\nabla J`: with
    the estimates taken on one half of the data and an unbiased reference ``r`` on the other, whose
    noise is independent, it is :math:`E \langle g_i, r \rangle`. It is also, but for its sign, the
    first-order meta-gradient of the objective on the held-out half after a step along the mixture;
    as the mixture is linear, its best weights come in closed form instead of by descent on it.

    Both products are averaged over calls, so that the weights follow a gradient that changes.

    Args:
        size: Number of estimates.
        memory: Decay rate of the averages, in [0, 1).
        ridge: Added to each estimate's own product, relative to it: estimates that are nearly the
            same share their weight.

    Attributes:
        gram: Average of ``<g_i, g_j>``, float64 ``(size, size)``.
        cross: Average of ``<g_i, r>``, ``(size,)``.
        seen: Weight of the averages: ``1 - memory ** calls``, 0-d.

    Raises:
        InputError: If ``size`` is below 1, ``memory`` not in [0, 1), or ``ridge`` negative.
    """

    gram: Tensor
    cross: Tensor
    seen: Tensor

    def __init__(self, size: int, *, memory: float = 0.9, ridge: float = 1e-2) -> None:
        super().__init__()
        if size < 1 or not 0 <= memory < 1 or ridge < 0:
            raise InputError(
                "a mixture needs a size of 1 or more, a memory in [0, 1) and a ridge of 0 or more, "
                f"not {size}, {memory}, {ridge}"
            )
        self.memory = memory
        self.ridge = ridge
        for name, shape in (("gram", (size, size)), ("cross", (size,)), ("seen", ())):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @torch.no_grad()
    def observe(self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> None:
        """Take in the estimates on two independent halves of the data.

        Each half's estimates are held against the other half's reference. A pair of halves with a
        number that is not finite is left out.

        Args:
            first: Estimates ``(size, P)`` and reference ``(P,)`` on one half.
            second: The same on the other.
        """
        (g, r), (h, s) = first, second
        gram = (g @ g.mT + h @ h.mT).double() / 2
        cross = (g @ s + h @ r).double() / 2
        # In units of the reference, so that a call counts alike whatever the gradient's size.
        unit = (r.norm() * s.norm()).double()
        usable = gram.isfinite().all() & cross.isfinite().all() & (unit > 0)
        share = (1 - self.memory) * usable
        unit = torch.where(usable, unit, torch.ones_like(unit))
        for average, value in (
            (self.gram, gram / unit),
            (self.cross, cross / unit),
            (self.seen, torch.ones_like(self.seen)),
        ):
            average.lerp_(value.nan_to_num(0, 0, 0), share)

    @torch.no_grad()
    def weights(self) -> Tensor:
        """Return the weights ``(size,)`` float64, not negative, of sum 1; equal ones at first.

        Equal weights too where no estimate points along the reference.
        """
        gram, cross = self.gram.cpu(), self.cross.cpu()
        gram = gram + self.ridge * gram.diag().diag()
        weights = _least_squares(gram, cross)
        total = weights.sum()
        if not total > 0:
            return torch.full_like(weights, 1 / len(weights))
        return weights / total

    @torch.no_grad()
    def alignment(self) -> float:
        """Return the cosine, on average, of the mixture and the other half's reference; 0 at first.

        Low because the reference is noisy, too: to be compared with that of one estimate alone.
        """
        weights = self.weights()
        gram, cross = self.gram.cpu(), self.cross.cpu()
        length = float((weights @ gram @ weights).clamp(min=0).sqrt())
        return float(weights @ cross) / length / float(self.seen.sqrt()) if length else 0.0


def _least_squares(gram: Tensor, cross: Tensor) -> Tensor:
    """Return the minimiser of ``w G w / 2 - c w`` over ``w >= 0``.

    The active-set method of Lawson & Hanson (Solving Least Squares Problems, 1974, chapter 23).

    Args:
        gram: Positive semidefinite, ``(K, K)`` float64.
        cross: ``(K,)``.
    """
    weights = torch.zeros_like(cross)
    free = torch.zeros_like(cross, dtype=torch.bool)
    least = _TOLERANCE * float(cross.abs().max())
    for _ in range(_STEPS * len(cross)):
        slope = (cross - gram @ weights).masked_fill(free | (gram.diag() <= 0), -torch.inf)
        if not slope.max() > least:
            break
        free[slope.argmax()] = True
        while True:
            target = torch.zeros_like(cross)
            target[free] = torch.linalg.lstsq(gram[free][:, free], cross[free, None]).solution[:, 0]
            out = free & (target <= 0)
            if not out.any():
                break
            # As far towards it as the nearest bound lets them.
            share = (weights[out] / (weights[out] - target[out])).min()
            weights = torch.where(free, weights + share * (target - weights), weights)
            free &= weights > _TOLERANCE * weights.max()
        weights = target
    return weights
