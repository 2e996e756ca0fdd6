"""The rules that move a perturbation, hand-designed and learned, all inside a ball that may grow.

``g`` is the gradient of the attack's loss with respect to the images (uphill), ``eps`` the ball's
radius, ``net`` a network that is trained along.

================= ================================================== ======= =======================
rule              step                                               queries source
================= ================================================== ======= =======================
Stay              ``x``                                              0       standard training
SignSteps         ``x + share eps sign(g)``                          1       FGSM, PGD
Perturber         ``x + eps tanh(net([x, g / max|g|]))``             1       arXiv 1811.01213
ResidualPerturber ``x + eps tanh(net(A) + a sign(g))``, A below      1       this project
ClassStart        the same with ``g`` asked for elsewhere, see there 1       this project
MemoryStart       the same, from the image's own last perturbation   1       this project
LearnedStart      ``x1 + eps sign(g(x1))``, x1 from a Perturber      2       after arXiv 2110.05007
================= ================================================== ======= =======================

The follower *minimises*, so the oracle's gradient is ``-g``. Projections are the game's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l2l_gail.core import ConvPerturber, Oracle, SignDescent, State, UpdateRule, Vars
from l2l_gail.errors import InputError

__all__ = [
    "ClassStart",
    "LearnedStart",
    "MemoryStart",
    "Perturber",
    "ResidualPerturber",
    "SignSteps",
    "StartedPerturber",
    "Stay",
    "images_and_gradient",
    "set_radius",
]

_CLAMP = 3.0
_QUERY_AT = 0.5  # of the start: the mean gradient along a straight way is that at half of it
_START_SCALE = 30.0  # an entry sees one image in ten, and the loss hangs on it a little


class Stay(UpdateRule):
    """The rule that leaves the follower where it is: standard training, no query, no cost."""

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``variables`` and ``state`` as they came."""
        return variables, state

    def set_radius(self, radius: float) -> None:
        """Do nothing: this rule does not move."""


class SignSteps(SignDescent):
    """Steps of a share of epsilon along the gradient's sign: FGSM in one step, PGD in several.

    Args:
        share: Change of a pixel in one step, in epsilon.
        radius: Epsilon, in pixels' units of [0, 1].
    """

    def __init__(self, share: float, radius: float) -> None:
        super().__init__(share * radius)
        self.share = share

    def set_radius(self, radius: float) -> None:
        """Scale the step to another epsilon."""
        self.lr = self.share * radius


class Perturber(ConvPerturber):
    """The paper's attacker, whose one step may use up the ball; see ``ConvPerturber``."""

    def set_radius(self, radius: float) -> None:
        """Scale the step to another epsilon."""
        self.step_size = radius


class ResidualPerturber(UpdateRule):
    """A network beside a direct path for the gradient's sign: ``x + eps tanh(net(A) + a sign(g))``.

    ``A = [2x - 1, clamp(g / rms(g), -3, 3)]``, the root mean square over each image alone; ``a`` is
    learned from 1. Where the inner problem is nearly linear the sign is the best answer there is,
    and a network that has to build it out of convolutions stays below it; here it is given, and the
    network learns only what to do otherwise.

    Args:
        net: Maps ``(B, 2C, H, W)`` to ``(B, C, H, W)``.
        radius: Epsilon, in pixels' units of [0, 1].
    """

    def __init__(self, net: nn.Module, radius: float) -> None:
        super().__init__(radius=radius)
        self.net = net
        self.radius = radius
        self.sign_weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return the perturbed images ``{"x": (B, C, H, W)}`` and the unchanged (empty) state."""
        x = variables["x"]
        ascent = -oracle(variables)["x"]
        z = self.net(images_and_gradient(x, ascent)) + self.sign_weight * ascent.sign()
        return {"x": x + self.radius * z.tanh()}, state

    def set_radius(self, radius: float) -> None:
        """Scale the step to another epsilon."""
        self.radius = radius


class StartedPerturber(UpdateRule):
    """The residual attacker, which asks its one question on the way to a start.

    ::

        g  = gradient at x + eps s / 2  (inside [0, 1])
        x' = x + eps tanh(net([A, s]) + a sign(g) + b s)

    with a start ``s`` in [-1, 1] for each image; ``a``, ``b`` and ``net`` are learned, and ``A`` is
    as for :class:`ResidualPerturber`. The network sees the start as well, and so can undo what the
    start did to the gradient where it does not suit the image.

    Over a ball of radius eps the loss rises by the gradient *on the way*, not by that at its
    centre: PGD-2 spends a query to get there.

    Args:
        net: Maps ``(B, 3C, H, W)`` to ``(B, C, H, W)``.
        radius: Epsilon, in pixels' units of [0, 1].
        config: What else the rule is made from.
    """

    def __init__(self, net: nn.Module, radius: float, **config: Any) -> None:
        super().__init__(radius=radius, **config)
        self.net = net
        self.radius = radius
        # From 2 nearly the whole ball is used at once: tanh(2) = 0.96, tanh(1) = 0.76.
        self.sign_weight = nn.Parameter(torch.tensor(2.0))
        self.start_weight = nn.Parameter(torch.tensor(0.5))

    def start(self, state: State) -> Tensor:
        """Return the start of each image, ``(B, C, H, W)`` in [-1, 1]."""
        raise NotImplementedError

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return the perturbed images ``{"x": (B, C, H, W)}`` and the unchanged state."""
        x, start = variables["x"], self.start(state)
        there = (x + _QUERY_AT * self.radius * start.detach()).clamp(0.0, 1.0)
        ascent = -oracle({"x": there})["x"]
        z = self.net(images_and_gradient(x, ascent, start))
        z = z + self.sign_weight * ascent.sign() + self.start_weight * start
        return {"x": x + self.radius * z.tanh()}, state

    def set_radius(self, radius: float) -> None:
        """Scale the step to another epsilon."""
        self.radius = radius


