"""Prodigy: equal to its authors' implementation, and well off without a learning rate."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from l2l_gail.core import Adam, Oracle, Prodigy, Vars
from tests.core.support import problem, run

CURVATURE = torch.tensor([0.5, 3.0, 20.0], dtype=torch.float64)
OPTIMUM = torch.tensor([1.0, -2.0, 0.3], dtype=torch.float64)


def bowl(v: Vars) -> Tensor:
    return (0.5 * CURVATURE * (v["x"] - OPTIMUM).square()).sum()


# What prodigyopt 1.1.2 gives on this bowl from 0: options, steps, x, d.
REFERENCE: list[tuple[dict[str, Any], int, list[float], float]] = [
    (
        {},
        2,
        [7.411863991476391e-06, -7.4118687558302655e-06, 7.411867763304027e-06],
        1.5815294925145703e-06,
    ),
    (
        {},
        40,
        [0.8424584047300315, -2.314069665169718, 0.32594701486823435],
        0.2948444061006935,
    ),
    (
        {"use_bias_correction": True},
        40,
        [0.9087445749736967, -3.0799298006519673, 0.28308333889733156],
        0.6817612857540578,
    ),
    (
        {"lr": 0.5, "betas": (0.8, 0.99), "d0": 1e-3, "d_coef": 2.0},
        40,
        [1.0001493197088875, -1.9769677259027933, 0.31345985768629075],
        0.7229501460110175,
    ),
    (
        {"safeguard_warmup": True, "lr": 0.3},
        40,
        [0.10121352606449308, -0.10099163813379965, 0.10232236856136985],
        0.017023877122895718,
    ),
]


@pytest.mark.parametrize(("options", "steps", "x", "d"), REFERENCE)
def test_prodigy_is_its_authors_implementation(
    options: dict[str, Any], steps: int, x: list[float], d: float
) -> None:
    rule = Prodigy(**options)
    point: Vars = {"x": torch.zeros(3, dtype=torch.float64)}
    state = rule.init(point)
    with torch.no_grad():
        for _ in range(steps):
            point, state = rule(point, Oracle(bowl), state)
    assert point["x"].tolist() == pytest.approx(x, rel=1e-9)
    assert float(state["d"]) == pytest.approx(d, rel=1e-9)
    found = rule.diagnostics(state)["learning_rate"]
    assert float(found) == pytest.approx(rule.lr * d, rel=1e-9)


def test_first_step_is_the_formula() -> None:
    """``d0 (1 - b1) g / sqrt((1 - b2) g^2)`` along every coordinate."""
    (moved,) = run(Prodigy(d0=1e-3), {"x": torch.zeros(3, dtype=torch.float64)}, bowl, 1)
    expected = 1e-3 * 0.1 / math.sqrt(0.001) * OPTIMUM.sign()
    torch.testing.assert_close(moved["x"], expected, rtol=1e-6, atol=0)


def test_gradient_of_zeros_moves_nothing_and_leaves_the_distance() -> None:
    start: Vars = {"x": OPTIMUM.clone()}
    rule = Prodigy()
    moved, state = rule(start, Oracle(bowl), rule.init(start))
    assert torch.equal(moved["x"], start["x"])
    assert float(state["d"]) == 1e-6


@pytest.mark.slow
def test_prodigy_without_a_learning_rate_is_well_above_adams_middle_one() -> None:
    variables, loss = problem(torch.float32)

    def after(rule: Adam | Prodigy) -> float:
        return float(loss(run(rule, variables, loss, 300)[-1]))

    adam = sorted(after(Adam(lr)) for lr in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1))
    assert after(Prodigy()) < 0.5 * adam[2]
