"""Orthogonalised momentum: its direction, its symmetries, and what its learned form adds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from l2l_gail.core import (
    Adam,
    Game,
    L2LTrainer,
    Layout,
    MatrixRule,
    Muon,
    UpdateRule,
    Vars,
)
from l2l_gail.core.matrix_rule import matrix_direction, orthogonalise
from l2l_gail.core.rules import init_moments
from tests.core.support import Loss, awaken, problem, run


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# The direction of a matrix.


@pytest.mark.parametrize("shape", [(8, 8), (5, 40), (40, 5), (2, 3)])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_singular_values_go_to_one_and_the_singular_vectors_stay(
    shape: tuple[int, int], scale: float
) -> None:
    u, s, vh = torch.linalg.svd(draw(*shape), full_matrices=False)
    s = torch.linspace(1.0, 0.05, len(s), dtype=torch.float64)
    out = orthogonalise(scale * (u * s) @ vh)
    moved = u.mT @ out @ vh.mT
    values = moved.diagonal()
    assert 0.65 < float(values.min()) <= float(values.max()) < 1.25
    torch.testing.assert_close(moved, values.diag(), rtol=0, atol=1e-12)


def test_five_steps_of_the_quintic_act_on_each_singular_value_alone() -> None:
    matrix = draw(4, 6)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    x = s / s.square().sum().sqrt()
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    torch.testing.assert_close(orthogonalise(matrix), (u * x) @ vh, rtol=1e-10, atol=1e-12)


def test_matrix_of_zeros_stays_one() -> None:
    assert torch.equal(orthogonalise(torch.zeros(3, 5)), torch.zeros(3, 5))


def network_weights() -> Vars:
    return {
        "w1": draw(30, 7),
        "b1": draw(30),
        "w2": draw(30, 30, seed=1),
        "b2": draw(30, seed=2),
        "w3": draw(1, 30, seed=3),
        "b3": draw(1, seed=4),
        "kernel": draw(6, 2, 3, 3, seed=5),
        "scale": draw(seed=6),
    }


def test_step_has_unit_size_per_weight_and_singular_values_near_one() -> None:
    variables = network_weights()
    (moved,) = run(Muon(0.01), variables, lambda v: (v["w1"] * 3).sum().square() + norms(v), 1)
    for name in ("w1", "w2", "kernel"):
        step = ((moved[name] - variables[name]) / 0.01).flatten(1)
        values = torch.linalg.svdvals(step / math.sqrt(max(step.shape)))
        assert float(values.max()) < 1.25
        assert 0.6 < float(step.square().mean().sqrt()) < 1.25


def norms(v: Vars) -> Tensor:
    return sum(((i + 1) * t.square()).sum() for i, t in enumerate(v.values()))  # type: ignore[return-value]


def test_tensors_with_nothing_to_orthogonalise_move_by_adam_bit_for_bit() -> None:
    variables = network_weights()
    vectors = {n: t for n, t in variables.items() if n in ("b1", "b2", "w3", "b3", "scale")}
    muon = run(Muon(0.01), vectors, norms, 8)[-1]
    adam = run(Adam(0.01, (0.9, 0.99)), vectors, norms, 8)[-1]
    assert all(torch.equal(muon[name], adam[name]) for name in vectors)


def test_direction_is_the_orthogonalised_look_ahead_of_the_momentum() -> None:
    gradients = [draw(4, 6, seed=seed) for seed in range(3)]
    layout = Layout({"w": gradients[0]})
    state = init_moments(gradients[0].reshape(-1))
    m = torch.zeros(4, 6, dtype=torch.float64)
    for g in gradients:
        d, _, state = matrix_direction(layout, g.reshape(-1), state, (0.9, 0.99), 1e-8)
        m = 0.9 * m + 0.1 * g
        expected = orthogonalise(0.9 * m + 0.1 * g) * math.sqrt(6)
        torch.testing.assert_close(d.view(4, 6), expected)


def test_hidden_units_may_be_numbered_in_any_order() -> None:
    """Permuting a network's hidden units permutes the step, for Muon and the learned form."""
    inputs, targets = draw(20, 3, seed=7), draw(20, seed=8)
    start: Vars = {"w1": draw(6, 3), "b1": draw(6, seed=1), "w2": draw(2, 6), "w3": draw(1, 2)}
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    permuted = start | {"w1": start["w1"][order], "b1": start["b1"][order]}
    permuted["w2"] = start["w2"][:, order]

    def loss(v: Vars) -> Tensor:
        hidden = torch.tanh(inputs @ v["w1"].T + v["b1"])
        return ((hidden @ v["w2"].T).tanh() @ v["w3"].T - targets).square().mean()

    for rule in (Muon(0.02), awaken(MatrixRule(0.02, learn_network=True), size=0.3).double()):
        plain, other = (run(rule, v, loss, 5)[-1] for v in (start, permuted))
        torch.testing.assert_close(other["w1"], plain["w1"][order])
        torch.testing.assert_close(other["b1"], plain["b1"][order])
        torch.testing.assert_close(other["w2"], plain["w2"][:, order])


