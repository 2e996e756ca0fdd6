"""Records of the image grids, and figures with intervals.

Intervals are 95 % percentile bootstraps over seeds and test images at once: both are drawn with
replacement, the images alike for all seeds, and for a difference alike for both methods, which are
paired (equal seeds give equal initial weights and, on one kind of device, equal order; how many
pairs are across two kinds is said). With three seeds they are too narrow; the figures of all seeds
stand beside them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cifar.images import unpacked
from benchmarks.records import read_configuration
from l2l_gail.errors import InputError

CONFIGS = Path(__file__).resolve().parent / "configs"
RESAMPLES = 2_000
REFERENCE = "pgd_2"
TITLES = {
    "fgsm": "FGSM, clean start",
    "fgsm_rs": "FGSM-RS",
    "n_fgsm": "N-FGSM",
    "pgd_2": "PGD-2",
    "pgd_4": "PGD-4",
    "pgd_10": "PGD-10",
    "l2l_noise": "**L2L**",
    "l2l_memory": "L2L, no noise",
    "l2l": "L2L, class start",
    "l2l_residual": "L2L, residual",
    "l2l_2step": "L2L, 2 steps",
    "start_l2l": "L2L, start and sign",
}

Floats = NDArray[np.float64]
Counts = NDArray[np.float32]
Indices = NDArray[np.int64]
Key = tuple[str, str]
Run = tuple[str, int]  # folder and seed


class Grid:
    """The records of some folders, by setting and method, run by run.

    Args:
        folders: Of ``benchmarks/results/cifar``.

    Raises:
        InputError: There are no records.
    """

    def __init__(self, *folders: Path) -> None:
        self.records: dict[Key, dict[Run, dict[str, Any]]] = defaultdict(dict)
        for folder in folders:
            for record in in_order(folder):
                run = (folder.name, record["seed"])
                self.records[record["setting"], record["method"]][run] = record
            if not self.records:
                raise InputError(f"no records in {folder}: run benchmarks/cifar/grid.py first")
        if len(folders) > 1:  # what the first one lacks stands where its configuration has it
            place = places(folders[0])
            self.records = dict(sorted(self.records.items(), key=lambda item: place(*item[0])))

    def settings(self) -> list[str]:
        """Return the settings, in order."""
        return list(dict.fromkeys(setting for setting, _ in self.records))

    def methods(self, setting: str) -> list[str]:
        """Return the methods of a setting, in order."""
        return [method for s, method in self.records if s == setting]

    def seeds(self, *keys: Key) -> list[Run]:
        """Return the runs that all these cells have."""
        return sorted(set.intersection(*(set(self.records[key]) for key in keys)))

    def across_devices(self, one: Key, other: Key, seeds: list[Run]) -> int:
        """Return for how many of these runs the two cells were trained on other kinds of device."""
        kinds = [{device_of(self.records[key][seed]) for key in (one, other)} for seed in seeds]
        return sum(len(found) > 1 for found in kinds)

    def bits(self, key: Key, measure: str, seeds: list[Run]) -> Floats:
        """Return in %, ``(seeds, images)``, which images a method's classifiers get right."""
        rows = []
        for seed in seeds:
            record = self.records[key][seed]
            count = record["judge"]["apgd_t" if measure == "apgd_t" else "eval_size"]
            rows.append(100.0 * unpacked(record["images"][measure], count))
        return np.array(rows)

    def on_cpu(self) -> bool:
        """Whether all of it ran on a CPU, so that its CPU seconds say what a training costs."""
        every = [record for runs in self.records.values() for record in runs.values()]
        return all(device_of(record) == "cpu" for record in every)

    def mean(self, key: Key, name: str) -> float:
        """Return the mean over seeds of a number of the records."""
        return float(np.mean([record[name] for record in self.records[key].values()]))


def device_of(record: dict[str, Any]) -> str:
    """Return the kind of device of a run; the first records, all of CPUs, did not say it."""
    return str(record.get("device", "cpu"))


def in_order(folder: Path) -> list[dict[str, Any]]:
    """Return a folder's records in the order of its configuration."""
    records = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    place = places(folder)
    return sorted(records, key=lambda r: (*place(r["setting"], r["method"]), r["seed"]))


def places(folder: Path) -> Callable[[str, str], tuple[int, int]]:
    """Return where a folder's configuration has a setting and a method; alike if it has none."""
    file = CONFIGS / f"{folder.name}.toml"
    grid = read_configuration(file) if file.exists() else {"methods": {}}
    place = {name: i for i, name in enumerate([*grid.get("settings", {}), *grid["methods"]])}
    return lambda setting, method: (place.get(setting, 0), place.get(method, 99))


@cache  # drawn once for all tables of one size
def resamples(rows: int, columns: int, seed: int) -> tuple[Counts, Indices]:
    """Return how often each resample has each image, and which rows: ``(resamples, ...)``."""
    generator = np.random.default_rng(seed)
    images = np.empty((RESAMPLES, columns), np.float32)  # multiplied as they are
    runs = np.empty((RESAMPLES, rows), np.int64)
    for i in range(RESAMPLES):
        images[i] = np.bincount(generator.integers(columns, size=columns), minlength=columns)
        runs[i] = generator.integers(rows, size=rows)
    return images, runs


def interval(values: Floats, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean, rows (seeds) and columns (images) redrawn.

    Args:
        values: Shape ``(seeds, images)``.
        seed: Of the bootstrap.
    """
    images, runs = resamples(*values.shape, seed)
    # Counts times percent are whole numbers, below 2 ** 24: their sums are exact in float32.
    totals = images @ values.T.astype(np.float32)
    each = totals.astype(np.float64) / values.shape[1]
    means = np.take_along_axis(each, runs, axis=1).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def with_interval(values: Floats, sign: str = "") -> str:
    """Return mean and interval in words."""
    low, high = interval(values)
    return f"{values.mean():{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def title(method: str) -> str:
    """Return what a method is called in a table."""
    return TITLES.get(method, method)


def has_apgd(grid: Grid, key: Key) -> bool:
    """Whether a cell was judged by APGD-T."""
    return all(record["judge"].get("apgd_t") for record in grid.records[key].values())
