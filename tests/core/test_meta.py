"""The meta-gradient: equal to finite differences and closed forms, and good enough to learn by."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from l2l_gail.core import (
    SGD,
    Adam,
    CoordinateMLP,
    Extragradient,
    Game,
    GatedMomentum,
    L2LTrainer,
    Optimistic,
    Oracle,
    State,
    UpdateRule,
    Vars,
    unroll,
)
from l2l_gail.games import Bilinear, play
from tests.core.support import awaken, live_tensors, problem, run, run_torch
from tests.marks import slow


class RegressionGame(Game):
    """The small regression network of the other tests, judged on its own loss."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        self.start, self.loss = problem(dtype)

    def init_follower(self, batch: object) -> Vars:
        return {name: tensor.clone() for name, tensor in self.start.items()}

    def follower_loss(self, follower: Vars, batch: object) -> Tensor:
        return self.loss(follower)


def learned_rules() -> list[tuple[UpdateRule, Game]]:
    generator = torch.Generator().manual_seed(2)
    return [
        (awaken(GatedMomentum(0.05), size=0.1).double(), Bilinear.random(4, 3, generator)),
        (awaken(CoordinateMLP(0.02, hidden=5), size=0.2).double(), RegressionGame()),
    ]


def meta_loss(rule: UpdateRule, game: Game, k: int, *, second_order: bool) -> Tensor:
    """Return the meta-loss after ``k`` steps from a state that two steps have warmed up."""
    batch = game.x_star + 1.0 if isinstance(game, Bilinear) else None
    if isinstance(game, Bilinear):
        follower: Vars = {"y": game.y_star - 0.5}
    else:
        follower = game.init_follower(batch)
    with torch.no_grad():
        course = unroll(Adam(0.05), game, follower, Adam(0.05).init(follower), [batch, batch])
    follower = course.followers[-1]
    batches = [batch] + [None] * (k - 1)
    course = unroll(rule, game, follower, rule.init(follower), batches, second_order=second_order)
    return game.meta_loss(course.followers[-1], course.batches[-1])


def flat(tensors: object) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])  # type: ignore[attr-defined]


@pytest.mark.parametrize(("rule", "game"), learned_rules(), ids=["gated", "coordinate"])
def test_second_order_meta_gradient_is_the_finite_difference(rule: UpdateRule, game: Game) -> None:
    k, size = 3, 1e-5
    parameters = list(rule.parameters())
    exact = flat(torch.autograd.grad(meta_loss(rule, game, k, second_order=True), parameters))
    start = nn.utils.parameters_to_vector(parameters).detach()

    def shifted(direction: Tensor) -> float:
        nn.utils.vector_to_parameters(start + direction, parameters)
        with torch.no_grad():
            return float(meta_loss(rule, game, k, second_order=False))

    generator = torch.Generator().manual_seed(0)
    unit = torch.eye(len(start), dtype=torch.float64)
    directions = [unit[i] for i in torch.randperm(len(start), generator=generator)[:8]]
    directions += [exact / exact.norm()]
    for direction in directions:
        difference = (shifted(size * direction) - shifted(-size * direction)) / (2 * size)
        assert difference == pytest.approx(float(exact @ direction), rel=1e-6, abs=1e-9)
    nn.utils.vector_to_parameters(start, parameters)


@pytest.mark.parametrize(("rule", "game"), learned_rules(), ids=["gated", "coordinate"])
def test_first_order_meta_gradient_points_the_same_way(rule: UpdateRule, game: Game) -> None:
    parameters = list(rule.parameters())
    exact, cheap = (
        flat(torch.autograd.grad(meta_loss(rule, game, 3, second_order=order), parameters))
        for order in (True, False)
    )
    assert float(torch.cosine_similarity(exact, cheap, dim=0)) > 0.99
    assert not torch.equal(exact, cheap)


class LearnableDescent(UpdateRule):
    """Gradient descent whose only parameter is its learning rate."""

    def __init__(self, lr: float) -> None:
        super().__init__(lr=lr)
        self.lr = nn.Parameter(torch.tensor(lr, dtype=torch.float64))

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        gradient = oracle(variables)
        return {name: tensor - self.lr * gradient[name] for name, tensor in variables.items()}, {}


class Bowl(Game):
    """``a/2 (y - y*)^2`` for the follower; the rule is judged by ``y`` itself."""

    def __init__(self, a: float, optimum: float) -> None:
        self.a = a
        self.optimum = optimum

    def follower_loss(self, follower: Vars, batch: object) -> Tensor:
        return self.a / 2 * (follower["y"] - self.optimum).square().sum()

    def meta_loss(self, follower: Vars, batch: object) -> Tensor:
        return follower["y"].sum()


