"""Evolution strategies: estimates of the right gradient, far-sighted where they are persistent."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l2l_gail.core import (
    SGD,
    EvolutionStrategy,
    Game,
    MatrixRule,
    Oracle,
    State,
    UpdateRule,
    Vars,
    unroll,
)


class Point(UpdateRule):
    """A rule whose parameters are all there is to it."""

    def __init__(self, *start: float) -> None:
        super().__init__(start=list(start))
        self.x = nn.Parameter(torch.tensor(start))

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        return variables, state


def strategy(rule: UpdateRule, lr: float = 0.0, **options: Any) -> EvolutionStrategy:
    return EvolutionStrategy(rule, torch.optim.SGD(rule.parameters(), lr=lr), **options)


def x_of(rule: UpdateRule) -> Tensor:
    return rule.get_parameter("x").detach()


def test_candidates_are_pairs_around_the_rule_and_the_rule_stays() -> None:
    rule = Point(1.0, -2.0)
    candidates = strategy(rule, pairs=200, sigma=0.3).ask()
    points = torch.stack([x_of(candidate) for candidate in candidates]).view(200, 2, 2)
    torch.testing.assert_close(points.mean(1), torch.tensor([[1.0, -2.0]]).expand(200, 2))
    assert float((points[:, 0] - x_of(rule)).std()) == pytest.approx(0.3, rel=0.1)
    assert torch.equal(x_of(rule), torch.tensor([1.0, -2.0]))


def test_estimate_is_the_gradient() -> None:
    """Of a quadratic the antithetic estimate is unbiased, whatever sigma."""
    rule = Point(1.0, -2.0)
    curvature = torch.tensor([3.0, 0.5])
    search = strategy(rule, pairs=1000, sigma=0.5)
    losses = [float((0.5 * curvature * x_of(c).square()).sum()) for c in search.ask()]
    gradient = search.tell(losses)
    torch.testing.assert_close(gradient, torch.tensor([3.0, -1.0]), rtol=0, atol=0.4)


def test_rule_goes_downhill_by_the_optimizers_step() -> None:
    rule = Point(1.0, -2.0)
    search = strategy(rule, lr=0.1, pairs=3)
    before = x_of(rule).clone()
    gradient = search.tell([float(x_of(c).square().sum()) for c in search.ask()])
    torch.testing.assert_close(x_of(rule), before - 0.1 * gradient)
    for _ in range(100):
        search.tell([float(x_of(c).square().sum()) for c in search.ask()])
    assert float(x_of(rule).norm()) < 0.1


def influence(theta: float, x: float, steps: int) -> tuple[float, float]:
    """A game whose next loss falls with ``theta`` and whose later losses rise twice as much."""
    loss = 0.0
    for _ in range(steps):
        loss += x - theta
        x = 0.5 * x + theta
    return loss, x


def mean_estimate(persistent: bool, pieces: int, games: int = 150) -> float:
    """Return the mean gradient over the pieces of games of ``pieces`` pieces of one step."""
    search = strategy(Point(0.3), pairs=games, sigma=0.1, persistent=persistent)
    states = [0.0] * (2 * games)
    total = 0.0
    for _ in range(pieces):
        played = [
            influence(float(x_of(c)), x, 1) for c, x in zip(search.ask(), states, strict=True)
        ]
        states = [x for _, x in played]
        total += float(search.tell([loss for loss, _ in played]))
    return total / pieces


@pytest.mark.slow
def test_persistent_strategy_sees_what_pieces_alone_do_not() -> None:
    pieces = 10
    exact = (influence(0.31, 0.0, pieces)[0] - influence(0.29, 0.0, pieces)[0]) / (0.02 * pieces)
    assert exact == pytest.approx(1 - 2 / pieces * 2, abs=0.1)  # uphill in the long run
    assert mean_estimate(persistent=True, pieces=pieces) == pytest.approx(exact, abs=0.3)
    assert mean_estimate(persistent=False, pieces=pieces) == pytest.approx(-1.0, abs=0.3)


def test_game_that_begins_anew_has_no_past() -> None:
    search = strategy(Point(0.0), pairs=2, persistent=True)
    search.ask()
    search.begin(0)
    past = search._sums.clone()
    search.ask()
    assert float(past[0].abs().sum()) == 0 < float(past[1].abs().sum())


def test_pair_with_a_loss_that_is_not_finite_is_left_out_and_counted() -> None:
    rule = Point(1.0)
    search = strategy(rule, lr=0.1, pairs=2, persistent=True)
    search.ask()
    past = search._sums.clone()
    gradient = search.tell([math.nan, 1.0, 2.0, 1.0])
    torch.testing.assert_close(gradient, past[1] / (2 * 0.1**2))
    assert search.skipped == 1
    assert float(search._sums[0]) == 0
    moved = x_of(rule).clone()
    search.ask()
    search.tell([math.inf, 1.0, 1.0, math.nan])
    assert search.skipped == 3
    assert torch.equal(x_of(rule), moved)


def test_gradient_is_the_mean_over_the_pairs_that_are_left() -> None:
    """Of a linear loss each pair gives ``(slope e) e / s^2``, whatever becomes of the others."""
    slope = torch.tensor([3.0, -0.5])
    rule = Point(1.0, -2.0)
    search = strategy(rule, lr=0.1, pairs=4, sigma=0.2, seed=1)
    candidates, before = search.ask(), x_of(rule).clone()
    epsilon = torch.stack([x_of(c) - before for c in candidates[::2]])
    losses = [float((slope * x_of(c)).sum()) for c in candidates]
    losses[0], losses[5] = math.nan, math.inf
    left = epsilon[[1, 3]]
    expected = ((left @ slope)[:, None] * left / 0.2**2).mean(0)
    gradient = search.tell(losses)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(x_of(rule), before - 0.1 * gradient)
    assert search.skipped == 2
    assert torch.equal(search.tell([math.nan] * 8), torch.zeros(2))


def test_resumed_strategy_goes_on_bit_for_bit() -> None:
    def fresh() -> EvolutionStrategy:
        rule = Point(1.0, -2.0)
        return EvolutionStrategy(
            rule, torch.optim.Adam(rule.parameters(), lr=0.1), persistent=True, seed=3
        )

    def go(search: EvolutionStrategy, steps: int) -> None:
        for _ in range(steps):
            search.tell([float(x_of(c).square().sum()) for c in search.ask()])

    straight, first, second = fresh(), fresh(), fresh()
    go(straight, 9)
    go(first, 4)
    file = io.BytesIO()
    torch.save([first.state_dict(), first.rule.state_dict()], file)
    file.seek(0)
    state, rule_state = torch.load(file, weights_only=True)
    second.load_state_dict(state)
    second.rule.load_state_dict(rule_state)
    go(second, 5)
    assert torch.equal(x_of(second.rule), x_of(straight.rule))


@pytest.mark.slow
def test_matrix_rule_finds_its_step_by_the_ends_of_whole_games() -> None:
    """Its start is a hundred times too short for thirty steps."""

    class Bowl(Game):
        def follower_loss(self, follower: Vars, batch: Any) -> Tensor:
            return (follower["w"] - 1.0).square().mean()

    game = Bowl()
    follower = {"w": torch.zeros(4, 4)}

    def loss_of_game(rule: UpdateRule) -> float:
        with torch.no_grad():
            course = unroll(rule, game, follower, rule.init(follower), [None] * 30)
            return float(game.follower_loss(course.followers[-1], None))

    rule = MatrixRule(1e-3)
    start = loss_of_game(rule)
    search = EvolutionStrategy(rule, torch.optim.Adam(rule.parameters(), lr=0.3), sigma=0.3)
    for _ in range(25):
        search.tell([loss_of_game(candidate) for candidate in search.ask()])
    assert loss_of_game(rule) < 0.1 * start


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (SGD(0.1), {}, "SGD has nothing to learn"),
        (Point(0.0), {"pairs": 0}, "must be positive, not 0 and 0.1"),
        (Point(0.0), {"sigma": 0.0}, "must be positive, not 4 and 0.0"),
    ],
)
def test_what_cannot_be_is_refused(rule: UpdateRule, options: Any, message: str) -> None:
    parameters = list(rule.parameters()) or [torch.zeros(1)]
    with pytest.raises(ValueError, match=message):
        EvolutionStrategy(rule, torch.optim.SGD(parameters, lr=0.1), **options)


def test_losses_of_other_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match="8 candidates were asked for, not 3"):
        strategy(Point(0.0)).tell([1.0, 2.0, 3.0])


def test_torchs_default_device_changes_no_candidate() -> None:
    rule = nn.Linear(2, 3)

    def first() -> Tensor:
        strategy = EvolutionStrategy(rule, torch.optim.SGD(rule.parameters(), 0.1), pairs=2)
        return next(iter(strategy.ask()[0].parameters())).detach()

    here = first()
    with torch.device("meta"):
        assert torch.equal(first(), here)
