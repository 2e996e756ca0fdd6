"""Any ``VecEnv`` of stable-baselines3 as an environment whose steps are tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from l2l_gail.observations import map_parts, set_row
from l2l_gail.ppo.env import StepResult, TensorEnv
from l2l_gail.ppo.observations import TensorObservations, as_tensors
from l2l_gail.ppo.sb3_view import SB3VecEnv

__all__ = ["FromVecEnv", "as_tensor_env", "tensor_env_of"]

_CPU = torch.device("cpu")


class FromVecEnv:
    """The environments of a ``VecEnv``, wrappers included, in the form of a ``TensorEnv``.

    Says in tensors what SB3's loop reads from arrays and infos: ``info["final_obs"]`` is dense, the
    ``terminal_observation`` of the infos where an episode ended and the next observation elsewhere;
    an episode is truncated where its info says ``TimeLimit.truncated``. Rewards, observations and
    returns are those that the outermost wrapper gives.

    Args:
        vec_env: The environments; closed by whoever made them.

    Attributes:
        infos: The ``VecEnv``'s own infos of the last step, a list of ``N`` dicts.
    """

    device = _CPU

    def __init__(self, vec_env: VecEnv) -> None:
        self.vec_env = vec_env
        self.num_envs = vec_env.num_envs
        self.single_observation_space = vec_env.observation_space
        self.single_action_space = vec_env.action_space
        self.infos: list[dict[str, Any]] = []
        self._return = np.zeros(self.num_envs)
        self._length = np.zeros(self.num_envs, dtype=np.int64)

    def reset(
        self, seed: int | Sequence[int | None] | None = None
    ) -> tuple[TensorObservations, dict[str, Any]]:
        """Begin new episodes everywhere; a number seeds environment ``i`` with ``seed + i``."""
        if isinstance(seed, Sequence):
            raise TypeError("a VecEnv takes one seed, from which it counts")
        if seed is not None:
            self.vec_env.seed(seed)
        self._return[:] = 0
        self._length[:] = 0
        return as_tensors(self._own(self.vec_env.reset()), _CPU), {}

    def step(self, actions: Tensor) -> StepResult:
        """Take actions ``(N, ...)``; see :class:`~l2l_gail.ppo.env.TensorEnv`."""
        obs, rewards, dones, self.infos = self.vec_env.step(actions.cpu().numpy())
        obs = self._own(obs)
        rewards, dones = np.array(rewards), np.array(dones, dtype=bool)
        self._return += rewards
        self._length += 1
        info = {
            "final_obs": as_tensors(obs, _CPU),
            "_final_obs": torch.from_numpy(dones),
            "episode_return": torch.from_numpy(self._return.copy()),
            "episode_length": torch.from_numpy(self._length.copy()),
        }
        truncated = np.zeros_like(dones)
        if dones.any():
            final_obs = self._own(obs)
            for i in dones.nonzero()[0].tolist():
                terminal = self.infos[i].get("terminal_observation")
                if terminal is not None:  # without it there is no state to go on from
                    truncated[i] = self.infos[i].get("TimeLimit.truncated", False)
                    set_row(final_obs, i, terminal)
            info["final_obs"] = as_tensors(final_obs, _CPU)
            self._return[dones] = 0
            self._length[dones] = 0
        return (
            as_tensors(obs, _CPU),
            torch.from_numpy(rewards),
            torch.from_numpy(dones & ~truncated),
            torch.from_numpy(truncated),
            info,
        )

    def close(self) -> None:
        """Close the ``VecEnv``."""
        self.vec_env.close()

    @staticmethod
    def _own(observations: Any) -> Any:
        """Return a copy: a ``VecEnv`` may write its next observations into the same array."""
        return map_parts(np.array, observations)


def tensor_env_of(env: VecEnv | None) -> TensorEnv | None:
    """Return the tensor environment that ``env`` is a plain view of, ``None`` if it is none.

    A wrapper (``VecNormalize``, ``VecMonitor``, ...) or a subclass of the view changes or watches
    what SB3's loop sees, so what lies under one is not used.
    """
    return env.tensor_env if type(env) is SB3VecEnv else None


def as_tensor_env(env: VecEnv) -> TensorEnv:
    """Return the tensor environment behind a plain view, an adapter of any other ``VecEnv``."""
    native = tensor_env_of(env)
    return FromVecEnv(env) if native is None else native
