"""Every run below a folder, by what its own files say: finished, still going, or broken off.

A run is *finished* once it has a summary.  One without is read from its event files; it counts as
*going* while a process here holds its lock, or something in its folder is younger than
:data:`GOING_S`, else as broken off; where its times are of a clock that is ahead, neither is known.
Of runs of one seed with equal settings, images and length the newest finished one counts; others
hide none.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from l2l_gail.comparison.scalars import read_scalars
from l2l_gail.comparison.unnoted import completed
from l2l_gail.errors import InputError
from l2l_gail.experiment import in_one_order
from l2l_gail.files import read_json
from l2l_gail.finding_runs import Run, in_training, walk_runs
from l2l_gail.runs import RunFolder
from l2l_gail.stats import Floats

__all__ = [
    "GOING_S",
    "TRACED_OVER",
    "TRACES",
    "Found",
    "Unfinished",
    "digest_of_data",
    "find",
    "run_files",
    "settings_of",
    "traces_of",
]

GOING_S = 600.0
"""Seconds without a write after which an unfinished run counts as broken off."""

_NOT_SETTINGS = frozenset(
    "seed out resume threads workers name progress total_timesteps data.sha256".split()
)
_LOGGED_CURVES = {
    "gail": ("steps", {"return_mean": "eval/return_mean", "length_mean": "eval/length_mean"}),
    "cifar": ("epochs", {"clean": "held_out/clean", "pgd20": "held_out/pgd20"}),
}
TRACES = {
    "gail": {
        "disc/accuracy_expert": "discriminator: accuracy on the expert",
        "disc/accuracy_policy": "discriminator: accuracy on the policy",
        "disc/entropy": "discriminator: entropy (nats)",
        "eval/state_w1": "policy: distance of states (W1)",
        "rule/gain": "rule: gain over its base",
        "rule/meta_loss": "rule: held-out loss",
        "rule/meta_loss_after": "rule: held-out loss once trained",
        "rule/global_step": "rule: learned factor",
        "rule/step_size": "rule: step of a weight (RMS)",
        "rule/step_ratio": "rule: step over its base's",
        "rule/cosine_base": "rule: cosine with its base's step",
        "rule/cosine": "rule: cosine with steepest descent",
        "rule/tracking_distance": "tracking: distance of logits",
        "rule/tracking_loss": "tracking: loss, fresh rollout",
        "rule/tracking_loss_after": "tracking: loss after updates",
        "rule/tracking_limit": "tracking: loss of the optimum",
    },
    "cifar": {
        "health/fgsm": "accuracy under FGSM, one batch",
        "health/pgd7": "accuracy under PGD-7, same batch",
        "attacker/gain": "attacker: loss gained (nats)",
        "attacker/gain_fgsm": "FGSM: loss gained (nats)",
        "attacker/moved": "attacker: distance from its start",
        "attacker/gradient_norm": "attacker: gradient norm",
    },
}
"""What is shown of the game itself, from the runs' event files: tag, and its name in pictures."""
TRACED_OVER = {"attacker/gradient_norm": "training steps"}
"""Their x, where it is not that of the game's curves."""


@dataclass(frozen=True)
class Unfinished:
    """A run without a summary.

    Attributes:
        run: The run; its summary holds only what could be told from its settings and events.
        going: Whether it has written something of late; ``None`` where that cannot be told.
    """

    run: Run
    going: bool | None


@dataclass
class Found:
    """What lies below a folder.

    Attributes:
        finished: Runs with a summary.
        unfinished: Runs without one, of settings and seeds that have no finished run.
        notes: A sentence on everything that is left out or assumed.
    """

    finished: list[Run] = field(default_factory=list)
    unfinished: list[Unfinished] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(root: str | Path) -> Found:
    """Find all runs at or below a folder, those behind symbolic links included.

    Args:
        root: Any folder above runs.

    Raises:
        InputError: ``root`` is no folder, or the summaries or configurations of all runs are
            damaged.
    """
    found = Found()
    damaged: list[InputError] = []
    folders: dict[Path, list[_Attempt]] = {}
    for folder, attempt in walk_runs(root, found.notes.append):
        try:
            # A pipe or a folder in its place is no run without a summary, and is said to be that.
            summary = _read_json(folder.summary) if os.path.lexists(folder.summary) else None
            run = Run(folder, summary or {})
            settings = settings_of(run)
            one = _Attempt(attempt, run, summary is not None, digest_of_data(run), settings)
        except InputError as error:  # the others are still worth comparing
            damaged.append(error)
            found.notes.append(f"Left out: {error}.")
            continue
        folders.setdefault(folder.path.parent, []).append(one)
    for beside in folders.values():
        for alike in _by_settings(beside, found.notes):
            for on_the_same in _by_images(alike):
                _choose(on_the_same, found)
    if damaged and not (found.finished or found.unfinished):
        raise damaged[0]
    return found


@dataclass(frozen=True)
class _Attempt:
    """A run of a seed: which attempt at it, the digest of its images, and what it has noted."""

    number: int
    run: Run
    finished: bool
    images: str
    noted: dict[str, Any]


def _by_settings(beside: Sequence[_Attempt], notes: list[str]) -> list[list[_Attempt]]:
    """Runs of one folder, sorted by their seeds and settings."""
    runs, said = completed([one.run for one in beside], [one.noted for one in beside])
    notes += said
    found: dict[tuple[int, str], list[_Attempt]] = {}
    for one, run in zip(beside, runs, strict=True):
        settings = json.dumps(run.assumed | one.noted, sort_keys=True, default=str)
        found.setdefault((run.folder.seed, settings), []).append(replace(one, run=run))
    return list(found.values())


