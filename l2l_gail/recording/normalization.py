"""SB3's ``VecNormalize`` for environments of any unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

__all__ = ["NormalizedVecEnv", "variance_floor"]

_FLOOR = 1e-8  # VecNormalize's own
_SHARE = 1e-2
_TINY = 1e-9


def variance_floor(variance: np.ndarray | float) -> float:
    """Return what is added to variances before something is divided by their roots.

    ``VecNormalize``'s 1e-8, or a hundredth of the largest of them if that is less: where all
    observations, or the rewards, are in units of 1e-6, a floor of 1e-4 under their deviations would
    leave nothing to learn from.

    Args:
        variance: Of each entry, or of one number.
    """
    return min(_FLOOR, _SHARE * float(np.max(variance))) or _FLOOR


class NormalizedVecEnv(VecNormalize):
    """``VecNormalize`` whose floor is :func:`variance_floor`: the same where nothing is small.

    Args:
        venv: Environments whose observations are one array.
        **kwargs: Of ``VecNormalize``.
    """

    def __init__(self, venv: VecEnv, **kwargs: Any) -> None:
        super().__init__(venv, **kwargs)
        self.obs_rms = _Moments(shape=venv.observation_space.shape or ())  # type: ignore[assignment]
        self.ret_rms = _Moments(shape=())

    def _normalize_obs(self, obs: np.ndarray, obs_rms: RunningMeanStd) -> np.ndarray:
        self.epsilon = variance_floor(obs_rms.var)
        return super()._normalize_obs(obs, obs_rms)

    def normalize_reward(self, reward: np.ndarray) -> np.ndarray:
        """Return rewards divided by the deviation of their running returns, clipped."""
        self.epsilon = variance_floor(self.ret_rms.var)
        return super().normalize_reward(reward)


class _Moments(RunningMeanStd):
    """Running moments that do not begin at a variance of 1 where what is seen varies far less.

    SB3 counts that 1 as a ten-thousandth of an observation: no little beside variances of 1e-12.
    """

    def update_from_moments(
        self, batch_mean: np.ndarray, batch_var: np.ndarray, batch_count: float
    ) -> None:
        if self.count < 1.0 and 0.0 < np.max(batch_var) < _TINY:
            self.count = 0.0
        super().update_from_moments(batch_mean, batch_var, batch_count)
