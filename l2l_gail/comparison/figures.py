"""The pictures of the comparison, in the colours that the methods have in TensorBoard.

Lines are interquartile means over seeds, bands their 95 % bootstrap intervals, thin lines the
seeds.  A method with a single seed has no band, and its legend says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from string import ascii_lowercase

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from l2l_gail.comparison.boards import Board
from l2l_gail.comparison.estimates import Curve, Estimate
from l2l_gail.comparison.labels import as_drawn
from l2l_gail.comparison.reading import TRACED_OVER, TRACES
from l2l_gail.comparison.results import MethodResult
from l2l_gail.comparison.scores import SCORES, Score, estimate_of

__all__ = [
    "add_legend_below",
    "board_figures",
    "draw_figure",
    "new_chart",
    "new_figure",
    "score_figures",
]

_PANELS = {
    "gail": {"return": "true return", "length": "episode length (steps)"},
    "cifar": {"clean": "clean accuracy (%)", "pgd20": "PGD-20 accuracy (%)"},
}
_MAIN = {"gail": "return", "cifar": "pgd20"}
_COSTS = {
    "gail": ("training seconds", "discriminator gradients"),
    "cifar": ("training seconds", "forward-equivalents"),
}
_MARKED_UP_TO = 12  # points of a curve that are worth a marker each
_SEEDS_DRAWN = 5
_WIDTH = 4.8  # inches of a picture that fits TensorBoard's cards
_SHORT = 26  # letters of names that fit a legend side by side
_DASHES = {"expert": "--", "behaviour cloning": "-."}


def draw_figure(boards: Sequence[Board]) -> Figure:
    """Draw all boards, a row of two charts for each.

    Args:
        boards: At least one.

    Returns:
        A figure with an Agg canvas; it needs no display and is not known to pyplot.
    """
    figure, grid = new_figure(len(boards), 2, (11, 0.4 + 3.8 * len(boards)))
    for board, row in zip(boards, grid, strict=True):
        for axes, (name, label) in zip(row, _PANELS[board.section.kind].items(), strict=True):
            _draw_panel(axes, board, name)
            axes.set_title(as_drawn(board.title))
            axes.set_ylabel(label)
        if board.section.kind == "gail":
            _draw_references(row[0], board)
        _add_legend(row[0])
    return figure


def board_figures(board: Board) -> dict[str, Figure]:
    """Draw the curves of a board, one chart a picture, by their tags in the Images tab."""
    section, kind = board.section, board.section.kind
    main, what = ("1 true return", "true return") if kind == "gail" else ("1 accuracy", "PGD-20")
    found = {f"{main}/b {what} with 95% CI (picture)": _draw_one(board, _MAIN[kind])}
    other = next(name for name in _PANELS[kind] if name != _MAIN[kind])
    found[f"{main}/g {_PANELS[kind][other].split(' (')[0]} (picture)"] = _draw_one(board, other)
    for letter, (name, rates) in zip("cd", _costs(board).items(), strict=True):
        if any(rates.values()):
            found[f"3 cost/{letter} {what} by {name} (picture)"] = _draw_one(
                board, _MAIN[kind], rates, name
            )
    names = TRACES[kind]
    for letter, tag in zip(ascii_lowercase, names, strict=False):
        if any(tag in method.traces for method in board.methods):
            figure, axes = new_chart(names[tag], board.title)
            for method in board.methods:
                if tag in method.traces:
                    colour = board.colours[method.method]
                    draw_curve(axes, method.traces[tag], colour, method.method)
            if tag == "disc/entropy":
                axes.axhline(np.log(2), color="0.35", linestyle=":", label="undecided")
            _finish(axes, TRACED_OVER.get(tag, section.x_label))
            add_legend_below(figure, axes)
            found[f"6 players (pictures)/{letter} {names[tag]}"] = figure
    return found


def score_figures(boards: Sequence[Board]) -> dict[str, Figure]:
    """Draw the scores of all finished methods of a section, a row a method, a picture a score.

    What can only be compared between runs of one length has a picture for each length.
    """
    section = boards[0].section
    colours = {name: colour for board in boards for name, colour in board.colours.items()}
    found = {}
    for letter, score in zip("abcdefgh", SCORES[section.kind], strict=False):
        alike = section.alike if score.of_a_length else [("", section.finished)]
        for note, methods in alike:
            rows = [(m, e) for m in methods if (e := estimate_of(m, score)) is not None]
            if rows:
                name = f"{score.name}{note}"
                figure = _draw_score(score, section.title + note, rows, colours)
                found[f"5 scores (pictures)/{letter} {name}"] = figure
    return found


def _draw_score(
    score: Score,
    where: str,
    rows: Sequence[tuple[MethodResult, Estimate]],
    colours: Mapping[str, str],
) -> Figure:
    """One score: a point and its interval for each method."""
    better = "more is better" if score.more_is_better else "less is better"
    height = max(2.2, 1.2 + 0.34 * len(rows))
    figure, axes = new_chart(f"{score.name} ({better})", where, height, left=1.75)
    for row, (method, estimate) in enumerate(rows):
        colour = colours[method.method]
        axes.plot(estimate.value, row, "o", color=colour, markersize=8)
        if estimate.interval is not None:
            axes.plot(estimate.interval, [row, row], color=colour, linewidth=5, alpha=0.4)
    labels = [textwrap.fill(as_drawn(method.method), 22) for method, _ in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize="medium" if len(rows) < 9 else "small")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.margins(x=0.08)
    return figure


def new_chart(
    title: str, where: str, height: float = 2.75, left: float = 0.75
) -> tuple[Figure, Axes]:
    """A figure with one chart, at a size whose letters are readable in TensorBoard's cards.

    Args:
        title: What is drawn.
        where: On what it was measured, on a line of its own.
        height: In inches; the width is that of a card.
        left: Inches left to the labels of y.
    """
    figure = Figure(figsize=(_WIDTH, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    figure.suptitle(f"{title}\n{as_drawn(where)}", fontsize="medium")
    _set_margins(figure, height, left, bottom=0.52)
    tidy(axes)
    return figure, axes


def add_legend_below(figure: Figure, axes: Axes) -> None:
    """A legend under a chart, where it hides nothing, however many methods there are."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    wrapped = [textwrap.fill(label, 52) for label in labels]
    columns = 2 if len(labels) > 1 and max(map(len, labels)) <= _SHORT else 1
    rows = [wrapped[start : start + columns] for start in range(0, len(wrapped), columns)]
    lines = sum(max(label.count("\n") + 1 for label in row) for row in rows)
    added = 0.08 + 0.19 * lines
    height = figure.get_size_inches()[1] + added
    figure.set_size_inches(_WIDTH, height)
    _set_margins(figure, height, figure.subplotpars.left * _WIDTH, bottom=0.52 + added)
    # Row by row: the first columns hold the first row.
    order = [index for column in range(columns) for index in range(column, len(labels), columns)]
    figure.legend(
        [handles[index] for index in order],
        [wrapped[index] for index in order],
        loc="lower center",
        ncols=columns,
        fontsize="small",
        frameon=False,
        labelspacing=0.25,
        borderpad=0.2,
    )


