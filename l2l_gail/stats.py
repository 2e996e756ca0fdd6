r"""How good and how stable a method is: aggregates over seeds, and scores of one training curve.

Aggregates follow Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (https://arxiv.org/abs/2108.13264): interquartile mean, stratified bootstrap, probability
of improvement.  The bootstrap draws from a generator of its own, so a result is reproducible.

Scores of a curve take the normalised return
:math:`\hat R(t) = (R(t) - R_{random}) / (R_{expert} - R_{random})` of one seed at each of ``T``
evaluations: 0 is a random policy, 1 the expert.

=====================  ===========================================================================
tail_std               spread inside the end of a run: std of the last 10 evaluations
max_drawdown           largest fall below the best value so far, once :math:`\hat R` was 0.5
collapse_rate          share of evaluations below 0.5 after :math:`\hat R` first was 0.8
steps_to_fraction      first step at 95 % of the maximum of the smoothed curve
area_under_curve       mean height of the curve: speed and stability in one number
=====================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l2l_gail.errors import InputError

__all__ = [
    "Floats",
    "area_under_curve",
    "bootstrap_band",
    "bootstrap_interval",
    "collapse_rate",
    "iqm",
    "max_drawdown",
    "normalized_return",
    "probability_of_improvement",
    "seed_std",
    "steps_to_fraction",
    "tail_std",
]

Floats = NDArray[np.float64]

RESAMPLES_PER_BLOCK = 2_000


def normalized_return(returns: ArrayLike, *, random: float, expert: float) -> Floats:
    """Returns on the scale where a random policy has 0 and the expert 1.

    Args:
        returns: Returns, any shape.
        random: Mean return of a random policy.
        expert: Mean return of the expert.

    Returns:
        Array of the same shape, float64.

    Raises:
        InputError: The expert is no better than a random policy.
    """
    if not expert > random:
        raise InputError(
            f"the expert's return {expert:g} is not above a random policy's {random:g}: "
            "returns cannot be normalised by them"
        )
    return (np.asarray(returns, dtype=np.float64) - random) / (expert - random)


def iqm(values: ArrayLike, axis: int = -1) -> Floats:
    """Interquartile mean: the mean without the lowest and the highest quarter.

    ``floor(n / 4)`` values are dropped at each end, which is the 25 % trimmed mean; below four
    values nothing is dropped.

    Args:
        values: At least one value along ``axis``.
        axis: Axis to reduce.

    Returns:
        Array without ``axis`` (0-dimensional for a vector).

    Raises:
        InputError: No values.
    """
    ordered = np.sort(_checked(values), axis=axis)
    count = ordered.shape[axis]
    dropped = count // 4
    middle: Floats = np.take(ordered, np.arange(dropped, count - dropped), axis=axis)
    return np.asarray(middle.mean(axis=axis))


def bootstrap_interval(
    strata: Sequence[ArrayLike],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile interval of the interquartile mean by stratified bootstrap.

    Seeds are drawn with replacement inside each stratum (a task), never across: a task keeps its
    number of runs in every resample.

    Args:
        strata: One vector of scores per task, an entry per training seed.
        confidence: Coverage, in (0, 1).
        resamples: Number of bootstrap draws.
        seed: Seed of the draws.

    Returns:
        ``(low, high)``, or None where a task has a single run: its spread is unknown, not zero.

    Raises:
        InputError: No task, a task without scores, scores that are not grouped by task, or a
            coverage outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise InputError(f"the confidence is {confidence:g}: give a number between 0 and 1")
    if len(strata) == 0:
        raise InputError("no scores to draw from: give at least one task")
    if all(np.ndim(stratum) == 0 for stratum in strata):
        raise InputError("the scores are those of one task: give a list of them for each, [scores]")
    scores = [_checked(stratum).ravel() for stratum in strata]
    if any(len(stratum) == 1 for stratum in scores):
        return None
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, RESAMPLES_PER_BLOCK):  # bounds the memory
        block = min(RESAMPLES_PER_BLOCK, resamples - start)
        drawn = [
            stratum[generator.integers(len(stratum), size=(block, len(stratum)))]
            for stratum in scores
        ]
        means.append(iqm(np.concatenate(drawn, axis=1)))  # (block, sum of runs) -> (block,)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_band(
    curves: ArrayLike, *, confidence: float = 0.95, resamples: int = 2_000, seed: int = 0
) -> Floats | None:
    """Percentile intervals of the interquartile mean at each point of a curve.

    Equal to :func:`bootstrap_interval` of each column; whole seeds are drawn, once for all points.

    Args:
        curves: A row for each training seed, ``(S, T)``.
        confidence: Coverage at each point, in (0, 1).
        resamples: Number of bootstrap draws.
        seed: Seed of the draws.

    Returns:
        Low and high end at each point, ``(2, T)``; None for a single seed.

    Raises:
        InputError: No values, no rows, or a coverage outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise InputError(f"the confidence is {confidence:g}: give a number between 0 and 1")
    values = _checked(curves)
    if values.ndim != 2:
        raise InputError(f"curves of shape {values.shape}: give a row for each seed, (S, T)")
    if len(values) == 1:
        return None
    generator = np.random.default_rng(seed)
    rows = generator.integers(len(values), size=(resamples, len(values)))
    tail = (1 - confidence) / 2
    means = [iqm(column[rows]) for column in values.T]  # one at a time bounds the memory
    return np.quantile(means, [tail, 1 - tail], axis=1)


