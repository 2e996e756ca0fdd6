"""What is attacked of runs: their folders, what they say of themselves, the command line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from l2l_gail.checkpoints import load_checkpoint
from l2l_gail.comparison import collect, find, section_notes, section_tables
from l2l_gail.comparison.scalars import read_scalars
from l2l_gail.errors import InputError
from l2l_gail.finding_runs import find_runs
from l2l_gail.gym_env import parse_env_kwargs
from l2l_gail.runs import RunFolder
from tests.faults import mutate
from tests.faults.mutate import Random


@dataclass(frozen=True)
class Subject:
    """A reader under attack.

    Attributes:
        make: Writes a hostile input below a folder and returns what to read.
        read: Reads it, and raises ``InputError`` or returns what was read.
        judge: Raises ``AssertionError`` where what was read is unsound.
    """

    make: Callable[[Random, Path], Any]
    read: Callable[[Any], Any]
    judge: Callable[[Any], None]


# Run folders: JSON, links, pipes, names.


def hostile_runs(rng: Random, folder: Path) -> Path:
    root = folder / "runs"
    place = root / "Hopper-v5" / "gail" / "seed0"
    place.mkdir(parents=True)
    config = {"env": "Hopper-v5", "seed": 0, "rate": 3e-4, "sizes": [64, 64], "demos": None}
    summary = {"method": "gail", "seed": 0, "steps": 10, "curve": [[1, 2.0]], "config": config}
    for name, value in (("config.json", config), ("summary.json", summary)):
        content = json.dumps(value).encode()
        if rng.random() < 0.7:
            content = mutate.change_json(content, rng)
        (place / name).write_bytes(content)
    target = place / rng.choice(("config.json", "summary.json", "checkpoint.pt"))
    kind = rng.randrange(8)
    if kind < 4:
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
    if kind == 0:
        os.mkfifo(target)
    elif kind == 1:
        target.symlink_to(rng.choice(("/dev/zero", "/dev/full", "/proc/self/mem", str(target))))
    elif kind == 2:
        target.mkdir()
    elif kind == 4:
        loop = place.parent / "seed1"
        loop.symlink_to(place.parent)
    elif kind == 5:
        name = rng.choice(
            ("seed9" * 20, "seed" + "9" * 200, "seed-1", "seed0-0", "seed0-" + "1" * 99)
        )
        shutil.copytree(place, place.with_name(name), symlinks=True)
    return root


def read_runs(root: Path) -> Any:
    folder = RunFolder(root / "Hopper-v5" / "gail" / "seed0", "Hopper-v5", "gail", 0)
    readers = (
        folder.read_config,
        lambda: [run.summary for run in find_runs(root)],
        lambda: load_checkpoint(folder.checkpoint),
    )
    found: list[Any] = []
    errors: list[InputError] = []
    for read in readers:
        try:
            found.append(read())
        except InputError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    assert all(str(error).isprintable() for error in errors)
    return found


def judge_runs(found: Any) -> None:
    json.dumps(found, allow_nan=False)


# The comparison: what finished runs say of themselves, and the tables made of it.

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "runs"


@cache
def summaries() -> list[tuple[str, dict[str, Any]]]:
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in sorted(RESULTS.rglob("summary.json")):
        summary = json.loads(path.read_text())
        found.setdefault(summary["kind"], (path.parts[-4], summary))
    return list(found.values())


def hostile_comparison(rng: Random, folder: Path) -> Path:
    group, summary = rng.choice(summaries())
    for seed in range(rng.choice((1, 2))):
        value: Any = {**summary, "seed": seed}
        for _ in range(rng.choice((0, 1, 1, 3))):
            value = mutate.change_value(value, rng)
        place = folder / group / rng.choice(("gail", "\x1b[2J", "a" * 200)) / f"seed{seed}"
        place.mkdir(parents=True)
        content = json.dumps(value, ensure_ascii=rng.random() < 0.9)
        (place / "summary.json").write_bytes(content.encode("utf-8", "surrogatepass"))
        if rng.random() < 0.5:
            config = mutate.change_json(b'{"rate": 0.1, "sizes": [64], "env": "Hopper-v5"}', rng)
            (place / "config.json").write_bytes(config)
    return folder


def read_comparison(root: Path) -> list[str]:
    found = find(root)
    sections = collect(found.finished, found.unfinished)
    tables = [table.as_text() for section in sections for table in section_tables(section)]
    return [
        *tables,
        *found.notes,
        *(note for section in sections for note in section_notes(section)),
    ]


def judge_comparison(texts: list[str]) -> None:
    assert all(text.replace("\n", "").isprintable() for text in texts)
    assert not any(word in text.split() for text in texts for word in ("nan", "inf", "-inf"))


# Event files of TensorBoard.


@cache
def event_file() -> bytes:
    import tempfile

    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            for step in range(8):
                writer.add_scalar("a", step, step)
                writer.add_scalar("b", step, step, new_style=True)
        return next(Path(folder).iterdir()).read_bytes()


def hostile_events(rng: Random, folder: Path) -> Path:
    content = event_file()
    if rng.random() < 0.5:  # below the lengths and checksums of the records
        content = content.replace(*rng.choice(EVENT_CHANGES))
    for _ in range(rng.choice((0, 1, 2))):
        content = mutate.change_bytes(content, rng)
    (folder / "events.out.tfevents.1").write_bytes(content)
    return folder


EVENT_CHANGES = [
    (b"\x01a", b"\x01b"), (b"scalars", b"scalarz"), (b"\x08\x01", b"\x08\x07"),
    (b"\x00\x00\x80?", b"\x00\x00\xc0\x7f"), (b"\x12\x00", b"\x12\x08"), (b"a", b"\xff"),
]  # fmt: skip


def judge_events(scalars: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    for steps, values in scalars.values():
        assert steps.shape == values.shape
        assert steps.ndim == 1
        assert (np.diff(steps) > 0).all()
        assert np.isfinite(values).all()


# The command line.


def hostile_arguments(rng: Random, folder: Path) -> list[str]:
    def value() -> str:
        parts = [rng.choice(("a=", "forward_reward_weight=", "a=1", *mutate.TEXTS))]
        parts += [rng.choice((*mutate.TEXTS, "1e-3", "{'a': 1}", "(1, 2)"))]
        parts += [rng.choice("()[]{}-'\"=:, 0") * rng.choice((1, 5, 100_000)) for _ in range(2)]
        return "".join(parts)[: rng.choice((20, 1000, 200_000))]

    return [value() for _ in range(rng.choice((1, 2, 3)))]


def judge_arguments(kwargs: Any) -> None:
    assert all(name.isidentifier() for name in kwargs)


RUN_SUBJECTS: dict[str, Subject] = {
    "runs": Subject(hostile_runs, read_runs, judge_runs),
    "comparison": Subject(hostile_comparison, read_comparison, judge_comparison),
    "events": Subject(hostile_events, lambda p: read_scalars(p, ("a", "b")), judge_events),
    "arguments": Subject(hostile_arguments, parse_env_kwargs, judge_arguments),
}
