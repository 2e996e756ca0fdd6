"""Whether demonstrations are of an environment: by name, by widths, and by the numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from stable_baselines3.common.preprocessing import is_image_space

from l2l_gail.demos.arguments import (
    bare_id,
    differing_arguments,
    left_out,
    plain_kwargs,
    warn_of_left_out,
)
from l2l_gail.errors import InputError
from l2l_gail.observations import Observations

__all__ = [
    "check_fit",
    "reordered",
    "time_step_ratio",
    "unfamiliar",
]

_MOST_BEYOND = 0.5
_FAR = 2.0
_FEWEST_STEPS = 32
_RATE, _RATE_HERE = 0.9, 0.75
"""Least share of an entry's changes that another entry must explain to be its rate of change."""

_NO_RATE = 0.3
_SAME_STEP = 1.1


class Recorded(Protocol):
    """What is compared of demonstrations; their attributes of these names."""

    @property
    def obs(self) -> Observations:
        """Observations ``(T, *shape)``, or one such array for each key."""

    @property
    def acts(self) -> np.ndarray | None:
        """Actions ``(T, *shape)``, if known."""

    @property
    def env_id(self) -> str | None:
        """The environment's id, if known."""

    @property
    def env_kwargs(self) -> dict[str, Any] | None:
        """The environment's arguments, if known."""


def check_fit(
    demos: Recorded,
    env_id: str | None,
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
    env_kwargs: Mapping[str, Any] | None,
) -> None:
    """See :meth:`Demonstrations.check_env`.

    Raises:
        InputError: As it says there.
    """
    name = env_id or "the environment"
    if demos.env_id is not None and env_id is not None and bare_id(demos.env_id) != bare_id(env_id):
        raise InputError(
            f"the demonstrations are of {demos.env_id}, the environment is {env_id}: "
            "give demonstrations of the same environment"
        )
    _check_observations(demos.obs, name, observation_space)
    if demos.acts is not None:
        _check_values("actions", demos.acts, name, action_space)
    _warn_of_arguments(demos, name, env_kwargs, env_id, action_space)
    _warn_of_actions(demos, name, action_space)
    if demos.env_id is None:
        warnings.warn(
            "the demonstrations do not say of which environment they are; "
            f"taken to be of {name}, since the widths agree",
            stacklevel=3,
        )


def _check_observations(obs: Observations, name: str, space: gymnasium.Space[Any]) -> None:
    keys = sorted(space.spaces) if isinstance(space, Dict) else None
    recorded = sorted(obs) if isinstance(obs, dict) else None
    if keys != recorded:
        ours, theirs = (
            "no dict of observations" if each is None else f"observations of {', '.join(each)}"
            for each in (keys, recorded)
        )
        raise InputError(
            f"the demonstrations have {theirs}, {name} has {ours}: give demonstrations of the same "
            "environment and arguments"
        )
    if not isinstance(obs, dict):
        _check_values("observations", obs, name, space)
        return
    assert isinstance(space, Dict)
    for key, array in obs.items():
        _check_values(f"observations of {key!r}", array, name, space.spaces[key])


def _check_values(what: str, array: np.ndarray, name: str, space: gymnasium.Space[Any]) -> None:
    """Refuse another shape; classes that the space does not have; and pixels that are none."""
    one_number = isinstance(space, Discrete) and array.shape[1:] == (1,)
    if space.shape != array.shape[1:] and not one_number:
        ours = f"width {array.shape[1]}" if array.ndim == 2 else f"shape {array.shape[1:]}"
        raise InputError(
            f"the demonstrations have {what} of {ours}, {name} of shape {space.shape}: give "
            "demonstrations of the same environment and arguments"
        )
    most: Any = None
    if isinstance(space, Discrete):
        most = space.n - 1
    elif isinstance(space, MultiDiscrete):
        most = space.nvec - 1
    elif isinstance(space, MultiBinary):
        most = 1
    if most is not None and ((array < 0) | (array > most) | (array != np.round(array))).any():
        raise InputError(
            f"the demonstrations have {what} that are none of {space}, the space of {name}: give "
            "whole numbers from 0, demonstrations of the same environment and arguments"
        )
    if is_image_space(space) and array.dtype != np.uint8 and not _are_pixels(array):
        raise InputError(
            f"the demonstrations have {what} of which some are no pixels as {name} has them, whole "
            "numbers from 0 to 255: multiply them by 255 if they are from 0 to 1"
        )


def _are_pixels(array: np.ndarray) -> bool:
    whole = ((array >= 0) & (array <= 255) & (array == np.round(array))).all()
    # Of black and white from 0 to 1 all are whole numbers, too.
    return bool(whole) and (array.dtype.kind in "iu" or array.max(initial=0) != 1)


def _warn_of_arguments(
    demos: Recorded,
    name: str,
    env_kwargs: Mapping[str, Any] | None,
    env_id: str | None,
    space: gymnasium.Space[Any],
) -> None:
    theirs = demos.env_kwargs
    if env_kwargs is None or theirs is None:
        return
    ours, strange = plain_kwargs(env_kwargs), left_out(env_kwargs, env_id)
    warn_of_left_out(strange, "not compared with the demonstrations", stacklevel=5)
    told = ", ".join(
        f"{key} {_told(theirs, key)} there and {_told(ours, key)} here"
        for key in differing_arguments(theirs, ours, space, env_id)
        if key not in strange
    )
    if told:
        warnings.warn(
            f"the demonstrations are of {name} with other arguments: {told}; their returns, and "
            "what they show, may not be to be had here",
            stacklevel=4,
        )


def _told(kwargs: Mapping[str, Any], key: str) -> str:
    return repr(kwargs[key]) if key in kwargs else "not given"


