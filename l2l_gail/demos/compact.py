"""Files of demonstrations without the observations that they would hold twice.

Inside an episode the observation after an action is the one before the next action. A compact file
therefore has ``final_obs``, the last one of each episode, instead of ``next_obs``; one for each key
where observations are dicts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from l2l_gail.demos.columns import group_of
from l2l_gail.errors import InputError

__all__ = ["with_next_obs", "without_next_obs"]


def without_next_obs(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return sound arrays with ``final_obs (E, *shape)`` in the place of ``next_obs``.

    They are returned as they are where ``next_obs`` holds anything that ``obs`` does not, to the
    bit: not every recorder keeps all steps of an episode.
    """
    ends = np.cumsum(arrays["episode_lengths"]) - 1
    after = {name: array for name, array in arrays.items() if group_of(name) == "next_obs"}
    compact = {name: array for name, array in arrays.items() if name not in after}
    compact |= {"final_" + name.removeprefix("next_"): x[ends] for name, x in after.items()}
    again = with_next_obs(compact)
    same = (
        again[name].dtype == array.dtype and again[name].tobytes() == array.tobytes()
        for name, array in after.items()
    )
    return compact if all(same) else dict(arrays)


def with_next_obs(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a file with ``next_obs (T, *shape)`` made of its ``final_obs``, if any.

    Raises:
        InputError: ``final_obs`` does not fit the other arrays.
    """
    finals = {name: array for name, array in arrays.items() if group_of(name) == "final_obs"}
    full = {name: array for name, array in arrays.items() if name not in finals}
    for name, final in finals.items():
        before = name.removeprefix("final_")
        if f"next_{before}" not in full:
            full[f"next_{before}"] = _followed(name, final, full.get(before), full)
    return full


def _followed(
    name: str, final: np.ndarray, obs: np.ndarray | None, arrays: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the observation after each of ``obs``, the last of each episode being ``final``."""
    lengths = arrays["episode_lengths"]
    whole = lengths.ndim == 1 and lengths.dtype.kind in "iu"
    counts = lengths.astype(np.int64) if whole else np.zeros(1, np.int64)
    fits = obs is not None and obs.ndim > 0 and final.dtype == obs.dtype
    # Each bounded first, so that no sum overflows.
    if obs is None or not (
        fits
        and final.shape == (len(counts), *obs.shape[1:])
        and (counts > 0).all()
        and (counts <= len(obs)).all()
        and counts.sum() == len(obs)
    ):
        raise InputError(
            f"demonstrations: {name!r} has shape {final.shape} and dtype {final.dtype}; one row "
            f"like those of {name.removeprefix('final_')!r} is needed for each of the "
            "episode_lengths, which cover all steps"
        )
    next_obs = np.roll(obs, -1, axis=0)
    next_obs[np.cumsum(counts) - 1] = final
    return next_obs
