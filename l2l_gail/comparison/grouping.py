"""Which runs are seeds of one method: of one name, equal in every setting, images and length.

Runs that differ in any are methods of their own, named by what differs; nothing is averaged across
them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from l2l_gail.comparison.reading import Unfinished, digest_of_data, settings_of
from l2l_gail.comparison.results import (
    IMAGES,
    X_KEY,
    Kind,
    MethodResult,
    Section,
    as_floats,
    check_curves,
)
from l2l_gail.errors import InputError, printable
from l2l_gail.finding_runs import Run

__all__ = ["collect", "sound"]

_NAMED_SETTINGS = 3  # more would not fit a legend
_LONGEST_NAME = 200

_REQUIRED: dict[Kind, tuple[str, ...]] = {
    # Not the expert's and the clone's return: demonstrations may lack rewards, and actions.
    "gail": ("steps", "eval_returns", "eval_lengths", "wall_s", "cpu_s", "random_return"),
    "cifar": ("epochs", "clean", "pgd20", "forward_equivalents", "wall_s", "cpu_s"),
}


_OPTIONAL = (
    *("expert_return", "bc_return", "discriminator_gradients"),
    *("state_w1", "nearest_returns", "robust", "train_images"),
)


def sound(runs: Sequence[Run], notes: list[str]) -> list[Run]:
    """Return the runs whose summaries can be compared.

    Args:
        runs: Finished runs.
        notes: Takes a sentence on each of the others.

    Raises:
        InputError: There are runs, and none is sound.
    """
    kept, errors = [], []
    for run in runs:
        try:
            _check(run)
            kept.append(run)
        except InputError as error:
            errors.append(error)
            notes.append(f"Left out: {error}.")
    if errors and not kept:
        raise errors[0]
    return kept


def _check(run: Run) -> None:
    """Read every number of a summary that something is made of."""
    kind = _kind_of(run)
    for key in (*_REQUIRED[kind], *_OPTIONAL):
        if key in _REQUIRED[kind] or run.summary.get(key) is not None:
            as_floats(run, key, run.summary[key])
    if kind == "cifar" and not run.summary["epochs"]:
        raise InputError(f"{run.folder.summary}: 'epochs' is 0: run that seed again")
    check_curves(run, kind)
    # Else one training, in folders of several seeds, is several seeds and has an interval of 0.
    records = [run.summary]
    if os.path.lexists(run.folder.path / "config.json"):
        records.append(run.folder.read_config())
    for record in records:
        if (seed := record.get("seed", run.folder.seed)) != run.folder.seed:
            raise InputError(
                f"{run.folder.path} is the folder of seed {run.folder.seed}, and its run had seed "
                f"{seed}"
            )


def collect(runs: Sequence[Run], unfinished: Sequence[Unfinished] = ()) -> list[Section]:
    """Sort runs into sections and methods.

    Args:
        runs: Finished runs, as :func:`l2l_gail.finding_runs.find_runs` gives them.
        unfinished: Runs without a summary, as :func:`l2l_gail.comparison.find` gives them.

    Returns:
        Sections, GAIL before adversarial training, each by name.

    Raises:
        InputError: A summary is of neither game, or lacks a key; or a seed of a method is there
            twice with equal settings and images, which would count as two seeds.
    """
    data = _DataSets(run for run in (*runs, *(one.run for one in unfinished)))
    sections: dict[tuple[bool, str], dict[_Identity, _Members]] = {}
    seen: dict[tuple[str, _Identity, int], Run] = {}
    for run in runs:
        kind = _kind_of(run)
        length = as_floats(run, X_KEY[kind], run.summary.get(X_KEY[kind])).mean()
        identity = _Identity.of(run, int(length), data)
        twin = seen.setdefault((run.folder.group, identity, run.folder.seed), run)
        if twin is not run:
            raise InputError(
                f"{twin.folder.path} and {run.folder.path} are one seed of one method: "
                "compare their roots one at a time"
            )
        section = sections.setdefault((kind != "gail", run.folder.group), {})
        section.setdefault(identity, _Members()).finished.append(run)
    for one in unfinished:
        identity = _Identity.of(one.run, None, data)
        place = ("env" not in one.run.summary, one.run.folder.group)
        section = sections.setdefault(place, {})
        alike = [other for other in section if other.is_like(identity)]
        longest = max(alike, key=lambda other: other.length or 0, default=identity)
        section.setdefault(longest, _Members()).unfinished.append(one)
    return [
        Section(group, "cifar" if is_cifar else "gail", _methods(found, is_cifar))
        for (is_cifar, group), found in sorted(sections.items())
    ]


@dataclass(frozen=True)
class _Identity:
    """What runs of one method have in common.

    Attributes:
        base: Name of their folder.
        settings: Their settings as JSON.
        length: Steps or epochs; None while a run goes on.
    """

    base: str
    settings: str
    length: int | None

    @classmethod
    def of(cls, run: Run, length: int | None, data: _DataSets) -> _Identity:
        settings = settings_of(run) | data.told_apart(run)
        text = json.dumps(settings, sort_keys=True, default=str)
        return cls(run.folder.method, text, length)

    def is_like(self, other: _Identity) -> bool:
        return (self.base, self.settings) == (other.base, other.settings)


class _DataSets:
    """Which images the runs of one section were trained on, where they are not the same.

    Version 0.1.0 did not record it: its runs are taken to be of the others' images.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self._found: dict[str, set[str]] = {}
        for run in runs:
            if digest := digest_of_data(run):
                self._found.setdefault(run.folder.group, set()).add(digest)

    def told_apart(self, run: Run) -> dict[str, str]:
        """Return a setting that names a run's images, nothing if there are no others."""
        if len(self._found.get(run.folder.group, ())) < 2:
            return {}
        return {IMAGES: digest_of_data(run)[:8] or "not recorded"}


