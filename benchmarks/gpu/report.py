"""Turn the records of the GPU into tables, and put them into docs/performance.md.

    .venv/bin/python benchmarks/gpu/report.py            # print
    .venv/bin/python benchmarks/gpu/report.py --write    # and replace the tables in the document

A table stands between ``<!-- begin gpu NAME -->`` and ``<!-- end gpu NAME -->``, NAME being one of
:data:`TABLES`.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.records import markdown, tabulate  # noqa: E402
from l2l_gail.cli import parse, run_main  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "gpu"
DOCUMENTS = (ROOT / "docs" / "performance.md",)
BLOCK = re.compile(r"(<!-- begin gpu (\S+) -->\n).*?(<!-- end gpu \2 -->)", re.DOTALL)
REFERENCE = "PGD-10"

Cell = dict[str, Any]


@dataclass(frozen=True)
class Config:
    """Flags of report.py."""

    write: bool = False
    """Replace the tables in the documents."""


def main(argv: list[str] | None = None) -> None:
    """Print every table of the documents, and write them into those if asked to."""
    config = parse(Config, argv, prog="report.py", description="Tables of what a GPU does.")
    tabulate(DOCUMENTS, BLOCK, table, write=config.write)


def table(name: str) -> str:
    """Return a table.

    Raises:
        InputError: There is no such table.
    """
    if name not in TABLES:
        raise InputError(f"{name}: no such table; there are: {', '.join(TABLES)}")
    return TABLES[name]()


def rollouts() -> str:
    """Return steps a second by task, place and number of worlds."""
    cells = _cells("rollouts")
    rows = []
    for env in dict.fromkeys(cell["env"] for cell in cells):
        for cell in sorted(
            (c for c in cells if c["env"] == env), key=lambda c: (c["place"], c["n"])
        ):
            on_gpu = cell["place"] == "cuda"
            rows.append(
                [
                    env if not rows or rows[-1][-1] != env else "",
                    "GPU" if on_gpu else "CPU, 16 cores",
                    f"{cell['n']:,}",
                    _thousands(cell["physics_steps_per_s"]) if on_gpu else "",
                    _thousands(cell["tasks_steps_per_s"]),
                    _thousands(cell["policy_steps_per_s"]) if on_gpu else "",
                    f"{100 * cell['glue']:.0f} %" if on_gpu and cell["glue"] >= 0 else "",
                    env,
                ]
            )
    head = ("task", "on", "worlds", "physics", "with the task", "with a policy", "glue")
    return markdown(head, [row[:-1] for row in rows])


def gail() -> str:
    """Return when each run was at the expert's level."""
    rows = [
        [
            str(cell["seed"]),
            f"{cell['seconds']:.1f}",
            f"{cell['steps'] / 1e6:.2f} million",
            f"{cell['in_gymnasium']:.3f}",
        ]
        for cell in _cells("gail")
    ]
    seconds = [cell["seconds"] for cell in _cells("gail")]
    steps = [cell["steps"] for cell in _cells("gail")]
    median = f"{statistics.median(steps) / 1e6:.2f} million"
    rows.append(["median", f"{statistics.median(seconds):.1f}", median, ""])
    return markdown(("seed", "wall s", "environment steps", "normalised return"), rows)


def cifar() -> str:
    """Return the time of an epoch by method, with and without graphs, beside the passes."""
    by_graphs = {
        graphs: {
            cell["method"]: cell
            for cell in _cells("cifar")
            if cell["cuda_graphs"] == graphs and not cell["compile"]
        }
        for graphs in (False, True)
    }
    rows = []
    for name, cell in by_graphs[False].items():
        row = [name, f"{cell['passes']:.1f}"]
        row.append(f"{cell['passes'] / by_graphs[False][REFERENCE]['passes']:.2f}")
        for cells in by_graphs.values():
            share = cells[name]["step_ms"] / cells[REFERENCE]["step_ms"]
            row += [f"{cells[name]['epoch_s']:.1f}", f"{share:.2f}"]
        rows.append(row)
    of_it = f"of {REFERENCE}'s"
    head = ("method", "passes a step", of_it, "s an epoch", of_it, "with graphs", of_it)
    return markdown(head, rows)


def fastat() -> str:
    """Return the accuracy of the shortened protocol, epoch by epoch."""
    cells = _cells("fastat")
    epochs = max(len(cell["robust"]) for cell in cells)
    rows = []
    for cell in cells:
        pairs = zip(cell["clean"], cell["robust"], strict=True)
        texts = [f"{100 * clean:.1f} / {100 * robust:.1f}" for clean, robust in pairs]
        rows.append([cell["method"], *texts, *["-"] * (epochs - len(texts))])
    return markdown(("method", *(f"epoch {k + 1}" for k in range(epochs))), rows)


TABLES: dict[str, Callable[[], str]] = {
    "rollouts": rollouts,
    "gail": gail,
    "cifar": cifar,
    "fastat": fastat,
}


def _cells(name: str) -> list[Cell]:
    cells: list[Cell] = json.loads((RESULTS / f"{name}.json").read_text())["cells"]
    return cells


def _thousands(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"


if __name__ == "__main__":
    run_main(main)
