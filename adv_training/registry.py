"""The open table of training methods: a name, and how to build what it stands for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from l2l_gail.checks import check_choice, check_kind, origin
from l2l_gail.core import UpdateRule
from l2l_gail.errors import InputError

from .game import CLEAN, ImageGame, Start
from .image_losses import ImageLoss, cross_entropy

__all__ = ["Method", "MethodEntry", "find_method", "method_names", "register_method"]


@dataclass(frozen=True)
class Method:
    """What trains a classifier: how the perturbation moves, and from where.

    Attributes:
        rule: Moves the perturbation.
        steps: Inner steps.
        start: Where the perturbation starts, and whether the ball binds it.
        attack_loss: What the perturbation raises.
        sees: What the network ``rule.net`` of a learned rule sees, in images: 1 for the image
            alone, 2 with the gradient, 3 with a start as well. Its cost is counted by it.
        replays: Training steps on each batch in a row.
        of_batch: Whether what the rule learns is the perturbation of the batch at hand, and no
            attacker of other images; by default with more than one replay.
        labelled: Whether the rule sees the labels, among the variables at its start.
        remembers: Whether the rule starts from the image's last perturbation, which the training
            then keeps of each.
        game: Class of the game, or a partial of it: ``ImageGame`` or one with losses of its own.
        meta_optimizer: From the rule to the optimizer of its parameters; Adam by default.
    """

    rule: UpdateRule
    steps: int = 1
    start: Start = CLEAN
    attack_loss: ImageLoss = cross_entropy
    sees: int = 2
    replays: int = 1
    of_batch: bool | None = None
    labelled: bool = False
    remembers: bool = False
    game: Callable[..., ImageGame] = ImageGame
    meta_optimizer: Callable[[Any], torch.optim.Optimizer] | None = None

    def __post_init__(self) -> None:
        """Settle what was left open.

        Raises:
            InputError: The rule is none; its class is not one either.
        """
        check_kind("the rule of a Method", self.rule, UpdateRule, "not its class", optional=False)
        if self.of_batch is None:
            object.__setattr__(self, "of_batch", self.replays > 1)

    @property
    def learns(self) -> bool:
        """Whether the rule is an attacker with parameters."""
        return not self.of_batch and any(True for _ in self.rule.parameters())


Builder = Callable[[Any], Method]
"""From ``Settings`` to a method, a learned rule freshly initialised from ``settings.seed``."""
Cost = Callable[[Any, float], float]
Label = Callable[[Any], str]


@dataclass(frozen=True)
class MethodEntry:
    """One row of the table.

    Attributes:
        name: What ``Settings.method`` calls it.
        build: From the settings to the method.
        cost: From the settings and the attacker's share to the cost of one step, for each image,
            in forward-equivalents: one pass of an image through the classifier counts 1, a
            backward pass to the images alone 1, one that also reaches the weights 2. The share is
            the cost of one pass through the attacker in the same unit.
        source: Paper.
        label: From the settings to a name that tells runs of different settings apart.
        training_passes: Passes of the classifier that the training loss itself takes; the
            perturbation of the weights, where it is asked for, costs as many again.
        uses: Which of the settings that not all methods have a use for (``settings.OPTIONS``) it
            does use; ``None`` where nothing is known, and then all of them may matter.
    """

    name: str
    build: Builder
    cost: Cost
    source: str
    label: Label
    training_passes: int = 1
    uses: frozenset[str] | None = None

    @property
    def summary(self) -> str:
        """First line of the builder's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]


_TABLE: dict[str, MethodEntry] = {}


def register_method(
    name: str,
    *,
    cost: Cost | float,
    source: str,
    label: Label | None = None,
    training_passes: int = 1,
    uses: Iterable[str] | None = None,
) -> Callable[[Builder], Builder]:
    """Enter a builder of methods into the table, under ``name``.

    Args:
        name: What the settings and the command line call it.
        cost: Forward-equivalents of one step for each image, see :class:`MethodEntry`; a number
            where the settings do not change it.
        source: Where the method comes from.
        label: Name of a run; ``name`` by default.
        training_passes: See :class:`MethodEntry`.
        uses: See :class:`MethodEntry`.

    Returns:
        A decorator. Of a builder that is defined once more, as by a cell of a notebook that is run
        again, the last definition counts.

    Raises:
        InputError: If the name is another builder's.
    """

    def enter(build: Builder) -> Builder:
        if name in _TABLE and origin(_TABLE[name].build) != origin(build):
            raise InputError(f"a method {name!r} is registered already; choose another name")
        _TABLE[name] = MethodEntry(
            name,
            build,
            cost if callable(cost) else lambda settings, share: float(cost),
            source,
            label or (lambda settings: name),
            training_passes,
            None if uses is None else frozenset(uses),
        )
        return build

    return enter


def find_method(name: str) -> MethodEntry:
    """Return the row of a name.

    Raises:
        InputError: If there is none.
    """
    check_choice("method", name, _TABLE)
    return _TABLE[name]


def method_names() -> tuple[str, ...]:
    """Return the names of all methods, in the order of their registration."""
    return tuple(_TABLE)
