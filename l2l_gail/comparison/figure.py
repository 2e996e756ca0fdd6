"""The comparison as one picture: a row of learning curves for each section."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from l2l_gail.comparison.results import MethodResult, Section
from l2l_gail.comparison.tables import BASELINES

__all__ = ["draw_figure"]

# Okabe and Ito's palette: told apart with any colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_PANELS = {
    "gail": {"return": "true return", "length": "episode length (steps)"},
    "cifar": {"clean": "clean accuracy (%)", "pgd20": "PGD-20 accuracy (%)"},
}
_MARKED_UP_TO = 12  # points of a curve that are worth a marker each


def draw_figure(sections: Sequence[Section]) -> Figure:
    """Draw all sections.

    Lines are interquartile means over seeds, bands their 95 % bootstrap intervals, thin lines the
    seeds.  A method with a single seed has no band, and its legend says so.  A method has the same
    colour everywhere.

    Args:
        sections: At least one.

    Returns:
        A figure with an Agg canvas; it needs no display and is not known to pyplot.
    """
    names = sorted({method.method for section in sections for method in section.methods})
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    figure = Figure(figsize=(11, 0.4 + 3.8 * len(sections)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(sections), 2, squeeze=False)
    for section, row in zip(sections, grid, strict=True):
        for axes, (name, label) in zip(row, _PANELS[section.kind].items(), strict=True):
            _draw_panel(axes, section, name, colours)
            axes.set_title(section.title)
            axes.set_ylabel(label)
        if section.kind == "gail":
            _draw_baselines(row[0], section)
        row[0].legend(fontsize="small", framealpha=0.6)
    return figure


def _draw_panel(axes: Axes, section: Section, name: str, colours: dict[str, str]) -> None:
    """One quantity of every method that has it."""
    scale = 100.0 if section.kind == "cifar" else 1.0
    for method in section.methods:
        curve = method.curves.get(name)
        if curve is None:
            continue
        colour = colours[method.method]
        marker = "o" if len(curve.x) <= _MARKED_UP_TO else None
        axes.plot(
            curve.x,
            scale * curve.iqm,
            color=colour,
            linewidth=2,
            marker=marker,
            markersize=4,
            label=_legend(method),
        )
        if curve.interval is not None:
            low, high = scale * curve.interval
            axes.fill_between(curve.x, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(curve.x, scale * curve.values.T, color=colour, linewidth=0.6, alpha=0.5)
    if not axes.lines:
        axes.text(0.5, 0.5, "no run logged this", ha="center", transform=axes.transAxes)
    axes.set_xlabel(section.x_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_baselines(axes: Axes, section: Section) -> None:
    """Levels of the reference policies."""
    for (name, key), style in zip(BASELINES.items(), ("--", "-.", ":"), strict=True):
        value = section.baseline(key)
        if value is not None:
            axes.axhline(value, color="0.35", linestyle=style, linewidth=1, label=name, zorder=0)


def _legend(method: MethodResult) -> str:
    """The method and on how many seeds it stands."""
    count = len(method.runs)
    return f"{method.method} ({f'{count} seeds' if count > 1 else '1 seed, no interval'})"
