"""What a training's first rollouts show: whether they are of the demonstrations' environment."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from stable_baselines3.common.policies import ActorCriticPolicy

from l2l_gail.demos import Demonstrations
from l2l_gail.demos.fit import reordered, time_step_ratio
from l2l_gail.errors import InputError
from l2l_gail.gail.action_effects import Recording, amiss
from l2l_gail.gail.spaces import continuous_entries
from l2l_gail.observations import map_parts
from l2l_gail.ppo import ObservationParts, TensorRolloutBuffer
from l2l_gail.ppo.observations import TensorObservations
from l2l_gail.ppo.policy import SCALE_FLOOR
from l2l_gail.ppo.rollout import environment_actions

__all__ = ["FirstRollouts"]

_LONGER = 1.25  # a step than the demonstrations', from which on it is said
_ROLLOUTS = 16  # until policies have fallen
_FEWEST = 32  # demonstrated states, of which an entry is called constant
_OFTEN, _LEAST = 0.02, 10  # of a rollout's states, that have another value there


class FirstRollouts:
    """Compares the first rollouts of a training with the demonstrations, and warns once.

    Steps are compared in the first rollout, single entries of observations in sixteen: what only a
    policy does that has failed, such as lying on its back, comes after some.

    Args:
        demonstrations: What is imitated.
        observation_space: The environment's.
        action_space: The environment's.
        done: Rollouts of this training so far.

    Attributes:
        left: Rollouts still to be compared.
    """

    def __init__(
        self,
        demonstrations: Demonstrations,
        observation_space: Space[Any],
        action_space: Space[Any],
        done: int = 0,
    ) -> None:
        self.left = max(_ROLLOUTS - done, 0)
        self._demonstrations = demonstrations
        self._spaces = (observation_space, action_space)
        self._parts = ObservationParts(observation_space)
        recorded = continuous_entries(demonstrations.obs, self._parts)
        never_varies = (recorded == recorded[0]).all(axis=0) & (len(recorded) >= _FEWEST)
        self._constant = np.flatnonzero(never_varies)
        self._values = recorded[0, self._constant].astype(np.float64)
        # What is smaller is small to the networks, too, which add this to all standard deviations.
        self._small = SCALE_FLOOR * min(float(recorded.std(axis=0).max(initial=0.0)), 1.0)

    def compare(self, buffer: TensorRolloutBuffer, policy: ActorCriticPolicy) -> None:
        """Compare a rollout, which the policy has played, unless enough have been."""
        if not self.left:
            return
        obs = _numbers(buffer, buffer.observations)
        found = None
        if self.left == _ROLLOUTS:
            acts = environment_actions(policy)(buffer.by_env(buffer.actions)).numpy(force=True)
            next_obs = _numbers(buffer, buffer.final_obs)
            found = _fault_of_steps(self._demonstrations, obs, acts, next_obs, self._spaces)
        found = found or self._fault_of_entries(obs)
        if found:
            _warn(found)
        self.left = 0 if found or not len(self._constant) else self.left - 1

    def _fault_of_entries(self, obs: Any) -> str | None:
        """Say which entries alone tell these observations from all demonstrated ones."""
        entries = continuous_entries(obs, self._parts)[:, self._constant]
        off = np.abs(entries - self._values) > self._small
        found = self._constant[off.sum(axis=0) >= max(_OFTEN * len(entries), _LEAST)]
        if not len(found):
            return None
        told = ", ".join(map(str, found[:3])) + (", ..." if len(found) > 3 else "")
        return (
            f"observation {f'entry {told} has' if len(found) == 1 else f'entries {told} have'} one "
            "value in all demonstrations and others here, by which alone the discriminator can "
            "tell policy and expert apart: demonstrate episodes in which they vary, or leave them "
            "out of both, by env_kwargs or a wrapper"
        )


def _warn(text: str) -> None:
    """Warn at the line outside of the libraries that trains the model."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_inside(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def _is_inside(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__"))
    return module.partition(".")[0] in ("l2l_gail", "stable_baselines3", "torch")


def _numbers(buffer: TensorRolloutBuffer, states: TensorObservations) -> Any:
    """Return states of a rollout environment by environment, ``(n, *shape)`` or a dict of such."""
    return map_parts(lambda steps: buffer.by_env(steps).numpy(force=True), states)


def _fault_of_steps(
    demonstrations: Demonstrations,
    obs: Any,
    acts: np.ndarray,
    next_obs: Any,
    spaces: tuple[Space[Any], Space[Any]],
) -> str | None:
    """Say where steps of the environment are unlike the demonstrated ones.

    In length; in which entry of an observation is the velocity of which; and, where these are
    alike, in what actions do. One fault at most: each of them looks like the next.

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
        return None
    now, after = (continuous_entries(states, parts) for states in recorded)
    here, then = (continuous_entries(states, parts) for states in (obs, next_obs))
    pairs = reordered((now, after), (here, then))
    if pairs:
        told = ", ".join(f"{velocity} and {position}" for position, velocity in pairs[:3])
        return (
            "the demonstrated observations look to have their entries in another order than the "
            f"environment's: there, but not here, velocity and position are entries {told}"
        )
    ratio = time_step_ratio((now, after), (here, then))
    if ratio is not None and not 1 / _LONGER < ratio < _LONGER:
        return (
            f"a step of the environment lasts about {ratio:.2g} times as long as a demonstrated "
            "one, by how positions follow velocities: has it another frame skip or time step, or "
            "a wrapper that repeats actions or scales observations?"
        )
    if isinstance(spaces[1], Box) and len(spaces[1].shape) == 1:
        return _fault_of_actions(
            demonstrations, (now, after), Recording(here, acts, then), spaces[1]
        )
    return None


def _fault_of_actions(
    demonstrations: Demonstrations,
    states: tuple[np.ndarray, np.ndarray],
    here: Recording,
    space: Box,
) -> str | None:
    """Say where demonstrated actions do something else than the environment's."""
    if demonstrations.acts is None:
        return None
    acts = np.clip(demonstrations.acts, space.low, space.high)
    if demonstrations.next_obs is None:
        followed = np.ones(len(acts), dtype=bool)
        followed[demonstrations.episode_starts + demonstrations.episode_lengths - 1] = False
        acts = acts[followed]
    found = amiss(Recording(states[0], acts, states[1]), here)
    if not found:
        return None
    return (
        f"the demonstrated actions look {' or '.join(found)}, by what they do to the "
        "observations there and here: check how they were recorded"
    )