def test_scale_of_the_loss_does_not_matter() -> None:
    variables, loss = problem()
    plain = run(Muon(0.01), variables, loss, 5)[-1]
    loud = run(Muon(0.01), variables, lambda v: 1e6 * loss(v), 5)[-1]
    for name in variables:
        torch.testing.assert_close(loud[name], plain[name], rtol=1e-6, atol=1e-7)


# The decaying opponent.


def test_rate_halves_in_a_half_life_down_to_its_end() -> None:
    def slope(v: Vars) -> Tensor:
        return v["b"].sum()

    course = run(Muon(0.8, half_life=2, final_lr=0.15), {"b": torch.zeros(3).double()}, slope, 9)
    points = torch.stack([torch.zeros(3).double(), *(v["b"] for v in course)])[:, 0]
    expected = [max(0.15, 0.8 * 0.5 ** (t / 2)) for t in range(9)]
    torch.testing.assert_close(-points.diff(), torch.tensor(expected).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"final_lr": 1e-3}, "needs a half_life"),
        ({"half_life": 0}, "positive number of steps"),
        ({"decay": -1.0}, "decay must be 0 or more and finite, not -1.0"),
        ({"decay": math.inf}, "decay must be 0 or more"),
    ],
)
def test_decay_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Muon(0.1, **options)


# Weight decay.

DECAYED: list[Callable[[float | None], UpdateRule]] = [
    lambda decay: Muon(0.01, decay=decay),
    lambda decay: MatrixRule(0.01, decay=decay),
    lambda decay: MatrixRule(0.01, layers=4, learn_network=True, decay=decay),
]


@pytest.mark.parametrize("make", DECAYED, ids=["fixed", "step", "layers and network"])
def test_decay_shrinks_matrices_and_rows_by_a_share_of_what_they_were(
    make: Callable[[float | None], UpdateRule],
) -> None:
    variables, loss = problem(torch.float64)
    assert {tensor.dim() for tensor in variables.values()} > {1}
    (plain,), (decayed,) = (run(make(decay), variables, loss, 1) for decay in (None, 3.0))
    for name, before in variables.items():
        share = 0.01 * 3.0 * (before.dim() > 1)
        torch.testing.assert_close(decayed[name], plain[name] - share * before)
    (none,) = run(make(0.0), variables, loss, 1)
    assert all(torch.equal(none[name], plain[name]) for name in variables)


def test_decay_bounds_a_matrix_whatever_the_loss_asks_for() -> None:
    direction = draw(6, 20)
    pushed: Loss = lambda v: -(v["w"] * direction).sum()  # noqa: E731 - without end
    start = {"w": draw(6, 20, seed=1)}
    norms = {
        decay: float(torch.linalg.matrix_norm(run(rule, start, pushed, 600)[-1]["w"], 2))
        for decay, rule in ((0.0, Muon(0.02)), (4.0, Muon(0.02, decay=4.0)))
    }
    bound = math.sqrt(20) / 4.0  # singular values of the step are from .7 to 1.2
    assert 0.65 * bound < norms[4.0] < 1.25 * bound
    assert norms[0.0] > 30 * bound


# The learned form.

LEARNED: list[Callable[[], MatrixRule]] = [
    lambda: MatrixRule(0.01),
    lambda: MatrixRule(0.01, layers=4),
    lambda: MatrixRule(0.01, learn_network=True),
    lambda: MatrixRule(0.01, learn_momentum=True),
    lambda: MatrixRule(0.01, layers=4, learn_momentum=True, learn_network=True),
]
IDS = ["step", "layers", "network", "momentum", "all"]


