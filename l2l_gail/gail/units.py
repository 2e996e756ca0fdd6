"""Units in which a network sees no observation, or tries no action: what there is to say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gymnasium.spaces import Box, Space
from stable_baselines3.common.policies import BasePolicy

__all__ = ["about_far_actions", "about_noise", "about_offsets", "about_units"]

_LEAST_LEVELS = 10  # of float32 in a standard deviation
_MOST_NOISE, _LEAST_NOISE = 20, 100  # reach of actions for the noise: a 20th of it, 100 times it
_FAR = 60  # reach of actions beyond which cloning takes far more steps


def about_units(mean: np.ndarray, std: np.ndarray, policy: BasePolicy) -> Iterator[str]:
    """Yield a warning for units in which a network sees no observation, or noise tries no action.

    Args:
        mean: Means of the demonstrations' continuous entries, ``(n,)``.
        std: Their standard deviations, ``(n,)``.
        policy: What is to be trained.
    """
    largest = float(std.max(initial=0.0))
    small = std < 1e-3 * min(largest, 1.0)
    unseen = np.flatnonzero((std > 0) & small)
    if len(unseen):
        yield (
            f"{len(unseen)} of {len(std)} observation entries (the first: {unseen[0]}) vary by "
            "less than a thousandth of what others do, and are scaled as if they were constant; "
            "if they matter, give them in larger units"
        )
    yield from about_offsets(mean, np.where(small, 0.0, std))
    yield from about_noise(policy)


def about_offsets(mean: np.ndarray, std: np.ndarray) -> Iterator[str]:
    """Yield a warning for entries so far from 0 that their values are nearly one in float32.

    Args:
        mean: Their means, ``(n,)``.
        std: Their standard deviations, ``(n,)``; those that are 0 are left out.
    """
    coarse = np.spacing(np.abs(mean).astype(np.float32)) > std / _LEAST_LEVELS
    lost = np.flatnonzero((std > 0) & coarse)
    if len(lost):
        yield (
            f"{len(lost)} of {len(std)} observation entries (the first: {lost[0]}, around "
            f"{mean[lost[0]]:.3g}) are so large for how little they vary that float32, in which "
            "networks compute, hardly tells their values apart: subtract an offset from them"
        )


def about_noise(policy: BasePolicy) -> Iterator[str]:
    """Yield a warning for actions that a new policy's Gaussian noise is of another size than."""
    log_std = getattr(policy, "log_std", None)
    if log_std is None or getattr(policy, "use_sde", False):
        return
    noise = float(log_std.detach().exp().mean())
    begins = f"the policy's noise begins with a standard deviation of {noise:.2g}"
    space = policy.action_space
    outcome = f"{begins}: nearly all that it tries is clipped"
    yield from _about_actions(space, 0.0, noise / _MOST_NOISE, outcome)
    outcome = f"{begins}: it tries hardly any of them"
    yield from _about_actions(space, noise * _LEAST_NOISE, np.inf, outcome)


def about_far_actions(space: Space) -> Iterator[str]:
    """Yield a warning for actions that a network which begins near 0 hardly learns to give."""
    yield from _about_actions(space, _FAR, np.inf, "a network's begin near 0: it hardly gets there")


def _about_actions(space: Space, least: float, most: float, outcome: str) -> Iterator[str]:
    if not isinstance(space, Box):
        return
    reach = (space.high.astype(np.float64) - space.low) / 2
    amiss = (reach > least) & (reach < most)
    if amiss.any():
        yield (
            f"actions reach {float(reach[amiss].flat[0]):.3g} to either side, where {outcome}; "
            "scale them to about 1 (gymnasium.wrappers.RescaleAction), in demonstrations too"
        )
