"""A tiny environment with known dynamics, and demonstrations of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from l2l_gail.demos import Demonstrations

TIME_LIMIT = 8
ENV_ID = "tests/Walk-v0"
UNDECIDED = {"disc/logit_expert": 0.0, "disc/logit_policy": 0.0}
"""What a discriminator logs whose logits are all 0."""


class Walk(gymnasium.Env):
    """A point on a line that the action moves; the reward is 100 a step, whatever happens."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-0.5, 1.0, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = float(self.np_random.normal())
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(np.asarray(action, np.float32))
        self.at += float(action[0])
        return self._observe(), 100.0, False, False, {}

    def _observe(self) -> np.ndarray:
        return np.array([self.at, 10.0 * self.at + 3.0], np.float32)


gymnasium.register(ENV_ID, entry_point=Walk, max_episode_steps=TIME_LIMIT)


def walk_envs(n_envs: int = 2, seed: int = 0) -> VecEnv:
    return make_vec_env(ENV_ID, n_envs, seed=seed)


def short_run(folder: Path, demos: Demonstrations) -> list[str]:
    """Flags of train_gail.py for two rollouts on the tiny environment, all in one folder."""
    demos.save(folder / "walk.npz")
    return (
        f"--env {ENV_ID} --demos {folder / 'walk.npz'} --n-envs 2 --n-steps 16 "
        f"--total-timesteps 64 --eval-every 32 --name short --out {folder / 'runs'}"
    ).split()


def walk_demos(
    n_episodes: int = 3, env_id: str | None = ENV_ID, act_dim: int = 1
) -> Demonstrations:
    """Episodes of an expert that always takes 0.5."""
    rng = np.random.default_rng(0)
    at = rng.normal(size=(n_episodes, 1)) + 0.5 * np.arange(TIME_LIMIT + 1)  # (E, T + 1)
    states = np.stack([at, 10.0 * at + 3.0], axis=-1).astype(np.float32)  # (E, T + 1, 2)
    n = n_episodes * TIME_LIMIT
    last = np.arange(1, n + 1) % TIME_LIMIT == 0
    return Demonstrations(
        obs=states[:, :-1].reshape(n, 2),
        acts=np.full((n, act_dim), 0.5, np.float32),
        rews=np.full(n, 100.0),
        next_obs=states[:, 1:].reshape(n, 2),
        terminals=np.zeros(n, bool),
        truncated=last,
        episode_starts=np.arange(n_episodes) * TIME_LIMIT,
        episode_lengths=np.full(n_episodes, TIME_LIMIT),
        env_id=env_id,
        random_return=0.0,
        expert_return=100.0 * TIME_LIMIT,
    )
