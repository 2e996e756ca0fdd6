"""From finished runs to what is compared: sections of methods, their curves and final scores.

A section holds the runs of one environment or one data set; nothing is compared across sections.
Inside it, a method is all its seeds.  Every score is an interquartile mean over seeds with a 95 %
bootstrap interval; the interval of a single seed is unknown, and never shown as one of zero width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

import numpy as np

from l2l_gail import stats
from l2l_gail.errors import InputError
from l2l_gail.runs import Run
from l2l_gail.stats import Floats

__all__ = ["SYNTHETIC", "Curve", "Estimate", "MethodResult", "Section", "collect"]

Kind = Literal["gail", "cifar"]

SYNTHETIC = "synthetic"
"""Name of the generated data set; it has to stand wherever its results are shown."""

_REQUIRED: dict[Kind, tuple[str, ...]] = {
    "gail": (
        *("steps", "eval_returns", "eval_lengths", "wall_s", "cpu_s"),
        *("expert_return", "bc_return", "random_return"),
    ),
    "cifar": ("epochs", "clean", "pgd20", "forward_equivalents", "wall_s", "cpu_s"),
}
_CURVES: dict[Kind, dict[str, str]] = {
    "gail": {"return": "return_mean", "length": "length_mean"},
    "cifar": {"clean": "clean", "pgd20": "pgd20"},
}
_X_KEY: dict[Kind, str] = {"gail": "steps", "cifar": "epochs"}
_CURVE_RESAMPLES = 2_000


@dataclass(frozen=True)
class Estimate:
    """A score over seeds.

    Attributes:
        value: Interquartile mean.
        interval: 95 % bootstrap interval ``(low, high)``; None for a single seed.
        seeds: Number of seeds.
    """

    value: float
    interval: tuple[float, float] | None
    seeds: int

    @classmethod
    def of(cls, scores: Sequence[float] | Floats) -> Estimate:
        """Estimate from one score per seed."""
        return cls(float(stats.iqm(scores)), stats.bootstrap_interval([scores]), len(scores))


@dataclass(frozen=True)
class Curve:
    """One quantity of one method during training, all seeds on a common grid.

    Attributes:
        x: Environment steps or epochs, ``(T,)``, increasing.
        values: The quantity, ``(S, T)``, a row for each seed.
    """

    x: Floats
    values: Floats

    @classmethod
    def align(cls, curves: Sequence[tuple[Floats, Floats]]) -> Curve | None:
        """Put seeds on the union of their grids, as far as all of them reach.

        Args:
            curves: Steps and values of each seed.

        Returns:
            The curve, linear between a seed's own points; None where the seeds share no range.
        """
        first = max(x[0] for x, _ in curves)
        last = min(x[-1] for x, _ in curves)
        grid = np.unique(np.concatenate([x for x, _ in curves]))
        grid = grid[(grid >= first) & (grid <= last)]
        if len(grid) == 0:
            return None
        return cls(grid, np.stack([np.interp(grid, x, y) for x, y in curves]))

    @cached_property
    def iqm(self) -> Floats:
        """Interquartile mean over seeds, ``(T,)``."""
        return stats.iqm(self.values, axis=0)

    @cached_property
    def interval(self) -> Floats | None:
        """95 % bootstrap interval at each step, ``(2, T)``: low, high; None for a single seed."""
        found = [
            stats.bootstrap_interval([column], resamples=_CURVE_RESAMPLES)
            for column in self.values.T
        ]
        known = [interval for interval in found if interval is not None]
        return np.array(known).T if len(known) == len(found) else None


@dataclass(frozen=True)
class MethodResult:
    """All seeds of one method in one section.

    Attributes:
        method: The method's name.
        kind: Which of the two games.
        runs: Its finished runs, ordered by seed.
    """

    method: str
    kind: Kind
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        """Training seeds."""
        return [run.folder.seed for run in self.runs]

    def numbers(self, key: str) -> Floats:
        """One number of each run's summary, ``(S,)``; a list in the summary counts as its mean.

        Raises:
            InputError: A value is missing, not a number, NaN or infinite.
        """
        return np.array([_as_floats(run, key, run.summary.get(key)).mean() for run in self.runs])

    def final(self, key: str) -> Estimate:
        """A score of the finished runs."""
        return Estimate.of(self.numbers(key))

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """What was measured during training, by short name; empty where a run has no curve."""
        found = {}
        for name, key in _CURVES[self.kind].items():
            seeds = [self._seed_curve(run, key) for run in self.runs]
            present = [curve for curve in seeds if curve is not None]
            aligned = Curve.align(present) if len(present) == len(self.runs) else None
            if aligned is not None:
                found[name] = aligned
        return found

    def _seed_curve(self, run: Run, key: str) -> tuple[Floats, Floats] | None:
        """Steps and values of one seed; None where its summary has no such curve."""
        curve = run.summary.get("curve") or {}
        if not curve.get(_X_KEY[self.kind]) or not curve.get(key):
            return None
        x = _as_floats(run, f"curve.{_X_KEY[self.kind]}", curve[_X_KEY[self.kind]])
        y = _as_floats(run, f"curve.{key}", curve[key])
        if len(x) != len(y) or np.any(np.diff(x) <= 0):
            raise InputError(
                f"{run.folder.summary}: curve.{key} does not fit its {_X_KEY[self.kind]}: "
                "run that seed again"
            )
        return x, y

    @cached_property
    def normalised_returns(self) -> list[Floats] | None:
        """GAIL's training curves from 0 (random) to 1 (expert), one for each seed.

        None where a run has no curve, or an expert that is not above the random policy.
        """
        curve = self.curves.get("return")
        if curve is None:
            return None
        scales = list(
            zip(self.numbers("random_return"), self.numbers("expert_return"), strict=True)
        )
        if any(expert <= random for random, expert in scales):
            return None
        return [
            stats.normalized_return(values, random=float(random), expert=float(expert))
            for values, (random, expert) in zip(curve.values, scales, strict=True)
        ]

    @property
    def normalised_areas(self) -> list[float]:
        """Areas under :attr:`normalised_returns`, one for each seed; empty where there are none."""
        curves = self.normalised_returns or []
        return [stats.area_under_curve(self.curves["return"].x, curve) for curve in curves]


@dataclass(frozen=True)
class Section:
    """The methods that were run on one environment or data set.

    Attributes:
        group: Name of the environment or data set.
        kind: Which of the two games.
        methods: Results, ordered by the method's name.
    """

    group: str
    kind: Kind
    methods: tuple[MethodResult, ...]

    @property
    def title(self) -> str:
        """Heading; generated data is called what it is."""
        if self.group == SYNTHETIC:
            return f"{SYNTHETIC} (generated images, not CIFAR)"
        return self.group

    @property
    def x_label(self) -> str:
        """What the x axis of every chart counts."""
        return "environment steps" if self.kind == "gail" else "epochs"

    def baseline(self, key: str) -> float | None:
        """Mean over all runs of a reference return; None where no run has it."""
        values = [
            float(_as_floats(run, key, run.summary[key]).mean())
            for method in self.methods
            for run in method.runs
            if run.summary.get(key) is not None
        ]
        return float(np.mean(values)) if values else None


def collect(runs: Sequence[Run]) -> list[Section]:
    """Sort finished runs into sections and methods.

    Args:
        runs: Finished runs, as :func:`l2l_gail.runs.find_runs` gives them.

    Returns:
        Sections, GAIL before adversarial training, each by name.

    Raises:
        InputError: A summary is of neither game, or lacks a key; or a seed of a method is there
            twice, which would count as two seeds.
    """
    kinds = {run.folder.path: _kind_of(run) for run in runs}
    seen: dict[tuple[str, str, int], Run] = {}
    for run in runs:
        key = (run.folder.group, run.folder.method, run.folder.seed)
        if key in seen:
            raise InputError(
                f"{seen[key].folder.path} and {run.folder.path} are one seed of one method: "
                "compare their roots one at a time"
            )
        seen[key] = run

    def section_of(run: Run) -> tuple[bool, str]:
        return kinds[run.folder.path] != "gail", run.folder.group

    def method_of(run: Run) -> str:
        return run.folder.method

    sections = []
    for (_, group), members in groupby(sorted(runs, key=section_of), section_of):
        in_section = sorted(members, key=lambda run: (run.folder.method, run.folder.seed))
        kind = kinds[in_section[0].folder.path]
        methods = tuple(
            MethodResult(method, kind, tuple(found))
            for method, found in groupby(in_section, method_of)
        )
        sections.append(Section(group, kind, methods))
    return sections


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


def _as_floats(run: Run, key: str, value: Any) -> Floats:
    """Numbers of a summary as a vector that is not empty and finite."""
    try:
        array = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        array = np.array([])
    if array.size == 0 or not np.isfinite(array).all():
        raise InputError(f"{run.folder.summary}: {key!r} holds no numbers: run that seed again")
    return array
