"""Finding runs: all of those at or below a folder, or the newest finished one of each seed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l2l_gail.errors import InputError
from l2l_gail.files import home_expanded
from l2l_gail.files.locks import is_held
from l2l_gail.runs import SEED_FOLDER, RunFolder

__all__ = ["COMPARISON", "OVERVIEW", "Run", "find_runs", "in_training", "walk_runs"]

COMPARISON = "comparison"
"""The folder of a comparison, beside the runs; each folder in it is a board."""

OVERVIEW = "overview"
"""The run of a board that holds tables and pictures, and has no curve."""

_MOST_FOLDERS = 10_000  # that are no runs


@dataclass(frozen=True)
class Run:
    """A run.

    Attributes:
        folder: Its folder.
        summary: What is known of it: ``summary.json`` where it is finished.
        assumed: Settings that it is taken to have had and has not noted.
    """

    folder: RunFolder
    summary: dict[str, Any]
    assumed: dict[str, Any] = field(default_factory=dict)


def find_runs(root: str | Path) -> list[Run]:
    """Find the finished runs at or below a folder.

    Where a seed was run more than once, the newest finished folder counts (``seed0-2`` before
    ``seed0``); a run that is still going does not hide the one before it.

    Args:
        root: Any folder above runs: all of them, one group, one method.

    Returns:
        Runs ordered by group, method and seed.

    Raises:
        InputError: ``root`` is no folder, or a summary is damaged.
    """
    newest: dict[tuple[Path, int], tuple[int, RunFolder]] = {}
    for folder, attempt in walk_runs(root):
        key = (folder.path.parent, folder.seed)
        if folder.finished and attempt > newest.get(key, (0, folder))[0]:
            newest[key] = (attempt, folder)
    found = [folder for _, (_, folder) in sorted(newest.items())]
    return [Run(folder, folder.read_summary()) for folder in found]


def in_training(folder: RunFolder) -> bool:
    """Whether a process is known to train in a folder now, by its lock."""
    return is_held(folder.lock)


def walk_runs(
    root: str | Path, unreadable: Callable[[str], None] = warnings.warn
) -> Iterator[tuple[RunFolder, int]]:
    """Go through all runs at or below a folder, those behind symbolic links included, each once.

    The boards of a comparison, which has more folders than there are runs, are not looked into.

    Args:
        root: Any folder above runs.
        unreadable: Takes a sentence on each folder that is left out: it may not be entered, it is
            a second way to what was read already, such as a link that leads back up, or a link
            that leads nowhere.

    Yields:
        Each folder named like a seed that holds a ``config.json`` or a ``summary.json``, and which
        attempt at its seed it is: 1 for ``seed0``, 2 for ``seed0-2``.

    Raises:
        InputError: ``root`` is no folder, or so many lie below it (behind a link to a whole disk,
            say) that it can hardly be one of runs.
    """
    root = home_expanded(root)
    if not os.path.isdir(root):
        raise InputError(f"{root} is not a folder: give the one that holds the runs")

    def left_out(error: OSError) -> None:
        unreadable(f"Left out: {error.filename} cannot be read ({error.strerror}).")

    seen: dict[str, str] = {}
    others: set[str] = set()
    for name, folders, files in os.walk(os.path.realpath(root), onerror=left_out, followlinks=True):
        real = os.path.realpath(name)
        if real in seen:
            folders.clear()
            unreadable(f"Left out: {name} is another name of {seen[real]}.")
            continue
        seen[real] = name
        folders.sort()
        path = Path(name)
        match = SEED_FOLDER.fullmatch(path.name)
        if match is not None and {"summary.json", "config.json"} & set(files):
            folders.clear()
            others.difference_update(map(str, path.parents[:2]))  # of the method, of the group
            yield RunFolder.of(path), int(match["attempt"] or 1)
            continue
        if path.parent.name == COMPARISON and OVERVIEW in folders:
            folders.clear()
            continue
        others.add(name)
        if len(others) > _MOST_FOLDERS:
            raise InputError(
                f"there are more than {_MOST_FOLDERS:,} folders below {root} that are no runs, the "
                f"last {name}: give the one that holds the runs, without links to others"
            )
        for link in (path / file for file in sorted(files)):
            if os.path.islink(link) and not os.path.exists(link):
                unreadable(f"Left out: {link} is a link to what is not there.")
