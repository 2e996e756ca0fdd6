"""The scalars of TensorBoard event files, read fast.

TensorBoard's own reader checks every byte's checksum in Python, which takes minutes on 200 runs;
here that is done for the points that are asked for.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_ndarray

from l2l_gail.errors import InputError
from l2l_gail.event_files import FOOTER, frames, which_are_whole
from l2l_gail.files import open_regular
from l2l_gail.stats import Floats

__all__ = ["read_scalars"]

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
    for _, record, checksum in frames(data):
        if len(checksum) < FOOTER:
            break
        # Most records are of other tags, and parsing is what takes time.
        if len(record) <= _WITHOUT_SUMMARY or wanted.search(record) is not None:
            records.append(record)
            checksums.append(checksum)
    whole = which_are_whole(records, checksums)
    for record in itertools.compress(records, whole):
        try:
            yield Event.FromString(record)
        except Exception:  # protobuf's own class differs between its implementations
            return
