"""The hand-designed rule that a learned one starts as."""

from __future__ import annotations

import pytest
import torch

from l2l_gail.core import Adam, CoordinateMLP, MatrixRule, Muon, Oracle, UpdateRule, build_rule


def quadratic(variables: dict[str, torch.Tensor]) -> torch.Tensor:
    return sum((x - 1).square().sum() * (i + 1) for i, x in enumerate(variables.values()))


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (CoordinateMLP(1e-2, betas=(0.8, 0.95), eps=1e-6, seed=1), Adam),
        (MatrixRule(1e-2, betas=(0.8, 0.95), eps=1e-6), Muon),
    ],
)
def test_an_untrained_rule_and_its_base_take_equal_steps_from_one_state(
    rule: UpdateRule, kind: type[UpdateRule]
) -> None:
    base = rule.base()
    assert type(base) is kind
    generator = torch.Generator().manual_seed(0)
    variables = {name: torch.randn(shape, generator=generator) for name, shape in
                 {"w": (3, 4), "b": (3,)}.items()}  # fmt: skip
    state = rule.init(variables)
    for _ in range(3):
        by_base, _ = base(variables, Oracle(quadratic), state)
        variables, state = rule(variables, Oracle(quadratic), state)
        for name, value in by_base.items():
            assert torch.equal(value, variables[name])


def test_a_hand_designed_rule_has_no_base() -> None:
    assert build_rule("adam", lr=1e-3).base() is None


def test_what_is_learned_of_a_rule_is_what_is_not_frozen() -> None:
    rule = CoordinateMLP(1e-3)
    assert [*rule.learned_parameters()] == [name for name, _ in rule.named_parameters()]
    rule.log_step.requires_grad_(False)
    assert "log_step" not in rule.learned_parameters()
    moved = [p for group in rule.meta_parameter_groups(0.1) for p in group["params"]]
    assert moved
    assert all(p is not rule.log_step for p in moved)
    assert rule.requires_grad_(False).learned_parameters() == {}
    assert rule.meta_parameter_groups(0.1) == []
    assert build_rule("adam", lr=1e-3).learned_parameters() == {}