@pytest.mark.parametrize("k", [1, 2, 5, 20])
def test_unroll_of_descent_on_a_bowl_is_its_closed_form(k: int) -> None:
    """``y_k - y* = (1 - lr a)^k (y_0 - y*)``, and so are both its derivatives in ``lr``."""
    lr, a, optimum, start = 0.07, 1.7, -0.4, 2.0
    gap = start - optimum
    slopes = {
        True: -a * k * (1 - lr * a) ** (k - 1) * gap,
        # Gradients as data: the derivative is minus the sum of the gradients that were seen.
        False: -sum(a * (1 - lr * a) ** t * gap for t in range(k)),
    }
    for second_order, slope in slopes.items():
        rule, game = LearnableDescent(lr), Bowl(a, optimum)
        follower = {"y": torch.tensor([start], dtype=torch.float64)}
        course = unroll(rule, game, follower, {}, [None] * k, second_order=second_order)
        end = course.followers[-1]
        assert float(end["y"].detach()) - optimum == pytest.approx((1 - lr * a) ** k * gap)
        (measured,) = torch.autograd.grad(game.meta_loss(end, None), [rule.lr])
        assert float(measured) == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("k", [1, 4])
def test_unroll_against_a_leader_that_stands_still_is_its_closed_form(k: int) -> None:
    """On ``(x - x*)'A(y - y*)`` the follower's gradient is constant: ``y_k = y + k lr A'x``."""
    game = Bilinear.random(3, 2, torch.Generator().manual_seed(0), leader_lr=0.0)
    rule = LearnableDescent(0.3)
    x, y = game.x_star + 1.0, game.y_star + 2.0
    end = unroll(rule, game, {"y": y}, {}, [x, *[None] * (k - 1)]).followers[-1]["y"]
    pull = torch.einsum("nij,ni->nj", game.matrix, x - game.x_star)
    torch.testing.assert_close(end.detach(), y + k * 0.3 * pull)


def test_repeated_batch_is_the_leaders_response() -> None:
    game = Bilinear.random(2, 2, torch.Generator().manual_seed(0), leader_lr=0.2)
    rule = LearnableDescent(0.3)
    x, y = game.x_star + 1.0, game.y_star + 2.0
    course = unroll(rule, game, {"y": y}, {}, [x, None, None])
    for _ in range(3):
        y = y + 0.3 * game.gradient_y(x, y)
        x = x - 0.2 * game.gradient_x(x, y)
    torch.testing.assert_close(course.followers[-1]["y"].detach(), y)
    torch.testing.assert_close(course.batches[-1].detach(), x)


# The residual on Adam.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coordinate_rule_starts_as_adam_bit_for_bit(dtype: torch.dtype) -> None:
    variables, loss = problem(dtype)
    learned = run(CoordinateMLP(3e-3), variables, loss, 20)
    core = run(Adam(3e-3), variables, loss, 20)
    other = run_torch(lambda p: torch.optim.Adam(p, lr=3e-3), variables, loss, 20)
    for a, b, c in zip(learned, core, other, strict=True):
        for name in variables:
            assert torch.equal(a[name], b[name])
            torch.testing.assert_close(a[name], c[name], rtol=1e-6, atol=2e-7)


def test_coordinate_rule_at_meta_rate_zero_stays_adam_bit_for_bit() -> None:
    game = RegressionGame(torch.float32)
    rule = CoordinateMLP(3e-3)
    idle = L2LTrainer(
        game,
        rule,
        meta_optimizer=torch.optim.Adam(rule.meta_parameter_groups(0.0)),
        persistent=True,
    )
    adam = L2LTrainer(game, Adam(3e-3), persistent=True)
    for _ in range(20):
        idle.step([None])
        adam.step([None])
        assert idle.follower is not None
        assert adam.follower is not None
        for name, tensor in adam.follower.items():
            assert torch.equal(idle.follower[name], tensor)


