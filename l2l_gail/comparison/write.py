"""From a folder of runs to the comparison's files."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from l2l_gail.comparison.board_events import (
    Picture,
    next_name,
    remove_boards,
    started_at,
    write_board,
)
from l2l_gail.comparison.boards import Board, boards_of
from l2l_gail.comparison.distributions import draw_learning_rates, draw_profiles
from l2l_gail.comparison.figures import board_figures, draw_figure, score_figures
from l2l_gail.comparison.grouping import collect, sound
from l2l_gail.comparison.media import adversarial_pictures, videos
from l2l_gail.comparison.reading import find
from l2l_gail.comparison.report import report
from l2l_gail.comparison.results import Section
from l2l_gail.comparison.single_runs import runs_board_name, write_runs_board
from l2l_gail.comparison.tables import section_notes, section_tables
from l2l_gail.errors import InputError
from l2l_gail.files import atomic_write, home_expanded
from l2l_gail.files.locks import holder_of, locked
from l2l_gail.finding_runs import COMPARISON

__all__ = ["EXPLANATION", "compare"]

_BOARDS_DRAWN = 6  # of a section, each with some methods: more pictures than anybody leafs through
_WAIT_S = 30.0  # for another comparison's writing, which takes a few seconds

EXPLANATION = """\
Scores are interquartile means (IQM) over training seeds, in brackets 95 % bootstrap intervals over
seeds. An interval from fewer than five seeds is narrower than its name says: it cannot leave the
range of the seeds. Runs that differ in any setting, or in length, are methods of their own, and
nothing is averaged across them. The normalised return is 0 for a random policy and 1 for the
expert. Tail std is the standard deviation of the normalised return over the last 10 evaluations of
a run. Wall and CPU seconds are means over seeds and hold for the machine of the runs. A
forward-equivalent is the cost of one forward pass of the classifier, per training image and
step."""


def compare(
    root: str | Path, *, record_videos: bool = False, tell: Callable[[str], None] | None = None
) -> list[Section]:
    """Write the comparison of all runs below a folder.

    Args:
        root: Folder of runs; the comparison goes to its folder ``comparison``, where only files
            that an earlier comparison wrote are replaced.
        record_videos: Record the policies of one run of each method into that run's folder, where
            it has no videos yet.
        tell: Takes each sentence on what is left out.

    Returns:
        What was compared, a section for each environment or data set.

    Raises:
        InputError: No such folder, no run in it that has measured something, all damaged, no
            place to write, or one where another comparison is writing for too long.
    """
    root = home_expanded(root)
    found = find(root)
    try:
        finished = sound(found.finished, found.notes)
    except InputError:
        if not found.unfinished:
            raise
        finished = []
    if tell is not None:
        for note in found.notes:
            tell(note)
    sections = collect(finished, found.unfinished)
    if not sections:
        raise InputError(f"no finished run below {root}: {_why_none(found.notes)}")
    folder = root / COMPARISON
    with _writing(folder), tempfile.TemporaryFile(dir=folder if os.path.isdir(folder) else root):
        pass  # before all the work
    boards = {section.group: boards_of(section) for section in sections}
    every = [board for section in sections for board in boards[section.group]]
    filmed, film_notes = videos(every, record=record_videos)
    notes = [*found.notes, *film_notes]
    pictures: dict[str, list[Picture]] = {}
    drawn: list[Board] = []
    for section in sections:
        of_section = boards[section.group]
        drawn += of_section[:_BOARDS_DRAWN]
        notes += _not_drawn(of_section)
        for board in of_section:
            shown = list(filmed.get(board.name, []))
            if board.number <= _BOARDS_DRAWN:
                attacked, attacked_notes = adversarial_pictures(board)
                notes += attacked_notes
                shown += _board_pictures(board) + attacked
            if board.number == 1:
                shown += _section_pictures(section, of_section)
            pictures[board.name] = sorted(shown, key=lambda picture: picture.tag)
    overall = _encode("comparison", draw_figure(drawn), dpi=120).data
    page = report(sections, boards, pictures, EXPLANATION, notes)
    with _alone(folder):
        name = next_name(folder)
        with _writing(folder):
            with _whole_or_none(folder, name):
                for section in sections:
                    text = _section_text(section, notes)
                    for board in boards[section.group]:
                        write_board(folder / board.name, board, name, text, pictures[board.name])
                    if section.finished:
                        started = started_at(section.finished)
                        write_runs_board(folder / runs_board_name(section), section, name, started)
            remove_boards(folder, keep=name)
        atomic_write(folder / "comparison.png", overall)
        atomic_write(folder / "index.html", page)
        atomic_write(folder / "summary.md", _summary(sections, notes))
    return sections


def _why_none(notes: Sequence[str]) -> str:
    """Why there is nothing to compare, and what to do: there may be runs that were left out."""
    notes = [note for note in notes if note.startswith("Left out: ")]
    if not notes:
        return "train first (make gail, make cifar), or give the folder that holds the runs"
    more = f" (and {len(notes) - 1} more)" if len(notes) > 1 else ""
    reason = notes[0].removeprefix("Left out: ").removesuffix(".")
    return f"{reason}{more}; compare again when that has changed, or give another folder"


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say in one line why nothing can be written in a folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way_out = "copy the runs, or link them, into a folder of yours"
        raise InputError(
            f"the comparison cannot be written in {folder} ({reason}): "
            f"{'free some space, or ' * is_full}{way_out}"
        ) from None


@contextlib.contextmanager
def _whole_or_none(folder: Path, name: str) -> Iterator[None]:
    """Take away what was written of the boards if not all of them can be: earlier ones stay."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            remove_boards(folder, only=name)
        raise


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Have the folder of a comparison to oneself, after a short wait for who is writing there.

    Two that wrote at once would each remove the other's boards as those of an earlier comparison.
    """
    lock = folder / ".lock"
    with contextlib.ExitStack() as stack:
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(locked(lock, wait_s=_WAIT_S, named=True))
            except BlockingIOError:
                raise InputError(
                    f"another comparison ({holder_of(lock)}) is writing in {folder}: compare again "
                    "when it is done"
                ) from None
        yield


def _not_drawn(boards: Sequence[Board]) -> list[str]:
    """Where to find what is not in the pictures of a section."""
    if len(boards) <= _BOARDS_DRAWN:
        return []
    place = boards[0].section.title
    return [
        f"{place} has {len(boards)} boards of methods. Pictures are drawn for the "
        f"first {_BOARDS_DRAWN}; the curves of the others are in TensorBoard's Time Series."
    ]


def _board_pictures(board: Board) -> list[Picture]:
    """Pictures of the methods on one board."""
    figures = board_figures(board)
    for note, profiles in draw_profiles(board).items():
        figures[f"5 scores (pictures)/x performance profile{note}"] = profiles
    return [_encode(tag, figure) for tag, figure in figures.items()]


def _section_pictures(section: Section, boards: Sequence[Board]) -> list[Picture]:
    """Pictures of all methods of a section."""
    figures = score_figures(boards)
    rates = draw_learning_rates(section)
    if rates is not None:
        figures["5 scores (pictures)/y by learning rate"] = rates
    return [_encode(tag, figure) for tag, figure in figures.items()]


def _encode(tag: str, figure: Figure, dpi: int = 160) -> Picture:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    width, height = figure.get_size_inches()
    return Picture(tag, file.getvalue(), (round(dpi * width), round(dpi * height)))


def _section_text(section: Section, notes: Sequence[str]) -> str:
    """A section for the Text tab."""
    tables = [f"### {table.title}\n\n{table.as_markdown()}" for table in section_tables(section)]
    return "\n\n".join([*section_notes(section), *notes, *tables, EXPLANATION])


def _summary(sections: Sequence[Section], notes: Sequence[str]) -> str:
    """The Markdown page."""
    parts = ["# Comparison", EXPLANATION, *notes, "![learning curves](comparison.png)"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += section_notes(section)
        for table in section_tables(section):
            parts += [f"### {table.title}", table.as_markdown()]
        runs = [run for method in section.methods for run in method.runs]
        seeds = [
            f"{method.method}: {', '.join(map(str, method.seeds))}" for method in section.methods
        ]
        versions = sorted(
            {
                ", ".join(f"{name} {number}" for name, number in found.items())
                for run in runs
                if isinstance(found := run.summary.get("versions"), dict)
            }
        )
        parts.append(f"Seeds of {len(runs)} runs: {'; '.join(seeds)}.")
        parts += [f"Versions: {line}." for line in versions]
    return "\n\n".join(parts) + "\n"
