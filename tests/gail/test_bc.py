"""BC as an algorithm: the fit, its surface, what it saves and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail import BC, GAIL, behaviour_cloning
from l2l_gail.gail.behaviour_cloning import cloning_optimizer
from tests.gail.models import make
from tests.gail.support import walk_demos, walk_envs

LINEAR = {"net_arch": [], "activation_fn": nn.Identity}


def make_bc(demos: Demonstrations | None = None, **kwargs: Any) -> BC:
    demos = walk_demos() if demos is None else demos
    return BC("MlpPolicy", walk_envs(), demos, batch_size=16, seed=0, device="cpu", **kwargs)


def noisy_demos() -> Demonstrations:
    """The walk with actions that are a line in the state, and noise."""
    demos = walk_demos()
    noise = np.random.default_rng(1).normal(size=demos.acts.shape) * 0.05
    acts = (0.1 + 0.2 * demos.obs[:, :1] + noise).astype(np.float32)
    fields = {name: getattr(demos, name) for name in demos.__dataclass_fields__}
    return Demonstrations(**{**fields, "acts": acts})


def assert_same(one: BC | GAIL, other: BC | GAIL) -> None:
    left, right = one.policy.state_dict(), other.policy.state_dict()
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


@pytest.mark.slow
def test_a_linear_policy_finds_the_least_squares_solution() -> None:
    demos = noisy_demos()
    model = make_bc(demos, policy_kwargs=LINEAR, learning_rate=1e-2).learn(3_000)
    design = np.column_stack([demos.obs[:, 0], np.ones(len(demos))])  # the other entry is a copy
    solution, residual, *_ = np.linalg.lstsq(design, demos.acts[:, 0], rcond=None)
    with torch.no_grad():
        mean = model.policy.get_distribution(torch.as_tensor(demos.obs)).mode().numpy()[:, 0]
    np.testing.assert_allclose(mean, design @ solution, atol=5e-3)
    assert np.square(mean - demos.acts[:, 0]).sum() == pytest.approx(residual[0], rel=1e-2)


def test_it_is_the_fit_of_the_function_bit_for_bit() -> None:
    by_class = make_bc().learn(120)
    by_function = make_bc()
    behaviour_cloning(by_function.policy, walk_demos(), steps=120, batch_size=16)
    assert_same(by_class, by_function)


def test_its_policy_begins_where_gails_does() -> None:
    assert_same(make_bc(), make(GAIL))


def test_value_network_and_noise_stay_as_they_are() -> None:
    model = make_bc()
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(60)
    for name, value in model.policy.state_dict().items():
        stays = "value" in name or name == "log_std" or "statistics" in name
        assert torch.equal(value, before[name]) is stays, name


class Attention(BaseFeaturesExtractor):
    """An extractor with a ``value`` that is no value network's."""

    def __init__(self, space: spaces.Space) -> None:
        super().__init__(space, features_dim=4)
        self.value = nn.Linear(2, 4)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.value(observations)


def test_what_an_extractor_calls_value_is_fitted_with_the_rest() -> None:
    model = make_bc(policy_kwargs={"features_extractor_class": Attention})
    before = model.policy.features_extractor.value.weight.detach().clone()
    model.learn(2)
    assert not torch.equal(model.policy.features_extractor.value.weight, before)


def test_what_the_value_network_shares_with_the_action_is_fitted() -> None:
    class Shared(nn.Module):
        latent_dim_pi = latent_dim_vf = 4

        def __init__(self) -> None:
            super().__init__()
            trunk = nn.Linear(2, 4)
            self.value_net, self.policy_net = nn.Sequential(trunk), nn.Sequential(trunk)

        def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
            return self.policy_net(features)

    policy = make_bc().policy
    policy.mlp_extractor = Shared()
    (group,) = cloning_optimizer(policy, 1e-3).param_groups
    acting = (policy.mlp_extractor.policy_net, policy.action_net)
    expected = {id(parameter) for part in acting for parameter in part.parameters()}
    assert {id(parameter) for parameter in group["params"]} == expected


def test_a_schedule_gives_the_rate_and_a_number_falls_to_0() -> None:
    class Rates(BaseCallback):
        def _on_step(self) -> bool:
            found.append(self.model.optimizer.param_groups[0]["lr"])
            return True

    for rate, expected in (
        (1e-3, [1e-3 * (1 - 49 / 100), 1e-3 * (1 - 99 / 100)]),
        (lambda remaining: 1e-3, [1e-3, 1e-3]),
        (lambda remaining: 1e-2 * (1 - remaining), [1e-2 * 49 / 100, 1e-2 * 99 / 100]),
        (LinearSchedule(1e-2, 1e-3, 0.5), [1e-2 - 9e-3 * 0.98, 1e-3]),
    ):
        found: list[float] = []
        make_bc(learning_rate=rate).learn(100, callback=Rates())
        assert found == pytest.approx(expected)


