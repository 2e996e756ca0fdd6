"""PPO whose rollouts and updates are tensors, on stable-baselines3's surface."""

from l2l_gail.ppo.algorithm import TensorPPO
from l2l_gail.ppo.buffer import TensorRolloutBuffer
from l2l_gail.ppo.config import PPOConfig, policy_defaults, rollout_defaults
from l2l_gail.ppo.env import TensorEnv
from l2l_gail.ppo.from_vec_env import FromVecEnv, as_tensor_env, tensor_env_of
from l2l_gail.ppo.parts import ObservationParts
from l2l_gail.ppo.policy import (
    NormalizeDict,
    NormalizedMultiInputPolicy,
    NormalizedPolicy,
    NormalizeObservations,
    ObservationStatistics,
)
from l2l_gail.ppo.sb3_view import SB3VecEnv

__all__ = [
    "FromVecEnv",
    "NormalizeDict",
    "NormalizeObservations",
    "NormalizedMultiInputPolicy",
    "NormalizedPolicy",
    "ObservationParts",
    "ObservationStatistics",
    "PPOConfig",
    "SB3VecEnv",
    "TensorEnv",
    "TensorPPO",
    "TensorRolloutBuffer",
    "as_tensor_env",
    "policy_defaults",
    "rollout_defaults",
    "tensor_env_of",
]
