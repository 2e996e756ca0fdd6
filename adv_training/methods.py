"""The methods: a builder for each, with its cost and its source.

All of them train through the same ``L2LTrainer.step``; comparing the learned attacker with PGD is
changing one object.  A method of your own is one more such builder, in any file of yours.
"""

from __future__ import annotations

from l2l_gail.core import SignDescent

from .attackers import Stay, build_attacker
from .game import UNIFORM
from .registry import Method, find_method, register_method
from .settings import Settings

__all__ = ["build_method", "forward_equivalents"]


def build_method(settings: Settings) -> Method:
    """Return the method of the settings, a learned rule freshly initialised from the seed."""
    return find_method(settings.method).build(settings)


def forward_equivalents(settings: Settings, attacker_share: float = 0.0) -> float:
    """Return the cost of one training step per image, in forward passes of the classifier.

    Args:
        settings: The method and its steps.
        attacker_share: Cost of one pass through the attacker over one through the classifier.
    """
    return find_method(settings.method).cost(settings, attacker_share)


@register_method("standard", cost=3, source="no attack")
def standard(settings: Settings) -> Method:
    """Train on the clean images."""
    return Method(Stay())


@register_method("fgsm_rs", cost=5, source="Wong et al. 2020, arXiv 2001.03994")
def fgsm_rs(settings: Settings) -> Method:
    """One step of 1.25 epsilon along the gradient's sign, from a random start."""
    return Method(SignDescent(1.25 * settings.radius), start=UNIFORM)


@register_method(
    "pgd",
    cost=lambda settings, share: 2.0 * settings.pgd_steps + 3.0,
    source="Madry et al. 2018, arXiv 1706.06083",
    label=lambda settings: f"pgd-{settings.pgd_steps}",
)
def pgd(settings: Settings) -> Method:
    """Steps along the gradient's sign, 2.5 epsilon in all as in the paper's appendix."""
    steps = settings.pgd_steps
    return Method(SignDescent(min(1.25, 2.5 / steps) * settings.radius), steps, UNIFORM)


def _l2l_cost(settings: Settings, share: float) -> float:
    k = settings.l2l_steps
    if settings.order == "fused":
        return 2 * k + 3 + 3 * k * share
    return 4 * k + 5 + 4 * k * share


def _l2l_label(settings: Settings) -> str:
    steps = "" if settings.l2l_steps == 1 else f"-{settings.l2l_steps}step"
    return f"{settings.method}{steps}" + ("" if settings.order == "fused" else f"-{settings.order}")


@register_method(
    "grad_l2l",
    cost=_l2l_cost,
    source="Jiang et al. 2021, arXiv 1811.01213",
    label=_l2l_label,
)
def grad_l2l(settings: Settings) -> Method:
    """A network trained along sees image and gradient and writes the perturbation."""
    attacker = build_attacker(
        settings.radius, channels=settings.attacker_channels, seed=settings.seed
    )
    return Method(attacker, settings.l2l_steps)
