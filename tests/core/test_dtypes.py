"""Followers whose tensors are of several dtypes, or of one that has no gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from l2l_gail.core import (
    SGD,
    Adam,
    ConvPerturber,
    FieldOracle,
    Game,
    L2LTrainer,
    MatrixRule,
    Oracle,
    UpdateRule,
    Vars,
    build_rule,
    registry,
    unroll,
)
from l2l_gail.errors import InputError
from tests.core.support import every_rule, name_of

MIXED = [torch.float32, torch.float64, torch.bfloat16]
OWN = [name for name, kind in registry._RULES.items() if kind.__module__.startswith("l2l_gail.")]


def mixed() -> Vars:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (4,), ()]
    return {
        f"w{i}": torch.randn(shape, generator=generator).to(dtype)
        for i, (shape, dtype) in enumerate(zip(shapes, MIXED, strict=True))
    }


def loss(variables: Vars) -> Tensor:
    return torch.stack([(x.double() - 1).square().sum() for x in variables.values()]).sum()


def dtypes(variables: Vars) -> list[torch.dtype]:
    return [tensor.dtype for tensor in variables.values()]


def by_name(name: str) -> UpdateRule:
    return build_rule(name, **({"d0": 1e-2} if name == "prodigy" else {"lr": 0.01}))


@pytest.mark.parametrize(
    "rule", [*map(by_name, OWN), build_rule("pretrained"), *every_rule()], ids=name_of
)
def test_every_variable_keeps_its_dtype_and_moves_downhill(rule: UpdateRule) -> None:
    variables = start = mixed()
    state = rule.init(variables)
    with torch.no_grad():
        for _ in range(10):
            variables, state = rule(variables, Oracle(loss), state)
            assert dtypes(variables) == MIXED
    assert all(not torch.equal(variables[name], start[name]) for name in start)
    assert float(loss(variables)) < float(loss(start))


@pytest.mark.parametrize("name", ["adam", "muon", "prodigy", "matrix_rule"])
def test_of_several_dtypes_each_moves_as_in_the_widest(name: str) -> None:
    rule = by_name(name)
    narrow = {"x": torch.linspace(-1, 2, 6).view(2, 3), "y": torch.linspace(0, 3, 4).double()}
    wide = {key: tensor.double() for key, tensor in narrow.items()}
    with torch.no_grad():
        a, _ = rule(narrow, Oracle(loss), rule.init(narrow))
        b, _ = rule(wide, Oracle(loss), rule.init(wide))
    assert torch.equal(a["y"], b["y"])
    assert torch.equal(a["x"], b["x"].float())


class Mixed(Game):
    def init_follower(self, batch: Any) -> Vars:
        return mixed()

    def follower_loss(self, follower: Vars, batch: Any) -> Tensor:
        return loss(follower)


@pytest.mark.parametrize("mode", ["reverse", "forward", "next"])
def test_rule_learns_on_several_dtypes(mode: Any) -> None:
    rule = MatrixRule(0.01)
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.01)
    trainer = L2LTrainer(Mixed(), rule, meta_optimizer=optimizer, persistent=True, meta_mode=mode)
    for _ in range(3):
        trainer.step([None])
    assert trainer.follower is not None
    assert dtypes(trainer.follower) == MIXED
    assert float(rule.log_step.detach()) > 0


# Whole numbers.


class Network(Game):
    """A follower as ``state_dict`` gives it, whole numbers included."""

    def __init__(self) -> None:
        self.module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    def init_follower(self, batch: Tensor) -> Vars:
        return {name: t.detach().clone() for name, t in self.module.state_dict().items()}

    def follower_loss(self, follower: Vars, batch: Tensor) -> Tensor:
        out: Tensor = functional_call(self.module, follower, (batch,))
        return out.square().mean()


WHOLE = (
    r"the variable '1.num_batches_tracked' is of torch.int64 and has no gradient: give the "
    r"follower's floating-point tensors alone, module.named_parameters\(\) in place of state_dict"
)


@pytest.mark.parametrize("mode", ["reverse", "forward", "next"])
@pytest.mark.parametrize("second_order", [False, True])
def test_variable_of_whole_numbers_is_named(mode: Any, second_order: bool) -> None:
    rule = MatrixRule(0.01)
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.01)
    trainer = L2LTrainer(
        Network(),
        rule,
        meta_optimizer=optimizer,
        persistent=True,
        meta_mode=mode,
        second_order=second_order,
    )
    with pytest.raises(InputError, match=WHOLE) as caught:
        trainer.step([torch.ones(3, 2)])
    assert "\n" not in str(caught.value)


def test_variable_of_whole_numbers_is_named_by_every_oracle() -> None:
    game, batch = Network(), torch.ones(3, 2)
    follower = game.init_follower(batch)
    with pytest.raises(InputError, match=WHOLE):
        unroll(Adam(0.1), game, follower, Adam(0.1).init(follower), [batch])
    with pytest.raises(InputError, match=r"the variable 'n' is of torch\.bool"):
        SGD(0.1)({"n": torch.ones(2) > 0}, FieldOracle(lambda v: v), {})


def test_what_a_rule_is_only_told_may_be_whole_numbers() -> None:
    """Labels beside an image, of which no gradient is asked."""

    class Told(Game):
        def follower_loss(self, follower: Vars, batch: Any) -> Tensor:
            return follower["x"].sum()

    rule = ConvPerturber(nn.Conv2d(1, 1, 1), 0.1, uses_gradient=False)
    follower = {"x": torch.ones(2, 1, 3, 3), "labels": torch.arange(2)}
    course = unroll(rule, Told(), follower, {}, [None])
    assert course.followers[-1]["x"].shape == (2, 1, 3, 3)
