"""Turn the records of the grids into tables, and put them into docs/results-*.md and README.md.

    .venv/bin/python benchmarks/gail/report.py            # print
    .venv/bin/python benchmarks/gail/report.py --write    # and replace the tables in the document

In the document a table stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``, NAME being
a folder of ``benchmarks/results/gail`` and one of the views below: ``settings.cells``.

The views are the functions of :data:`VIEWS`; what their figures are, ``figures.py`` says.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.gail.figures import (  # noqa: E402
    Grid,
    area,
    estimate,
    gradients_per_rollout,
    kind,
    last,
    number,
    resampled_difference,
    resampled_means,
    return_in_training,
    tail,
    with_interval,
)
from benchmarks.gail.peer_table import peer_table  # noqa: E402
from benchmarks.records import markdown, tabulate  # noqa: E402
from benchmarks.turns import ratio_in_words  # noqa: E402
from l2l_gail.cli import parse, run_main  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "gail"
STEP_COST = ROOT / "benchmarks" / "results" / "gail_step_cost.json"
DOCUMENTS = (*sorted((ROOT / "docs").glob("results-*.md")), ROOT / "README.md")
TRAINED_BY = ("rule", "arguments", "training", "credit", "ppo", "policy_pace", "policy_divergence")
BLOCK = re.compile(r"(<!-- begin (\S+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


@dataclass(frozen=True)
class Config:
    """Flags of report.py."""

    write: bool = False
    """Replace the tables in the documents."""
    results: Path = RESULTS
    """Root of the records."""
    documents: tuple[Path, ...] = DOCUMENTS
    """The documents."""


SHORT = {
    "l2l": "**L2L-GAIL**: credit learned",
    "gail": "GAIL: Muon 1e-2, PPO's advantages",
    "gail_line": "GAIL, PPO's rate in a line from 1e-3 to 1e-4",
    "gail_1e-3": "GAIL, PPO at a fixed 1e-3",
}
"""Methods of the short table, in its words."""


def short(grid: Grid) -> str:
    """A and tail of the methods of :data:`SHORT`, two columns for each environment."""
    envs, (setting, *_) = grid.names(0), grid.names(1)
    rows = []
    for method, words in SHORT.items():
        row = [words]
        for env in envs:
            for measure in (return_in_training, tail):
                row.append(estimate(grid.values((env, setting, method), measure)))
        rows.append(row)
    header = [name for env in envs for name in (env, "late")]
    return markdown(["method", *header], rows)


def methods(grid: Grid) -> str:
    """Each method's figures, one table for each environment and setting."""
    parts = []
    for env in grid.names(0):
        for setting in grid.names(1):
            rows = []
            for method in grid.names(2):
                key = (env, setting, method)
                if key not in grid.records:
                    continue
                rows.append(
                    [
                        method,
                        str(len(grid.records[key])),
                        *(estimate(grid.values(key, m)) for m in (return_in_training, area)),
                        *(estimate(grid.values(key, m)) for m in (last, tail)),
                        f"{grid.values(key, number('tracking_loss')).mean():.3f}",
                        f"{grid.values(key, gradients_per_rollout).mean():.0f}",
                        f"{grid.values(key, number('cpu_s')).mean():.0f}",
                    ]
                )
            if rows:
                steps = next(grid.records[env, setting, row[0]][0]["steps"] for row in rows)
                name = "" if setting == "default" else f", {setting}"
                header = ["method", "seeds", "A", "E", "last", "tail", "tracking"]
                table = markdown([*header, "gradients a rollout", "CPU s"], rows)
                parts.append(f"**{env}{name}**, {steps:,} steps\n\n{table}")
    return "\n".join(parts)


