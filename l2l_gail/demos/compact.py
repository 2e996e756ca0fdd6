"""Files of demonstrations without the observations that they would hold twice.

Inside an episode the observation after an action is the one before the next action. A compact file
therefore has ``final_obs``, the last one of each episode, instead of ``next_obs``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from l2l_gail.errors import InputError

__all__ = ["with_next_obs", "without_next_obs"]


def without_next_obs(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return sound arrays with ``final_obs (E, obs_dim)`` in the place of ``next_obs``.

    They are returned as they are where ``next_obs`` holds anything that ``obs`` does not, to the
    bit: not every recorder keeps all steps of an episode.
    """
    next_obs, ends = arrays["next_obs"], np.cumsum(arrays["episode_lengths"]) - 1
    compact = {
        **{name: array for name, array in arrays.items() if name != "next_obs"},
        "final_obs": next_obs[ends],
    }
    again = with_next_obs(compact)["next_obs"]
    same = again.dtype == next_obs.dtype and again.tobytes() == next_obs.tobytes()
    return compact if same else dict(arrays)


def with_next_obs(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a file with ``next_obs (T, obs_dim)`` made of its ``final_obs``, if any.

    Raises:
        InputError: ``final_obs`` does not fit the other arrays.
    """
    full = {name: array for name, array in arrays.items() if name != "final_obs"}
    final = arrays.get("final_obs")
    if final is None or "next_obs" in full:
        return full
    obs, lengths = full["obs"], full["episode_lengths"]
    counts = lengths.astype(np.int64) if lengths.dtype.kind in "iu" else np.zeros(1, np.int64)
    fits = obs.ndim == 2 and final.shape == (len(counts), obs.shape[1]) and final.dtype == obs.dtype
    # Each bounded first, so that no sum overflows.
    if not (
        fits and (counts > 0).all() and (counts <= len(obs)).all() and counts.sum() == len(obs)
    ):
        raise InputError(
            f"demonstrations: 'final_obs' has shape {final.shape} and dtype {final.dtype}; one row "
            "like those of 'obs' is needed for each of the episode_lengths, which cover all steps"
        )
    full["next_obs"] = np.roll(obs, -1, axis=0)
    full["next_obs"][np.cumsum(counts) - 1] = final
    return full
