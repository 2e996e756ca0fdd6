"""Episodes thinned out to every so many-th step, and what each step that is kept stands for."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any, SupportsIndex

import numpy as np

from l2l_gail.demos.episodes import table_of, taken_rows
from l2l_gail.errors import InputError
from l2l_gail.observations import map_parts

__all__ = ["spans_of", "thin"]


def thin(record: Mapping[str, Any], every: int, seed: int | None) -> dict[str, Any]:
    """Every so many-th step of each episode; see :meth:`Demonstrations.subsample`.

    Args:
        record: The record.
        every: Distance between two kept steps.
        seed: Of the first kept step of each episode; its first one if None.

    Raises:
        InputError: A number that is none of these, or an episode of one step whose next
            observation is not known.
    """
    if not isinstance(every, SupportsIndex) or index(every) < 1:
        raise InputError(f"every {every} steps: give a whole number from 1 on")
    if seed is not None and (not isinstance(seed, SupportsIndex) or index(seed) < 0):
        raise InputError(f"the seed is {seed}: give a whole number from 0 on")
    starts, lengths = record["episode_starts"], record["episode_lengths"]
    offsets = np.zeros(len(starts), dtype=np.int64)
    if seed is not None:
        offsets = np.random.default_rng(seed).integers(every, size=len(starts))
    ends = starts + lengths - 1
    is_terminal, is_unknown = record["terminals"][ends], record["ended_after"]
    # No other step leads to a terminal state, nor may one be marked as if it did.
    is_kept = is_terminal if is_unknown is None else is_terminal | (is_unknown > 0)
    next_obs, unseen = record["next_obs"], record["ended_unseen"]
    if next_obs is None:  # told by the step after, which is there only before the thinning
        next_obs = map_parts(lambda x: np.concatenate([x[1:], x[-1:]]), record["obs"])
        unseen = is_kept if unseen is None else is_kept | unseen
        usable, is_terminal, is_kept = lengths - 1, *np.zeros((2, len(ends)), dtype=bool)
        if (usable < 1).any():
            raise InputError(
                f"episode {int(np.argmax(usable < 1))} has one step and no next observation: leave "
                "it out"
            )
    else:
        usable = lengths
    kept = [
        np.arange(start + min(offset, length - 1), start + length, every)
        for start, length, offset in zip(starts, usable, offsets, strict=True)
    ]
    kept = [
        np.union1d(steps, end) if also else steps
        for steps, end, also in zip(kept, ends, is_kept, strict=True)
    ]
    rows, counts = np.concatenate(kept), np.array([len(each) for each in kept])
    thinned = {**record, **taken_rows({**record, "next_obs": next_obs}, rows), **table_of(counts)}
    first, last = thinned["episode_starts"], thinned["episode_starts"] + counts - 1
    if record["rews"] is not None:
        # What is paid until the next kept step; before the first one, with it.
        begins = rows.copy()
        begins[first] = starts
        thinned["rews"] = np.add.reduceat(record["rews"].astype(np.float64), begins)
    for name, ended in (("terminals", is_terminal), ("truncated", record["truncated"][ends])):
        thinned[name] = np.zeros(len(rows), dtype=bool)
        thinned[name][last] = ended
    full = record["full_lengths"]
    full = lengths if full is None else np.where(full > 0, full, lengths)
    return thinned | {"ended_unseen": unseen, "full_lengths": np.where(full > counts, full, 0)}


def spans_of(record: Mapping[str, Any]) -> np.ndarray:
    """How many steps each row stands for; see :meth:`Demonstrations.spans`."""
    spans = np.ones(len(record["terminals"]), dtype=np.int64)
    if record["full_lengths"] is None:
        return spans
    table = zip(
        *(record[name] for name in ("episode_starts", "episode_lengths", "full_lengths")),
        strict=True,
    )
    for start, length, full in table:
        alone = int(record["terminals"][start + length - 1])  # the step into a terminal state
        if full > length > alone:
            shares = np.linspace(0, full - alone, length - alone + 1).round().astype(np.int64)
            spans[start : start + length - alone] = np.diff(shares)
    return spans
