"""A tensor environment as Gymnasium's ``VectorEnv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.ppo.env import BOOKKEEPING, TensorEnv, report_broken
from l2l_gail.ppo.observations import TensorObservations, to_numpy

__all__ = ["GymVectorEnv"]


class GymVectorEnv(VectorEnv):
    """The environments of a batch as ``SyncVectorEnv`` steps them with same-step autoreset.

    Infos have Gymnasium's form: an array and a mask ``_name`` for every term; where an episode has
    ended, the terms are those of the reset, and ``final_obs`` (an object array), ``final_info``
    (terms and their masks) and their masks ``_final_obs``, ``_final_info`` tell the state that the
    step reached. All arrays are the caller's own.

    Warns of simulations that broke (``RuntimeWarning``, see ``BatchedEnv.check``) at resets and in
    steps that end an episode.

    The first ``reset`` without a seed uses the batch's, not a random one. Closing the view closes
    the environments; collecting it as garbage does not.

    Args:
        env: The environments, of ``Box`` observations. Beyond what each tensor environment has, the
            view makes use of ``spec``, ``reset_info``, ``check`` and ``close``.

    Attributes:
        tensor_env: The environments themselves.

    Raises:
        InputError: Observations of another kind.
    """

    def __init__(self, env: TensorEnv) -> None:
        space = env.single_observation_space
        if not isinstance(space, Box):
            raise InputError(f"the view for Gymnasium is for Box observations, not {space}")
        self.tensor_env = env
        self.num_envs = env.num_envs
        self.spec = getattr(env, "spec", None)
        self.render_mode = None
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = space
        self.single_action_space = env.single_action_space
        self.observation_space = batch_space(space, env.num_envs)
        self.action_space = batch_space(env.single_action_space, env.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset every environment.

        Args:
            seed: Environment i gets ``seed + i``, or the i-th of a list; without one its generator
                goes on.
            options: Ignored, as the tasks have none; but no ``reset_mask``.

        Returns:
            Observations ``(N, obs_dim)`` and infos.

        Raises:
            InputError: If a list does not have one seed for each environment, or some environments
                alone are to be reset.
        """
        if options is not None and "reset_mask" in options:
            raise InputError(
                "reset_mask: a batch resets all of its environments or, by itself, those that have "
                "ended; call reset() without it"
            )
        obs, info = self.tensor_env.reset(seed=seed)
        report_broken(self.tensor_env)
        everywhere = np.ones(self.num_envs, bool)
        return self._as_observations(obs), _masked(_only(_arrays(info), everywhere), everywhere)

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every environment; reset those whose episode ended.

        Args:
            actions: Shape ``(N, act_dim)``.

        Returns:
            Observations ``(N, obs_dim)`` after the resets, rewards ``(N,)`` float64, terminations
            and truncations ``(N,)`` bool, and infos.
        """
        # An array is the caller's way to give actions to environments on any device.
        obs, reward, terminated, truncated, info = self.tensor_env.step(actions)  # type: ignore[arg-type]
        return (
            self._as_observations(obs),
            to_numpy(reward).astype(np.float64, copy=False),
            to_numpy(terminated),
            to_numpy(truncated),
            self._infos(info),
        )

    def _infos(self, info: dict[str, Tensor]) -> dict[str, Any]:
        """Return the infos of a step in Gymnasium's form."""
        terms = {name: term for name, term in info.items() if name not in BOOKKEEPING}
        ended = to_numpy(info["_final_obs"])
        if not ended.any():
            return _masked(_arrays(terms), ~ended)
        final = np.full(self.num_envs, None, dtype=object)
        final_obs = self._as_observations(info["final_obs"])[ended]
        for i, row in zip(np.flatnonzero(ended).tolist(), final_obs, strict=True):
            final[i] = row
        reached = _arrays(terms)
        report_broken(self.tensor_env)
        infos: dict[str, Any] = {
            "final_obs": final,
            "_final_obs": ended.copy(),
            "final_info": _masked(_only(reached, ended), ended),
            "_final_info": ended.copy(),
        }
        if not ended.all():
            infos |= _masked(_only(reached, ~ended), ~ended)
        for name, term in _arrays(getattr(self.tensor_env, "reset_info", {})).items():
            array = infos.setdefault(name, np.zeros_like(term))
            array[ended] = term[ended]
            mask = infos.setdefault(f"_{name}", np.zeros(self.num_envs, bool))
            mask |= ended
        return infos

    def _as_observations(self, obs: TensorObservations) -> np.ndarray:
        assert isinstance(obs, Tensor)  # of a Box
        return to_numpy(obs).astype(self.single_observation_space.dtype, copy=False)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        close = getattr(self.tensor_env, "close", None)
        if close is not None:
            close()

    def __del__(self) -> None:
        """Leave the environments open: others may hold them."""


def _masked(terms: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, Any]:
    """Return the terms, each followed by a mask of its own."""
    infos: dict[str, Any] = {}
    for name, term in terms.items():
        infos[name], infos[f"_{name}"] = term, mask.copy()
    return infos


def _only(terms: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, np.ndarray]:
    """Return new arrays with the terms where the mask is set and zeros elsewhere."""
    chosen = {}
    for name, term in terms.items():
        chosen[name] = np.zeros_like(term)
        chosen[name][mask] = term[mask]
    return chosen


def _arrays(terms: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: to_numpy(term) for name, term in terms.items()}
