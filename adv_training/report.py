"""The table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from l2l_gail.errors import InputError
from l2l_gail.text_table import format_table

__all__ = ["results_table"]

_HEADER = (
    "method",
    "clean",
    "PGD-20",
    "robust",
    "best clean",
    "best robust",
    "forwards",
    "wall s",
    "CPU s",
    "gain",
    "FGSM gain",
    "moved",
)

_NAMED = ("method", "seed")
_SIZES = ("train_images", "held_out_images", "eval_images")

_LEGEND = """\
clean, PGD-20: % of {eval_images:,} test images, after the last epoch
robust:        the standing measure, PGD on the margin and on sharpened cross-entropy
best:          the same, of the epoch that was best on {held_out_images:,} held-out images
forwards:      cost of a training step per image, in passes through the classifier
gain:          by how much the learned attacker raises the mean loss on the test images, in nats;
               one that remembers images: on as many training images, as it knows no others
FGSM gain:     the same for one step along the gradient's sign, same images, same classifier
moved:         distance of the attacker's weights from where they began, relative to their norm"""


def results_table(summaries: Sequence[dict[str, Any]]) -> str:
    """Return the methods side by side, the cheapest first, titled by their data, with a legend.

    A method that has several seeds has their mean, and for the accuracies the standard deviation
    (``n - 1``) after it. Runs of a method that differ in a setting are rows of their own, named by
    what differs.

    Args:
        summaries: Contents of the runs' ``summary.json``; all on the same data, in any order.

    Raises:
        InputError: A run is there twice.
    """
    first = summaries[0]
    by_method: dict[str, list[dict[str, Any]]] = {}
    for summary in sorted(summaries, key=lambda summary: summary["forward_equivalents"]):
        by_method.setdefault(summary["method"], []).append(summary)
    seeds, lengths = (sorted({summary[key] for summary in summaries}) for key in ("seed", "epochs"))
    named = f"seed {seeds[0]}" if len(seeds) == 1 else f"mean of seeds {', '.join(map(str, seeds))}"
    title = f"{first['data']}, {named}, {', '.join(map(str, lengths))} epochs"
    rows = [
        _row(name, runs)
        for method, found in by_method.items()
        for name, runs in _by_settings(method, found).items()
    ]
    return f"{title}\n{format_table(_HEADER, rows)}\n{_LEGEND.format(**first)}"


def _by_settings(
    method: str, summaries: Sequence[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of a method that are seeds of one another, by the method and what differs."""
    chosen = [_settings(summary) for summary in summaries]
    known = [key for key in chosen[0] if all(key in other for other in chosen)]  # to all versions
    differing = [key for key in known if any(other[key] != chosen[0][key] for other in chosen)]
    groups: dict[str, list[dict[str, Any]]] = {}
    for summary, settings in zip(summaries, chosen, strict=True):
        name = " ".join([method, *(f"{key}={settings[key]}" for key in differing)])
        group = groups.setdefault(name, [])
        if any(summary["seed"] == other["seed"] for other in group):
            raise InputError(f"seed {summary['seed']} of {name} is there twice; give each run once")
        group.append(summary)
    return groups


def _settings(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what a run was trained with, and on how many images, besides its method and seed."""
    settings = {k: v for k, v in summary.get("settings", {}).items() if k not in _NAMED}
    return settings | {k: v for k, v in summary.items() if k in _SIZES}


def _row(name: str, runs: Sequence[dict[str, Any]]) -> list[str]:
    accuracies = ("clean", "pgd20", "robust", "clean_best", "robust_best")
    return [
        name,
        *(_percent([run.get(key) for run in runs]) for key in accuracies),
        _mean([run["forward_equivalents"] for run in runs], 1),
        _mean([run["wall_s"] for run in runs], 0),
        _mean([run["cpu_s"] for run in runs], 0),
        _mean([run["attack_gain_l2l"] for run in runs], 3),
        _mean([run["attack_gain_fgsm"] for run in runs], 3),
        _mean([run["attacker_moved"] for run in runs], 3),
    ]


def _percent(fractions: Sequence[float | None]) -> str:
    known = [value for value in fractions if value is not None]  # 0.1.0 noted no robust accuracy
    if not known:
        return "-"
    mean = f"{100 * fmean(known):.1f}"
    return mean if len(known) == 1 else f"{mean} ± {100 * stdev(known):.1f}"


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):.{digits}f}" if known else "-"
