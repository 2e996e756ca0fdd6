"""The meta-gradient carried forward: equal to finite differences of the whole course, and flat."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l2l_gail.core import (
    SGD,
    CoordinateMLP,
    Extragradient,
    Game,
    L2LTrainer,
    MatrixRule,
    Oracle,
    State,
    UpdateRule,
    Vars,
    unroll,
)
from l2l_gail.core.forward_mode import ForwardMode
from tests.core.support import assert_alike, hand_over, live_tensors, problem

CURVATURE = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)


class Quadratic(Game):
    """``x'Hx / 2 + b sum(x)`` with a batch ``b`` that changes from step to step."""

    def init_follower(self, batch: float) -> Vars:
        return {"x": torch.tensor([1.0, -2.0], dtype=torch.float64)}

    def follower_loss(self, follower: Vars, batch: float) -> Tensor:
        x = follower["x"]
        return 0.5 * x @ CURVATURE @ x + batch * x.sum()


class HeavyBall(UpdateRule):
    """Gradient descent with a learned rate and a learned momentum: a state that has tangents."""

    def __init__(self, lr: float = 0.1, momentum: float = 0.5) -> None:
        super().__init__(lr=lr, momentum=momentum)
        self.lr = nn.Parameter(torch.tensor(lr, dtype=torch.float64))
        self.momentum = nn.Parameter(torch.tensor(momentum, dtype=torch.float64))

    def init(self, variables: Vars) -> State:
        return {"m": {name: torch.zeros_like(t) for name, t in variables.items()}}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        gradient = oracle(variables)
        m = {name: self.momentum * state["m"][name] + g for name, g in gradient.items()}
        return {name: t - self.lr * m[name] for name, t in variables.items()}, {"m": m}


