"""Two-player games whose behaviour is known in closed form: what the rules are tested against.

``min_x max_y f(x, y)``; the leader is ``x``, the follower is ``y``. Players are tensors of shape
``(..., d)``; leading dimensions are independent games, played side by side.

============= ======================================== ===========================================
game          ``f(x, y)``                              what is known
============= ======================================== ===========================================
Bilinear      ``(x - x*)' A (y - y*)``                 GDA spirals out, extragradient converges
Quadratic     ``a/2 |x|^2 + b x'y - a/2 |y|^2``         strongly convex-concave; all converge
DiracGAN      ``-softplus(-y x) - softplus(0)``        the smallest GAN, Mescheder et al. 2018
============= ======================================== ===========================================

The equilibrium should be drawn at random in tests and in training: with it at 0, weight decay
passes for stabilisation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from l2l_gail.core.game import Game
from l2l_gail.core.oracle import FieldOracle, Oracle
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import Vars

__all__ = ["AnalyticGame", "Bilinear", "Course", "DiracGAN", "Quadratic", "play"]


class AnalyticGame(Game):
    """A zero-sum game given by its value ``f`` and its partial gradients.

    As a :class:`~l2l_gail.core.game.Game` the follower is ``{"y": y}`` and a batch is the leader's
    point ``x``; the leader answers by a gradient step of size ``leader_lr``. The meta-loss is the
    logarithm of the joint field's norm, which is 0-seeking without favouring either player and
    blind to the game's scale; it is another one than the follower's, so that these games, zero-sum
    as they are, train a rule in the alternating order.

    Args:
        x_star: The leader's equilibrium, shape ``(..., d)``.
        y_star: The follower's equilibrium, shape ``(..., d)``.
        leader_lr: The leader's learning rate in :meth:`leader_response`.
    """

    zero_sum = True

    def __init__(self, x_star: Tensor, y_star: Tensor, *, leader_lr: float = 0.1) -> None:
        self.x_star = x_star
        self.y_star = y_star
        self.leader_lr = leader_lr

    @abstractmethod
    def value(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``f(x, y)`` for each game, shape ``(...,)``."""

    @abstractmethod
    def gradient_x(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``grad_x f``, the shape of ``x``."""

    @abstractmethod
    def gradient_y(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``grad_y f``, the shape of ``y``."""

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the Euclidean distance of ``(x, y)`` to the equilibrium, shape ``(...,)``."""
        gap = torch.cat([x - self.x_star, y - self.y_star], dim=-1)
        return gap.norm(dim=-1)

    def follower_loss(self, follower: Vars, batch: Tensor) -> Tensor:
        """Return ``-f`` summed over the games."""
        return -self.value(batch, follower["y"]).sum()

    def leader_loss(self, follower: Vars, batch: Tensor) -> Tensor:
        """Return ``f`` summed over the games."""
        return self.value(batch, follower["y"]).sum()

    def leader_response(self, follower: Vars, batch: Tensor) -> Tensor:
        """Return ``x - leader_lr grad_x f(x, y)``."""
        return batch - self.leader_lr * self.gradient_x(batch, follower["y"])

    def meta_loss(self, follower: Vars, batch: Tensor) -> Tensor:
        """Return the mean over the games of ``log |field|`` at the joint point."""
        y = follower["y"]
        squares = self.gradient_x(batch, y).square() + self.gradient_y(batch, y).square()
        return 0.5 * (squares.sum(-1) + 1e-30).log().mean()


class Bilinear(AnalyticGame):
    """``f = (x - x*)' A (y - y*)``, for each game a matrix of its own.

    Args:
        matrix: ``A``, shape ``(..., d, d)``; its singular values are the coupling strengths.
        x_star: As in :class:`AnalyticGame`.
        y_star: As in :class:`AnalyticGame`.
        leader_lr: As in :class:`AnalyticGame`.
    """

    def __init__(
        self, matrix: Tensor, x_star: Tensor, y_star: Tensor, *, leader_lr: float = 0.1
    ) -> None:
        super().__init__(x_star, y_star, leader_lr=leader_lr)
        self.matrix = matrix

    @classmethod
    def random(
        cls,
        n_games: int,
        dim: int,
        generator: torch.Generator,
        *,
        coupling: tuple[float, float] = (0.5, 1.5),
        leader_lr: float = 0.1,
        dtype: torch.dtype = torch.float64,
    ) -> Bilinear:
        """Return random games: couplings uniform in a range, equilibria standard normal."""
        shape = (n_games, dim, dim)
        u = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=dtype)).Q
        v = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=dtype)).Q
        low, high = coupling
        s = low + (high - low) * torch.rand(n_games, dim, generator=generator, dtype=dtype)
        stars = torch.randn(2, n_games, dim, generator=generator, dtype=dtype)
        return cls((u * s[:, None, :]) @ v, stars[0], stars[1], leader_lr=leader_lr)

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``(x - x*)' A (y - y*)``."""
        return ((x - self.x_star) * self.gradient_x(x, y)).sum(-1)

    def gradient_x(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``A (y - y*)``."""
        return (self.matrix @ (y - self.y_star)[..., None])[..., 0]

    def gradient_y(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``A' (x - x*)``."""
        return (self.matrix.mT @ (x - self.x_star)[..., None])[..., 0]


class Quadratic(AnalyticGame):
    """The strongly-convex-strongly-concave game ``a/2 |x|^2 + b x'y - a/2 |y|^2``, shifted.

    Args:
        a: Curvature, positive.
        b: Coupling.
        x_star: As in :class:`AnalyticGame`.
        y_star: As in :class:`AnalyticGame`.
        leader_lr: As in :class:`AnalyticGame`.
    """

    def __init__(
        self, a: float, b: float, x_star: Tensor, y_star: Tensor, *, leader_lr: float = 0.1
    ) -> None:
        super().__init__(x_star, y_star, leader_lr=leader_lr)
        self.a = a
        self.b = b

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``a/2 |x|^2 + b x'y - a/2 |y|^2`` around the equilibrium."""
        x, y = x - self.x_star, y - self.y_star
        return (self.a / 2 * (x * x - y * y) + self.b * x * y).sum(-1)

    def gradient_x(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``a x + b y`` around the equilibrium."""
        return self.a * (x - self.x_star) + self.b * (y - self.y_star)

    def gradient_y(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``b x - a y`` around the equilibrium."""
        return self.b * (x - self.x_star) - self.a * (y - self.y_star)


class DiracGAN(AnalyticGame):
    """Mescheder et al. 2018 (arXiv 1801.04406): generator a point ``x``, discriminator ``y x``.

    ``f(x, y) = h(y x) + h(-y c)`` with ``h(t) = -log(1 + exp(-t))`` and the data at ``c``. With
    ``c = 0`` the game is the classic unstable one; elsewhere the data make it strictly concave in
    ``y``. An R1 penalty ``-r1/2 y^2`` on the discriminator damps it, critically at ``r1 = 1``.

    Args:
        data: ``c``, shape ``(..., 1)``, also the equilibrium of the generator.
        r1: Weight of the R1 penalty.
        leader_lr: As in :class:`AnalyticGame`.
    """

    def __init__(self, data: Tensor, *, r1: float = 0.0, leader_lr: float = 0.1) -> None:
        super().__init__(data, torch.zeros_like(data), leader_lr=leader_lr)
        self.data = data
        self.r1 = r1

    def value(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``h(y x) + h(-y c) - r1/2 y^2``."""
        h = torch.nn.functional.logsigmoid
        return (h(y * x) + h(-y * self.data) - self.r1 / 2 * y * y).sum(-1)

    def gradient_x(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``h'(y x) y``."""
        return torch.sigmoid(-y * x) * y

    def gradient_y(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``h'(y x) x - h'(-y c) c - r1 y``."""
        return torch.sigmoid(-y * x) * x - torch.sigmoid(y * self.data) * self.data - self.r1 * y


@dataclass
class Course:
    """A game's course.

    Attributes:
        xs: Leader's points, one before each step and one after the last, each ``(..., d)``.
        ys: Follower's points likewise.
        distances: Distance to the equilibrium likewise, each ``(...,)``.
        diverged_at: First step after which a distance exceeded a million times the first one or
            was not finite; ``None`` if that never happened. The course stops there.
    """

    xs: list[Tensor] = field(default_factory=list)
    ys: list[Tensor] = field(default_factory=list)
    distances: list[Tensor] = field(default_factory=list)
    diverged_at: int | None = None

    def record(self, game: AnalyticGame, x: Tensor, y: Tensor) -> bool:
        """Note a point; return whether the game may go on."""
        self.xs.append(x)
        self.ys.append(y)
        self.distances.append(game.distance(x, y))
        first, last = self.distances[0], self.distances[-1]
        if bool((last <= 1e6 * first).all()):  # false for NaN too
            return True
        self.diverged_at = len(self.distances) - 1
        return False


def play(
    game: AnalyticGame,
    rules: UpdateRule | tuple[UpdateRule, UpdateRule],
    x: Tensor,
    y: Tensor,
    steps: int,
    *,
    order: str = "follower_first",
) -> Course:
    """Play an analytic game by given rules and report whether it diverged.

    Args:
        game: The game.
        rules: One rule that moves both players at once on the joint field (simultaneously), or
            a leader's and a follower's rule.
        x: The leader's start, shape ``(..., d)``.
        y: The follower's start, shape ``(..., d)``.
        steps: Number of steps of each player.
        order: With two rules: ``"follower_first"`` (the leader answers the moved follower) or
            ``"simultaneous"`` (both answer the last point).

    Returns:
        The course of the game, up to ``steps`` steps.

    Raises:
        ValueError: For another ``order``.
    """
    if order not in ("follower_first", "simultaneous"):
        raise ValueError(f"order must be 'follower_first' or 'simultaneous', not {order!r}")
    step = _joint(game, rules) if isinstance(rules, UpdateRule) else _in_turn(game, rules, order)
    course = Course()
    with torch.no_grad():
        going = course.record(game, x, y)
        while going and len(course.xs) <= steps:
            x, y = step(x, y)
            going = course.record(game, x, y)
    return course


Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _joint(game: AnalyticGame, rule: UpdateRule) -> Step:
    def joint_field(v: Vars) -> Vars:
        return {"x": game.gradient_x(v["x"], v["y"]), "y": -game.gradient_y(v["x"], v["y"])}

    oracle = FieldOracle(joint_field)
    state = None

    def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal state
        both = {"x": x, "y": y}
        both, state = rule(both, oracle, rule.init(both) if state is None else state)
        return both["x"], both["y"]

    return step


def _in_turn(game: AnalyticGame, rules: tuple[UpdateRule, UpdateRule], order: str) -> Step:
    leader, follower = rules
    states = None

    def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal states
        if states is None:
            states = leader.init({"x": x}), follower.init({"y": y})
        of_x, of_y = states
        oracle = Oracle(lambda v: game.follower_loss(v, x))
        moved_y, of_y = follower({"y": y}, oracle, of_y)
        seen = moved_y["y"] if order == "follower_first" else y
        oracle = Oracle(lambda v: game.leader_loss({"y": seen}, v["x"]))
        moved_x, of_x = leader({"x": x}, oracle, of_x)
        states = of_x, of_y
        return moved_x["x"], moved_y["y"]

    return step
