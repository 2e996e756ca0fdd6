"""What the arrays of a demonstration must satisfy, each breach told in one line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from l2l_gail.errors import InputError

__all__ = ["LARGEST", "check_episodes", "check_steps", "check_together"]

LARGEST = 1e15
"""Largest size of a value: its square, summed over all steps, must stay finite in float32."""


def check_steps(steps: dict[str, np.ndarray]) -> None:
    """Check the arrays with one row per step.

    Args:
        steps: ``obs (T, obs_dim)``, ``acts (T, act_dim)``, ``rews (T,)``,
            ``next_obs (T, obs_dim)``, ``terminals (T,)``, ``truncated (T,)``; those that are known.

    Raises:
        InputError: Not numbers, another number of dimensions, no steps, unequal lengths, NaN,
            infinite or enormous values, a width of 0, unequal widths of ``obs`` and ``next_obs``.
    """
    for name, array in steps.items():
        dimensions = 2 if name in ("obs", "acts", "next_obs") else 1
        if array.dtype.kind not in "fiub":
            raise InputError(f"demonstrations: {name!r} has dtype {array.dtype}; save numbers")
        if array.ndim != dimensions:
            expected = "(steps, width)" if dimensions == 2 else "(steps,)"
            raise InputError(
                f"demonstrations: {name!r} has shape {array.shape}; {expected} is needed"
            )
    lengths = {name: len(array) for name, array in steps.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(
            f"demonstrations: arrays of unequal length ({listed}); "
            "one row per step is needed in each"
        )
    if lengths["obs"] == 0:
        raise InputError("demonstrations: no steps; record at least one episode")
    for name, array in steps.items():
        bad = ~np.isfinite(array)
        if bad.any():
            row = int(np.argwhere(bad)[0, 0])
            raise InputError(
                f"demonstrations: {name!r} has {int(bad.sum())} NaN or infinite values, "
                f"the first at step {row}; leave that episode out"
            )
        if name in ("terminals", "truncated") and not np.isin(array, (0, 1)).all():
            raise InputError(f"demonstrations: {name!r} holds other values than 0 and 1")
        if array.ndim == 2 and array.shape[1] == 0:
            raise InputError(f"demonstrations: {name!r} is 0 wide; save at least one number a step")
        largest = max(abs(float(array.max())), abs(float(array.min())))
        if largest > LARGEST:
            raise InputError(
                f"demonstrations: {name!r} has a value of size {largest:.3g}, no more than "
                f"{LARGEST:g} can be learned from; leave that episode out, or give other units"
            )
    if "next_obs" in steps and steps["obs"].shape != steps["next_obs"].shape:
        raise InputError(
            f"demonstrations: 'obs' is {steps['obs'].shape[1]} wide and 'next_obs' "
            f"{steps['next_obs'].shape[1]}; both are observations of one environment"
        )


def check_together(steps: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> None:
    """Check that the arrays of two episodes, or of two sets of them, can stand in one.

    Args:
        steps: Arrays with one row per step, by name.
        others: Likewise; what comes first.

    Raises:
        InputError: One has an array that the other lacks, or one of another width.
    """
    if steps.keys() != others.keys():
        name = min(steps.keys() ^ others.keys())
        where = "is here, and not before" if name in steps else "was before, and is not here"
        raise InputError(f"{name!r} {where}: give it for all, or for none")
    for name, array in steps.items():
        if array.shape[1:] != others[name].shape[1:]:
            raise InputError(
                f"{name!r} has shape {array.shape} here, {others[name].shape} before: all are of "
                "one environment"
            )


def check_episodes(
    starts: np.ndarray, lengths: np.ndarray, terminals: np.ndarray, truncated: np.ndarray
) -> None:
    """Check that the table of episodes covers the steps, and that episodes end at their ends.

    Args:
        starts: Index of each episode's first step, ``(E,)``.
        lengths: Steps of each episode, ``(E,)``.
        terminals: True termination, ``(T,)`` bool.
        truncated: Time limit, ``(T,)`` bool.

    Raises:
        InputError: The table is no consecutive partition of the steps, an end is marked inside an
            episode, or one step is marked as both kinds of end.
    """
    for name, array in (("episode_starts", starts), ("episode_lengths", lengths)):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise InputError(
                f"demonstrations: {name!r} has shape {array.shape} and dtype {array.dtype}; "
                "whole numbers, one per episode, are needed"
            )
    steps = len(terminals)
    # Unsigned beside signed numbers would be compared, and added, as floats.
    if any(len(array) and int(array.max()) > steps for array in (starts, lengths)):
        raise InputError(
            f"demonstrations: episode_starts or episode_lengths has a number above the {steps} "
            "steps there are; each episode lies inside them"
        )
    starts, lengths = starts.astype(np.int64), lengths.astype(np.int64)
    if len(starts) != len(lengths) or len(starts) == 0:
        raise InputError(
            f"demonstrations: {len(starts)} episode_starts and {len(lengths)} episode_lengths; "
            "one of each per episode is needed"
        )
    expected_starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    if (lengths < 1).any() or int(lengths.sum()) != steps or (starts != expected_starts).any():
        raise InputError(
            f"demonstrations: episode_starts and episode_lengths do not cover the {steps} steps "
            "one after another; each start is the sum of the lengths before it"
        )
    both = terminals & truncated
    if both.any():
        raise InputError(
            f"demonstrations: step {int(np.argmax(both))} is marked terminal and truncated; "
            "mark it terminal if its last state is terminal, truncated at a time limit"
        )
    inside = terminals | truncated
    inside[starts + lengths - 1] = False
    if inside.any():
        raise InputError(
            f"demonstrations: step {int(np.argmax(inside))} is marked as an end but lies inside "
            "an episode; correct episode_starts and episode_lengths"
        )
