"""Batched MuJoCo environments."""

from .batched import BatchedEnv
from .make import make
from .tasks import TASKS
from .vec import make_vec

__all__ = ["TASKS", "BatchedEnv", "make", "make_vec"]
