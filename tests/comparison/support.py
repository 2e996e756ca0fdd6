from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from l2l_gail.comparison import Section, collect, find, section_tables
from l2l_gail.runs import RunFolder

RETURN = "1 true return/a IQM over seeds"
STEPS = [10_000, 20_000, 30_000, 40_000]
SETTINGS = {
    "env": "Hopper-v5",
    "learning_rate": 3e-4,
    "n_envs": 64,
    "n_steps": 32,
    "updates": 10,
    "meta_every": 1,
    "rule": {"hidden": 16},
}


def gail_run(
    out: Path, method: str, seed: int, final: float, *, config: Any = None, **changes: Any
) -> RunFolder:
    """A finished run whose return rises evenly to ``final``; ``changes`` are to its summary."""
    folder = RunFolder.create(out, changes.get("env", "Hopper-v5"), method, seed)
    folder.write_config(SETTINGS | (config or {}) | {"seed": seed})
    length = int(changes.get("steps", STEPS[-1]))
    returns = [0.25 * final, 0.5 * final, 0.75 * final, final]
    summary = {
        "kind": "gail",
        "method": method,
        "env": "Hopper-v5",
        "seed": seed,
        "steps": length,
        "eval_returns": [final - 10, final + 10],
        "eval_lengths": [500, 700],
        "expert_return": 3020.0,
        "bc_return": 520.0,
        "random_return": 20.0,
        "wall_s": 100.0 + seed,
        "cpu_s": 90.0,
        "curve": {
            "steps": [length * step // STEPS[-1] for step in STEPS],
            "return_mean": returns,
            "length_mean": [100, 200, 300, 600],
        },
    }
    folder.write_summary(**(summary | changes))
    return folder


def cifar_run(
    out: Path, data: str, method: str, seed: int, pgd20: float, **config: Any
) -> RunFolder:
    folder = RunFolder.create(out, data, method, seed)
    folder.write_config({"epochs": 2, "lr": 0.2, "seed": seed} | config)
    folder.write_summary(
        kind="cifar",
        method=method,
        data=data,
        seed=seed,
        epochs=2,
        clean=0.5,
        pgd20=pgd20,
        forward_equivalents=7.0,
        train_images=1000,
        wall_s=300.0,
        cpu_s=500.0,
        curve={"epochs": [1, 2], "clean": [0.4, 0.5], "pgd20": [0.2, pgd20]},
    )
    return folder


def unfinished_run(out: Path, method: str, seed: int, returns: list[float]) -> RunFolder:
    """A GAIL run that has logged evaluations and written no summary."""
    folder = RunFolder.create(out, "Hopper-v5", method, seed)
    folder.write_config(SETTINGS | {"seed": seed})
    log(folder, {"eval/return_mean": returns, "eval/length_mean": [100.0] * len(returns)})
    return folder


def log(folder: RunFolder, series: dict[str, list[float]]) -> None:
    """Write scalars at the evaluations' steps as a training run does."""
    with SummaryWriter(str(folder.path)) as writer:
        for tag, values in series.items():
            for step, value in zip(STEPS, values, strict=False):
                writer.add_scalar(tag, value, step)


def age(folder: RunFolder, seconds: float) -> None:
    """Make a run's files look as if nothing had been written for so long."""
    then = time.time() - seconds
    for path in folder.path.iterdir():
        os.utime(path, (then, then))


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def sections_of(root: Path) -> dict[str, Section]:
    found = find(root)
    return {section.group: section for section in collect(found.finished, found.unfinished)}


def methods_of(root: Path, group: str = "Hopper-v5") -> dict[str, int]:
    """Names of a section's methods and on how many runs each stands."""
    return {method.method: len(method.runs) for method in sections_of(root)[group].methods}


def table_cells(root: Path, group: str) -> dict[str, dict[str, str]]:
    """The first table of a section by method."""
    table = section_tables(sections_of(root)[group])[0]
    name = table.header.index("method")
    return {row[name]: dict(zip(table.header, row, strict=True)) for row in table.rows}


def board(root: Path, name: str) -> Path:
    return root / "comparison" / name


def scalar_tags(folder: Path) -> set[str]:
    return set(events(folder).Tags()["scalars"])


def close(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a folder be one that may not be entered, which root otherwise may enter all the same."""
    real = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry]:
        if Path(path) == place:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
