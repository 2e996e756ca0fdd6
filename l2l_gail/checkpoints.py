"""Checkpoints of a run: sealed, replaced in one step, with the one before kept beside."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from l2l_gail.errors import InputError
from l2l_gail.files import atomic_write, check_seal, open_regular, read_tensors
from l2l_gail.files.tensors import dump_tensors
from l2l_gail.files.writing import keep_a_copy

__all__ = [
    "OTHER_VERSION",
    "checkpoint_exists",
    "load_checkpoint",
    "previous_checkpoint",
    "save_checkpoint",
]

_FORMAT = "l2l_gail.checkpoint"
_VERSION = 1

OTHER_VERSION = (
    "go on with the l2l_gail and the settings that wrote it, or start again without --resume"
)
"""What to do with a checkpoint that is whole but does not fit."""


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that :func:`load_checkpoint` reads back, and keep the one before it.

    Args:
        path: File to write, replaced in one step. What was there is kept beside it, as
            ``checkpoint-previous.pt``, unless it was damaged.
        state: Tensors, numbers, strings and nested containers of them: what ``torch.load`` accepts
            with ``weights_only=True``.

    Raises:
        TypeError: ``state`` holds an object that could not be loaded again.
        InputError: The file cannot be written: the disk is full, the folder was deleted. The
            checkpoint before is as it was.
    """
    path = Path(path)
    payload = {"format": _FORMAT, "version": _VERSION, "state": state}
    content = dump_tensors(payload)
    if _is_whole(path):
        keep_a_copy(path, previous_checkpoint(path))
    atomic_write(path, content, make_folder=False)


def load_checkpoint(path: str | Path, *, or_previous: bool = True) -> dict[str, Any]:
    """Read a checkpoint written by :func:`save_checkpoint`; nothing in it is executed.

    Args:
        path: The file.
        or_previous: Where the file is damaged or gone, read the one saved before it, with a
            warning.

    Returns:
        The saved state, with every tensor on the CPU.

    Raises:
        InputError: The file is missing, unreadable, damaged, not a checkpoint of this project, or
            of another format version, and so is the one before it.
    """
    path, previous = Path(path), previous_checkpoint(path)
    try:
        return _load_checkpoint(path)
    except InputError as error:
        if not or_previous:
            raise
        try:
            state = _load_checkpoint(previous)
        except InputError:
            raise error from None
        warnings.warn(f"{error}; going on from the one before it, {previous}", stacklevel=2)
        return state


def checkpoint_exists(path: str | Path) -> bool:
    """Whether there is a checkpoint at ``path``, be it the one before the last."""
    return any(os.path.exists(each) for each in (path, previous_checkpoint(path)))


def previous_checkpoint(path: str | Path) -> Path:
    """Where the checkpoint before that at ``path`` is kept."""
    path = Path(path)
    return path.with_name(f"{path.stem}-previous{path.suffix}")


def _load_checkpoint(path: Path) -> dict[str, Any]:
    payload = read_tensors(
        path,
        missing=f"no checkpoint at {path}: start the run without --resume",
        way_out="start the run again without --resume",
    )
    if not isinstance(payload, dict) or payload.get("format") != _FORMAT:
        raise InputError(f"{path} is not a checkpoint of l2l_gail: give another file")
    if payload.get("version") != _VERSION:
        raise InputError(
            f"{path} has checkpoint version {payload.get('version')!s:.20}, this l2l_gail reads "
            f"version {_VERSION}: continue with the l2l_gail that wrote it, or start "
            "again without --resume"
        )
    state = payload.get("state")
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no state: start the run again without --resume")
    return state


def _is_whole(path: Path) -> bool:
    """Whether there is a checkpoint whose checksum, if it has one, is right."""
    try:
        with open_regular(path) as file:
            check_seal(file, str(path), "")
    except InputError:
        return False
    return True
