"""How robust a classifier is, as far as a battery of attacks can tell, and whether to believe it.

An image counts as robust if *every* attack of the battery fails on it. Robust accuracy is an upper
bound: a classifier may only hide its gradients (Athalye et al. 2018, arXiv 1802.00420). Flags say
where there are signs of that (:mod:`~adv_training.masking`).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.checks import check_choice
from l2l_gail.core.descent import descend
from l2l_gail.devices import own_defaults
from l2l_gail.errors import InputError

from .attackers import build_attacker
from .attacks import (
    JUDGED_AT_ONCE,
    input_gradient,
    is_right,
    pgd_survivors,
    standing_survivors,
)
from .autoattack import AUTOATTACKS, autoattack_survivors, require_pyautoattack
from .checks import check_filled, check_judged
from .data import ImageBatch, Images
from .evaluate import attack, judging_game
from .game import ImageGame, check_radius, in_mode, project
from .image_losses import cross_entropy
from .masking import masking_flags
from .registry import Method
from .rules import set_radius

__all__ = ["ATTACKS", "RobustnessReport", "evaluate_robustness", "fine_tune"]

ATTACKS = ("pgd20", "standing", "learned", "fine_tuned", *AUTOATTACKS)
"""Names of attacks: those of :mod:`.attacks`, the learned attacker, and those of AutoAttack."""

_TO_LEARN_ON = "for fine_tuned to learn on"


@dataclass(frozen=True)
class RobustnessReport:
    """What a battery of attacks found.

    Attributes:
        eps: Radius of the ball, in pixels' units of [0, 1].
        images: Number of images.
        clean: Accuracy on the clean images.
        accuracy: Accuracy under each attack on its own.
        robust: Share of images on which every attack fails.
        flags: Signs of masked gradients, one line each; empty if there are none.
    """

    eps: float
    images: int
    clean: float
    accuracy: dict[str, float]
    robust: float
    flags: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return dataclasses.asdict(self)


@own_defaults
def evaluate_robustness(
    classifier: nn.Module,
    images: Images,
    eps: float,
    *,
    attacks: Sequence[str] = ("pgd20", "standing"),
    method: Method | None = None,
    train: Images | None = None,
    seed: int = 0,
    square_queries: int = 5_000,
    tell: Callable[[str], None] = lambda text: None,
) -> RobustnessReport:
    """Attack every image with every attack of the battery.

    Args:
        classifier: Images in [0, 1], float32 ``(B, C, H, W)``, to logits ``(B, classes)``, of two
            classes or more; judged in evaluation mode and float32.
        images: What to judge on.
        eps: Radius of the ball.
        attacks: Names of :data:`ATTACKS`.
        method: Whose learned rule is one of the attacks (``learned``), and the start of
            ``fine_tuned``, in the ball of ``eps`` if the rule has a ``set_radius``; without one
            that starts from a fresh attacker (:func:`fine_tune`). The rule plays in its method's
            own game, with the loss it was trained to raise, but starts at the image and is held to
            the ball: noise is for training.
        train: Images that ``fine_tuned`` learns on; none of those that are judged.
        seed: Seed of starts and attacks.
        square_queries: Forward passes that Square may spend on each image.
        tell: Takes a line after each attack.

    Raises:
        InputError: If ``eps`` is outside [0, 1]; there is no image to judge or to learn on; the
            classifier is no module, does not take the images, returns no finite logits of two
            classes or more, has a gradient that is NaN, or no output for a label; there is no
            attack, or one is unknown or needs a library that is not installed; ``learned`` is
            without a method that learns, or ``fine_tuned`` without ``train``.
    """
    check_radius(eps)
    _check_attacks(attacks, method, train)
    check_judged(classifier, images)
    if "fine_tuned" in attacks and train is not None:
        check_judged(classifier, train, _TO_LEARN_ON)
    clean = _each(images, lambda batch: is_right(classifier, batch.x, batch.y))
    learned = _with_radius(method, eps) if method and method.learns else None
    game = judging_game(classifier, eps, learned) if learned else ImageGame(classifier, eps)
    players = {} if learned is None else {"learned": learned}
    if "fine_tuned" in attacks:
        assert train is not None
        players["fine_tuned"] = fine_tune(game, learned, train, seed=seed)
    battery = _Battery(classifier, eps, game, players, seed, square_queries)
    withstood, accuracy = clean.clone(), {}
    for name in attacks:
        survives = battery.survivors(name, images) & clean
        accuracy[name] = float(survives.double().mean())
        withstood &= survives
        tell(f"{name}: {accuracy[name]:.1%}")
    return RobustnessReport(
        eps,
        len(images),
        float(clean.double().mean()),
        accuracy,
        float(withstood.double().mean()),
        masking_flags(classifier, images, accuracy, seed=seed),
    )


@dataclass(frozen=True)
class _Battery:
    """The attacks on one classifier.

    Attributes:
        classifier: Images in [0, 1] to logits.
        eps: Radius of the ball.
        game: What learned attackers play in.
        players: The attackers of ``learned`` and ``fine_tuned``, as far as there are any.
        seed: Seed of each attack.
        square_queries: Forward passes that Square may spend on each image.
    """

    classifier: nn.Module
    eps: float
    game: ImageGame
    players: Mapping[str, Method]
    seed: int
    square_queries: int

    def survivors(self, name: str, images: Images) -> Tensor:
        """Return which images withstand an attack of :data:`ATTACKS`, bool ``(N,)``.

        Raises:
            InputError: A learned attacker returns numbers that are not finite, or the classifier
                does for what it returns.
        """
        generator = torch.Generator(images.pixels.device).manual_seed(self.seed)
        return _each(images, lambda batch: self._survivors_in(batch, name, generator))

    def _survivors_in(self, batch: ImageBatch, name: str, generator: torch.Generator) -> Tensor:
        if name == "pgd20":
            return pgd_survivors(self.classifier, batch, self.eps, generator=generator)
        if name == "standing":
            return standing_survivors(self.classifier, batch, self.eps, generator=generator)
        if name in AUTOATTACKS:
            return autoattack_survivors(
                name,
                self.classifier,
                batch,
                self.eps,
                seed=self.seed,
                square_queries=self.square_queries,
            )
        perturbed = attack(self.game, self.players[name], batch)
        # A game of one's own may have another feasible set than the ball that is reported.
        perturbed = project(perturbed, batch.x, self.eps)
        _check_perturbed(name, perturbed, self.classifier, batch)
        return is_right(self.classifier, perturbed, batch.y)


@own_defaults
def fine_tune(
    game: ImageGame,
    method: Method | None,
    images: Images,
    *,
    steps: int = 200,
    lr: float = 4e-3,
    seed: int = 0,
) -> Method:
    """Return a learned attacker trained on against the classifier as it is now, which stands still.

    A learned attacker that was trained along has followed a moving target; an opponent who knows
    the final classifier would go on from there. Whatever its gradients are of, it learns to raise
    the cross-entropy. Parameters that require no gradient stay as they are, as in training.

    Args:
        game: Classifier and epsilon, and what the rule's gradients are of.
        method: Whose rule to start from, left as it is; ``None`` starts a fresh attacker:
            residual, or on images with an odd side, which that cannot halve, paper_two_layer, as
            narrow as the residual one.
        images: What to learn on.
        steps: Batches of 64.
        lr: Learning rate (Adam), falling linearly to 0.
        seed: Seed of the order, and of a fresh attacker.

    Raises:
        InputError: If there are no images, the game's epsilon is outside [0, 1], the method
            perturbs the batch at hand of a training, as ``free`` does, or what it returns is not
            finite.
    """
    check_filled(images, _TO_LEARN_ON)
    if method is None:
        colours, height, width = images.pixels.shape[1:]
        shape = colours, height, width
        odd = height % 2 or width % 2
        name = "paper_two_layer" if odd else "residual"
        channels = 16 if odd else None  # its own width, 64, takes many times as long
        fresh = build_attacker(name, game.eps, channels=channels, seed=seed, shape=shape)
        method = Method(fresh.to(images.pixels.device))
    method = dataclasses.replace(method, rule=copy.deepcopy(method.rule))
    parameters = list(method.rule.learned_parameters().values())
    if not parameters:
        return method
    optimizer = torch.optim.Adam(parameters, lr=lr)
    generator = torch.Generator(images.pixels.device).manual_seed(seed)
    size = min(64, len(images))
    epochs = (images.shuffled(size, generator, augmented=False) for _ in count())
    for done, batch in enumerate(islice(chain.from_iterable(epochs), steps)):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - done / steps)
        x = attack(game, method, batch, differentiable=True)
        _check_perturbed("fine_tuned", x, game.classifier, batch)
        with in_mode(game.classifier, training=False):
            loss = -cross_entropy(game.classifier(x), batch.y).mean()
        if not loss.requires_grad:  # of a frozen classifier and a rule that uses none of them
            return method
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        descend(optimizer, parameters, gradients)
    return method


def _with_radius(method: Method, eps: float) -> Method:
    """Return a method with a copy of its rule that keeps to the ball of ``eps``, if it can."""
    if not hasattr(method.rule, "set_radius"):  # a rule of one's own may not
        return method
    method = dataclasses.replace(method, rule=copy.deepcopy(method.rule))
    set_radius(method.rule, eps)
    return method


def _check_attacks(attacks: Sequence[str], method: Method | None, train: Images | None) -> None:
    """Refuse attacks that there are not, or that lack what they need."""
    if isinstance(attacks, str):
        raise InputError(f"attacks is a list of names, [{attacks!r}], not {attacks!r} alone")
    for name in attacks:
        check_choice("attack", name, ATTACKS)
    if not attacks:
        raise InputError(f"attacks is empty; give one of {', '.join(ATTACKS)} or more")
    if not set(AUTOATTACKS).isdisjoint(attacks):
        require_pyautoattack()
    if "learned" in attacks and not (method and method.learns):
        raise InputError("the attack 'learned' needs a method whose rule was trained")
    if "fine_tuned" in attacks and train is None:
        raise InputError("the attack 'fine_tuned' needs images to learn on, train=...")


def _check_perturbed(
    name: str, perturbed: Tensor, classifier: nn.Module, batch: ImageBatch
) -> None:
    """Refuse what an attack returns if it is not finite, and say whose fault that is."""
    if perturbed.isfinite().all():
        return
    finite = input_gradient(classifier, batch, cross_entropy).isfinite().all()  # refuses NaN
    fault = "the weights of the method's rule" if finite else "the classifier's infinite gradient"
    raise InputError(
        f"the attack {name!r} returns images that are NaN or infinite; look at {fault}"
    )


def _each(images: Images, survives: Callable[[ImageBatch], Tensor]) -> Tensor:
    return torch.cat([survives(batch) for batch in images.batches(JUDGED_AT_ONCE)])
