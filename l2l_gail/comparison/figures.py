"""The pictures of the comparison, in the colours that the methods have in TensorBoard.

Lines are interquartile means over seeds, bands their 95 % bootstrap intervals, thin lines the
seeds.  A method with a single seed has no band, and its legend says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from l2l_gail.comparison.boards import Board
from l2l_gail.comparison.reading import TRACES
from l2l_gail.comparison.results import Curve, MethodResult
from l2l_gail.comparison.scores import SCORES, estimate_of

__all__ = [
    "draw_comparison",
    "draw_figure",
    "draw_interval",
    "draw_players",
    "draw_scores",
]

_PANELS = {
    "gail": {"return": "true return", "length": "episode length (steps)"},
    "cifar": {"clean": "clean accuracy (%)", "pgd20": "PGD-20 accuracy (%)"},
}
_MAIN = {"gail": "return", "cifar": "pgd20"}
_COSTS = {
    "gail": ("training seconds", "discriminator gradients"),
    "cifar": ("training seconds", "forward-equivalents of a training image"),
}
_MARKED_UP_TO = 12  # points of a curve that are worth a marker each
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
            axes.set_title(board.title)
            axes.set_ylabel(label)
        if board.section.kind == "gail":
            _draw_references(row[0], board)
        add_legend(row[0])
    return figure


def draw_interval(board: Board) -> Figure:
    """Draw the one chart that answers the question, at a size for a card of TensorBoard."""
    figure, grid = new_figure(1, 1, (6.4, 4.4))
    axes = grid[0][0]
    _draw_main(axes, board)
    axes.set_title(f"{board.title}: IQM over seeds, 95 % interval")
    add_legend(axes)
    return figure


def draw_comparison(board: Board) -> Figure:
    """Draw a board by environment steps (or epochs), by seconds and by effort, and its lengths."""
    figure, grid = new_figure(2, 2, (12.5, 8.6))
    kind = board.section.kind
    _draw_main(grid[0][0], board)
    other = next(name for name in _PANELS[kind] if name != _MAIN[kind])
    _draw_panel(grid[0][1], board, other)
    grid[0][1].set_ylabel(_PANELS[kind][other])
    for axes, name, rate in zip(grid[1], _COSTS[kind], ("seconds", "effort"), strict=True):
        rates = {
            method.method: method.seconds_per_x if rate == "seconds" else method.effort_per_x
            for method in board.methods
        }
        _draw_panel(axes, board, _MAIN[kind], rates)
        if kind == "gail":
            _draw_references(axes, board)
        axes.set_xlabel(name)
        axes.set_ylabel(_PANELS[kind][_MAIN[kind]])
    add_legend(grid[0][0])
    figure.suptitle(board.title)
    return figure


def draw_scores(boards: Sequence[Board]) -> Figure:
    """Draw the scores of all finished methods of a section, one row a method."""
    section = boards[0].section
    colours = {name: colour for board in boards for name, colour in board.colours.items()}
    methods = section.finished
    scores = SCORES[section.kind]
    height = 1.5 + 0.42 * len(methods)
    figure, grid = new_figure(1, len(scores), (3.0 + 2.5 * len(scores), height), sharey=True)
    for axes, score in zip(grid[0], scores, strict=True):
        for row, method in enumerate(methods):
            estimate = estimate_of(method, score)
            if estimate is None:
                continue
            colour = colours[method.method]
            axes.plot(estimate.value, row, "o", color=colour, markersize=7)
            if estimate.interval is not None:
                axes.plot(estimate.interval, [row, row], color=colour, linewidth=3, alpha=0.5)
        better = {True: " (more is better)", False: " (less is better)", None: ""}[score.better]
        axes.set_title(f"{score.name}\n{better.strip()}", fontsize="medium")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.margins(x=0.1)
    labels = [_legend(method) for method in methods]
    grid[0][0].set_yticks(range(len(methods)), [textwrap.fill(label, 34) for label in labels])
    grid[0][0].set_ylim(len(methods) - 0.5, -0.5)
    figure.suptitle(f"{section.title}: IQM over seeds with its 95 % interval")
    return figure


def draw_players(board: Board) -> Figure | None:
    """Draw what the game's players did, from the runs' event files; None without them."""
    names = TRACES[board.section.kind]
    shown = [tag for tag in names if any(tag in method.traces for method in board.methods)]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, grid = new_figure(rows, columns, (4.4 * columns, 3.4 * rows + 0.4))
    places = [axes for row in grid for axes in row]
    for axes, tag in zip(places, shown, strict=False):
        for method in board.methods:
            if tag in method.traces:
                draw_curve(axes, method.traces[tag], board.colours[method.method], method.method)
        if tag == "disc/entropy":
            axes.axhline(np.log(2), color="0.35", linestyle=":", linewidth=1, label="undecided")
        axes.set_title(names[tag])
        _finish(axes, board.section.x_label)
    for axes in places[len(shown) :]:
        axes.set_visible(False)
    if "disc/entropy" in shown:
        add_legend(places[shown.index("disc/entropy")])
    else:
        add_legend(places[0])
    figure.suptitle(f"{board.title}: the players of the game, IQM over seeds")
    return figure


def new_figure(
    rows: int, columns: int, size: tuple[float, float], *, sharey: bool = False
) -> tuple[Figure, np.ndarray]:
    """A figure without a display, and its axes as ``(rows, columns)``."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=sharey)


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
        label=label,
    )
    if curve.interval is not None:
        low, high = scale * curve.interval
        axes.fill_between(curve.x, low, high, color=colour, alpha=0.15, linewidth=0)
        if len(curve.values) <= 10:  # more would be a smear
            axes.plot(curve.x, scale * curve.values.T, color=colour, linewidth=0.6, alpha=0.4)


def add_legend(axes: Axes) -> None:
    """A legend that stays inside its chart: long names are broken."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        wrapped = [textwrap.fill(label, 44) for label in labels]
        axes.legend(handles, wrapped, fontsize="small", framealpha=0.7)


def _draw_main(axes: Axes, board: Board) -> None:
    kind = board.section.kind
    _draw_panel(axes, board, _MAIN[kind])
    if kind == "gail":
        _draw_references(axes, board)
    axes.set_ylabel(_PANELS[kind][_MAIN[kind]])


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
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_references(axes: Axes, board: Board) -> None:
    """Levels of the reference policies."""
    for name, value in board.references.items():
        axes.axhline(
            value,
            color=board.colours[name],
            linestyle=_DASHES[name],
            linewidth=1.5,
            label=name,
            zorder=0,
        )


def _legend(method: MethodResult) -> str:
    """The method and on how many seeds it stands."""
    count = len(method.runs)
    return f"{method.method} ({f'{count} seeds' if count > 1 else '1 seed, no interval'})"
