"""Hand-designed rules behave on analytic games as theory says, to many digits, in float64.

On ``f = s (x - x*)(y - y*)`` every rule here is a linear map of its state, so a player's course
obeys a short linear recurrence. ``contraction`` fits it to the course that was played and returns
its largest root: the rate, free of the oscillation that a ratio of distances would carry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from l2l_gail.core import (
    SGD,
    Extragradient,
    Optimistic,
    Oracle,
    State,
    UpdateRule,
    Vars,
    unroll,
)
from l2l_gail.games import Bilinear, Course, DiracGAN, Quadratic, play

X_STAR, Y_STAR = 0.7, -1.3
RATES = (0.05, 0.1, 0.3, 0.5, 0.9)


def scalar(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def xy_game(coupling: float = 1.0, leader_lr: float = 0.1) -> Bilinear:
    """``coupling (x - x*)(y - y*)`` with an equilibrium away from 0."""
    return Bilinear(
        torch.tensor([[coupling]], dtype=torch.float64),
        scalar(X_STAR),
        scalar(Y_STAR),
        leader_lr=leader_lr,
    )


def start(game: Bilinear | Quadratic) -> tuple[torch.Tensor, torch.Tensor]:
    return game.x_star + 0.8, game.y_star - 0.45


def alternating(follower: UpdateRule, lr: float, steps: int = 24, coupling: float = 1.0) -> Course:
    game = xy_game(coupling)
    return play(game, (SGD(lr), follower), *start(game), steps)


def contraction(course: Course) -> float:
    """Return the largest root of the linear recurrence that the leader's course obeys."""
    gaps = torch.stack([x - X_STAR for x in course.xs])[2:, 0]  # past the first, plain step
    for order in range(1, 5):
        rows = gaps.unfold(0, order + 1, 1)  # (n, order + 1): a window in each row
        scale = rows.abs().amax(dim=1, keepdim=True)
        heard = scale[:, 0] > 1e-6 * scale[0, 0]  # above rounding noise
        rows = (rows / scale)[heard]
        fit = torch.linalg.lstsq(rows[:, :-1], rows[:, -1:], driver="gelsd").solution[:, 0]
        residual = (rows[:, :-1] @ fit - rows[:, -1]).abs().max()
        if residual < 1e-9:
            companion = torch.diag(torch.ones(order - 1, dtype=torch.float64), -1)
            companion[:, -1] = fit
            return float(torch.linalg.eigvals(companion).abs().max())
    raise AssertionError("the course obeys no linear recurrence of four terms")


def radius(matrix: Sequence[Sequence[float]]) -> float:
    return float(torch.linalg.eigvals(torch.tensor(matrix, dtype=torch.float64)).abs().max())


# Both players moved as one, on the joint field.


@pytest.mark.parametrize("lr", RATES)
def test_simultaneous_descent_grows_by_the_same_factor_in_every_step(lr: float) -> None:
    game = xy_game()
    course = play(game, SGD(lr), *start(game), 20)
    distances = torch.stack(course.distances)
    torch.testing.assert_close(
        distances[1:] / distances[:-1],
        torch.full_like(distances[1:], math.sqrt(1 + lr**2)),
        rtol=1e-9,
        atol=0,
    )


@pytest.mark.parametrize("lr", RATES)
def test_extragradient_contracts_by_the_same_factor_in_every_step(lr: float) -> None:
    game = xy_game()
    course = play(game, Extragradient(lr), *start(game), 20)
    distances = torch.stack(course.distances)
    expected = math.sqrt(1 - lr**2 + lr**4)
    torch.testing.assert_close(
        distances[1:] / distances[:-1],
        torch.full_like(distances[1:], expected),
        rtol=1e-9,
        atol=0,
    )
    assert expected < 1


