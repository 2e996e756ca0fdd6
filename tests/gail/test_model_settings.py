"""What a model may be made with, it may be loaded with; what it may not, is refused at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.utils import LinearSchedule

from l2l_gail.errors import InputError
from l2l_gail.gail import BC, GAIL, L2LGAIL, DiscriminatorConfig
from l2l_gail.gail.rewards import REWARDS
from tests.gail.support import walk_demos, walk_envs
from tests.gail.tensor_support import ROLLOUT, TensorWalk, make


def is_the_same(found: Any, given: Any) -> bool:
    if isinstance(given, LinearSchedule):
        found = getattr(found, "value_schedule", found)
        return isinstance(found, LinearSchedule) and vars(found) == vars(given)
    return bool((found(1.0) if callable(found) else found) == given)


@pytest.mark.parametrize(
    "setting",
    [
        {"seed": 2**31},
        {"seed": 2**32 - 1},
        {"seed": np.random.SeedSequence(0).generate_state(1)[0]},  # 2968811710
        {"max_grad_norm": math.inf},
        {"clip_range": math.inf},
        {"clip_range_vf": math.inf},
        {"target_kl": math.inf},
        {"ent_coef": -0.01},
        {"learning_rate": 0.0},
        {"learning_rate": np.float32(1e-3)},
        {"learning_rate": LinearSchedule(1e-3, 1e-4, 1.0)},
        {"clip_range": LinearSchedule(0.2, 0.1, 0.5)},
        {"verbose": False},
        {"batch_size": np.int64(20)},
        {"warm_start_steps": 1},
    ],
    ids=str,
)
def test_what_a_model_may_be_made_with_it_may_be_loaded_with(
    tmp_path: Path, setting: dict[str, Any]
) -> None:
    ((name, value),) = setting.items()
    model = make(GAIL, TensorWalk(), **setting)
    model.learn(ROLLOUT)
    model.save(tmp_path / "model.zip")
    other = GAIL.load(tmp_path / "model.zip", TensorWalk(), demonstrations=walk_demos())
    assert is_the_same(getattr(other, name), value)
    other.learn(ROLLOUT)


def test_a_training_longer_than_thirty_one_bits_may_be_loaded(tmp_path: Path) -> None:
    model = make(GAIL, TensorWalk())
    model.num_timesteps = 3 * 10**9
    model.save(tmp_path / "model.zip")
    assert GAIL.load(tmp_path / "model.zip").num_timesteps == 3 * 10**9


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"seed": -1}, r"seed must be a whole number from 0 to below 2\*\*32"),
        ({"seed": 2**32}, "seed must"),
        ({"n_epochs": 0}, "n_epochs must be a whole number from 1 on, not 0"),
        ({"n_epochs": 2.5}, "n_epochs must"),
        ({"batch_size": 20.0}, "batch_size must"),
        ({"warm_start_steps": -5}, "warm_start_steps must be a whole number from 0 on"),
        ({"warm_start_steps": 2.5}, "warm_start_steps must"),
        ({"gamma": 2}, "gamma must be from 0 to 1"),
        ({"gae_lambda": -1}, "gae_lambda must"),
        ({"clip_range": -1}, "clip_range must be above 0, or a schedule"),
        ({"max_grad_norm": -0.5}, "max_grad_norm must be above 0"),
        ({"max_grad_norm": None}, "max_grad_norm must be above 0"),
        ({"policy_pace": None}, "policy_pace must be 0 or more and finite"),
        ({"policy_pace": "1"}, "policy_pace must be 0 or more and finite"),
        ({"target_kl": math.nan}, "target_kl must"),
        ({"ent_coef": math.inf}, "ent_coef must be a finite number"),
        ({"learning_rate": math.nan}, "learning_rate must be 0 or more and finite"),
        ({"learning_rate": "fast"}, "learning_rate must"),
        ({"policy_kwargs": "dict(net_arch=[8])"}, "policy_kwargs is .*: give a Mapping, such as"),
    ],
    ids=str,
)
def test_what_no_training_could_use_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make(GAIL, TensorWalk(), **setting)
    assert "\n" not in str(caught.value)


def test_what_cloning_could_not_use_is_refused() -> None:
    for setting in ({"seed": 2**32}, {"batch_size": 0}, {"learning_rate": -1.0}):
        with pytest.raises(InputError, match=next(iter(setting))):
            BC("MlpPolicy", walk_envs(), walk_demos(), device="cpu", **setting)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [-5, math.nan, math.inf, "7", None])
def test_a_number_of_steps_that_is_none_is_refused(steps: Any) -> None:
    bc = BC("MlpPolicy", walk_envs(), walk_demos(), device="cpu")
    for model in (make(GAIL, TensorWalk()), bc):
        with pytest.raises(InputError, match="total_timesteps must be a number of steps"):
            model.learn(steps)
        assert model.num_timesteps == 0
    assert bc.learn(2.5).num_timesteps == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("policy_averag", "perhaps you meant 'policy_average'"),
        ("demos", "perhaps you meant 'demonstrations'"),
        ("reward", "the setting 'reward' is unknown"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused_at_loading(
    tmp_path: Path, name: str, hint: str
) -> None:
    make(L2LGAIL, TensorWalk()).save(tmp_path / "model.zip")
    with pytest.raises(InputError, match=r"L2LGAIL\.load: ") as caught:
        L2LGAIL.load(tmp_path / "model.zip", **{name: 0.0})
    assert hint in str(caught.value)
    L2LGAIL.load(tmp_path / "model.zip", gamma=0.9, policy_average=0.5, print_system_info=False)


def test_a_model_names_what_is_no_longer_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.zip"
    with monkeypatch.context() as patch:
        patch.setitem(REWARDS, "mine", REWARDS["gail"])
        make(GAIL, TensorWalk(), discriminator=DiscriminatorConfig(reward="mine")).save(path)
        assert GAIL.load(path).discriminator_config.reward == "mine"
    with pytest.raises(InputError, match=r"reward 'mine' is unknown.* has to be registered before"):
        GAIL.load(path)
    other = GAIL.load(path, discriminator=DiscriminatorConfig(reward="logit"))
    assert other.discriminator_config.reward == "logit"