class ClassStart(StartedPerturber):
    """From a start learned for the image's class, ``s = tanh(c u[y])``.

    One image-sized ``u[y]`` a class, from zero. What a class gains by the same perturbation in all
    its images gets halfway there, on the average, for nothing. The start is that of Pan et al. 2024
    (AAAI, "Adversarial Initialization with Universal Adversarial Perturbation"), where it moves by
    the sign of a momentum and FGSM follows; here the meta-gradient trains it, through its share of
    the sum.

    The labels have to be among the variables (``ImageGame(labelled=True)``); they are kept in the
    state for further steps.

    Args:
        net: Maps ``(B, 3C, H, W)`` to ``(B, C, H, W)``.
        radius: Epsilon, in pixels' units of [0, 1].
        classes: Number of classes.
        shape: Of an image, ``(C, H, W)``.
    """

    def __init__(
        self, net: nn.Module, radius: float, classes: int, shape: tuple[int, int, int]
    ) -> None:
        super().__init__(net, radius, classes=classes, shape=list(shape))
        self.starts = nn.Parameter(torch.zeros(classes, *shape))

    def init(self, variables: Vars) -> State:
        """Return the labels."""
        return {"labels": variables["labels"]}

    def start(self, state: State) -> Tensor:
        """Return the start of each image's class."""
        # tanh before the look-up, and channels last as the images are: a tenth of the time.
        starts = (_START_SCALE * self.starts).tanh().permute(0, 2, 3, 1)
        start = F.embedding(state["labels"], starts.flatten(1))  # (B, H W C)
        return start.unflatten(1, starts.shape[1:]).permute(0, 3, 1, 2)


class MemoryStart(StartedPerturber):
    """From the image's own last perturbation, ``s = sign(x' - x)`` of the epoch before.

    A memory that a recurrent optimizer has, image by image, across the epochs: what raised the loss
    of an image raises it an epoch later in about the same places, so the question is asked near
    where PGD-2 asks its second one. Perturbations carried from epoch to epoch are Zheng et al.'s
    (2020, ATTA, arXiv 1912.11969) and Jia et al.'s (2022, FGSM-PGI, arXiv 2207.08859), as the start
    of a step; here they say where to ask, and a network makes the answer from both.

    The signs have to be among the variables as ``"start"`` (``ImageGame.memory``); an image that is
    not in the memory has none, ``s = 0``.
    """

    def init(self, variables: Vars) -> State:
        """Return the signs."""
        known = variables.get("start")
        return {"start": torch.zeros_like(variables["x"]) if known is None else known}

    def start(self, state: State) -> Tensor:
        """Return the signs."""
        signs: Tensor = state["start"]
        return signs


class LearnedStart(UpdateRule):
    """A learned rule chooses the point, one step of epsilon along the sign there does the rest.

    The relative of FGSM-SDI (Jia et al. 2021, arXiv 2110.05007): there a generator sees the image
    and the sign of its gradient and writes the start of FGSM. Both together are projected once, by
    the game, as there. The last step's gradient enters as data, so the start is trained through the
    sum alone, again as there.

    Args:
        start: The learned rule, of one query.
        radius: Epsilon, in pixels' units of [0, 1].
    """

    def __init__(self, start: UpdateRule, radius: float) -> None:
        super().__init__(radius=radius)
        self.start = start
        self.radius = radius

    @property
    def net(self) -> nn.Module:
        """The network of the start."""
        return self.start.net  # type: ignore[return-value]

    def init(self, variables: Vars) -> State:
        """Return the state of the start's rule."""
        return self.start.init(variables)

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return the perturbed images ``{"x": (B, C, H, W)}`` and the start's state."""
        started, state = self.start(variables, oracle, state)
        step = {name: -self.radius * g.sign() for name, g in oracle(started).items()}
        return {name: tensor + step[name] for name, tensor in started.items()}, state

    def set_radius(self, radius: float) -> None:
        """Scale both moves to another epsilon."""
        self.radius = radius
        set_radius(self.start, radius)


def images_and_gradient(x: Tensor, ascent: Tensor, *further: Tensor) -> Tensor:
    """Return ``[2x - 1, clamp(g / rms(g), -3, 3)]``, what a residual attacker's network sees.

    Args:
        x: Images in [0, 1], ``(B, C, H, W)``.
        ascent: The loss's gradient there, same shape.
        further: What it sees besides, each of the same shape.

    Returns:
        Shape ``(B, 2C, H, W)``, and C channels more for each of ``further``.
    """
    rms = ascent.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    gradient = (ascent / rms.clamp_min(1e-18)).clamp(-_CLAMP, _CLAMP)
    return torch.cat([2 * x - 1, gradient, *further], dim=1)


def set_radius(rule: UpdateRule, radius: float) -> None:
    """Let a rule's steps follow the ball's radius.

    Raises:
        InputError: If the rule does not say how.
    """
    follow = getattr(rule, "set_radius", None)
    if follow is None:
        raise InputError(
            f"--ramp lets epsilon grow, and {type(rule).__name__} has no set_radius(radius) that "
            "scales its steps; give it one, or leave --ramp out"
        )
    follow(radius)
