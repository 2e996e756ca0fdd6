"""Everything that determines a run, checked before any work starts."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import tyro

from l2l_gail.errors import InputError
from l2l_gail.runs import check_seed

from .attackers import check_attacker
from .models import check_model
from .registry import find_method

__all__ = [
    "COMPARED_METHODS",
    "DEFAULT_ATTACKER",
    "OPTIONS",
    "Order",
    "Schedule",
    "Settings",
    "check_eps",
]

Order = Literal["fused", "alternating"]
Schedule = Literal["one_cycle", "steps"]

COMPARED_METHODS = ("standard", "fgsm_rs", "pgd", "grad_l2l")
"""What ``--method all`` compares; the whole table is ``registry.method_names()``."""

DEFAULT_ATTACKER = "memory"
"""The shape that labels do not name."""

_AT_LEAST_ONE = ("epochs", "batch_size", "pgd_steps", "l2l_steps", "free_replays", "attacker_every")
_POSITIVE = ("width", "eps", "trades_beta", "lr", "attacker_lr")
_NOT_NEGATIVE = ("weight_decay", "attacker_noise")
_FRACTIONS = ("ramp", "ema", "label_smoothing", "awp")
_NUMBERS = (*_POSITIVE, *_NOT_NEGATIVE, *_FRACTIONS, "momentum")


OPTIONS = (
    "pgd_steps",
    "trades_beta",
    "free_replays",
    "l2l_steps",
    "order",
    "attacker_lr",
    "attacker",
    "attacker_channels",
    "attacker_every",
    "attacker_noise",
    "classes",
)
"""The settings that some methods have no use for; the table of methods says which use which."""


def check_eps(eps: float) -> None:
    """Refuse what is no radius in 1/255: 0.031 is what others write for our 8.

    Raises:
        InputError: In one line.
    """
    if not 0.1 <= eps <= 255:
        raise InputError(f"--eps {eps} is in 1/255, from 0.1 to 255 (8 is the usual one)")


@dataclass(frozen=True)
class Settings:
    """One training run; two runs of equal settings on one CPU give equal weights, bit for bit.

    All but the method, the data and the seed are flags of ``train_cifar.py``.

    Attributes:
        method: What moves the perturbation; a name of the table of methods.
        data: Name of the dataset.
        seed: Seed of weights, order, augmentation and random starts.
        epochs: Passes over the training images.
        batch_size: Images in a training step.
        model: The classifier: small_cnn, tiny_cnn, preact_resnet18, resnet18, wrn28_10 or
            wrn34_10; in the library one of your own as well, see models.register_model.
        width: Factor on the classifier's width, for preact_resnet18.
        shape: Channels, height and width of the images; checked against the data.
        eps: Largest change of a pixel, in 1/255.
        pgd_steps: Steps of pgd and trades; 2 of pgd cost about what grad_l2l costs.
        trades_beta: Weight of the divergence in trades.
        free_replays: Steps of free on each batch in a row; an epoch then shows one image in so
            many, each so many times.
        l2l_steps: Steps of grad_l2l, each with a gradient of its own.
        order: Classifier and learned attacker share a backward pass, or take turns (dearer).
        lr: Peak learning rate of the classifier.
        schedule: one_cycle rises linearly to lr over the first 30 % and falls to 0; steps divides
            lr by ten at each of the milestones.
        milestones: Fractions of the training.
        momentum: Nesterov momentum of the classifier's SGD.
        weight_decay: Weight decay of the classifier's SGD.
        attacker_lr: Learning rate of the learned attacker (Adam).
        attacker: Shape of the learned attacker: residual, class_start, memory, slim, paper_slim,
            paper_wide or paper_two_layer.
        attacker_channels: Width of the learned attacker; its shape's own by default.
        attacker_every: The learned attacker is trained at every n-th step of the classifier.
        attacker_noise: Half-width, in epsilon, of the uniform noise that grad_l2l starts from in
            training; noise and perturbation may leave the ball together, as in n_fgsm. 0: none; by
            default 1 for one step of the attacker memory, else 0.
        classes: Classes of the images, for the attacker class_start; by default those of the data
            that are known by name, else 10.
        ramp: Fraction of the training over which eps grows linearly from 0; 0: whole at once.
        ema: Decay of the weights' moving average, which is then what is judged; 0: none.
        awp: Size of the adversarial perturbation of the weights, relative to their norms (the
            authors': 0.01 with pgd, 0.005 with trades); 0: none.
        label_smoothing: Probability that the targets spread evenly over all classes.
        bf16: Train the classifier under bfloat16 autocast; evaluation stays in float32.
        compile: Run the classifier through torch.compile; not with awp.
    """

    method: Annotated[str, tyro.conf.Suppress]
    data: Annotated[str, tyro.conf.Suppress]
    seed: Annotated[int, tyro.conf.Suppress] = 0
    epochs: int = 5
    batch_size: int = 128
    model: str = "small_cnn"
    width: float = 1.0
    shape: tuple[int, int, int] = (3, 32, 32)
    eps: float = 8.0
    pgd_steps: int = 2
    trades_beta: float = 6.0
    free_replays: int = 4
    l2l_steps: int = 1
    order: Order = "fused"
    lr: float = 0.2
    schedule: Schedule = "one_cycle"
    milestones: tuple[float, ...] = (0.5, 0.75)
    momentum: float = 0.9
    weight_decay: float = 5e-4
    attacker_lr: float = 4e-3
    attacker: str = DEFAULT_ATTACKER
    attacker_channels: int | None = None
    attacker_every: int = 2
    attacker_noise: float | None = None
    classes: int | None = None
    ramp: float = 0.0
    ema: float = 0.0
    label_smoothing: float = 0.0
    awp: float = 0.0
    bf16: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            InputError: One line that names the flag and what it must be.
        """
        self._check_kinds()
        self._check_ranges()
        self._check_together()

    def _check_kinds(self) -> None:
        """Check that names are known and numbers are numbers, which then are Python's own."""
        find_method(self.method)
        check_model(self.model)
        check_attacker(self.attacker)
        for name, choices in (("order", get_args(Order)), ("schedule", get_args(Schedule))):
            if getattr(self, name) not in choices:
                raise InputError(f"{_flag(name)} {getattr(self, name)!r} must be one of {choices}")
        for name in ("bf16", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{_flag(name)} {getattr(self, name)!r} must be True or False")
        for name in (*_AT_LEAST_ONE, "seed", "attacker_channels", "classes"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _whole(name, value))
        for name in _NUMBERS:
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        # Lists, where they come from JSON.
        object.__setattr__(self, "shape", tuple(_whole("shape", side) for side in self.shape))
        given: Any = self.milestones
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise InputError(f"--milestones {given!r} must be several numbers: (0.5, 0.75)")
        shares = tuple(_number("milestones", share) for share in given)
        object.__setattr__(self, "milestones", shares)

    def _check_ranges(self) -> None:
        """Check each number by itself."""
        check_seed(self.seed)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"--shape {self.shape} must be channels, height and width")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise InputError(f"{_flag(name)} {getattr(self, name)} must be at least 1")
        if self.classes is not None and self.classes < 2:
            raise InputError(f"--classes {self.classes} must be at least 2")
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{_flag(name)} {getattr(self, name)} must be above 0")
        check_eps(self.eps)
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise InputError(f"{_flag(name)} {value} must be 0 or more and finite")
        for name in _FRACTIONS:
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{_flag(name)} {getattr(self, name)} must be from 0 to below 1")
        if not 0 < self.momentum < 1:  # Nesterov's form needs some
            raise InputError(f"--momentum {self.momentum} must be above 0 and below 1")
        if list(self.milestones) != sorted(self.milestones) or not all(
            0 < share < 1 for share in self.milestones
        ):
            raise InputError(
                f"--milestones {self.milestones} must be fractions of the training, rising"
            )

    def _check_together(self) -> None:
        """Check what one setting asks of another."""
        if self.width != 1.0 and self.model != "preact_resnet18":
            raise InputError(
                f"--width {self.width} is for --model preact_resnet18; {self.model} has one width"
            )
        if self.attacker_noise and self.l2l_steps > 1:  # they would leave the ball step by step
            raise InputError("--attacker-noise is for one step; leave it or --l2l-steps out")
        if self.compile and self.awp:
            raise InputError("--compile and --awp do not go together; leave one of them out")
        multiple = 32 if self.attacker == "paper_slim" else 4
        width = self.attacker_channels
        if width is not None and (width < 1 or width % multiple):
            raise InputError(f"--attacker-channels {width} must be a multiple of {multiple}")

    @property
    def radius(self) -> float:
        """Radius of the perturbation in pixels' units, [0, 1]."""
        return self.eps / 255.0

    @property
    def start_noise(self) -> float:
        """Half-width of the noise that grad_l2l starts from in training, in epsilon."""
        if self.attacker_noise is not None:
            return self.attacker_noise
        return 1.0 if self.attacker == "memory" and self.l2l_steps == 1 else 0.0

    @property
    def number_of_classes(self) -> int:
        """Classes of the images, as far as the settings know."""
        return self.classes or (100 if self.data == "cifar100" else 10)

    @property
    def label(self) -> str:
        """The method with all that makes it another one: ``pgd-2``, ``grad_l2l-alternating``."""
        return find_method(self.method).label(self)

    @property
    def folder_name(self) -> str:
        """What version 0.1.0 called :attr:`label`."""
        return self.label

    def own(self) -> dict[str, Any]:
        """Return what decides the run's result besides method and seed: what the method uses."""
        unused = {"method", "seed"}
        uses = find_method(self.method).uses
        if uses is not None:
            unused |= set(OPTIONS) - uses
        return {name: value for name, value in self.to_dict().items() if name not in unused}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        found = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"{_flag(name)} {value!r} must be a whole number") from None


def _number(name: str, value: Any) -> Any:
    """Return a number as Python's own, which a run's record can hold; ``None`` as it is."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    try:
        if isinstance(value, (str, bytes, bool)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{_flag(name)} {value!r:.90} must be a number") from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
