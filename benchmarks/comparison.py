"""Seconds that a comparison of many runs takes, videos included, beside TensorBoard's reading them.

    make gail
    .venv/bin/python benchmarks/comparison.py runs/Hopper-v5 --json FILE

Finished runs of one environment are copied under other names, with other learning rates and seeds,
until there are as many as wanted: 200 methods of one seed, 40 of five, and so on. The first
comparison records policies too. The peer is the event reader of TensorBoard on the same files: all
that a comparison does is set against what reading its input takes there. One thread; six minutes.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # noqa: E402

from l2l_gail.cli import parse, run_main  # noqa: E402
from l2l_gail.compare import compare  # noqa: E402
from l2l_gail.comparison.reading import find  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402
from l2l_gail.files import atomic_write  # noqa: E402
from l2l_gail.runs import versions  # noqa: E402

SHAPES = ((200, 1), (40, 5), (20, 10), (5, 40))
"""Methods, and seeds of each."""


@dataclass(frozen=True)
class Config:
    """Flags of comparison.py."""

    runs: Annotated[Path, tyro.conf.Positional]
    """Folder of finished runs of one environment."""
    json: Path | None = None
    """Where to write the figures."""


def main(argv: list[str] | None = None) -> None:
    """Time each shape and print a table."""
    config = parse(Config, argv, prog="comparison.py", description="Time a comparison of 200 runs.")
    sources: dict[str, list[Path]] = {}
    for run in find(config.runs).finished:
        sources.setdefault(run.folder.method, []).append(run.folder.path)
    if not sources:
        raise InputError(f"no finished run below {config.runs}: train first (make gail)")
    rows = []
    print("methods x seeds   first, s   again, s   TensorBoard reads, s   ratio   videos    MB")
    for methods, seeds in SHAPES:
        row = measure(list(sources.values()), methods, seeds)
        rows.append(row)
        print(
            f"{methods:7} x {seeds:<5} {row['first_s']:10.1f} {row['again_s']:10.1f} "
            f"{row['tensorboard_s']:22.1f} {row['ratio']:7.2f} {row['videos']:8} {row['mb']:5.0f}",
            flush=True,
        )
    if config.json is not None:
        found = {"rows": rows, "versions": versions()}
        atomic_write(config.json, json.dumps(found, indent=1) + "\n")


def measure(sources: list[list[Path]], methods: int, seeds: int) -> dict[str, Any]:
    """Compare copies of some methods' runs twice, the first time with nothing filmed yet."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for method in range(methods):
            for seed in range(seeds):
                seeds_of = sources[method % len(sources)]
                _copy(seeds_of[seed % len(seeds_of)], root, method, seed)
        times = []
        for _ in range(2):
            begun = time.perf_counter()
            compare(root, record_videos=True)
            times.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        for path in (root / "copies").rglob("events.out.tfevents.*"):
            for _ in EventFileLoader(str(path)).Load():
                pass
        peer = time.perf_counter() - begun
        size = sum(p.stat().st_size for p in (root / "comparison").rglob("*") if p.is_file())
        return {
            "methods": methods,
            "seeds": seeds,
            "first_s": round(times[0], 1),
            "again_s": round(times[1], 1),
            "tensorboard_s": round(peer, 1),
            "ratio": round(times[0] / peer, 2),
            "videos": len(list(root.rglob("*.gif"))),
            "mb": round(size / 1e6, 1),
        }


def _copy(source: Path, root: Path, method: int, seed: int) -> None:
    """A run under another name, of another learning rate and seed."""
    folder = root / "copies" / f"m{method}" / f"seed{seed}"
    ignored = shutil.ignore_patterns("checkpoint*", "videos")
    shutil.copytree(source, folder, ignore=ignored)
    for name in ("config.json", "summary.json"):
        path = folder / name
        text = json.dumps(_changed(json.loads(path.read_text(encoding="utf-8")), method, seed))
        path.write_text(text, encoding="utf-8")


def _changed(value: Any, method: int, seed: int) -> Any:
    """Settings with the rate of a method, and a seed."""
    if not isinstance(value, dict):
        return value
    new = {"learning_rate": 1e-5 * (method + 1), "seed": seed, "method": f"m{method}"}
    return {key: new.get(key, _changed(one, method, seed)) for key, one in value.items()}


if __name__ == "__main__":
    run_main(main)