def _by_images(alike: Sequence[_Attempt]) -> list[list[_Attempt]]:
    """Runs of a seed with equal settings, sorted by their images.

    Version 0.1.0 did not record them: its runs are taken to be of the newest other's images.
    """
    newest = max((one for one in alike if one.images), key=lambda one: one.number, default=None)
    found: dict[str, list[_Attempt]] = {}
    for one in alike:
        images = one.images or (newest.images if newest else "")
        found.setdefault(images, []).append(one)
    return list(found.values())


def _choose(alike: Sequence[_Attempt], found: Found) -> None:
    """Add to what was found those runs of a seed, alike in settings and images, that count."""
    newest: dict[str, _Attempt] = {}  # by length
    for one in (one for one in alike if one.finished):
        length = _length_key(one.run)
        if one.number > (newest[length].number if length in newest else 0):
            newest[length] = one
    found.finished += [one.run for one in newest.values()]
    last = max(newest.values(), key=lambda one: one.number, default=None)
    going_on = max(
        (one for one in alike if not one.finished and (last is None or one.number > last.number)),
        key=lambda one: one.number,
        default=None,
    )
    if going_on is None:
        return
    folder = going_on.run.folder
    unfinished = _unfinished(going_on.run)
    if unfinished is None:
        found.notes.append(f"Left out: {folder.path} has settings but no measurement yet.")
    elif last is not None:
        found.notes.append(
            f"Left out: {folder.path} is unfinished, {last.run.folder.path.name} with equal "
            "settings counts."
        )
    else:
        found.unfinished.append(unfinished)


def run_files(root: str | Path) -> Iterator[Path]:
    """Every file in the folder of a run below a folder; their folders ``videos`` are not read."""
    for folder, _ in walk_runs(root, lambda text: None):
        with contextlib.suppress(OSError):  # deleted since it was found, or not to be read
            yield from (path for path in folder.path.iterdir() if os.path.isfile(path))


def settings_of(run: Run) -> dict[str, Any]:
    """All settings that a run recorded, flat (``rule.hidden``), without its seed and its place.

    They come from ``config.json``, or from the summary where that file is missing; with those that
    the run is taken to have had and has not noted.

    Raises:
        InputError: They are damaged.
    """
    noted = {key: in_one_order(value) for key, value in _recorded(run) if key not in _NOT_SETTINGS}
    return run.assumed | noted


def digest_of_data(run: Run) -> str:
    """The SHA-256 of the images that a run was trained on; empty where it recorded none.

    Raises:
        InputError: Its settings are damaged.
    """
    return str(dict(_recorded(run)).get("data.sha256", ""))


def _recorded(run: Run) -> Iterator[tuple[str, Any]]:
    config = run.summary.get("config") or run.summary.get("settings") or {}
    if os.path.lexists(run.folder.path / "config.json"):
        config = run.folder.read_config()
    if not isinstance(config, dict):
        raise InputError(f"{run.folder.summary}: its settings are no object: run that seed again")
    return _flatten(config)


def traces_of(run: Run, kind: str) -> dict[str, tuple[Floats, Floats]]:
    """What a run logged of the game: steps and values by tag, from its event files."""
    return read_scalars(run.folder.path, TRACES[kind])


def _length_key(run: Run) -> str:
    """The length of a finished run, as it stands in its summary."""
    return repr([run.summary.get(x_name) for x_name, _ in _LOGGED_CURVES.values()])


def _unfinished(run: Run) -> Unfinished | None:
    """An unfinished run by its events; None where it has measured nothing yet.

    Nor has behaviour cloning anything to show before its end: the x of its events is no other's.
    """
    folder = run.folder
    if folder.method.partition("+")[0] == "bc":
        return None
    for kind, (x_name, tags) in _LOGGED_CURVES.items():
        logged = read_scalars(folder.path, tags.values())
        if not set(tags.values()) <= set(logged):
            continue
        # Of a file that ends within an evaluation, or has a damaged point, what all tags have.
        x = reduce(np.intersect1d, (logged[tag][0] for tag in tags.values()))
        if not len(x):
            continue
        curve: dict[str, Sequence[float]] = {x_name: x.tolist()}
        for name, tag in tags.items():
            steps, values = logged[tag]
            curve[name] = values[np.isin(steps, x)].tolist()
        where = {"env" if kind == "gail" else "data": folder.group}
        last = int(x[-1])
        summary = {"curve": curve, x_name: last, **where}
        return Unfinished(replace(run, summary=summary), _is_going(folder))
    return None


def _is_going(folder: RunFolder) -> bool | None:
    """Whether a run without a summary goes on; ``None`` where that cannot be told."""
    if in_training(folder):
        return True
    age = time.time() - _last_written(folder.path)
    return None if age < -GOING_S else age < GOING_S


def _last_written(folder: Path) -> float:
    """When the run itself wrote last, not who films it later; 0 where that cannot be seen."""
    times = [0.0]
    with contextlib.suppress(OSError):  # deleted meanwhile
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                times.append(file.stat().st_mtime if file.is_file() else 0.0)
    return max(times)


def _flatten(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` as ``("a.b", 1)``."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a run."""
    return read_json(
        path,
        way_out="move its folder away or run that seed again",
        missing=f"{path} is a link to what is not there, or was deleted meanwhile",
    )
