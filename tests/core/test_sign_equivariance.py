"""The network whose even features gate odd steps: it turns with the signs, and cannot leak."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from l2l_gail.core import Adam, CoordinateMLP, MatrixRule, Muon, Oracle, UpdateRule, Vars
from l2l_gail.core.residual import ResidualRule
from tests.core.support import awaken, problem, run
from tests.core.test_matrix_rule import Problem, draw, trained


def equivariant(kind: str) -> ResidualRule:
    rules = {
        "coordinate": CoordinateMLP(0.01, sign_equivariant=True),
        "matrix": MatrixRule(0.01, learn_network=True),
    }
    return awaken(rules[kind], size=0.5).double()


@pytest.mark.parametrize("kind", ["coordinate", "matrix"])
def test_turning_every_sign_turns_the_step(kind: str) -> None:
    variables, loss = problem()
    turned = {name: -tensor for name, tensor in variables.items()}

    def mirrored(v: Vars) -> Tensor:
        return loss({name: -tensor for name, tensor in v.items()})

    rule = equivariant(kind)
    plain, other = run(rule, variables, loss, 5)[-1], run(rule, turned, mirrored, 5)[-1]
    for name in variables:
        torch.testing.assert_close(other[name], -plain[name], rtol=1e-9, atol=1e-12)


def test_turning_the_sign_of_all_gradients_turns_the_step_of_weights_at_zero() -> None:
    rule = equivariant("matrix")
    start = {"w": torch.zeros(4, 5, dtype=torch.float64)}
    pull = draw(4, 5)
    (up,) = run(rule, start, lambda v: (v["w"] * pull).sum(), 1)
    (down,) = run(rule, start, lambda v: -(v["w"] * pull).sum(), 1)
    torch.testing.assert_close(up["w"], -down["w"], rtol=1e-12, atol=0)


def test_dead_weight_at_zero_gets_nothing_where_the_free_form_leaks() -> None:
    def loss(v: Vars) -> Tensor:
        return v["a"].square().sum() + 0.0 * v["dead"].sum()

    start = {"a": torch.ones(3), "dead": torch.zeros(3)}
    free = awaken(CoordinateMLP(0.01), size=0.5)
    leaks = run(free, start, loss, 3)[-1]["dead"]
    assert float(leaks.abs().min()) > 1e-4
    tight = awaken(CoordinateMLP(0.01, sign_equivariant=True), size=0.5)
    assert torch.equal(run(tight, start, loss, 3)[-1]["dead"], torch.zeros(3))


def test_equivariant_coordinate_rule_starts_as_adam_bit_for_bit_and_is_its_formula() -> None:
    variables, loss = problem(torch.float32)
    rule = CoordinateMLP(0.01, sign_equivariant=True)
    for a, b in zip(
        run(rule, variables, loss, 10), run(Adam(0.01), variables, loss, 10), strict=True
    ):
        assert all(torch.equal(a[name], b[name]) for name in variables)

    with torch.no_grad():  # constant gates: o = b3
        rule.b3.copy_(torch.tensor([[0.3], [-0.2], [0.5], [0.1]]))
    (moved,) = run(rule, variables, loss, 1)
    gradient = Oracle(loss)(variables)
    gates = torch.tensor([0.3, -0.2, 0.5, 0.1]).tanh()
    for name, g in gradient.items():
        u = g / (g.abs() + 1e-8)  # in the first step d = u = m
        step = u * ((2 * gates[0]).exp() + gates[1] + gates[2])
        step = step + gates[3] * (5 * variables[name]).clamp(-5, 5)
        torch.testing.assert_close(moved[name], variables[name] - 0.01 * step, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["coordinate", "matrix"])
def test_step_that_is_not_finite_falls_back_to_the_base_and_is_counted(kind: str) -> None:
    variables, loss = problem(torch.float32)
    rule = equivariant(kind).float()
    with torch.no_grad():
        rule.w3.fill_(math.nan)
    state, point = rule.init(variables), variables
    for _ in range(4):
        with torch.no_grad():
            point, state = rule(point, Oracle(loss), state)
    base = Adam(0.01) if kind == "coordinate" else Muon(0.01)
    expected = run(base, variables, loss, 4)[-1]
    assert all(torch.equal(point[name], expected[name]) for name in variables)
    assert int(rule.diagnostics(state)["fallbacks"]) == 4


def test_network_that_is_trained_lowers_the_loss_below_the_fixed_rule() -> None:
    def last(rule: UpdateRule) -> float:
        trainer = trained(rule, 150, meta_lr=1e-2)
        assert trainer.follower is not None
        return float(Problem().loss(trainer.follower))

    assert last(MatrixRule(1e-3, learn_step=False, learn_network=True)) < 0.9 * last(Muon(1e-3))
