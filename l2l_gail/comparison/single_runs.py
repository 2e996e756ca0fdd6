"""A board of single runs, beside those of methods: a row in HParams for each method and seed.

The boards of methods have no room for it: there every run of TensorBoard would take a colour.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase

import numpy as np
from torch.utils.tensorboard.summary import hparams as hparams_summaries
from torch.utils.tensorboard.summary import text as text_summary

from l2l_gail.comparison.board_events import EventFile
from l2l_gail.comparison.boards import PALETTE, folder_name, folder_names
from l2l_gail.comparison.hparams import hyperparameters
from l2l_gail.comparison.results import X_KEY, Kind, MethodResult, Section
from l2l_gail.comparison.scores import SCORES
from l2l_gail.finding_runs import OVERVIEW

__all__ = ["RUNS_ENDING", "runs_board_name", "write_runs_board"]

RUNS_ENDING = "-runs"
"""Ending of the name of such a board."""

_CURVES: dict[Kind, dict[str, str]] = {
    "gail": {"return": "1 true return/a true return", "length": "1 true return/b episode length"},
    "cifar": {
        "pgd20": "1 accuracy/a PGD-20",
        "clean": "1 accuracy/b clean",
        "robust": "1 accuracy/c robust",
    },
}

_TEXT = """\
Every finished run of {title}, one by one: its settings and scores are in the **HParams** tab.
The boards of methods show the same runs as means over seeds, with intervals."""


def runs_board_name(section: Section) -> str:
    """Name of the folder, and of the address, of a section's board of single runs."""
    return folder_name(section.group) + RUNS_ENDING


def write_runs_board(folder: Path, section: Section, name: str, started: float) -> None:
    """Write the event files of a section's board of single runs.

    Settings have the same keys in all runs. Metrics are the scores of the comparison's tables; they
    are drawn as level lines, so that none is a chart of a single point.

    Args:
        folder: Folder of the board; a run is ``<method>/seed<k>`` in it.
        section: What it shows.
        name: Name of the event files, as for :func:`~l2l_gail.comparison.board_events.write_board`.
        started: Unix time of the first event.
    """
    methods = section.finished
    folders = folder_names([method.method for method in methods])
    settings = hyperparameters(methods)
    # No two methods may share a colour: with more of them there is the table alone.
    with_curves = len(methods) <= len(PALETTE)
    scores = {method.method: dict(_scores(method)) for method in methods}
    # Metrics that some method lacks are asked for in all: the tab shows one set of columns.
    metrics = dict.fromkeys(sorted({tag for found in scores.values() for tag in found}), 0.0)
    for method in methods:
        for place, run in enumerate(method.runs):
            seed = run.folder.seed
            events = EventFile(folder / folders[method.method] / f"seed{seed}", started, name)
            own = {"1 seed": float(seed), X_KEY[method.kind]: float(method.length)}
            row = {k: v for k, v in settings[method.method].items() if k != "1 seeds"} | own
            for summary in hparams_summaries(row, metrics):
                events.summary(summary)
            for tag, values in scores[method.method].items():
                for x in (0, method.length or method.level_to or 1):
                    events.scalar(tag, x, values[place])
            if with_curves:
                _write_curves(events, method, place)
            events.close()
    overview = EventFile(folder / OVERVIEW, started + len(PALETTE), name)
    overview.summary(text_summary("runs", _TEXT.format(title=section.title)))
    overview.close()


def _write_curves(events: EventFile, method: MethodResult, place: int) -> None:
    for key, tag in _CURVES[method.kind].items():
        if key in method.curves:
            curve = method.curves[key]
            for x, y in zip(curve.x, curve.values[place], strict=True):
                events.scalar(tag, x, float(y))


def _scores(method: MethodResult) -> Iterator[tuple[str, list[float]]]:
    """The scores that a method has, one of each run, by tag."""
    for letter, score in zip(ascii_lowercase, SCORES[method.kind], strict=False):
        values = score.values(method)
        if values and np.isfinite(values).all():
            yield f"2 scores/{letter} {score.name}", values