class LookAhead(Extragradient):
    """Extragradient with a learned rate: two questions in a step, the second on a moved point."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__(lr)
        del self.lr
        self.lr = nn.Parameter(torch.tensor(lr, dtype=torch.float64))


class Regression(Game):
    def __init__(self) -> None:
        self.start, self.loss = problem()

    def init_follower(self, batch: float) -> Vars:
        return self.start

    def follower_loss(self, follower: Vars, batch: float) -> Tensor:
        return (1.0 + batch) * self.loss(follower)


def step_and_momentum() -> MatrixRule:
    return MatrixRule(0.02, layers=4, learn_momentum=True).double()


CASES: list[tuple[UpdateRule, Game]] = [
    (HeavyBall(), Quadratic()),
    (LookAhead(), Quadratic()),
    (step_and_momentum(), Regression()),
    (CoordinateMLP(0.02, learn_network=False).double(), Regression()),
]
IDS = ["heavy-ball", "look-ahead", "matrix", "adam"]


def batches(steps: int) -> list[float]:
    return [0.1 * (t % 3) for t in range(steps)]


def carried(rule: UpdateRule, game: Game, steps: int, **options: Any) -> tuple[L2LTrainer, Tensor]:
    """Walk without learning; return the trainer and the meta-gradient at the last point."""
    parameters = [p for p in rule.parameters() if p.requires_grad]
    trainer = L2LTrainer(
        game,
        rule,
        meta_optimizer=torch.optim.SGD(parameters, lr=0.0),
        persistent=True,
        meta_mode="forward",
        **options,
    )
    for batch in batches(steps):
        stats = trainer.step([batch], [0.3])
    assert trainer.follower is not None
    forward = trainer._forward
    assert forward is not None
    loss, gradients = forward.meta_gradient(
        lambda v: game.meta_loss(v, 0.3), trainer.follower, parameters
    )
    torch.testing.assert_close(stats["meta_loss"], loss)
    gradient = torch.cat([g.reshape(-1) for g in gradients])
    torch.testing.assert_close(stats["meta_gradient_norm"], gradient.norm())
    return trainer, gradient


def whole_course(rule: UpdateRule, game: Game, steps: int) -> float:
    follower = game.init_follower(0.0)
    with torch.no_grad():
        course = unroll(rule, game, follower, rule.init(follower), batches(steps))
        return float(game.meta_loss(course.followers[-1], 0.3))


@pytest.mark.parametrize(("rule", "game"), CASES, ids=IDS)
def test_carried_gradient_is_the_finite_difference_of_the_whole_course(
    rule: UpdateRule, game: Game
) -> None:
    steps, size = 25, 1e-5
    trainer, gradient = carried(rule, game, steps)
    assert float(gradient.abs().min()) > 1e-6
    parameters = [p for p in rule.parameters() if p.requires_grad]
    start = nn.utils.parameters_to_vector(parameters).detach().clone()
    for i in range(len(start)):
        ends = []
        for sign in (1, -1):
            shifted = start.clone()
            shifted[i] += sign * size
            nn.utils.vector_to_parameters(shifted, parameters)
            ends.append(whole_course(rule, game, steps))
        nn.utils.vector_to_parameters(start, parameters)
        assert float(gradient[i]) == pytest.approx((ends[0] - ends[1]) / (2 * size), rel=1e-5)
    assert trainer.skipped == trainer.rejected == 0


def test_carried_gradient_on_a_bowl_is_its_closed_form() -> None:
    """``x_T = (1 - lr a)^T x_0``, its derivative in the rate included, curvature and all."""

    class Bowl(Quadratic):
        def follower_loss(self, follower: Vars, batch: float) -> Tensor:
            return 1.7 / 2 * follower["x"].square().sum()

        def meta_loss(self, follower: Vars, batch: float) -> Tensor:
            return follower["x"].sum()

    rule = HeavyBall(0.07, momentum=0.0)
    _, gradient = carried(rule, Bowl(), 12)
    expected = -1.7 * 12 * (1 - 0.07 * 1.7) ** 11 * (1.0 - 2.0)
    of_lr = dict(zip([n for n, _ in rule.named_parameters()], gradient, strict=True))["lr"]
    assert float(of_lr) == pytest.approx(expected, rel=1e-12)


def test_decay_of_zero_is_the_gradient_through_one_step() -> None:
    _, forgetful = carried(HeavyBall(), Quadratic(), 9, meta_decay=0.0)
    rule = HeavyBall()
    reverse = L2LTrainer(
        Quadratic(),
        rule,
        meta_optimizer=torch.optim.SGD(rule.parameters(), lr=0.0),
        persistent=True,
        second_order=True,
    )
    for batch in batches(8):
        reverse.step([batch], [0.3])
    course = reverse._unroll(reverse._start(batches(9)[-1]), [batches(9)[-1]], learn=True)
    loss = reverse.game.meta_loss(course.followers[-1], 0.3)
    expected = torch.stack(torch.autograd.grad(loss, list(rule.parameters())))
    torch.testing.assert_close(forgetful, expected)


def test_decay_weighs_what_has_been_carried() -> None:
    """On a slope the tangent of the rate is minus the sum of gradients: geometric with decay."""

    class Slope(Quadratic):
        def follower_loss(self, follower: Vars, batch: float) -> Tensor:
            return follower["x"].sum()

    rule = HeavyBall(momentum=0.0)
    rule.momentum.requires_grad_(False)
    _, gradient = carried(rule, Slope(), 6, meta_decay=0.5)
    assert float(gradient) == pytest.approx(-2 * sum(0.5**t for t in range(6)), rel=1e-12)


def test_steps_are_those_of_the_reverse_mode_bit_for_bit() -> None:
    followers = []
    for mode in ("forward", "reverse"):
        rule = step_and_momentum()
        trainer = L2LTrainer(
            Regression(),
            rule,
            meta_optimizer=torch.optim.SGD(rule.parameters(), lr=0.0),
            persistent=True,
            meta_mode=mode,  # type: ignore[arg-type]
        )
        for batch in batches(7):
            trainer.step([batch, batch + 0.1])
        followers.append(trainer.follower)
    for name, tensor in followers[0].items():
        torch.testing.assert_close(followers[1][name], tensor, rtol=1e-12, atol=1e-14)


def learning(**options: Any) -> L2LTrainer:
    torch.manual_seed(0)
    rule = step_and_momentum()
    optimizer = torch.optim.Adam(rule.meta_parameter_groups(3e-3))
    return L2LTrainer(
        Regression(),
        rule,
        meta_optimizer=optimizer,
        persistent=True,
        meta_mode="forward",
        **options,
    )


@pytest.mark.slow
def test_memory_stays_flat() -> None:
    trainer = learning()

    for _ in range(5):
        trainer.step([0.0])
    before = live_tensors()
    for _ in range(40):
        trainer.step([0.0])
    assert live_tensors() == before
    assert trainer.skipped == 0


@pytest.mark.slow
def test_resumed_trainer_goes_on_bit_for_bit() -> None:
    straight, first, second = (learning(meta_decay=0.9, meta_every=2) for _ in range(3))
    for batch in batches(7):
        straight.step([batch])
        first.step([batch])
    hand_over(first, second)
    for batch in batches(7):
        straight.step([batch])
        second.step([batch])
    assert_alike(straight, second)


def test_new_follower_has_no_past() -> None:
    trainer, once = carried(HeavyBall(), Quadratic(), 5)
    trainer.begin(trainer.game.init_follower(0.0))
    for batch in batches(5):
        norm = trainer.step([batch], [0.3])["meta_gradient_norm"]
    torch.testing.assert_close(norm, once.norm())


def test_step_that_is_rejected_takes_its_tangents_along() -> None:
    trainer, _ = carried(HeavyBall(), Quadratic(), 5)
    forward = trainer._forward
    assert forward is not None
    assert forward.tangents
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.step([math.nan])
    assert trainer.rejected == trainer.skipped == 1
    assert forward.tangents == []
    stats = trainer.step([0.1], [0.3])
    assert math.isfinite(stats["meta_gradient_norm"])


@pytest.mark.slow
def test_learning_forward_lengthens_a_step_where_one_step_ahead_looks_no_better() -> None:
    """In a ravine the long view wants a longer step than the greedy one (short-horizon bias)."""

    class Ravine(Game):
        def init_follower(self, batch: Any) -> Vars:
            return {"x": torch.tensor([10.0, 1.0], dtype=torch.float64)}

        def follower_loss(self, follower: Vars, batch: Any) -> Tensor:
            noise = batch * follower["x"][1]
            return 0.5 * (follower["x"] * torch.tensor([0.01, 1.0])).square().sum() + noise

    ends = {}
    for mode in ("forward", "reverse"):
        rule = HeavyBall(0.05, momentum=0.0)
        rule.momentum.requires_grad_(False)
        optimizer = torch.optim.Adam([rule.lr], lr=5e-3)
        trainer = L2LTrainer(
            Ravine(), rule, meta_optimizer=optimizer, persistent=True, meta_mode=mode
        )
        generator = torch.Generator().manual_seed(0)
        for _ in range(400):
            noise = torch.randn((), generator=generator, dtype=torch.float64)
            trainer.step([3.0 * noise], [0.0])
        ends[mode] = float(rule.lr.detach())
    assert ends["forward"] > 1.5 * ends["reverse"]


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (HeavyBall(), {"meta_mode": "sideways"}, "'reverse', 'forward', 'next', not 'sideways'"),
        (HeavyBall(), {"persistent": False}, "for a persistent follower"),
        (HeavyBall(), {"meta_on": "mean"}, "for its last point"),
        (HeavyBall(), {"meta_decay": 1.5}, r"meta_decay must be in \[0, 1\], not 1.5"),
        (CoordinateMLP(0.1), {}, "for 1 to 64 scalars, and CoordinateMLP learns 451"),
    ],
)
def test_what_forward_mode_cannot_do_is_refused_in_one_line(
    rule: UpdateRule, options: dict[str, Any], message: str
) -> None:
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.1)
    options = {"meta_mode": "forward", "persistent": True} | options
    with pytest.raises(ValueError, match=message) as caught:
        L2LTrainer(Quadratic(), rule, meta_optimizer=optimizer, **options)
    assert "\n" not in str(caught.value)


def test_forward_mode_of_a_rule_with_nothing_to_learn_is_the_plain_step() -> None:
    with pytest.raises(ValueError, match="SGD learns 0"):
        ForwardMode(SGD(0.1), 1.0)
    trainer = L2LTrainer(Quadratic(), SGD(0.1), persistent=True, meta_mode="forward")
    assert trainer.step([0.1]) == {}
