"""What is compared: sections of methods, their curves and final scores.

A section holds the runs of one environment or one data set; nothing is compared across sections.
Inside it, a method is all its seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from l2l_gail import stats
from l2l_gail.comparison.estimates import Curve, Estimate
from l2l_gail.comparison.reading import Unfinished, traces_of
from l2l_gail.errors import InputError
from l2l_gail.finding_runs import Run
from l2l_gail.stats import Floats

__all__ = [
    "IMAGES",
    "REFERENCES",
    "SYNTHETIC",
    "X_KEY",
    "Kind",
    "MethodResult",
    "Section",
    "as_floats",
    "check_curves",
]

Kind = Literal["gail", "cifar"]

SYNTHETIC = "synthetic"
"""Name of the generated data set; it has to stand wherever its results are shown."""

IMAGES = "images"
"""Setting that names the images of a section's runs, where they are not all the same."""

REFERENCES = {
    "expert": "expert_return",
    "behaviour cloning": "bc_return",
    "random": "random_return",
}
"""Reference policies of a GAIL section, and where a summary has their mean return."""

_CURVES: dict[Kind, dict[str, str]] = {
    "gail": {"return": "return_mean", "length": "length_mean"},
    "cifar": {"clean": "clean", "pgd20": "pgd20", "robust": "robust"},
}
X_KEY: dict[Kind, str] = {"gail": "steps", "cifar": "epochs"}
"""What x counts, by its key in a summary."""

_LARGEST = 1e15  # of a score: sums and squares of more would overflow
_OF_REFERENCES = ("demo", "env")  # what settings begin with that reference returns depend on