def cells(grid: Grid) -> str:
    """A of each method under each setting, mean over seeds; the best of each row is bold."""
    parts = []
    for env in grid.names(0):
        rows = []
        for setting in grid.names(1):
            found = {
                m: grid.values((env, setting, m), return_in_training)
                for m in grid.names(2)
                if (env, setting, m) in grid.records
            }
            if not found:
                continue
            best = max(values.mean() for values in found.values())
            seeds = sorted({len(values) for values in found.values()})
            row = [setting, "-".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))]
            for method in grid.names(2):
                values = found.get(method)
                text = "" if values is None else f"{values.mean():.0f}"
                leads = values is not None and len(found) > 1 and values.mean() == best
                row.append(f"**{text}**" if leads else text)
            rows.append(row)
        parts.append(f"**{env}**\n\n" + markdown(["setting", "seeds", *grid.names(2)], rows))
    return "\n".join(parts)


def flatness(grid: Grid) -> str:
    """Each method over all settings that all have, beside the best of each setting and of them all.

    The last two columns are shares of one and the same figure, the best cell of the first method's
    rivals: they are not what it is without the correction of the policy's rate, and have more than
    one seed where the first one has.
    """
    rows = []
    reference, *others = everyone = grid.names(2)
    for env in grid.names(0):
        shared = [
            s for s in grid.names(1) if all((env, s, method) in grid.records for method in everyone)
        ]
        if not shared:
            continue
        cells = {
            method: [grid.values((env, s, method), return_in_training) for s in shared]
            for method in everyone
        }
        draws = {
            method: np.stack([resampled_means(cell, i) for i, cell in enumerate(of_method)])
            for method, of_method in cells.items()
        }  # (settings, RESAMPLES)
        means = {method: np.array([cell.mean() for cell in cells[method]]) for method in everyone}
        best = np.max(list(means.values()), axis=0)
        best_draws = np.max(list(draws.values()), axis=0)
        several = len(cells[reference][0]) > 1
        rivals = [
            means[method].max()
            for method in others
            if kind(method) != kind(reference) and (len(cells[method][0]) > 1 or not several)
        ]
        for method in everyone:
            share, share_draws = means[method] / best, draws[method] / best_draws
            of_all = means[method] / max(rivals, default=means[method].max())
            rows.append(
                [
                    env,
                    method,
                    str(len(shared)),
                    with_interval(means[method].mean(), draws[method].mean(0), 0),
                    with_interval(share.mean(), share_draws.mean(0), 2),
                    f"{share.min():.2f} ({shared[int(share.argmin())]})",
                    f"{of_all.mean():.2f}",
                    f"{of_all.min():.2f} ({shared[int(of_all.argmin())]})",
                ]
            )
    header = ["environment", "method", "settings", "mean A", "mean share of the best"]
    header += ["worst share", f"mean of the best cell of {reference}'s rivals", "worst"]
    return markdown(header, rows)


def margins(grid: Grid) -> str:
    """Each method less the first one over all settings that both have: mean A, and how often."""
    reference, *others = grid.names(2)
    rows = []
    for env in grid.names(0):
        for method in others:
            both = (method, reference)
            settings = [s for s in grid.names(1) if all((env, s, m) in grid.records for m in both)]
            gap, draws = difference_over(grid, env, settings, both)
            above = [s for s in settings if mean_gap(grid, env, s, both) > 0]
            text = with_interval(gap, draws, 0)
            rows.append([env, method, str(len(settings)), text, ", ".join(above) or "none"])
    head = ["environment", "method", "settings", f"mean A less that of {reference}"]
    return markdown([*head, f"above {reference} in"], rows)


