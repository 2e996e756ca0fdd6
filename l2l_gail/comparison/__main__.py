"""Compare all finished runs: ``python -m l2l_gail.compare runs/``.

Reads every ``summary.json`` below the folder, of both games, and writes ``<folder>/comparison/``:
``summary.md`` (tables), ``comparison.png`` (learning curves with 95 % intervals) and a TensorBoard
digest with one run for each method.  Of a seed that was run twice the newest run counts.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from l2l_gail.cli import parse, run_main
from l2l_gail.comparison import (
    Section,
    collect,
    draw_figure,
    section_notes,
    section_tables,
    write_digest,
)
from l2l_gail.errors import InputError
from l2l_gail.runs import atomic_write, find_runs

__all__ = ["compare", "main"]


@dataclass(frozen=True)
class Config:
    """Command line of the comparison."""

    runs: tyro.conf.Positional[str] = "runs"
    """Folder of the runs. The comparison is written to its folder "comparison"."""


EXPLANATION = """\
Scores are interquartile means (IQM) over training seeds, in brackets 95 % bootstrap intervals over
seeds. An interval from fewer than five seeds is narrower than its name says: it cannot leave the
range of the seeds. The normalised return is 0 for a random policy and 1 for the expert. Tail std is
the standard deviation of the normalised return over the last 10 evaluations of a run. Wall and CPU
seconds are means over seeds and hold for the machine of the runs. A forward-equivalent is the cost
of one forward pass of the classifier, per training image and step."""


def compare(root: str | Path) -> list[Section]:
    """Write the comparison of all finished runs below a folder.

    Args:
        root: Folder of runs; the comparison goes to its folder ``comparison``, where only files
            that an earlier comparison wrote are replaced.

    Returns:
        What was compared, a section for each environment or data set.

    Raises:
        InputError: No such folder, no finished run in it, or a damaged summary.
    """
    runs = find_runs(root)
    if not runs:
        raise InputError(
            f"no finished run below {root}: train first (make gail, make cifar), "
            "or give the folder that holds the runs"
        )
    sections = collect(runs)
    folder = Path(root) / "comparison"
    figure = draw_figure(sections)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    text = _summary(sections)
    write_digest(folder, sections, figure)
    atomic_write(folder / "comparison.png", picture.getvalue())
    atomic_write(folder / "summary.md", text)
    return sections


def _summary(sections: Sequence[Section]) -> str:
    """The Markdown page."""
    parts = ["# Comparison", EXPLANATION, "![learning curves](comparison.png)"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += section_notes(section)
        for table in section_tables(section):
            parts += [f"### {table.title}", table.as_markdown()]
        folders = [str(run.folder.path) for method in section.methods for run in method.runs]
        seeds = [
            f"{method.method}: {', '.join(map(str, method.seeds))}" for method in section.methods
        ]
        versions = sorted(
            {
                ", ".join(f"{name} {number}" for name, number in found.items())
                for method in section.methods
                for run in method.runs
                if isinstance(found := run.summary.get("versions"), dict)
            }
        )
        parts.append(f"Seeds of {len(folders)} runs: {'; '.join(seeds)}.")
        parts += [f"Versions: {line}." for line in versions]
    return "\n\n".join(parts) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Command line.

    Args:
        argv: Arguments; the process's own if None.

    Raises:
        InputError: Wrong arguments, or nothing to compare.
    """
    config = parse(
        Config,
        argv,
        prog="python -m l2l_gail.compare",
        description=(
            "Compare all finished runs below a folder: tables (summary.md), learning curves "
            "(comparison.png) and a TensorBoard digest with one run for each method. Of a seed "
            "that was run twice the newest run counts."
        ),
    )
    sections = compare(config.runs)
    for section in sections:
        for table in section_tables(section):
            print(table.as_text(), end="\n\n")
        for note in section_notes(section):
            print(note.replace("*", ""), end="\n\n")
    folder = Path(config.runs) / "comparison"
    print(f"Written: {folder / 'summary.md'}, {folder / 'comparison.png'}")
    print(f"TensorBoard: tensorboard --logdir {folder}")


if __name__ == "__main__":
    run_main(main)
