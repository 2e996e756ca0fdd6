"""MuJoCo tasks as pure functions over batches: Gymnasium's, and what one's own are made of."""

from .base import NoisyStart, Task, norm
from .draw import Draw
from .registry import GYMNASIUM_TASKS, TASKS

__all__ = ["GYMNASIUM_TASKS", "TASKS", "Draw", "NoisyStart", "Task", "norm"]
