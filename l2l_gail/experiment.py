"""What both training scripts do alike: names of runs, their folders, the check of a resume.

A run is decided by its settings: every flag but those that say where it lies, how long it goes on
and how many run at a time.  Runs that differ in any of them are never one group.  A group is a
folder, named by the method and by what is not at its default (``l2l_gail+learned=both``), or by
``--name``; and a run is not put beside others that were begun with other settings.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l2l_gail.cli import values_by_flag
from l2l_gail.errors import InputError
from l2l_gail.run_flags import LONGEST_LABEL, RunFlags
from l2l_gail.runs import RunFolder, run_folders

__all__ = [
    "Plan",
    "Prepared",
    "check_folders",
    "check_record",
    "in_one_order",
    "open_folders",
    "titles",
]


@dataclass(frozen=True)
class Plan:
    """A run that is to be made.

    Attributes:
        method: What trains.
        seed: Its seed.
        settings: All that decides its result besides, by flag. What a flag stands for, a file's
            content for instance, goes by the flag's name, a dot, and more.
        defaults: The same at the script's defaults, for the name; and for what an older version
            has not recorded, since it did not have the flag.
        name: Name of the run's group, if it is not to come from the settings.
        unused: Settings that do not decide the result; they are dropped.
        before: What a setting stood at before it was one, where that is not its default now.
        without_use: Defaults of the settings that were dropped. A run that has noted another value
            of one was begun where it did decide the result; filled in.
    """

    method: str
    seed: int
    settings: Mapping[str, Any]
    defaults: Mapping[str, Any]
    name: str | None = None
    unused: Collection[str] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    without_use: Mapping[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Leave out what does not decide the result; the flags of :class:`RunFlags` never do."""
        usual = {k: v for k, v in self.defaults.items() if k in self.unused}
        object.__setattr__(self, "without_use", usual)
        left_out = {*self.unused, *values_by_flag(RunFlags())}
        for name in ("settings", "defaults"):
            kept = {k: v for k, v in getattr(self, name).items() if k not in left_out}
            object.__setattr__(self, name, kept)

    @property
    def label(self) -> str:
        """Name of the run's group, in folders and tables."""
        if self.name is not None:
            return f"{self.method}+{self.name}"
        now, usual = _plain(self.settings), _plain(self.defaults)
        parts = [f"{key}={_text(now[key])}" for key in now if now[key] != usual.get(key)]
        label = "+".join([self.method, *parts])
        if len(label) <= LONGEST_LABEL:
            return label
        digest = hashlib.sha256(label.encode()).hexdigest()[:8]
        return f"{label[: LONGEST_LABEL - 9]}+{digest}"

    @property
    def record(self) -> dict[str, Any]:
        """What the run notes of itself: its settings and its seed."""
        return {**self.settings, "seed": self.seed}

    def differences(self, record: Mapping[str, Any] | None) -> list[str]:
        """Return the flags in which a run with this record, if it has one, was begun otherwise."""
        return list(dict.fromkeys(_flag(key) for key in self._changed(record)))

    def as_begun(self, record: Mapping[str, Any] | None) -> str:
        """Return those flags with the values that the run was begun with, where they have some."""
        changed = {k: v for k, v in self._changed(record).items() if "." not in k}
        by_name = {key.partition(".")[0] for key in (*self.settings, *(record or {})) if "." in key}
        given, others = [], []
        for key, value in changed.items():
            if value is None and self.defaults.get(key) is None:
                others.append(f"without {_flag(key)}")
            elif key in by_name:  # where the file lies is not recorded
                others.append(f"{_flag(key)} with a file called {value}")
            else:
                given.append(_given(key, value))
        return ", ".join([" ".join(given), *others] if given else others)

    def _changed(self, record: Mapping[str, Any] | None) -> dict[str, Any]:
        if record is None:
            return {}
        now, usual = _plain(self.settings), _plain({**self.defaults, **self.before})
        record = _plain(record)
        begun = {key: record.get(key, usual.get(key)) for key in now}
        changed = {key: value for key, value in begun.items() if value != now[key]}
        idle = _plain(self.without_use).items()
        return changed | {k: record[k] for k, v in idle if record.get(k, v) != v}


def in_one_order(value: Any) -> Any:
    """Return a recorded setting, a list of arguments k=v sorted: their order decides nothing."""
    if isinstance(value, list) and all(isinstance(each, str) and "=" in each for each in value):
        return sorted(value)
    return value


def titles(plans: Sequence[Plan]) -> list[str]:
    """Return a short name for each run of one command, which differ in method and seed alone."""
    several = len({plan.seed for plan in plans}) > 1
    return [plan.method + f" seed {plan.seed}" * several for plan in plans]


@dataclass(frozen=True)
class Prepared:
    """The runs of one command, all of it checked and nothing made yet.

    Attributes:
        group: Environment id or name of the data.
        plans: The runs.
        job: From a plan, its folder and a number of cores to what the script's ``train`` takes.
    """

    group: str
    plans: Sequence[Plan]
    job: Callable[[Plan, RunFolder, int], Any]


