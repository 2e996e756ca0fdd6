"""Gymnasium's own environments, stepped one by one, for comparison with a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from torch import Tensor

from envs.batched import BatchedEnv
from l2l_gail.mujoco_warnings import without_mujoco_warnings

Infos = list[dict[str, Any]]

EACH_KIND = ["Ant-v5", "Hopper-v5", "Humanoid-v5", "InvertedDoublePendulum-v5", "Reacher-v4"]
"""Tasks with contact forces, without them, with other derived fields, and with an early reward."""


@dataclass(frozen=True)
class Step:
    """What one step of all environments gave, each array with a leading dimension N."""

    obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final_obs: np.ndarray
    infos: Infos
    reset_infos: dict[int, dict[str, Any]]


class Originals:
    """``gymnasium.make`` N times; an environment that ends is reset in the same step."""

    def __init__(self, env_id: str, num_envs: int, **kwargs: Any) -> None:
        with without_mujoco_warnings():
            self.envs = [gymnasium.make(env_id, **kwargs) for _ in range(num_envs)]

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, Infos]:
        """Reset all, environment i with ``seed + i`` or its own generator."""
        seeds = [None if seed is None else seed + i for i in range(len(self.envs))]
        pairs = [env.reset(seed=own) for env, own in zip(self.envs, seeds, strict=True)]
        return np.stack([obs for obs, _ in pairs]), [info for _, info in pairs]

    def step(self, actions: np.ndarray) -> Step:
        """Step all, and reset those that ended."""
        results = [env.step(action) for env, action in zip(self.envs, actions, strict=True)]
        final_obs = np.stack([result[0] for result in results])
        terminated = np.array([bool(result[2]) for result in results])
        truncated = np.array([bool(result[3]) for result in results])
        obs, reset_infos = final_obs.copy(), {}
        for i in np.flatnonzero(terminated | truncated):
            obs[i], reset_infos[int(i)] = self.envs[i].reset()
        return Step(
            obs=obs,
            reward=np.array([float(result[1]) for result in results]),
            terminated=terminated,
            truncated=truncated,
            final_obs=final_obs,
            infos=[result[4] for result in results],
            reset_infos=reset_infos,
        )

    def close(self) -> None:
        """Close all."""
        for env in self.envs:
            env.close()


def same_bits(ours: Any, theirs: Any) -> bool:
    """Whether two arrays are the same in type, shape and every bit (the sign of zero too)."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return (
        ours.dtype == theirs.dtype
        and ours.shape == theirs.shape
        and ours.tobytes() == theirs.tobytes()
    )


def random_actions(space: gymnasium.spaces.Box, steps: int, num_envs: int, seed: int) -> np.ndarray:
    """Return float32 actions ``(steps, N, act_dim)``, a sixth of them outside the bounds."""
    rng = np.random.default_rng(seed)
    unit = rng.uniform(-1.2, 1.2, (steps, num_envs, *space.shape))
    return (unit * space.high).astype(np.float32)


def outcomes(env: BatchedEnv, actions: np.ndarray) -> list[Tensor]:
    """Everything that the steps return, as one list of tensors."""
    found: list[Tensor] = []
    for action in actions:
        *results, info = env.step(action)
        found += [*results, *(info[name] for name in sorted(info))]
        found += [value.clone() for _, value in sorted(env.reset_info.items())]
    return found


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """Return whether two lists of tensors are equal to the last bit."""
    assert len(ours) == len(theirs)
    return all(same_bits(a, b) for a, b in zip(ours, theirs, strict=True))
