"""Learned weights of several estimates of one gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from l2l_gail.checks import check_below_one, check_counts, check_nonnegative
from l2l_gail.errors import InputError

__all__ = ["GradientMixture"]

_STEPS = 3
_TOLERANCE = 1e-10
_LEAST = 1e-3
"""Smallest product of a cautious mixture's fallback with the reference, in units of its own."""


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

    Where the reference is mostly noise, so are the differences between the ``E <g_i, r>``, and the
    weights would run after them. One estimate is therefore the **fallback**, and any other counts
    only as far as it is better aligned beyond doubt: from its ``<g_i, r>`` are taken ``caution``
    standard errors of its difference from the fallback's. A bias adds up over steps where noise
    averages out, so that what is known to be right in the long run has the benefit of the doubt.

    Args:
        size: Number of estimates.
        memory: Decay rate of the averages, in [0, 1).
        ridge: Added to each estimate's own product, relative to it: estimates that are nearly the
            same share their weight.
        caution: Standard errors by which another estimate must be better; 0 takes means as they
            are.
        fallback: Number of the estimate that is right on average.

    Attributes:
        gram: Average of ``<g_i, g_j>``, float64 ``(size, size)``.
        cross: Average of ``<g_i, r>``, ``(size,)``.
        difference: Average of ``<g_i, r> - <g_fallback, r>``, ``(size,)``.
        square: Average of its square, the same.
        seen: Weight of the averages: ``1 - memory ** calls``, 0-d.

    Raises:
        InputError: If ``size`` is below 1, ``memory`` not in [0, 1), ``ridge`` or ``caution``
            negative or not finite, or ``fallback`` no number of an estimate.
    """

    gram: Tensor
    cross: Tensor
    difference: Tensor
    square: Tensor
    seen: Tensor

    def __init__(
        self,
        size: int,
        *,
        memory: float = 0.9,
        ridge: float = 1e-2,
        caution: float = 0.0,
        fallback: int = 0,
    ) -> None:
        super().__init__()
        check_counts(size=size)
        check_below_one("memory", memory)
        check_nonnegative("ridge", ridge)
        check_nonnegative("caution", caution)
        if not 0 <= fallback < size:
            raise InputError(f"fallback must be the number of an estimate, not {fallback}")
        self.memory = memory
        self.ridge = ridge
        self.caution = caution
        self.fallback = fallback
        shapes = {"gram": (size, size), "cross": (size,), "difference": (size,), "square": (size,)}
        for name, shape in {**shapes, "seen": ()}.items():
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
        gram, cross = gram / unit, cross / unit
        difference = cross - cross[self.fallback]
        for average, value in (
            (self.gram, gram),
            (self.cross, cross),
            (self.difference, difference),
            (self.square, difference**2),
            (self.seen, torch.ones_like(self.seen)),
        ):
            average.lerp_(value.nan_to_num(0, 0, 0), share)

    @torch.no_grad()
    def weights(self) -> Tensor:
        """Return the weights ``(size,)`` float64, not negative, of sum 1; equal ones at first.

        Equal weights too where no estimate points along the reference, unless caution leaves the
        fallback.
        """
        gram, cross = self.gram.cpu(), self._cautious().cpu()
        gram = gram + self.ridge * gram.diag().diag()
        weights = torch.tensor(_least_squares(gram.tolist(), cross.tolist()), dtype=torch.float64)
        total = weights.sum()
        if not total > 0:
            return torch.full_like(weights, 1 / len(weights))
        return weights / total

    def _cautious(self) -> Tensor:
        """Return the products ``<g_i, r>``, others than the fallback's lowered by their doubt."""
        if self.caution == 0 or self.seen == 0:
            return self.cross
        mean, square = self.difference / self.seen, self.square / self.seen
        # As many independent calls would give an average the same error as this one's decay does.
        calls = (1 + self.memory) / (1 - self.memory) * self.seen
        error = ((square - mean**2).clamp(min=0) / (calls - 1).clamp(min=1)).sqrt()
        cautious = self.cross - self.caution * error * self.seen
        least = _LEAST * self.gram[self.fallback, self.fallback]
        cautious[self.fallback] = torch.maximum(self.cross[self.fallback], least)
        return cautious

    @torch.no_grad()
    def alignment(self) -> float:
        """Return the cosine, on average, of the mixture and the other half's reference; 0 at first.

        Low because the reference is noisy, too: to be compared with that of one estimate alone.
        """
        weights = self.weights()
        gram, cross = self.gram.cpu(), self.cross.cpu()
        length = float((weights @ gram @ weights).clamp(min=0).sqrt())
        cosine = float(weights @ cross) / length / float(self.seen.sqrt()) if length else 0.0
        return min(max(cosine, -1.0), 1.0)  # the halves' gradients are not of one length


def _least_squares(gram: list[list[float]], cross: list[float]) -> list[float]:
    """Return the minimiser of ``w G w / 2 - c w`` over ``w >= 0``.

    The active-set method of Lawson & Hanson (Solving Least Squares Problems, 1974, chapter 23), in
    Python's own floats: for a handful of unknowns that is quick, and the same to the last bit
    wherever the numbers lie in memory, which no library promises.

    Args:
        gram: Positive semidefinite, ``K`` rows of ``K``.
        cross: ``K`` numbers.
    """
    size = len(cross)
    weights = [0.0] * size
    free: list[int] = []
    least = _TOLERANCE * max(map(abs, cross))
    for _ in range(_STEPS * size):
        slopes = {
            i: cross[i] - sum(g * w for g, w in zip(gram[i], weights, strict=True))
            for i in range(size)
            if i not in free and gram[i][i] > 0
        }
        steepest = max(slopes, key=lambda i: slopes[i], default=-1)
        if steepest < 0 or slopes[steepest] <= least:
            break
        free = sorted([*free, steepest])
        while True:
            target = _solve([[gram[i][j] for j in free] for i in free], [cross[i] for i in free])
            shares = [
                weights[i] / (weights[i] - new)
                for i, new in zip(free, target, strict=True)
                if new <= 0
            ]
            if not shares:
                break
            # As far towards it as the nearest bound lets them.
            share = min(shares)
            for i, new in zip(free, target, strict=True):
                weights[i] += share * (new - weights[i])
            kept = [i for i in free if weights[i] > _TOLERANCE * max(weights)]
            weights = [weight if i in kept else 0.0 for i, weight in enumerate(weights)]
            free = kept
        for i, new in zip(free, target, strict=True):
            weights[i] = new
    return weights


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Return the solution of a positive semidefinite system, 0 for what is not determined."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    bound = _TOLERANCE * max((rows[i][i] for i in range(size)), default=0.0)
    usable = []
    for i in range(size):  # no pivoting is needed: what is left stays positive semidefinite
        if rows[i][i] <= bound:
            continue
        usable.append(i)
        for j in range(size):
            if j != i:
                factor = rows[j][i] / rows[i][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [rows[i][size] / rows[i][i] if i in usable else 0.0 for i in range(size)]
