"""A run that is to go on and has no checkpoint: whether it may begin at step 0."""

from __future__ import annotations

import os

from l2l_gail.errors import InputError
from l2l_gail.event_files import last_step
from l2l_gail.progress import Message, Tell, silent
from l2l_gail.runs import RunFolder

__all__ = ["check_nothing_lost"]

_AFTER_THE_LAST_CHECKPOINT = ("model.zip", "model.pt")


def check_nothing_lost(folder: RunFolder, first_save: int, tell: Tell = silent) -> None:
    """Say that a run begins at step 0; refuse it where it had a checkpoint, which is gone.

    A run that was killed before its first checkpoint has measured something, too: it is trained
    again from the same seed. What was measured later would be deleted.

    Args:
        folder: Its folder, which holds no checkpoint.
        first_save: A step by which the first checkpoint is written.
        tell: Takes the news.

    Raises:
        InputError: It holds a trained model, or points of later steps; or an event file cannot be
            read.
    """
    found = [n for n in _AFTER_THE_LAST_CHECKPOINT if os.path.lexists(folder.path / n)]
    if not found and (step := last_step(folder.path)) > first_save:
        found = [f"points up to step {step:,}"]
    if found:
        raise InputError(
            f"{folder.path} holds {found[0]} and its checkpoint is gone: bring it back, move the "
            "folder away, or leave --resume out for a run of its own"
        )
    tell(Message("line", "has no checkpoint to go on from: begins at step 0"))
