"""Any VecEnv as a tensor environment, and a tensor environment of a user's own."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from l2l_gail.core import MatrixRule
from l2l_gail.demos import Demonstrations
from l2l_gail.gail import GAIL, L2LGAIL
from l2l_gail.ppo import FromVecEnv, SB3VecEnv, TensorEnv, TensorPPO, as_tensor_env
from tests.gail.support import TIME_LIMIT, walk_envs


def test_steps_are_the_vec_envs_with_dense_final_observations() -> None:
    theirs, env = walk_envs(2), FromVecEnv(walk_envs(2))
    assert isinstance(env, TensorEnv)
    obs, _ = env.reset(seed=3)
    theirs.seed(3)
    np.testing.assert_array_equal(obs, theirs.reset())
    total = 0.0
    for t in range(2 * TIME_LIMIT):
        action = torch.full((2, 1), 0.25 if t % 2 else -0.5)
        expected_obs, expected_rewards, dones, infos = theirs.step(action.numpy())
        obs, rewards, terminated, truncated, info = env.step(action)
        np.testing.assert_array_equal(obs, expected_obs)
        np.testing.assert_array_equal(rewards, expected_rewards)
        np.testing.assert_array_equal(info["_final_obs"], dones)
        np.testing.assert_array_equal(truncated, dones)  # this task ends by its time limit only
        assert not terminated.any()
        assert [i.get("episode", {}).get("l") for i in env.infos] == [
            i.get("episode", {}).get("l") for i in infos
        ]
        final = [
            i["terminal_observation"] if d else o
            for i, d, o in zip(infos, dones, expected_obs, strict=True)
        ]
        np.testing.assert_array_equal(info["final_obs"], np.stack(final))
        total += 100.0
        assert info["episode_return"].tolist() == [total, total]
        assert info["episode_length"].tolist() == [t % TIME_LIMIT + 1] * 2
        if dones.all():
            total = 0.0


class Reuses(DummyVecEnv):
    """Returns the same array at every step."""

    def _obs_from_buf(self) -> Any:
        return self.buf_obs[None]


def test_what_was_returned_is_never_overwritten() -> None:
    env = FromVecEnv(Reuses([lambda: gymnasium.make("tests/Walk-v0")]))
    first, _ = env.reset(seed=0)
    kept = first.clone()
    second = env.step(torch.ones(1, 1))[0]
    assert torch.equal(first, kept)
    assert not torch.equal(second, first)


def test_a_plain_view_is_unwrapped_and_all_else_adapted() -> None:
    env = Spring(4)
    assert as_tensor_env(SB3VecEnv(env)) is env
    assert isinstance(as_tensor_env(walk_envs(2)), FromVecEnv)


class Spring:
    """Masses on springs in torch, ``x'' = action - x``; the whole environment of a user's own."""

    single_observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    single_action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    device = torch.device("cpu")

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.generator = torch.Generator().manual_seed(0)

    def reset(self, seed: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        if seed is not None:
            self.generator.manual_seed(seed)
        self.state = torch.randn(self.num_envs, 2, generator=self.generator)
        self.length = torch.zeros(self.num_envs, dtype=torch.int64)
        self.total = torch.zeros(self.num_envs)
        return self.state.clone(), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
        x, v = self.state.unbind(1)
        v = v + 0.1 * (actions[:, 0] - x)
        reached = torch.stack([x + 0.1 * v, v], 1)
        reward = 1.0 - reached.square().sum(1)
        terminated = reached[:, 0].abs() > 3.0
        self.length, self.total = self.length + 1, self.total + reward
        truncated = self.length >= 25
        ended = terminated | truncated
        info = {
            "final_obs": reached,
            "_final_obs": ended,
            "episode_return": self.total,
            "episode_length": self.length,
        }
        fresh = torch.randn(self.num_envs, 2, generator=self.generator)
        self.state = torch.where(ended[:, None], fresh, reached)
        self.length, self.total = self.length * ~ended, self.total * ~ended
        return self.state.clone(), reward, terminated, truncated, info


def spring_demos() -> Demonstrations:
    """Of a controller that brakes."""
    env, obs, acts = Spring(1), [], []
    state, _ = env.reset(seed=1)
    for _ in range(100):
        action = (-2.0 * state[:, 1:]).clamp(-1, 1)
        obs.append(state[0].numpy())
        acts.append(action[0].numpy())
        state = env.step(action)[0]
    return Demonstrations(
        obs=np.stack(obs),
        acts=np.stack(acts),
        rews=np.zeros(100),
        next_obs=np.stack([*obs[1:], state[0].numpy()]),
        terminals=np.zeros(100, bool),
        truncated=np.arange(1, 101) % 25 == 0,
        episode_starts=np.arange(0, 100, 25),
        episode_lengths=np.full(4, 25),
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_an_environment_of_ones_own_is_a_legal_input_of_gail(cls: type[GAIL]) -> None:
    env = Spring(8)
    assert isinstance(env, TensorEnv)
    settings = {"n_steps": 25, "batch_size": 50, "seed": 0, "device": "cpu"}
    rule = MatrixRule() if cls is L2LGAIL else None
    model = cls("MlpPolicy", env, spring_demos(), rule=rule, **settings)
    model.learn(2 * 200)
    assert model._tensor_env is env
    assert all(1 <= episode["l"] <= 25 for episode in model.ep_info_buffer)
    assert len(model.ep_info_buffer) >= 2 * 8
    action, _ = model.predict(np.zeros((1, 2), np.float32))
    assert action.shape == (1, 1)


@pytest.mark.slow
def test_ppo_learns_the_environment_of_ones_own() -> None:
    env = Spring(64)
    model = TensorPPO(
        "MlpPolicy", env, n_steps=25, batch_size=400, learning_rate=3e-3, seed=0, device="cpu"
    )
    model.learn(1600)
    before = np.mean([episode["r"] for episode in model.ep_info_buffer])
    model.learn(15 * 1600, reset_num_timesteps=False)
    after = np.mean([episode["r"] for episode in model.ep_info_buffer])
    assert after > before + 5.0
