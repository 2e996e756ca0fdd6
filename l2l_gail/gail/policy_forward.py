"""What a rollout and PPO's update ask of a policy, and a lean way through a plain Gaussian one."""

from __future__ import annotations

import math

import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from l2l_gail.gail.normalize import GAILPolicy, NormalizeObservations

__all__ = ["GaussianForward", "PolicyForward", "forward_of"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class PolicyForward:
    """Any actor-critic policy, through SB3's methods for it.

    Args:
        policy: The policy.
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        self.policy = policy

    def prepare(self, obs: Tensor) -> Tensor:
        """Return what the other methods take for observations ``(B, *shape)``."""
        return obs

    def act(self, obs: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Draw actions at observations.

        Returns:
            Actions ``(B, *shape)``; the states' values and the actions' log-probabilities, ``(B,)``
            each, or ``None`` twice where :meth:`judge` is to give them after the rollout.
        """
        actions, values, log_probs = self.policy(obs)
        return actions, values.flatten(), log_probs

    def judge(self, prepared: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and log-probabilities, ``(B,)`` each, where :meth:`act` gave none."""
        values, log_probs, _ = self.evaluate(prepared, actions)
        return values, log_probs

    def values(self, obs: Tensor) -> Tensor:
        """Return the values ``(B,)`` of observations."""
        return self.policy.predict_values(obs).flatten()

    def evaluate(self, prepared: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values, log-probabilities and entropies (where the policy knows them).

        Shapes ``(B,)``, but the entropy may be 0-d where it does not depend on the state.
        """
        values, log_probs, entropy = self.policy.evaluate_actions(prepared, actions)
        return values.flatten(), log_probs, entropy


class GaussianForward(PolicyForward):
    """The same for a :class:`GAILPolicy` with a plain diagonal Gaussian, in fewer operations.

    Observations are normalised once, as their statistics do not change; no distribution object is
    built and validated; what does not depend on the state is computed once for a batch; values and
    log-probabilities are left to one batch after the rollout.

    Args:
        policy: The policy; see :func:`forward_of` for what it must be.
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__(policy)
        self._actor = nn.Sequential(*policy.mlp_extractor.policy_net, policy.action_net)
        self._critic = nn.Sequential(*policy.mlp_extractor.value_net, policy.value_net)

    def prepare(self, obs: Tensor) -> Tensor:
        """Return the features ``(B, obs_dim)`` of observations."""
        features: Tensor = self.policy.features_extractor(obs.float())
        return features

    def act(self, obs: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Draw actions; SB3's random numbers and operations, so the actions are SB3's."""
        mean = self._actor(self.prepare(obs))
        return mean + torch.randn_like(mean) * self.policy.log_std.exp(), None, None

    def values(self, obs: Tensor) -> Tensor:
        """Return the values ``(B,)`` of observations."""
        values: Tensor = self._critic(self.prepare(obs))
        return values.squeeze(-1)

    def evaluate(self, prepared: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values and log-probabilities ``(B,)``, and the entropy, 0-d."""
        log_std = self.policy.log_std
        z = (actions - self._actor(prepared)) * (-log_std).exp()  # (B, act_dim)
        constant = log_std.sum() + len(log_std) * _HALF_LOG_2PI
        log_probs = -0.5 * z.square().sum(1) - constant
        values: Tensor = self._critic(prepared)
        return values.squeeze(-1), log_probs, constant + 0.5 * len(log_std)


def forward_of(policy: ActorCriticPolicy) -> PolicyForward:
    """Return the lean way for a policy that it is right for, the general one for any other.

    Right for: :class:`GAILPolicy` itself (a subclass may do anything in its methods) with its own
    features extractor, shared by actor and critic, and a plain Gaussian, that is without gSDE.
    """
    lean = (
        type(policy) is GAILPolicy
        and type(policy.features_extractor) is NormalizeObservations
        and policy.share_features_extractor
        and type(policy.action_dist) is DiagGaussianDistribution
        and len(policy.action_space.shape or ()) == 1
    )
    return GaussianForward(policy) if lean else PolicyForward(policy)
