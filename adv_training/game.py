"""The game: a perturbation that raises the classifier's loss, a classifier that lowers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l2l_gail.core import Game, Vars
from l2l_gail.core.game import Culprit
from l2l_gail.errors import InputError

from .data import ImageBatch
from .image_losses import ImageLoss, cross_entropy
from .memory import PerturbationMemory
from .processes import ALONE, Processes
from .weight_perturbation import worst_weights

__all__ = [
    "CLEAN",
    "UNIFORM",
    "Classify",
    "ImageGame",
    "Start",
    "check_radius",
    "in_mode",
    "project",
]

Classify = Callable[[Tensor], Tensor]
"""From images to logits."""


@dataclass(frozen=True)
class Start:
    """Where a perturbation starts, and whether the ball binds it.

    Attributes:
        noise: Half-width of the uniform noise on each pixel, in epsilon; 0 starts at the image.
        confined: Whether start and perturbation are projected onto the ball. If not, only the box
            [0, 1] binds them, and noise and steps may add up to more than epsilon (N-FGSM).
    """

    noise: float = 0.0
    confined: bool = True


CLEAN = Start()
"""At the image itself."""
UNIFORM = Start(noise=1.0)
"""Uniformly inside the ball."""


class ImageGame(Game):
    """Zero-sum game of Madry et al. 2018 (arXiv 1706.06083, equation 2.1).

    The leader is the classifier and minimises the cross-entropy at the perturbed images; the
    follower is ``{"x": images}``, which maximises it inside the ball
    ``max |x - clean| <= eps`` and the box [0, 1]. With another ``attack_loss`` the follower
    maximises that one, and the game is no longer zero-sum.

    **Modes.** A query of the follower always sees the classifier in *evaluation* mode: batch
    normalisation uses its running statistics. So the attack on an image does not depend on its
    neighbours, a query costs less, and inner steps, however many a method takes, leave no trace in
    the statistics. The leader's own loss is in *training* mode and is the only place where the
    statistics move: once a step, on perturbed images, for every method alike. Each loss restores
    the modes that it found.

    Args:
        classifier: Maps images ``(B, C, H, W)`` in [0, 1] to logits ``(B, classes)``.
        eps: Radius of the ball, in pixels' units of [0, 1].
        start: Where the follower starts, and whether the ball binds it.
        attack_loss: What the follower maximises, a loss of each image.
        label_smoothing: Probability that the leader's targets spread evenly over all classes. The
            follower keeps the true labels: against smoothed ones the best attack on an image that
            is classified with certainty would be to raise the certainty.
        awp: Size of the adversarial perturbation of the weights in training, relative to each
            weight's norm; 0 trains the weights as they are. See ``weight_perturbation``.
        generator: Source of the random start, on the images' device.
        labelled: Whether the follower's variables at its start name the labels too, ``"labels"``:
            for rules that know the classes apart.
        bf16: Compute the classifier under bfloat16 autocast; the images themselves, the
            normalisation and the loss stay in float32, as a bfloat16 image is off by up to 0.5/255.

    Attributes:
        zero_sum: Whether the follower maximises what the leader minimises, smoothing aside.
        last_accuracy: Accuracy at the perturbed images in the last leader's loss, a 0-d tensor.
        processes: Those that share each batch; a batch is then this one's part of it.
        memory: Where the perturbation that the classifier is trained on is kept, image by image;
            the follower's variables at its start then name the last one, ``"start"``.

    Raises:
        InputError: If ``eps`` is outside [0, 1].
    """

    zero_sum = True
    processes: Processes = ALONE
    memory: PerturbationMemory | None = None
    parts: ClassVar[Mapping[Culprit, str]] = {
        "rule": "the attacker's weights",
        "leader": "the classifier's weights",
        "follower": "the attacked images",
        "loss": "the training loss",
    }

    def __init__(
        self,
        classifier: nn.Module,
        eps: float,
        *,
        start: Start = CLEAN,
        attack_loss: ImageLoss = cross_entropy,
        label_smoothing: float = 0.0,
        awp: float = 0.0,
        generator: torch.Generator | None = None,
        labelled: bool = False,
        bf16: bool = False,
    ) -> None:
        check_radius(eps)
        self.classifier = classifier
        self.eps = eps
        self.start = start
        self.attack_loss = attack_loss
        self.label_smoothing = label_smoothing
        self.awp = awp
        self.zero_sum = attack_loss is cross_entropy
        self.generator = generator
        self.labelled = labelled
        self.bf16 = bf16
        self.last_accuracy = torch.tensor(0.0)

    def init_follower(self, batch: ImageBatch) -> Vars:
        """Return where the attack starts, ``{"x": (B, C, H, W)}``, and what else is known."""
        known: Vars = {"labels": batch.y} if self.labelled else {}
        if self.memory is not None:
            known["start"] = self.memory.recall(batch)
        if not self.start.noise:
            return {"x": batch.x} | known
        width = self.start.noise * self.eps
        # Drawn for the whole batch, so that an image's noise does not depend on who has it.
        whole = torch.cat([batch.x] * self.processes.count) if self.processes.count > 1 else batch.x
        noise = torch.empty_like(whole).uniform_(-width, width, generator=self.generator)
        noise = noise[self.processes.part(len(noise))]
        return self.project({"x": batch.x + noise}, batch) | known

    def follower_loss(self, follower: Vars, batch: ImageBatch) -> Tensor:
        """Return minus the attack's loss, mean over the batch, classifier in evaluation mode."""
        with in_mode(self.classifier, training=False):
            logits = self.logits(self.classifier, follower["x"])
            return -self.attack_loss(logits, batch.y).mean()

    def leader_loss(self, follower: Vars, batch: ImageBatch) -> Tensor:
        """Return the training loss, classifier in training mode; keep its images in the memory."""
        if self.memory is not None:
            self.memory.keep(batch, follower["x"], self.processes)
        with in_mode(self.classifier, training=True):
            classify: Classify = self.classifier
            if self.awp:
                there = {name: tensor.detach() for name, tensor in follower.items()}
                classify = worst_weights(
                    self.classifier,
                    lambda classify: self.training_loss(classify, there, batch),
                    self.awp,
                    combine=self.processes.mean,
                )
            return self.training_loss(classify, follower, batch)

    def leader_statistics(self) -> Mapping[str, Tensor]:
        """Return the buffers of the classifier: its running means and variances."""
        return dict(self.classifier.named_buffers())

    def training_loss(self, classify: Classify, follower: Vars, batch: ImageBatch) -> Tensor:
        """Return the cross-entropy at the perturbed images, mean over the batch.

        Args:
            classify: The classifier, or the same with other weights.
            follower: Perturbed images.
            batch: Clean images and labels.
        """
        logits = self.logits(classify, follower["x"])
        self.note_accuracy(logits, batch.y)
        return F.cross_entropy(logits, batch.y, label_smoothing=self.label_smoothing)

    def note_accuracy(self, logits: Tensor, y: Tensor) -> None:
        """Keep the accuracy at the perturbed images for whoever asks for ``last_accuracy``."""
        self.last_accuracy = (logits.detach().argmax(1) == y).float().mean()

    def project(self, follower: Vars, batch: ImageBatch) -> Vars:
        """Return the nearest point of the ball around the clean images and of the box [0, 1]."""
        if not self.start.confined:
            return {"x": follower["x"].clamp(0.0, 1.0)}
        return {"x": project(follower["x"], batch.x, self.eps)}

    def logits(self, classify: Classify, x: Tensor) -> Tensor:
        """Return the logits in float32, computed under autocast if the game says so."""
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return classify(x).float()


def check_radius(eps: float) -> None:
    """Refuse what is no radius of a ball in [0, 1]: 8 is what others write for our 8/255.

    Raises:
        InputError: In one line.
    """
    try:
        possible = bool(0 <= eps <= 1)  # not so for NaN
    except (TypeError, ValueError, RuntimeError):  # no number, or several
        possible = False
    if not possible:
        raise InputError(
            f"eps is in units of [0, 1]: 8/255, not 8; give a number from 0 to 1, not {eps!r:.90}"
        )


def project(x: Tensor, clean: Tensor, eps: float) -> Tensor:
    """Return the nearest point to ``x`` with ``max |x - clean| <= eps`` and values in [0, 1].

    Args:
        x: Perturbed images, ``(B, C, H, W)``.
        clean: Clean images of the same shape, in [0, 1].
        eps: Radius of the ball.
    """
    # One clamp, as its gradient is not free.
    return x.clamp((clean - eps).clamp_(min=0.0), (clean + eps).clamp_(max=1.0))


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Set every module to training or evaluation mode; on leaving, give each its own mode back."""
    found = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in found:
            module.training = mode
