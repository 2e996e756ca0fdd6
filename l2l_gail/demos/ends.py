"""Ends of episodes of which the marks of the steps do not say all: of which kind, and whether seen.

Some recorders have one flag for an end in a terminal state and one at the time limit. Which it was,
the time limit tells, of the environment that the record is of or, where it does not say one, of the
one that it is used in. Until that is known, the marks are those of a limit of 1,000 steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
import numpy as np

from l2l_gail.demos.arguments import bare_id
from l2l_gail.errors import InputError

__all__ = [
    "DEFAULT_TIME_LIMIT",
    "END_ARRAYS",
    "ends_of",
    "known_time_limit",
    "settled",
    "sound_ends",
]

END_ARRAYS = ("ended_after", "ended_unseen", "full_lengths")
"""What may be known of each episode beside the marks of its steps; see ``Demonstrations``."""

DEFAULT_TIME_LIMIT = 1000
"""Steps after which an end of unknown kind is the time limit's, where the task is unknown."""


def known_time_limit(env_id: str | None, env_kwargs: Mapping[str, Any] | None) -> int | None:
    """The limit of an environment in steps, its argument's or registered; None if not known."""
    own = (env_kwargs or {}).get("max_episode_steps")
    if isinstance(own, int) and not isinstance(own, bool) and own > 0:
        return own
    spec = gymnasium.registry.get(bare_id(env_id)) if env_id else None
    return spec.max_episode_steps if spec else None


def ends_of(record: Mapping[str, Any]) -> list[Literal["terminal", "time limit", "cut off"]]:
    """How each episode of a record ends, by its marks or in a step that is not seen."""
    last = record["episode_starts"] + record["episode_lengths"] - 1
    terminal, at_limit = record["terminals"][last], record["truncated"][last]
    if record["ended_unseen"] is not None:
        terminal = terminal | (record["ended_unseen"] & ~at_limit)
    return [
        "terminal" if one else "time limit" if other else "cut off"
        for one, other in zip(terminal, at_limit, strict=True)
    ]


def sound_ends(record: Mapping[str, Any], episodes: int) -> dict[str, np.ndarray | None]:
    """Check what a record says of its episodes' ends.

    Args:
        record: The constructor arguments of ``Demonstrations``, by name.
        episodes: How many there are.

    Raises:
        InputError: It is not one number from 0 on, or one flag, for each episode.
    """
    ends: dict[str, np.ndarray | None] = {}
    for name, dtype in zip(END_ARRAYS, (np.int64, np.bool_, np.int64), strict=True):
        given = record.get(name)
        array = None if given is None else np.asarray(given)
        if array is not None and not (
            array.shape == (episodes,) and array.dtype.kind in "iub" and (array >= 0).all()
        ):
            raise InputError(
                f"demonstrations: {name!r} has shape {array.shape} and dtype {array.dtype}; one "
                f"whole number from 0 on for each of {episodes} episodes is needed"
            )
        ends[name] = None if array is None or not array.any() else array.astype(dtype)
    return ends


def settled(record: Mapping[str, Any], time_limit: int | None) -> dict[str, Any]:
    """Tell time limits from terminal states in the ends of unknown kind.

    An episode that is longer than the limit was recorded under another one, and keeps its marks.

    Args:
        record: The sound arrays of ``Demonstrations``, by name.
        time_limit: The environment's; if None, kinds stay unknown.

    Returns:
        The arrays that this changes.
    """
    steps, unseen = record["ended_after"], record["ended_unseen"]
    if steps is None and unseen is None:
        return {}
    lengths = record["episode_lengths"]
    last = record["episode_starts"] + lengths - 1
    terminals, truncated = record["terminals"].copy(), record["truncated"].copy()
    unseen = np.zeros(len(lengths), dtype=bool) if unseen is None else unseen
    steps = np.zeros_like(lengths) if steps is None else steps
    steps = np.where(terminals[last] | truncated[last] | unseen, steps, 0)
    judged = (steps > 0) & (time_limit is None or steps <= time_limit)
    at_limit = steps == (time_limit or DEFAULT_TIME_LIMIT)
    terminals[last[judged]] = (~at_limit & ~unseen)[judged]
    truncated[last[judged]] = at_limit[judged]
    if time_limit is not None:
        steps, unseen = np.zeros_like(steps), unseen & ~truncated[last]
    return {
        "terminals": terminals,
        "truncated": truncated,
        "ended_after": steps if steps.any() else None,
        "ended_unseen": unseen if unseen.any() else None,
    }
