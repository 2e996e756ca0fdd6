"""The paced matrix rule: its features in closed form, and what they do to the steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from l2l_gail.core import (
    EvolutionStrategy,
    L2LTrainer,
    Layout,
    MatrixRule,
    Muon,
    PacedMatrixRule,
    Vars,
)
from l2l_gail.core.matrix_rule import matrix_direction
from l2l_gail.core.rules import init_moments
from tests.core.support import awaken, problem, run
from tests.core.test_matrix_rule import Problem, draw

BIAS, SIGNAL, BURST, AGE = range(4)


def paced(kind: int, feature: int, weight: float, lr: float = 0.01) -> PacedMatrixRule:
    rule = PacedMatrixRule(lr)
    with torch.no_grad():
        rule.pace[kind, feature] = weight
    return rule


def features(gradients: list[Tensor]) -> Tensor:
    """Those of one tensor after all the gradients, shape ``(4,)``."""
    layout = Layout({"w": gradients[0]})
    state = init_moments(gradients[0].reshape(-1))
    for gradient in gradients:
        _, _, state = matrix_direction(layout, gradient.reshape(-1), state, (0.9, 0.99), 1e-8)
    return PacedMatrixRule()._features(layout, gradients[-1].reshape(-1), state)[0]


def test_it_starts_as_muon_and_as_the_matrix_rule_bit_for_bit() -> None:
    variables, loss = problem(torch.float32)
    courses = [
        run(rule, variables, loss, 10)[-1]
        for rule in (PacedMatrixRule(0.01), Muon(0.01), MatrixRule(0.01))
    ]
    for name in variables:
        assert torch.equal(courses[0][name], courses[1][name])
        assert torch.equal(courses[0][name], courses[2][name])


def test_features_of_a_constant_gradient_say_that_it_agrees_with_itself() -> None:
    for t in (1, 7, 50):
        expected = torch.tensor([1.0, math.log(4.0), 0.0, math.log1p(t / 100)], dtype=torch.float64)
        torch.testing.assert_close(features([draw(5, 8)] * t), expected, rtol=1e-9, atol=1e-9)


def test_signal_of_pure_noise_is_that_of_an_average_over_independent_draws() -> None:
    noise = [draw(60, 60, seed=seed) for seed in range(200)]
    # The momentum of unit noise has variance (1 - b) / (1 + b), with b = .9.
    expected = math.log(4.0) + 0.5 * math.log(0.1 / 1.9)
    assert float(features(noise)[SIGNAL]) == pytest.approx(expected, abs=0.05)


def test_burst_is_the_logarithm_of_the_growth() -> None:
    quiet = [draw(60, 60, seed=seed) for seed in range(100)]
    # A gradient ten times as large adds .01 * 100 to the mean square of 1 (.99 of it, corrected).
    grown = 0.5 * math.log(100 / (100 * 0.01 / (1 - 0.99**101) + 1 - 0.01 / (1 - 0.99**101)))
    loud = features([*quiet, 10 * draw(60, 60, seed=100)])
    assert float(loud[BURST]) == pytest.approx(grown, abs=0.05)


def test_each_row_paces_its_kind_of_tensor_alone() -> None:
    variables: Vars = {"matrix": draw(4, 6), "row": draw(1, 6, seed=1), "bias": draw(4, seed=2)}

    def slope(v: Vars) -> Tensor:
        return sum((t * draw(*t.shape, seed=9)).sum() for t in v.values())  # type: ignore[return-value]

    (plain,) = run(Muon(0.01), variables, slope, 1)
    for kind, names in ((0, {"matrix"}), (1, {"row", "bias"})):
        (moved,) = run(paced(kind, BIAS, math.log(3.0)), variables, slope, 1)
        for name, start in variables.items():
            factor = 3.0 if name in names else 1.0
            torch.testing.assert_close(
                moved[name] - start, factor * (plain[name] - start), rtol=1e-6, atol=1e-9
            )


def test_unit_of_the_loss_does_not_matter() -> None:
    variables, loss = problem()
    rule = awaken(PacedMatrixRule(0.01), size=0.3)
    plain = run(rule, variables, loss, 5)[-1]
    loud = run(rule, variables, lambda v: 1e6 * loss(v), 5)[-1]
    for name in variables:
        torch.testing.assert_close(loud[name], plain[name], rtol=1e-6, atol=1e-7)


def test_pace_is_bounded_and_a_gradient_of_zeros_moves_nothing() -> None:
    variables: Vars = {"w": draw(4, 6)}
    (moved,) = run(paced(0, BIAS, 100.0), variables, lambda v: (v["w"] * draw(4, 6)).sum(), 1)
    (fixed,) = run(paced(0, BIAS, 5.0), variables, lambda v: (v["w"] * draw(4, 6)).sum(), 1)
    assert torch.equal(moved["w"], fixed["w"])
    still = run(paced(0, SIGNAL, 2.0), variables, lambda v: 0.0 * v["w"].sum(), 3)[-1]
    assert torch.equal(still["w"], variables["w"])


def test_online_only_the_global_step_learns() -> None:
    rule = awaken(PacedMatrixRule(0.01))
    pace = rule.pace.detach().clone()
    optimizer = torch.optim.Adam(rule.meta_parameter_groups(3e-3))
    trainer = L2LTrainer(Problem(), rule, meta_optimizer=optimizer, persistent=True)
    before = float(rule.log_step.detach())
    for _ in range(3):
        trainer.step([None])
    assert torch.equal(rule.pace, pace)
    assert float(rule.log_step.detach()) != before


def test_with_nothing_to_learn_it_is_a_fixed_rule() -> None:
    rule = PacedMatrixRule(0.01, learn_step=False)
    assert rule.meta_parameter_groups(3e-3) == []
    assert PacedMatrixRule(0.01).meta_parameter_groups(3e-3)[0]["lr"] == pytest.approx(0.09)


@pytest.mark.slow
def test_an_evolution_strategy_finds_that_noise_asks_for_short_steps() -> None:
    # Two followers of one rule: one has a far target, the other noise around where it is.
    start, target = {"w": torch.zeros(6, 8)}, draw(6, 8).float().sign()

    def outcome(rule: PacedMatrixRule) -> float:
        far = run(rule, start, lambda v: (v["w"] - target).square().sum(), 15)[-1]["w"]
        noise = iter([draw(6, 8, seed=seed).float() for seed in range(15)])
        near = run(rule, start, lambda v: (v["w"] * next(noise)).sum(), 15)[-1]["w"]
        return float((far - target).square().mean() + near.square().mean())

    rule = PacedMatrixRule(0.03, learn_pace=True, learn_step=False, learn_momentum=True)
    optimizer = torch.optim.Adam([p for p in rule.parameters() if p.requires_grad], lr=0.1)
    strategy = EvolutionStrategy(rule, optimizer, pairs=2, sigma=0.1)
    first = outcome(rule)
    for _ in range(20):
        strategy.tell([outcome(candidate) for candidate in strategy.ask()])  # type: ignore[arg-type]
    assert outcome(rule) < 0.5 * first
    assert rule.pace[0, SIGNAL] > 0.2
