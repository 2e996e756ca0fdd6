"""What each method is judged by, named once: curves over training, and one number a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from l2l_gail import stats
from l2l_gail.comparison.estimates import Curve, Estimate
from l2l_gail.comparison.results import MethodResult
from l2l_gail.stats import Floats

__all__ = ["CURVES", "SCORES", "CurveTag", "Score", "Series", "estimate_of"]

_WINDOW = 10  # evaluations in a moving spread


@dataclass(frozen=True)
class Series:
    """Points of a chart: integer steps, increasing, and their values."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class CurveTag:
    """A chart of a board.

    Attributes:
        tag: Its TensorBoard tag; charts come in the order of their tags.
        formula: What it shows.
        series: Its points for one method; None where the method has none.
    """

    tag: str
    formula: str
    series: Callable[[MethodResult], Series | None]


@dataclass(frozen=True)
class Score:
    """One number for each seed of a finished method.

    Attributes:
        name: What it is, unit included.
        more_is_better: Else less is.
        values: The numbers, one a seed; None where the method has none.
        of_a_length: Whether it can be compared between runs of one length only.
    """

    name: str
    more_is_better: bool
    values: Callable[[MethodResult], list[float] | None]
    of_a_length: bool = False


def estimate_of(method: MethodResult, score: Score) -> Estimate | None:
    """A score over the seeds of a method; None where it has none."""
    values = score.values(method)
    return Estimate.of(values) if values else None


def _iqm(name: str) -> Callable[[MethodResult], Series | None]:
    return lambda method: _over(method, name, lambda curve: curve.iqm)


def _end(name: str, end: int) -> Callable[[MethodResult], Series | None]:
    def ends(curve: Curve) -> Floats:
        # The interval of one seed is unknown: NaN, which a chart leaves out.
        return np.full(len(curve.x), np.nan) if curve.interval is None else curve.interval[end]

    return lambda method: _over(method, name, ends)


def _by(name: str, rate: Callable[[MethodResult], float | None]) -> Callable[..., Series | None]:
    """The curve over another x: the steps or epochs times a rate."""

    def series(method: MethodResult) -> Series | None:
        curve, factor = method.curves.get(name), rate(method)
        if curve is None or not factor:
            return None
        x = np.round(curve.x * factor)
        return Series(x, curve.iqm) if np.all(np.diff(x) > 0) else None

    return series


def _over(method: MethodResult, name: str, reduce: Callable[[Curve], Floats]) -> Series | None:
    curve = method.curves.get(name)
    return None if curve is None else Series(curve.x, reduce(curve))


def _normalised(reduce: Callable[[Floats], Floats]) -> Callable[[MethodResult], Series | None]:
    """A reduction over the seeds' normalised returns, ``(S, T)`` to ``(T,)``."""

    def series(method: MethodResult) -> Series | None:
        aligned = Curve.align(method.normalised_curves) if method.normalised_curves else None
        return None if aligned is None else Series(aligned.x, reduce(aligned.values))

    return series


def _spread_so_far(method: MethodResult) -> Series | None:
    """Tail std of each seed up to each of its own evaluations, the IQM over seeds."""
    spreads = [
        (steps, np.array([stats.tail_std(curve[: k + 1], _WINDOW) for k in range(len(curve))]))
        for steps, curve in method.normalised_curves or []
    ]
    aligned = Curve.align(spreads) if spreads else None
    return None if aligned is None else Series(aligned.x, aligned.iqm)


def _of_accuracy(reduce: Callable[[Floats], Floats]) -> Callable[[MethodResult], Series | None]:
    return lambda method: _over(method, "pgd20", lambda curve: reduce(curve.values))


def _fall_so_far(curves: Floats, counts_from: float = 0.5) -> Floats:
    ends = range(1, curves.shape[1] + 1)
    falls = [[stats.max_drawdown(row[:end], counts_from) for end in ends] for row in curves]
    return stats.iqm(falls, axis=0)


def _seed_spread(curves: Floats) -> Floats:
    return curves.std(axis=0, ddof=1) if len(curves) > 1 else np.full(curves.shape[1], np.nan)


def _seconds(method: MethodResult) -> float | None:
    return method.seconds_per_x


def _effort(method: MethodResult) -> float | None:
    return method.effort_per_x


