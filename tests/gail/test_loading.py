"""Loading with other settings than were saved, and taking over weights alone."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from l2l_gail.core import Adam, CoordinateMLP, MatrixRule, Muon, UpdateRule
from l2l_gail.errors import InputError
from l2l_gail.gail import BC, GAIL, L2LGAIL, LearnedCredit
from l2l_gail.gail.credit import CreditAssignment
from tests.core.test_trainer import assert_equal
from tests.gail.models import SMALL, weights_of
from tests.gail.support import walk_demos, walk_envs
from tests.gail.tensor_support import ROLLOUT, TensorWalk, make
from tests.gail.test_own_parts import Judge

OBS = np.array([[0.3, 6.0], [-1.0, -7.0], [2.5, 28.0]], np.float32)
OFF: dict[str, Any] = {"credit": None, "policy_pace": 0.0, "policy_average": 0.0}
ON: list[dict[str, Any]] = [
    {"credit": LearnedCredit()},
    {"policy_pace": 0.5},
    {"policy_divergence": 0.02},
    {"policy_average": 0.9},
]


def saved(path: Path, cls: type[GAIL] = GAIL, **settings: Any) -> GAIL:
    model = make(cls, TensorWalk(), **settings)
    model.learn(2 * ROLLOUT)
    model.save(path)
    return model


def loaded(path: Path, cls: type[GAIL] = GAIL, **settings: Any) -> GAIL:
    return cls.load(path, TensorWalk(), demonstrations=walk_demos(), **settings)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_a_trained_model_is_pickled_and_trains_on(cls: type[GAIL]) -> None:
    model = make(cls, TensorWalk())
    model.learn(ROLLOUT)
    other = pickle.loads(pickle.dumps(model))
    assert same(weights_of(model), weights_of(other))
    assert np.array_equal(_acts(model), _acts(other))
    other.learn(ROLLOUT, reset_num_timesteps=False)
    assert other.num_timesteps == 2 * ROLLOUT


@pytest.mark.parametrize("setting", ON, ids=lambda setting: next(iter(setting)))
def test_a_part_may_be_switched_on_or_off_at_loading(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    path = tmp_path / "model.zip"
    (name,) = setting
    off = {**OFF, "policy_divergence": 0.0}
    for before, after in ((off, off | setting), (off | setting, off)):
        model = saved(path, **before)
        other = loaded(path, **after)
        assert getattr(other, name) == after[name]
        assert same(weights_of(model), weights_of(other))  # all that both have is as it was
        other.learn(ROLLOUT)
        other.save(path)
        again = loaded(path)
        assert getattr(again, name) == after[name]
        assert np.array_equal(again.predict(OBS, deterministic=True)[0], _acts(other))


def _acts(model: GAIL) -> np.ndarray:
    return model.predict(OBS, deterministic=True)[0]


def test_an_average_that_is_switched_on_begins_at_the_policy_that_was_loaded(
    tmp_path: Path,
) -> None:
    model = saved(tmp_path / "model.zip", policy_average=0.0)
    other = loaded(tmp_path / "model.zip", policy_average=0.9)
    assert other.average is not None
    assert other.average.steps == 0
    assert same(other.average.model.state_dict(), model.policy.state_dict())


def test_a_model_that_lacks_a_part_without_saying_so_is_refused(tmp_path: Path) -> None:
    model = make(L2LGAIL, TensorWalk(), credit=LearnedCredit())
    parameters = model.get_parameters()
    for name in ("credit_assignment", "average", "discriminator"):
        fewer = {key: value for key, value in parameters.items() if key != name}
        with pytest.raises(ValueError, match=f"they lack {name}"):
            model.set_parameters(fewer)
        model.set_parameters(fewer, exact_match=False)


def test_a_policy_that_is_taken_over_without_an_average_is_acted_by() -> None:
    model, other = (make(GAIL, TensorWalk(), seed=seed) for seed in (0, 1))
    model.learn(ROLLOUT)
    parts = {"policy": other.policy.state_dict()}
    model.set_parameters(parts, exact_match=False)
    assert np.array_equal(_acts(model), _acts(other))
    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert model.average is not None
    assert model.average.steps == 1


@pytest.mark.parametrize("exact_match", [True, False])
def test_a_part_that_a_model_does_not_have_is_refused_before_any_is_replaced(
    exact_match: bool,
) -> None:
    model, other = (make(GAIL, TensorWalk(), policy_average=share) for share in (0.0, 0.9))
    for parameter in other.policy.parameters():
        parameter.data.fill_(7.0)
    before = {name: value.clone() for name, value in weights_of(model).items()}
    with pytest.raises(ValueError, match="this model has no average"):
        model.set_parameters(other.get_parameters(), exact_match)
    assert same(before, weights_of(model))


@pytest.mark.parametrize(
    "setting", [{"policy_pace": -1.0}, {"policy_divergence": -1.0}, {"policy_average": 1.5}]
)
def test_a_setting_that_cannot_be_is_refused_at_loading_too(
    tmp_path: Path, setting: dict[str, float]
) -> None:
    saved(tmp_path / "model.zip")
    with pytest.raises(InputError, match=next(iter(setting))):
        loaded(tmp_path / "model.zip", **setting)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_sizes": (3,)}, r"has hidden_sizes=\(.*\), not the \(3,\) that is given"),
        ({"judges": "state_transition"}, "has judges='state_action', not the 'state_transition'"),
        (None, "discriminator is None: give a DiscriminatorConfig, or leave it out"),
    ],
)
def test_settings_that_do_not_fit_the_saved_discriminator_are_named(
    tmp_path: Path, config: dict[str, Any] | None, message: str
) -> None:
    saved(tmp_path / "model.zip")
    asked = config and dataclasses.replace(SMALL, **config)
    with pytest.raises(InputError, match=message):
        loaded(tmp_path / "model.zip", discriminator=asked)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (MatrixRule(), Adam(1e-3)),
        (Muon(1e-2), CoordinateMLP(1e-3)),
        (Muon(1e-2), Adam(1e-3)),
        (CoordinateMLP(1e-3), CoordinateMLP(1e-2, hidden=4)),
    ],
)
def test_another_rule_begins_afresh_at_the_discriminator_that_was_saved(
    tmp_path: Path, before: UpdateRule, after: UpdateRule
) -> None:
    model = saved(tmp_path / "model.zip", rule=before)
    other = loaded(tmp_path / "model.zip", rule=after)
    trainer = other.discriminator_updates.trainer
    assert trainer.follower is not None
    assert same(dict(trainer.follower), model.discriminator.weights())
    assert_equal(trainer.state, after.init(trainer.follower))
    assert same(other.rule.state_dict(), after.state_dict())
    other.learn(ROLLOUT, reset_num_timesteps=False)
    other.save(tmp_path / "model.zip")
    assert type(loaded(tmp_path / "model.zip").rule) is type(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Adam(1e-2), Adam(1e-3)),  # whose rate alone is another one
        (MatrixRule(seed=3), MatrixRule(seed=4)),  # from which it was drawn before it learned
    ],
)
def test_a_rule_of_the_same_kind_goes_on(
    tmp_path: Path, before: UpdateRule, after: UpdateRule
) -> None:
    updates = saved(tmp_path / "model.zip", rule=before).discriminator_updates.trainer
    trainer = loaded(tmp_path / "model.zip", rule=after).discriminator_updates.trainer
    assert trainer.rule.config == after.config
    assert_equal(trainer.state, updates.state)
    assert same(trainer.rule.state_dict(), updates.rule.state_dict())


@pytest.mark.parametrize("decays", [(0.9, 0.5), (0.9, 0.7, 0.5, 0.2)])
def test_credit_of_other_estimates_begins_afresh(tmp_path: Path, decays: tuple[float, ...]) -> None:
    credit = saved(tmp_path / "model.zip", L2LGAIL).credit_assignment
    assert credit is not None
    other = loaded(tmp_path / "model.zip", L2LGAIL, credit=LearnedCredit(decays=decays))
    fresh = CreditAssignment(LearnedCredit(decays=decays))
    assert other.credit_assignment is not None
    assert same(other.credit_assignment.state_dict(), fresh.state_dict())
    other.learn(ROLLOUT, reset_num_timesteps=False)
    alike = loaded(tmp_path / "model.zip", L2LGAIL, credit=LearnedCredit(caution=1.0))
    assert alike.credit_assignment is not None
    assert same(alike.credit_assignment.state_dict(), credit.state_dict())


@pytest.mark.parametrize("setting", [{"policy_kwargs": {"net_arch": [8]}}, {"use_sde": True}])
@pytest.mark.parametrize("trust_pickle", [False, True])
def test_settings_that_do_not_fit_the_saved_policy_are_named(
    tmp_path: Path, setting: dict[str, Any], trust_pickle: bool
) -> None:
    saved(tmp_path / "model.zip")
    with pytest.raises(
        InputError, match=rf"its policy was made with {next(iter(setting))}=.*, not"
    ):
        loaded(tmp_path / "model.zip", trust_pickle=trust_pickle, **setting)


def test_a_setting_that_may_be_why_a_file_does_not_fit_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "model.zip", discriminator_network=Judge())
    other = Judge(torch.nn.Linear(8, 8))
    said = r"not fit this version, or what is given beside it \(discriminator_network\): "
    with pytest.raises(InputError, match=said):
        loaded(tmp_path / "model.zip", discriminator_network=other)


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_weights_are_taken_over_from_a_file(tmp_path: Path, cls: type[GAIL]) -> None:
    model = saved(tmp_path / "model.zip", cls)
    other = make(cls, TensorWalk(), seed=1)
    assert not same(weights_of(model), weights_of(other))
    other.set_parameters(tmp_path / "model.zip")
    assert same(weights_of(model), weights_of(other))
    assert np.array_equal(_acts(model), _acts(other))


def test_weights_of_bc_are_taken_over_from_a_file(tmp_path: Path) -> None:
    envs = walk_envs()
    model = BC("MlpPolicy", envs, walk_demos(), seed=0, device="cpu").learn(20)
    model.save(tmp_path / "bc.zip")
    other = BC("MlpPolicy", envs, walk_demos(), seed=1, device="cpu")
    other.set_parameters(tmp_path / "bc.zip")
    assert same(model.policy.state_dict(), other.policy.state_dict())


def test_weights_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    saved(tmp_path / "model.zip")
    with pytest.raises(InputError, match=r"model\.zip does not fit .*load it with load\(\)"):
        make(L2LGAIL, TensorWalk(), credit=LearnedCredit()).set_parameters(tmp_path / "model.zip")
    with pytest.raises(InputError, match="no model at"):
        make(GAIL, TensorWalk()).set_parameters(tmp_path / "nothing.zip")


def test_parameters_that_were_given_to_a_model_are_not_moved_by_its_training() -> None:
    model = make(L2LGAIL, TensorWalk())
    model.learn(ROLLOUT)
    snapshot = copy.deepcopy(model.get_parameters())
    before = copy.deepcopy(snapshot)
    other = make(L2LGAIL, TensorWalk())
    other.set_parameters(snapshot)
    other.learn(ROLLOUT)
    assert_equal(snapshot, before)