def probability_of_improvement(scores: Sequence[ArrayLike], others: Sequence[ArrayLike]) -> float:
    """How likely a run of one method beats a run of another, on a task drawn at random.

    ``P(X > Y) + P(X = Y) / 2`` for each task (the Mann-Whitney statistic over the product of the
    numbers of runs), averaged over tasks.

    Args:
        scores: One vector of scores per task, of the method in question.
        others: The same tasks in the same order, of the method it is compared with.

    Returns:
        Number in [0, 1]; 0.5 means neither is better.

    Raises:
        InputError: Different numbers of tasks, or a task without scores.
    """
    if len(scores) != len(others) or len(scores) == 0:
        raise InputError(
            f"{len(scores)} tasks against {len(others)}: give both methods the same tasks"
        )
    wins = []
    for mine, theirs in zip(scores, others, strict=True):
        difference = _checked(mine).reshape(-1, 1) - _checked(theirs).reshape(1, -1)
        wins.append(np.mean((difference > 0) + 0.5 * (difference == 0)))
    return float(np.mean(wins))


def seed_std(finals: ArrayLike) -> float | None:
    """Sample standard deviation over seeds (``n - 1``), or None for a single seed."""
    values = _checked(finals).ravel()
    return float(values.std(ddof=1)) if len(values) > 1 else None


def tail_std(curve: ArrayLike, last: int = 10) -> float:
    """Standard deviation of the last evaluations: how much the end of a run swings.

    Args:
        curve: One seed's returns, ``(T,)``; all of it counts where it is shorter than ``last``.
        last: Number of evaluations, at least 1.

    Returns:
        Population standard deviation, in the unit of ``curve``.

    Raises:
        InputError: An empty curve, or no evaluations asked for.
    """
    if last < 1:
        raise InputError(f"the standard deviation of the last {last} evaluations: give 1 or more")
    return float(_checked(curve).ravel()[-last:].std())


def max_drawdown(curve: ArrayLike, counts_from: float = 0.5) -> float:
    """Largest fall below the best value so far.

    Falls count once the curve has reached ``counts_from``: below, the reward for being alive makes
    returns jump without meaning.

    Args:
        curve: One seed's normalised returns, ``(T,)``.
        counts_from: Value from which falls count.

    Returns:
        The fall, at least 0, in the unit of ``curve``; 0 where ``counts_from`` was never reached.

    Raises:
        InputError: An empty curve.
    """
    values = _checked(curve).ravel()
    reached = np.flatnonzero(values >= counts_from)
    if len(reached) == 0:
        return 0.0
    counted = values[reached[0] :]
    return float(np.max(np.maximum.accumulate(counted) - counted))


