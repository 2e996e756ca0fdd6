"""The methods: a builder for each, with its cost and its source.

All of them train through the same ``L2LTrainer.step``; comparing the learned attacker with PGD is
changing one object.  A method of your own is one more such builder, in any file of yours.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from l2l_gail.checks import check_kind
from l2l_gail.core import UpdateRule

from .attackers import STARTED, build_attacker
from .free import FreePerturbation, SignDescentOptimizer
from .game import CLEAN, UNIFORM, Start
from .other_games import TradesGame
from .registry import Method, find_method, register_method
from .rules import LearnedStart, SignSteps, Stay
from .settings import DEFAULT_ATTACKER, Settings

__all__ = ["build_method", "forward_equivalents"]

# At the image itself the divergence has no gradient. The authors add 0.001 N(0, 1) to it: at 8/255
# this is a uniform noise of the same deviation.
_BESIDE = Start(noise=0.055)

_OF_THE_LEARNED = ("order", "attacker_lr", "attacker", "attacker_channels", "attacker_every")


def build_method(settings: Settings) -> Method:
    """Return the method of the settings, a learned rule freshly initialised from the seed.

    Raises:
        InputError: There is none of that name, or its builder returns something else.
    """
    built = find_method(settings.method).build(settings)
    check_kind(f"what builds {settings.method!r} returns", built, Method, optional=False)
    return built


def forward_equivalents(settings: Settings, attacker_share: float = 0.0) -> float:
    """Return the cost of one training step per image, in forward passes of the classifier.

    Args:
        settings: The method and its steps.
        attacker_share: Cost of one pass through the attacker over one through the classifier.
    """
    entry = find_method(settings.method)
    awp = 3.0 * entry.training_passes if settings.awp else 0.0
    return entry.cost(settings, attacker_share) + awp


@register_method("standard", cost=3, source="no attack", uses=())
def standard(settings: Settings) -> Method:
    """Train on the clean images."""
    return Method(Stay())


@register_method("fgsm", cost=5, source="Goodfellow et al. 2015, arXiv 1412.6572", uses=())
def fgsm(settings: Settings) -> Method:
    """One step of epsilon along the gradient's sign, from the clean image."""
    return Method(SignSteps(1.0, settings.radius))


@register_method("fgsm_rs", cost=5, source="Wong et al. 2020, arXiv 2001.03994", uses=())
def fgsm_rs(settings: Settings) -> Method:
    """One step of 1.25 epsilon along the gradient's sign, from a random start."""
    return Method(SignSteps(1.25, settings.radius), start=UNIFORM)


@register_method("n_fgsm", cost=5, source="de Jorge et al. 2022, arXiv 2202.01181", uses=())
def n_fgsm(settings: Settings) -> Method:
    """One step of epsilon from noise of twice epsilon; the sum is not projected onto the ball."""
    return Method(SignSteps(1.0, settings.radius), start=Start(noise=2.0, confined=False))


@register_method(
    "pgd",
    cost=lambda settings, share: 2.0 * settings.pgd_steps + 3.0,
    source="Madry et al. 2018, arXiv 1706.06083",
    label=lambda settings: f"pgd-{settings.pgd_steps}",
    uses=("pgd_steps",),
)
def pgd(settings: Settings) -> Method:
    """Steps along the gradient's sign, 2.5 epsilon in all as in the paper's appendix."""
    steps = settings.pgd_steps
    return Method(SignSteps(min(1.25, 2.5 / steps), settings.radius), steps, UNIFORM)


@register_method(
    "trades",
    cost=lambda settings, share: 2.0 * settings.pgd_steps + 7.0,
    source="Zhang et al. 2019, arXiv 1901.08573",
    label=lambda settings: f"trades-{settings.pgd_steps}",
    uses=("pgd_steps", "trades_beta"),
    training_passes=2,
)
def trades(settings: Settings) -> Method:
    """Steps that raise the divergence from the clean output; clean loss plus that in training."""
    steps = settings.pgd_steps
    return Method(
        SignSteps(min(1.25, 2.5 / steps), settings.radius),
        steps,
        _BESIDE,
        game=partial(TradesGame, beta=settings.trades_beta),
    )


