"""Rules against ``torch.optim`` and against the closed forms of their steps, in float64."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from l2l_gail.core import (
    SGD,
    Adam,
    ConvPerturber,
    CoordinateMLP,
    Extragradient,
    GatedMomentum,
    MatrixRule,
    Muon,
    Optimistic,
    OptimisticAdam,
    Oracle,
    Prodigy,
    SignDescent,
    UpdateRule,
    Vars,
    normalise_gradient,
    unroll,
)
from tests.core.support import (
    LinearClassifier,
    assert_same_course,
    awaken,
    problem,
    run,
    run_torch,
)

# Parity with torch.optim.


@pytest.mark.parametrize("lr", [1e-3, 0.05])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_sgd_is_torch_sgd(lr: float, momentum: float) -> None:
    variables, loss = problem()
    ours = run(SGD(lr, momentum), variables, loss, 20)
    theirs = run_torch(lambda p: torch.optim.SGD(p, lr=lr, momentum=momentum), variables, loss, 20)
    assert_same_course(ours, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("lr", [1e-3, 0.05])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.999), (0.0, 0.9), (0.95, 0.5)])
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_adam_is_torch_adam(lr: float, betas: tuple[float, float], eps: float) -> None:
    variables, loss = problem()
    ours = run(Adam(lr, betas, eps), variables, loss, 20)
    theirs = run_torch(
        lambda p: torch.optim.Adam(p, lr=lr, betas=betas, eps=eps), variables, loss, 20
    )
    assert_same_course(ours, theirs, rtol=1e-10, atol=1e-12)


def test_adam_is_torch_adam_in_float32() -> None:
    variables, loss = problem(torch.float32)
    ours = run(Adam(3e-3), variables, loss, 50)
    theirs = run_torch(lambda p: torch.optim.Adam(p, lr=3e-3), variables, loss, 50)
    assert_same_course(ours, theirs, rtol=1e-5, atol=1e-6)


def test_adam_does_not_move_a_weight_that_has_no_gradient() -> None:
    def loss(v: Vars) -> Tensor:
        return v["a"].square().sum() + 0.0 * v["dead"].sum()

    for rule in (Adam(0.1), OptimisticAdam(0.1), awaken(CoordinateMLP(0.1, seed=1))):
        start = {"a": torch.ones(2), "dead": torch.ones(2)}
        end = run(rule, start, loss, 3)[-1]
        assert torch.isfinite(end["dead"]).all()
        if not isinstance(rule, CoordinateMLP):
            torch.testing.assert_close(end["dead"], start["dead"], rtol=0, atol=0)


# Closed forms of one or two steps.


def test_optimistic_steps_are_the_formula() -> None:
    variables, loss = problem()
    lr, gain = 0.01, 0.7
    first, second, third = run(Optimistic(lr, gain), variables, loss, 3)
    points = [variables, first, second, third]
    gradients = [Oracle(loss)(point) for point in points]
    for t, (before, after) in enumerate(pairwise(points)):
        for name in variables:
            g, g_before = gradients[t][name], gradients[max(t - 1, 0)][name]
            torch.testing.assert_close(
                after[name], before[name] - lr * (g + gain * (g - g_before)), rtol=0, atol=1e-14
            )


def test_optimistic_with_gain_zero_is_gradient_descent() -> None:
    variables, loss = problem()
    plain = run(SGD(0.02), variables, loss, 10)
    assert_same_course(run(Optimistic(0.02, 0.0), variables, loss, 10), plain, rtol=0, atol=0)


def test_extragradient_is_the_step_of_the_look_ahead_point() -> None:
    variables, loss = problem()
    lr = 0.05
    (moved,) = run(Extragradient(lr), variables, loss, 1)
    look_ahead = run(SGD(lr), variables, loss, 1)[0]
    gradient = Oracle(loss)(look_ahead)
    for name in variables:
        torch.testing.assert_close(moved[name], variables[name] - lr * gradient[name])


def test_optimistic_adam_repeats_the_change_of_adams_direction() -> None:
    variables, loss = problem()
    lr, gain = 0.01, 0.5
    course = run(OptimisticAdam(lr, gain=gain), variables, loss, 6)
    gradients = [Oracle(loss)(point) for point in [variables, *course[:-1]]]
    for name in variables:
        m = v = torch.zeros_like(variables[name])
        directions = []
        for t, g in enumerate((gradient[name] for gradient in gradients), start=1):
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g * g
            directions.append((m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8))
        expected = variables[name]
        for t, d in enumerate(directions):
            expected = expected - lr * (d + gain * (d - directions[max(t - 1, 0)]))
        torch.testing.assert_close(course[-1][name], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("lr", "steps"),
    [(0.03, 1), (0.01, 3), (0.01, 10), (0.025, 4)],
    ids=["fgsm", "pgd-exact", "pgd-10", "pgd-overshoots"],
)
def test_sign_descent_reaches_the_corner_of_the_ball_on_a_linear_classifier(
    lr: float, steps: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(4, 3, 5, 5, generator=generator, dtype=torch.float64)
    weights = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64)
    game = LinearClassifier(weights, epsilon=0.03)
    attack = unroll(SignDescent(lr), game, game.init_follower(clean), {}, [clean] * steps)
    torch.testing.assert_close(
        attack.followers[-1]["x"], clean - 0.03 * weights.sign(), rtol=0, atol=1e-12
    )
    assert attack.queries == steps


# Queries.


@pytest.mark.parametrize(
    ("rule", "per_step"),
    [
        (SignDescent(0.1), 1),
        (SGD(0.1, 0.9), 1),
        (Adam(0.1), 1),
        (Optimistic(0.1), 1),
        (OptimisticAdam(0.1), 1),
        (Extragradient(0.1), 2),
        (Prodigy(), 1),
        (Muon(0.1), 1),
        (MatrixRule(0.1), 1),
        (GatedMomentum(0.1), 1),
        (CoordinateMLP(0.1), 1),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("steps", [1, 4])
def test_queries_are_counted(rule: UpdateRule, per_step: int, steps: int) -> None:
    clean = torch.rand(2, 1, 4, 4)
    game = LinearClassifier(torch.randn(1, 4, 4), 1.0)
    follower = game.init_follower(clean)
    course = unroll(rule, game, follower, rule.init(follower), [clean] * steps)
    assert course.queries == per_step * steps
    assert len(course.followers) == len(course.batches) == steps


@pytest.mark.parametrize(
    ("uses_gradient", "steps", "queries"),
    [(False, 1, 0), (False, 3, 0), (True, 1, 1), (True, 5, 5)],
    ids=["naive", "naive-3", "grad", "5-step"],
)
def test_convolutional_perturber_asks_as_often_as_its_name_says(
    uses_gradient: bool, steps: int, queries: int
) -> None:
    torch.manual_seed(0)
    clean = torch.rand(2, 3, 6, 6)
    game = LinearClassifier(torch.randn(3, 6, 6), 0.1)
    net = nn.Conv2d(6 if uses_gradient else 3, 3, 3, padding=1)
    rule = ConvPerturber(net, 0.1, uses_gradient=uses_gradient)
    course = unroll(rule, game, game.init_follower(clean), {}, [clean] * steps)
    assert course.queries == queries
    assert float((course.followers[-1]["x"] - clean).abs().max().detach()) <= 0.1 + 1e-6


def test_convolutional_perturber_is_fed_the_direction_of_ascent() -> None:
    """With a network that passes its gradient channels on, it is a soft sign ascent."""
    weights = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    game = LinearClassifier(weights, 0.1)
    clean = torch.zeros(2, 3, 4, 4)
    rule = ConvPerturber(_GradientChannels(), 0.1, normaliser="sign")
    moved, _ = rule({"x": clean}, Oracle(lambda v: game.follower_loss(v, clean)), {})
    expected = (-0.1 * math.tanh(1.0) * weights.sign()).expand_as(clean)
    torch.testing.assert_close(moved["x"], expected)


class _GradientChannels(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, inputs.shape[1] // 2 :]


def test_gradient_normalised_per_sample_does_not_depend_on_its_neighbours() -> None:
    gradient = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    loud = gradient.clone()
    loud[1:] *= 1000.0
    for how in ("sample_max", "sign"):
        plain, beside = normalise_gradient(gradient, how), normalise_gradient(loud, how)
        torch.testing.assert_close(plain[0], beside[0], rtol=0, atol=0)
        torch.testing.assert_close(
            plain.abs().amax(dim=(1, 2, 3)), torch.ones(4), rtol=0, atol=1e-6
        )
    by_batch = normalise_gradient(loud, "batch_max")
    assert float(by_batch[0].abs().max()) < 0.01
    assert torch.equal(normalise_gradient(torch.zeros(2, 3)), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="sample_max"):
        normalise_gradient(gradient, "largest")  # type: ignore[arg-type]
