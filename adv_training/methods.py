"""The methods: one table from a name to the rule, its steps and its start.

All of them train through the same ``L2LTrainer.step``; comparing the learned attacker with PGD is
changing one object.

========== ================================== ===== ======= =====================================
method     rule                               steps start   forward-equivalents per image and step
========== ================================== ===== ======= =====================================
standard   ``Stay``                           1     clean   3
fgsm_rs    ``SignDescent(1.25 eps)``          1     uniform 5
pgd        ``SignDescent(2.5 eps / k)``       k     uniform 2k + 3
grad_l2l   ``ConvPerturber`` (fused)          k     clean   2k + 3 + 3k a
grad_l2l   ``ConvPerturber`` (alternating)    k     clean   4k + 5 + 4k a
========== ================================== ===== ======= =====================================

A forward-equivalent is one pass of an image through the classifier; a backward pass to the images
alone counts 1, one that also reaches the weights 2; ``a`` is the cost of one pass through the
attacker in the same unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from l2l_gail.core import L2LTrainer, SignDescent, UpdateRule

from .attackers import Stay, build_attacker
from .data import ImageBatch
from .game import ImageGame, Start
from .settings import Settings

__all__ = [
    "Method",
    "build_method",
    "build_trainer",
    "forward_equivalents",
    "forward_flops",
    "play_step",
]


@dataclass(frozen=True)
class Method:
    """What a name stands for.

    Attributes:
        rule: Moves the perturbation.
        steps: Inner steps.
        start: Where the perturbation starts.
    """

    rule: UpdateRule
    steps: int
    start: Start

    @property
    def learns(self) -> bool:
        """Whether the rule has parameters."""
        return any(True for _ in self.rule.parameters())


def build_method(settings: Settings) -> Method:
    """Return the method of the settings, a learned rule freshly initialised from the seed."""
    eps = settings.radius
    if settings.method == "standard":
        return Method(Stay(), 1, "clean")
    if settings.method == "fgsm_rs":  # Wong et al. 2020, arXiv 2001.03994
        return Method(SignDescent(1.25 * eps), 1, "uniform")
    if settings.method == "pgd":  # Madry et al. 2018; 2.5 eps in all, as in their appendix
        steps = settings.pgd_steps
        return Method(SignDescent(min(1.25, 2.5 / steps) * eps), steps, "uniform")
    attacker = build_attacker(eps, channels=settings.attacker_channels, seed=settings.seed)
    return Method(attacker, settings.l2l_steps, "clean")


def build_trainer(game: ImageGame, method: Method, settings: Settings) -> L2LTrainer:
    """Return the trainer that moves classifier, perturbation and, if it learns, the rule."""
    leader = torch.optim.SGD(
        game.classifier.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
    meta = None
    if method.learns:
        meta = torch.optim.Adam(method.rule.meta_parameter_groups(settings.attacker_lr))
    return L2LTrainer(
        game,
        method.rule,
        meta_optimizer=meta,
        leader_optimizer=leader,
        order=settings.order,
    )


def play_step(trainer: L2LTrainer, method: Method, batch: ImageBatch) -> dict[str, torch.Tensor]:
    """Play one training step, all inner steps on one batch; see ``L2LTrainer.step``."""
    inner: list[Any] = [batch] + [None] * (method.steps - 1)
    return trainer.step(inner)


def forward_equivalents(settings: Settings, attacker_share: float = 0.0) -> float:
    """Return the cost of one training step per image, in forward passes of the classifier.

    Args:
        settings: The method and its steps.
        attacker_share: Cost of one pass through the attacker over one through the classifier.
    """
    if settings.method == "standard":
        return 3.0
    if settings.method != "grad_l2l":
        return 2.0 * (settings.pgd_steps if settings.method == "pgd" else 1) + 3.0
    k = settings.l2l_steps
    if settings.order == "fused":
        return 2 * k + 3 + 3 * k * attacker_share
    return 4 * k + 5 + 4 * k * attacker_share


def forward_flops(module: nn.Module, *shape: int) -> int:
    """Return the floating-point operations of one pass of an input of ``shape`` through a module.

    Two for each multiply-add of a convolution or matrix product; the rest is not counted.  The
    module is left as it was.
    """
    x = torch.zeros(shape, device=next(module.parameters()).device)
    modes = [(m, m.training) for m in module.modules()]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module.eval()(x)
    for m, training in modes:
        m.training = training
    return counter.get_total_flops()
