"""The table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from l2l_gail.cli import format_table

__all__ = ["results_table"]

_HEADER = (
    "method",
    "clean",
    "PGD-20",
    "best clean",
    "best PGD-20",
    "forwards",
    "wall s",
    "CPU s",
    "gain",
    "FGSM gain",
    "moved",
)

_LEGEND = """\
clean, PGD-20: % of {eval_images:,} test images, after the last epoch
best:          the same, of the epoch that was best on {held_out_images:,} held-out images
forwards:      cost of a training step per image, in passes through the classifier
gain:          by how much the learned attacker raises the mean loss on the test images, in nats
FGSM gain:     the same for one step along the gradient's sign, same classifier
moved:         distance of the attacker's weights from where they began, relative to their norm"""


def results_table(summaries: Sequence[dict[str, Any]]) -> str:
    """Return the runs side by side, titled by their data, with a legend.

    Args:
        summaries: Contents of the runs' ``summary.json``; all on the same data.
    """
    first = summaries[0]
    rows = [_row(summary) for summary in summaries]
    title = f"{first['data']}, seed {first['seed']}, {first['epochs']} epochs"
    return f"{title}\n{format_table(_HEADER, rows)}\n{_LEGEND.format(**first)}"


def _row(summary: dict[str, Any]) -> list[str]:
    return [
        summary["method"],
        _percent(summary["clean"]),
        _percent(summary["pgd20"]),
        _percent(summary["clean_best"]),
        _percent(summary["pgd20_best"]),
        f"{summary['forward_equivalents']:.1f}",
        f"{summary['wall_s']:.0f}",
        f"{summary['cpu_s']:.0f}",
        _optional(summary["attack_gain_l2l"]),
        f"{summary['attack_gain_fgsm']:.3f}",
        _optional(summary["attacker_moved"]),
    ]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _optional(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