def collapse_rate(curve: ArrayLike, reached: float = 0.8, collapsed: float = 0.5) -> float | None:
    """Share of evaluations that are bad again after the curve was once good.

    Args:
        curve: One seed's normalised returns, ``(T,)``.
        reached: Value that counts as good.
        collapsed: Value below which an evaluation counts as bad.

    Returns:
        Number in [0, 1] over the evaluations after the first good one; None where there are none.

    Raises:
        InputError: An empty curve.
    """
    values = _checked(curve).ravel()
    good = np.flatnonzero(values >= reached)
    if len(good) == 0 or good[0] + 1 == len(values):
        return None
    return float(np.mean(values[good[0] + 1 :] < collapsed))


def steps_to_fraction(
    steps: ArrayLike,
    curve: ArrayLike,
    *,
    fraction: float = 0.95,
    maximum: float | None = None,
    window: int = 5,
) -> float | None:
    """First step at which the smoothed curve reaches a fraction of its maximum.

    The curve is smoothed by the mean of the last ``window`` evaluations (fewer at the start), so
    a single lucky evaluation does not count.

    Args:
        steps: Environment steps or epochs of the evaluations, ``(T,)``, increasing.
        curve: One seed's normalised returns, ``(T,)``.
        fraction: Fraction to reach.
        maximum: What it is a fraction of, for instance another method's maximum; the smoothed
            curve's own where it is None.
        window: Number of evaluations in the mean, at least 1.

    Returns:
        The step; None where it is never reached (a censored seed) or the maximum is not positive.

    Raises:
        InputError: An empty curve, ``steps`` of another length, or a window without evaluations.
    """
    if window < 1:
        raise InputError(f"a window of {window} evaluations: give 1 or more")
    x, y = _checked_curve(steps, curve)
    sums = np.concatenate([[0.0], np.cumsum(y)])
    ends = np.arange(1, len(y) + 1)
    starts = np.maximum(ends - window, 0)
    smooth = (sums[ends] - sums[starts]) / (ends - starts)
    best = float(smooth.max()) if maximum is None else maximum
    if best <= 0:
        return None
    reached = np.flatnonzero(smooth >= fraction * best)
    return float(x[reached[0]]) if len(reached) else None


def area_under_curve(steps: ArrayLike, curve: ArrayLike, *, since: float | None = None) -> float:
    """Mean height of a curve: its integral by the trapezoidal rule over the range of the steps.

    Args:
        steps: Environment steps or epochs of the evaluations, ``(T,)``, increasing.
        curve: One seed's returns, ``(T,)``.
        since: Where the range begins, if within the steps, the curve interpolated there. Of curves
            that are to be compared it is the latest beginning: one that is first evaluated later
            would lack the low returns of before.

    Returns:
        The area divided by the range, in the unit of ``curve``; for a single evaluation its value.

    Raises:
        InputError: An empty curve, or ``steps`` of another length or not increasing.
    """
    x, y = _checked_curve(steps, curve)
    if len(x) == 1:
        return float(y[0])
    if since is not None and x[0] < since < x[-1]:
        rest = x > since
        x, y = np.append(since, x[rest]), np.append(np.interp(since, x, y), y[rest])
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / (x[-1] - x[0]))


def _checked(values: ArrayLike) -> Floats:
    """A float64 array that is neither empty nor NaN or infinite."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise InputError("no values: a statistic needs at least one")
    if not np.isfinite(array).all():
        raise InputError("a value is NaN or infinite: a statistic needs finite numbers")
    return array


def _checked_curve(steps: ArrayLike, curve: ArrayLike) -> tuple[Floats, Floats]:
    """Steps and values of a curve: as many of one as of the other, the steps increasing."""
    x, y = _checked(steps).ravel(), _checked(curve).ravel()
    if len(x) != len(y):
        raise InputError(f"{len(x)} steps for {len(y)} values: give one step for each value")
    if np.any(np.diff(x) <= 0):
        raise InputError("the steps of a curve do not increase")
    return x, y
