"""The meta-gradient from the next step's question: reverse mode's, at the cost of none."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l2l_gail.core import (
    CoordinateMLP,
    Game,
    L2LTrainer,
    MatrixRule,
    Oracle,
    PacedMatrixRule,
    State,
    UpdateRule,
    Vars,
)
from l2l_gail.errors import InputError
from tests.core.support import assert_alike, hand_over, live_tensors


class Regression(Game):
    """A small network fitted to batches ``(x, y)``; counts how often its loss is asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def init_follower(self, batch: Any) -> Vars:
        generator = torch.Generator().manual_seed(0)
        shapes = {"w1": (5, 3), "b1": (5,), "w2": (5,)}
        return {n: torch.randn(shape, generator=generator) for n, shape in shapes.items()}

    def follower_loss(self, follower: Vars, batch: Any) -> Tensor:
        self.asked += 1
        x, y = batch
        hidden = torch.tanh(x @ follower["w1"].T + follower["b1"])
        return (hidden @ follower["w2"] - y).square().mean()


class TwoQuestions(UpdateRule):
    """Extragradient with a learned rate."""

    def __init__(self) -> None:
        super().__init__()
        self.log_lr = nn.Parameter(torch.tensor(-3.0))

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        lr = self.log_lr.exp()
        first = oracle(variables)
        there = oracle({name: x - lr * first[name] for name, x in variables.items()})
        return {name: x - lr * there[name] for name, x in variables.items()}, state


class Unasking(UpdateRule):
    """A learned drift: moves without asking for a gradient, as Naive L2L does."""

    def __init__(self) -> None:
        super().__init__()
        self.drift = nn.Parameter(torch.tensor(0.0))

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        return {name: x + self.drift for name, x in variables.items()}, state


RULES: dict[str, Callable[[], UpdateRule]] = {
    "a step": lambda: MatrixRule(1e-2),
    "steps of layers and momentum": lambda: MatrixRule(1e-2, layers=3, learn_momentum=True),
    "a network": lambda: MatrixRule(1e-2, learn_network=True),
    "a pace": lambda: PacedMatrixRule(1e-2),
    "a network on coordinates": lambda: CoordinateMLP(1e-2),
    "two questions": TwoQuestions,
    "no question": Unasking,
}


def batches(n: int, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 16, 3, generator=generator)
    return [(each, each.sum(1).sin()) for each in x]


def learning(rule: UpdateRule, mode: Any = "next", **options: Any) -> L2LTrainer:
    optimizer = torch.optim.Adam(rule.meta_parameter_groups(1e-2))
    return L2LTrainer(
        Regression(), rule, meta_optimizer=optimizer, persistent=True, meta_mode=mode, **options
    )


@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_it_is_reverse_mode_with_the_next_batch_held_out(make: Callable[[], UpdateRule]) -> None:
    data = batches(12)
    by_next, by_reverse = learning(make()), learning(make(), "reverse")
    start = [p.clone() for p in by_next.rule.parameters()]
    norms: dict[str, list[Tensor]] = {"next": [], "reverse": []}
    for now, then in itertools.pairwise(data):
        stats = by_next.step([now])
        norms["next"] += [stats["meta_gradient_norm"]] if stats else []
        norms["reverse"].append(by_reverse.step([now], [then])["meta_gradient_norm"])
    # The last of reverse mode's is still to come.
    norms["next"].append(by_next.step([data[-1]])["meta_gradient_norm"])
    torch.testing.assert_close(norms["next"], norms["reverse"])
    pairs = zip(by_next.rule.parameters(), by_reverse.rule.parameters(), start, strict=True)
    for mine, its, begun in pairs:
        torch.testing.assert_close(mine, its)
        assert not torch.equal(mine, begun) or begun.dim() == 2  # a layer behind one that is zero


@pytest.mark.parametrize(("name", "asked"), [("a step", 1), ("two questions", 2)])
def test_learning_asks_for_no_gradient_more(name: str, asked: int) -> None:
    trainer = learning(RULES[name]())
    for batch in batches(10):
        trainer.step([batch])
    assert isinstance(trainer.game, Regression)
    assert trainer.game.asked == 10 * asked


