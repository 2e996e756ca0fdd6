"""Penalties on the discriminator's input gradient ``s(x) = grad_x logit(x)``; they add up.

================ ====================================== ============================================
name             penalty                                source
================ ====================================== ============================================
gradient_penalty ``E (|s(x)| - 1)^2``, x between expert Gulrajani et al. 2017, arXiv 1704.00028
                 and policy
r1               ``E |s(x)|^2 / 2``, x of the expert    Mescheder et al. 2018, arXiv 1801.04406
r2               ``E |s(x)|^2 / 2``, x of the policy    the same, section 4.1
none             0
================ ====================================== ============================================

Without a penalty the discriminator's loss has no finite optimum: a rule that learns to approach it
faster may make the game worse. A penalty of your own is one more entry:
``PENALTIES["mine"] = function``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from l2l_gail.core import Vars
from l2l_gail.gail.batch import TransitionBatch
from l2l_gail.gail.discriminator import Discriminator

__all__ = ["PENALTIES", "Penalty"]

Penalty: TypeAlias = Callable[[Discriminator, Vars, TransitionBatch], Tensor]
"""A discriminator, its weights and a batch to a scalar."""


def _gradient_penalty(
    discriminator: Discriminator, weights: Vars, batch: TransitionBatch
) -> Tensor:
    slope = discriminator.input_gradient(batch.between, weights)
    # The root's derivative at 0 is infinite; a dead network must not become NaN.
    length = (slope.square().sum(1) + 1e-12).sqrt()
    return (length - 1).square().mean()


def _r1(discriminator: Discriminator, weights: Vars, batch: TransitionBatch) -> Tensor:
    slope = discriminator.input_gradient(batch.expert, weights)
    return slope.square().sum(1).mean() / 2


def _r2(discriminator: Discriminator, weights: Vars, batch: TransitionBatch) -> Tensor:
    slope = discriminator.input_gradient(batch.policy, weights)
    return slope.square().sum(1).mean() / 2


def _none(discriminator: Discriminator, weights: Vars, batch: TransitionBatch) -> Tensor:
    return batch.expert.new_zeros(())


PENALTIES: dict[str, Penalty] = {
    "gradient_penalty": _gradient_penalty,
    "r1": _r1,
    "r2": _r2,
    "none": _none,
}
"""The penalties by name."""
