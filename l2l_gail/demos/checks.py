"""What the arrays of a demonstration must satisfy, each breach told in one line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from l2l_gail.demos.columns import group_of
from l2l_gail.errors import InputError

__all__ = ["LARGEST", "check_episodes", "check_steps", "check_together"]

LARGEST = 1e15
"""Largest size of a value: its square, summed over all steps, must stay finite in float32."""


def check_steps(steps: dict[str, np.ndarray]) -> None:
    """Check the arrays with one row per step.

    Args:
        steps: ``obs (T, *shape)`` or one for each key, ``obs.key``; ``next_obs`` likewise;
            ``acts (T, *shape)``, ``rews (T,)``, ``terminals (T,)``, ``truncated (T,)``; those that
            are known.

    Raises:
        InputError: Not numbers, another number of dimensions, no steps, unequal lengths, NaN,
            infinite or enormous values, a width of 0, unequal shapes of ``obs`` and ``next_obs``.
    """
    for name, array in steps.items():
        wide = group_of(name) in ("obs", "acts", "next_obs")
        if array.dtype.kind not in "fiub":
            raise InputError(f"demonstrations: {name!r} has dtype {array.dtype}; save numbers")
        # Classes are one whole number a step, and need no second dimension.
        classes = wide and array.ndim == 1 and array.dtype.kind in "iu"
        if not classes and (array.ndim < 2 if wide else array.ndim != 1):
            expected = "(steps, width)" if wide else "(steps,)"
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
    if not lengths["terminals"]:
        raise InputError("demonstrations: no steps; record at least one episode")
    for name, array in steps.items():
        bad = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(1, bool)
        if bad.any():
            row = int(np.argwhere(bad)[0, 0])
            raise InputError(
                f"demonstrations: {name!r} has {int(bad.sum())} NaN or infinite values, "
                f"the first at step {row}; leave that episode out"
            )
        if name in ("terminals", "truncated") and not np.isin(array, (0, 1)).all():
            raise InputError(f"demonstrations: {name!r} holds other values than 0 and 1")
        if array.size == 0:
            raise InputError(f"demonstrations: {name!r} is 0 wide; save at least one number a step")
        largest = max(abs(float(array.max())), abs(float(array.min())))
        if largest > LARGEST:
            raise InputError(
                f"demonstrations: {name!r} has a value of size {largest:.3g}, no more than "
                f"{LARGEST:g} can be learned from; leave that episode out, or give other units"
            )
    _check_observations(steps)


def _check_observations(steps: dict[str, np.ndarray]) -> None:
    """Check that there are observations, and that those after the actions are like them."""
    now = [name for name in steps if group_of(name) == "obs"]
    after = [name for name in steps if group_of(name) == "next_obs"]
    if not now:
        raise InputError("demonstrations: no observations; 'obs' is an empty dict")
    for name in {*now, *(name.removeprefix("next_") for name in after)} if after else ():
        sizes = _size(steps.get(name)), _size(steps.get(f"next_{name}"))
        if sizes[0] != sizes[1]:
            raise InputError(
                f"demonstrations: {name!r} is {sizes[0]} and 'next_{name}' {sizes[1]}; both are "
                "observations of one environment"
            )


def _size(array: np.ndarray | None) -> str:
    if array is None:
        return "missing"
    return f"{array.shape[1]} wide" if array.ndim == 2 else f"of shape {array.shape[1:]}"


def check_together(steps: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> None:
    """Check that the arrays of two episodes, or of two sets of them, can stand in one.

    Args:
        steps: Arrays with one row per step, by name.
        others: Likewise; what comes first.

    Raises:
        InputError: One has an array that the other lacks, or one of another width, or a dict of
            observations where the other has one array.
    """
    if ("obs" in steps) != ("obs" in others):  # a dict is "obs.key" here
        here, before = ("one array", "a dict") if "obs" in steps else ("a dict", "one array")
        raise InputError(f"'obs' is {here} here, {before} before: all are of one environment")
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