def test_a_rule_that_does_not_learn_moves_as_its_base() -> None:
    rule = MatrixRule(1e-2)
    frozen = L2LTrainer(
        Regression(),
        rule,
        meta_optimizer=torch.optim.SGD(rule.meta_parameter_groups(0.0)),
        persistent=True,
        meta_mode="next",
    )
    plain = L2LTrainer(Regression(), rule.base(), persistent=True)
    for batch in batches(5):
        frozen.step([batch])
        plain.step([batch])
    assert frozen.follower is not None
    assert plain.follower is not None
    for name, tensor in plain.follower.items():
        assert torch.equal(frozen.follower[name], tensor)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_resumed_trainer_goes_on_bit_for_bit(make: Callable[[], UpdateRule], every: int) -> None:
    straight, first, second = (learning(make(), meta_every=every) for _ in range(3))
    for batch in batches(7):
        straight.step([batch])
        first.step([batch])
    hand_over(first, second)
    for batch in batches(7, seed=2):
        straight.step([batch])
        second.step([batch])
    assert_alike(straight, second)


def test_a_saved_step_of_another_follower_is_refused() -> None:
    first, second = learning(MatrixRule(1e-2)), learning(MatrixRule(1e-2))
    first.step(batches(1))
    saved = first.state_dict()
    follower, state, answers = saved["course"]
    saved["course"] = ({"w1": follower["w1"]}, state, answers)
    with pytest.raises(ValueError, match="last step is not one of this follower"):
        second.load_state_dict(saved)


def test_it_learns_at_every_nth_step_only() -> None:
    trainer = learning(MatrixRule(1e-2), meta_every=3)
    trained = [bool(trainer.step([batch])) for batch in batches(9)]
    assert trained == [False, False, True] * 3


def test_a_new_follower_and_a_reset_rule_have_no_step_to_be_judged_by() -> None:
    trainer = learning(MatrixRule(1e-2))
    first, second = batches(2)
    assert trainer.step([first]) == {}
    trainer.begin(trainer.game.init_follower(None))
    assert trainer.step([second]) == {}
    assert trainer.step([first])
    trainer.reset_rule()
    assert trainer.step([second]) == {}


def test_a_step_that_is_rejected_is_not_judged_and_a_bad_batch_leaves_the_rule_alone() -> None:
    trainer = learning(MatrixRule(1e-2))
    good, other, third = batches(3)
    trainer.step([good])
    before = [p.clone() for p in trainer.rule.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.step([(good[0], good[1] * math.nan)])
    assert trainer.rejected == trainer.skipped == 1
    for old, new in zip(before, trainer.rule.parameters(), strict=True):
        assert torch.equal(old, new)
    assert trainer.step([other]) == {}
    assert math.isfinite(trainer.step([third])["meta_gradient_norm"])


@pytest.mark.slow
def test_memory_stays_flat() -> None:
    trainer = learning(MatrixRule(1e-2, learn_network=True))

    data = batches(45)
    for batch in data[:5]:
        trainer.step([batch])
    before = live_tensors()
    for batch in data[5:]:
        trainer.step([batch])
    assert live_tensors() == before


class OfItsOwn(Regression):
    def meta_loss(self, follower: Vars, batch: Any) -> Tensor:
        return self.follower_loss(follower, batch)


class Bounded(Regression):
    def project(self, follower: Vars, batch: Any) -> Vars:
        return {name: x.clamp(-1, 1) for name, x in follower.items()}


@pytest.mark.parametrize(
    ("game", "options", "message"),
    [
        (OfItsOwn(), {}, "OfItsOwn has a meta-loss of its own; use meta_mode='reverse'"),
        (Bounded(), {}, "Bounded has a feasible set"),
        (Regression(), {"persistent": False}, "'next' is for a persistent follower"),
        (Regression(), {"meta_on": "mean"}, "for its last point"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(
    game: Game, options: dict[str, Any], message: str
) -> None:
    rule = MatrixRule(1e-2)
    optimizer = torch.optim.SGD(rule.meta_parameter_groups(0.1))
    options = {"persistent": True} | options
    with pytest.raises(InputError, match=message) as caught:
        L2LTrainer(game, rule, meta_optimizer=optimizer, meta_mode="next", **options)
    assert "\n" not in str(caught.value)


def test_data_that_it_has_no_use_for_are_refused() -> None:
    trainer = learning(MatrixRule(1e-2))
    first, second = batches(2)
    for given in (([first, second], None), ([first], [second])):
        with pytest.raises(InputError, match="one batch a step and no meta_batches"):
            trainer.step(*given)
    assert trainer.steps == 0