@pytest.mark.parametrize(
    ("step", "network", "moved"),
    [
        (True, True, {"log_step", "w3", "b3"}),
        (True, False, {"log_step"}),
        (False, True, {"w3", "b3"}),
    ],
)
def test_first_meta_update_moves_the_head_and_the_step_where_they_are_learned(
    step: bool, network: bool, moved: set[str]
) -> None:
    """Behind a head of zeros the other layers have no gradient yet."""
    game = RegressionGame(torch.float32)
    rule = CoordinateMLP(3e-3, learn_step=step, learn_network=network)
    before = {name: p.detach().clone() for name, p in rule.named_parameters()}
    optimizer = torch.optim.Adam(rule.meta_parameter_groups(1e-3))
    trainer = L2LTrainer(game, rule, meta_optimizer=optimizer, persistent=True)
    trainer.step([None])
    after = dict(rule.named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == moved


def test_learned_step_grows_where_adam_is_too_slow() -> None:
    """At a hundredth of a good rate the rule turns its own step up and overtakes Adam."""
    game = RegressionGame(torch.float32)
    rule = CoordinateMLP(1e-4)
    optimizer = torch.optim.Adam(rule.meta_parameter_groups(3e-3))
    learned = L2LTrainer(game, rule, meta_optimizer=optimizer, persistent=True)
    adam = L2LTrainer(game, Adam(1e-4), persistent=True)
    for _ in range(200):
        learned.step([None])
        adam.step([None])
    assert learned.follower is not None
    assert adam.follower is not None
    start = float(game.loss(game.start))
    gained = [start - float(game.loss(t.follower)) for t in (learned, adam) if t.follower]
    assert gained[0] > 3 * gained[1] > 0
    assert float(rule.diagnostics(learned.state)["global_step"]) > 2


# Learning to play.


def train_follower(seed: int, meta_steps: int) -> GatedMomentum:
    """Meta-train a follower on random bilinear games with random equilibria."""
    rule = GatedMomentum(0.1, seed=seed).double()
    optimizer = torch.optim.Adam(rule.meta_parameter_groups(1e-2))
    generator = torch.Generator().manual_seed(seed)
    horizon, k = 100, 20
    trainer = None
    for step in range(meta_steps):
        if step % (horizon // k) == 0:
            # Wider couplings than those of the test, to keep a margin to the edge of stability.
            game = Bilinear.random(64, 4, generator, coupling=(0.4, 1.8))
            start = torch.randn(2, 64, 4, generator=generator, dtype=torch.float64)
            trainer = L2LTrainer(
                game, rule, meta_optimizer=optimizer, persistent=True, meta_on="mean"
            )
            trainer.begin({"y": game.y_star + start[1]})
            batch = game.x_star + start[0]
        assert trainer is not None
        trainer.step([batch] + [None] * (k - 1))
        batch = trainer.last_batch
    return rule


@pytest.mark.slow
def test_learned_follower_beats_extragradient_by_orders_of_magnitude() -> None:
    """On unseen games with random equilibria, at five times the horizon it was trained for."""
    torch.manual_seed(0)
    rule = train_follower(seed=0, meta_steps=100)
    generator = torch.Generator().manual_seed(1000)
    game = Bilinear.random(128, 4, generator)
    x = game.x_star + torch.randn(128, 4, generator=generator, dtype=torch.float64)
    y = game.y_star + torch.randn(128, 4, generator=generator, dtype=torch.float64)

    def ratios(rules: UpdateRule | tuple[UpdateRule, UpdateRule]) -> tuple[float, float]:
        course = play(game, rules, x, y, 500)
        assert course.diverged_at is None
        return tuple(  # type: ignore[return-value]
            float((course.distances[t] / course.distances[0]).log().mean().exp())
            for t in (100, 500)
        )

    learned = ratios((SGD(0.1), rule))
    extragradient = ratios(Extragradient(0.1))
    assert extragradient[0] == pytest.approx(0.60, abs=0.05)
    assert learned[0] < 0.05
    assert learned[1] < 1e-3 * extragradient[1]
    assert learned[1] < 1e-2 * learned[0]


# Safety.


def test_diverging_follower_is_reported_and_its_last_finite_state_kept() -> None:
    lr, gain = 0.1, 19.0
    coupling = 2 * 2 / (lr * (1 + 2 * gain) ** 0.5)  # twice the bound of stability
    one = torch.ones(1, dtype=torch.float64)
    game = Bilinear(coupling * one[None], 0.3 * one, -0.2 * one, leader_lr=lr)
    trainer = L2LTrainer(game, Optimistic(lr, gain), persistent=True)
    trainer.begin({"y": 2 * one})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batch = one
        for _ in range(1500):
            trainer.step([batch])
            batch = trainer.last_batch
    (warning,) = caught  # one, however many steps were rejected
    assert "not taken; lower the learning rate" in str(warning.message)
    assert trainer.rejected > 1
    assert trainer.follower is not None
    assert torch.isfinite(trainer.follower["y"]).all()
    course = play(game, (SGD(lr), Optimistic(lr, gain)), one, 2 * one, 1500)
    assert course.diverged_at is not None


@pytest.mark.slow
@pytest.mark.parametrize("second_order", [slow(False), True])
def test_memory_stays_flat_over_many_commits(second_order: bool) -> None:
    game = RegressionGame(torch.float32)
    rule = CoordinateMLP(3e-3)
    optimizer = torch.optim.Adam(rule.meta_parameter_groups(1e-3))
    trainer = L2LTrainer(
        game, rule, meta_optimizer=optimizer, persistent=True, second_order=second_order
    )

    for _ in range(5):
        trainer.step([None])
    before = live_tensors()
    for _ in range(50):
        trainer.step([None])
    assert live_tensors() <= before  # what other tests have left may go meanwhile
    assert trainer.follower is not None
    for tensor in (*trainer.follower.values(), *trainer.state.values()):
        assert not isinstance(tensor, Tensor) or tensor.grad_fn is None