def test_callbacks_see_every_piece_and_may_stop_the_fit() -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 100

    model = make_bc().learn(1_000, callback=Stop())
    assert model.num_timesteps == 100


def test_a_fit_in_two_parts_is_the_whole_one(tmp_path: Path) -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 50

    whole = make_bc().learn(150)
    part = make_bc().learn(150, callback=Stop())
    part.save(tmp_path / "bc")
    again = BC.load(tmp_path / "bc", env=walk_envs(), demonstrations=walk_demos(), device="cpu")
    again.learn(100, reset_num_timesteps=False)
    assert again.num_timesteps == 150
    assert_same(again, whole)


def test_a_loaded_model_acts_without_demonstrations_and_says_that_it_cannot_learn(
    tmp_path: Path,
) -> None:
    model = make_bc().learn(60)
    model.save(tmp_path / "bc.zip")
    again = BC.load(tmp_path / "bc.zip", device="cpu")
    obs = walk_demos().obs[:5]
    expected, _ = model.predict(obs, deterministic=True)
    np.testing.assert_array_equal(again.predict(obs, deterministic=True)[0], expected)
    with pytest.raises(InputError, match="loaded without demonstrations"):
        again.learn(10)


def test_another_algorithms_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    make(GAIL).save(tmp_path / "gail.zip")
    with pytest.raises(InputError, match=r"a model of GAIL: load it with GAIL\.load"):
        BC.load(tmp_path / "gail.zip")
    make_bc().save(tmp_path / "bc.zip")
    with pytest.raises(InputError, match=r"a model of BC: load it with BC\.load"):
        GAIL.load(tmp_path / "bc.zip")


def test_it_needs_demonstrations_that_fit() -> None:
    with pytest.raises(InputError, match="BC needs demonstrations"):
        BC("MlpPolicy", walk_envs())
    with pytest.raises(InputError, match="BC needs an environment"):
        BC("MlpPolicy", None, walk_demos())
    with pytest.raises(InputError, match="Hopper"):
        make_bc(Demonstrations.load("Hopper-v5"))


def test_a_rate_that_is_too_high_is_said_in_one_line() -> None:
    for learn in (
        lambda: make_bc(learning_rate=1e30).learn(60),
        lambda: behaviour_cloning(make_bc().policy, walk_demos(), steps=9, learning_rate=1e30),
    ):
        with pytest.raises(
            InputError, match=r"no longer finite .*: lower the learning rate, 1e\+30"
        ):
            learn()


def test_ppo_reads_a_saved_model_as_its_policy_and_trains_it_on(tmp_path: Path) -> None:
    model = make_bc(noisy_demos()).learn(20)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=walk_envs(2), device="cpu", n_steps=8, batch_size=8)
    obs = noisy_demos().obs
    for policy in (loaded, BC.load(tmp_path / "model", device="cpu")):
        acted, _ = policy.predict(obs, deterministic=True)
        np.testing.assert_array_equal(acted, model.predict(obs, deterministic=True)[0])
    assert loaded.learn(16).num_timesteps >= 16


def test_a_model_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    model = make_bc(noisy_demos())
    with torch.no_grad():
        next(model.policy.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match=r"is not saved to .*is not finite"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_policy_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"no policy 'MlpLstmPolicy': give .*recurrent"):
        BC("MlpLstmPolicy", walk_envs(), walk_demos())


def test_wrappers_that_normalise_observations_are_refused_as_for_gail() -> None:
    with pytest.raises(InputError, match="pass norm_obs=False"):
        BC("MlpPolicy", VecNormalize(walk_envs()), walk_demos())
    model = make_bc()
    model.set_env(VecNormalize(walk_envs()))
    with pytest.raises(InputError, match="pass norm_obs=False"):
        model.learn(50)
    BC("MlpPolicy", VecNormalize(walk_envs(), norm_obs=False), walk_demos())


def test_a_model_loaded_without_an_environment_says_what_it_lacks(tmp_path: Path) -> None:
    make_bc().save(tmp_path / "bc")
    make().save(tmp_path / "gail")
    for cls, name in ((BC, "bc"), (GAIL, "gail")):
        model = cls.load(tmp_path / name, demonstrations=walk_demos())
        with pytest.raises(InputError, match="loaded without an environment"):
            model.learn(64)


def test_nothing_is_logged_without_an_interval() -> None:
    assert make_bc().learn(50, log_interval=None).num_timesteps == 50
