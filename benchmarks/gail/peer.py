"""Train GAIL of the library ``imitation``: as long as our methods, from the same demonstrations.

    .venv/bin/python benchmarks/gail/peer.py --python peer/bin/python

``peer`` is a virtual environment that has ``imitation`` in it, and what runs there is
``benchmarks/imitation_gail.py``, which says how to make one. Of its presets ``tuned`` are the
hyper-parameters that the peer has published for the environment, ``tutorial`` those of its own
tutorial, ``common`` a plain setting. Steps, demonstrations and the distance between two evaluations
are those of ``configs/methods.toml``; an evaluation is ten games of Gymnasium's environment played
by the deterministic policy.

A cell is one JSON file under ``benchmarks/results/peer/``; one that is there is not run again.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import grid as games  # noqa: E402

from benchmarks.imitation_gail import FIELDS, hyperparameters  # noqa: E402
from benchmarks.records import as_lines, read_configuration  # noqa: E402
from l2l_gail.cli import parse, run_main  # noqa: E402
from l2l_gail.files import atomic_write  # noqa: E402

RESULTS = Path(__file__).resolve().parents[1] / "results" / "peer"
CONFIGURATION = Path(__file__).resolve().parent / "configs" / "methods.toml"
SCRIPT = Path(__file__).resolve().parents[1] / "imitation_gail.py"


@dataclass(frozen=True)
class Config:
    """Flags of peer.py."""

    python: Path
    """An interpreter that has imitation."""
    demos_dir: Path = Path("demos")
    """Where <env>.npz with recorded expert episodes lies; else the embedded set is taken."""
    presets: tuple[str, ...] = ("tuned", "common", "tutorial")
    """Hyper-parameters of the peer to train with."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each preset."""
    out: Path = RESULTS
    """Where the records go."""


def main(argv: list[str] | None = None) -> None:
    """Run what is not there yet."""
    config = parse(Config, argv, prog="peer.py", description="Train GAIL of imitation.")
    grid = read_configuration(CONFIGURATION)
    for seed, preset, env in itertools.product(config.seeds, config.presets, grid["envs"]):
        file = config.out / f"{env.removesuffix('-v5')}_{preset}_{seed}.json"
        if file.exists():
            continue
        record = train(config, grid, env, preset, seed)
        atomic_write(file, as_lines(record).encode())
        last = record["evaluations"]["return_mean"][-1]
        print(f"{file.stem}: last {last:.0f}, {record['cpu_s']:.0f} CPU s", flush=True)


def train(config: Config, grid: dict[str, Any], env: str, preset: str, seed: int) -> dict[str, Any]:
    """One training in a process of its own, and what is kept of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demos = games.demonstrations({"env": env}, config.demos_dir)
        np.savez(folder / "demos.npz", **{key: getattr(demos, key) for key in FIELDS})
        flags = {
            "--env": env,
            "--demos": folder / "demos.npz",
            "--n-demos": 1,
            "--steps": grid["steps"][env],
            "--seed": seed,
            "--n-envs": 8,
            "--preset": preset,
            "--eval-every": max(1, grid["eval_every"] // hyperparameters(preset, env).rollout),
            "--eval-episodes": 10,
            "--out": folder / "out.json",
        }
        found = _call(config, flags, folder)
    return {
        "env": env,
        "preset": preset,
        "seed": seed,
        "steps": found["steps"],
        "n_envs": found["n_envs"],
        "hyperparameters": found["hyperparameters"],
        "notes": found["notes"],
        "transitions": found["transitions"],
        "evaluations": {
            "steps": [row["steps"] for row in found["curve"]],
            "return_mean": [round(row["return_mean"], 1) for row in found["curve"]],
        },
        "games": [round(one, 1) for one in found["games"]],
        "cpu_s": round(found["cpu_s"], 2),
        "versions": found["versions"] | {"python": found["python"]},
    }


def _call(config: Config, flags: dict[str, Any], folder: Path) -> dict[str, Any]:
    words = [str(word) for pair in flags.items() for word in pair]
    command = [str(config.python.absolute()), str(SCRIPT), *words]
    threads = {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | threads
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(Path(flags["--out"]).read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    run_main(main)
