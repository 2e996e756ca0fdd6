"""Which task an environment id means."""

from __future__ import annotations

from .base import Task
from .half_cheetah import HalfCheetah, HalfCheetahV4
from .hopper import Hopper, HopperV4

__all__ = ["TASKS"]

TASKS: dict[str, type[Task]] = {
    "HalfCheetah-v4": HalfCheetahV4,
    "HalfCheetah-v5": HalfCheetah,
    "Hopper-v4": HopperV4,
    "Hopper-v5": Hopper,
}
"""Task classes by environment id."""
