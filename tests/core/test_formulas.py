"""The two learned rules, written out a second time, coordinate by coordinate, in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from l2l_gail.core import CoordinateMLP, GatedMomentum, Oracle, Vars
from tests.core.support import awaken, problem, run


def flat(variables: Vars) -> list[float]:
    return [float(value) for tensor in variables.values() for value in tensor.flatten()]


def clip(value: float) -> float:
    return min(max(value, -5.0), 5.0)


def dense(
    weights: list[list[float]], biases: list[float], inputs: list[float], act: object = None
) -> list[float]:
    out = [
        sum(w * x for w, x in zip(row, inputs, strict=True)) + b
        for row, b in zip(weights, biases, strict=True)
    ]
    return [act(value) for value in out] if callable(act) else out


def relu(value: float) -> float:
    return max(value, 0.0)


def test_coordinate_rule_is_its_formula() -> None:
    """``dw = e^s lr (-d e^(2 tanh o1) + tanh o2)`` with the eight features of its table."""
    variables, loss = problem()
    lr, beta1, beta2, eps = 0.02, 0.9, 0.999, 1e-8
    rule = awaken(CoordinateMLP(lr, hidden=4), size=0.5).double()
    course = run(rule, variables, loss, 4)
    gradients = [flat(Oracle(loss)(point)) for point in [variables, *course[:-1]]]
    network: dict[str, Any] = {name: p.detach().tolist() for name, p in rule.named_parameters()}
    for name in ("b1", "b2", "b3"):
        network[name] = [value for (value,) in network[name]]
    weights = flat(variables)
    for i in range(len(weights)):
        w, m, v, slow = weights[i], 0.0, 0.0, 0.0
        for t, gradient in enumerate(gradients, start=1):
            g = gradient[i]
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g * g
            slow = 0.99 * slow + 0.01 * g
            r = math.sqrt(v / (1 - beta2**t)) + eps
            u, d = g / r, m / (1 - beta1**t) / r
            features = [
                u,
                d,
                slow / (1 - 0.99**t) / r,
                u * d / ((1 + abs(u)) * (1 + abs(d))),
                5 * w,
                math.log(r) / 10,
                math.log(math.hypot(*gradient) + 1e-12) / 5,
                math.tanh(t / 2000),
            ]
            h = dense(network["w1"], network["b1"], [clip(x) for x in features], relu)
            h = dense(network["w2"], network["b2"], h, relu)
            o1, o2 = dense(network["w3"], network["b3"], h)
            scale = math.exp(network["log_step"]) * lr
            w += scale * (-d * math.exp(2 * math.tanh(o1)) + math.tanh(o2))
        assert flat(course[-1])[i] == pytest.approx(w, rel=1e-10, abs=1e-12)


def test_gated_rule_is_its_formula() -> None:
    """``dx = -lr sum_j c_j b_j``, the gates a network of the basis over its running size."""
    variables, loss = problem()
    lr, decays = 0.01, (0.5, 0.9)
    rule = awaken(GatedMomentum(lr, decays=decays, hidden=3), size=0.1).double()
    course = run(rule, variables, loss, 4)
    gradients = [flat(Oracle(loss)(point)) for point in [variables, *course[:-1]]]
    w1, b1, w2, b2 = (p.detach().tolist() for p in rule.parameters())
    weights = flat(variables)
    for i in range(len(weights)):
        x, square, momenta = weights[i], 0.0, [0.0, 0.0]
        for t, gradient in enumerate(gradients, start=1):
            g, previous = gradient[i], gradients[max(t - 2, 0)][i]
            square = 0.9 * square + 0.1 * g * g
            momenta = [b * m + (1 - b) * g for b, m in zip(decays, momenta, strict=True)]
            unbiased = [m / (1 - b**t) for b, m in zip(decays, momenta, strict=True)]
            basis = [g, *unbiased, g - previous]
            size = math.sqrt(square / (1 - 0.9**t))
            hidden = dense(w1, b1, [clip(b / size) for b in basis], math.tanh)
            gates = [10 * c for c in dense(w2, b2, hidden)]
            gates[0] += 1
            x -= lr * sum(c * b for c, b in zip(gates, basis, strict=True))
        assert flat(course[-1])[i] == pytest.approx(x, rel=1e-10, abs=1e-12)


def test_second_order_changes_the_graph_and_not_the_step() -> None:
    variables, loss = problem()
    rule = awaken(CoordinateMLP(0.02)).double()
    with_graph, _ = rule(variables, Oracle(loss, second_order=True), rule.init(variables))
    without, _ = rule(variables, Oracle(loss), rule.init(variables))
    for name in variables:
        torch.testing.assert_close(with_graph[name], without[name], rtol=1e-12, atol=1e-14)
