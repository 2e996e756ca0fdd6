"""What the tests of the learned reward share: rewards, environments, and the formula by hand."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

from l2l_gail.gail import (
    AIRL,
    LearnedReward,
)
from tests.gail.models import SMALL
from tests.gail.support import ENV_ID, TIME_LIMIT, Walk, walk_demos, walk_envs

CUT_ID = "tests/CutWalk-v0"


class CutWalk(Walk):
    """The walk, which terminates beyond 1.5."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, _, truncated, info = super().step(action)
        return obs, reward, abs(self.at) > 1.5, truncated, info


gymnasium.register(CUT_ID, entry_point=CutWalk, max_episode_steps=TIME_LIMIT)


def new_reward(**kwargs: Any) -> LearnedReward:
    return LearnedReward.for_env(
        ENV_ID, walk_demos(), discriminator=SMALL, seed=0, device="cpu", **kwargs
    )


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def by_hand(reward: LearnedReward, obs: np.ndarray, acts: np.ndarray) -> np.ndarray:
    """GAIL's reward from the network's own weights, in numpy."""
    own, demos = reward.model.discriminator, walk_demos()
    scale = 1.0 / (demos.obs_std + 1e-3)
    h = np.column_stack([np.clip((obs - demos.obs_mean) * scale, -10, 10), acts.clip(-0.5, 1.0)])
    *hidden, last = [(p.weight.detach().numpy(), p.bias.detach().numpy()) for p in own.layers]
    for weight, bias in hidden:
        h = np.tanh(h @ weight.T + bias)
    return softplus(h @ last[0].T + last[1])[:, 0]


def airl(**kwargs: Any) -> AIRL:
    kwargs = {"n_steps": 16, "batch_size": 16, "seed": 0, "device": "cpu", **kwargs}
    return AIRL("MlpPolicy", walk_envs(), walk_demos(), discriminator=SMALL, **kwargs)


def vec_env(env_id: str = CUT_ID, n_envs: int = 3) -> DummyVecEnv:
    return DummyVecEnv([lambda: gymnasium.make(env_id)] * n_envs)