def corrected(grid: Grid) -> str:
    """A with the policy's rate corrected and as it is: by rate, and the mean of the other forms."""
    rows = []
    for env in grid.names(0):
        for method in (m for m in grid.names(2) if kind(m) != m):
            both = (kind(method), method)
            rates = {s: [s] for s in grid.names(1) if s.startswith("policy_")}
            others = [s for s in grid.names(1) if s not in rates]
            for name, settings in {**rates, f"the {len(others)} others": others}.items():
                pairs = [grid.pair((env, s), both, return_in_training) for s in settings]
                means = [np.mean([pair[i].mean() for pair in pairs]) for i in (0, 1)]
                changed = [np.sign(one - other) for one, other in pairs]
                moved = [int(np.sum([np.sum(sign == way) for sign in changed])) for way in (1, -1)]
                gap = with_interval(*difference_over(grid, env, settings, both), 0)
                figures = [f"{mean:.0f}" for mean in means]
                runs = sum(len(sign) for sign in changed)
                told = f"{moved[0]} and {moved[1]} of {runs}"
                rows.append([env, kind(method), name, *figures, gap, told])
    head = ["environment", "method", "setting", "corrected", "as it is", "gain"]
    return markdown([*head, "runs that gain and lose"], rows)


def speeds(grid: Grid) -> str:
    """The last evaluation at each rate of PPO: mean over the seeds, and the worst of them."""
    rates = {  # a setting has the same one in all its records
        setting: records[0]["ppo"]["learning_rate"]
        for (_, setting, _), records in grid.records.items()
        if setting == "default" or setting.startswith("policy_")
    }
    settings = sorted(rates, key=lambda setting: rates[setting])
    rows = []
    for env in grid.names(0):
        for method in grid.names(2):
            found = [grid.values((env, setting, method), last) for setting in settings]
            rows.append([env, method, *(f"{of.mean():.0f} ({of.min():.0f})" for of in found)])
    header = [np.format_float_scientific(rates[s], trim="-", exp_digits=1) for s in settings]
    return markdown(["environment", "method", *header], rows)


def difference_over(
    grid: Grid, env: str, settings: list[str], methods: tuple[str, str]
) -> tuple[float, NDArray[np.float64]]:
    """Return the first method's mean A over settings less the second's, and its resamples."""
    pairs = [grid.pair((env, s), methods, return_in_training) for s in settings]
    draws = [resampled_difference(methods, pair, i) for i, pair in enumerate(pairs)]
    gaps = [mean_gap(grid, env, s, methods) for s in settings]
    return float(np.mean(gaps)), np.mean(draws, axis=0)


def mean_gap(grid: Grid, env: str, setting: str, methods: tuple[str, str]) -> float:
    """Return the first method's mean A in a setting less the second's."""
    one, other = grid.pair((env, setting), methods, return_in_training)
    return float(one.mean() - other.mean())


def differences(grid: Grid) -> str:
    """Each method less the first one, in every environment: A, E and tail with intervals.

    And each without the correction of the policy's rate less the same with it.
    """
    reference, *others = grid.names(2)
    bare = [(m, kind(m)) for m in others if kind(m) not in (m, reference)]
    rows = []
    for env, setting in dict.fromkeys(key[:2] for key in grid.records):
        for both in [*((method, reference) for method in others), *bare]:
            if not all((env, setting, m) in grid.records for m in both):
                continue
            row = [env, setting, f"{both[0]} less {both[1]}"]
            for measure in (return_in_training, area, tail):
                values = grid.pair((env, setting), both, measure)
                gap = values[0].mean() - values[1].mean()
                alone = min(len(each) for each in values) == 1
                draws = resampled_difference(both, values)
                row.append(f"{gap:.0f}" if alone else with_interval(gap, draws, 0))
            rows.append(row)
    return markdown(["environment", "setting", "difference", "A", "E", "tail"], rows)


