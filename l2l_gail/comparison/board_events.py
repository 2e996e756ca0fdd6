"""A board in TensorBoard: one run for each method and reference policy, the same tags in each.

In TensorBoard a colour belongs to a run.  With one run for each method and identical tags, every
chart overlays the methods in their colours.  Tags are numbered, since TensorBoard sorts them: the
true return comes first, then stability, then cost, then what the game's players did.  Numbers that
are one for each method stand in the Text and HParams tabs and in pictures, not in charts.

The order of runs in TensorBoard, and with it their colours, follows the time of each run's first
event; torch's writer always stamps the present, so the event files of a board are written here.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import custom_scalars
from torch.utils.tensorboard.summary import hparams as hparams_summaries
from torch.utils.tensorboard.summary import text as text_summary

from l2l_gail.comparison.boards import PALETTE, Board, folder_name, folder_names
from l2l_gail.comparison.hparams import hyperparameters
from l2l_gail.comparison.reading import TRACES
from l2l_gail.comparison.results import MethodResult
from l2l_gail.comparison.scores import CURVES, CurveTag
from l2l_gail.finding_runs import OVERVIEW

__all__ = [
    "EventFile",
    "Picture",
    "next_name",
    "remove_boards",
    "started_at",
    "trace_tag",
    "write_board",
]

_SUFFIX = ".l2l_gail"  # of every event file that belongs to a comparison
_DIGITS = 20  # of the names of event files
_OWN_HEADINGS = ("rule", "tracking")


@dataclass(frozen=True)
class Picture:
    """An encoded image, PNG or GIF.

    Attributes:
        tag: Where it stands in the Images tab, which is sorted by it.
        data: The file.
        size: Width and height in pixels.
    """

    tag: str
    data: bytes
    size: tuple[int, int]

    @property
    def mime(self) -> str:
        """Media type."""
        return "image/gif" if self.data.startswith(b"GIF") else "image/png"


class EventFile:
    """The event file of one run of a board.

    Args:
        folder: Folder of the run, made if it is missing.
        started: Unix time of its first event: runs are listed, and coloured, in this order.
        name: Distinguishes files; later files must sort after earlier ones.
    """

    def __init__(self, folder: Path, started: float, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._time = started
        path = folder / f"events.out.tfevents.{name}{_SUFFIX}"
        self._records = RecordWriter(path.open("wb"))
        self._write(Event(file_version="brain.Event:2"))
        # Whatever an earlier comparison showed is to be forgotten by a TensorBoard that is open.
        self._write(Event(step=0, session_log=SessionLog(status=SessionLog.START)))

    def scalar(self, tag: str, step: float, value: float) -> None:
        """Write one point of a curve."""
        self.scalars(step, {tag: value})

    def scalars(self, step: float, values: Mapping[str, float]) -> None:
        """Write a point of each of several curves, by their tags."""
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self.summary(Summary(value=points), int(step))

    def picture(self, tag: str, data: bytes, size: tuple[int, int]) -> None:
        """Write an encoded image, PNG or GIF, of ``size`` (width, height)."""
        image = Summary.Image(
            width=size[0], height=size[1], colorspace=3, encoded_image_string=data
        )
        self.summary(Summary(value=[Summary.Value(tag=tag, image=image)]))

    def summary(self, summary: Summary, step: int = 0) -> None:
        """Write any summary."""
        self._write(Event(step=step, summary=summary))

    def close(self) -> None:
        """Write what is still in memory."""
        self._records.close()

    def _write(self, event: Event) -> None:
        event.wall_time = self._time
        self._records.write(event.SerializeToString())


def next_name(folder: Path) -> str:
    """Return a name for event files that sorts after those of earlier comparisons in a folder.

    It is the time, unless a comparison by a clock that is ahead of this one wrote there: who reads
    while both are there would take the earlier one for what stands.
    """
    pattern = re.compile(rf"events\.out\.tfevents\.(\d{{{_DIGITS}}}){re.escape(_SUFFIX)}")
    names = (pattern.fullmatch(path.name) for path in folder.rglob(f"events.out.*{_SUFFIX}"))
    newest = max((int(found[1]) for found in names if found), default=-1)
    return f"{max(time.time_ns(), newest + 1):0{_DIGITS}d}"


def remove_boards(folder: Path, *, keep: str = "", only: str = "") -> None:
    """Remove what comparisons wrote for TensorBoard, and nothing else.

    Args:
        folder: Folder of the comparison.
        keep: The name that a comparison gave its event files, which stay.
        only: The name of the one whose event files go; of all others by default.
    """
    for old in list(folder.rglob(f"events.out.tfevents.*{_SUFFIX}")):
        if only in old.name and (not keep or keep not in old.name):
            old.unlink()
            parent = old.parent
            while parent != folder and not any(parent.iterdir()):
                parent.rmdir()
                parent = parent.parent


def write_board(
    folder: Path, board: Board, name: str, text: str, pictures: Sequence[Picture]
) -> None:
    """Write the event files of a board.

    Args:
        folder: Folder of the board.
        board: What it shows.
        name: Name of the event files; those of a later comparison sort after it, so that a
            TensorBoard that is open follows.
        text: Its tables, Markdown, for the Text tab.
        pictures: For the Images tab.
    """
    started = started_at(board.methods)
    runs = iter(range(len(board.colours)))  # one second apart: the order of the colours
    for reference, level in board.references.items():
        events = EventFile(folder / folder_name(reference), started + next(runs), name)
        _write_level(events, board, level)
        events.close()
    # The same keys and metrics for every run, or the HParams tab hides what differs: also for those
    # on the section's other boards.
    everyone = board.section.methods
    settings = hyperparameters(everyone)
    metrics = [
        curve.tag
        for curve in CURVES[board.section.kind]
        if _is_metric(curve.tag) and any(curve.series(one) for one in everyone)
    ]
    folders = folder_names([method.method for method in board.methods])
    for method in board.methods:
        events = EventFile(folder / folders[method.method], started + next(runs), name)
        _write_method(events, method, with_ends=_has_band(board))
        for summary in hparams_summaries(settings[method.method], dict.fromkeys(metrics, 0.0)):
            events.summary(summary)
        events.close()
    overview = EventFile(folder / OVERVIEW, started + len(PALETTE), name)
    overview.summary(custom_scalars(_layout(board)))
    overview.summary(text_summary("comparison", text))
    for picture in pictures:
        overview.picture(picture.tag, picture.data, picture.size)
    overview.close()


def started_at(methods: Sequence[MethodResult]) -> float:
    """When the first run of some methods began: the same in every comparison.

    A TensorBoard that is open keeps the times that it has read, and the order of runs with them.
    """
    begun = []
    for method in methods:
        for run in method.runs:
            for name in ("config.json", "summary.json"):
                with contextlib.suppress(OSError):  # not there, or deleted since it was read
                    begun.append((run.folder.path / name).stat().st_mtime)
    return min(begun, default=0.0)


def _has_band(board: Board) -> bool:
    """Whether some method has an interval; then all have its tags, or charts miss them."""
    curves = [curve for method in board.methods for curve in method.curves.values()]
    return any(curve.interval is not None for curve in curves)


def _write_method(events: EventFile, method: MethodResult, *, with_ends: bool) -> None:
    """All curves of a method."""
    at: dict[int, dict[str, float]] = {}  # an event for each point would take most of the time
    for curve in CURVES[method.kind]:
        series = curve.series(method)
        if series is None or ("CI" in curve.tag and not with_ends):
            continue
        for x, y in zip(series.x, series.y, strict=True):
            at.setdefault(int(x), {})[curve.tag] = float(y)
    for tag, trace in method.traces.items():
        shown = trace_tag(method.kind, tag)
        for x, y in zip(trace.x, trace.iqm, strict=True):
            at.setdefault(int(x), {})[shown] = float(y)
    for step in sorted(at):
        events.scalars(step, at[step])


def trace_tag(kind: str, tag: str) -> str:
    """Where a board shows what a run logged by this tag.

    A page of TensorBoard holds twelve charts: what the rule does, and how far the discriminator is
    from its optimum, have headings of their own, in the order of the table.
    """
    name = TRACES[kind][tag]
    who, _, what = name.partition(": ")
    if who not in _OWN_HEADINGS:
        return f"4 players/{name}"
    alike = [each for each in TRACES[kind].values() if each.startswith(f"{who}: ")]
    return f"4 {who}/{ascii_lowercase[alike.index(name)]} {what}"


def _write_level(events: EventFile, board: Board, level: float) -> None:
    """A reference policy's return as a level line, wherever the return is drawn."""
    for curve in _band_of(board) if _has_band(board) else _band_of(board)[:1]:
        found = [s for method in board.methods if (s := curve.series(method)) is not None]
        if found:
            for x in (0, max(series.x[-1] for series in found)):
                events.scalar(curve.tag, x, level)


def _band_of(board: Board) -> list[CurveTag]:
    """The first curve of a game and the ends of its interval."""
    curves = CURVES[board.section.kind]
    return [curves[0], *(curve for curve in curves if "CI" in curve.tag)]


def _is_metric(tag: str) -> bool:
    """Whether the last value of a curve says something about a whole run."""
    return not tag.startswith("3 ") and "CI" not in tag


def _layout(board: Board) -> dict[str, dict[str, list[object]]]:
    """A chart with all methods, and with bands where some method has several seeds."""
    what = "true return" if board.section.kind == "gail" else "PGD-20 accuracy"
    title = f"{what} by {board.section.x_label}: IQM"
    tags = [curve.tag for curve in _band_of(board)]
    if _has_band(board):
        return {board.title: {f"{title}, 95 % CI": ["Margin", tags]}}
    return {board.title: {title: ["Multiline", tags[:1]]}}
