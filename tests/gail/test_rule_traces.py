"""The tags that say whether a rule helps: what they are, and that measuring changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from l2l_gail.core import Adam, L2LTrainer, MatrixRule
from l2l_gail.gail import GAIL, L2LGAIL, RuleTraining, updates
from l2l_gail.gail.batch import TransitionBatch
from l2l_gail.gail.rule_traces import TracedStep, rule_traces
from tests.gail.models import assert_same_weights, make
from tests.gail.tensor_support import ROLLOUT, TensorWalk, logged
from tests.gail.tensor_support import make as make_on_tensors

TRACES = {"rule/meta_loss_after", "rule/meta_loss_base", "rule/gain", "rule/cosine_base"}


def test_measuring_leaves_the_training_as_it_is_to_the_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = make(L2LGAIL).learn(200)
    monkeypatch.setattr(updates, "rule_traces", lambda *args: {})
    plain = make(L2LGAIL).learn(200)
    assert_same_weights(measured, plain)
    left, right = (model.discriminator_updates.state_dict() for model in (measured, plain))
    assert torch.equal(left["stream"], right["stream"])
    assert torch.equal(left["meta_stream"], right["meta_stream"])
    for name, value in left["trainer"]["rule"].items():
        assert torch.equal(value, right["trainer"]["rule"][name])


def test_they_come_with_every_eighth_rollout() -> None:
    training = RuleTraining(meta_every=1)
    rows = logged(make_on_tensors(L2LGAIL, TensorWalk(), rule_training=training), 10 * ROLLOUT)
    assert [row["step"] // ROLLOUT for row in rows if row.keys() >= TRACES] == [1, 9]
    assert [row["step"] // ROLLOUT for row in rows if "rule/step_size" in row] == [*range(1, 11)]


def test_a_rule_that_is_not_trained_equals_its_base() -> None:
    training = RuleTraining(meta_learning_rate=0, meta_every=1)
    rows = logged(make_on_tensors(L2LGAIL, TensorWalk(), rule_training=training), 2 * ROLLOUT)
    assert rows[0]["rule/gain"] == pytest.approx(0, abs=1e-6)
    assert rows[0]["rule/cosine_base"] == pytest.approx(1, abs=1e-6)
    assert rows[0]["rule/meta_loss_after"] == pytest.approx(rows[0]["rule/meta_loss"], abs=1e-6)


def test_the_first_step_of_adam_has_the_size_of_its_rate() -> None:
    rows = logged(make_on_tensors(GAIL, TensorWalk(), rule=Adam(1e-3)), ROLLOUT)
    assert rows[0]["rule/step_size"] == pytest.approx(1e-3, rel=0.6)  # the last of three steps
    assert not TRACES & rows[0].keys()


@pytest.fixture
def step() -> tuple[L2LTrainer, TracedStep, torch.Tensor]:
    """The third step of a game, which has trained the rule."""
    training = RuleTraining(3e-2, meta_every=1, meta_mode="reverse")
    model = make(L2LGAIL, rule=MatrixRule(1e-2), rule_training=training)
    trainer = model.discriminator_updates.trainer
    generator = torch.Generator().manual_seed(0)

    def batch() -> TransitionBatch:
        sides = [torch.randn(64, 3, generator=generator) + shift for shift in (0.0, 0.5)]
        return TransitionBatch(sides[0], sides[1], (sides[0] + sides[1]) / 2)

    for _ in range(3):
        one, other = batch(), batch()
        before, state = trainer.follower, trainer.state
        stats = trainer.step([one], [other])
    assert before is not None
    assert trainer.follower is not None
    return trainer, TracedStep(before, state, trainer.follower, one, other), stats["meta_loss"]


def test_the_losses_are_those_of_the_steps_taken_anew(step: Any) -> None:
    trainer, traced, meta_loss = step
    traces = rule_traces(trainer, traced, meta_loss)

    def step_of(rule: Any) -> tuple[float, torch.Tensor]:
        fresh = L2LTrainer(trainer.game, rule, persistent=True)
        fresh.begin(traced.before)
        fresh.state = traced.state
        fresh.step([traced.batch])
        loss = float(trainer.game.follower_loss(fresh.follower, traced.held_out))
        moved = [fresh.follower[name] - traced.before[name] for name in traced.before]
        return loss, torch.cat([part.flatten() for part in moved]).double()

    by_rule, by_base = step_of(trainer.rule), step_of(trainer.rule.base())
    taken = torch.cat([(traced.after[n] - traced.before[n]).flatten() for n in traced.before])
    assert float(traces["meta_loss_after"]) == pytest.approx(by_rule[0], rel=1e-6)
    assert float(traces["meta_loss_base"]) == pytest.approx(by_base[0], rel=1e-6)
    assert float(traces["gain"]) == pytest.approx(by_base[0] - float(meta_loss), abs=1e-6)
    cosine = (taken.double() @ by_base[1]) / (taken.double().norm() * by_base[1].norm())
    assert float(traces["cosine_base"]) == pytest.approx(float(cosine), abs=1e-6)
    # One step for all weights: the rule's is the base's, longer or shorter.
    assert float(traces["cosine_base"]) == pytest.approx(1, abs=1e-5)
    assert math.copysign(1, by_rule[0] - float(meta_loss)) == -1  # training has lowered the loss


def test_one_gradient_serves_all(step: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, traced, meta_loss = step
    asked = []
    loss = type(trainer.game).follower_loss

    def counted(*args: Any) -> torch.Tensor:
        asked.append(torch.is_grad_enabled())
        return loss(*args)

    monkeypatch.setattr(type(trainer.game), "follower_loss", counted)
    rule_traces(trainer, traced, meta_loss)
    assert sum(asked) == 1
