"""A step's ``infos`` in the words of stable-baselines3: the one place where they are made."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
from torch import Tensor

from l2l_gail.observations import map_parts
from l2l_gail.ppo.env import BOOKKEEPING
from l2l_gail.ppo.observations import to_numpy

__all__ = ["StepInfos", "episode_end"]


class StepInfos(Sequence[dict[str, Any]]):
    """One step's ``infos`` for callbacks that read them: built when looked at, not before.

    Each has SB3's ``TimeLimit.truncated``, the environment's named terms, and where the episode
    ended ``terminal_observation`` and ``episode`` (return ``r``, length ``l``).

    Args:
        terminated: ``(N,)`` bool.
        info: The tensor environment's.
    """

    def __init__(self, terminated: Tensor, info: dict[str, Any]) -> None:
        self._terminated = terminated
        self._info = info

    def __len__(self) -> int:
        return len(self._terminated)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        columns = self._columns
        own = {name: column[index] for name, column in columns.items() if name not in BOOKKEEPING}
        if not columns["_final_obs"][index]:
            return own | {"TimeLimit.truncated": False}
        return own | episode_end(columns, index, terminated=bool(self._terminated[index]))

    @cached_property
    def _columns(self) -> dict[str, Any]:
        """The environment's info as arrays: brought over once for all rows."""
        return {name: map_parts(to_numpy, column) for name, column in self._info.items()}


def episode_end(columns: dict[str, Any], index: int, *, terminated: bool) -> dict[str, Any]:
    """Return what SB3 wants to know of an ended episode.

    Args:
        columns: The step's bookkeeping (:data:`~l2l_gail.ppo.env.BOOKKEEPING`) as arrays.
        index: Row of the environment.
        terminated: Whether the task ended it, and not the time limit.
    """
    final_obs: np.ndarray | dict[str, np.ndarray] = map_parts(
        lambda x: x[index].copy(), columns["final_obs"]
    )
    return {
        "TimeLimit.truncated": not terminated,
        "terminal_observation": final_obs,
        "episode": {
            "r": round(float(columns["episode_return"][index]), 6),
            "l": int(columns["episode_length"][index]),
        },
    }
