"""TensorBoard event files: their scalars read fast, and files written with times of our choosing.

TensorBoard's own reader checks every byte's checksum in Python, which takes minutes on 200 runs;
here that is done for the points that are asked for.
The order of runs in TensorBoard, and with it their colours, follows the time of each run's first
event; torch's writer always stamps the present, so the files of a board are written here.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_ndarray

from l2l_gail.errors import InputError
from l2l_gail.event_files import which_are_whole
from l2l_gail.files import open_regular
from l2l_gail.stats import Floats

__all__ = ["SUFFIX", "EventFile", "read_scalars"]

SUFFIX = ".l2l_gail"
"""Ending of every event file that belongs to a comparison."""

_HEADER = 12  # length of the record, 8 bytes, and that length's checksum
_FOOTER = 4  # checksum of the record
_WITHOUT_SUMMARY = 32  # bytes: an event of this length may be the start of a session


def read_scalars(folder: Path, tags: Collection[str]) -> dict[str, tuple[Floats, Floats]]:
    """Read scalars of one run from all its event files.

    Args:
        folder: The run's folder; folders inside it are not looked into.
        tags: What to read.

    Returns:
        Steps and finite values by tag, ``(T,)`` each, steps increasing; of a step that was logged
        twice the later value counts, and what a resumed run forgets is forgotten. Tags that are
        not there, damaged points, and a file's unfinished end, are left out. Of a folder that was
        deleted meanwhile there are none.
    """
    found: dict[str, dict[int, float]] = {}
    wanted = re.compile(b"|".join(re.escape(tag.encode()) for tag in tags))
    files: list[Path] = []
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("events.out.tfevents.*"))
    for path in files:
        for event in _events(path, wanted):
            if event.session_log.status == SessionLog.START:
                for series in found.values():
                    for step in [step for step in series if step >= event.step]:
                        del series[step]
            for value in event.summary.value:
                if value.tag in tags and np.isfinite(number := _number(value)):
                    found.setdefault(value.tag, {})[event.step] = number
    return {
        tag: (np.array(sorted(series), float), np.array([series[x] for x in sorted(series)]))
        for tag, series in found.items()
        if series
    }


def _number(value: Summary.Value) -> float:
    """The number in a summary, NaN where there is none."""
    if value.WhichOneof("value") != "tensor":
        return float(value.simple_value)
    try:
        return float(make_ndarray(value.tensor))
    except (TypeError, ValueError):  # a tensor whose parts do not fit each other
        return math.nan


def _events(path: Path, wanted: re.Pattern[bytes]) -> Iterator[Event]:
    """The events of a file that hold a pattern or no summary, up to the first that is not whole."""
    try:
        with open_regular(path) as file:
            data = file.read()
    except InputError:
        return
    records, checksums = [], []
    place = 0
    while place + _HEADER + _FOOTER <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        start = place + _HEADER
        place = start + length + _FOOTER
        if place > len(data):
            break
        record = data[start : start + length]
        # Most records are of other tags, and parsing is what takes time.
        if length <= _WITHOUT_SUMMARY or wanted.search(record) is not None:
            records.append(record)
            checksums.append(data[start + length : place])
    whole = which_are_whole(records, checksums)
    for record in itertools.compress(records, whole):
        try:
            yield Event.FromString(record)
        except Exception:  # protobuf's own class differs between its implementations
            return


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
        path = folder / f"events.out.tfevents.{name}{SUFFIX}"
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
