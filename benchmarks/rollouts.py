"""What an environment step costs: our batches beside Gymnasium, Stable-Baselines3 and envpool.

For each task and number of environments N, every contender is made in a process of its own
(``rollout_contenders.py``); then they take turns, a fraction of a second each, over some rounds.
Figures are medians over the rounds, ratios are medians of the rounds' ratios, so that other work on
the machine meets all alike. All take random actions and reset what ends in the same step. The
metric is CPU time per environment step, of all threads and child processes; a second table has wall
time, where alone threads and a GPU show (there the CPU only waits, so it has no row in the first).
Wall time means something only where nothing else runs.

Two rows have no Python per environment and say how much there is left to win. ``mujoco.batch loop``
replays a piece of our environment's own play (``ours, replayed``): the same states, actions and
resets. ``mujoco.rollout`` rolls out the states of that piece for 8 steps at a time, without resets.

    .venv/bin/python benchmarks/rollouts.py --json benchmarks/results/rollouts.json

One cell takes about a minute; with ``--resume`` those that the file has already are left out.
envpool needs an interpreter that has it: ``--envpool-python VENV/bin/python``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENVS = ("Hopper-v5", "HalfCheetah-v5", "Ant-v5", "Humanoid-v5")
SIZES = (1, 8, 64, 256, 1024)
CUDA_SIZES = (4096, 16384, 65536)
ON_CUDA = "ours, cuda"  # the row
OURS = ("ours", "ours_sb3", "ours_gymnasium")
POOLS = ("async", "subproc")  # a process for each environment
LOOPS = ("sync", "dummy")  # a Python call for each environment
BARS = {  # (env, N): SyncVectorEnv's CPU time over ours; the engine's share of ours, and its goal
    ("Hopper-v5", 64): (1.6, 0.75, 0.82),
    ("Hopper-v5", 1024): (2.8, 0.90, 0.95),
    ("HalfCheetah-v5", 64): (2.0, 0.75, 0.82),
    ("HalfCheetah-v5", 1024): (2.4, 0.90, 0.95),
}
Cell = dict[str, Any]


class Worker:
    """A contender in a process of its own, in a folder of its own (MuJoCo writes a log)."""

    def __init__(self, python: str, contender: str, env: str, n: int, threads: int | None) -> None:
        self.name = contender
        self._errors = tempfile.TemporaryFile("w+")
        self._folder = tempfile.TemporaryDirectory()
        script = Path(__file__).with_name("rollout_contenders.py")
        command = [python, str(script), contender, env, str(n)]
        self._process = subprocess.Popen(
            command + ([] if threads is None else ["--threads", str(threads)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
            cwd=self._folder.name,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    def ready(self) -> bool:
        """Wait until the environments are made; False, and a line why, if they cannot be."""
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() == "ready":
            return True
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        print(f"  {self.name}: not run: {lines[-1] if lines else 'it ended'}", flush=True)
        self.close()
        return False

    def run(self, seconds: float) -> list[dict[str, Any]]:
        """Step for about that long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(f"run {seconds}", file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended in the middle of the measurement")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        self._folder.cleanup()


def contenders(options: argparse.Namespace, n: int) -> list[str]:
    """Return who takes part with N environments."""
    if n > max(SIZES):
        names = ["ours"]
    else:
        names = [*OURS, *LOOPS, "physics"]
        names += [name for name in POOLS if n <= options.pool_limit]
        names += ["envpool"] if options.envpool_python else []
    names += ["ours_cuda"] if options.cuda else []
    return [name for name in names if not options.only or name in options.only]


def measure(options: argparse.Namespace, env: str, n: int) -> Cell:
    """Return one cell: microseconds per environment step of each row, one figure a round."""
    workers = []
    for name in contenders(options, n):
        python = options.envpool_python if name == "envpool" else sys.executable
        worker = Worker(python, name, env, n, options.threads)
        if worker.ready():
            workers.append(worker)
    rows: dict[str, dict[str, list[float]]] = {}
    try:
        for _ in range(options.rounds):
            for worker in workers:
                for row in worker.run(options.seconds):
                    figures = rows.setdefault(row["name"], {"cpu_us": [], "wall_us": []})
                    for unit in ("cpu", "wall"):
                        micros = row[f"{unit}_s"] / row["steps"] * 1e6
                        figures[f"{unit}_us"].append(round(micros, 3))
    finally:
        for worker in workers:
            worker.close()
    settings = {name: getattr(options, name) for name in ("rounds", "seconds", "threads")}
    return {"env": env, "n": n, **settings, "rows": rows}


def ratio(cell: Cell, above: str, below: str, unit: str = "cpu") -> float | None:
    """Return the median over the rounds of one row's CPU (or wall) time over another's."""
    if above not in cell["rows"] or below not in cell["rows"]:
        return None
    key = f"{unit}_us"
    pairs = zip(cell["rows"][above][key], cell["rows"][below][key], strict=True)
    return statistics.median(a / b for a, b in pairs)


def summarise(cell: Cell) -> Cell:
    """Return the cell with medians and ratios beside the figures of the rounds."""
    rows = {}
    for name, row in cell["rows"].items():
        figures: dict[str, Any] = {}
        for unit in ("cpu", "wall"):
            against = ratio(cell, name, "ours", unit)
            figures[f"{unit}_us_median"] = round(statistics.median(row[f"{unit}_us"]), 3)
            figures[f"{unit}_over_ours"] = None if against is None else round(against, 3)
        rows[name] = {**figures, **row}
    share = ratio(cell, "mujoco.batch loop", "ours, replayed")
    return {
        **cell,
        "engine_share_of_ours": None if share is None else round(share, 3),
        "rows": rows,
    }


def bars(cells: list[Cell]) -> list[dict[str, Any]]:
    """Return what the project holds itself to, and whether it does."""
    found = []
    for cell in cells:
        bar = BARS.get((cell["env"], cell["n"]))
        if bar is None:
            continue
        against_sync = cell["rows"].get("gymnasium Sync", {}).get("cpu_over_ours")
        for name, value, least, goal in (
            ("SyncVectorEnv / ours", against_sync, bar[0], None),
            ("engine / ours", cell["engine_share_of_ours"], bar[1], bar[2]),
        ):
            if value is not None:
                line = {"env": cell["env"], "n": cell["n"], "bar": name, "value": value}
                found.append({**line, "at_least": least, "goal": goal, "holds": value >= least})
    return found


def print_table(
    cells: list[Cell], unit: str, *, ratios: bool = False, leave_out: Sequence[str] = ()
) -> None:
    """Print the medians of one task's cells in CPU or wall time, with their ratios to ours."""
    width = 16 if ratios else 11
    print(f"{'':22}" + "".join(f"{'N = ' + str(cell['n']):>{width}}" for cell in cells))
    for name in dict.fromkeys(name for cell in cells for name in cell["rows"]):
        if name in leave_out:
            continue
        line = f"{name:22}"
        for cell in cells:
            text = "-"
            if row := cell["rows"].get(name):
                median = row[f"{unit}_us_median"]
                text = f"{median:.{1 if median >= 10 else 2 if median >= 1 else 3}f}"
                against = row[f"{unit}_over_ours"] if ratios else None
                text += f" ({against:.2f})" if against else ""
            line += f"{text:>{width}}"
        print(line)


def print_tables(cells: list[Cell]) -> None:
    """Print two tables for each task, and the bars."""
    for env in dict.fromkeys(cell["env"] for cell in cells):
        of_env = sorted((cell for cell in cells if cell["env"] == env), key=lambda cell: cell["n"])
        print(f"\n{env}: CPU microseconds per environment step, and their ratio to ours")
        print_table(of_env, "cpu", ratios=True, leave_out=(ON_CUDA,))
        shares = (cell["engine_share_of_ours"] for cell in of_env)
        texts = (f"{share:.3f}" if share else "-" for share in shares)
        print(f"{'engine / ours':22}" + "".join(f"{text:>16}" for text in texts))
        print(f"\n{env}: wall microseconds per environment step")
        print_table(of_env, "wall")
    if found := bars(cells):
        print(f"\n{'bar':24}{'env':16}{'N':>6}{'value':>8}{'at least':>10}{'goal':>7}")
        for bar in found:
            verdict = "pass" if bar["holds"] else "MISS"
            print(
                f"{bar['bar']:24}{bar['env']:16}{bar['n']:>6}{bar['value']:>8.3f}"
                f"{bar['at_least']:>10}{bar['goal'] or '':>7}  {verdict}"
            )


def report(options: argparse.Namespace, cells: list[Cell]) -> dict[str, Any]:
    """Return everything that is written to the file."""
    packages = ("mujoco", "gymnasium", "stable-baselines3", "numpy", "torch")
    versions: dict[str, str | None] = {name: version(name) for name in packages}
    if options.envpool_python:
        code = "from importlib.metadata import version; print(version('envpool'))"
        asked = subprocess.run([options.envpool_python, "-c", code], capture_output=True, text=True)
        versions["envpool"] = asked.stdout.strip() or None
    return {
        "benchmark": "rollouts",
        "unit": "microseconds per environment step",
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_name(),
        "gpu": options.cuda,
        "python": platform.python_version(),
        "versions": versions,
        "bars": bars(cells),
        "cells": cells,
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _gpu_name() -> str | None:
    """Return the GPU's name; asked for in another process, which then lets go of the device."""
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return asked.stdout.strip() or None


def main() -> None:
    """Measure the cells that are missing, write each to the file, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", nargs="+", default=list(ENVS), help="tasks (all four)")
    parser.add_argument("--sizes", nargs="+", type=int, help=f"numbers of environments {SIZES}")
    parser.add_argument("--only", nargs="+", help="only these contenders")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--seconds", type=float, default=0.6, help="seconds of a turn (0.6)")
    parser.add_argument("--threads", type=int, help="threads of ours and envpool (their default)")
    parser.add_argument(
        "--pool-limit", type=int, default=64, help="most environments with a process each (64)"
    )
    parser.add_argument("--envpool-python", help="an interpreter that has envpool")
    parser.add_argument("--json", type=Path, help="write the figures here, after each cell")
    parser.add_argument("--resume", action="store_true", help="keep the cells of that file")
    options = parser.parse_args()
    options.cuda = _gpu_name()
    sizes = options.sizes or [*SIZES, *(CUDA_SIZES if options.cuda else ())]

    cells: list[Cell] = []
    if options.resume and options.json and options.json.exists():
        cells = json.loads(options.json.read_text())["cells"]
    done = {(cell["env"], cell["n"]) for cell in cells}
    for env in options.envs:
        for n in sizes:
            if (env, n) in done:
                continue
            print(f"{env}, N = {n}", flush=True)
            cells.append(summarise(measure(options, env, n)))
            if options.json:
                options.json.write_text(json.dumps(report(options, cells), indent=1) + "\n")
    print_tables(cells)


if __name__ == "__main__":
    main()
