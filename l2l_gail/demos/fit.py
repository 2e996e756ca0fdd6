"""Whether demonstrations are of an environment: by name, by widths, and by the numbers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from l2l_gail.errors import InputError

__all__ = ["bare_id", "check_fit", "plain_kwargs", "unfamiliar"]

_MOST_BEYOND = 0.5
_NOT_COMPARED = ("render_mode",)
_FAR = 2.0


class Recorded(Protocol):
    """What is compared of demonstrations; their attributes of these names."""

    @property
    def obs(self) -> np.ndarray:
        """Observations ``(T, obs_dim)``."""

    @property
    def acts(self) -> np.ndarray | None:
        """Actions ``(T, act_dim)``, if known."""

    @property
    def env_id(self) -> str | None:
        """The environment's id, if known."""

    @property
    def env_kwargs(self) -> dict[str, Any] | None:
        """The environment's arguments, if known."""


def bare_id(env_id: str) -> str:
    """An id without the module that registers it."""
    return env_id.rpartition(":")[2]


def plain_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """An environment's keyword arguments as JSON would give them back; None if it could not."""
    compared = {name: value for name, value in kwargs.items() if name not in _NOT_COMPARED}
    try:
        plain: dict[str, Any] = json.loads(json.dumps(compared, allow_nan=False, sort_keys=True))
    except (TypeError, ValueError):
        return None
    return plain


def check_fit(
    demos: Recorded,
    env_id: str | None,
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
    env_kwargs: Mapping[str, Any] | None,
) -> None:
    """See :meth:`Demonstrations.check_env`."""
    name = env_id or "the environment"
    if demos.env_id is not None and env_id is not None and bare_id(demos.env_id) != bare_id(env_id):
        raise InputError(
            f"the demonstrations are of {demos.env_id}, the environment is {env_id}: "
            "give demonstrations of the same environment"
        )
    for what, array, space in (
        ("observations", demos.obs, observation_space),
        ("actions", demos.acts, action_space),
    ):
        if array is not None and space.shape != array.shape[1:]:
            raise InputError(
                f"the demonstrations have {what} of width {array.shape[1]}, {name} of shape "
                f"{space.shape}: give demonstrations of the same environment and arguments"
            )
    _warn_of_arguments(demos, name, env_kwargs)
    _warn_of_actions(demos, name, action_space)
    if demos.env_id is None:
        warnings.warn(
            "the demonstrations do not say of which environment they are; "
            f"taken to be of {name}, since the widths agree",
            stacklevel=3,
        )


def _warn_of_arguments(demos: Recorded, name: str, env_kwargs: Mapping[str, Any] | None) -> None:
    ours = None if env_kwargs is None else plain_kwargs(env_kwargs)
    if ours is None or demos.env_kwargs is None or ours == demos.env_kwargs:
        return
    differing = sorted(
        key for key in ours | demos.env_kwargs if ours.get(key) != demos.env_kwargs.get(key)
    )
    told = ", ".join(
        f"{key} {_told(demos.env_kwargs, key)} there and {_told(ours, key)} here"
        for key in differing
    )
    warnings.warn(
        f"the demonstrations are of {name} with other arguments: {told}; their returns, and what "
        "they show, may not be to be had here",
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


def unfamiliar(demos: Recorded, observations: np.ndarray) -> list[int]:
    """See :meth:`Demonstrations.unfamiliar`."""
    low, high = demos.obs.min(axis=0), demos.obs.max(axis=0)
    margin = _FAR * (high - low)
    typical = np.median(np.asarray(observations, dtype=np.float64), axis=0)
    # What never varies in the demonstrations, such as a goal, may differ in another episode.
    outside = (margin > 0) & ~((typical >= low - margin) & (typical <= high + margin))
    return [int(index) for index in np.flatnonzero(outside)]
