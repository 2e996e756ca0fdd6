"""What a training's first rollouts show: whether they are of the demonstrations' environment."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from stable_baselines3.common.policies import ActorCriticPolicy

from l2l_gail.demos import Demonstrations
from l2l_gail.demos.fit import constant_entries, reordered, time_step_ratio
from l2l_gail.errors import InputError
from l2l_gail.gail.action_effects import Recording, amiss
from l2l_gail.gail.spaces import continuous_entries
from l2l_gail.ppo import ObservationParts, TensorRolloutBuffer
from l2l_gail.ppo.observations import Observations, map_tensors
from l2l_gail.ppo.rollout import environment_actions

__all__ = ["FirstRollouts"]

_STACK = 9  # the line that trains the model
_LONGER = 1.25  # a step than the demonstrations', from which on it is said
_OFTEN = 0.02  # of a rollout in which an entry has left its one demonstrated value
_ROLLOUTS = 16  # until policies have fallen


class FirstRollouts:
    """Compares the first rollouts of a training with the demonstrations, and warns.

    Steps are compared once, observations in the first sixteen rollouts: what only a policy does
    that has failed, such as lying on its back, comes after some.

    Args:
        demonstrations: What is imitated.
        observation_space: The environment's.
        action_space: The environment's.

    Attributes:
        left: Rollouts still to be compared.
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        observation_space: Space[Any],
        action_space: Space[Any],
    ) -> None:
        self.demonstrations = demonstrations
        self.spaces = (observation_space, action_space)
        self._parts = ObservationParts(observation_space)
        self._constant = constant_entries(continuous_entries(demonstrations.obs, self._parts))
        self.left = _ROLLOUTS

    def compare(self, buffer: TensorRolloutBuffer, policy: ActorCriticPolicy) -> None:
        """Compare a rollout, which the policy has played, unless enough have been."""
        if not self.left:
            return
        is_first = self.left == _ROLLOUTS
        self.left -= 1
        obs = _numbers(buffer, buffer.observations)
        if is_first:
            acts = environment_actions(policy)(buffer.by_env(buffer.actions)).numpy(force=True)
            next_obs = _numbers(buffer, buffer.final_obs)
            _warn_of_steps(self.demonstrations, obs, acts, next_obs, self.spaces)
        if not self._constant or self._told_apart(obs):
            self.left = 0

    def _told_apart(self, obs: Any) -> bool:
        """Warn of entries that alone tell these observations from all demonstrated ones."""
        entries = continuous_entries(obs, self._parts)
        found = [
            index
            for index, value in self._constant.items()
            if (entries[:, index] != value).mean() > _OFTEN
        ]
        if found:
            told = ", ".join(map(str, found[:3])) + (", ..." if len(found) > 3 else "")
            what = "entry {} has" if len(found) == 1 else "entries {} have"
            warnings.warn(
                f"observation {what.format(told)} one value in all demonstrations and others here "
                f"({len(found)} of {entries.shape[1]}): the discriminator can tell policy and "
                "expert apart by that alone; leave it out of both, by env_kwargs or a wrapper",
                stacklevel=_STACK,
            )
        return bool(found)


def _numbers(buffer: TensorRolloutBuffer, states: Observations) -> Any:
    """Return states of a rollout environment by environment, ``(n, *shape)`` or a dict of such."""
    return map_tensors(lambda steps: buffer.by_env(steps).numpy(force=True), states)


def _warn_of_steps(
    demonstrations: Demonstrations,
    obs: Any,
    acts: np.ndarray,
    next_obs: Any,
    spaces: tuple[Space[Any], Space[Any]],
) -> None:
    """Warn where steps of the environment are unlike the demonstrated ones.

    In length; in which entry of an observation is the velocity of which; and, where these are
    alike, in what actions do. One warning at most: each of these faults looks like the next.

    Args:
        demonstrations: What is imitated.
        obs: Observations of a rollout, ``(n, *shape)`` or a dict of such.
        acts: Its actions as they were applied, ``(n, *shape)``.
        next_obs: The observations that followed, as ``obs``.
        spaces: Of observations and of actions.
    """
    parts = ObservationParts(spaces[0])
    try:
        recorded = demonstrations.state_pairs()
    except InputError:  # single steps
        return
    now, after = (continuous_entries(states, parts) for states in recorded)
    here, then = (continuous_entries(states, parts) for states in (obs, next_obs))
    pairs = reordered((now, after), (here, then))
    if pairs:
        told = ", ".join(f"{velocity} and {position}" for position, velocity in pairs[:3])
        warnings.warn(
            "the demonstrated observations look to have their entries in another order than the "
            f"environment's: there, but not here, velocity and position are entries {told}",
            stacklevel=_STACK,
        )
        return
    ratio = time_step_ratio((now, after), (here, then))
    if ratio is not None and not 1 / _LONGER < ratio < _LONGER:
        warnings.warn(
            f"a step of the environment lasts about {ratio:.2g} times as long as a demonstrated "
            "one, by how positions follow velocities: has it another frame skip or time step, or "
            "a wrapper that repeats actions or scales observations?",
            stacklevel=_STACK,
        )
        return
    if isinstance(spaces[1], Box) and len(spaces[1].shape) == 1:
        _warn_of_actions(demonstrations, (now, after), Recording(here, acts, then), spaces[1])


def _warn_of_actions(
    demonstrations: Demonstrations,
    states: tuple[np.ndarray, np.ndarray],
    here: Recording,
    space: Box,
) -> None:
    """Warn where demonstrated actions do something else than the environment's."""
    if demonstrations.acts is None:
        return
    acts = np.clip(demonstrations.acts, space.low, space.high)
    if demonstrations.next_obs is None:
        followed = np.ones(len(acts), dtype=bool)
        followed[demonstrations.episode_starts + demonstrations.episode_lengths - 1] = False
        acts = acts[followed]
    found = amiss(Recording(states[0], acts, states[1]), here)
    if found:
        warnings.warn(
            f"the demonstrated actions look {' or '.join(found)}, by what they do to the "
            "observations there and here: check how they were recorded",
            stacklevel=_STACK,
        )
