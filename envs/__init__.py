"""Batched MuJoCo environments."""

from l2l_gail.ppo.sb3_view import SB3VecEnv

from .batched import BatchedEnv
from .gym_vector import GymVectorEnv
from .make import make, simulation_device
from .tasks import TASKS
from .vec import batch_of_episodes, make_vec

__all__ = [
    "TASKS",
    "BatchedEnv",
    "GymVectorEnv",
    "SB3VecEnv",
    "batch_of_episodes",
    "make",
    "make_vec",
    "simulation_device",
]
