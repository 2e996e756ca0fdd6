"""A small problem, every rule, and a game on images: what several tests of the core share."""

from __future__ import annotations

import gc
import io
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from l2l_gail.core import (
    SGD,
    Adam,
    CoordinateMLP,
    Extragradient,
    Game,
    GatedMomentum,
    L2LTrainer,
    MatrixRule,
    Muon,
    Optimistic,
    OptimisticAdam,
    Oracle,
    PacedMatrixRule,
    Prodigy,
    SignDescent,
    UpdateRule,
    Vars,
)

Loss = Callable[[Vars], Tensor]


def hand_over(first: L2LTrainer, second: L2LTrainer) -> None:
    """Let one trainer go on from another, by way of a file as a checkpoint is."""
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.begin(second.game.init_follower(None))
    second.load_state_dict(torch.load(file, weights_only=True))


def assert_alike(a: L2LTrainer, b: L2LTrainer) -> None:
    """Followers and rules are the same to the bit."""
    assert a.follower is not None
    assert b.follower is not None
    for name, tensor in a.follower.items():
        assert torch.equal(b.follower[name], tensor), name
    for mine, its in zip(a.rule.parameters(), b.rule.parameters(), strict=True):
        assert torch.equal(mine, its)


def live_tensors() -> int:
    """How many tensors there are once all garbage is gone."""
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def problem(dtype: torch.dtype = torch.float64) -> tuple[Vars, Loss]:
    """A badly scaled, non-convex loss of a small regression network."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    inputs, targets = draw(16, 3), draw(16)
    variables = {"w1": draw(5, 3), "b1": draw(5), "w2": draw(5), "scale": draw()}

    def loss(v: Vars) -> Tensor:
        hidden = torch.tanh(inputs @ v["w1"].T + v["b1"])
        return ((hidden @ v["w2"]) * v["scale"].exp() - targets).square().mean()

    return variables, loss


def every_rule() -> list[UpdateRule]:
    rules: list[UpdateRule] = [
        SignDescent(0.01),
        SGD(0.01),
        SGD(0.01, momentum=0.9),
        Optimistic(0.01, gain=0.7),
        Extragradient(0.01),
        Adam(0.01),
        OptimisticAdam(0.01, gain=0.5),
        Prodigy(d0=1e-3),
        Muon(0.01),
    ]
    return [
        *rules,
        awaken(GatedMomentum(0.01)),
        awaken(CoordinateMLP(0.01)),
        awaken(CoordinateMLP(0.01, sign_equivariant=True)),
        awaken(MatrixRule(0.01)),
        awaken(MatrixRule(0.01, learn_momentum=True, learn_network=True)),
        awaken(PacedMatrixRule(0.01)),
    ]


Rule = TypeVar("Rule", bound=UpdateRule)


def awaken(rule: Rule, size: float = 0.05) -> Rule:
    """Move a learned rule off its start, where it is a hand-designed one."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=size)
    return rule


def name_of(rule: UpdateRule) -> str:
    options = ("momentum", "sign_equivariant", "learn_momentum")
    return "-".join([type(rule).__name__, *(o for o in options if rule.config.get(o))])


def run(rule: UpdateRule, variables: Vars, loss: Loss, steps: int) -> list[Vars]:
    state = rule.init(variables)
    course = []
    with torch.no_grad():
        for _ in range(steps):
            variables, state = rule(variables, Oracle(loss), state)
            course.append(variables)
    return course


def run_torch(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], variables: Vars, loss: Loss, steps: int
) -> list[Vars]:
    point = {name: tensor.clone().requires_grad_() for name, tensor in variables.items()}
    optimizer = make(list(point.values()))
    course = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss(point).backward()
        optimizer.step()
        course.append({name: tensor.detach().clone() for name, tensor in point.items()})
    return course


def assert_same_course(ours: list[Vars], theirs: list[Vars], rtol: float, atol: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        for name in b:
            torch.testing.assert_close(a[name], b[name], rtol=rtol, atol=atol)


class LinearClassifier(Game):
    """The attack on ``w'x``: the adversary lowers the margin inside an epsilon ball around 0."""

    def __init__(self, weights: Tensor, epsilon: float) -> None:
        self.weights = weights
        self.epsilon = epsilon

    def init_follower(self, batch: Tensor) -> Vars:
        return {"x": batch.clone()}

    def follower_loss(self, follower: Vars, batch: Tensor) -> Tensor:
        return (follower["x"] * self.weights).sum()

    def project(self, follower: Vars, batch: Tensor) -> Vars:
        low, high = batch - self.epsilon, batch + self.epsilon
        return {"x": torch.minimum(torch.maximum(follower["x"], low), high)}