def test_extragradient_is_neutral_at_rate_one() -> None:
    game = xy_game()
    course = play(game, Extragradient(1.0), *start(game), 50)
    torch.testing.assert_close(course.distances[-1], course.distances[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("lr", [0.05, 0.1, 0.3, 0.45])
def test_optimistic_descent_of_both_players(lr: float) -> None:
    game = xy_game()
    course = play(game, Optimistic(lr), *start(game), 24)
    expected = math.sqrt((1 + math.sqrt(1 - 4 * lr**2)) / 2)
    assert contraction(course) == pytest.approx(expected, abs=1e-6)


def test_optimistic_descent_of_both_players_diverges_above_one_over_root_three() -> None:
    game = xy_game()
    below, above = (
        contraction(play(game, Optimistic(lr), *start(game), 24)) for lr in (0.577, 0.58)
    )
    assert below == pytest.approx(0.9991, abs=1e-4)
    assert above == pytest.approx(1.007, abs=1e-3)


# The leader descends plainly and answers the moved follower.


@pytest.mark.parametrize("lr", [0.1, 0.5, 1.5])
@pytest.mark.parametrize("rule", [SGD, Extragradient])
def test_alternating_descent_conserves_its_energy_exactly(
    rule: type[SGD | Extragradient], lr: float
) -> None:
    """A look-ahead of the follower alone changes nothing: its gradient does not depend on it."""
    course = alternating(rule(lr), lr, steps=500)
    x = torch.stack(course.xs) - X_STAR
    y = torch.stack(course.ys) - Y_STAR
    energy = x**2 + y**2 + lr * x * y
    assert float((energy / energy[0] - 1).abs().max()) < 1e-12
    assert len(course.xs) == 501


def test_alternating_descent_diverges_above_rate_two() -> None:
    assert alternating(SGD(2.1), 2.1, steps=300).diverged_at is not None
    assert alternating(SGD(1.9), 1.9, steps=300).diverged_at is None


@pytest.mark.parametrize("lr", RATES)
@pytest.mark.parametrize("gain", [0.25, 0.5, 1.0])
def test_optimistic_follower(lr: float, gain: float) -> None:
    course = alternating(Optimistic(lr, gain), lr)
    matrix: list[list[float]] = [  # state (x, y, x before)
        [1 - lr**2 * (1 + gain), -lr, lr**2 * gain],
        [lr * (1 + gain), 1, -lr * gain],
        [1, 0, 0],
    ]
    assert contraction(course) == pytest.approx(radius(matrix), abs=1e-6)
    if gain < 2 / lr - 1 and lr * math.sqrt(1 + 2 * gain) < 2:
        assert contraction(course) == pytest.approx(math.sqrt(1 - gain * lr**2), abs=1e-6)


@pytest.mark.parametrize("lr", [0.1, 0.3, 0.5])
def test_optimistic_follower_at_critical_gain_contracts_like_a_double_root(lr: float) -> None:
    rho = 1 - lr
    game = xy_game()
    t = int(math.log(1e-9) / math.log(rho))  # late, yet above rounding noise
    course = play(game, (SGD(lr), Optimistic(lr, 2 / lr - 1)), *start(game), t + 1)
    distances = torch.stack(course.distances)
    slope = float(distances[t + 1] / distances[t])
    assert slope == pytest.approx(rho * (1 + 1 / t), abs=2e-3)
    assert slope > rho
    assert contraction(course) == pytest.approx(rho, abs=1e-4)
    extragradient = math.sqrt(1 - lr**2 + lr**4)
    assert rho < extragradient


@pytest.mark.parametrize("gain", [1.0, 9.0, 19.0])
def test_optimistic_follower_is_stable_exactly_up_to_the_bound(gain: float) -> None:
    lr = 0.1
    bound = 2 / math.sqrt(1 + 2 * gain) / lr  # on the coupling
    inside = alternating(Optimistic(lr, gain), lr, 600, coupling=0.98 * bound)
    outside = alternating(Optimistic(lr, gain), lr, 600, coupling=1.02 * bound)
    assert inside.diverged_at is None
    assert float(inside.distances[-1] / inside.distances[0]) < 0.1
    assert outside.diverged_at is not None


def test_order_of_play_decides_whether_an_optimistic_follower_is_stable() -> None:
    lr = 0.1
    game = xy_game()
    rules = (SGD(lr), Optimistic(lr))
    assert contraction(play(game, rules, *start(game), 24)) < 1
    together = play(game, rules, *start(game), 24, order="simultaneous")
    assert contraction(together) == pytest.approx(1.00005, abs=1e-5)


@pytest.mark.parametrize(
    ("momentum", "expected"), [(-0.5, 0.9899), (0.0, 1.0), (0.5, 1.062), (0.9, 1.193)]
)
def test_momentum_of_the_follower_destabilises_and_negative_momentum_stabilises(
    momentum: float, expected: float
) -> None:
    lr = 0.3
    measured = contraction(alternating(SGD(lr, momentum), lr, steps=20))
    matrix: list[
        list[float]
    ] = [  # state (x, y, momentum buffer): the follower first, then the leader
        [1 - lr**2, -lr, -(lr**2) * momentum],
        [lr, 1, lr * momentum],
        [1, 0, momentum],
    ]
    assert measured == pytest.approx(radius(matrix), abs=1e-6)
    assert measured == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("through_the_response", [False, True])
def test_leader_that_sees_an_unrolled_follower(k: int, through_the_response: bool) -> None:
    """Alternating play in which the leader looks K follower steps ahead (Metz et al. 2017).

    Through the response it sees twice the damping; so the two tell a real unroll from a detached
    one.
    """
    lr = 0.1
    game = xy_game()
    rule = SGD(lr)
    x, y = start(game)
    course = Course()
    course.record(game, x, y)
    for _ in range(24):
        y = y + lr * game.gradient_y(x, y)
        x = x.detach().requires_grad_()
        seen = unroll(rule, game, {"y": y}, {}, [x] * k, second_order=through_the_response)
        (gradient,) = torch.autograd.grad(game.leader_loss(seen.followers[-1], x), x)
        x = (x - lr * gradient).detach()
        course.record(game, x, y)
    expected = math.sqrt(1 - (2 if through_the_response else 1) * k * lr**2)
    assert contraction(course) == pytest.approx(expected, abs=1e-6)


# The strongly-convex-strongly-concave game.


def quadratic(a: float, b: float) -> Quadratic:
    return Quadratic(a, b, scalar(X_STAR), scalar(Y_STAR))


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.5, 2.0), (2.0, 0.3)])
def test_strongly_convex_concave_descent_has_its_best_rate_and_its_limit(
    a: float, b: float
) -> None:
    game = quadratic(a, b)
    best = a / (a * a + b * b)
    course = play(game, SGD(best), *start(game), 12)
    ratios = torch.stack(course.distances)
    expected = b / math.hypot(a, b)
    torch.testing.assert_close(
        ratios[1:] / ratios[:-1], torch.full_like(ratios[1:], expected), rtol=1e-6, atol=0
    )
    for share, converges in ((0.97, True), (1.03, False)):
        course = play(game, SGD(share * 2 * best), *start(game), 400)
        assert (float(course.distances[-1]) < float(course.distances[0])) == converges


