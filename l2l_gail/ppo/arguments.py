"""Arguments that SB3 passes on unseen: what is wrong with them is said in one line, and at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from l2l_gail.errors import InputError, one_line

__all__ = ["building_policy", "known_device"]


def known_device(device: torch.device | str) -> torch.device | str:
    """Return a device that torch has here; ``auto`` is left to SB3.

    Raises:
        InputError: There is no such device.
    """
    if device == "auto":
        return device
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's ways to say "not in this build"
        raise InputError(
            f"device {device} is unknown or not available here; use cpu, cuda, cuda:1, ..., or auto"
        ) from error
    return device


@contextlib.contextmanager
def building_policy(policy_class: type, policy_kwargs: Mapping[str, Any]) -> Iterator[None]:
    """Say in one line that a policy does not take the arguments it is made with.

    Args:
        policy_class: What is made inside.
        policy_kwargs: The user's arguments of it.

    Raises:
        InputError: In place of a ``TypeError``, where there are arguments.
    """
    try:
        yield
    except TypeError as error:
        if not policy_kwargs:
            raise
        raise InputError(
            f"policy_kwargs={dict(policy_kwargs)!r} do not fit {policy_class.__name__}: "
            f"{one_line(error)}"
        ) from error
