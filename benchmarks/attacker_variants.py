"""The attacks that ``benchmarks/attackers.py`` compares, hand-designed and learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adv_training.attackers import ResidualNet, build_attacker
from adv_training.game import project
from adv_training.image_losses import ImageLoss, cross_entropy, margin
from adv_training.rules import LearnedStart, SignSteps, images_and_gradient
from l2l_gail.core import UpdateRule


class Look(NamedTuple):
    """What one query of the classifier shows: the loss's gradient, and what came up on the way."""

    gradient: Tensor
    logits: Tensor
    features: Tensor


class Classifier:
    """A frozen classifier that counts nothing and hides nothing.

    Args:
        model: Images to logits; ``features`` is the output of its layer ``layer``.
        layer: Place in the model.
    """

    def __init__(self, model: nn.Module, layer: int = 3) -> None:
        self.model = model.eval().requires_grad_(False)
        self.seen: Tensor | None = None
        model[layer].register_forward_hook(self._note)  # type: ignore[index]

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.seen = output

    def look(self, x: Tensor, y: Tensor) -> Look:
        """Return the gradient of the cross-entropy (uphill), logits and features at ``x``."""
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            logits = self.model(point)
            (gradient,) = torch.autograd.grad(cross_entropy(logits, y).sum(), point)
        assert self.seen is not None
        return Look(gradient, logits.detach(), self.seen.detach())


Attack = Callable[[Classifier, Tensor, Tensor, float], Tensor]
"""From classifier, images, labels and epsilon to perturbed images, not yet projected."""


class ByRule(nn.Module):
    """A rule of the library as an attack of ``steps`` steps."""

    def __init__(self, rule: UpdateRule, steps: int = 1) -> None:
        super().__init__()
        self.rule = rule
        self.steps = steps

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""

        def oracle(variables: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"x": -classifier.look(variables["x"], y).gradient}

        now = {"x": x}
        state = self.rule.init({"x": x, "labels": y})
        for _ in range(self.steps):
            moved, state = self.rule(now, oracle, state)  # type: ignore[arg-type]
            now = {"x": project(moved["x"], x, eps)}
        return now["x"]


class Conditioned(nn.Module):
    """The residual attacker that also sees logits and label, or features, of its own query."""

    def __init__(self, extra: str, width: int = 8) -> None:
        super().__init__()
        self.extra = extra
        self.net = ResidualNet(inputs=6 + width)
        self.sign_weight = nn.Parameter(torch.tensor(1.0))
        self.embed: nn.Module = (
            nn.Linear(20, width) if extra == "logits" else nn.Conv2d(64, width, 1)
        )

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""
        seen = classifier.look(x, y)
        if self.extra == "logits":
            one_hot = nn.functional.one_hot(y, 10).float()
            plane = self.embed(torch.cat([seen.logits.softmax(1), one_hot], 1))[:, :, None, None]
            plane = plane.expand(-1, -1, *x.shape[2:])
        else:
            plane = nn.functional.interpolate(self.embed(seen.features), x.shape[2:])
        inputs = torch.cat([images_and_gradient(x, seen.gradient), plane], 1)
        z = self.net(inputs) + self.sign_weight * seen.gradient.sign()
        return x + eps * z.tanh()


class Midway(nn.Module):
    """FGSM with the gradient halfway to FGSM's own point: two queries, nothing learned."""

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""
        half = x + 0.5 * eps * classifier.look(x, y).gradient.sign()
        return x + eps * classifier.look(half.clamp(0, 1), y).gradient.sign()


class UniformPGD(nn.Module):
    """PGD as training uses it: from a random start, 2.5 epsilon in all."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.generator = torch.Generator().manual_seed(2)

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""
        now = x + torch.empty_like(x).uniform_(-eps, eps, generator=self.generator)
        for _ in range(self.steps):
            step = min(1.25, 2.5 / self.steps) * eps
            now = project(now, x, eps)
            now = now + step * classifier.look(now, y).gradient.sign()
        return now


class NoQuery(nn.Module):
    """The class's start alone, without any question."""

    def __init__(self) -> None:
        super().__init__()
        self.starts = nn.Parameter(torch.zeros(10, 3, 32, 32))

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""
        return x + eps * (30 * self.starts[y]).tanh()


