"""Settings that a run has not noted, since its version did not have them as flags.

The scripts put runs beside such a one, and go on with it, where they have what it had then; so the
comparison takes them for seeds of one method, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from l2l_gail.errors import printable
from l2l_gail.finding_runs import Run

__all__ = ["BEFORE", "completed"]

BEFORE = {
    "policy_pace": 0.0,
    "policy_divergence": 0.0,
    "policy_average": 0.0,
    "attacker": "slim",
    "attacker_every": 1,
    "attacker_noise": 0.0,
}
"""What stood at this before it was a flag, and has another default: as ``before`` of the plans."""

Settings: TypeAlias = dict[str, Any]


def completed(runs: Sequence[Run], settings: Sequence[Settings]) -> tuple[list[Run], list[str]]:
    """Let runs of one folder have the settings that others beside them have noted, and they not.

    That is done where all that a run has noted is as in others, and these are alike in the rest;
    one that is told apart by anything else, or has noted nothing, keeps what it has.

    Args:
        runs: All runs in the folder of a method.
        settings: What each has noted, flat.

    Returns:
        The runs, and a sentence on those that were completed.
    """
    texts = [json.dumps(one, sort_keys=True, default=str) for one in settings]
    distinct = dict(zip(texts, settings, strict=True))
    assumed = {text: _assumed(noted, distinct.values()) for text, noted in distinct.items()}
    names = ", ".join(sorted({key for found in assumed.values() for key in found}))
    seeds = [run.folder.path.name for run, text in zip(runs, texts, strict=True) if assumed[text]]
    note = (
        f"{runs[0].folder.path.parent}: {names} not noted by {', '.join(seeds)}, of a version "
        "without perhaps, and taken to be as in the others there."
    )
    found = [replace(run, assumed=assumed[text]) for run, text in zip(runs, texts, strict=True)]
    return found, [printable(note)] if names else []


def _assumed(noted: Settings, beside: Collection[Settings]) -> Settings:
    """What a run has not noted and had as the others beside it; nothing where that is not known."""
    fuller = [other for other in beside if _is_more_of(noted, other)]
    fullest = [one for one in fuller if not any(_is_more_of(one, other) for other in fuller)]
    if len(fullest) != 1:
        return {}
    return {key: value for key, value in fullest[0].items() if key not in noted}


def _is_more_of(noted: Settings, other: Settings) -> bool:
    """Whether another run has noted the same and more, and the rest is what it always was."""
    more = other.keys() - noted.keys()
    return bool(noted and more) and all(
        key in other and other[key] == value for key, value in (*noted.items(), *_always(more))
    )


def _always(keys: set[str]) -> Iterator[tuple[str, Any]]:
    return ((key, BEFORE[key]) for key in sorted(keys) if key in BEFORE)
