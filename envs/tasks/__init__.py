"""Gymnasium's MuJoCo tasks as pure functions over batches."""

from .base import Task, norm
from .registry import TASKS

__all__ = ["TASKS", "Task", "norm"]