class WrittenStart(nn.Module):
    """The class start, to which a network adds what the image itself suggests; one query."""

    def __init__(self) -> None:
        super().__init__()
        self.starts = nn.Parameter(torch.zeros(10, 3, 32, 32))
        self.ask, self.answer = ResidualNet(), ResidualNet(inputs=9)
        self.weights = nn.Parameter(torch.tensor([2.0, 0.5]))

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""
        shared = 30 * self.starts[y]
        start = (shared + self.ask(torch.cat([2 * x - 1, shared.tanh()], 1))).tanh()
        there = (x + 0.5 * eps * start.detach()).clamp(0, 1)
        gradient = classifier.look(there, y).gradient
        seen = torch.cat([images_and_gradient(x, gradient), start], 1)
        return x + eps * (self.answer(seen) + self._add(gradient, start)).tanh()

    def _add(self, gradient: Tensor, start: Tensor) -> Tensor:
        return self.weights[0] * gradient.sign() + self.weights[1] * start


class TwoQueries(nn.Module):
    """One network answers to the gradients at the image and halfway to a first answer.

    Args:
        chosen: Whether a network of its own says where to ask the second time; else it is halfway
            to FGSM's point.
    """

    def __init__(self, *, chosen: bool) -> None:
        super().__init__()
        self.ask = ResidualNet() if chosen else None
        self.answer = ResidualNet(inputs=12)
        self.weights = nn.Parameter(torch.tensor([1.0, 0.0, 2.0]))

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""
        first = classifier.look(x, y).gradient
        seen = images_and_gradient(x, first)
        shift = first.sign()
        if self.ask is not None:
            shift = (self.ask(seen) + self.weights[0] * shift).tanh()
        half = (x + 0.5 * eps * shift.detach()).clamp(0, 1)
        second = classifier.look(half, y).gradient
        z = self.answer(torch.cat([seen, images_and_gradient(half, second)], 1))
        z = z + self.weights[1] * shift + self.weights[2] * second.sign()
        return x + eps * z.tanh()


@dataclass(frozen=True)
class Variant:
    """How to make an attack and how to train it.

    Attributes:
        queries: Gradients it asks for, of each image.
        make: From epsilon to the attack; has no parameters if hand-designed.
        updates: Updates of the attacker on each batch.
        decay: Of the average of its weights that is judged; 0 judges the weights.
        loss: What its training raises; judged it is by cross-entropy in any case.
    """

    queries: int
    make: Callable[[float], nn.Module]
    updates: int = 1
    decay: float = 0.0
    loss: ImageLoss = cross_entropy


def by_signs(share: float, steps: int) -> Callable[[float], nn.Module]:
    """Return a maker of sign steps from the clean image."""
    return lambda eps: ByRule(SignSteps(share, eps), steps)


def of_library(name: str, steps: int = 1) -> Callable[[float], nn.Module]:
    """Return a maker of fresh attackers of the library, of ``steps`` steps."""
    return lambda eps: ByRule(build_attacker(name, eps, channels=None, seed=0), steps)


def start_and_sign(name: str) -> Callable[[float], nn.Module]:
    """Return a maker of learned starts, each followed by one sign step."""
    return lambda eps: ByRule(LearnedStart(build_attacker(name, eps, channels=None, seed=0), eps))


VARIANTS = {
    "class start alone": Variant(0, lambda eps: NoQuery()),
    "FGSM": Variant(1, by_signs(1.0, 1)),
    "slim": Variant(1, of_library("slim")),
    "residual": Variant(1, of_library("residual")),
    "residual, sees logits and label": Variant(1, lambda eps: Conditioned("logits")),
    "residual, sees features": Variant(1, lambda eps: Conditioned("features")),
    "residual, 3 updates a batch": Variant(1, of_library("residual"), updates=3),
    "residual, average of weights": Variant(1, of_library("residual"), decay=0.98),
    "residual, raises the margin": Variant(1, of_library("residual"), loss=margin),
    "class_start": Variant(1, of_library("class_start")),
    "class_start, a network adds to it": Variant(1, lambda eps: WrittenStart()),
    "PGD-2, random start, as in training": Variant(2, lambda eps: UniformPGD(2)),
    "PGD-2": Variant(2, by_signs(0.75, 2)),
    "sign of the gradient halfway": Variant(2, lambda eps: Midway()),
    "residual, 2 steps": Variant(2, of_library("residual", 2)),
    "residual + sign": Variant(2, start_and_sign("residual")),
    "class_start + sign": Variant(2, start_and_sign("class_start")),
    "answer to image and halfway": Variant(2, lambda eps: TwoQueries(chosen=False)),
    "second query chosen": Variant(2, lambda eps: TwoQueries(chosen=True)),
    "PGD-10": Variant(10, by_signs(0.25, 10)),
}
"""By name; those of the library under the names that ``--attacker`` knows."""

IN_TRAINING = {
    f"{attacker}, in training, {order}": (attacker, order)
    for attacker in ("residual", "class_start")
    for order in ("fused", "alternating")
}
"""Attackers trained in a game against a copy of the classifier that goes on moving."""
