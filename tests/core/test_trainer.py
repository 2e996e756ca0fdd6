"""The trainer's step without a leader: when the rule is trained, and what survives a bad step."""

from __future__ import annotations

import copy
import io
import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l2l_gail.core import (
    SGD,
    Adam,
    CoordinateMLP,
    Game,
    GatedMomentum,
    L2LTrainer,
    Oracle,
    State,
    UpdateRule,
    Vars,
)
from l2l_gail.errors import InputError
from tests.core.support import awaken, problem


def weights(rule: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(rule.parameters()).detach().clone()


# The rule's training.


class WeightGame(Game):
    """A follower whose loss depends on the batch: its distance to the batch's target."""

    def __init__(self) -> None:
        self.judged: list[float] = []

    def init_follower(self, batch: Any) -> Vars:
        return {"w": torch.zeros(4)}

    def follower_loss(self, follower: Vars, batch: float) -> Tensor:
        return (follower["w"] - batch).square().mean()

    def meta_loss(self, follower: Vars, batch: float) -> Tensor:
        self.judged.append(batch)
        return self.follower_loss(follower, batch)


def weight_trainer(
    rule: UpdateRule | None = None, game: Game | None = None, **options: Any
) -> L2LTrainer:
    rule = rule or awaken(CoordinateMLP(0.01), size=0.1)
    meta = torch.optim.Adam(rule.meta_parameter_groups(1e-3))
    defaults: dict[str, Any] = {"persistent": True, "meta_optimizer": meta}
    return L2LTrainer(game or WeightGame(), rule, **(defaults | options))


@pytest.mark.parametrize("every", [1, 3])
def test_rule_is_trained_at_every_nth_step_only(every: int) -> None:
    trainer = weight_trainer(meta_every=every)
    for step in range(1, 8):
        before = weights(trainer.rule)
        stats = trainer.step([1.0])
        due = step % every == 0
        assert torch.equal(weights(trainer.rule), before) == (not due)
        assert ("meta_loss" in stats) == due
        assert ("meta_gradient_norm" in stats) == due
    assert trainer.steps == 7


def test_rule_is_judged_on_the_meta_batches() -> None:
    game = WeightGame()
    trainer = weight_trainer(game=game)
    trainer.step([1.0], [5.0])
    trainer.step([1.0])
    assert game.judged == [5.0, 1.0]


def test_rule_is_judged_at_the_last_follower_or_at_all() -> None:
    followers = {}
    for where in ("last", "mean"):
        game = WeightGame()
        trainer = weight_trainer(game=game, meta_on=where)
        stats = trainer.step([1.0, 1.0, 1.0], [2.0, 3.0, 4.0])
        followers[where] = float(stats["meta_loss"])
        assert game.judged == ([4.0] if where == "last" else [2.0, 3.0, 4.0])
    # Small steps: the follower is near 0, so the losses are near the squared targets.
    assert followers["last"] == pytest.approx(16, rel=0.1)
    assert followers["mean"] == pytest.approx((4 + 9 + 16) / 3, rel=0.1)


def test_meta_gradient_is_clipped_and_reported_as_it_was() -> None:
    norms = []
    for limit in (1e9, 1e-3):
        rule = awaken(CoordinateMLP(0.01), size=0.1)
        meta = torch.optim.SGD(rule.parameters(), lr=1.0)
        trainer = L2LTrainer(
            WeightGame(), rule, meta_optimizer=meta, persistent=True, max_meta_norm=limit
        )
        before = weights(rule)
        norm = float(trainer.step([1.0], [50.0])["meta_gradient_norm"])
        moved = float((weights(rule) - before).norm())
        assert moved == pytest.approx(min(norm, limit), rel=2e-2)
        norms.append(norm)
    assert norms[0] == pytest.approx(norms[1])
    assert norms[0] > 1e-3


def test_meta_update_that_is_not_finite_is_skipped_and_counted() -> None:
    trainer = weight_trainer()
    trainer.step([1.0])
    before = weights(trainer.rule)
    assert trainer.meta_optimizer is not None
    optimizer_before = copy.deepcopy(trainer.meta_optimizer.state_dict())
    for bad in (math.nan, math.inf):
        stats = trainer.step([1.0], [bad])
        assert not math.isfinite(stats["meta_gradient_norm"])
    assert trainer.skipped == 2
    assert torch.equal(weights(trainer.rule), before)
    assert_equal(trainer.meta_optimizer.state_dict(), optimizer_before)
    trainer.step([1.0])
    assert not torch.equal(weights(trainer.rule), before)
    assert trainer.skipped == 2


# The follower's life.


def test_persistent_follower_lives_on_and_a_fresh_one_does_not() -> None:
    lasting = L2LTrainer(WeightGame(), SGD(0.1), persistent=True)
    fresh = L2LTrainer(WeightGame(), SGD(0.1))
    for _ in range(3):
        lasting.step([1.0])
        fresh.step([1.0])
    # One step takes (w - 1) to (w - 1)(1 - 0.1 * 2 / 4).
    assert lasting.follower is not None
    torch.testing.assert_close(lasting.follower["w"], torch.full((4,), 1 - 0.95**3))
    assert fresh.follower is None
    assert lasting.last_batch == 1.0


def test_begin_starts_again_with_a_fresh_state() -> None:
    trainer = L2LTrainer(WeightGame(), Adam(0.1), persistent=True)
    trainer.step([1.0])
    trainer.begin({"w": torch.full((4,), 7.0)})
    assert trainer.state["t"] == 0
    trainer.step([1.0])
    assert trainer.follower is not None
    torch.testing.assert_close(trainer.follower["w"], torch.full((4,), 6.9))
    assert trainer.state["t"] == 1


def test_follower_that_is_not_finite_is_rejected_with_one_warning() -> None:
    trainer = L2LTrainer(WeightGame(), Adam(0.1), persistent=True)
    trainer.step([1.0])
    kept, state = trainer.follower, trainer.state
    assert kept is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for bad in (math.nan, math.inf, -math.inf):
            trainer.step([bad])
    (warning,) = caught
    assert issubclass(warning.category, RuntimeWarning)
    assert "\n" not in str(warning.message)
    assert "Adam" in str(warning.message)
    assert trainer.rejected == 3
    assert trainer.follower is kept
    assert trainer.state is state
    trainer.step([1.0])
    assert trainer.rejected == 3
    assert not torch.equal(trainer.follower["w"], kept["w"])


def dead_trainer() -> L2LTrainer:
    """A trainer that has learned for a while, and whose network is then broken."""
    trainer = weight_trainer(CoordinateMLP(0.01))
    for _ in range(3):
        trainer.step([1.0])
    with torch.no_grad():
        trainer.rule.get_parameter("w2").fill_(math.nan)
    return trainer


def test_rule_that_died_is_named_counted_and_its_base_rule_again() -> None:
    trainer = dead_trainer()
    twin = L2LTrainer(WeightGame(), Adam(0.01), persistent=True)
    twin.follower = trainer.follower
    twin.state = {name: trainer.state[name] for name in ("t", "m", "v")}
    trainer.meta_every = 2
    assert trainer.meta_optimizer is not None
    with pytest.warns(RuntimeWarning, match="weights not finite and set them back.*only counted"):
        trainer.step([1.0])
    assert (trainer.resets, trainer.skipped, trainer.rejected) == (1, 1, 0)
    assert int(trainer.rule.diagnostics(trainer.state)["fallbacks"]) == 1
    fresh = CoordinateMLP(0.01)
    assert_equal(trainer.rule.state_dict(), fresh.state_dict())
    assert trainer.meta_optimizer.state_dict()["state"] == {}
    trainer.step([1.0])  # one that does not train the rule
    for _ in range(2):
        twin.step([1.0])
    assert trainer.follower is not None
    assert twin.follower is not None
    assert torch.equal(trainer.follower["w"], twin.follower["w"])
    assert trainer.step([1.0])["meta_gradient_norm"].isfinite()
    assert not torch.equal(weights(trainer.rule), weights(fresh))
    assert trainer.resets == 1


def test_rule_without_a_fallback_that_died_recovers_too() -> None:
    rule = GatedMomentum(0.1)
    meta = torch.optim.Adam(rule.meta_parameter_groups(1e-3))
    trainer = L2LTrainer(WeightGame(), rule, meta_optimizer=meta, persistent=True)
    trainer.step([1.0])
    with torch.no_grad():
        next(rule.parameters()).fill_(math.nan)
    with pytest.warns(RuntimeWarning):
        trainer.step([1.0])
    before = trainer.follower
    trainer.step([1.0])
    assert (trainer.resets, trainer.rejected) == (1, 1)
    assert before is not None
    assert trainer.follower is not None
    assert not torch.equal(trainer.follower["w"], before["w"])


@pytest.mark.parametrize("learned", [True, False])
def test_loss_spike_leaves_no_infinite_moment(learned: bool) -> None:
    trainer = weight_trainer()
    if not learned:
        trainer = L2LTrainer(WeightGame(), Adam(0.01), persistent=True)
    trainer.step([1.0])
    state, follower = trainer.state, trainer.follower
    with pytest.warns(RuntimeWarning, match="left the finite numbers and was not taken"):
        trainer.step([1e25], [1.0])  # a finite gradient whose square is not
    assert trainer.rejected == 1
    assert trainer.state is state
    assert trainer.follower is follower
    trainer.step([1.0])
    assert all(bool(t.isfinite().all()) for t in trainer.state.values() if isinstance(t, Tensor))


def test_state_that_starts_infinite_is_no_fault() -> None:
    class Least(SGD):
        def init(self, variables: Vars) -> State:
            return {**super().init(variables), "least": torch.tensor(math.inf)}

        def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
            rest = {name: part for name, part in state.items() if name != "least"}
            moved, rest = super().forward(variables, oracle, rest)
            return moved, {**rest, "least": state["least"]}

    trainer = L2LTrainer(WeightGame(), Least(0.1), persistent=True)
    trainer.step([1.0])
    assert trainer.rejected == 0
    assert trainer.follower is not None
    assert bool((trainer.follower["w"] != 0).all())


def test_state_that_was_spoiled_from_outside_is_begun_anew() -> None:
    trainer = weight_trainer()
    trainer.step([1.0])
    follower = trainer.follower
    trainer.state["v"].fill_(math.inf)
    trainer.reset_rule()
    assert trainer.follower is not None
    assert follower is not None
    assert torch.equal(trainer.follower["w"], follower["w"])
    assert trainer.state["t"] == 0
    assert not bool(trainer.state["v"].any())


def test_rule_that_was_given_with_nan_is_refused() -> None:
    rule = CoordinateMLP(0.01)
    with torch.no_grad():
        rule.get_parameter("w1").fill_(math.nan)
    with pytest.raises(InputError, match="the weights of this CoordinateMLP are not finite"):
        weight_trainer(rule=rule)


def test_counts_go_on_after_a_resume_and_old_ones_are_read() -> None:
    trainer = dead_trainer()
    with pytest.warns(RuntimeWarning):
        trainer.step([1.0])
    saved = trainer.state_dict()
    resumed = weight_trainer(CoordinateMLP(0.01))
    resumed.load_state_dict(saved)
    assert (resumed.steps, resumed.skipped, resumed.resets) == (4, 1, 1)
    resumed.load_state_dict({**saved, "counts": [7, 2, 1]})  # as version 0.1.0 has it
    assert (resumed.steps, resumed.skipped, resumed.rejected) == (7, 2, 1)
    assert (resumed.refused, resumed.resets) == (0, 0)


def test_a_resumed_rule_that_dies_is_what_the_first_run_was_given() -> None:
    given = awaken(CoordinateMLP(0.01))
    first = weight_trainer(rule=copy.deepcopy(given))
    for _ in range(3):
        first.step([1.0])
    resumed = weight_trainer(rule=CoordinateMLP(0.01))  # as a model is built again, by its name
    resumed.load_state_dict(first.state_dict())
    assert_equal(resumed.rule.state_dict(), first.rule.state_dict())
    resumed.reset_rule()
    assert_equal(resumed.rule.state_dict(), given.state_dict())


@pytest.mark.parametrize("wrong", [math.nan, None])
def test_a_saved_start_that_is_none_of_this_rule_is_refused(wrong: float | None) -> None:
    saved = weight_trainer().state_dict()
    given = {name: tensor.clone() for name, tensor in saved["given"].items()}
    if wrong is None:
        del given["w1"]
    else:
        given["w1"].fill_(wrong)
    with pytest.raises(ValueError, match=r"the saved start .*of CoordinateMLP"):
        weight_trainer().load_state_dict({**saved, "given": given})


# Resume.


class Regression(Game):
    def __init__(self) -> None:
        self.start, self.loss = problem(torch.float32)

    def init_follower(self, batch: Any) -> Vars:
        return self.start

    def follower_loss(self, follower: Vars, batch: float) -> Tensor:
        return batch * self.loss(follower)


@pytest.mark.parametrize("learned", [True, False])
def test_resumed_trainer_goes_on_bit_for_bit(learned: bool) -> None:
    def trainer() -> L2LTrainer:
        if learned:
            return weight_trainer(game=Regression(), meta_every=2)
        return L2LTrainer(Regression(), Adam(0.01), persistent=True)

    straight, first, second = trainer(), trainer(), trainer()
    for step in range(7):
        straight.step([1.0 + step], [2.0])
        first.step([1.0 + step], [2.0])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    for step in range(8):
        straight.step([1.0 + step], [3.0])
        second.step([1.0 + step], [3.0])
    assert straight.steps == second.steps == 15
    assert straight.follower is not None
    assert second.follower is not None
    for name, tensor in straight.follower.items():
        assert torch.equal(second.follower[name], tensor)
    assert_equal(second.state_dict(), straight.state_dict())


@pytest.mark.parametrize("begun", [True, False])
def test_a_snapshot_stays_as_it_is_and_gives_the_same_twice(begun: bool) -> None:
    trainer = weight_trainer()
    for _ in range(3):
        trainer.step([1.0])
    snapshot = copy.deepcopy(trainer.state_dict())
    before, ends = copy.deepcopy(snapshot), []
    for _ in range(2):
        branch = weight_trainer()
        if begun:
            branch.step([2.0])
        branch.load_state_dict(snapshot)
        assert branch.follower["w"].data_ptr() != snapshot["follower"]["w"].data_ptr()
        for _ in range(3):
            branch.step([1.0])
        ends.append(branch.state_dict())
    assert_equal(snapshot, before)
    assert_equal(*ends)


def test_state_with_a_meta_optimizer_is_refused_by_a_trainer_without_one() -> None:
    saved = weight_trainer().state_dict()
    with pytest.raises(ValueError, match="meta_optimizer"):
        weight_trainer(meta_optimizer=None).load_state_dict(saved)
    saved = weight_trainer(meta_optimizer=None).state_dict()
    with pytest.raises(ValueError, match="saved without a meta_optimizer"):
        weight_trainer().load_state_dict(saved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"meta_every": 0}, "meta_every"),
        ({"order": "together"}, "alternating"),
        ({"meta_on": "first"}, "'last' or 'mean'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        L2LTrainer(WeightGame(), SGD(0.1), **options)


def test_game_says_what_it_lacks() -> None:
    class Bare(Game):
        def follower_loss(self, follower: Vars, batch: Any) -> Tensor:
            return follower["w"].sum()

    with pytest.raises(NotImplementedError, match="Bare does not say where a follower starts"):
        L2LTrainer(Bare(), SGD(0.1)).step([None])
    leader = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    trainer = L2LTrainer(Bare(), SGD(0.1), leader_optimizer=leader, persistent=True)
    trainer.begin({"w": torch.zeros(1)})
    with pytest.raises(NotImplementedError, match="Bare trains its leader elsewhere"):
        trainer.step([None])


def assert_equal(a: Any, b: Any) -> None:
    """Assert that two trees of dicts, lists, tensors and plain values are equal, bit for bit."""
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict | list | tuple):
        keys = list(a) if isinstance(a, dict) else range(len(a))
        assert len(a) == len(b)
        for key in keys:
            assert_equal(a[key], b[key])
    else:
        assert a == b
