"""The file that describes a sweep, checked whole before any work starts."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from l2l_gail.checks import nearest
from l2l_gail.cli import Flag, flags_of
from l2l_gail.errors import InputError
from l2l_gail.experiment import Plan, Prepared, check_folders
from l2l_gail.files import home_expanded, read_text
from l2l_gail.run_flags import parse_seeds
from l2l_gail.sweep.rows import SCRIPTS, Row, load_script, prepare

__all__ = ["Spec", "read_spec"]

Flags: TypeAlias = dict[str, Any]
"""Values by flag, as the file has them."""

_LARGEST = 1 << 20
_MOST_ROWS = 100_000
_PLACE = {"train_gail": ("environments", "env"), "train_cifar": ("data", "data")}
"""What a script's environments are called in the file, and the flag that each of them is."""
_OF_THE_SWEEP = {
    "seed": "list 'seeds'",
    "seeds": "list 'seeds' beside the flags",
    "method": "list 'methods'",
    "out": "give 'out' at the top of the file",
    "threads": "give 'threads' at the top of the file",
    "workers": "give --workers to the sweep",
    "resume": "a sweep always goes on where it was left",
}
"""Flags that a sweep gives itself, and what to do instead."""


@dataclass(frozen=True)
class Spec:
    """A sweep.

    Attributes:
        path: The file it was read from.
        out: Root of the runs.
        threads: CPU threads of each run. The last bits of a result hang on it, so it belongs to
            the sweep and not to the machine that happens to run it.
        rows: The runs, seed by seed, so that an unfinished sweep has all methods with fewer seeds.
        dropped: How many rows were the same run as one before: a setting that the method has no
            use for.
    """

    path: Path
    out: Path
    threads: int
    rows: tuple[Row, ...]
    dropped: int


@dataclass(frozen=True)
class _Part:
    """What a file asks of one script.

    Attributes:
        script: Its name.
        seeds: The seeds.
        flags: Flags of all its runs.
        axes: ``environments`` or ``data``, ``settings`` and ``methods``: each a table of names with
            the flags that go with them.
    """

    script: str
    seeds: list[int]
    flags: Flags
    axes: dict[str, dict[str, Flags]]


@dataclass(frozen=True)
class _Cell:
    """Rows that differ in their seed alone; the plan is that of the first."""

    group: str
    setting: str
    method: str
    plan: Plan
    arguments: tuple[str, ...]
    steps: int