@dataclass
class _Members:
    """The runs of one method."""

    finished: list[Run] = field(default_factory=list)
    unfinished: list[Unfinished] = field(default_factory=list)


def _methods(found: Mapping[_Identity, _Members], is_cifar: bool) -> tuple[MethodResult, ...]:
    """Methods of a section, by name."""
    names = _names(list(found), "epochs" if is_cifar else "steps")
    longest = max(identity.length or 0 for identity in found)
    results = []
    for identity, members in found.items():
        unfinished = tuple(sorted(members.unfinished, key=lambda one: one.run.folder.seed))
        runs = tuple(sorted(members.finished, key=lambda run: run.folder.seed))
        results.append(
            MethodResult(
                names[identity] + ("" if runs else " (unfinished)"),
                "cifar" if is_cifar else "gail",
                runs or tuple(one.run for one in unfinished),
                identity.base,
                json.loads(identity.settings),
                unfinished,
                longest,
            )
        )
    results.sort(key=lambda result: (result.base, result.method))
    return tuple(_with_equal_ranges(results))


def _with_equal_ranges(methods: Sequence[MethodResult]) -> Iterator[MethodResult]:
    """Let areas under curves of equal length begin at one step, where evaluations do not."""
    begins = [
        (method.length, [steps[0] for steps, _ in method.normalised_curves if len(steps) > 1])
        for method in methods
        if method.finished and method.normalised_curves
    ]
    for method in methods:
        length = method.length if method.finished else None
        steps = {step for other, firsts in begins if other == length for step in firsts}
        yield replace(method, area_since=max(steps)) if len(steps) > 1 else method


def _names(identities: Sequence[_Identity], unit: str) -> dict[_Identity, str]:
    """Names of methods: the folder's, and in brackets what sets them apart in that folder."""
    names: dict[_Identity, str] = {}
    for base in sorted({identity.base for identity in identities}):
        members = [identity for identity in identities if identity.base == base]
        settings = {one: json.loads(one.settings) for one in members}
        keys = sorted({key for found in settings.values() for key in found})
        differing = [
            key for key in keys if len({str(s.get(key, "not set")) for s in settings.values()}) > 1
        ]
        lengths = {one.length for one in members if one.length is not None}
        for one in members:
            parts = [f"{key}={settings[one].get(key, 'not set')}" for key in differing]
            if len(parts) > _NAMED_SETTINGS:
                parts = [*parts[:_NAMED_SETTINGS], f"and {len(parts) - _NAMED_SETTINGS} more"]
            if len(lengths) > 1 and one.length is not None:
                parts.append(f"{one.length:,} {unit}")
            name = f"{base} ({', '.join(parts)})" if parts else base
            name = printable(name, limit=_LONGEST_NAME)  # names and settings come out of files
            taken = sum(other.split(" #")[0] == name for other in names.values())
            names[one] = f"{name} #{taken + 1}" if taken else name
    return names


def _kind_of(run: Run) -> Kind:
    """Which game a run belongs to, by what it was trained on."""
    kind: Kind
    if "env" in run.summary:
        kind = "gail"
    elif "data" in run.summary:
        kind = "cifar"
    else:
        raise InputError(
            f"{run.folder.summary} has neither 'env' nor 'data': it is no summary of l2l_gail, "
            "move its folder away"
        )
    missing = [key for key in _REQUIRED[kind] if key not in run.summary]
    if missing:
        raise InputError(f"{run.folder.summary} lacks {', '.join(missing)}: run that seed again")
    return kind
