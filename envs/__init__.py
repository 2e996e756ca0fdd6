"""Batched MuJoCo environments."""

from .batched import BatchedEnv
from .make import make, simulation_device
from .tasks import TASKS
from .vec import batch_of_episodes, make_vec

__all__ = ["TASKS", "BatchedEnv", "batch_of_episodes", "make", "make_vec", "simulation_device"]
