"""Small environments of other spaces than flat boxes, their experts, and demonstrations of them."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from l2l_gail.demos import Demonstrations
from l2l_gail.demos.record import record_episodes

TIME_LIMIT = 20
SIDE = 36  # the smallest image that NatureCNN takes
SQUARE = 12
MOVES = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
CORNERS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])


class Corners(gymnasium.Env):
    """A point that is to go to a named corner, ``{"at": Box, "corner": Discrete}``.

    It moves by a tenth in one of four directions; the reward is minus the distance.
    """

    observation_space = spaces.Dict(
        {"at": spaces.Box(-9, 9, (2,), np.float32), "corner": spaces.Discrete(4)}
    )
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.normal(scale=0.1, size=2)
        self.corner = int(self.np_random.integers(4))
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.at = self.at + 0.1 * MOVES[action]
        distance = float(np.abs(self.at - CORNERS[self.corner]).sum())
        return self._observe(), -distance, False, False, {}

    def _observe(self) -> dict[str, Any]:
        return {"at": self.at.astype(np.float32), "corner": self.corner}


def corners_expert(obs: dict[str, np.ndarray]) -> np.ndarray:
    way = CORNERS[obs["corner"]] - obs["at"]
    axis = np.abs(way).argmax(axis=1)
    back = way[np.arange(len(way)), axis] < 0
    return 2 * axis + back


class Dot(gymnasium.Env):
    """A bright square somewhere in one of the four quarters of a dark picture ``(36, 36, 1)``.

    The action is to name the quarter, and pays 1 if it is right; the next square lies elsewhere.
    """

    observation_space = spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)
    action_space = spaces.Discrete(4)
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._next(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        right = float(action == self.quarter)
        return self._next(), right, False, False, {}

    def _next(self) -> np.ndarray:
        self.quarter = int(self.np_random.integers(4))
        row, column = np.array(divmod(self.quarter, 2)) * SIDE // 2
        down, right = self.np_random.integers(SIDE // 2 - SQUARE + 1, size=2)
        picture = np.zeros((SIDE, SIDE, 1), np.uint8)
        picture[row + down :, column + right :][:SQUARE, :SQUARE] = 255
        return picture


def dot_expert(obs: np.ndarray) -> np.ndarray:
    bright = obs[..., 0] > 0  # (n, 36, 36)
    row, column = bright.any(2).argmax(1), bright.any(1).argmax(1)
    return 2 * (row >= SIDE // 2) + (column >= SIDE // 2)


def cartpole_expert(obs: np.ndarray) -> np.ndarray:
    """Balances for all 500 steps: push to the side to which the pole falls."""
    lean = obs[:, 2] + 0.5 * obs[:, 3] + 0.02 * obs[:, 0] + 0.05 * obs[:, 1]
    return (lean > 0).astype(np.int64)


EXPERTS = {
    "CartPole-v1": cartpole_expert,
    "tests/Corners-v0": corners_expert,
    "tests/Dot-v0": dot_expert,
}
for name, world in (("Corners", Corners), ("Dot", Dot)):
    gymnasium.register(f"tests/{name}-v0", entry_point=world, max_episode_steps=TIME_LIMIT)


def recorded(env_id: str, n_episodes: int = 4) -> Demonstrations:
    return record_episodes(EXPERTS[env_id], env_id, range(n_episodes))


def envs_of(env_id: str, n_envs: int = 4) -> VecEnv:
    return make_vec_env(env_id, n_envs, seed=0)
