"""How far the states that a policy visits are from the expert's: Wasserstein-1, entry by entry."""

from __future__ import annotations

import numpy as np
import torch

from l2l_gail.errors import InputError
from l2l_gail.ppo import ObservationStatistics

__all__ = ["StateDistance", "wasserstein_1"]


class StateDistance:
    """The mean over observation entries of the Wasserstein-1 distance to the expert's states.

    States are in the expert's units, as all networks of this library see them: shifted by the mean
    of the demonstrated ones, divided by their standard deviation and 1e-3, clipped to +-10. A
    distance of 1 is thus as large as all states being one standard deviation off. Distances by
    entry do not see how entries hang together; in return they are exact, need no samples drawn and
    take milliseconds.

    Args:
        expert_obs: Demonstrated observations ``(T, obs_dim)``, raw.

    Raises:
        InputError: They have another number of dimensions, or there are none.
    """

    def __init__(self, expert_obs: np.ndarray) -> None:
        if expert_obs.ndim != 2 or 0 in expert_obs.shape:
            raise InputError(
                f"states of shape {expert_obs.shape} have no distance: (n, width) is needed"
            )
        self._statistics = ObservationStatistics(expert_obs.shape[1])
        self._mean = expert_obs.mean(axis=0, dtype=np.float64)
        self._statistics.set(np.zeros_like(self._mean), expert_obs.std(axis=0, dtype=np.float64))
        self._expert = self._in_units(expert_obs)

    def __call__(self, obs: np.ndarray) -> float:
        """Return the distance of raw observations ``(n, obs_dim)`` to the expert's."""
        return float(wasserstein_1(self._in_units(obs), self._expert).mean())

    def _in_units(self, obs: np.ndarray) -> np.ndarray:
        # First, as float32 rounds away what a large offset leaves.
        shifted = torch.as_tensor(obs - self._mean, dtype=torch.float32)
        with torch.no_grad():
            return self._statistics(shifted).numpy()


def wasserstein_1(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distance of two samples' distributions in each column, ``(d,)``.

    In one dimension it is the area between the quantile functions, which are step functions: of
    steps ``1/n`` for one sample and ``1/m`` for the other, the same in every column.

    Args:
        a: Sample, ``(n, d)``.
        b: Sample, ``(m, d)``.
    """
    n, m = len(a), len(b)
    edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)  # in units of 1/(n m)
    start = edges[:-1]
    gaps = np.abs(np.sort(a, axis=0)[start // m] - np.sort(b, axis=0)[start // n])
    return (np.diff(edges) / (n * m)) @ gaps.astype(np.float64)
