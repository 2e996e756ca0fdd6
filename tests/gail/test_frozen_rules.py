"""A learned rule that is frozen is applied as it is, saved as it is, and loaded as it is."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from l2l_gail import GAIL, L2LGAIL
from l2l_gail.core import CoordinateMLP, GatedMomentum, MatrixRule, UpdateRule
from l2l_gail.gail import RuleTraining
from tests.gail.models import ROLLOUT, make

RULES = [GatedMomentum(0.01), CoordinateMLP(1e-3), MatrixRule()]


def frozen(rule: UpdateRule) -> UpdateRule:
    return copy.deepcopy(rule).requires_grad_(False)


def weights(model: GAIL) -> dict[str, Tensor]:
    assert model.rule is not None
    return copy.deepcopy(model.rule.state_dict())


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_it_trains_as_one_whose_learning_rate_is_0(rule: UpdateRule) -> None:
    still = RuleTraining(meta_learning_rate=0.0)
    at_0 = make(GAIL, rule=rule, rule_training=still).learn(2 * ROLLOUT)
    # Given a `rule_training`, a rule that learns nothing holds the same data out.
    as_is = make(GAIL, rule=frozen(rule), rule_training=still).learn(2 * ROLLOUT)
    assert_equal(weights(at_0), weights(as_is))
    assert_equal(at_0.discriminator.state_dict(), as_is.discriminator.state_dict())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_it_is_frozen_after_loading_too(tmp_path: Path, rule: UpdateRule) -> None:
    model = make(L2LGAIL, rule=frozen(rule)).learn(2 * ROLLOUT)
    model.save(tmp_path / "model")
    loaded = L2LGAIL.load(tmp_path / "model", make(GAIL).env, demonstrations=model.demonstrations)
    assert loaded.rule is not None
    assert not loaded.rule.learned_parameters()
    loaded.learn(2 * ROLLOUT)
    assert_equal(weights(loaded), weights(model))


def test_a_part_of_it_may_be_frozen(tmp_path: Path) -> None:
    rule = CoordinateMLP(1e-3)
    rule.log_step.requires_grad_(False)
    model = make(GAIL, rule=rule, rule_training=RuleTraining(meta_every=1)).learn(2 * ROLLOUT)
    model.save(tmp_path / "model")
    loaded = GAIL.load(tmp_path / "model", make(GAIL).env, demonstrations=model.demonstrations)
    before = weights(loaded)
    loaded.learn(2 * ROLLOUT)
    same = [name for name, tensor in weights(loaded).items() if torch.equal(tensor, before[name])]
    assert same == ["log_step"]


def test_it_may_be_frozen_in_the_middle_of_a_training(tmp_path: Path) -> None:
    model = make(GAIL, rule=MatrixRule(), rule_training=RuleTraining(meta_every=1))
    model.learn(2 * ROLLOUT)
    assert model.rule is not None
    learned = weights(model)
    model.rule.requires_grad_(False)
    model.learn(2 * ROLLOUT, reset_num_timesteps=False)
    assert_equal(weights(model), learned)
    model.save(tmp_path / "model")
    loaded = GAIL.load(tmp_path / "model", make(GAIL).env, demonstrations=model.demonstrations)
    loaded.learn(2 * ROLLOUT, reset_num_timesteps=False)
    assert_equal(weights(loaded), learned)


def test_what_a_model_has_learned_goes_on_frozen_if_it_is_given_so(tmp_path: Path) -> None:
    model = make(GAIL, rule=MatrixRule()).learn(2 * ROLLOUT)
    model.save(tmp_path / "model")
    assert model.rule is not None
    loaded = GAIL.load(
        tmp_path / "model",
        make(GAIL).env,
        demonstrations=model.demonstrations,
        rule=frozen(model.rule),
    )
    loaded.learn(2 * ROLLOUT)
    assert_equal(weights(loaded), weights(model))
