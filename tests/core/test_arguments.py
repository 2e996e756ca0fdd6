"""What a trainer or a strategy is given by mistake: one line says so, before anything is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from l2l_gail.core import (
    SGD,
    Adam,
    CoordinateMLP,
    EvolutionStrategy,
    Game,
    L2LTrainer,
    MatrixRule,
    SignDescent,
    UpdateRule,
    Vars,
    unroll,
)
from l2l_gail.errors import InputError


class Distance(Game):
    """How far the follower is from the batch."""

    def __init__(self) -> None:
        self.weights = nn.Parameter(torch.zeros(4))

    def init_follower(self, batch: Any) -> Vars:
        return {"w": torch.ones(4)}

    def follower_loss(self, follower: Vars, batch: float) -> Tensor:
        return (follower["w"] - batch).square().mean()

    def leader_loss(self, follower: Vars, batch: float) -> Tensor:
        return (self.weights - follower["w"]).square().mean()


def trainer(rule: Any = None, game: Any = None, **options: Any) -> L2LTrainer:
    rule = rule or CoordinateMLP(0.01)
    if "meta_optimizer" not in options:
        options["meta_optimizer"] = torch.optim.Adam(rule.parameters(), lr=1e-3)
    return L2LTrainer(game or Distance(), rule, **{"persistent": True} | options)


def refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# Whose parameters an optimizer holds.


@pytest.mark.parametrize("mode", ["reverse", "forward", "next"])
def test_meta_optimizer_of_another_rule_is_refused(mode: Any) -> None:
    optimizer = torch.optim.Adam(MatrixRule(0.01).parameters())
    message = "meta_optimizer holds a parameter that is none of this MatrixRule's"
    refused(lambda: trainer(MatrixRule(0.01), meta_optimizer=optimizer, meta_mode=mode), message)


def test_one_parameter_beside_the_rules_own_is_refused_and_counted() -> None:
    rule, game = CoordinateMLP(0.01), Distance()
    optimizer = torch.optim.SGD([*rule.parameters(), game.weights], lr=0.1)
    refused(lambda: trainer(rule, game, meta_optimizer=optimizer), "holds a parameter that is none")
    optimizer = torch.optim.SGD(CoordinateMLP(0.01).parameters(), lr=0.1)
    refused(lambda: trainer(rule, game, meta_optimizer=optimizer), "holds 7 parameters that are")


def test_optimizer_of_some_of_the_rules_parameters_trains_these() -> None:
    rule = CoordinateMLP(0.01)
    step, bias = rule.get_parameter("log_step"), rule.get_parameter("b3")
    before = bias.detach().clone()
    one = trainer(rule, meta_optimizer=torch.optim.SGD([step], lr=0.1))
    assert float(one.step([3.0])["meta_gradient_norm"]) > 0
    assert float(step.detach()) != 0
    assert torch.equal(bias, before)


def test_parameter_that_both_optimizers_move_is_refused() -> None:
    rule, game = CoordinateMLP(0.01), Distance()
    leader = torch.optim.SGD([game.weights, rule.get_parameter("w1")], lr=0.1)
    refused(lambda: trainer(rule, game, leader_optimizer=leader), "share a parameter: make the")
    apart = torch.optim.SGD([game.weights], lr=0.1)
    assert "leader_loss" in trainer(rule, game, leader_optimizer=apart).step([3.0])


def test_strategy_with_the_optimizer_of_another_rule_is_refused() -> None:
    rule = MatrixRule(0.01)
    optimizer: Any = torch.optim.SGD(MatrixRule(0.01).parameters(), lr=0.1)
    message = "optimizer holds a parameter that is none of this MatrixRule's"
    refused(lambda: EvolutionStrategy(rule, optimizer), message)
    optimizer = None
    refused(lambda: EvolutionStrategy(rule, optimizer), "optimizer is None: give an Optimizer")


# Rules, games, numbers.


@pytest.mark.parametrize(
    "rule", [Adam, "adam", None, torch.optim.Adam([torch.zeros(1, requires_grad=True)])]
)
def test_what_is_no_rule_is_refused(rule: Any) -> None:
    refused(lambda: L2LTrainer(Distance(), rule), "rule is .*: give an UpdateRule, such as ")


def test_what_is_no_game_or_no_optimizer_is_refused() -> None:
    some: Any = Distance
    refused(lambda: L2LTrainer(some, SGD(0.1)), "game is .*: give a Game, an instance")
    for name in ("meta_optimizer", "leader_optimizer"):
        options: dict[str, Any] = {name: torch.optim.Adam}
        refused(lambda o=options: trainer(**o), f"{name} is .*: give an Optimizer")  # type: ignore[misc]


@pytest.mark.parametrize("mode", ["reverse", "forward", "next"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_meta_norm": -1.0}, "max_meta_norm must be above 0, not -1.0"),
        ({"max_meta_norm": 0}, "max_meta_norm must be above 0, not 0"),
        ({"max_meta_norm": math.nan}, "max_meta_norm must be above 0, not nan"),
        ({"max_meta_norm": "1"}, "max_meta_norm must be above 0, not 1"),
        ({"max_meta_norm": None}, "max_meta_norm must be above 0, not None"),
        ({"meta_decay": 1.5}, r"meta_decay must be in \[0, 1\], not 1.5"),
        ({"meta_decay": math.nan}, r"meta_decay must be in \[0, 1\], not nan"),
        ({"meta_decay": "1"}, r"meta_decay must be in \[0, 1\], not 1"),
        ({"meta_every": 0}, "meta_every must be a whole number from 1 on, not 0"),
        ({"meta_every": 1.5}, "meta_every must be a whole number from 1 on, not 1.5"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(
    mode: Any, options: dict[str, Any], message: str
) -> None:
    refused(lambda: trainer(MatrixRule(0.01), meta_mode=mode, **options), message)


def test_infinite_norm_clips_nothing() -> None:
    ends = []
    for limit in (math.inf, 1e9):
        one = trainer(CoordinateMLP(0.01), max_meta_norm=limit)
        one.step([50.0])
        ends.append(nn.utils.parameters_to_vector(one.rule.parameters()).detach())
    assert torch.equal(*ends)
    assert bool(ends[0].isfinite().all())


# Batches.


class Named(NamedTuple):
    x: float
    y: float


@dataclass
class Data:
    x: float


BATCHES = "batches is a list, one batch for each inner step: give \\[batch\\], not "


@pytest.mark.parametrize(
    ("batches", "what"),
    [
        (torch.ones(3, 4), "a Tensor"),
        ({"y": torch.ones(3)}, "a dict"),
        (Named(1.0, 2.0), "a Named"),
        (Data(1.0), "a Data"),
        ("images", "a str"),
        (None, "a NoneType"),
        (3.0, "a float"),
        ([], "an empty one"),
        ((), "an empty one"),
    ],
)
def test_batch_in_place_of_a_list_is_refused(batches: Any, what: str) -> None:
    one = trainer()
    follower = {"w": torch.zeros(4)}
    refused(lambda: one.step(batches), BATCHES + what)
    refused(lambda: unroll(SGD(0.1), Distance(), follower, {}, batches), BATCHES + what)
    assert one.steps == 0
    assert one.follower is None
    if batches is not None:
        refused(lambda: one.step([1.0], batches), "meta_" + BATCHES + what)


@pytest.mark.parametrize("batches", [[1.0, 2.0], (1.0, 2.0)])
def test_lists_and_tuples_of_batches_are_played(batches: Any) -> None:
    course = unroll(SGD(0.5), Distance(), {"w": torch.zeros(4)}, {}, batches)
    assert course.batches == [1.0, 2.0]
    trainer().step(batches)


def test_mean_needs_as_many_meta_batches_as_batches() -> None:
    one = trainer(meta_on="mean")
    refused(lambda: one.step([1.0, 2.0], [3.0]), "give 2 meta_batches, not 1")
    assert one.steps == 0
    one.step([1.0, 2.0], [3.0, 4.0])
    assert "meta_loss" in trainer().step([1.0, 2.0], [3.0])  # the last follower needs one


def test_next_mode_refuses_a_batch_in_place_of_a_list_too() -> None:
    one = trainer(MatrixRule(0.01), meta_mode="next")
    batch: Any = torch.ones(1)
    refused(lambda: one.step(batch), BATCHES + "a Tensor")


def test_a_network_among_what_is_learned_has_no_forward_derivative() -> None:
    refused(
        lambda: trainer(CoordinateMLP(0.1, hidden=2), meta_mode="forward"),
        "the network of CoordinateMLP has no forward derivative; use meta_mode='reverse'",
    )


class Half(Distance):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def init_follower(self, batch: Any) -> Vars:
        return {"w": torch.ones(4, dtype=self.dtype), "idle": torch.zeros(2, dtype=self.dtype)}


def test_float16_is_moved_as_float32_is_and_complex_numbers_are_refused() -> None:
    found = {}
    for dtype in (torch.float16, torch.float32):
        one = L2LTrainer(Half(dtype), Adam(0.1))
        one.begin(one.game.init_follower(0.0))
        for _ in range(5):
            one.step([0.0])
        assert one.follower is not None
        assert one.follower["w"].dtype == dtype
        assert one.follower["idle"].tolist() == [0.0, 0.0]
        assert one.skipped == 0
        found[dtype] = one.follower["w"].float()
    torch.testing.assert_close(found[torch.float16], found[torch.float32], rtol=2e-3, atol=2e-3)
    for rule in (Adam(0.1), SignDescent(0.1)):
        one = L2LTrainer(Half(torch.complex64), rule)
        refused(partial(one.step, [0.0]), "'w' is complex: ")


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("rule", [Adam(0.1), SGD(0.1)])
def test_a_follower_without_variables_is_refused(persistent: bool, rule: UpdateRule) -> None:
    class Empty(Half):
        def init_follower(self, batch: Any) -> Vars:
            return {}

    one = L2LTrainer(Empty(torch.float32), rule, persistent=persistent)
    refused(lambda: one.step([0.0]), "the game's follower has no variables: ")
    refused(lambda: one.begin({}), "the game's follower has no variables: ")


def test_an_optimizer_that_asks_for_the_loss_again_is_refused() -> None:
    rule, game = MatrixRule(0.01), Distance()
    said = "is LBFGS, which asks for the loss again"
    again = torch.optim.LBFGS(rule.parameters())
    refused(lambda: L2LTrainer(game, rule, meta_optimizer=again), f"meta_optimizer {said}")
    refused(lambda: EvolutionStrategy(rule, again), f"optimizer {said}")
    leads = torch.optim.LBFGS([game.weights])
    refused(lambda: L2LTrainer(game, rule, leader_optimizer=leads), f"leader_optimizer {said}")


def begun(rule: UpdateRule, meta_optimizer: torch.optim.Optimizer | None = None) -> L2LTrainer:
    one = L2LTrainer(Distance(), rule, meta_optimizer=meta_optimizer)
    one.begin({"w": torch.ones(4)})
    one.step([0.0], [0.0] if meta_optimizer else None)
    return one


def test_a_state_of_another_rule_is_refused_by_a_new_trainer_and_changes_nothing() -> None:
    saved = begun(Adam(0.1)).state_dict()
    for other in (SGD(0.1), SGD(0.1, 0.9)):
        new = L2LTrainer(Distance(), other)
        with pytest.raises(ValueError, match="the saved state is not one of SGD"):
            new.load_state_dict(saved)
        assert new.follower is None
    rule, other = CoordinateMLP(0.1, hidden=4), CoordinateMLP(0.1, hidden=8)
    saved = begun(rule, torch.optim.Adam(rule.parameters())).state_dict()
    new = L2LTrainer(Distance(), other)
    with pytest.raises(ValueError, match="saved with a meta_optimizer, loaded otherwise"):
        new.load_state_dict(saved)
    assert new.follower is None
    meta_optimizer = torch.optim.Adam(other.parameters())
    new = L2LTrainer(Distance(), other, meta_optimizer=meta_optimizer)
    with pytest.raises(ValueError, match="the saved rule is no CoordinateMLP like this one"):
        new.load_state_dict(saved)
    assert new.follower is None