@dataclass(frozen=True)
class MethodResult:
    """All seeds of one method in one section, equal in settings and length.

    Attributes:
        method: Its name: that of the runs' folder, and what sets it apart from others of that name.
        kind: Which of the two games.
        runs: Its finished runs, ordered by seed; where there is none, its unfinished ones.
        base: The name of the runs' folder.
        settings: What all its runs were set to, flat.
        unfinished: Runs of these settings without a summary; they count in no number.
        level_to: Where the level line of a method that takes no environment steps ends.
        area_since: Where areas under its curves begin, those of methods of its length: at the
            latest of their first evaluations. None where it is its own.
    """

    method: str
    kind: Kind
    runs: tuple[Run, ...]
    base: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    unfinished: tuple[Unfinished, ...] = ()
    level_to: int = 0
    area_since: float | None = None

    @property
    def finished(self) -> bool:
        """Whether it has final scores."""
        return not self.unfinished or self.runs[0] is not self.unfinished[0].run

    @property
    def family(self) -> str:
        """The method without its variant: runs are named ``method+setting=value``."""
        return self.base.partition("+")[0]

    @property
    def seeds(self) -> list[int]:
        """Training seeds."""
        return [run.folder.seed for run in self.runs]

    @property
    def length(self) -> int:
        """Environment steps or epochs that each finished run took."""
        return int(self.numbers(X_KEY[self.kind]).max())

    @property
    def takes_no_steps(self) -> bool:
        """Whether it learns without the environment, as behaviour cloning does."""
        return self.kind == "gail" and self.finished and self.length == 0

    def numbers(self, key: str) -> Floats:
        """One number of each run's summary, ``(S,)``; a list in the summary counts as its mean.

        Raises:
            InputError: A value is missing, not a number, NaN or infinite.
        """
        return np.array([as_floats(run, key, run.summary.get(key)).mean() for run in self.runs])

    def final(self, key: str) -> Estimate:
        """A score of the finished runs."""
        return Estimate.of(self.numbers(key))

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """What was measured during training, by short name; empty where a run has no curve."""
        found = {}
        for name, key in _CURVES[self.kind].items():
            seeds = [_seed_curve(run, self.kind, key) for run in self.runs]
            present = [curve for curve in seeds if curve is not None]
            aligned = Curve.align(present) if len(present) == len(self.runs) else None
            if aligned is not None:
                found[name] = self._level(aligned) if self.takes_no_steps else aligned
        return found

    def _level(self, curve: Curve) -> Curve:
        """A curve's last point as a line along the others."""
        ends = np.unique([0.0, float(self.level_to)])
        return Curve(ends, np.repeat(curve.values[:, -1:], len(ends), axis=1))

    @cached_property
    def traces(self) -> dict[str, Curve]:
        """What the runs' event files hold of the game itself, by tag; often nothing."""
        by_tag: dict[str, list[tuple[Floats, Floats]]] = {}
        for run in self.runs:
            for tag, series in traces_of(run, self.kind).items():
                by_tag.setdefault(tag, []).append(series)
        aligned = {tag: Curve.align(series, points=200) for tag, series in by_tag.items()}
        return {tag: curve for tag, curve in aligned.items() if curve is not None}

    @property
    def _has_scale(self) -> bool:
        """Whether the expert's return is known: demonstrations may come without rewards."""
        return all(run.summary.get("expert_return") is not None for run in self.runs)

    @cached_property
    def normalised_curves(self) -> list[tuple[Floats, Floats]] | None:
        """GAIL's training curves from 0 (random) to 1 (expert): steps and values of each seed.

        Each is on the steps of its own evaluations, ``(T,)``, by which a run's stability is
        measured. None without a curve over environment steps, or where an expert is no better than
        a random policy.
        """
        if not self.finished or self.takes_no_steps or not self._has_scale:
            return None
        key = _CURVES["gail"]["return"]
        seeds = [_seed_curve(run, self.kind, key) for run in self.runs]
        scales = list(
            zip(self.numbers("random_return"), self.numbers("expert_return"), strict=True)
        )
        if any(expert <= random for random, expert in scales):
            return None
        found = []
        for curve, (random, expert) in zip(seeds, scales, strict=True):
            if curve is None:
                return None
            steps, values = curve
            scaled = stats.normalized_return(values, random=float(random), expert=float(expert))
            found.append((steps, scaled))
        return found

    @property
    def normalised_areas(self) -> list[float]:
        """Areas under :attr:`normalised_curves`, one for each seed; empty where there are none."""
        return [
            stats.area_under_curve(*curve, since=self.area_since)
            for curve in self.normalised_curves or []
        ]

    @property
    def normalised_finals(self) -> list[float] | None:
        """Each seed's final return from 0 (random) to 1 (expert); None where it has no scale."""
        if not self._has_scale:
            return None
        columns = (self.numbers(key) for key in ("eval_returns", "random_return", "expert_return"))
        finals = []
        for value, random, expert in zip(*columns, strict=True):
            if expert <= random:
                return None
            finals.append(float((value - random) / (expert - random)))
        return finals

    @property
    def seconds_per_x(self) -> float | None:
        """Training seconds for each environment step or epoch, mean over seeds, at even pace."""
        if not self.finished or self.takes_no_steps:
            return None
        return float((self.numbers("wall_s") / self.numbers(X_KEY[self.kind])).mean())

    @property
    def effort_per_x(self) -> float | None:
        """Inner-player effort for each environment step or epoch; None where it is not recorded.

        GAIL: gradients of the discriminator's loss, those that train its rule included.
        Adversarial training: forward-equivalents, those of an image times the training images.
        """
        if not self.finished or self.takes_no_steps:
            return None
        if self.kind == "cifar":
            if any(run.summary.get("train_images") is None for run in self.runs):
                return None
            passes = self.numbers("forward_equivalents") * self.numbers("train_images")
            return float(passes.mean())
        if all("discriminator_gradients" in run.summary for run in self.runs):
            gradients = self.numbers("discriminator_gradients") / self.numbers("steps")
            return float(gradients.mean())
        if self.base.startswith("no_demos"):
            return 0.0
        learns = "meta_learning_rate" in self.settings or (
            self.base.startswith("l2l_gail") and "credit_memory" not in self.settings
        )
        try:
            updates = int(self.settings["updates"])
            if learns or self.settings.get("matched_effort"):
                updates += updates // int(self.settings["meta_every"])
            return updates / (int(self.settings["n_envs"]) * int(self.settings["n_steps"]))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None


