"""Everything that determines a run, checked before any work starts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from l2l_gail.errors import InputError
from l2l_gail.runs import check_seed

from .attackers import ATTACKERS
from .models import MODELS
from .registry import find_method

__all__ = ["DEFAULT_ATTACKER", "METHODS", "Order", "Schedule", "Settings"]

Order = Literal["fused", "alternating"]
Schedule = Literal["one_cycle", "steps"]

METHODS = ("standard", "fgsm_rs", "pgd", "grad_l2l")
"""What ``--method all`` compares; the whole table is ``registry.method_names()``."""

DEFAULT_ATTACKER = "residual"
"""The shape that labels do not name."""

_AT_LEAST_ONE = ("epochs", "batch_size", "pgd_steps", "l2l_steps", "free_replays")
_POSITIVE = ("width", "eps", "trades_beta", "lr", "attacker_lr")
_FRACTIONS = ("ramp", "ema", "label_smoothing", "awp")


@dataclass(frozen=True)
class Settings:
    """One training run; two runs of equal settings on one CPU give equal weights, bit for bit.

    Attributes:
        method: What moves the perturbation; a name of the table of methods.
        data: Name of the dataset.
        seed: Seed of weights, order, augmentation and random starts.
        epochs: Passes over the training images.
        batch_size: Images a step.
        model: Name of the classifier.
        width: Factor on the classifier's width, for ``preact_resnet18``.
        shape: Channels, height and width of the images; checked against the data.
        eps: Radius of the perturbation, in 1/255.
        pgd_steps: Inner steps of ``pgd`` and ``trades``.
        trades_beta: Weight of the divergence in ``trades``.
        free_replays: Steps of ``free`` on each batch in a row; an epoch then shows one image in so
            many, each so many times.
        l2l_steps: Inner steps of ``grad_l2l``.
        order: Whether classifier and attacker share one backward pass, or take turns.
        lr: Peak learning rate of the classifier's one-cycle schedule (SGD).
        schedule: ``one_cycle`` rises linearly to ``lr`` over the first 30 % and falls to 0;
            ``steps`` divides ``lr`` by ten at each of the ``milestones``.
        milestones: Fractions of the training.
        momentum: Of SGD.
        weight_decay: Of SGD.
        attacker_lr: Learning rate of the attacker (Adam).
        attacker: Shape of the learned attacker, a name of ``attackers.ATTACKERS``.
        attacker_channels: Width of the attacker; ``None`` takes the shape's own.
        ramp: Fraction of the training over which epsilon grows linearly from 0; 0 has it whole from
            the first step.
        ema: Decay of the weights' exponential moving average, which is then what is judged; 0
            judges the weights themselves.
        awp: Size of the adversarial perturbation of the weights, relative to their norms, for any
            method (the authors': 0.01 with ``pgd``, 0.005 with ``trades``); 0 does without.
        label_smoothing: Probability that the classifier's targets spread evenly over all classes.
        bf16: Whether training computes the classifier under bfloat16 autocast (CUDA).
        compile: Whether training and judging run the classifier through ``torch.compile``; not with
            ``awp``, which exchanges its weights.
    """

    method: str
    data: str
    seed: int = 0
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
        find_method(self.method)
        object.__setattr__(self, "shape", tuple(self.shape))  # a list, where it comes from JSON
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"--shape {self.shape} must be channels, height and width")
        if self.model not in MODELS:
            raise InputError(f"unknown model {self.model!r}; known: {', '.join(MODELS)}")
        if self.width != 1.0 and self.model != "preact_resnet18":
            raise InputError(
                f"--width {self.width} is for --model preact_resnet18; {self.model} has one width"
            )
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise InputError(f"{_flag(name)} {getattr(self, name)} must be at least 1")
        check_seed(self.seed)
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{_flag(name)} {getattr(self, name)} must be above 0")
        if self.eps > 255:
            raise InputError(f"--eps {self.eps} is in 1/255 and at most 255 (8 is the usual one)")
        object.__setattr__(self, "milestones", tuple(self.milestones))
        if list(self.milestones) != sorted(self.milestones) or not all(
            0 < share < 1 for share in self.milestones
        ):
            raise InputError(
                f"--milestones {self.milestones} must be fractions of the training, rising"
            )
        for name in _FRACTIONS:
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{_flag(name)} {getattr(self, name)} must be from 0 to below 1")
        if self.compile and self.awp:
            raise InputError("--compile and --awp do not go together; leave one of them out")
        if self.attacker not in ATTACKERS:
            raise InputError(f"unknown attacker {self.attacker!r}; known: {', '.join(ATTACKERS)}")
        multiple = 32 if self.attacker == "paper_slim" else 4
        width = self.attacker_channels
        if width is not None and (width < 1 or width % multiple):
            raise InputError(f"--attacker-channels {width} must be a multiple of {multiple}")

    @property
    def radius(self) -> float:
        """Radius of the perturbation in pixels' units, [0, 1]."""
        return self.eps / 255.0

    @property
    def label(self) -> str:
        """The method with all that makes it another one: ``pgd-2``, ``grad_l2l-alternating``."""
        return find_method(self.method).label(self)

    @property
    def folder_name(self) -> str:
        """Folder of the method's runs: the flag's value, or the label where it is another game."""
        return "pgd" if self.label == "pgd-2" else self.label

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        found = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