def _warn_of_actions(demos: Recorded, name: str, space: gymnasium.Space[Any]) -> None:
    """An expert that was recorded before clipping is beyond the bounds now and then, not mostly."""
    if not isinstance(space, Box) or demos.acts is None:
        return
    share = float(np.mean((demos.acts < space.low) | (demos.acts > space.high)))
    if share > _MOST_BEYOND:
        warnings.warn(
            f"{share:.0%} of the demonstrated action entries are outside the action space of "
            f"{name}, {space.low.min():g} to {space.high.max():g}: its actions seem to mean "
            "something else, is a wrapper around it?",
            stacklevel=4,
        )


def unfamiliar(recorded: np.ndarray, observations: np.ndarray) -> list[int]:
    """See :meth:`Demonstrations.unfamiliar`.

    Args:
        recorded: Demonstrated observations ``(T, n)``.
        observations: Others, ``(N, n)``.
    """
    # As float64: bools have no difference, and one of small whole numbers may not fit their dtype.
    low, high = (np.float64(edge) for edge in (recorded.min(axis=0), recorded.max(axis=0)))
    margin = _FAR * (high - low)
    typical = np.median(np.asarray(observations, dtype=np.float64), axis=0)
    # What never varies in the demonstrations, such as a goal, may differ in another episode.
    outside = (margin > 0) & ~((typical >= low - margin) & (typical <= high + margin))
    return [int(index) for index in np.flatnonzero(outside)]


def time_step_ratio(
    recorded: tuple[np.ndarray, np.ndarray], here: tuple[np.ndarray, np.ndarray]
) -> float | None:
    """How long a step of an environment lasts, in steps of the demonstrations.

    Where one entry of an observation is the rate of change of another, as a velocity is of a
    position, the other changes in a step by the rate times the step's length, whatever the policy
    does. Such pairs are looked for in the demonstrations, by least squares through the origin; of
    several rates of one entry the one counts that explains most.

    Args:
        recorded: Demonstrated states and the next ones, ``(T, n)`` each.
        here: States and next ones of the environment, ``(N, n)`` each.

    Returns:
        The median over all pairs; None if there are none, or too few steps to tell.
    """
    if min(len(recorded[0]), len(here[0])) < _FEWEST_STEPS:
        return None
    slopes, shares = _rates(*recorded)
    slopes_here, shares_here = _rates(*here)
    np.fill_diagonal(shares, 0.0)  # what grows by itself
    known = (shares > _RATE) & (shares == shares.max(axis=1, keepdims=True))
    known &= shares_here > _RATE_HERE
    return float(np.median(slopes_here[known] / slopes[known])) if known.any() else None


def reordered(
    recorded: tuple[np.ndarray, np.ndarray], here: tuple[np.ndarray, np.ndarray]
) -> list[tuple[int, int]]:
    """Entries of an observation whose velocity is another entry than in the environment.

    The pairs are those of :func:`time_step_ratio`. Said is only what contradicts twice: an entry
    changes by a velocity that it does not follow in the environment, with the length of step of
    the velocities there, and the velocity that an entry follows there it does not follow in the
    demonstrations. An exchange of two positions together with their velocities keeps all pairs,
    and is not seen.

    Args:
        recorded: Demonstrated states and the next ones, ``(T, n)`` each.
        here: States and next ones of the environment, ``(N, n)`` each.

    Returns:
        Position and velocity of each pair that the demonstrations alone have; empty where nothing
        is amiss, or it cannot be told.
    """
    if min(len(recorded[0]), len(here[0])) < _FEWEST_STEPS:
        return []
    slopes, shares = _rates(*recorded)
    slopes_here, shares_here = _rates(*here)
    for found in (shares, shares_here):
        np.fill_diagonal(found, 0.0)
    known = shares_here > _RATE_HERE
    lost = known & (shares_here == shares_here.max(axis=1, keepdims=True)) & (shares < _NO_RATE)
    if not lost.any():
        return []
    new = (shares > _RATE) & (shares_here < _NO_RATE)
    for found, share in ((slopes, shares), _rates(*recorded, centred=True)):
        like = found[..., None] / slopes_here[known]
        new &= (share > _RATE) & ((like > 1 / _SAME_STEP) & (like < _SAME_STEP)).any(axis=-1)
    positions, velocities = np.nonzero(new)
    return list(zip(positions.tolist(), velocities.tolist(), strict=True))


def _rates(
    now: np.ndarray, after: np.ndarray, *, centred: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The slope of each entry's change over each entry, and the share of the change it explains.

    Steps at which an entry stands at the end of its range do not count for it: Walker2d and Hopper
    clip velocities at 10, and one that was clipped explains too much change with too little.
    """
    now, after = np.asarray(now, dtype=np.float64), np.asarray(after, dtype=np.float64)
    counts = ~_at_an_end(now, after)
    counts &= counts.sum(axis=0) >= _FEWEST_STEPS
    change, middle = after - now, (after + now) / 2
    if centred:  # what hardly varies explains everything through the origin
        change, middle = change - change.mean(axis=0), middle - middle.mean(axis=0)
    middle = middle * counts
    products, size = change.T @ middle, np.square(middle).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slopes = products / size
        shares = products**2 / (np.square(change).T @ counts.astype(np.float64) * size)
    return np.nan_to_num(slopes), np.nan_to_num(shares, posinf=0.0)


def _at_an_end(now: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Steps from or to an entry's largest or smallest value, where several states have that."""
    both = np.stack([now, after])
    found = np.zeros(now.shape, dtype=bool)
    for end in (both.max(axis=(0, 1)), both.min(axis=(0, 1))):
        at = both == end
        found |= at.any(axis=0) & (at.sum(axis=(0, 1)) > 2)  # a state is in both, as a rule
    return found
