"""TensorBoard files of a run that may be gone on with: every point once, none of a lost future."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from torch.utils.tensorboard import SummaryWriter

__all__ = ["continued_writer"]


def continued_writer(folder: Path, keep: Callable[[str, int], bool]) -> SummaryWriter:
    """Open a run's event file, with what earlier sittings have written up to their checkpoint.

    A process that is killed has often written more than its last checkpoint knows of, and the next
    one writes that again. TensorBoard's own remedy, ``purge_step``, counts one kind of step for all
    tags, and goes by the files' times, which a clock that is set back turns around. So what is
    still true is copied to the new file, and the old ones are removed.

    Args:
        folder: The run's folder.
        keep: Whether the point of a tag at a step still stands.

    Returns:
        The writer of the folder's only event file.
    """
    earlier = sorted(folder.glob("events.out.tfevents.*"))
    writer = SummaryWriter(str(folder))
    file_writer = writer._get_file_writer()
    seen: set[tuple[str, int]] = set()
    for path in earlier:
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            points = [(value, (value.tag, event.step)) for value in event.summary.value]
            kept = [value for value, at in points if at not in seen and keep(*at)]
            seen.update(at for _, at in points if keep(*at))
            del event.summary.value[:]
            event.summary.value.extend(kept)
            if kept:
                file_writer.add_event(event, event.step, event.wall_time)
    writer.flush()
    for path in earlier:
        path.unlink()
    return writer
