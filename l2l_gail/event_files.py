"""TensorBoard files of a run that may be gone on with: every point once, none of a lost future."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from torch.utils.tensorboard import FileWriter, SummaryWriter

from l2l_gail.errors import InputError
from l2l_gail.files import open_regular
from l2l_gail.files.writing import not_written

__all__ = ["FOOTER", "continued_writer", "frames", "is_whole", "last_step", "which_are_whole"]

FOOTER = 4
"""Bytes of a record's checksum, which follows it."""

_HEADER = 12  # length of the record, 8 bytes, and that length's checksum
_CASTAGNOLI = np.uint32(0x82F63B78)  # CRC-32C's polynomial, its bits reversed
_WORTH_AN_ARRAY = 24  # records of one length


def continued_writer(folder: Path, keep: Callable[[str, int], bool]) -> SummaryWriter:
    """Open a run's event file, with what earlier sittings have written up to their checkpoint.

    A process that is killed has often written more than its last checkpoint knows of, and the next
    one writes that again. TensorBoard's own remedy, ``purge_step``, counts one kind of step for all
    tags, and goes by the files' times, which a clock that is set back turns around. So what is
    still true is copied to the new file, and the old ones are removed. A record that does not fit
    its checksum is left out, with a warning, and the file that held it is kept under another name;
    half a record at a file's end is what a kill leaves.

    Args:
        folder: The run's folder.
        keep: Whether the point of a tag at a step still stands.

    Returns:
        The writer of the folder's only event file; where a point cannot be written, on a full disk
        say, that is an ``InputError``.

    Raises:
        InputError: An event file cannot be read, or the new one cannot be written.
    """
    earlier = sorted(folder.glob("events.out.tfevents.*"))
    writer = _Writer(str(folder))
    try:
        damaged = _copy(earlier, writer, keep)
    except InputError:
        writer.close()
        writer.events.path.unlink(missing_ok=True)  # the earlier ones are all there
        raise
    for path in earlier:
        if path in damaged:
            kept_as = path.with_name(path.name.replace("tfevents", "damaged"))
            warnings.warn(
                f"{path} is damaged, and some of its points are lost: kept as {kept_as.name}",
                stacklevel=2,
            )
            path.replace(kept_as)
        else:
            path.unlink()
    return writer


def _copy(
    earlier: Sequence[Path], writer: SummaryWriter, keep: Callable[[str, int], bool]
) -> list[Path]:
    """Write what still stands of some event files, each point once; return the damaged ones."""
    damaged: list[Path] = []
    file_writer = writer._get_file_writer()
    seen: set[tuple[str, int]] = set()
    for path in earlier:
        found: set[tuple[str, int]] = set()
        for record in _records(path):
            if record is None:
                damaged.append(path)
                continue
            event = Event.FromString(record)
            kept = [value for value in event.summary.value if keep(value.tag, event.step)]
            kept = [value for value in kept if (value.tag, event.step) not in seen]
            found.update((value.tag, event.step) for value in kept)
            del event.summary.value[:]
            event.summary.value.extend(kept)
            if kept:
                file_writer.add_event(event, event.step, event.wall_time)
        seen |= found  # two files hold a point alike where a copying like this one was cut off
    return damaged


def last_step(folder: Path) -> int:
    """Return the last step at which a run's event files hold a point; 0 where they hold none.

    Raises:
        InputError: An event file cannot be read.
    """
    events = (
        Event.FromString(record)
        for path in folder.glob("events.out.tfevents.*")
        for record in _records(path)
        if record is not None
    )
    return max((event.step for event in events if event.summary.value), default=0)


