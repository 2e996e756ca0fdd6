"""TensorPPO is SB3's PPO: the same weights after the same training, whatever the spaces."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import (
    SubprocVecEnv,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.ppo import TensorPPO, TensorRolloutBuffer

N_ENVS, N_STEPS = 3, 24
ROLLOUT = N_ENVS * N_STEPS
SPACES: dict[str, spaces.Space] = {
    "box": spaces.Box(-1, 1, (3,), np.float64),
    "bools": spaces.Box(0, 1, (3,), np.bool_),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "discrete": spaces.Discrete(5),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "image": spaces.Box(0, 255, (1, 36, 36), np.uint8),
    "dict": spaces.Dict(
        {"image": spaces.Box(0, 255, (1, 36, 36), np.uint8), "x": spaces.Box(-1, 1, (2,))}
    ),
}
ACTIONS: dict[str, spaces.Space] = {
    "box": spaces.Box(-0.3, 0.5, (2,), np.float32),
    "matrix": spaces.Box(-0.3, 0.5, (2, 2), np.float32),
    "float64": spaces.Box(-0.1, 0.1, (2,), np.float64),  # float32 has no 0.1
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(2),
}


class Anything(gymnasium.Env):
    """Random observations of any space; the action decides the reward; ends at random."""

    def __init__(self, observation: str = "box", action: str = "box") -> None:
        self.observation_space = SPACES[observation]
        self.action_space = ACTIONS[action]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        ends = bool(self.np_random.random() < 0.1)
        return self.observation_space.sample(), float(np.sum(action)), ends, False, {}


def anything(
    observation: str = "box", action: str = "box", limit: int = 9, **kwargs: Any
) -> VecEnv:
    return make_vec_env(
        lambda: gymnasium.wrappers.TimeLimit(Anything(observation, action), limit),
        N_ENVS,
        seed=0,
        **kwargs,
    )


def policy_for(observation: str) -> str:
    return {"image": "CnnPolicy", "dict": "MultiInputPolicy"}.get(observation, "MlpPolicy")


def make(cls: type[PPO], env: VecEnv, policy: str = "MlpPolicy", **kwargs: Any) -> PPO:
    settings = {"n_steps": N_STEPS, "batch_size": 16, "n_epochs": 2, "seed": 0, "device": "cpu"}
    return cls(policy, env, **settings | kwargs)


def assert_trains_as_ppo(make_env: Any, policy: str = "MlpPolicy", **kwargs: Any) -> None:
    trained = []
    for cls in (PPO, TensorPPO):
        env = make_env()
        trained.append(make(cls, env, policy, **kwargs).learn(3 * ROLLOUT))
        env.close()
    theirs, ours = trained
    assert isinstance(ours.rollout_buffer, TensorRolloutBuffer)
    for name, value in theirs.policy.state_dict().items():
        assert torch.equal(ours.policy.state_dict()[name], value), name
    episodes = [[(e["r"], e["l"]) for e in model.ep_info_buffer] for model in trained]
    assert episodes[0] == episodes[1]


@pytest.mark.parametrize("observation", list(SPACES))
def test_observations_of_any_space_train_as_in_ppo(observation: str) -> None:
    assert_trains_as_ppo(lambda: anything(observation), policy_for(observation))


@pytest.mark.parametrize("action", list(ACTIONS))
def test_actions_of_any_space_train_as_in_ppo(action: str) -> None:
    assert_trains_as_ppo(lambda: anything("box", action))


@pytest.mark.parametrize(
    "options",
    [
        {"clip_range_vf": 0.1, "target_kl": 0.003, "ent_coef": 0.02, "max_grad_norm": 0.05},
        {"learning_rate": lambda left: 1e-3 * left, "clip_range": lambda left: 0.1 + 0.1 * left},
        {"normalize_advantage": False, "batch_size": 72},
        {"use_sde": True, "sde_sample_freq": 4},
        {"use_sde": True, "policy_kwargs": {"squash_output": True}},
        {"gamma": 0.9, "gae_lambda": 0.7, "vf_coef": 1.0},
    ],
    ids=["bounds", "schedules", "plain advantages", "gsde", "squashed", "discounts"],
)
def test_every_option_of_ppo_is_one_here(options: dict[str, Any]) -> None:
    assert_trains_as_ppo(anything, **options)


@pytest.mark.parametrize(
    "wrap",
    [
        VecNormalize,
        lambda env: VecNormalize(env, norm_obs=False),
        lambda env: VecFrameStack(env, 2),
        VecMonitor,
    ],
    ids=["VecNormalize", "of rewards", "VecFrameStack", "VecMonitor"],
)
@pytest.mark.filterwarnings("ignore:The environment is already wrapped")
def test_wrappers_are_part_of_the_environment(wrap: Any) -> None:
    assert_trains_as_ppo(lambda: wrap(anything()))


def test_processes_are_stepped_alike() -> None:
    assert_trains_as_ppo(lambda: anything(vec_env_cls=SubprocVecEnv))


class Doubled(TensorPPO):
    """A reward that is known: twice the environment's, and the buffer it was asked about."""

    def rollout_rewards(self, buffer: TensorRolloutBuffer) -> Tensor:
        assert buffer.rewards.shape == (N_STEPS, N_ENVS)
        self.environments = buffer.rewards.clone()
        return 2.0 * buffer.rewards


@pytest.mark.parametrize(
    ("hook", "found"),
    [
        ("rollout_rewards", torch.zeros(N_STEPS * N_ENVS)),
        ("rollout_rewards", np.zeros((N_STEPS, N_ENVS))),
        ("rollout_advantages", None),
    ],
)
def test_a_hook_that_returns_something_else_is_one_line(hook: str, found: Any) -> None:
    cls = type("Wrong", (TensorPPO,), {hook: lambda *_: found})
    with pytest.raises(InputError, match=rf"{hook} has to return a tensor of shape \({N_STEPS}, "):
        make(cls, anything()).learn(ROLLOUT)


class AtEnd(BaseCallback):
    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        self.rewards, self.time_limits = buffer.rewards.clone(), buffer.time_limits


def test_the_hook_says_what_the_rewards_are_and_callbacks_see_them() -> None:
    callback = AtEnd()
    model = make(Doubled, anything(limit=1000)).learn(ROLLOUT, callback=callback)
    assert not callback.time_limits.any()
    torch.testing.assert_close(callback.rewards, 2.0 * model.environments, rtol=0, atol=0)
    limited = make(Doubled, anything(limit=2)).learn(ROLLOUT, callback=callback)
    extra = callback.rewards - 2.0 * limited.environments
    assert ((extra != 0) == callback.time_limits).all()


def test_a_policy_that_there_is_not_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"no policy 'MlpLstmPolicy': give MlpPolicy, CnnPolicy"):
        TensorPPO("MlpLstmPolicy", "CartPole-v1")


def test_a_model_is_saved_and_goes_on(tmp_path: Any) -> None:
    model = make(TensorPPO, anything()).learn(ROLLOUT)
    model.save(tmp_path / "model")
    again = TensorPPO.load(tmp_path / "model", env=anything())
    observation = np.zeros((1, 3))
    np.testing.assert_array_equal(
        again.predict(observation, deterministic=True)[0],
        model.predict(observation, deterministic=True)[0],
    )
    again.learn(ROLLOUT, reset_num_timesteps=False)
    assert again.num_timesteps == 2 * ROLLOUT
