"""Which task an environment id means."""

from __future__ import annotations

from .ant import Ant, AntV4
from .base import Task
from .half_cheetah import HalfCheetah, HalfCheetahV4
from .hopper import Hopper, HopperV4
from .humanoid import Humanoid, HumanoidV4
from .pendulums import (
    InvertedDoublePendulum,
    InvertedDoublePendulumV4,
    InvertedPendulum,
    InvertedPendulumV4,
)
from .pusher import Pusher
from .reacher import Reacher, ReacherV4
from .swimmer import Swimmer, SwimmerV4
from .walker2d import Walker2d, Walker2dV4

__all__ = ["GYMNASIUM_TASKS", "TASKS"]

TASKS: dict[str, type[Task]] = {
    "Ant-v4": AntV4,
    "Ant-v5": Ant,
    "HalfCheetah-v4": HalfCheetahV4,
    "HalfCheetah-v5": HalfCheetah,
    "Hopper-v4": HopperV4,
    "Hopper-v5": Hopper,
    "Humanoid-v4": HumanoidV4,
    "Humanoid-v5": Humanoid,
    "InvertedDoublePendulum-v4": InvertedDoublePendulumV4,
    "InvertedDoublePendulum-v5": InvertedDoublePendulum,
    "InvertedPendulum-v4": InvertedPendulumV4,
    "InvertedPendulum-v5": InvertedPendulum,
    "Pusher-v5": Pusher,
    "Reacher-v4": ReacherV4,
    "Reacher-v5": Reacher,
    "Swimmer-v4": SwimmerV4,
    "Swimmer-v5": Swimmer,
    "Walker2d-v4": Walker2dV4,
    "Walker2d-v5": Walker2d,
}
"""Task classes by environment id; :func:`~envs.register.register_task` adds to them."""

GYMNASIUM_TASKS = frozenset(TASKS)
"""Ids of the tasks that are Gymnasium's own."""
