"""Turn the records of the image grids into tables, and put them into the documents.

    .venv/bin/python benchmarks/cifar/report.py            # print
    .venv/bin/python benchmarks/cifar/report.py --write    # and replace the tables in the documents

In a document a table stands between ``<!-- begin images NAME -->`` and
``<!-- end images NAME -->``. There NAME is a folder of ``benchmarks/results/cifar`` and one of the
views below, as in ``eps8.methods``; of several folders, as in ``eps8+eps8_cpu.differences``, each
seed of each counts as a run; or ``attackers`` and ``remembering``, for the gains on frozen
classifiers, or ``step_cost``, for the CPU time of a step.

What figures and intervals are, ``figures.py`` says.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cifar.figures import (  # noqa: E402
    REFERENCE,
    Grid,
    Key,
    has_apgd,
    title,
    with_interval,
)
from benchmarks.records import markdown, tabulate  # noqa: E402
from benchmarks.turns import ratio_in_words  # noqa: E402
from l2l_gail.cli import parse, run_main  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "cifar"
ATTACKERS = ROOT / "benchmarks" / "results" / "attackers.json"
REMEMBERING = ATTACKERS.with_name("remembering.json")
STEP_COST = ROOT / "benchmarks" / "results" / "step_cost.json"
DOCUMENTS = tuple(
    ROOT / name for name in ("docs/results-images.md", "README.md", "docs/adversarial.md")
)
BLOCK = re.compile(r"(<!-- begin images (\S+) -->\n).*?(<!-- end images \2 -->)", re.DOTALL)
OURS = ("l2l_noise", "l2l_memory")
BESIDES = (("start_l2l", "pgd_10"),)


@dataclass(frozen=True)
class Config:
    """Flags of report.py."""

    write: bool = False
    """Replace the tables in the documents."""
    results: Path = RESULTS
    """Root of the records."""


def methods(grid: Grid) -> str:
    """Each method's accuracies and costs."""
    parts = []
    for setting in grid.settings():
        rows = []
        for method in grid.methods(setting):
            key = (setting, method)
            seeds = grid.seeds(key)
            robust = grid.bits(key, "robust", seeds)
            rows.append(
                [
                    title(method),
                    with_interval(grid.bits(key, "clean", seeds)),
                    with_interval(robust),
                    ", ".join(f"{value:.1f}" for value in robust.mean(1)),
                    f"{grid.bits(key, 'pgd20', seeds).mean():.1f}",
                    f"{grid.bits(key, 'apgd_t', seeds).mean():.1f}" if has_apgd(grid, key) else "-",
                    f"{100 * grid.mean(key, 'robust_best'):.1f}",
                    *costs(grid, key),
                ]
            )
        header = ["method", "clean", "robust", "each seed", "PGD-20", "APGD-T", "best epoch", "F"]
        header += ["CPU s"] if grid.on_cpu() else []
        parts.append(heading(setting) + markdown(header, rows))
    return "\n".join(parts)


def differences(grid: Grid) -> str:
    """Each method less PGD-2, and L2L less each: clean, robust, APGD-T, over common seeds."""
    parts = []
    for setting in grid.settings():
        present = grid.methods(setting)
        pairs = [(method, REFERENCE) for method in present if REFERENCE in present]
        for ours in OURS:
            others = [m for m in present if m != REFERENCE and (m, ours) not in pairs]
            pairs += [(ours, method) for method in others if ours in present]
        pairs += [pair for pair in BESIDES if set(pair) <= set(present)]
        rows = []
        for method, other in pairs:
            mine, theirs = (setting, method), (setting, other)
            seeds = [] if method == other else grid.seeds(mine, theirs)
            if not seeds:
                continue
            across = grid.across_devices(mine, theirs, seeds)
            runs = f"{len(seeds)} ({across} across devices)" if across else str(len(seeds))
            row = [f"{title(method)} less {title(other)}", runs]
            for measure in ("clean", "robust", "apgd_t"):
                if measure == "apgd_t" and not has_apgd(grid, mine):
                    row.append("-")
                    continue
                one, two = (grid.bits(key, measure, seeds) for key in (mine, theirs))
                row.append(with_interval(one - two, "+"))
            rows.append(row)
        parts.append(
            heading(setting) + markdown(["difference", "runs", "clean", "robust", "APGD-T"], rows)
        )
    return "\n".join(parts)


def strength(grid: Grid) -> str:
    """What attacks gain on training images, each learned attacker beside those of its queries."""
    rows = []
    for setting, method in grid.records:
        records = grid.records[setting, method].values()
        found = [record["gains_in_training"] for record in records if "gains_in_training" in record]
        if not found:
            continue
        mean = {name: float(np.mean([gains[name] for gains in found])) for name in found[0]}
        share = (mean["own"] - mean["fgsm"]) / (mean["pgd2"] - mean["fgsm"])
        cells = [f"{mean[name]:.4f}" for name in ("fgsm", "own", "pgd2", "pgd10")]
        rows.append([title(method), str(len(found)), *cells, f"{100 * share:.0f}"])
    header = ["attacker", "seeds", "FGSM", "its own", "PGD-2", "PGD-10", "% of PGD-2's lead"]
    return markdown(header, rows)