@register_method(
    "free",
    cost=3,
    source="Shafahi et al. 2019, arXiv 1904.12843",
    label=lambda settings: f"free-{settings.free_replays}",
    uses=("free_replays",),
)
def free(settings: Settings) -> Method:
    """Replays of each batch, one backward pass for the weights and for the perturbation."""
    shape = (settings.batch_size, *settings.shape)
    return Method(
        FreePerturbation(shape, settings.radius),
        replays=settings.free_replays,
        of_batch=True,
        meta_optimizer=lambda rule: SignDescentOptimizer(rule, rule.parameters()),
    )


def _learned_cost(queries: int, passes: int, settings: Settings, share: float) -> float:
    """Return the mean cost of a step of a learned attacker, which is trained in one step of n."""
    attacked, attacker = 2.0 * queries + 3.0, passes * share
    if settings.order == "fused":
        trained = 2.0 * attacker
    else:
        trained = 2.0 * queries + 2.0 + 3.0 * attacker
    return attacked + attacker + trained / settings.attacker_every


def _learned_label(settings: Settings) -> str:
    shape = "" if settings.attacker == DEFAULT_ATTACKER else f"-{settings.attacker}"
    order = "" if settings.order == "fused" else f"-{settings.order}"
    return f"{settings.method}{shape}{order}"


def _grad_l2l_label(settings: Settings) -> str:
    steps = "" if settings.l2l_steps == 1 else f"-{settings.l2l_steps}step"
    return _learned_label(settings).replace("grad_l2l", f"grad_l2l{steps}", 1)


def _attacker(settings: Settings, *, uses_gradient: bool = True) -> UpdateRule:
    return build_attacker(
        settings.attacker,
        settings.radius,
        channels=settings.attacker_channels,
        seed=settings.seed,
        shape=settings.shape,
        classes=settings.number_of_classes,
        uses_gradient=uses_gradient,
    )


def _seen(settings: Settings) -> dict[str, Any]:
    """Return what a method says of an attacker that sees the gradient."""
    if settings.attacker not in STARTED:
        return {}
    known = "labelled" if settings.attacker == "class_start" else "remembers"
    return {known: True, "sees": 3}


@register_method(
    "naive_l2l",
    cost=lambda settings, share: _learned_cost(0, 1, settings, share),
    source="Jiang et al. 2021, arXiv 1811.01213",
    label=_learned_label,
    uses=_OF_THE_LEARNED,
)
def naive_l2l(settings: Settings) -> Method:
    """A network trained along writes the perturbation from the image alone."""
    return Method(_attacker(settings, uses_gradient=False), sees=1)


@register_method(
    "grad_l2l",
    cost=lambda settings, share: _learned_cost(
        settings.l2l_steps, settings.l2l_steps, settings, share
    ),
    source="Jiang et al. 2021, arXiv 1811.01213",
    label=_grad_l2l_label,
    uses=(*_OF_THE_LEARNED, "attacker_noise", "classes", "l2l_steps"),
)
def grad_l2l(settings: Settings) -> Method:
    """A network trained along sees image and gradient and writes the perturbation."""
    noise = settings.start_noise
    start = Start(noise, confined=False) if noise else CLEAN
    return Method(_attacker(settings), settings.l2l_steps, start, **_seen(settings))


@register_method(
    "start_l2l",
    cost=lambda settings, share: _learned_cost(2, 1, settings, share),
    source="after FGSM-SDI, Jia et al. 2021, arXiv 2110.05007",
    label=_learned_label,
    uses=(*_OF_THE_LEARNED, "classes"),
)
def start_l2l(settings: Settings) -> Method:
    """A network trained along writes the start of one step along the gradient's sign."""
    rule = LearnedStart(_attacker(settings), settings.radius)
    return Method(rule, **_seen(settings))
