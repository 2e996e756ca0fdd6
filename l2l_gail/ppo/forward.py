"""What a rollout and PPO's update ask of a policy, and a short way through a plain Gaussian one."""

from __future__ import annotations

import math

import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor
from torch.nn import functional as F

from l2l_gail.ppo.flat_adam import FlatAdam
from l2l_gail.ppo.loss import LossTerms, Minibatch, PPOLoss
from l2l_gail.ppo.observations import TensorObservations
from l2l_gail.ppo.policy import NormalizedPolicy, NormalizeObservations
from l2l_gail.ppo.tanh_network import TanhNetwork

__all__ = ["GaussianForward", "PolicyForward", "forward_of"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class PolicyForward:
    """Any actor-critic policy, through SB3's methods for it.

    Args:
        policy: The policy.
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        self.policy = policy
        self._parameters = list(policy.parameters())

    def prepare(self, obs: TensorObservations) -> TensorObservations:
        """Return what the other methods take for observations ``(B, *shape)``."""
        return obs

    def act(self, obs: TensorObservations) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Draw actions at observations, under ``no_grad``.

        Returns:
            Actions ``(B, *shape)``; the states' values and the actions' log-probabilities, ``(B,)``
            each, or ``None`` twice where :meth:`evaluate` is to give them after the rollout.
        """
        actions, values, log_probs = self.policy(obs)
        return actions, values.flatten(), log_probs

    def evaluate(self, prepared: TensorObservations, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and log-probabilities, ``(B,)`` each, under ``no_grad``."""
        values, log_probs, _ = self.policy.evaluate_actions(prepared, actions)
        return values.flatten(), log_probs

    def values(self, obs: TensorObservations) -> Tensor:
        """Return the values ``(B,)`` of observations, under ``no_grad``."""
        return self.policy.predict_values(obs).flatten()

    def gradient(self, loss: PPOLoss, batch: Minibatch) -> LossTerms:
        """Set the parameters' ``grad`` to the gradient of the loss.

        Returns:
            The loss, detached.
        """
        actions = batch.actions.flatten(1) if batch.actions.dim() > 2 else batch.actions
        values, log_probs, entropy = self.policy.evaluate_actions(batch.prepared, actions)
        terms = loss.terms(batch, values.flatten(), log_probs, entropy)
        for parameter in self._parameters:
            parameter.grad = None
        terms.total.backward()
        return LossTerms(*(term.detach() for term in terms))

    def score_gradients(self, obs: TensorObservations, actions: Tensor, weights: Tensor) -> Tensor:
        """Return gradients of weighted sums of log-probabilities.

        Args:
            obs: Observations ``(B, *shape)``, not prepared.
            actions: Actions ``(B, *shape)``.
            weights: One row for each sum, ``(K, B)``.

        Returns:
            Gradients in all parameters that the log-probabilities depend on, ``(K, P)``.
        """
        actions = actions.flatten(1) if actions.dim() > 2 else actions  # as SB3's distributions do
        learned = [parameter for parameter in self._parameters if parameter.requires_grad]
        log_probs = self.policy.get_distribution(obs).log_prob(actions)
        gradients = []
        for row in weights:
            parts = torch.autograd.grad(
                log_probs, learned, row, retain_graph=True, allow_unused=True
            )
            gradients.append(torch.cat([part.flatten() for part in parts if part is not None]))
        return torch.stack(gradients)

    def clip_gradient(self, max_norm: float) -> None:
        """Scale the gradient down to a 2-norm of ``max_norm`` if it is longer."""
        torch.nn.utils.clip_grad_norm_(self._parameters, max_norm)

    def step(self) -> None:
        """Take the optimizer's step."""
        self.policy.optimizer.step()

    def finish(self) -> None:
        """Leave the optimizer as it is to be saved; called once the last step is taken."""


class GaussianForward(PolicyForward):
    """The same for a :class:`NormalizedPolicy` with a plain diagonal Gaussian and tanh networks.

    In half the time on a CPU: observations are normalised once, as their statistics do not change;
    values and log-probabilities are left to one batch after the rollout; no distribution object is
    built and validated; the gradient is written out, into one flat vector.

    Args:
        policy: The policy; see :func:`forward_of` for what it must be.
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__(policy)
        actor, critic = _networks(policy)
        assert actor is not None
        assert critic is not None
        self._actor, self._critic = actor, critic
        self._flat: Tensor | None = None
        self._parts: dict[str, list[Tensor]] = {}
        self._adam: FlatAdam | None = None

    def prepare(self, obs: TensorObservations) -> Tensor:
        """Return the features ``(B, obs_dim)`` of observations."""
        assert isinstance(obs, Tensor)
        features: Tensor = self.policy.features_extractor(obs.float())
        return features

    def act(self, obs: TensorObservations) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Draw actions, from the same random numbers as SB3."""
        mean, _ = self._actor.forward(self.prepare(obs))
        return mean + torch.randn_like(mean) * self.policy.log_std.exp(), None, None

    def evaluate(self, prepared: TensorObservations, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and log-probabilities, ``(B,)`` each."""
        assert isinstance(prepared, Tensor)
        log_std = self.policy.log_std
        mean, _ = self._actor.forward(prepared)
        values, _ = self._critic.forward(prepared)
        squares = ((actions - mean) * (-log_std).exp()).square()  # (B, act_dim)
        return values.squeeze(-1), -0.5 * squares.sum(1) - _log_normalizer(log_std)

    def values(self, obs: TensorObservations) -> Tensor:
        """Return the values ``(B,)`` of observations."""
        values, _ = self._critic.forward(self.prepare(obs))
        return values.squeeze(-1)

    @torch.no_grad()
    def gradient(self, loss: PPOLoss, batch: Minibatch) -> LossTerms:
        """Set the parameters' ``grad`` to the gradient of the loss, by the chain rule."""
        assert isinstance(batch.prepared, Tensor)
        n, log_std = len(batch.actions), self.policy.log_std
        mean, actor_inputs = self._actor.forward(batch.prepared)
        values, critic_inputs = self._critic.forward(batch.prepared)
        values = values.squeeze(-1)
        per_std = (-log_std).exp()
        z = (batch.actions - mean) * per_std  # (B, act_dim)
        squares = z.square()
        normalizer = _log_normalizer(log_std)
        log_ratio = -0.5 * squares.sum(1) - normalizer - batch.old_log_probs

        advantages, ratio = loss.advantages(batch), log_ratio.exp()
        gain = advantages * ratio
        bounded = advantages * ratio.clamp(1 - loss.clip, 1 + loss.clip)
        predicted = loss.bounded_values(batch, values)
        policy_loss = -torch.min(gain, bounded).mean()
        value_loss = F.mse_loss(batch.returns, predicted)
        entropy_loss = -(normalizer + 0.5 * len(log_std))
        total = policy_loss + loss.ent_coef * entropy_loss + loss.vf_coef * value_loss

        # d loss / d log-probability; where the bound is the smaller, the ratio does not matter.
        slope = gain.mul_(gain <= bounded).mul_(-1.0 / n)  # (B,)
        value_slope = (predicted - batch.returns).mul_(2.0 * loss.vf_coef / n)  # (B,)
        if loss.clip_vf is not None:
            value_slope *= (values - batch.old_values).abs() <= loss.clip_vf
        parts = self._gradients()
        self._actor.backward(z.mul_(per_std).mul_(slope[:, None]), actor_inputs, parts["actor"])
        self._critic.backward(value_slope[:, None], critic_inputs, parts["critic"])
        torch.mv(squares.mT, slope, out=parts["log_std"][0])
        parts["log_std"][0].sub_(slope.sum() + loss.ent_coef)
        return LossTerms(policy_loss, value_loss, entropy_loss, total, log_ratio)

    @torch.no_grad()
    def score_gradients(self, obs: TensorObservations, actions: Tensor, weights: Tensor) -> Tensor:
        """Return gradients of weighted sums of log-probabilities, by the chain rule."""
        mean, inputs = self._actor.forward(self.prepare(obs))
        per_std = (-self.policy.log_std).exp()
        z = (actions - mean) * per_std  # (B, act_dim)
        of_log_std = weights @ z.square().sub_(1.0)
        of_actor = self._actor.weighted_gradients(z * per_std, inputs, weights)
        return torch.cat([of_log_std, of_actor], dim=1)  # in the order of the parameters

    def clip_gradient(self, max_norm: float) -> None:
        """Scale the gradient down to a 2-norm of ``max_norm`` if it is longer."""
        assert self._flat is not None
        self._flat.mul_((max_norm / (self._flat.norm() + 1e-6)).clamp(max=1.0))

    @torch.no_grad()
    def step(self) -> None:
        """Take the optimizer's step, on one vector where that is possible."""
        if self._adam is not None:
            self._adam.step()
            return
        self.policy.optimizer.step()  # also makes its state, if this is the first one
        assert self._flat is not None
        parameters = [p for group in self._parameter_groups().values() for p in group]
        self._adam = FlatAdam.of(self.policy.optimizer, parameters, self._flat)

    def finish(self) -> None:
        """Leave the optimizer as it is to be saved; called once the last step is taken."""
        if self._adam is not None:
            self._adam.close()

    def _gradients(self) -> dict[str, list[Tensor]]:
        """Return the parameters' ``grad``, pieces of one vector, made once."""
        if self._flat is None:
            groups = self._parameter_groups()
            sizes = [p.numel() for group in groups.values() for p in group]
            self._flat = self.policy.log_std.new_zeros(sum(sizes))
            pieces = iter(self._flat.split(sizes))
            for name, group in groups.items():
                self._parts[name] = [next(pieces).view(p.shape) for p in group]
                for parameter, part in zip(group, self._parts[name], strict=True):
                    parameter.grad = part
        return self._parts

    def _parameter_groups(self) -> dict[str, list[Tensor]]:
        """Return all parameters in the order of the flat gradient."""
        return {
            "actor": self._actor.parameters,
            "critic": self._critic.parameters,
            "log_std": [self.policy.log_std],
        }


def forward_of(policy: ActorCriticPolicy) -> PolicyForward:
    """Return the short way for a policy that it is right for, the general one for any other.

    Right for: :class:`NormalizedPolicy` itself (a subclass may do anything in its methods) with its
    own features extractor, shared by actor and critic, tanh networks, a plain Gaussian, that is
    without gSDE, and no parameter that is kept from learning.
    """
    short = (
        type(policy) is NormalizedPolicy
        and type(policy.features_extractor) is NormalizeObservations
        and policy.share_features_extractor
        and type(policy.action_dist) is DiagGaussianDistribution
        and len(policy.action_space.shape or ()) == 1
        and None not in _networks(policy)
        and all(parameter.requires_grad for parameter in policy.parameters())
    )
    return GaussianForward(policy) if short else PolicyForward(policy)


def _networks(policy: ActorCriticPolicy) -> tuple[TanhNetwork | None, TanhNetwork | None]:
    """Return actor and critic where they are tanh networks."""
    actor = TanhNetwork.of([*policy.mlp_extractor.policy_net, policy.action_net])
    critic = TanhNetwork.of([*policy.mlp_extractor.value_net, policy.value_net])
    return actor, critic


def _log_normalizer(log_std: Tensor) -> Tensor:
    """Return the logarithm, 0-d, of what a Gaussian's density is divided by."""
    return log_std.sum() + len(log_std) * _HALF_LOG_2PI
