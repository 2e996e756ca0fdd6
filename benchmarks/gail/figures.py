"""Records of the grids of GAIL games, what is measured on them, and figures with intervals.

======== ===========================================================================================
A        mean over training of the stochastic policy's true return
E        area under the evaluations of the deterministic policy, divided by the steps
last     the last evaluation
tail     mean of the worst 20 % of the last ten evaluations (of the last half, where there are fewer
         than twenty)
======== ===========================================================================================

Intervals are 95 % percentile bootstraps over seeds, drawn inside each cell: of a difference, for
either method by itself, as two methods share little more of a seed than the first weights. Only a
method with its policy's rate corrected and the same as it is are one training until the first
correction: these are paired, seed by seed. With three seeds or fewer intervals are too narrow; the
number of seeds stands beside each figure.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.records import read_configuration
from l2l_gail.errors import InputError
from l2l_gail.stats import area_under_curve

CONFIGS = Path(__file__).resolve().parent / "configs"
RESAMPLES = 10_000

Floats = NDArray[np.float64]


@dataclass
class Grid:
    """The records of one folder.

    Attributes:
        records: By environment, setting and method, seed by seed.
    """

    records: dict[tuple[str, str, str], list[dict[str, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @classmethod
    def read(cls, folder: Path) -> Grid:
        """Read all records of a folder.

        Raises:
            InputError: There are none.
        """
        grid = cls()
        for record in in_order(folder):
            grid.records[record["env"], record["setting"], record["method"]].append(record)
        if not grid.records:
            raise InputError(f"no records in {folder}: run benchmarks/gail/grid.py first")
        for records in grid.records.values():
            records.sort(key=lambda record: record["seed"])
        return grid

    def names(self, position: int) -> list[str]:
        """Return environments (0), settings (1) or methods (2) in the order of their first run."""
        return list(dict.fromkeys(key[position] for key in self.records))

    def values(self, key: tuple[str, str, str], measure: Callable[[Any], float]) -> Floats:
        """Return a measure of one cell, seed by seed."""
        return np.array([measure(record) for record in self.records.get(key, [])])

    def pair(
        self,
        place: tuple[str, str],
        methods: tuple[str, str],
        measure: Callable[[Any], float],
    ) -> tuple[Floats, Floats]:
        """Return a measure of two methods in one environment and setting.

        Of a method and the same without the correction, ``(seeds,)`` each, those that both have;
        of two others all that each of them has.
        """
        one, other = (self.records.get((*place, method), []) for method in methods)
        if kind(methods[0]) == kind(methods[1]):
            seeds = {record["seed"] for record in one} & {record["seed"] for record in other}
            one, other = ([r for r in runs if r["seed"] in seeds] for runs in (one, other))
        return np.array([measure(r) for r in one]), np.array([measure(r) for r in other])


def in_order(folder: Path) -> list[dict[str, Any]]:
    """Return a folder's records in the order of its configuration, where there is one."""
    records = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    file = CONFIGS / f"{folder.name}.toml"
    if not file.exists():
        return records
    grid = read_configuration(file)
    order = [*grid["envs"], *grid.get("settings", {}), *grid["methods"]]
    place = {name: i for i, name in enumerate(order)}

    def key(record: dict[str, Any]) -> list[int]:
        return [place.get(record[name], len(place)) for name in ("env", "setting", "method")]

    return sorted(records, key=key)


def return_in_training(record: dict[str, Any]) -> float:
    """Return A."""
    return float(record["return_in_training"])


def area(record: dict[str, Any]) -> float:
    """Return E."""
    curve = record["evaluations"]
    return area_under_curve(curve["steps"], curve["return_mean"])


def last(record: dict[str, Any]) -> float:
    """Return the last evaluation."""
    return float(record["evaluations"]["return_mean"][-1])


def tail(record: dict[str, Any]) -> float:
    """Return the mean of the worst fifth of the last ten evaluations, or of the last half."""
    curve = record["evaluations"]["return_mean"]
    late = np.sort(curve[-min(10, math.ceil(len(curve) / 2)) :])
    return float(late[: max(1, len(late) // 5)].mean())


def number(name: str) -> Callable[[dict[str, Any]], float]:
    """Return what reads a plain number of the record."""
    return lambda record: float(record[name])


def gradients_per_rollout(record: dict[str, Any]) -> float:
    """Return the discriminator's gradients spent after each rollout."""
    return float(record["gradients"]) / float(record["rollouts"])


def resampled_means(values: Floats, seed: int) -> Floats:
    """Return bootstrap means of one cell, ``(RESAMPLES,)``."""
    generator = np.random.default_rng(seed)
    return values[generator.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)


def kind(method: str) -> str:
    """Return what a method is, whether its policy's rate is corrected or not."""
    return method.removesuffix("_uncorrected")


def resampled_difference(
    methods: tuple[str, str], values: tuple[Floats, Floats], seed: int = 0
) -> Floats:
    """Return bootstrap means of the first less the second, ``(RESAMPLES,)``; see the module."""
    paired = kind(methods[0]) == kind(methods[1])
    one, other = (
        resampled_means(each, 2 * seed + (0 if paired else i)) for i, each in enumerate(values)
    )
    return one - other


def interval(means: Floats) -> tuple[float, float]:
    """Return the middle 95 %."""
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def estimate(values: Floats, digits: int = 0) -> str:
    """Return mean and interval in words."""
    if len(values) == 0:
        return ""
    mean = f"{values.mean():.{digits}f}"
    if len(values) == 1:
        return mean
    low, high = interval(resampled_means(values, 0))
    return f"{mean} [{low:.{digits}f}, {high:.{digits}f}]"


def with_interval(value: float, draws: Floats, digits: int) -> str:
    """Return a figure and its bootstrap interval in words; no interval from single seeds."""
    low, high = interval(draws)
    if low == high:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
