"""Accuracy on images that were not trained on, and what the attacker is worth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from l2l_gail.core import unroll
from l2l_gail.devices import own_defaults
from l2l_gail.errors import InputError

from .attacks import (
    JUDGED_AT_ONCE,
    fgsm,
    is_right,
    losses,
    pgd,
    pgd_survivors,
    standing_survivors,
)
from .checks import check_filled, check_pixels
from .data import ImageBatch, Images
from .game import CLEAN, ImageGame, check_radius
from .registry import Method

__all__ = [
    "Accuracy",
    "AttackGain",
    "accuracy",
    "attack",
    "attack_gain",
    "check_is_attack",
    "judging_game",
    "moved",
    "single_step_trap",
]


@dataclass(frozen=True)
class Accuracy:
    """Fractions in [0, 1].

    Attributes:
        clean: Images classified correctly.
        pgd20: Images that also withstand PGD-20 on cross-entropy: what papers report.
        robust: Images that also withstand the standing measure, PGD on the margin and on the
            cross-entropy of three times the logits; see ``attacks.standing_survivors``.
    """

    clean: float
    pgd20: float
    robust: float


@dataclass(frozen=True)
class AttackGain:
    """By how much an attack raises the mean cross-entropy, in nats, classifier fixed.

    Attributes:
        fgsm: ``eps * sign(gradient)``.
        rule: The method's own rule; ``None`` where there is no learned one.
    """

    fgsm: float
    rule: float | None


@own_defaults
def accuracy(
    classifier: nn.Module,
    images: Images,
    eps: float,
    *,
    seed: int,
    steps: int = 20,
    step_size: float | None = None,
    restarts: int = 1,
) -> Accuracy:
    """Return accuracy on clean images, under PGD-20 and the standing measure.

    Args:
        classifier: Images in [0, 1] to logits.
        images: What to judge on.
        eps: Radius of the ball.
        seed: Seed of the random starts.
        steps: Steps of PGD on cross-entropy.
        step_size: Change of a pixel in one of them; by default 2/255, eps / 8 above eps = 16/255.
        restarts: Random starts; the worst counts.

    Raises:
        InputError: If ``eps`` is outside [0, 1], there are no images, ``steps`` or ``restarts`` is
            below 1, or the classifier's logits are not finite or its gradients NaN.
    """
    check_radius(eps)
    check_filled(images, "to judge on")
    generator, other = (torch.Generator(images.pixels.device).manual_seed(seed) for _ in "12")
    right = withstood = stood = 0
    for batch in images.batches(JUDGED_AT_ONCE):
        right += int(is_right(classifier, batch.x, batch.y).sum())
        survives = pgd_survivors(
            classifier,
            batch,
            eps,
            steps=steps,
            step_size=step_size,
            restarts=restarts,
            generator=generator,
        )
        withstood += int(survives.sum())
        stood += int(standing_survivors(classifier, batch, eps, generator=other).sum())
    return Accuracy(right / len(images), withstood / len(images), stood / len(images))


def judging_game(classifier: nn.Module, eps: float, method: Method) -> ImageGame:
    """Return the game in which a method's own attack on a classifier is judged.

    It has the losses that the method was trained with. A learned attacker starts at the image and
    stays in the ball: noise is for training.

    Args:
        classifier: Images in [0, 1] to logits.
        eps: Radius of the ball.
        method: Whose game and start.

    Raises:
        InputError: If ``eps`` is outside [0, 1].
    """
    return method.game(
        classifier,
        eps,
        start=CLEAN if method.learns else method.start,
        attack_loss=method.attack_loss,
        **({"labelled": True} if method.labelled else {}),
    )


def check_is_attack(method: Method, name: str) -> None:
    """Refuse a method that perturbs the batch at hand of a training.

    Args:
        method: The method.
        name: What a message calls it.

    Raises:
        InputError: In one line.
    """
    if method.of_batch:
        raise InputError(
            f"a run of {name} ends with no attack on other images; attack its classifier with "
            "adv_training.evaluate_robustness"
        )


@own_defaults
def attack(
    game: ImageGame, method: Method, batch: ImageBatch, *, differentiable: bool = False
) -> Tensor:
    """Return the images as the method's own rule perturbs them, ``(B, C, H, W)``.

    Args:
        game: Classifier and epsilon.
        method: Whose rule, with its steps.
        batch: Clean images and labels.
        differentiable: Whether the result hangs on the rule's parameters; detached by default.

    Raises:
        InputError: If the method perturbs the batch at hand of a training, as ``free`` does, or
            the game's epsilon or the images are outside [0, 1].
    """
    check_is_attack(method, type(method.rule).__name__)
    check_radius(game.eps)
    check_pixels(batch.x)
    start = game.init_follower(batch) | ({"labels": batch.y} if method.labelled else {})
    with torch.set_grad_enabled(differentiable):
        played = unroll(
            method.rule,
            game,
            start,
            method.rule.init(start),
            [batch] + [None] * (method.steps - 1),
        )
    return played.followers[-1]["x"]


@own_defaults
def attack_gain(game: ImageGame, method: Method, images: Images) -> AttackGain:
    """Return the loss increase by FGSM and by the method's learned rule on the same classifier.

    Raises:
        InputError: If the game's epsilon is outside [0, 1], or there are no images.
    """
    check_filled(images, "to judge on")
    by_fgsm = by_rule = 0.0
    for batch in images.batches(JUDGED_AT_ONCE):
        clean = losses(game.classifier, batch.x, batch.y).sum()
        steepest = fgsm(game.classifier, batch, game.eps)
        by_fgsm += float(losses(game.classifier, steepest, batch.y).sum() - clean)
        if method.learns:
            learned = attack(game, method, batch)
            by_rule += float(losses(game.classifier, learned, batch.y).sum() - clean)
    count = len(images)
    return AttackGain(by_fgsm / count, by_rule / count if method.learns else None)


def moved(now: nn.Module, before: nn.Module) -> float | None:
    """Return how far a module's weights are from those of ``before``, relative to their norm.

    ``None`` where that is 0, as of a rule whose parameters all start there.
    """
    after = torch.cat([p.detach().flatten().cpu() for p in now.parameters()])
    first = torch.cat([p.detach().flatten().cpu() for p in before.parameters()])
    return float((after - first).norm() / first.norm()) if first.any() else None


@own_defaults
def single_step_trap(
    classifier: nn.Module, batch: ImageBatch, eps: float, generator: torch.Generator
) -> tuple[float, float]:
    """Return the accuracies under FGSM and under PGD-7 on one batch.

    A classifier that stands firm under the first and falls under the second has learned to make
    its gradient useless instead of becoming robust: catastrophic overfitting (Wong et al. 2020).

    Raises:
        InputError: If ``eps`` is outside [0, 1].
    """
    check_radius(eps)

    def right(x: Tensor) -> float:
        return float(is_right(classifier, x, batch.y).float().mean())

    stronger = pgd(classifier, batch, eps, steps=7, step_size=eps / 3, generator=generator)
    return right(fgsm(classifier, batch, eps)), right(stronger)
