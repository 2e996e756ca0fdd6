"""The comparison in TensorBoard: one run for each method, the same tags in each.

In TensorBoard a colour belongs to a run.  With one run for each method and identical tags, every
chart overlays the methods in their colours.  The root of the digest holds what belongs to none of
them: the layout of the custom charts, the tables and the figure.

=====================================  ==========================================================
``<group>/<curve>/iqm``                interquartile mean over seeds, by environment step or epoch
``<group>/<curve>/ci_low``, ``ci_high``  its 95 % bootstrap interval; absent for a single seed
``<group>/final/<score>``              score of the finished runs, interquartile mean over seeds
``<group>/cost/<unit>``                mean over seeds
=====================================  ==========================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summaries

from l2l_gail import stats
from l2l_gail.comparison.results import MethodResult, Section
from l2l_gail.comparison.tables import BASELINES, section_notes, section_tables
from l2l_gail.errors import InputError

__all__ = ["write_digest"]

_SUFFIX = ".l2l_gail"  # marks the event files that belong to the digest
_NOT_HYPERPARAMETERS = {"seed", "out", "resume", "device", "method"}
_CHARTS = {
    "gail": {"return": "true return", "length": "episode length"},
    "cifar": {"clean": "clean accuracy", "pgd20": "PGD-20 accuracy"},
}
_COSTS = {
    "gail": ("wall_s", "cpu_s"),
    "cifar": ("forward_equivalents", "wall_s", "cpu_s"),
}


def write_digest(folder: Path, sections: Sequence[Section], figure: Figure) -> None:
    """Write the digest, replacing the one that was there.

    Args:
        folder: Folder for the event files; other files in it are left alone.
        sections: What is compared.
        figure: Picture for the Images tab.
    """
    for old in folder.rglob(f"events.out.tfevents.*{_SUFFIX}"):
        old.unlink()
    _write_overview(folder, sections, figure)
    by_method: dict[str, list[tuple[Section, MethodResult]]] = defaultdict(list)
    for section in sections:
        for method in section.methods:
            by_method[method.method].append((section, method))
    settings = _hyperparameters(
        {name: [result for _, result in found] for name, found in by_method.items()}
    )
    metrics = sorted(
        {tag for found in by_method.values() for pair in found for tag, _ in _scores(*pair)}
    )
    for name, found in by_method.items():
        with _writer(folder / name) as writer:
            for section, method in found:
                _write_curves(writer, section, method)
                for tag, value in _scores(section, method):
                    writer.add_scalar(tag, value, _last_x(section))
            # The same keys and metrics for every run, or the HParams tab hides what differs.
            summaries = hparams_summaries(settings[name], dict.fromkeys(metrics, 0.0))
            for summary in summaries:
                writer.file_writer.add_summary(summary)
    _write_baselines(folder / "baselines", sections)


def _writer(folder: Path) -> SummaryWriter:
    return SummaryWriter(str(folder), filename_suffix=_SUFFIX)


def _write_overview(folder: Path, sections: Sequence[Section], figure: Figure) -> None:
    """Layout, tables and figure, once."""
    with _writer(folder) as writer:
        writer.add_custom_scalars({section.group: _layout(section) for section in sections})
        for section in sections:
            parts = [
                f"### {table.title}\n\n{table.as_markdown()}" for table in section_tables(section)
            ]
            text = "\n\n".join([*section_notes(section), *parts])
            writer.add_text(f"{section.group}/table", text, _last_x(section))
        writer.add_figure("comparison", figure, close=False)


def _layout(section: Section) -> dict[str, list[Any]]:
    """Charts of a section: all methods in one, with bands where some method has several seeds."""
    charts: dict[str, list[Any]] = {}
    for curve, title in _CHARTS[section.kind].items():
        tags = [f"{section.group}/{curve}/{part}" for part in ("iqm", "ci_low", "ci_high")]
        heading = f"{section.title}: {title} by {section.x_label}"
        charts[f"{heading} (IQM)"] = ["Multiline", tags[:1]]
        found = [method.curves[curve] for method in section.methods if curve in method.curves]
        if any(one.interval is not None for one in found):
            charts[f"{heading} (IQM, 95 % CI)"] = ["Margin", tags]
    return charts


def _write_curves(writer: SummaryWriter, section: Section, method: MethodResult) -> None:
    """Learning curves with their intervals."""
    for name, curve in method.curves.items():
        series = {"iqm": curve.iqm}
        if curve.interval is not None:
            series |= {"ci_low": curve.interval[0], "ci_high": curve.interval[1]}
        for part, values in series.items():
            for x, value in zip(curve.x, values, strict=True):
                writer.add_scalar(f"{section.group}/{name}/{part}", float(value), int(x))


def _scores(section: Section, method: MethodResult) -> Iterator[tuple[str, float]]:
    """Tag and value of every final score and cost."""
    finals = {"return": "eval_returns", "length": "eval_lengths"}
    if section.kind == "cifar":
        finals = {"clean": "clean", "pgd20": "pgd20"}
    for name, key in finals.items():
        yield f"{section.group}/final/{name}", method.final(key).value
    curves = method.normalised_returns if section.kind == "gail" else None
    if curves is not None:
        steps = method.curves["return"].x
        areas = [stats.area_under_curve(steps, curve) for curve in curves]
        falls = [stats.max_drawdown(curve) for curve in curves]
        tails = [stats.tail_std(curve) for curve in curves]
        for name, values in (
            ("area_under_curve", areas),
            ("max_drawdown", falls),
            ("tail_std", tails),
        ):
            yield f"{section.group}/final/{name}", float(stats.iqm(values))
    for key in _COSTS[section.kind]:
        yield f"{section.group}/cost/{key}", float(method.numbers(key).mean())


def _last_x(section: Section) -> int:
    """Step at which finished runs are shown."""
    key = "steps" if section.kind == "gail" else "epochs"
    return int(max(method.numbers(key).max() for method in section.methods))


def _write_baselines(folder: Path, sections: Sequence[Section]) -> None:
    """Level lines of the reference policies, as runs of their own."""
    for name, key in BASELINES.items():
        levels = [
            (section, level)
            for section in sections
            if section.kind == "gail" and (level := section.baseline(key)) is not None
        ]
        if not levels:
            continue
        with _writer(folder / name.replace(" ", "_")) as writer:
            for section, level in levels:
                for x in (0, _last_x(section)):
                    writer.add_scalar(f"{section.group}/return/iqm", level, x)


def _hyperparameters(
    methods: dict[str, list[MethodResult]],
) -> dict[str, dict[str, str | float]]:
    """Settings of each method, the same keys for all.

    A value that differs between a method's runs shows all its values; a key that some method
    lacks, or that is a number in one and a word in another, is a word in all.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for name, results in methods.items():
        collected: dict[str, list[Any]] = defaultdict(list)
        for result in results:
            for run in result.runs:
                try:
                    config = run.folder.read_config()
                except InputError:  # a summary alone is enough to be compared
                    continue
                for key, value in _flatten(config):
                    if key not in _NOT_HYPERPARAMETERS and value not in collected[key]:
                        collected[key].append(value)
        found[name] = collected
    keys = sorted({key for collected in found.values() for key in collected})
    settings: dict[str, dict[str, str | float]] = {name: {"method": name} for name in methods}
    for key in keys:
        values = {name: found[name].get(key, []) for name in methods}
        numeric = all(
            len(seen) == 1 and isinstance(seen[0], (int, float)) and not isinstance(seen[0], bool)
            for seen in values.values()
        )
        for name, seen in values.items():
            text = " | ".join(map(str, seen)) or "not set"
            settings[name][key] = float(np.float64(seen[0])) if numeric else text
    return settings


def _flatten(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` as ``("a.b", 1)``."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