def check_folders(flags: RunFlags, group: str, plans: Sequence[Plan]) -> None:
    """Refuse runs that fit in nowhere; makes no folder.

    Where the settings of a run beside them cannot be read, or are another seed's, a comparison
    leaves it out; so here, with a warning.

    Args:
        flags: Where they lie, and whether they are to be gone on with.
        group: Environment id or name of the data.
        plans: The runs.

    Raises:
        InputError: A run would lie among runs with other settings, or would be gone on with under
            other settings or another seed than it was begun with, or under settings that cannot be
            read.
    """
    labels: dict[str, list[Plan]] = {}
    for plan in plans:
        labels.setdefault(_label(flags, group, plan), []).append(plan)
    for label, alike in labels.items():
        own = RunFolder.group_path(flags.out, group, label)
        folders = run_folders(own)
        for folder in folders:
            try:
                check_record(folder, alike[0], resume=flags.resume)
            except _UnusableError as error:
                seed = RunFolder.of(folder).seed
                newest = RunFolder.newest(flags.out, group, label, seed)
                is_wanted = newest and newest.path == folder and seed in {p.seed for p in alike}
                if flags.resume and is_wanted:
                    raise
                warnings.warn(f"Passed over: {error}", stacklevel=2)
        if flags.resume and not folders:
            _check_kin(own, alike[0])


def open_folders(flags: RunFlags, group: str, plans: Sequence[Plan]) -> list[RunFolder]:
    """Make the folders of new runs, or find those of runs to go on with.

    Args:
        flags: Where they lie, and whether they are to be gone on with.
        group: Environment id or name of the data.
        plans: The runs.

    Returns:
        A folder for each plan.

    Raises:
        InputError: As :func:`check_folders`, before any folder is made; or another process trains
            in a folder.
    """
    check_folders(flags, group, plans)
    return [
        RunFolder.create(
            flags.out, group, _label(flags, group, plan), plan.seed, resume=flags.resume
        )
        for plan in plans
    ]


def check_record(folder: Path, plan: Plan, *, resume: bool) -> None:
    """Refuse to go on with a run, or to put another beside it, under other settings than its own.

    Args:
        folder: Folder of a run; one that has not noted its settings yet fits any.
        plan: What is to be made.
        resume: Whether it is to go on in this folder.

    Raises:
        InputError: Naming the flags that differ; or its settings cannot be read, or are another
            seed's than the folder's.
    """
    record = _record_of(folder)
    changed = plan.differences(record)
    if changed and resume:
        raise InputError(
            f"{folder} was begun with other {', '.join(changed)}: give the same"
            f"{_in_brackets(plan, record)} to resume it, or leave --resume out for a run of its own"
        )
    if changed:
        raise InputError(
            f"{folder} was begun with other {', '.join(changed)}, and runs that differ are no "
            "group: give these a --name, or another --out"
        )


def _label(flags: RunFlags, group: str, plan: Plan) -> str:
    """The name of a run's group: its label, or that of the same runs under other defaults.

    A default that has changed, or become a setting, since a run was begun changes its label.
    """
    own = RunFolder.group_path(flags.out, group, plan.label)
    if flags.resume and plan.name is None and not run_folders(own):
        for other in _kin(own, plan):
            is_given = any("=" not in part for part in other.name.split("+")[1:])
            records = []
            for folder in run_folders(other):
                with contextlib.suppress(_UnusableError):
                    records.append(_record_of(folder))
            begun_alike = not any(r is None or plan.differences(r) for r in records)
            if records and begun_alike and not is_given:
                return other.name
    return plan.label


def _check_kin(own: Path, plan: Plan) -> None:
    """Refuse to begin a run where one of the same method with other settings is likely meant."""
    for other in _kin(own, plan):
        for folder in run_folders(other):
            record = _record_of(folder)
            changed = plan.differences(record) or ["--name"]
            raise InputError(
                f"nothing to resume in {own}; {folder} was begun with other {', '.join(changed)}: "
                f"give the same{_in_brackets(plan, record)}, or leave --resume out for a run of "
                "its own"
            )


def _kin(own: Path, plan: Plan) -> list[Path]:
    """The groups of the same method beside a group's folder."""
    kin = re.compile(re.escape(plan.method) + r"(?:[+-].*)?")
    siblings = list(os.scandir(own.parent)) if os.path.isdir(own.parent) else []
    return sorted(Path(entry.path) for entry in siblings if kin.fullmatch(entry.name))


def _in_brackets(plan: Plan, record: Mapping[str, Any] | None) -> str:
    flags = plan.as_begun(record)
    return f" ({flags})" if flags else ""


class _UnusableError(InputError):
    """What a run has noted of itself cannot be read, or is another seed's."""


def _record_of(folder: Path) -> dict[str, Any] | None:
    """What a run has noted of itself, if it has come so far."""
    if not os.path.exists(folder / "config.json"):
        return None
    run = RunFolder.of(folder)
    try:
        record = run.read_config()
    except InputError as error:
        raise _UnusableError(str(error)) from None
    # Else a copied folder goes on as another seed, and one training counts as two.
    if (seed := record.get("seed", run.seed)) != run.seed:
        raise _UnusableError(
            f"{folder} is the folder of seed {run.seed}, and its run was begun with seed {seed}: "
            "move it away, or run that seed again without --resume"
        )
    return record


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are read back from JSON."""
    plain = json.loads(json.dumps(dict(settings), default=str))
    return {key: in_one_order(value) for key, value in plain.items()}


def _flag(key: str) -> str:
    """The flag of a setting, or of what a flag stands for."""
    return "--" + key.split(".")[0].replace("_", "-")


def _given(key: str, value: Any) -> str:
    """A flag as it is given."""
    if isinstance(value, bool):
        return _flag(key) if value else "--no-" + _flag(key).removeprefix("--")
    return " ".join([_flag(key), *map(str, value if isinstance(value, list) else [value])])


def _text(value: Any) -> str:
    """A setting in a folder's name."""
    joined = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    sign = "-" * joined.startswith("-")  # of a number: -1 is not 1
    return sign + (re.sub(r"[^\w.=-]+", "-", joined).strip("-") or "none")