class _Events:
    """An event file that is written record by record, each whole or not at all.

    TensorBoard's own writes in a thread, where a full disk ends in a traceback that nobody can
    catch.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        begun = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        for number in itertools.count():
            self.path = Path(folder) / f"{begun}.{number}"
            try:
                self._file = open(self.path, "xb", buffering=0)
                break
            except FileExistsError:
                continue
            except OSError as error:
                raise not_written(self.path, error) from None
        try:
            self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))
        except InputError:
            self.close()
            self.path.unlink(missing_ok=True)
            raise

    def get_logdir(self) -> str:
        """The folder."""
        return self._folder

    def add_event(self, event: Event) -> None:
        """Write an event.

        Raises:
            InputError: It cannot be written; the file is as it was.
        """
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        left = memoryview(
            length
            + struct.pack("<I", masked_crc32c(length))
            + data
            + struct.pack("<I", masked_crc32c(data))
        )
        start = self._file.tell()
        try:
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(start)
                self._file.seek(start)
            raise not_written(self.path, error) from None

    def flush(self) -> None:
        """Nothing waits to be written."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Writer(SummaryWriter):
    """A ``SummaryWriter`` whose failures are one line."""

    events: _Events
    file_writer: Any
    all_writers: Any

    def _get_file_writer(self) -> Any:
        if self.file_writer is None:
            self.events = _Events(self.log_dir)
            writer = FileWriter.__new__(FileWriter)  # its __init__ starts the thread
            writer.event_writer = self.events
            self.file_writer, self.all_writers = writer, {self.log_dir: writer}
        return self.file_writer


def _records(path: Path) -> Iterator[bytes | None]:
    """The records of an event file; ``None`` for one that is damaged."""
    with open_regular(path) as file:
        data = file.read()
    for header, record, checksum in frames(data):
        if not is_whole(header[:8], header[8:]):
            yield None  # nobody knows where the next one begins
            return
        if len(checksum) < FOOTER:
            return
        yield record if is_whole(record, checksum) else None


def frames(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield header, record and checksum of each record of an event file.

    The header is the record's length, 8 bytes, and the checksum of these. Nothing is checked; where
    the file ends within a record, that record's checksum has less than :data:`FOOTER` bytes.
    """
    place = 0
    while place + _HEADER + FOOTER <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        start = place + _HEADER
        end = start + length
        yield data[place:start], data[start:end], data[end : end + FOOTER]
        place = end + FOOTER


def is_whole(record: bytes, checksum: bytes) -> bool:
    """Return whether a record fits the four bytes that follow it in an event file."""
    return struct.pack("<I", masked_crc32c(record)) == checksum


def which_are_whole(records: Sequence[bytes], checksums: Sequence[bytes]) -> list[bool]:
    """Return :func:`is_whole` of each record, of many short ones in a fraction of the time.

    Records of one length are gone through side by side, byte by byte.
    """
    found = [False] * len(records)
    by_length: dict[int, list[int]] = {}
    for place, record in enumerate(records):
        by_length.setdefault(len(record), []).append(place)
    for length, places in by_length.items():
        if len(places) < _WORTH_AN_ARRAY:
            for place in places:
                found[place] = is_whole(records[place], checksums[place])
            continue
        joined = b"".join(records[place] for place in places)
        columns = np.frombuffer(joined, np.uint8).reshape(len(places), length).T.copy()
        expected = np.frombuffer(b"".join(checksums[place] for place in places), "<u4")
        for place, whole in zip(places, _masked_crc32c(columns) == expected, strict=True):
            found[place] = bool(whole)
    return found


def _masked_crc32c(columns: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Checksums ``(n,)`` of n records whose bytes are columns: ``(length, n)``.

    Masked as in every TFRecord file: rotated right by fifteen bits, plus a constant.
    """
    crc = np.full(columns.shape[1], 0xFFFFFFFF, np.uint32)
    for column in columns:
        crc = _crc_table()[(crc ^ column) & 0xFF] ^ (crc >> np.uint32(8))
    crc = ~crc
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)


@cache
def _crc_table() -> NDArray[np.uint32]:
    """What a byte does to a checksum: ``(256,)``."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ _CASTAGNOLI, table >> np.uint32(1))
    return table
