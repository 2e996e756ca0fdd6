"""GAIL and L2L-GAIL on stable-baselines3's PPO."""

from l2l_gail.gail.airl import AIRL, AIRLDiscriminator, airl_config
from l2l_gail.gail.batch import TransitionBatch
from l2l_gail.gail.bc import BC
from l2l_gail.gail.behaviour_cloning import behaviour_cloning
from l2l_gail.gail.config import DiscriminatorConfig, RuleTraining
from l2l_gail.gail.credit import CreditAssignment, LearnedCredit
from l2l_gail.gail.discriminator import (
    Discriminator,
    ExtractorDiscriminator,
    ModuleDiscriminator,
    TanhDiscriminator,
)
from l2l_gail.gail.fit import check_demonstrated
from l2l_gail.gail.flags import MethodFlags, TaskFlags
from l2l_gail.gail.gail import GAIL
from l2l_gail.gail.game import DiscriminatorGame
from l2l_gail.gail.health import HealthCallback
from l2l_gail.gail.l2l_gail import L2LGAIL
from l2l_gail.gail.learned_reward import LearnedReward
from l2l_gail.gail.losses import LOSSES
from l2l_gail.gail.penalties import PENALTIES
from l2l_gail.gail.references import measure_references
from l2l_gail.gail.reward_wrappers import (
    LearnedRewardWrapper,
    RelabellingReplayBuffer,
    VecLearnedReward,
)
from l2l_gail.gail.rewards import REWARDS, reward_of_logits
from l2l_gail.gail.run import TrainingRun
from l2l_gail.gail.spaces import policy_for
from l2l_gail.gail.tracking import TrackingCallback

__all__ = [
    "AIRL",
    "BC",
    "GAIL",
    "L2LGAIL",
    "LOSSES",
    "PENALTIES",
    "REWARDS",
    "AIRLDiscriminator",
    "CreditAssignment",
    "Discriminator",
    "DiscriminatorConfig",
    "DiscriminatorGame",
    "ExtractorDiscriminator",
    "HealthCallback",
    "LearnedCredit",
    "LearnedReward",
    "LearnedRewardWrapper",
    "MethodFlags",
    "ModuleDiscriminator",
    "RelabellingReplayBuffer",
    "RuleTraining",
    "TanhDiscriminator",
    "TaskFlags",
    "TrackingCallback",
    "TrainingRun",
    "TransitionBatch",
    "VecLearnedReward",
    "airl_config",
    "behaviour_cloning",
    "check_demonstrated",
    "measure_references",
    "policy_for",
    "reward_of_logits",
]
