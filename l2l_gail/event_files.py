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
        found: set[tuple[str, int]] = set()
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            kept = [value for value in event.summary.value if keep(value.tag, event.step)]
            kept = [value for value in kept if (value.tag, event.step) not in seen]
            found.update((value.tag, event.step) for value in kept)
            del event.summary.value[:]
            event.summary.value.extend(kept)
            if kept:
                file_writer.add_event(event, event.step, event.wall_time)
        seen |= found  # two files hold a point alike where a copying like this one was cut off
    writer.flush()
    for path in earlier:
        path.unlink()
    return writer
