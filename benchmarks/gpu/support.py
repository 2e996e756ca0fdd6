"""What the GPU benchmarks share: what ran where, results that survive a stop, a budget of time."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

PACKAGES = (
    "torch",
    "mujoco",
    "mujoco-warp",
    "warp-lang",
    "gymnasium",
    "stable-baselines3",
    "numpy",
)


class Results:
    """Cells of a benchmark in one JSON file, written after each; those there are not run again.

    Args:
        path: The file; ``None`` keeps the cells in memory.
        budget: Seconds from now after which no new cell is begun.

    Attributes:
        machine: What the figures were taken on, by default this machine.
        cells: The results.
    """

    def __init__(self, path: Path | None, budget: float) -> None:
        self._path = path
        self._end = time.monotonic() + budget
        self.machine = machine()
        self.cells: list[dict[str, Any]] = []
        if path is not None and path.exists():
            self.cells = json.loads(path.read_text())["cells"]

    def wants(self, **key: Any) -> bool:
        """Return whether a cell is missing and there is time for it."""
        there = any(all(cell.get(k) == v for k, v in key.items()) for cell in self.cells)
        return not there and time.monotonic() < self._end

    def add(self, **cell: Any) -> None:
        """Print a cell and write the file."""
        print(
            "  ".join(
                f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}"
                for k, v in cell.items()
                if not isinstance(v, list)
            ),
            flush=True,
        )
        self.cells.append(cell)
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(c) for c in self.cells)
        self._path.write_text(
            f'{{"machine": {json.dumps(self.machine)},\n"cells": [\n{lines}\n]}}\n'
        )


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
