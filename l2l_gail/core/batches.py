"""What a step is played on: a list, one batch for each inner step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

from l2l_gail.errors import InputError

__all__ = ["check_batches", "check_meta_batches"]


def check_batches(batches: Sequence[Any], name: str = "batches") -> None:
    """Refuse what is a batch itself, whose rows or fields would each be taken for a batch.

    Args:
        batches: One batch for each inner step.
        name: What the message calls them.

    Raises:
        InputError: They are no sequence, a tuple with names, or empty.
    """
    is_list = isinstance(batches, Sequence) and not isinstance(batches, (str, bytes))
    if not is_list or hasattr(batches, "_fields") or is_dataclass(batches):
        given = f"a {type(batches).__name__}"
    elif not len(batches):
        given = "an empty one"
    else:
        return
    raise InputError(f"{name} is a list, one batch for each inner step: give [batch], not {given}")


def check_meta_batches(
    batches: Sequence[Any], meta_batches: Sequence[Any] | None, meta_on: str
) -> None:
    """Refuse meta-batches that are no list, or too few or many where the meta-loss is on each.

    Args:
        batches: One batch for each inner step.
        meta_batches: Those of the meta-loss, ``None`` for the same ones.
        meta_on: Whether it is computed on the ``"last"`` of them or all, as a ``"mean"``.

    Raises:
        InputError: In one line.
    """
    if meta_batches is None:
        return
    check_batches(meta_batches, "meta_batches")
    if meta_on == "mean" and len(meta_batches) != len(batches):
        raise InputError(
            f"meta_on='mean' judges each inner step on a meta-batch of its own: give "
            f"{len(batches)} meta_batches, not {len(meta_batches)}"
        )
