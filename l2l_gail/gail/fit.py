"""What demonstrations are to a model: statistics, and what speaks against training on them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import NormalizeObservation
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail.rewards import SIGNS
from l2l_gail.ppo import ObservationStatistics

__all__ = [
    "check_demonstrated",
    "check_wrappers",
    "env_spec",
    "fit_statistics",
    "read_demonstrations",
    "warn_of_observations",
    "warn_of_reward",
    "warn_of_units",
]

_STACK = 5  # the line that makes or trains the model


def env_spec(env: VecEnv | None) -> EnvSpec | None:
    """Return the Gymnasium specification behind a vector environment, ``None`` without one."""
    if env is None:
        return None
    try:
        spec = env.get_attr("spec", indices=[0])[0]
    except (AttributeError, NotImplementedError):
        return None
    return spec if isinstance(spec, EnvSpec) else None


def check_demonstrated(demonstrations: Demonstrations, judges: str, warm_start_steps: int) -> None:
    """Refuse demonstrations without what the discriminator is to judge, or a warm start to clone.

    Raises:
        InputError: There are no actions where they are needed, or no state that follows another.
    """
    if warm_start_steps:
        demonstrations.needed("acts", "a warm start by behaviour cloning")
    if judges == "state_transition":
        demonstrations.state_pairs()
    elif demonstrations.acts is None:
        raise InputError(
            "the demonstrations are of states alone, and the discriminator judges states with "
            "actions: give DiscriminatorConfig(judges='state_transition') "
            "(--judges state_transition), or demonstrations with actions"
        )


def read_demonstrations(source: Demonstrations | str | Path | None) -> Demonstrations | None:
    """Return demonstrations that are given as they are, or by their path or embedded name."""
    return Demonstrations.load(source) if isinstance(source, (str, Path)) else source


def fit_statistics(demonstrations: Demonstrations, *networks: nn.Module) -> None:
    """Give networks that normalise observations the demonstrations' statistics."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, ObservationStatistics):
                module.set(demonstrations.obs_mean, demonstrations.obs_std)


def check_wrappers(env: VecEnv | None) -> None:
    """Refuse environments whose wrapper normalises observations by statistics of its own.

    Raises:
        InputError: In one line.
    """
    try:
        wrapped = env is not None and any(env.env_is_wrapped(NormalizeObservation))
    except (AttributeError, NotImplementedError):  # no Gymnasium environments inside
        return
    if wrapped:
        raise InputError(
            "the environment's NormalizeObservation normalises observations, but they are compared "
            "with the demonstrations' raw ones, and the model normalises both alike itself: leave "
            "the wrapper out"
        )


def warn_of_reward(demonstrations: Demonstrations, reward: str) -> None:
    """Warn where a reward's sign alone speaks against what the demonstrations show."""
    conflict = demonstrations.endings.conflict(SIGNS.get(reward, "either"))
    if conflict is not None and reward != "constant":
        warnings.warn(
            f"{conflict}: so does the reward {reward!r}; try DiscriminatorConfig(reward='logit') "
            "(--reward logit), which may be of either sign",
            stacklevel=_STACK,
        )


def warn_of_units(demonstrations: Demonstrations) -> None:
    """Warn of observations that vary so little beside the others that they are not seen."""
    std = demonstrations.obs_std
    unseen = np.flatnonzero((std > 0) & (std < 1e-3 * min(float(std.max()), 1.0)))
    if len(unseen):
        warnings.warn(
            f"{len(unseen)} of {len(std)} observation entries (the first: {unseen[0]}) vary by "
            "less than a thousandth of what others do, and are scaled as if they were constant; "
            "if they matter, give them in larger units",
            stacklevel=_STACK,
        )


def warn_of_observations(demonstrations: Demonstrations, observations: np.ndarray) -> None:
    """Warn where first observations ``(N, *shape)`` are unlike any that were demonstrated."""
    strange = demonstrations.unfamiliar(observations.reshape(len(observations), -1))
    if strange:
        entries = "entry" if len(strange) == 1 else "entries"
        warnings.warn(
            "the environment's first observations are far from all demonstrated ones in "
            f"{entries} {', '.join(map(str, strange))}: is a wrapper around it that scales or "
            "normalises them?",
            stacklevel=_STACK,
        )
