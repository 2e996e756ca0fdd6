"""Pictures of final scores: performance profiles, and the score by learning rate.

A performance profile shows for each score the share of a method's runs that reach it, with a 95 %
bootstrap band over seeds (Agarwal et al. 2021, https://arxiv.org/abs/2108.13264, section 4.2).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from l2l_gail.comparison.boards import PALETTE, Board
from l2l_gail.comparison.estimates import Estimate
from l2l_gail.comparison.figures import add_legend_below, new_chart
from l2l_gail.comparison.labels import as_drawn
from l2l_gail.comparison.results import MethodResult, Section
from l2l_gail.stats import Floats

__all__ = ["draw_learning_rates", "draw_profiles", "learning_rate_groups", "profile"]

_RATE_KEYS = ("learning_rate", "lr")
_RESAMPLES = 1_000
_FINAL = {"gail": "return of the last policy", "cifar": "PGD-20 accuracy (%)"}


def profile(scores: ArrayLike, thresholds: Floats) -> Floats:
    """Share of the runs whose score is above each threshold.

    Args:
        scores: One for each run.
        thresholds: ``(K,)``.

    Returns:
        Numbers in [0, 1], ``(K,)``, falling.
    """
    above: Floats = np.mean(np.asarray(scores, float)[:, None] > thresholds, axis=0)
    return above


def draw_profiles(board: Board) -> dict[str, Figure]:
    """Draw the performance profiles of a board.

    Returns:
        By what to add to a title, a picture for each length of runs that some method with several
        seeds has.
    """
    found = {}
    for note, alike in board.section.alike:
        scores = {}
        for method in board.methods:
            finals = _final_scores(method) if method in alike else None
            if finals is not None and len(finals) > 1:
                scores[method.method] = np.array(finals)
        if scores:
            found[note] = _draw_profile(board, note, scores)
    return found


def _draw_profile(board: Board, note: str, scores: Mapping[str, Floats]) -> Figure:
    """The profiles of some methods in one chart."""
    figure, axes = new_chart("performance profile, 95 % band over seeds", board.title + note)
    every = np.concatenate(list(scores.values()))
    thresholds = np.linspace(min(0.0, every.min()), max(every.max() * 1.05, 0.05), 201)
    generator = np.random.default_rng(0)
    for name, values in scores.items():
        drawn = values[generator.integers(len(values), size=(_RESAMPLES, len(values)))]
        shares = np.mean(drawn[:, :, None] > thresholds, axis=1)  # (resamples, K)
        low, high = np.quantile(shares, [0.025, 0.975], axis=0)
        colour = board.colours[name]
        label = as_drawn(f"{name} ({len(values)} seeds)")
        axes.plot(thresholds, profile(values, thresholds), color=colour, linewidth=2, label=label)
        axes.fill_between(thresholds, low, high, color=colour, alpha=0.15, linewidth=0)
    what = "normalised return" if board.section.kind == "gail" else "PGD-20 accuracy"
    axes.set_xlabel(f"final {what}")
    axes.set_ylabel("share of runs above it")
    add_legend_below(figure, axes)
    return figure


def learning_rate_groups(section: Section) -> dict[str, dict[float, MethodResult]]:
    """Finished methods that differ in nothing but their learning rate.

    Returns:
        By name, the methods by learning rate, at least two each; the rate is the setting
        ``learning_rate`` or ``lr``, also as the last part of a longer name.
    """
    found: dict[tuple[str, int, str], dict[float, MethodResult]] = {}
    for method in section.finished:
        keys = [key for key in method.settings if key.split(".")[-1] in _RATE_KEYS]
        if len(keys) != 1 or not isinstance(method.settings[keys[0]], (int, float)):
            continue
        others = {key: value for key, value in method.settings.items() if key != keys[0]}
        rest = json.dumps(others, sort_keys=True, default=str)
        found.setdefault((method.family, method.length, rest), {})[
            float(method.settings[keys[0]])
        ] = method
    several = [(name, rates) for name, rates in found.items() if len(rates) > 1]
    named: dict[str, dict[float, MethodResult]] = {}
    for (base, _, _), rates in several:
        name = base if base not in named else f"{base} #{len(named) + 1}"
        named[name] = dict(sorted(rates.items()))
    return named


def draw_learning_rates(section: Section) -> Figure | None:
    """Draw the final score by learning rate, a line a method; None where none has two rates."""
    groups = learning_rate_groups(section)
    if not groups:
        return None
    figure, axes = new_chart("by learning rate, IQM over seeds with 95 % interval", section.title)
    first = 2 if section.kind == "gail" else 0  # behind the reference policies' colours
    for place, (name, rates) in enumerate(groups.items()):
        colour = PALETTE[(first + place) % len(PALETTE)]
        points = [
            Estimate.of(method.numbers("eval_returns"))
            if section.kind == "gail"
            else Estimate.of(100 * method.numbers("pgd20"))
            for method in rates.values()
        ]
        x = np.array(list(rates))
        axes.plot(x, [point.value for point in points], "o-", color=colour, label=as_drawn(name))
        known = np.array([point.interval is not None for point in points])
        ends = [point.interval or (np.nan, np.nan) for point in points]
        if known.any():
            low, high = np.array(ends).T
            axes.fill_between(x, low, high, where=known, color=colour, alpha=0.15, linewidth=0)
            for where, end in zip(x, ends, strict=True):
                axes.plot([where, where], end, color=colour, linewidth=2, alpha=0.4)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel(_FINAL[section.kind])
    add_legend_below(figure, axes)
    return figure


def _final_scores(method: MethodResult) -> list[float] | None:
    if not method.finished:
        return None
    if method.kind == "cifar":
        return method.numbers("pgd20").tolist()
    return method.normalised_finals