@pytest.mark.parametrize("make", LEARNED[:3], ids=IDS[:3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_learned_form_starts_as_the_fixed_one_bit_for_bit(
    make: Callable[[], MatrixRule], dtype: torch.dtype
) -> None:
    variables, loss = problem(dtype)
    learned, fixed = run(make(), variables, loss, 10), run(Muon(0.01), variables, loss, 10)
    for a, b in zip(learned, fixed, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in variables)


def test_learned_momentum_starts_as_the_fixed_one_to_rounding() -> None:
    variables, loss = problem()
    learned = run(MatrixRule(0.01, learn_momentum=True), variables, loss, 10)[-1]
    fixed = run(Muon(0.01), variables, loss, 10)[-1]
    for name in variables:
        torch.testing.assert_close(learned[name], fixed[name], rtol=1e-9, atol=1e-12)


class Problem(Game):
    def __init__(self, start: Vars | None = None, loss: Loss | None = None) -> None:
        regression = problem(torch.float32)
        self.start, self.loss = start or regression[0], loss or regression[1]

    def init_follower(self, batch: object) -> Vars:
        return self.start

    def follower_loss(self, follower: Vars, batch: object) -> Tensor:
        return self.loss(follower)


def trained(
    rule: UpdateRule, steps: int, game: Game | None = None, meta_lr: float = 3e-3
) -> L2LTrainer:
    groups = rule.meta_parameter_groups(meta_lr)
    optimizer = torch.optim.Adam(groups) if groups else None
    trainer = L2LTrainer(game or Problem(), rule, meta_optimizer=optimizer, persistent=True)
    for _ in range(steps):
        trainer.step([None])
    return trainer


@pytest.mark.parametrize("make", LEARNED, ids=IDS)
def test_every_learned_part_moves_when_it_is_trained(make: Callable[[], MatrixRule]) -> None:
    rule = make()
    before = {name: p.detach().clone() for name, p in rule.named_parameters()}
    trainer = trained(rule, 3)
    for name, parameter in rule.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    assert trainer.skipped == trainer.rejected == 0
    assert all(not t.requires_grad for t in trainer.state.values() if isinstance(t, Tensor))


def test_step_that_starts_too_high_falls() -> None:
    start, pull = {"w": draw(6, 8).float()}, draw(6, 8, seed=1).float()

    def bowl(v: Vars) -> Tensor:
        return (v["w"] - pull).square().mean()

    rule = MatrixRule(1.0)
    trainer = trained(rule, 60, Problem(start, bowl))
    assert trainer.follower is not None
    assert float(rule.diagnostics(trainer.state)["global_step"]) < 0.3
    assert float(bowl(trainer.follower)) < 0.1 * float(bowl(run(Muon(1.0), start, bowl, 60)[-1]))


def test_meta_learning_rates_are_thirty_to_one() -> None:
    rule = MatrixRule(layers=4, learn_momentum=True, learn_network=True)
    network, scalars = rule.meta_parameter_groups(3e-3)
    assert (network["lr"], scalars["lr"]) == (3e-3, pytest.approx(0.09))
    assert {id(p) for p in scalars["params"]} == {id(rule.log_step), id(rule.logit_shift)}
    assert len(network["params"]) == 6
    (only,) = MatrixRule().meta_parameter_groups(3e-3)
    assert only["lr"] == pytest.approx(0.09)


def test_layers_scale_their_own_tensor() -> None:
    variables, loss = problem()
    rule = MatrixRule(0.01, layers=4)
    with torch.no_grad():
        rule.log_step.copy_(torch.tensor([2.0, 1.0, 0.5, 4.0]).log())
    (scaled,), (plain,) = run(rule, variables, loss, 1), run(Muon(0.01), variables, loss, 1)
    for name, factor in zip(variables, (2.0, 1.0, 0.5, 4.0), strict=True):
        torch.testing.assert_close(
            scaled[name] - variables[name],
            factor * (plain[name] - variables[name]),
            rtol=1e-5,
            atol=0,
        )


def test_learned_momentum_is_a_logistic_curve_through_its_start() -> None:
    rule = MatrixRule(learn_momentum=True)
    assert rule.logit_shift is not None
    variables, _ = problem()
    state = rule.init(variables)
    assert float(rule.diagnostics(state)["momentum"]) == pytest.approx(0.9, abs=1e-7)
    with torch.no_grad():
        rule.logit_shift.fill_(-math.log(9))
    assert float(rule.diagnostics(state)["momentum"]) == pytest.approx(0.5, abs=1e-6)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        MatrixRule(learn_step=False)
    variables, _ = problem()
    with pytest.raises(
        ValueError, match="layers=3 asks for a step of each tensor, but there are 4"
    ):
        MatrixRule(layers=3).init(variables)