class BestResponse(UpdateRule):
    """The follower that every learned one would like to be: ``y = y* + b/a (x - x*)``."""

    def __init__(self, ratio: float) -> None:
        super().__init__(ratio=ratio)
        self.ratio = ratio

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        # The loss is a quadratic of curvature a, so one step of length 1/a is exact.
        return {"y": variables["y"] - oracle(variables)["y"] / self.ratio}, state


@pytest.mark.parametrize(("a", "b", "lr"), [(1.0, 1.0, 0.1), (0.5, 2.0, 0.05)])
def test_leader_against_an_exact_follower_contracts_like_the_reduced_problem(
    a: float, b: float, lr: float
) -> None:
    game = quadratic(a, b)
    course = play(game, (SGD(lr), BestResponse(a)), *start(game), 20)
    gaps = torch.stack(course.xs) - game.x_star
    expected = 1 - lr * (a + b * b / a)
    torch.testing.assert_close(
        gaps[1:] / gaps[:-1], torch.full_like(gaps[1:], expected), rtol=1e-9, atol=0
    )


# The Dirac-GAN with the data at 0.


@pytest.mark.parametrize("r1", [0.0, 0.4, 1.0, 2.0])
def test_dirac_gan_field_has_the_eigenvalues_of_mescheder(r1: float) -> None:
    game = DiracGAN(scalar(0.0), r1=r1)

    def field(point: torch.Tensor) -> torch.Tensor:
        x, y = point[:1].requires_grad_(), point[1:].requires_grad_()
        f = game.value(x, y)
        of_x, of_y = torch.autograd.grad(f, (x, y), create_graph=True)
        torch.testing.assert_close(of_x, game.gradient_x(x, y))
        torch.testing.assert_close(of_y, game.gradient_y(x, y))
        return torch.cat([-of_x, of_y])

    jacobian = torch.autograd.functional.jacobian(field, torch.zeros(2, dtype=torch.float64))
    root = torch.sqrt(torch.tensor(r1**2 / 4 - 0.25, dtype=torch.complex128))
    expected = torch.stack([-r1 / 2 + root, -r1 / 2 - root])
    measured = torch.linalg.eigvals(jacobian)
    for value in expected:
        # A double root (critical damping, r1 = 1) is accurate to the root of the rounding error.
        assert float((measured - value).abs().min()) < 1e-6