def room(grid: Grid) -> str:
    """What attacks gain on each method's own classifier, and epochs of catastrophic overfitting.

    On test images, of which an attacker with a memory remembers nothing.
    """
    rows = []
    for setting, method in grid.records:
        key = (setting, method)
        fgsm, strong = grid.mean(key, "gain_fgsm"), grid.mean(key, "gain_pgd10")
        learned = [record["gain_learned"] for record in grid.records[key].values()]
        trapped = [
            str(len(record["catastrophic_overfitting_epochs"]))
            for record in grid.records[key].values()
        ]
        own = "-" if None in learned else f"{np.mean(learned):.3f}"
        row = [
            title(method),
            f"{fgsm:.3f}",
            own,
            f"{strong:.3f}",
            f"{100 * (strong / fgsm - 1):.0f}",
        ]
        rows.append([*([setting] if len(grid.settings()) > 1 else []), *row, ", ".join(trapped)])
    header = ["trained with", "FGSM", "own attacker", "PGD-10", "room %", "overfitted epochs"]
    return markdown([*(["setting"] if len(grid.settings()) > 1 else []), *header], rows)


def short(grid: Grid) -> str:
    """The table of the README: the first setting."""
    setting = grid.settings()[0]
    rows = []
    for method in grid.methods(setting):
        key = (setting, method)
        seeds = grid.seeds(key)
        rows.append(
            [
                title(method),
                with_interval(grid.bits(key, "clean", seeds)),
                with_interval(grid.bits(key, "robust", seeds)),
                str(len(seeds)),
                *costs(grid, key),
            ]
        )
    header = ["method", "clean % [95 % CI]", "robust % [95 % CI]", "runs"]
    header += ["forwards per image and step", *(["CPU s"] if grid.on_cpu() else [])]
    return markdown(header, rows)


def costs(grid: Grid, key: Key) -> list[str]:
    """Return what a method costs: passes, and CPU seconds where they mean something."""
    passes = f"{grid.mean(key, 'forward_equivalents'):.1f}"
    return [passes, *([f"{grid.mean(key, 'cpu_s'):.0f}"] if grid.on_cpu() else [])]


def attackers(file: Path = ATTACKERS) -> str:
    """The gains of all attackers on one frozen classifier for each epsilon."""
    results = json.loads(file.read_text())["variants"]
    radii = [name for name in next(iter(results.values())) if name.startswith("eps")]
    rows = []
    for name, row in results.items():
        cells = [
            f"{row[r]['gain']:.3f} ({row[r]['over_fgsm']:+.3f} ± {row[r]['standard_error']:.3f})"
            for r in radii
        ]
        rows.append([name, str(row["queries"]), *cells])
    return markdown(["attack", "queries", *(f"eps {r.removeprefix('eps')}" for r in radii)], rows)


def step_cost(file: Path = STEP_COST) -> str:
    """The CPU time of a step of each method, side by side."""
    by_network = json.loads(file.read_text())["costs"]
    rows = []
    for method in next(iter(by_network.values())):
        row = [method]
        for costs in by_network.values():
            cost = costs[method]
            row += [f"{1000 * cost['seconds']:.0f}", ratio_in_words(cost["ratio"])]
        rows.append(row)
    header = ["method"]
    for network in by_network:
        header += [f"{network}: CPU ms a step", "of PGD-2"]
    return markdown(header, rows)


def heading(setting: str) -> str:
    """Return a line above the table of a setting, unless it is the only one."""
    return "" if setting == "default" else f"**{setting.replace('_', ' ')}**\n\n"


ALONE: dict[str, Callable[[], str]] = {
    "attackers": attackers,
    "remembering": partial(attackers, REMEMBERING),
    "step_cost": step_cost,
}

VIEWS: dict[str, Callable[[Grid], str]] = {
    "methods": methods,
    "differences": differences,
    "room": room,
    "strength": strength,
    "short": short,
}


def table(name: str, results: Path = RESULTS) -> str:
    """Return the table of a block's name.

    Raises:
        InputError: There is no such view, or no record.
    """
    if name in ALONE:
        return ALONE[name]()
    folder, _, view = name.rpartition(".")
    if view not in VIEWS:
        raise InputError(f"{name}: no such view; there are: {', '.join([*ALONE, *VIEWS])}")
    return VIEWS[view](Grid(*(results / name for name in folder.split("+"))))


def main(argv: list[str] | None = None) -> None:
    """Print every table of the documents, and write them into those if asked to."""
    config = parse(Config, argv, prog="report.py", description="Tables of the image experiments.")
    tabulate(DOCUMENTS, BLOCK, lambda name: table(name, config.results), write=config.write)


if __name__ == "__main__":
    run_main(main)
