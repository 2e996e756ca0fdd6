"""Orthogonalised momentum whose step depends on what the gradients look like."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from l2l_gail.core.matrix_rule import MatrixRule, is_matrix
from l2l_gail.core.registry import register_rule
from l2l_gail.core.types import Layout, State

__all__ = ["PacedMatrixRule"]

_KINDS, _FEATURES = 2, 4
_BOUND = 5.0


@register_rule("paced_matrix_rule")
class PacedMatrixRule(MatrixRule):
    r"""A matrix rule whose steps have a pace: longer where the gradients agree, shorter in noise.

    An orthogonalised step is as long in pure noise as on a slope. Here the step of each tensor is
    that of :class:`~l2l_gail.core.matrix_rule.MatrixRule` times :math:`e^{a \cdot f}` with

    ======== ========================== =================================================
    feature  formula                    meaning
    ======== ========================== =================================================
    bias     1
    signal   ``log(4 |m_hat| / |r|)``   0: gradients are all noise; 1.4: they agree
    burst    ``log(|g| / |r|)``         above 0: this gradient is larger than those before
    age      ``log(1 + t / 100)``       of the training
    ======== ========================== =================================================

    where ``|.|`` is the root of the tensor's sum of squares, ``m_hat`` and ``r^2`` the corrected
    moments of Adam. None of them depends on the unit of the loss. The weights ``a`` are one row for
    matrices and one for all else, alike for tensors of all sizes, and zero until they are learned.

    A meta-gradient that looks one step ahead would learn a pace that is too slow (short-horizon
    bias, as for the step). So it is meant to be learned over whole games, by an
    :class:`~l2l_gail.core.evolution.EvolutionStrategy`, and then left as it is, while the global
    step goes on learning: :func:`~l2l_gail.core.pretrained.load_pretrained` has one.

    Args:
        lr: The unit of all steps.
        learn_pace: Whether the pace is learned; if not, its weights stay as they are loaded.
        learn_step: Whether the global step is learned. With nothing to learn it is a fixed rule, of
            one gradient a step.
        learn_momentum: Whether the first of ``betas`` is learned.
        betas: Decay rates of the momentum and of the second moment.
        eps: Part of ``r``.
        step_lr_ratio: Meta learning rate of step and momentum over that of the pace.
        seed: Not used, as there is no network; for callers that give every learned rule one.
    """

    def __init__(
        self,
        lr: float = 1e-2,
        *,
        learn_pace: bool = False,
        learn_step: bool = True,
        learn_momentum: bool = False,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        step_lr_ratio: float = 30.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            lr,
            learn_momentum=learn_momentum,
            betas=betas,
            eps=eps,
            step_lr_ratio=step_lr_ratio,
            seed=seed,
        )
        self.config = {
            "lr": self.lr,
            "learn_pace": learn_pace,
            "learn_step": learn_step,
            "learn_momentum": learn_momentum,
            "betas": list(self.betas),
            "eps": self.eps,
            "step_lr_ratio": self.step_lr_ratio,
            "seed": self.config["seed"],
        }
        self.log_step.requires_grad_(learn_step)
        self.pace = nn.Parameter(torch.zeros(_KINDS, _FEATURES), requires_grad=learn_pace)

    def _scale(self, layout: Layout, gradient: Tensor, moments: State) -> Tensor:
        """Return the steps' scale, shape ``(N,)``: that of the matrix rule times the pace's."""
        features = self._features(layout, gradient, moments)
        rows = self.pace.to(gradient.dtype)[[int(not is_matrix(s)) for s in layout.shapes.values()]]
        pace = (rows * features).sum(1).clamp(-_BOUND, _BOUND).exp()
        scale = super()._scale(layout, gradient, moments) * pace
        return torch.cat([s.expand(n) for s, n in zip(scale.unbind(), layout.sizes, strict=True)])

    def _features(self, layout: Layout, gradient: Tensor, moments: State) -> Tensor:
        """Return the features of each tensor, shape ``(tensors, 4)``."""
        t = moments["t"]
        squares = torch.stack([gradient.square(), moments["m"].square(), moments["v"]])
        sums = torch.stack([part.sum(1) for part in squares.split(layout.sizes, 1)], 1) + 1e-30
        g, m, v = (0.5 * sums.log()).unbind()
        r = v - 0.5 * math.log(1 - self.betas[1] ** t)
        # A learned momentum changes the correction by little, and by nothing after some steps.
        signal = math.log(4.0) + m - math.log(1 - self.betas[0] ** t) - r
        age = torch.full_like(r, math.log1p(t / 100))
        columns = [torch.ones_like(r), signal, g - r, age]
        return torch.stack(columns, 1).clamp(-_BOUND, _BOUND)
