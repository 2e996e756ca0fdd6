"""One training step of a method: the players it needs, and how it is played."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from l2l_gail.core import L2LTrainer
from l2l_gail.errors import InputError, one_line

from .checks import check_logits, check_neighbours, first_look
from .data import Dataset, ImageBatch, Images
from .game import ImageGame, in_mode
from .memory import PerturbationMemory
from .models import build_classifier
from .processes import ALONE, Processes
from .registry import Method
from .settings import Settings
from .synced_batch_norm import sync_batch_norm

__all__ = [
    "build_game",
    "build_trainer",
    "classifier_for",
    "deal_out",
    "train_step",
]


def classifier_for(settings: Settings, dataset: Dataset) -> nn.Module:
    """Return the classifier of the settings for a data set, its weights drawn from the seed.

    Raises:
        InputError: The images are too small for it, or one of them is too few, or it returns no
            logits of their classes, or an image's logits depend on its neighbours; or it has no
            weights to train, or with ``awp`` none to shift.
    """
    classifier = build_classifier(
        settings.model,
        dataset.classes,
        settings.seed,
        statistics=dataset.statistics,
        width=settings.width,
        size=settings.shape[1:],
    )
    black, name = torch.zeros(1, *settings.shape), f"the model {settings.model}"
    with in_mode(classifier, training=False), torch.no_grad():
        logits = first_look(classifier, black, name)
    check_logits(logits, 1, name)
    if logits.shape[1] != dataset.classes:
        raise InputError(
            f"{name} returns {logits.shape[1]} logits for each image, and {dataset.name} has "
            f"{dataset.classes} classes; let it return as many"
        )
    trained = [p for p in classifier.parameters() if p.requires_grad]
    if not trained:
        raise InputError(f"{name} has no weights to train: no parameter of it requires a gradient")
    if settings.awp and all(p.dim() < 2 for p in trained):
        raise InputError(
            f"{name} has no weights for --awp, which shifts those of more than one dimension; "
            "leave it out"
        )
    check_neighbours(classifier, black, name)
    if settings.batch_size == 1:
        _check_alone(classifier, settings)
    return classifier


def _check_alone(classifier: nn.Module, settings: Settings) -> None:
    """Refuse batches of one image where they leave batch normalisation one number a channel."""
    twin = copy.deepcopy(classifier).train()  # whose statistics may move
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            twin(torch.zeros(1, *settings.shape))
        except ValueError as error:
            raise InputError(
                f"--batch-size 1 is too small for the model {settings.model} "
                f"({one_line(error):.300}); give at least 2"
            ) from error


def build_game(
    classifier: nn.Module,
    method: Method,
    settings: Settings,
    generator: torch.Generator | None = None,
    images: Images | None = None,
) -> ImageGame:
    """Return the game that the method plays in training.

    Args:
        classifier: Images to logits, on the device to train on.
        method: The perturbation's side.
        settings: Epsilon and precision.
        generator: Source of random starts, on the same device.
        images: Those to train on, for a method that remembers them.
    """
    labelled: dict[str, Any] = {"labelled": True} if method.labelled else {}
    game = method.game(
        classifier,
        settings.radius,
        start=method.start,
        attack_loss=method.attack_loss,
        label_smoothing=settings.label_smoothing,
        awp=settings.awp,
        generator=generator,
        bf16=settings.bf16,
        **labelled,
    )
    if method.remembers and images is not None:
        game.memory = PerturbationMemory(images)
    return game


def deal_out(
    classifier: nn.Module, method: Method, settings: Settings, processes: Processes
) -> None:
    """Make the players ready for batches that several processes share.

    Args:
        classifier: Its batch normalisations are synced, its weights are those of the first process.
        method: Likewise; a rule that has something for each image of a batch, and so a method
            ``take_part(part)``, is told which images it will meet.
        settings: The size of a whole batch.
        processes: Those that share it.

    Raises:
        InputError: The batch cannot be dealt out evenly, or the classifier is to be compiled, which
            its synced batch normalisations are not made for.
    """
    part = processes.part(settings.batch_size)
    if processes.count == 1:
        return
    if settings.compile:
        raise InputError("--compile is for one process; leave it out under torchrun")
    sync_batch_norm(classifier, processes)
    take_part = getattr(method.rule, "take_part", None)
    if take_part is not None:
        take_part(part)
    for player in (classifier, method.rule):
        state = player.state_dict().values()
        processes.take_from_first([value for value in state if isinstance(value, torch.Tensor)])


def build_trainer(
    game: ImageGame, method: Method, settings: Settings, processes: Processes = ALONE
) -> L2LTrainer:
    """Return the trainer that moves classifier, perturbation and, if it learns, the rule.

    Args:
        game: What is played.
        method: The perturbation's side.
        settings: Rates and order.
        processes: Those that share each batch.
    """
    game.processes = processes
    leader = torch.optim.SGD(
        game.classifier.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
    meta: torch.optim.Optimizer | None = None
    if method.meta_optimizer is not None:
        meta = method.meta_optimizer(method.rule)
    elif method.learns and (groups := method.rule.meta_parameter_groups(settings.attacker_lr)):
        meta = torch.optim.Adam(groups)
    return L2LTrainer(
        game,
        method.rule,
        meta_optimizer=meta,
        leader_optimizer=leader,
        order="fused" if method.of_batch else settings.order,
        meta_every=settings.attacker_every if method.learns else 1,
        combine=processes.mean,
    )


def train_step(trainer: L2LTrainer, method: Method, batch: ImageBatch) -> dict[str, torch.Tensor]:
    """Play one training step, all inner steps on one batch; see ``L2LTrainer.step``."""
    inner: list[Any] = [batch] + [None] * (method.steps - 1)
    return trainer.step(inner)