def test_dirac_gan_diverges_cycles_or_converges() -> None:
    x, y = scalar(0.9), scalar(0.4)
    lr = 0.2
    free, damped = DiracGAN(scalar(0.0)), DiracGAN(scalar(0.0), r1=1.0)
    shifted = DiracGAN(scalar(1.5))

    def ratio(course: Course) -> float:
        return float(course.distances[-1] / course.distances[0])

    assert ratio(play(free, SGD(lr), x, y, 800)) > 1.5
    cycle = torch.stack(play(free, (SGD(lr), SGD(lr)), x, y, 800).distances)
    assert 0.5 < float(cycle.min() / cycle[0])
    assert float(cycle.max() / cycle[0]) < 1.5
    assert ratio(play(damped, SGD(lr), x, y, 800)) < 1e-12
    # Data away from 0 make the follower's problem strictly concave: no test of stability.
    assert ratio(play(shifted, SGD(lr), x, y, 800)) < 0.5


# Diverging games are reported.


def test_play_reports_divergence_and_stops() -> None:
    course = alternating(Optimistic(0.1, 19.0), 0.1, 5000, coupling=5.0)
    assert course.diverged_at is not None
    assert course.diverged_at == len(course.distances) - 1 < 5000
    assert float(course.distances[-1]) > 1e6 * float(course.distances[0])


def test_play_refuses_an_unknown_order() -> None:
    game = xy_game()
    with pytest.raises(ValueError, match="follower_first"):
        play(game, (SGD(0.1), SGD(0.1)), *start(game), 1, order="leader_first")


def test_random_bilinear_games_have_the_couplings_and_equilibria_that_were_asked_for() -> None:
    games = Bilinear.random(500, 3, torch.Generator().manual_seed(0), coupling=(0.5, 1.5))
    couplings = torch.linalg.svdvals(games.matrix)
    assert float(couplings.min()) >= 0.5 - 1e-12
    assert float(couplings.max()) <= 1.5 + 1e-12
    assert float(couplings.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(games.x_star.std()) == pytest.approx(1.0, abs=0.1)
    assert float(games.y_star.std()) == pytest.approx(1.0, abs=0.1)
    torch.testing.assert_close(
        games.distance(games.x_star, games.y_star), torch.zeros(500, dtype=torch.float64)
    )
