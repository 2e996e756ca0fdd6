"""Which device to run on."""

from __future__ import annotations

import torch

from l2l_gail.errors import InputError

__all__ = ["choose_device"]


def choose_device(name: str) -> str:
    """Return the name of a device that is there; ``auto`` means the GPU if there is one.

    Raises:
        InputError: If it is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"device {name} is unknown; use cpu, cuda, cuda:1, ..., or auto")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch's ways to say "not in this build"
        raise InputError(f"device {name} is not available here; use cpu or auto") from error
    return name