CURVES: dict[str, tuple[CurveTag, ...]] = {
    "gail": (
        CurveTag("1 true return/a IQM over seeds", "interquartile mean over seeds", _iqm("return")),
        CurveTag("1 true return/c episode length", "IQM over seeds", _iqm("length")),
        CurveTag(
            "1 true return/d normalised",
            "IQM of (R - R_random) / (R_expert - R_random)",
            _normalised(lambda curves: stats.iqm(curves, axis=0)),
        ),
        CurveTag("1 true return/e low end of 95% CI", "of the IQM", _end("return", 0)),
        CurveTag("1 true return/f high end of 95% CI", "of the IQM", _end("return", 1)),
        CurveTag(
            "2 stability/a worst seed, normalised",
            "smallest normalised return of any seed",
            _normalised(lambda curves: curves.min(axis=0)),
        ),
        CurveTag(
            "2 stability/b largest fall so far",
            "max drawdown of the normalised return up to here, IQM",
            _normalised(_fall_so_far),
        ),
        CurveTag(
            "2 stability/c spread of the last 10 evaluations",
            "tail std of the normalised return up to here, IQM",
            _spread_so_far,
        ),
        CurveTag(
            "2 stability/d spread over seeds",
            "standard deviation of the normalised return over seeds, n - 1",
            _normalised(_seed_spread),
        ),
        CurveTag(
            "3 cost/a true return by training seconds",
            "IQM; x: seconds, at an even pace",
            _by("return", _seconds),
        ),
        CurveTag(
            "3 cost/b true return by discriminator gradients",
            "IQM; x: gradients of the discriminator's loss, those that train its rule included",
            _by("return", _effort),
        ),
    ),
    "cifar": (
        CurveTag("1 accuracy/a PGD-20, IQM over seeds", "on held-out images", _iqm("pgd20")),
        CurveTag("1 accuracy/c clean, IQM over seeds", "on held-out images", _iqm("clean")),
        CurveTag("1 accuracy/d PGD-20, low end of 95% CI", "of the IQM", _end("pgd20", 0)),
        CurveTag("1 accuracy/e PGD-20, high end of 95% CI", "of the IQM", _end("pgd20", 1)),
        CurveTag(
            "1 accuracy/f robust, IQM over seeds",
            "under the standing measure, where runs have it",
            _iqm("robust"),
        ),
        CurveTag(
            "2 stability/a worst seed, PGD-20",
            "smallest accuracy of any seed",
            _of_accuracy(lambda curves: curves.min(axis=0)),
        ),
        CurveTag(
            "2 stability/b largest fall so far, PGD-20",
            "max drawdown up to here, IQM",
            _of_accuracy(lambda curves: _fall_so_far(curves, 0.0)),
        ),
        CurveTag(
            "2 stability/c spread over seeds, PGD-20",
            "standard deviation over seeds, n - 1",
            _of_accuracy(_seed_spread),
        ),
        CurveTag(
            "3 cost/a PGD-20 by training seconds",
            "IQM; x: seconds, at an even pace",
            _by("pgd20", _seconds),
        ),
        CurveTag(
            "3 cost/b PGD-20 by forward-equivalents",
            "IQM; x: forward passes of one image through the classifier, all training images",
            _by("pgd20", _effort),
        ),
    ),
}
"""The charts of a board, by game."""


def _of_seeds(
    score: Callable[[Floats], float],
) -> Callable[[MethodResult], list[float] | None]:
    def values(method: MethodResult) -> list[float] | None:
        curves = method.normalised_curves
        return None if curves is None else [score(curve) for _, curve in curves]

    return values


def _numbers(key: str, scale: float = 1.0) -> Callable[[MethodResult], list[float]]:
    return lambda method: (scale * method.numbers(key)).tolist()


def _numbers_if_all_have(
    key: str, scale: float = 1.0
) -> Callable[[MethodResult], list[float] | None]:
    """What runs of older versions, or of other spaces, do not have."""

    def values(method: MethodResult) -> list[float] | None:
        if any(run.summary.get(key) is None for run in method.runs):
            return None
        return (scale * method.numbers(key)).tolist()

    return values


SCORES: dict[str, tuple[Score, ...]] = {
    "gail": (
        Score("true return of the last policy", True, _numbers("eval_returns")),
        Score("area under the normalised curve", True, lambda m: m.normalised_areas or None, True),
        Score("tail std (normalised)", False, _of_seeds(stats.tail_std), True),
        Score("max drawdown (normalised)", False, _of_seeds(stats.max_drawdown), True),
        Score("distance of states to the expert's (W1)", False, _numbers_if_all_have("state_w1")),
        Score("true return of the nearest policy", True, _numbers_if_all_have("nearest_returns")),
        Score("training seconds", False, _numbers("wall_s")),
    ),
    "cifar": (
        Score("PGD-20 accuracy (%)", True, _numbers("pgd20", 100)),
        Score("robust accuracy (%)", True, _numbers_if_all_have("robust", 100)),
        Score("clean accuracy (%)", True, _numbers("clean", 100)),
        Score("forward-equivalents", False, _numbers("forward_equivalents")),
        Score("training seconds", False, _numbers("wall_s")),
    ),
}
"""Scores of finished methods, by game, the one that answers the question first."""