def _set_margins(figure: Figure, height: float, left: float, bottom: float) -> None:
    """Fix the margins, in inches: finding them takes as long as the drawing."""
    figure.subplots_adjust(
        left=left / _WIDTH, right=0.975, bottom=bottom / height, top=1 - 0.52 / height
    )
    figure.suptitle(figure.get_suptitle(), x=0.5, y=1 - 0.06 / height, va="top", fontsize="medium")


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """A figure without a display, and its axes as ``(rows, columns)``."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def draw_curve(axes: Axes, curve: Curve, colour: str, label: str, scale: float = 1.0) -> None:
    """Line, band and seeds of one curve."""
    marker = "o" if len(curve.x) <= _MARKED_UP_TO else None
    axes.plot(
        curve.x,
        scale * curve.iqm,
        color=colour,
        linewidth=2,
        marker=marker,
        markersize=4,
        label=as_drawn(label),
    )
    if curve.interval is not None:
        low, high = scale * curve.interval
        axes.fill_between(curve.x, low, high, color=colour, alpha=0.15, linewidth=0)
        if len(curve.values) <= _SEEDS_DRAWN:  # more would be a smear
            axes.plot(curve.x, scale * curve.values.T, color=colour, linewidth=0.6, alpha=0.4)


def _add_legend(axes: Axes) -> None:
    """A legend that stays inside its chart: long names are broken."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        wrapped = [textwrap.fill(label, 44) for label in labels]
        axes.legend(handles, wrapped, fontsize="small", framealpha=0.7)


def _draw_one(
    board: Board, name: str, rates: dict[str, float | None] | None = None, x_label: str = ""
) -> Figure:
    """One quantity as a picture of its own."""
    kind = board.section.kind
    figure, axes = new_chart(
        f"{_PANELS[kind][name].split(' (')[0]}, IQM over seeds with 95 % interval", board.title
    )
    _draw_panel(axes, board, name, rates)
    if kind == "gail" and name == _MAIN[kind]:
        _draw_references(axes, board)
    axes.set_xlabel(x_label or board.section.x_label)
    axes.set_ylabel(_PANELS[kind][name])
    add_legend_below(figure, axes)
    return figure


def _costs(board: Board) -> dict[str, dict[str, float | None]]:
    """What x may count instead of steps or epochs: its name, and each method's rate."""
    seconds, effort = _COSTS[board.section.kind]
    return {
        seconds: {method.method: method.seconds_per_x for method in board.methods},
        effort: {method.method: method.effort_per_x for method in board.methods},
    }


def _draw_panel(
    axes: Axes, board: Board, name: str, rates: dict[str, float | None] | None = None
) -> None:
    """One quantity of every method that has it, by x or by x times each method's rate."""
    scale = 100.0 if board.section.kind == "cifar" else 1.0
    for method in board.methods:
        curve = method.curves.get(name)
        rate = 1.0 if rates is None else rates[method.method]
        if curve is None or not rate:
            continue
        if rate != 1.0:
            curve = Curve(curve.x * rate, curve.values)
        draw_curve(axes, curve, board.colours[method.method], _legend(method), scale)
        if not method.finished:
            continue
        for one in method.unfinished:  # beside the finished seeds, and outside their average
            seed = MethodResult(method.method, method.kind, (one.run,)).curves.get(name)
            if seed is not None:
                axes.plot(
                    rate * seed.x,
                    scale * seed.values[0],
                    color=board.colours[method.method],
                    linewidth=1,
                    linestyle=":",
                )
    if not axes.lines:
        axes.text(0.5, 0.5, "no run logged this", ha="center", transform=axes.transAxes)
    _finish(axes, board.section.x_label)


def _finish(axes: Axes, x_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    tidy(axes)


def tidy(axes: Axes) -> None:
    """A light grid and no box."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_references(axes: Axes, board: Board) -> None:
    """Levels of the reference policies."""
    for name, value in board.references.items():
        axes.axhline(
            value,
            color=board.colours[name],
            linestyle=_DASHES[name.partition(" (")[0]],
            linewidth=1.5,
            label=name,
            zorder=0,
        )


def _legend(method: MethodResult) -> str:
    """The method and on how many seeds it stands; a single one has no band."""
    count = len(method.runs)
    return f"{method.method} ({count} seed{'s' * (count > 1)})"
