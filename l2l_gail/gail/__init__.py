"""GAIL and L2L-GAIL on stable-baselines3's PPO."""

from l2l_gail.gail.behaviour_cloning import behaviour_cloning
from l2l_gail.gail.config import DiscriminatorConfig, LearnedRuleConfig
from l2l_gail.gail.discriminator import Discriminator
from l2l_gail.gail.gail import GAIL
from l2l_gail.gail.game import DiscriminatorGame, TransitionBatch
from l2l_gail.gail.l2l_gail import L2LGAIL
from l2l_gail.gail.rewards import reward_of_logits
from l2l_gail.gail.run import TrainingRun
from l2l_gail.ppo.policy import NormalizeObservations

__all__ = [
    "GAIL",
    "L2LGAIL",
    "Discriminator",
    "DiscriminatorConfig",
    "DiscriminatorGame",
    "LearnedRuleConfig",
    "NormalizeObservations",
    "TrainingRun",
    "TransitionBatch",
    "behaviour_cloning",
    "reward_of_logits",
]
