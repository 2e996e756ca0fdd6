"""Hopper-v5 by the discriminator's learning rate: the learned rule beside Adam at several rates.

Reads the finished runs in ``results/`` and prints, over training seeds, the interquartile mean and
its 95 % bootstrap interval of the area under the normalised curve and of the last policy's return.
The last column is the probability that a run of the learned rule at its default rate has the larger
area.

    .venv/bin/python benchmarks/learning_rates.py

The runs were made by ``train_gail.py --seed k --method M --learning-rate LR --out DIR`` and the
flags of the first column, seeds 0 to 9.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from l2l_gail import stats
from l2l_gail.comparison import collect
from l2l_gail.comparison.estimates import Estimate
from l2l_gail.comparison.results import MethodResult
from l2l_gail.comparison.tables import format_estimate
from l2l_gail.finding_runs import find_runs
from l2l_gail.text_table import format_table

RESULTS = Path(__file__).resolve().parent / "results"
DEFAULT = "L2L-GAIL, 3e-4 (default)"
RUNS = {  # label: folder of the runs, method
    "GAIL, 1e-4": ("trials/gail_lr_1e-4", "gail"),
    "GAIL, 3e-4 (default)": ("runs", "gail"),
    "GAIL, 3e-4, --matched-effort": ("trials/matched", "gail"),
    "GAIL, 6e-4": ("trials/lr_6e-4", "gail"),
    "GAIL, 1.2e-3": ("trials/lr_1.2e-3", "gail"),
    "L2L-GAIL, 1e-4": ("trials/l2l_lr_1e-4", "l2l_gail"),
    DEFAULT: ("runs", "l2l_gail"),
    "L2L-GAIL, 3e-4, --learned step": ("trials/step", "l2l_gail"),
    "L2L-GAIL, 1.2e-3": ("trials/l2l_lr_1.2e-3", "l2l_gail"),
}


def read(folder: str, method: str) -> MethodResult:
    """Return a method's runs on Hopper-v5; flags may have added to its name."""
    sections = {section.group: section for section in collect(find_runs(RESULTS / folder))}
    return next(m for m in sections["Hopper-v5"].methods if m.method.startswith(method))


def main() -> None:
    """Print the table."""
    results = {label: read(*where) for label, where in RUNS.items()}
    reference = results[DEFAULT].normalised_areas
    rows = []
    for label, result in results.items():
        own, returns = result.normalised_areas, result.numbers("eval_returns")
        better = stats.probability_of_improvement([reference], [own])
        rows.append(
            (
                label,
                str(len(own)),
                format_estimate(Estimate.of(own), 3),
                format_estimate(Estimate.of(returns), 0),
                f"{np.min(returns):.0f}",
                "-" if label == DEFAULT else f"{better:.2f}",
            )
        )
    header = ("method, learning rate", "seeds", "area under curve [95% CI]")
    header += ("final return IQM [95% CI]", "lowest seed", "L2L-GAIL's is larger")
    print(format_table(header, rows))


if __name__ == "__main__":
    main()