def averaging(grid: Grid) -> str:
    """What acting by the averaged policy changes, run by run: the same trainings in ``games``."""
    trained = Grid.read(RESULTS / "games")
    rows = []
    for key in grid.records:
        env, _, method = key
        before = {record["seed"]: record for record in trained.records[env, "default", method]}
        both = [(before[r["seed"]], r) for r in grid.records[key] if r["seed"] in before]
        pairs = [(a, b) for a, b in both if all(a.get(k) == b.get(k) for k in TRAINED_BY)]
        if not pairs:
            continue
        assert all(a["return_in_training"] == b["return_in_training"] for a, b in pairs)
        row = [env, method, str(len(pairs))]
        for measure in (tail, area):
            one, other = (np.array([measure(pair[k]) for pair in pairs]) for k in (0, 1))
            row += [f"{one.mean():.0f}", f"{other.mean():.0f}", estimate(other - one)]
        rows.append(row)
    head = ["environment", "method", "seeds", "tail, trained", "averaged", "difference"]
    return markdown([*head, "E, trained", "averaged", "difference"], rows)


def steps(grid: Grid) -> str:
    """The learned global step over training, ``lr e^s``: mean over seeds at a few rollouts."""
    marks = (0, 2, 4, 8, 11, 16, 22, 29)
    rows = []
    for (env, setting, method), records in grid.records.items():
        traces = [r["traces"].get("rule/global_step") for r in records]
        if None in traces:
            continue
        mean = np.mean([t for t in traces if t], axis=0)
        lr = records[0]["arguments"].get("lr", 3e-2)
        figures = [f"{lr * mean[m]:.1e}" if m < len(mean) else "" for m in marks]
        rows.append([env, setting, method, str(len(records)), *figures])
    # A figure is a mean over a block of five rollouts.
    header = [f"rollout {5 * m + 3}" for m in marks]
    return markdown(["environment", "setting", "method", "seeds", *header], rows)


def nearest(grid: Grid) -> str:
    """Twenty games after the training: the last policy's, and those of the nearest one."""
    rows = []
    for key, records in grid.records.items():
        expert, random = (records[0][f"{name}_return"] for name in ("expert", "random"))
        means = {
            name: np.array([np.mean(record["games"][name]) for record in records])
            for name in ("last", "nearest")
        }
        scale = 1 / (expert - random)
        cells = [estimate(scale * (of - random), 2) for of in means.values()]
        worst = [f"{scale * (of.min() - random):.2f}" for of in means.values()]
        gained = estimate(scale * (means["nearest"] - means["last"]), 2)
        rows.append([key[0], key[2], str(len(records)), *cells, gained, *worst])
    head = ["environment", "method", "seeds", "last", "nearest", "difference"]
    return markdown([*head, "worst seed, last", "nearest"], rows)


def step_cost(file: Path = STEP_COST) -> str:
    """CPU time of a rollout of each method, as ``step_cost.py`` has measured it."""
    record = json.loads(file.read_text())
    by_env, ratios = record["seconds"], record["ratios"]
    rows = []
    for method in next(iter(by_env.values())):
        cells = []
        for env, seconds in by_env.items():
            cells.append(f"{1000 * seconds[method]:.0f} ({ratio_in_words(ratios[env][method])})")
        rows.append([method, *cells])
    return markdown(["method", *by_env], rows)


VIEWS: dict[str, Callable[[Grid], str]] = {
    "methods": methods,
    "short": short,
    "cells": cells,
    "flatness": flatness,
    "margins": margins,
    "corrected": corrected,
    "speeds": speeds,
    "differences": differences,
    "averaging": averaging,
    "nearest": nearest,
    "steps": steps,
}


def table(name: str, results: Path) -> str:
    """Return the table of a block's name."""
    if name == "step_cost":
        return step_cost()
    if name == "peer":
        return peer_table(results.parent)
    folder, _, view = name.rpartition(".")
    if view not in VIEWS:
        raise InputError(f"{name}: no such view; there are: {', '.join(VIEWS)}")
    return VIEWS[view](Grid.read(results / folder))


def main(argv: list[str] | None = None) -> None:
    """Print every table of the document, and write them into it if asked to."""
    config = parse(Config, argv, prog="report.py", description="Tables of the GAIL experiments.")
    tabulate(config.documents, BLOCK, lambda name: table(name, config.results), write=config.write)


if __name__ == "__main__":
    run_main(main)