@dataclass(frozen=True)
class Section:
    """The methods that were run on one environment or data set.

    Attributes:
        group: Name of the environment or data set.
        kind: Which of the two games.
        methods: Results, ordered by the method's name; at least one.
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

    @property
    def finished(self) -> tuple[MethodResult, ...]:
        """The methods that have final scores."""
        return tuple(method for method in self.methods if method.finished)

    @property
    def by_length(self) -> dict[int, tuple[MethodResult, ...]]:
        """Finished methods by length, the longest first: what may be compared with what.

        A method that takes no steps may be compared with runs of any length.
        """
        lengths = sorted({m.length for m in self.finished if not m.takes_no_steps}, reverse=True)
        return {
            length: tuple(m for m in self.finished if m.takes_no_steps or m.length == length)
            for length in lengths or ([0] if self.finished else [])
        }

    @property
    def alike(self) -> list[tuple[str, tuple[MethodResult, ...]]]:
        """Finished methods that may be set against each other, and what to add to a title."""
        unit = X_KEY[self.kind]
        lengths = self.by_length
        return [
            ("" if len(lengths) == 1 else f", runs of {length:,} {unit}", methods)
            for length, methods in lengths.items()
        ]

    @cached_property
    def sources(self) -> dict[str, tuple[MethodResult, ...]]:
        """Methods by what their reference returns were measured with: environment, demonstrations.

        The keys are what sets these apart, in brackets; empty where all are alike.
        """
        found: dict[str, list[MethodResult]] = {}
        keys = sorted({key for method in self.methods for key in method.settings})
        keys = [key for key in keys if key.startswith(_OF_REFERENCES)]
        differing = [
            key
            for key in keys
            if len({str(method.settings.get(key)) for method in self.methods}) > 1
        ]
        for method in self.methods:
            parts = [f"{key}={method.settings.get(key, 'not set')}" for key in differing]
            found.setdefault(f" ({', '.join(parts)})" if parts else "", []).append(method)
        return {name: tuple(methods) for name, methods in found.items()}

    def reference_return(self, name: str, source: str) -> float | None:
        """Mean return of one of :data:`REFERENCES` by a source's runs; None where none has it."""
        key = REFERENCES[name]
        values = [
            float(as_floats(run, key, run.summary[key]).mean())
            for method in self.sources[source]
            for run in method.runs
            if run.summary.get(key) is not None
        ]
        return float(np.mean(values)) if values else None

    def reference_returns(self, names: Iterable[str]) -> dict[str, float]:
        """Returns of reference policies; named by their source where it makes a difference.

        Args:
            names: Which of :data:`REFERENCES`.
        """
        found: dict[str, float] = {}
        for name in names:
            by_source = {
                source: value
                for source in self.sources
                if (value := self.reference_return(name, source)) is not None
            }
            alike = len(set(by_source.values())) == 1
            for source, value in by_source.items():
                found[name if alike else f"{name}{source}"] = value
        return found


def check_curves(run: Run, kind: Kind) -> None:
    """Raise an ``InputError`` unless the curves of a summary are sound."""
    for key in _CURVES[kind].values():
        _seed_curve(run, kind, key)


def _seed_curve(run: Run, kind: Kind, key: str) -> tuple[Floats, Floats] | None:
    """Steps and values of one seed; None where its summary has no such curve."""
    curve = run.summary.get("curve") or {}
    if not isinstance(curve, dict):
        raise InputError(f"{run.folder.summary}: its curve is no object: run that seed again")
    if not curve.get(X_KEY[kind]) or not curve.get(key):
        return None
    x = as_floats(run, f"curve.{X_KEY[kind]}", curve[X_KEY[kind]])
    y = as_floats(run, f"curve.{key}", curve[key])
    if len(x) != len(y) or np.any(np.diff(x) <= 0):
        raise InputError(
            f"{run.folder.summary}: curve.{key} does not fit its {X_KEY[kind]}: run that seed again"
        )
    return x, y


def as_floats(run: Run, key: str, value: Any) -> Floats:
    """Numbers of a summary as a vector that is not empty and finite.

    Raises:
        InputError: They are not, by ``key``.
    """
    try:
        array = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        array = np.array([])
    if array.size == 0 or not (np.abs(array) <= _LARGEST).all():  # NaN is not, either
        raise InputError(f"{run.folder.summary}: {key!r} holds no numbers: run that seed again")
    return array
