"""The averaged policy: what acts, what is saved, and that the training does not hang on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from l2l_gail.errors import InputError
from l2l_gail.gail import AIRL, GAIL, L2LGAIL
from l2l_gail.snapshots import load_policy
from tests.gail.models import weights_of
from tests.gail.support import walk_envs
from tests.gail.tensor_support import ROLLOUT, OwnPolicy, TensorWalk, make

OBS = np.array([[0.3, 6.0], [-1.0, -7.0], [2.5, 28.0]], np.float32)


def acts(model: Any) -> np.ndarray:
    return model.predict(OBS, deterministic=True)[0]


def of_policy(policy: Any) -> np.ndarray:
    return policy.predict(OBS, deterministic=True)[0]


class States(BaseCallback):
    """Notes the policy's weights before each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, torch.Tensor]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.seen.append({k: v.clone() for k, v in self.model.policy.state_dict().items()})


def trained(cls: type, rollouts: int, policy: Any = "MlpPolicy", **kwargs: Any) -> tuple[Any, Any]:
    states = States()
    model = make(cls, TensorWalk(), policy, **kwargs)  # seeds all global generators
    assert np.array_equal(acts(model), of_policy(model.policy))  # nothing is averaged yet
    model.learn(rollouts * ROLLOUT, callback=states)
    states._on_rollout_start()
    return model, states.seen


def recurrence(decay: float, average: dict, states: list[dict]) -> dict[str, torch.Tensor]:
    for t, now in enumerate(states):
        keep = min(decay, (1 + t) / (10 + t))
        average = {k: keep * average[k] + (1 - keep) * v for k, v in now.items()}
    return average


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL, AIRL])
def test_the_average_is_the_recurrence_over_rollouts_and_changes_no_training(cls: type) -> None:
    plain, _ = trained(cls, 4, policy_average=0.0)
    model, (expected, *states) = trained(cls, 4, policy_average=0.3)
    assert len(states) == 4
    expected = recurrence(0.3, expected, states)
    for name, value in weights_of(plain).items():
        assert torch.equal(value, weights_of(model)[name]), name
    for k, v in model.acting_policy.state_dict().items():
        torch.testing.assert_close(v, expected[k])
    assert plain.acting_policy is plain.policy
    assert not np.array_equal(acts(model), acts(plain))
    assert np.array_equal(acts(plain), of_policy(plain.policy))
    assert np.array_equal(acts(model), of_policy(model.acting_policy))


class Looks(BaseFeaturesExtractor):
    def __init__(self, observation_space: Any) -> None:
        super().__init__(observation_space, 3)
        self.linear = torch.nn.Linear(2, 3)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.linear(observations)


def test_an_extractor_that_policy_and_value_share_is_averaged_as_the_rest_is() -> None:
    looks = {"features_extractor_class": Looks}
    model, (expected, *states) = trained(GAIL, 4, policy_kwargs=looks)
    shared = model.acting_policy.features_extractor
    assert shared is model.acting_policy.pi_features_extractor
    assert shared is model.acting_policy.vf_features_extractor
    expected = recurrence(0.9, expected, states)
    for k, v in model.acting_policy.state_dict().items():
        torch.testing.assert_close(v, expected[k])


@pytest.mark.parametrize("policy", ["MlpPolicy", OwnPolicy])
@pytest.mark.parametrize("kwargs", [{}, {"use_sde": True}], ids=["plain", "gsde"])
def test_any_policy_is_averaged_without_a_random_number(policy: Any, kwargs: Any) -> None:
    plain, _ = trained(GAIL, 2, policy, policy_average=0.0, **kwargs)
    model, _ = trained(GAIL, 2, policy, **kwargs)
    for name, value in weights_of(plain).items():
        assert torch.equal(value, weights_of(model)[name]), name
    assert not np.array_equal(acts(model), acts(plain))


@pytest.mark.parametrize("kwargs", [{}, {"use_sde": True}], ids=["plain", "gsde"])
def test_a_policy_set_after_learning_is_what_the_average_begins_at_again(kwargs: Any) -> None:
    model, _ = trained(GAIL, 2, OwnPolicy, **kwargs)  # whose last distribution has a gradient
    doubled = {name: 2 * value for name, value in model.policy.state_dict().items()}
    model.set_parameters({"policy": doubled}, exact_match=False)
    for name, value in model.acting_policy.state_dict().items():
        assert torch.equal(value, doubled[name]), name


def test_a_loaded_model_acts_and_averages_on_as_the_one_that_was_saved(tmp_path: Path) -> None:
    model = make(GAIL, TensorWalk()).learn(2 * ROLLOUT)
    model.save(tmp_path / "model")
    again = GAIL.load(tmp_path / "model", env=TensorWalk(), demonstrations=model.demonstrations)
    assert again.policy_average == 0.9
    assert again.average is not None
    assert again.average.steps == 2
    assert np.array_equal(acts(again), acts(model))
    for each in (model, again):
        each.average.follow(model.policy)
    assert again.average.steps == 3
    for k, v in model.acting_policy.state_dict().items():
        assert torch.equal(v, again.acting_policy.state_dict()[k])


def test_a_played_model_acts_by_the_average_and_sb3s_by_the_trained_policy(tmp_path: Path) -> None:
    model = make(GAIL, walk_envs()).learn(2 * ROLLOUT)
    model.save(tmp_path / "model")
    np.testing.assert_allclose(load_policy(tmp_path)(OBS), acts(model), atol=1e-5)
    by_sb3 = PPO.load(tmp_path / "model")
    assert np.array_equal(acts(by_sb3), of_policy(model.policy))


def test_an_average_that_is_not_finite_is_neither_saved_nor_hidden(tmp_path: Path) -> None:
    model = make(GAIL, TensorWalk()).learn(ROLLOUT)
    with torch.no_grad():
        model.acting_policy.log_std.fill_(torch.nan)
    with pytest.raises(InputError, match="average 'log_std' is not finite"):
        model.save(tmp_path / "model")


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_that_averages_nothing_is_refused(decay: float) -> None:
    with pytest.raises(InputError, match="policy_average must be from 0 to below 1"):
        make(GAIL, TensorWalk(), policy_average=decay)
