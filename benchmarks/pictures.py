"""Draw what the records show, for README and docs/results.md.

    .venv/bin/python benchmarks/pictures.py

=================== ===========================================================================
``gail.svg``        true return over training of L2L-GAIL and GAIL at their defaults: the mean of
                    all seeds of the folder ``methods`` and its 95 % interval
``adversarial.svg`` robust accuracy less that of PGD-2, paired, with its 95 % interval, of methods
                    in the order of what their training steps cost
=================== ===========================================================================

Both lie in ``docs/images``. Each carries the digest of the figures that it shows, by which a test
sees that it is of today's records: another version of matplotlib draws other lines from the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.cifar import figures as images  # noqa: E402
from benchmarks.gail import figures as games  # noqa: E402
from l2l_gail.cli import parse, run_main  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
OURS, RIVAL, FAINT = "#c2410c", "#1d4ed8", "#6b7280"
DIGITS = 2  # of what is drawn; more would not be seen


@dataclass(frozen=True)
class Config:
    """Flags of pictures.py."""

    out: Path = ROOT / "docs" / "images"
    """Folder of the pictures."""


class Shown(NamedTuple):
    """How a method is drawn."""

    name: str
    colour: str
    line: str = "-"


CURVES = {
    "l2l": Shown("L2L-GAIL", OURS),
    "gail": Shown("GAIL, same settings", RIVAL),
    "gail_line": Shown("GAIL, PPO's rate falling in a line", FAINT, "--"),
    "gail_1e-3": Shown("GAIL, PPO's rate fixed", FAINT, ":"),
}
"""The methods of ``gail.svg``."""

POINTS = {
    "fgsm": Shown("FGSM", FAINT),
    "fgsm_rs": Shown("FGSM-RS", FAINT),
    "n_fgsm": Shown("N-FGSM", FAINT),
    "l2l_memory": Shown("L2L, no noise", OURS),
    "l2l_noise": Shown("L2L", OURS),
    "pgd_2": Shown("PGD-2", RIVAL),
    "pgd_4": Shown("PGD-4", FAINT),
    "pgd_10": Shown("PGD-10", FAINT),
}
"""The methods of ``adversarial.svg``."""

PANELS = {
    "epsilon 8, small CNN,\n15 epochs of 49,000 images": ("default", "eps8", "eps8_cpu"),
    "epsilon 16, small ResNet,\n16 epochs of 9,000 images": (
        "whole_ball_at_once",
        "hard",
        "hard_cpu",
    ),
    "epsilon 16, small ResNet,\n60 epochs of 9,000 images": ("eps_16", "sixty"),
}
"""The panels of ``adversarial.svg``: a setting, and the folders of its records."""


def curves(folder: Path) -> dict[str, Any]:
    """Return what ``gail.svg`` shows: for each environment its expert and the methods' curves.

    Args:
        folder: Records of ``benchmarks/gail/grid.py``.
    """
    grid = games.Grid.read(folder)
    (setting,) = grid.names(1)
    found: dict[str, Any] = {}
    for env in grid.names(0):
        panel: dict[str, Any] = {"methods": {}}
        for method in CURVES:
            records = grid.records[env, setting, method]
            panel["expert"] = records[0]["expert_return"]
            values = np.array([record["evaluations"]["return_mean"] for record in records])
            bands = [games.interval(games.resampled_means(column, 0)) for column in values.T]
            low, high = np.transpose(bands)
            panel["methods"][method] = {
                "seeds": len(records),
                "steps": records[0]["evaluations"]["steps"],
                "mean": rounded(values.mean(0)),
                "low": rounded(low),
                "high": rounded(high),
            }
        found[env] = panel
    return found


def points(results: Path) -> dict[str, Any]:
    """Return what ``adversarial.svg`` shows: each method's passes, and its points above PGD-2.

    Args:
        results: The folder of the folders in :data:`PANELS`.
    """
    found: dict[str, Any] = {}
    for title, (setting, *folders) in PANELS.items():
        grid = images.Grid(*(results / folder for folder in folders))
        found[title] = {}
        for method in (m for m in POINTS if m in grid.methods(setting)):
            pair = (setting, method), (setting, images.REFERENCE)
            seeds = grid.seeds(*pair)
            one, other = (grid.bits(key, "robust", seeds) for key in pair)
            found[title][method] = {
                "runs": len(seeds),
                "passes": round(grid.mean(pair[0], "forward_equivalents"), DIGITS),
                "gain": round(float((one - other).mean()), DIGITS),
                "interval": rounded(images.interval(one - other)),
            }
    return found


def rounded(values: Any) -> list[float]:
    """Return numbers as they are drawn."""
    return [round(float(value), DIGITS) for value in values]


def draw_curves(shown: dict[str, Any]) -> Figure:
    """Draw ``gail.svg``: a panel for each environment."""
    figure, row = panels(shown)
    for axes, (env, panel) in zip(row, shown.items(), strict=True):
        axes.axhline(panel["expert"], color="black", linestyle="-.", linewidth=1, label="expert")
        for method, (name, colour, line) in reversed(CURVES.items()):
            curve = panel["methods"][method]
            style = {"color": colour, "linestyle": line, "linewidth": 1 if colour == FAINT else 2}
            axes.plot(curve["steps"], curve["mean"], label=name, **style)
            if colour != FAINT:
                band = (curve["steps"], curve["low"], curve["high"])
                axes.fill_between(*band, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(env)
        axes.set_xlabel("environment steps")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    row[0].set_ylabel("true return")
    seeds = {c["seeds"] for panel in shown.values() for c in panel["methods"].values()}
    figure.suptitle(
        "GAIL from one demonstration: evaluations during the training, mean of "
        f"{'-'.join(map(str, sorted(seeds)))} seeds and its 95 % interval",
        fontsize="medium",
    )
    handles, labels = row[0].get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        labels[::-1],
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
        fontsize="small",
    )
    return figure


def draw_points(shown: dict[str, Any]) -> Figure:
    """Draw ``adversarial.svg``: a panel for each experiment, a line for each method.

    A method of one run has a hollow mark, as its interval is over images alone; one that lies
    outside a panel is marked at its edge, with its figure.
    """
    figure, row = panels(shown)
    edge = 3.0
    drawn = [method for method in POINTS if any(method in panel for panel in shown.values())]
    lines = {method: -i for i, method in enumerate(drawn)}
    for axes, (title, methods) in zip(row, shown.items(), strict=True):
        axes.axvline(0, color=RIVAL, linewidth=1, linestyle=":")
        for method, y in lines.items():
            if method not in methods:
                axes.annotate("not run", (0.1, y), va="center", color=FAINT, fontsize="small")
                continue
            point, colour = methods[method], POINTS[method].colour
            gain, runs = point["gain"], point["runs"]
            face = "white" if runs == 1 else colour
            axes.plot(point["interval"], [y, y], color=colour, linewidth=3, alpha=0.4)
            if gain < -edge:
                axes.plot(-edge, y, "<", color=colour, markerfacecolor=face, clip_on=False)
                axes.annotate(f"{gain:.0f}", (-edge + 0.2, y + 0.1), va="bottom", color=colour)
            else:
                axes.plot(gain, y, "o", color=colour, markerfacecolor=face)
            axes.annotate(f"{runs}", (edge - 0.1, y), va="center", ha="right", color=FAINT)
        axes.set_title(title, fontsize="medium")
        axes.set_xlim(-edge, edge)
        axes.set_yticks(list(lines.values()), [])
        axes.set_xlabel("points above PGD-2 (right: runs)")
    passes = {m: max(panel[m]["passes"] for panel in shown.values() if m in panel) for m in drawn}
    row[0].set_yticklabels([f"{POINTS[method].name} ({passes[method]:.1f})" for method in drawn])
    for label, method in zip(row[0].get_yticklabels(), drawn, strict=True):
        label.set_color(POINTS[method].colour)
        label.set_fontweight("normal" if POINTS[method].colour == FAINT else "bold")
    row[0].set_ylabel("method (cost in forward passes)")
    figure.suptitle(
        "Adversarial training on CIFAR-10: robust accuracy after the last epoch less that of "
        "PGD-2, with 95 % intervals (hollow: one run)",
        fontsize="medium",
    )
    return figure


def panels(shown: dict[str, Any]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of panels, as many as there are things to show."""
    figure = Figure(figsize=(3.6 * len(shown), 3.7), layout="constrained")
    row = list(figure.subplots(1, len(shown), squeeze=False)[0])
    for axes in row:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, row


def digest(shown: dict[str, Any]) -> str:
    """Return what a picture of these figures carries."""
    text = json.dumps(shown, sort_keys=True)
    return f"sha256 of its figures: {hashlib.sha256(text.encode()).hexdigest()}"


PICTURES: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[dict[str, Any]], Figure]]] = {
    "gail": (lambda: curves(RESULTS / "gail" / "methods"), draw_curves),
    "adversarial": (lambda: points(RESULTS / "cifar"), draw_points),
}
"""From the name of a picture to its figures, and what draws them."""


def save(figure: Figure, file: Path, note: str) -> None:
    """Write an SVG that is the same at each call: no date in it, no names by chance."""
    with mpl.rc_context({"svg.hashsalt": "l2l_gail", "svg.fonttype": "none"}):
        figure.savefig(file, metadata={"Date": None, "Description": note})


def main(argv: list[str] | None = None) -> None:
    """Draw all pictures."""
    config = parse(Config, argv, prog="pictures.py", description="Pictures of the experiments.")
    for name, (find, draw) in PICTURES.items():
        shown, file = find(), config.out / f"{name}.svg"
        save(draw(shown), file, digest(shown))
        print(f"{file}")


if __name__ == "__main__":
    run_main(main)
