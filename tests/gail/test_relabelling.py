"""SAC on a learned reward: samples of its buffer are paid what the reward is today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecNormalize

from l2l_gail.errors import InputError
from l2l_gail.gail import (
    LearnedReward,
    RelabellingReplayBuffer,
    VecLearnedReward,
)
from tests.gail.reward_support import airl, by_hand, new_reward, vec_env
from tests.gail.support import walk_demos, walk_envs


def sac(reward: LearnedReward, env: Any = None, **kwargs: Any) -> SAC:
    env = VecLearnedReward(walk_envs(), reward, update_every=32) if env is None else env
    return SAC(
        "MlpPolicy",
        env,
        buffer_size=500,
        learning_starts=16,
        batch_size=32,
        policy_kwargs={"net_arch": [16]},
        replay_buffer_class=RelabellingReplayBuffer,
        replay_buffer_kwargs={"reward": reward},
        seed=0,
        device="cpu",
        **kwargs,
    )


def test_samples_of_the_buffer_have_the_reward_of_today_in_the_environments_unit() -> None:
    reward = new_reward()
    model = sac(reward).learn(64)
    buffer = model.replay_buffer
    before = buffer.rewards.copy()
    for _ in range(20):
        reward.update(walk_demos().obs, walk_demos().acts - 0.3)
    samples = buffer.sample(200)
    # The bounds are -0.5 and 1: what SB3 stores as -1 and 1.
    acts = -0.5 + 1.5 * (samples.actions.numpy() + 1.0) / 2.0
    expected = by_hand(reward, samples.observations.numpy(), acts)
    np.testing.assert_allclose(samples.rewards.numpy()[:, 0], expected, rtol=1e-4)
    stored = set(before.ravel().tolist())
    assert not stored & set(samples.rewards.numpy().ravel().tolist())
    np.testing.assert_array_equal(buffer.rewards, before)


def test_a_normalising_wrapper_around_leaves_the_reward_of_raw_observations() -> None:
    reward = new_reward()
    inner = VecLearnedReward(walk_envs(), reward, update_every=0)
    model = sac(reward, VecNormalize(inner, norm_reward=False)).learn(64)
    buffer, norm = model.replay_buffer, model.get_vec_normalize_env()
    np.random.seed(1)
    raw = buffer.sample(50)
    np.random.seed(1)
    seen = buffer.sample(50, env=norm)
    assert torch.equal(raw.rewards, seen.rewards)
    expected = norm.normalize_obs(raw.observations.numpy())
    np.testing.assert_allclose(seen.observations.numpy(), expected, rtol=1e-6)
    with pytest.raises(InputError, match="put VecNormalize around"):
        VecLearnedReward(VecNormalize(walk_envs()), reward)


def test_rewards_that_a_wrapper_normalises_are_drawn_normalised() -> None:
    reward = new_reward()
    inner = VecLearnedReward(walk_envs(), reward, update_every=0)
    model = sac(reward, VecNormalize(inner, norm_obs=False)).learn(64)
    norm = model.get_vec_normalize_env()
    np.random.seed(1)
    raw = model.replay_buffer.sample(50)
    np.random.seed(1)
    seen = model.replay_buffer.sample(50, env=norm)
    expected = norm.normalize_reward(raw.rewards.numpy())
    assert not np.allclose(raw.rewards.numpy(), expected)
    np.testing.assert_allclose(seen.rewards.numpy(), expected, rtol=1e-6)


def test_hindsight_is_refused_that_would_pay_the_environments_own_reward() -> None:
    wrapped = VecLearnedReward(walk_envs(), new_reward(), update_every=0)
    with pytest.raises(InputError, match="HerReplayBuffer asks the environment for the reward"):
        wrapped.env_method("compute_reward", np.zeros(2), np.zeros(2), {})
    assert wrapped.env_method("get_wrapper_attr", "spec") == wrapped.venv.get_attr("spec")


def test_shaped_rewards_reach_the_buffers_samples() -> None:
    reward = LearnedReward(airl(), shaped=True)
    env = VecLearnedReward(vec_env(), reward, update_every=0)
    model = sac(reward, env).learn(90)
    samples = model.replay_buffer.sample(300)
    assert 0 < samples.dones.mean() < 1
    acts = -0.5 + 0.75 * (samples.actions.numpy() + 1.0)
    obs, after = samples.observations.numpy(), samples.next_observations.numpy()
    expected = reward(obs, acts, after, samples.dones.numpy()[:, 0])
    np.testing.assert_allclose(samples.rewards.numpy()[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_sac_and_its_buffer_are_saved_without_the_reward(tmp_path: Path) -> None:
    reward = new_reward()
    model = sac(reward).learn(48)
    model.save(tmp_path / "sac", exclude=["replay_buffer_kwargs"])
    model.save_replay_buffer(tmp_path / "buffer")
    reward.save(tmp_path / "reward")
    seen = np.zeros((1, 2), np.float32)
    acting = SAC.load(tmp_path / "sac", device="cpu").predict(seen, deterministic=True)[0]
    np.testing.assert_array_equal(acting, model.predict(seen, deterministic=True)[0])
    again = SAC.load(
        tmp_path / "sac",
        replay_buffer_kwargs={"reward": reward},
        env=VecLearnedReward(walk_envs(), reward),
        device="cpu",
    )
    again.load_replay_buffer(tmp_path / "buffer")
    with pytest.raises(InputError, match="has no reward, which is not saved with it"):
        again.replay_buffer.sample(4)
    again.replay_buffer.reward = LearnedReward.load(
        tmp_path / "reward.zip", walk_demos(), device="cpu"
    )
    np.random.seed(0)
    found = again.replay_buffer.sample(8)
    np.random.seed(0)
    assert torch.equal(found.rewards, model.replay_buffer.sample(8).rewards)
