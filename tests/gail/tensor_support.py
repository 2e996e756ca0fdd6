"""The walk of ``gail_support`` as a tensor environment, and what compares two trainings."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor

from l2l_gail.core import Adam, CoordinateMLP
from l2l_gail.gail import GAIL, L2LGAIL, DiscriminatorConfig
from l2l_gail.ppo.policy import NormalizedPolicy
from l2l_gail.ppo.sb3_view import SB3VecEnv
from tests.gail.models import weights_of
from tests.gail.support import ENV_ID, TIME_LIMIT, Walk, walk_demos

SMALL = DiscriminatorConfig(hidden_sizes=(8, 8), updates_per_rollout=3, batch_size=16)
N_ENVS, N_STEPS = 3, 20
ROLLOUT = N_ENVS * N_STEPS


class OwnPolicy(NormalizedPolicy):
    """Someone's own policy: nothing is known of it, so it goes through SB3's methods."""


class TensorWalk:
    """Points on a line; an episode ends beyond 3, or after ``TIME_LIMIT`` steps."""

    env_id = ENV_ID
    single_observation_space = Walk.observation_space
    single_action_space = Walk.action_space
    max_episode_steps = TIME_LIMIT

    def __init__(self, num_envs: int = N_ENVS, bound: float = 3.0, device: str = "cpu") -> None:
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.bound = bound
        self.spec = gymnasium.spec(ENV_ID)
        self.reset_info: dict[str, Tensor] = {}
        self.generator = torch.Generator().manual_seed(0)
        self.at = torch.zeros(num_envs, dtype=torch.float64, device=device)
        self.length = torch.zeros_like(self.at, dtype=torch.int64)
        self.total = torch.zeros_like(self.at)
        self.steps = 0

    def reset(self, seed: int | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        if seed is not None:
            self.generator.manual_seed(seed)
        self.at = self._start()
        self.length, self.total = torch.zeros_like(self.length), torch.zeros_like(self.total)
        return self._observe(self.at), {}

    def step(self, actions: Tensor | np.ndarray) -> tuple[Any, ...]:
        actions = torch.as_tensor(actions)
        assert actions.shape == (self.num_envs, 1)
        assert actions.device.type == self.device.type
        assert ((actions >= -0.5) & (actions <= 1.0)).all()
        self.steps += 1
        reached = self.at + actions[:, 0].double()
        self.length, self.total = self.length + 1, self.total + 100.0
        terminated, truncated = reached > self.bound, self.length >= TIME_LIMIT
        done = terminated | truncated
        info = {
            "final_obs": self._observe(reached),
            "_final_obs": done,
            "episode_return": self.total,
            "episode_length": self.length,
            "x_position": reached,
        }
        self.at = torch.where(done, self._start(), reached)
        self.length, self.total = self.length * ~done, self.total * ~done
        reward = torch.full_like(self.total, 100.0)
        return self._observe(self.at), reward, terminated, truncated, info

    def sb3(self) -> VecEnv:
        return SB3VecEnv(self)

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _start(self) -> Tensor:
        start = torch.randn(self.num_envs, generator=self.generator, dtype=torch.float64)
        return start.to(self.device)

    def _observe(self, at: Tensor) -> Tensor:
        return torch.stack([at, 10.0 * at + 3.0], dim=1).float()


class Through(VecEnvWrapper):
    """A wrapper that changes nothing, but hides the tensors: it is stepped as any ``VecEnv``."""

    def reset(self) -> np.ndarray:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()


class LoggedAtRolloutEnd(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.divergences: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.log = dict(self.logger.name_to_value)
        if "train/approx_kl" in self.log:
            self.divergences.append(self.log["train/approx_kl"])


class _Rows(KVWriter):
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: Any, step: int = 0) -> None:
        kept = {k: v for k, v in key_values.items() if not k.startswith("time/")}
        self.rows.append({"step": step, **kept})

    def close(self) -> None:
        pass


def make(
    cls: type[GAIL],
    env: Any,
    policy: Any = "MlpPolicy",
    demos: Any = None,
    **kwargs: Any,
) -> GAIL:
    """A small model; it seeds torch's and numpy's global generators."""
    settings = {"n_steps": N_STEPS, "batch_size": 16, "n_epochs": 3, "seed": 0, "device": "cpu"}
    settings["discriminator"] = SMALL
    settings["rule"] = CoordinateMLP(1e-3, seed=0) if cls is L2LGAIL else Adam(1e-3)
    return cls(policy, env, demos or walk_demos(), **settings | kwargs)


def logged(model: GAIL, total: int, **kwargs: Any) -> list[dict[str, Any]]:
    """Train, and return what was logged after each rollout, times apart."""
    rows = _Rows()
    model.set_logger(Logger(None, [rows]))
    model.learn(total, **kwargs)
    model.logger.dump(model.num_timesteps)  # the last update's
    return rows.rows


def assert_trained_alike(a: GAIL, b: GAIL, atol: float) -> None:
    left, right = weights_of(a), weights_of(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], rtol=0, atol=atol, msg=name)


def assert_logged_alike(a: list[dict[str, Any]], b: list[dict[str, Any]], rel: float) -> None:
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        assert left.keys() == right.keys()
        for tag, value in left.items():
            np.testing.assert_allclose(value, right[tag], rtol=rel, atol=rel, err_msg=tag)
