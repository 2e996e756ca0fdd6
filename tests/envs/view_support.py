"""What the tests of both views share: what is played, and what it means to be the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

import envs
from envs.tasks import GYMNASIUM_TASKS
from tests.marks import slow

N = 8
SEED = 3
# Steps of the batch, and at least so many episode ends in them; a time limit sees to the ends of
# tasks that do not end by themselves.
LIMIT = {"max_episode_steps": 18}
SLOWEST = ("Ant-v5", "Humanoid-v5")
BRIEF = [env_id for env_id in sorted(GYMNASIUM_TASKS) if env_id.endswith("-v4")]
PLAYS = [
    pytest.param("Hopper-v5", {}, 400, 100, id="Hopper-v5"),
    pytest.param(
        "Hopper-v5", {"max_episode_steps": 25, "ctrl_cost_weight": 0.1}, 250, 80, id="Hopper-v5-own"
    ),
    *(
        (slow if env_id in SLOWEST else pytest.param)(env_id, LIMIT, 260, 112, id=f"{env_id}-limit")
        for env_id in sorted(GYMNASIUM_TASKS)
        if env_id.endswith("-v5")
    ),
    *(pytest.param(e, LIMIT, 40, 16, id=f"{e}-brief") for e in [*SLOWEST, *BRIEF]),
]
BROKEN = r"Hopper-v5: states that were not finite or huge \(1\)"


def actions(env: VecEnv | VectorEnv, steps: int) -> np.ndarray:
    """Return random actions ``(steps, N, act_dim)``, some of them outside the space."""
    inner = env.unwrapped
    space = getattr(inner, "single_action_space", inner.action_space)
    rng = np.random.default_rng(0)
    shape = (steps, env.num_envs, *space.shape)
    return rng.uniform(1.2 * space.low, 1.2 * space.high, shape).astype(np.float32)


def batch(env_id: str, kwargs: dict[str, Any] | None = None, n: int = N) -> Any:
    return envs.make(env_id, n, "cpu", SEED, **(kwargs or {}))


def assert_same(ours: Any, theirs: Any, at: str = "") -> None:
    """Assert equality to the last bit, keys, types of arrays and shapes included."""
    if isinstance(theirs, dict):
        assert set(ours) == set(theirs), at
        for key in theirs:
            if key != "t":  # the seconds of SB3's and Gymnasium's episode statistics
                assert_same(ours[key], theirs[key], f"{at}.{key}")
    elif isinstance(theirs, (list, tuple)) or (
        isinstance(theirs, np.ndarray) and theirs.dtype == object
    ):
        assert len(ours) == len(theirs), at
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{at}[{i}]")
    elif isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray), at
        assert ours.dtype == theirs.dtype, at
        np.testing.assert_array_equal(ours, theirs, err_msg=at)
    else:
        assert ours == theirs, at


def break_one(env: Any) -> None:
    """Make one simulation's state huge, which MuJoCo puts back within the next step."""
    env._batch.field("qvel")[1] = 1e12