def read_spec(path: str | Path) -> Spec:
    """Read a sweep's file and check all of it, each run as its script checks it.

    Args:
        path: A TOML file, see ``docs/scale.md``.

    Raises:
        InputError: The file is missing or no TOML, a key or a flag is unknown or of a wrong type, a
            script refuses a run, or two runs that differ would lie in one folder; in one line.
    """
    path = Path(path)
    text = read_text(path, limit=_LARGEST)
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{path} is no TOML: {error or type(error).__name__}") from None
    try:
        return _spec(path, content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _spec(path: Path, content: Mapping[str, Any]) -> Spec:
    _check_keys(content, ("out", "threads", *SCRIPTS), "")
    out = _typed(content, "out", str, "runs", "a string")
    threads = _typed(content, "threads", int, 1, "a whole number")
    if not 1 <= threads <= 1024:
        raise InputError(f"threads = {threads}: give at least 1")
    scripts = [name for name in SCRIPTS if name in content]
    if not scripts:
        raise InputError(f"asks for no runs: give a table [{SCRIPTS[0]}] or [{SCRIPTS[1]}]")
    always = ("--out", out, "--workers", "1", "--threads", str(threads))
    rows: list[Row] = []
    dropped = 0
    for name in scripts:
        flags = {flag.key: flag for flag in flags_of(load_script(name).Config)}
        part = _part(name, content[name], flags)
        cells = list(_cells(part, flags, always))
        once = _without_repeats(cells)
        dropped += (len(cells) - len(once)) * len(part.seeds)
        for seed, cell in itertools.product(part.seeds, once):
            row = Row(
                index=len(rows),
                script=name,
                group=cell.group,
                method=cell.method,
                setting=cell.setting,
                seed=seed,
                folder=cell.plan.label,
                arguments=(*cell.arguments, "--seed", str(seed)),
                threads=threads,
                steps=cell.steps,
            )
            rows.append(row)
    return Spec(path, home_expanded(out), threads, tuple(rows), dropped)


def _part(script: str, content: Any, flags: Mapping[str, Flag]) -> _Part:
    """What is asked of a script, every key and flag of it checked."""
    place, place_flag = _PLACE[script]
    if not isinstance(content, dict):
        raise InputError(f"{script} must be a table, [{script}]")
    _check_keys(content, ("seeds", "methods", place, "settings", "flags"), f"{script}.")
    if "methods" not in content:
        raise InputError(f"{script}.methods is missing: list the methods to train")
    own = _OF_THE_SWEEP | {place_flag: f"list {place!r}"}
    seeds = _seeds(script, content.get("seeds", [0]))
    axes: dict[str, dict[str, Flags]] = {}
    count = len(seeds)
    for name, unnamed in ((place, ""), ("settings", "-"), ("methods", "")):
        where = f"{script}.{name}"
        tables = _tables(where, content[name]) if name in content else {unnamed: {}}
        axes[name] = {
            key: _checked_flags(f"{where}.{key}", table, flags, own)
            for key, table in tables.items()
        }
        count *= len(axes[name])
    if count > _MOST_ROWS:
        raise InputError(f"{script} asks for {count:,} runs: at most {_MOST_ROWS:,} in one sweep")
    always = _typed(content, "flags", dict, {}, "a table", where=f"{script}.")
    return _Part(script, seeds, _checked_flags(f"{script}.flags", always, flags, own), axes)


def _seeds(script: str, given: Any) -> list[int]:
    items = given if isinstance(given, list) else [given]
    if not items or not all(isinstance(s, str) or type(s) is int for s in items):
        raise InputError(f'{script}.seeds must be numbers or ranges, as [0, 1] or "0-4"')
    try:
        return parse_seeds([str(item) for item in items])
    except InputError as error:
        raise InputError(str(error).replace("--seeds", f"{script}.seeds")) from None


def _tables(where: str, content: Any) -> dict[str, Any]:
    """Names, each with the flags that go with it, from such a table or from a list of names."""
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        twice = {name for name in content if content.count(name) > 1}
        if twice:
            raise InputError(f"{where} has {min(twice)!r} twice")
        content = {name: {} for name in content}
    if not isinstance(content, dict) or not content:
        raise InputError(f"{where} must be a list of names, or tables of flags, [{where}.NAME]")
    return content


def _checked_flags(
    where: str, table: Any, flags: Mapping[str, Flag], own: Mapping[str, str]
) -> Flags:
    """Flags by their names as identifiers: each one exists and has a value of its kind."""
    if not isinstance(table, dict):
        raise InputError(f"{where} must be a table of flags")
    found: Flags = {}
    for name, value in table.items():
        key = name.replace("-", "_")
        if key in own:
            raise InputError(f"{where}.{name} is no flag to give here: {own[key]}")
        if key not in flags:
            near = nearest(key, flags)
            hint = f"; perhaps you meant {near!r}" if near else ""
            raise InputError(f"{where}: unknown flag {name!r}{hint}")
        if key in found:
            raise InputError(f"{where} has {key} twice")
        flag = flags[key]
        if flag.switch and not isinstance(value, bool):
            raise InputError(f"{where}.{name} = {value!r} must be true or false")
        is_list = isinstance(value, list) and all(_is_plain(item) for item in value)
        if flag.takes_list and not is_list:
            raise InputError(f"{where}.{name} = {value!r} must be a list of numbers or strings")
        if not flag.switch and not flag.takes_list and not _is_plain(value):
            raise InputError(f"{where}.{name} = {value!r} must be one number or string")
        found[key] = value
    return found


def _cells(part: _Part, flags: Mapping[str, Flag], always: tuple[str, ...]) -> Iterator[_Cell]:
    """Each method in each setting of each environment, as its script accepts it."""
    place_flag = _PLACE[part.script][1]
    for names in itertools.product(*part.axes.values()):
        place, setting, method = names
        given: Flags = {}
        source: dict[str, str] = {}
        for axis, name in zip(part.axes, names, strict=True):
            for key, value in part.axes[axis][name].items():
                if key in given:
                    raise InputError(
                        f"{part.script}: {key} is given by {source[key]} and by {axis}.{name}: "
                        "give it in one of them"
                    )
                given[key], source[key] = value, f"{axis}.{name}"
        given = part.flags | given
        chosen = ("--method", method, *((f"--{place_flag}", place) if place else ()))
        arguments = (*always, *chosen, *_arguments(given, flags))
        where = " ".join([part.script, *(name for name in names if name not in ("", "-"))])
        try:
            config, prepared = _accepted(part, arguments, given, flags)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        (plan,) = prepared.plans
        steps = getattr(config, "total_timesteps", 0)
        yield _Cell(prepared.group, setting, method, plan, arguments, steps)


def _accepted(
    part: _Part, arguments: tuple[str, ...], given: Flags, flags: Mapping[str, Flag]
) -> tuple[Any, Prepared]:
    """The configuration and the run of a cell's first seed; what is asked of others is the same."""
    config, prepared = prepare(part.script, (*arguments, "--seed", str(part.seeds[0])))
    for key, value in given.items():
        _check_kind(key, value, flags[key].value(config))
    if len(prepared.plans) != 1:
        raise InputError("stands for several methods; list each by its own name")
    check_folders(config.runs, prepared.group, prepared.plans)
    return config, prepared


def _check_kind(key: str, value: Any, found: Any) -> None:
    """Refuse a quoted number, and a number in the place of text: command lines know no kinds."""
    if value == [] and found:
        raise InputError(f"{key} = [] would be {list(found)}, its default: give values")
    if isinstance(value, list):
        for one, other in zip(value, found, strict=False):
            _check_kind(key, one, other)
    elif isinstance(value, str) and isinstance(found, int | float):
        raise InputError(f'{key} = "{value}" must be a number, without quotes')
    elif not isinstance(value, str) and isinstance(found, str | Path):
        raise InputError(f"{key} = {value} must be a string, in quotes")


def _without_repeats(cells: Iterable[_Cell]) -> list[_Cell]:
    """Leave out cells that are the same runs as one before: a setting that changes nothing there.

    Raises:
        InputError: Two cells that differ would lie in one folder.
    """
    kept: dict[tuple[str, str], _Cell] = {}
    for cell in cells:
        first = kept.setdefault((cell.group, cell.plan.label), cell)
        differing = cell.plan.differences(first.plan.record)
        if cell.steps != first.steps:
            differing.append("--total-timesteps (a longer run is the same run)")
        if differing:
            raise InputError(
                f"{cell.method} differs in {', '.join(differing)} between the settings "
                f"{first.setting} and {cell.setting}, whose runs have one 'name': give each its own"
            )
    return list(kept.values())


def _arguments(given: Flags, flags: Mapping[str, Flag]) -> Iterator[str]:
    """The command line of checked flags."""
    for key, value in given.items():
        flag = flags[key]
        if flag.switch:
            yield flag.spellings[0 if value else 1]
        elif flag.takes_list and value == []:
            continue  # a setting's word that what is given for all does not hold
        elif flag.takes_list:
            yield from (flag.name, *map(_word, value))
        else:
            yield f"{flag.name}={_word(value)}"


def _word(value: Any) -> str:
    """A value on a command line; 2e5 is a float in the file, and may be meant as a whole number."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return f"{value:.0f}" if is_whole else str(value)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _typed(
    content: Mapping[str, Any], key: str, kind: type, default: Any, what: str, where: str = ""
) -> Any:
    value = content.get(key, default)
    if type(value) is not kind:
        raise InputError(f"{where}{key} = {value!r} must be {what}")
    return value


def _check_keys(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            near = nearest(key, known)
            hint = f"perhaps you meant {near!r}" if near else f"known: {', '.join(known)}"
            raise InputError(f"unknown key {where + key!r}; {hint}")
