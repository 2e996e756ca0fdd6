"""Batched MuJoCo environments: Gymnasium's tasks and one's own, on the CPU or on a GPU.

What other libraries see of them (``SB3VecEnv``, ``make_vec``, ``GymVectorEnv``, ...) is imported on
first use: stepping environments needs neither Stable-Baselines3 nor TensorBoard.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .batched import BatchedEnv
from .make import make, simulation_device
from .register import register_task
from .tasks import TASKS

if TYPE_CHECKING:
    from l2l_gail.ppo.sb3_view import SB3VecEnv

    from .gym_vector import GymVectorEnv
    from .vec import batch_of_episodes, can_be_batched, learning_device, make_vec

__all__ = [
    "TASKS",
    "BatchedEnv",
    "GymVectorEnv",
    "SB3VecEnv",
    "batch_of_episodes",
    "can_be_batched",
    "learning_device",
    "make",
    "make_vec",
    "register_task",
    "simulation_device",
]

_ON_FIRST_USE = {
    "GymVectorEnv": ".gym_vector",
    "SB3VecEnv": "l2l_gail.ppo.sb3_view",
    "batch_of_episodes": ".vec",
    "can_be_batched": ".vec",
    "learning_device": ".vec",
    "make_vec": ".vec",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ON_FIRST_USE[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
