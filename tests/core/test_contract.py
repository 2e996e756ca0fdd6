"""What holds for every rule: pure, equivariant, of any dtype; and safe where it is learned."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from l2l_gail.core import (
    SGD,
    Adam,
    CoordinateMLP,
    GatedMomentum,
    MatrixRule,
    Muon,
    Oracle,
    UpdateRule,
    Vars,
    all_finite,
    detach,
)
from l2l_gail.core.coordinate_network import coordinate_network
from l2l_gail.games import RingBatch
from tests.core.support import (
    Loss,
    assert_same_course,
    awaken,
    every_rule,
    name_of,
    problem,
    run,
)

# The contract of every rule.


@pytest.mark.parametrize("rule", every_rule(), ids=name_of)
def test_rule_writes_into_none_of_its_inputs(rule: UpdateRule) -> None:
    variables, loss = problem(torch.float32)
    state = rule.init(variables)
    for _ in range(3):
        tensors = _tensors([variables, state])
        before = [tensor.clone() for tensor in tensors]
        versions = [tensor._version for tensor in tensors]
        with torch.no_grad():
            variables, state = rule(variables, Oracle(loss), state)
        for tensor, copy, version in zip(tensors, before, versions, strict=True):
            torch.testing.assert_close(tensor, copy, rtol=0, atol=0)
            assert tensor._version == version


@pytest.mark.parametrize("rule", every_rule(), ids=name_of)
def test_state_keeps_its_structure_and_equal_inputs_give_equal_outputs(rule: UpdateRule) -> None:
    variables, loss = problem(torch.float32)
    state = rule.init(variables)
    with torch.no_grad():
        first = rule(variables, Oracle(loss), state)
        second = rule(variables, Oracle(loss), state)
    assert _structure(first[1]) == _structure(state)
    for a, b in zip(_tensors(list(first)), _tensors(list(second)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", every_rule(), ids=name_of)
def test_rule_keeps_the_dtype_and_the_shapes(rule: UpdateRule, dtype: torch.dtype) -> None:
    variables, loss = problem(dtype)
    moved = run(rule, variables, loss, 2)[-1]
    assert {n: (t.dtype, t.shape) for n, t in moved.items()} == {
        n: (t.dtype, t.shape) for n, t in variables.items()
    }
    assert all((moved[name] != variables[name]).any() for name in variables)


COORDINATE_WISE = [rule for rule in every_rule() if not isinstance(rule, Muon | MatrixRule)]


@pytest.mark.parametrize("rule", COORDINATE_WISE, ids=name_of)
def test_splitting_a_tensor_in_two_changes_nothing(rule: UpdateRule) -> None:
    variables, loss = problem()
    halves = {
        "b1": variables["b1"],
        "top": variables["w1"][:2].clone(),
        "bottom": variables["w1"][2:].clone(),
        "w2": variables["w2"],
        "scale": variables["scale"],
    }

    def loss_of_halves(v: Vars) -> Tensor:
        whole = {"w1": torch.cat([v["top"], v["bottom"]])}
        return loss(whole | {name: v[name] for name in ("b1", "w2", "scale")})

    whole = run(rule, variables, loss, 5)[-1]
    split = run(rule, halves, loss_of_halves, 5)[-1]
    torch.testing.assert_close(torch.cat([split["top"], split["bottom"]]), whole["w1"])
    torch.testing.assert_close(split["b1"], whole["b1"])


@pytest.mark.parametrize("rule", every_rule(), ids=name_of)
def test_permuting_the_coordinates_permutes_the_step(rule: UpdateRule) -> None:
    generator = torch.Generator().manual_seed(3)
    n = 40
    curvature = torch.rand(n, generator=generator, dtype=torch.float64) * 3 + 0.1
    target = torch.randn(n, generator=generator, dtype=torch.float64)
    start = torch.randn(n, generator=generator, dtype=torch.float64)
    order = torch.randperm(n, generator=generator)

    def loss_in(order: Tensor) -> Loss:
        return lambda v: (curvature[order] * (v["x"] - target[order]).square()).sum()

    plain = run(rule, {"x": start}, loss_in(torch.arange(n)), 6)[-1]["x"]
    permuted = run(rule, {"x": start[order]}, loss_in(order), 6)[-1]["x"]
    torch.testing.assert_close(permuted, plain[order], rtol=1e-10, atol=1e-12)


def test_gated_momentum_is_equivariant_to_the_scale_of_the_game() -> None:
    """A game a million times larger or smaller is played in the same way."""
    rule = awaken(GatedMomentum(0.02), size=0.3).double()
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    hessian = matrix @ matrix.T + torch.eye(6, dtype=torch.float64)
    start = torch.randn(6, generator=generator, dtype=torch.float64)

    def loss(v: Vars) -> Tensor:
        return 0.5 * v["x"] @ hessian @ v["x"]

    unit = [point["x"] for point in run(rule, {"x": start}, loss, 8)]
    for scale in (1e-60, 1e-6, 1e6, 1e60):
        scaled = [point["x"] / scale for point in run(rule, {"x": scale * start}, loss, 8)]
        torch.testing.assert_close(torch.stack(scaled), torch.stack(unit), rtol=1e-9, atol=1e-12)


def test_gated_momentum_starts_as_gradient_descent() -> None:
    variables, loss = problem()
    rule = GatedMomentum(0.02).double()
    plain = run(SGD(0.02), variables, loss, 10)
    assert_same_course(run(rule, variables, loss, 10), plain, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [GatedMomentum, CoordinateMLP], ids=lambda c: c.__name__)
def test_seed_decides_the_weights_and_the_global_random_state_stays_untouched(
    make: type[GatedMomentum] | type[CoordinateMLP],
) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = make(0.1, seed=3), make(0.1, seed=3), make(0.1, seed=4)
    variables, loss = problem()
    run(first, variables, loss, 2)
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


def test_hand_designed_rules_have_nothing_to_learn_and_learned_ones_do() -> None:
    for rule in every_rule():
        learned = isinstance(rule, GatedMomentum | CoordinateMLP | MatrixRule)
        assert bool(rule.meta_parameter_groups(1e-3)) == learned
        assert bool(list(rule.parameters())) == learned


# The coordinate-wise network.


def test_derivative_of_the_coordinate_network_is_right_across_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("l2l_gail.core.coordinate_network._CHUNK_BYTES", 4 * 8 * 3)
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 10), (4, 3), (4, 1), (4, 4), (4, 1), (2, 4), (2, 1))
    arguments = [
        torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in shapes
    ]
    assert torch.autograd.gradcheck(coordinate_network, arguments)
    features, w1, b1, w2, b2, w3, b3 = arguments
    expected = w3 @ torch.relu(w2 @ torch.relu(w1 @ features + b1) + b2) + b3
    torch.testing.assert_close(coordinate_network(*arguments), expected)


def test_rule_that_would_leave_the_finite_numbers_falls_back_to_adam_and_counts_it() -> None:
    variables, loss = problem(torch.float32)
    rule = CoordinateMLP(0.01)
    with torch.no_grad():
        rule.w3.fill_(math.nan)
    state = rule.init(variables)
    point = variables
    for _ in range(5):
        with torch.no_grad():
            point, state = rule(point, Oracle(loss), state)
    expected = run(Adam(0.01), variables, loss, 5)[-1]
    for name in variables:
        torch.testing.assert_close(point[name], expected[name], rtol=0, atol=0)
    assert int(rule.diagnostics(state)["fallbacks"]) == 5


def test_step_of_the_coordinate_rule_stays_within_its_trust_region() -> None:
    """``|step| <= e^s lr (e^2 |d| + 1)``, whatever the network says."""
    variables, loss = problem(torch.float64)
    lr = 0.01
    rule = awaken(CoordinateMLP(lr), size=50.0)
    with torch.no_grad():
        rule.log_step.fill_(0.0)
    (moved,) = run(rule, variables, loss, 1)  # in the first step |d| is 1
    for name in variables:
        assert float((moved[name] - variables[name]).abs().max()) <= lr * (math.e**2 + 1) + 1e-12


def test_coordinate_rule_with_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        CoordinateMLP(0.1, learn_step=False, learn_network=False)


# The small helpers.


def test_detach_cuts_every_tensor_of_a_tree_and_keeps_its_types() -> None:
    tensor = torch.ones(2, requires_grad=True) * 2
    tree = {"a": tensor, "b": {"c": (tensor, 3)}, "batch": RingBatch(tensor, tensor), "t": 4}
    cut = detach(tree)
    assert isinstance(cut["batch"], RingBatch)
    leaves = [cut["a"], cut["b"]["c"][0], *cut["batch"]]  # type: ignore[index]
    assert all(leaf.grad_fn is None and torch.equal(leaf, tensor) for leaf in leaves)
    assert cut["b"]["c"][1] == 3  # type: ignore[index]
    assert cut["t"] == 4


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_all_finite_sees_a_single_bad_entry(bad: float) -> None:
    good = {"a": torch.full((3, 3), 1e38), "b": torch.tensor(0.0)}
    assert all_finite(good)
    spoiled = good["a"].clone()
    spoiled[2, 1] = bad
    assert not all_finite({**good, "a": spoiled})


def _tensors(tree: object) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    items = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []
    return [tensor for item in items for tensor in _tensors(item)]


def _structure(tree: object) -> object:
    if isinstance(tree, Tensor):
        return tree.shape, tree.dtype
    if isinstance(tree, dict):
        return {key: _structure(value) for key, value in tree.items()}
    return type(tree)
