"""Learned credit: how far ahead an action is judged, chosen by what improves held-out rollouts.

PPO asks of each action how much better it was than expected, its advantage. Nearly all of an
ordinary estimate is noise: it sums what happened in the next twenty steps, most of it brought about
by other actions. With a learned reward there is more to estimate from than with an environment's,
since the discriminator tells the reward of actions that were not taken, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    Distribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from l2l_gail.checks import check_below_one, check_counts, check_fraction, check_nonnegative
from l2l_gail.core import GradientMixture
from l2l_gail.errors import InputError
from l2l_gail.observations import map_parts
from l2l_gail.ppo import TensorRolloutBuffer
from l2l_gail.ppo.forward import forward_of
from l2l_gail.ppo.observations import TensorObservations, leading, network_input

__all__ = ["CreditAssignment", "LearnedCredit", "action_surprise", "advantage_estimates"]

_AT_ONCE = 2**24
"""Pixels that the policy is shown in one batch: 594 stacks of four pictures of 84 x 84."""


@dataclass(frozen=True)
class LearnedCredit:
    """How the policy's advantages are mixed from estimates that look less and further ahead.

    Attributes:
        decays: ``lambda`` of the generalised advantage estimates, each in [0, 1].
        credit_memory: Decay rate of the averages over rollouts by which their weights are learned.
        caution: Standard errors by which an estimate must be better aligned with held-out gradients
            than the one that looks furthest ahead, ``max(decays)``; 0: none.
        fades: Whether the learned weights fade into that one as the policy nears the expert.
        action_samples: Actions at each state for the mean reward there; of a Gaussian's every
            second one is the mirror image of the one before, so that in pairs what is linear
            cancels.

    Raises:
        InputError: A value that no training could use.
    """

    decays: tuple[float, ...] = (0.95, 0.8, 0.6, 0.3)
    credit_memory: float = 0.9
    caution: float = 2.0
    fades: bool = True
    action_samples: int = 4

    def __post_init__(self) -> None:
        """Refuse values that no training could use."""
        object.__setattr__(self, "decays", tuple(self.decays))
        for decay in self.decays:
            check_fraction("a decay", decay)
        if not self.decays:
            raise InputError("decays must be one or more numbers in [0, 1], not ()")
        check_below_one("credit_memory", self.credit_memory)
        check_counts(action_samples=self.action_samples)
        check_nonnegative("caution", self.caution)


class CreditAssignment(nn.Module):
    r"""Mixes a rollout's advantages with weights that are learned while the game is played.

    The estimates are the action's **surprise** ``u = r(s, a) - E_a r(s, a)``, and for each decay
    ``l`` the generalised advantage estimate (Schulman et al. 2016, arXiv 1506.02438) in which the
    rewards of later steps are replaced by their means over the policy's actions,

    .. math:: A_t = \delta_t + \sum_{k \ge 1} (\gamma l)^k (\delta_{t+k} - u_{t+k}) ,

    which leaves its expectation as it is. Each is standardised. The weights are those of
    :class:`~l2l_gail.core.mixture.GradientMixture`: the mixture's policy gradient on one half of
    the environments is to come near PPO's own on the other half, which is noisy and has the long
    view; what looks less far ahead counts as far as it does so beyond doubt. A bias adds up from
    rollout to rollout while noise averages out, over the more of them the smaller the steps: so as
    the policy nears the expert and slows down (:class:`~l2l_gail.gail.pace.PolicyPace`), the
    weights fade into the estimate that looks furthest ahead. That a discount's horizon can be
    learned from held-out returns is Xu et al.'s (2018, arXiv 1805.09801); the closed form, and
    estimates that use the reward's being known, are this library's.

    Args:
        settings: Which estimates, and how fast their weights follow.
    """

    def __init__(self, settings: LearnedCredit) -> None:
        super().__init__()
        self.settings = settings
        self.furthest = 1 + settings.decays.index(max(settings.decays))
        self.mixture = GradientMixture(
            1 + len(settings.decays),
            memory=settings.credit_memory,
            caution=settings.caution,
            fallback=self.furthest,
        )

    def advantages(
        self,
        policy: ActorCriticPolicy,
        buffer: TensorRolloutBuffer,
        surprise: Tensor,
        distance: float = 1.0,
    ) -> tuple[Tensor, dict[str, float]]:
        """Learn from a rollout, and return its advantages.

        Args:
            policy: The policy that has collected it.
            buffer: The rollout, its rewards and advantages computed.
            surprise: ``u`` of its steps, ``(T, N)``.
            distance: How far the policy is from the expert, from 0 to 1, the share of the learned
                weights if they fade.

        Returns:
            Advantages ``(T, N)``, and what there is to log, by TensorBoard tag.
        """
        decays = surprise.new_tensor(self.settings.decays)
        estimates = torch.cat([surprise[None], advantage_estimates(buffer, surprise, decays)])
        estimates = _standardised(estimates)  # (K, T, N)
        reference = _standardised(buffer.advantages[None])
        rows = torch.cat([estimates, reference]).transpose(1, 2).flatten(1)  # (K + 1, N T)
        observations = network_input(map_parts(buffer.by_env, buffer.observations))
        actions = buffer.by_env(buffer.actions)
        gradients = []
        for half in _halves(rows.shape[1]):
            of_half = _rows(observations, half)
            gradient = policy_gradients(policy, of_half, actions[half], rows[:, half])
            gradients.append((gradient[:-1], gradient[-1]))
        self.mixture.observe(*gradients)
        weights = self.mixture.weights()
        if self.settings.fades:
            weights *= distance
            weights[self.furthest] += 1 - distance
        log = {"credit/alignment": self.mixture.alignment()}
        names = ["action", *(f"lambda_{decay:g}" for decay in self.settings.decays)]
        log |= {
            f"credit/{name}": weight for name, weight in zip(names, weights.tolist(), strict=True)
        }
        mixed = torch.tensordot(weights.to(estimates), estimates, dims=1)
        return mixed, log


def advantage_estimates(buffer: TensorRolloutBuffer, surprise: Tensor, decays: Tensor) -> Tensor:
    """Return advantages with later rewards replaced by their means over actions.

    Args:
        buffer: A rollout, values at time limits added to its rewards.
        surprise: Reward less its mean over actions, ``(T, N)``; zeros give ordinary estimates.
        decays: ``lambda`` of each, ``(K,)``.

    Returns:
        Advantages, ``(K, T, N)``.
    """
    continues = 1.0 - buffer.dones.to(buffer.values.dtype)  # (T, N)
    next_values = torch.cat([buffer.values[1:], buffer.last_values[None]])
    residuals = buffer.rewards + buffer.gamma * next_values * continues - buffer.values
    later = residuals - surprise
    reach = buffer.gamma * decays[:, None] * continues[:, None]  # (T, K, N)
    tail = residuals.new_zeros(len(decays), residuals.shape[1])
    steps = []
    for t in range(len(residuals) - 1, -1, -1):
        tail = reach[t] * tail
        steps.append(residuals[t] + tail)
        tail = later[t] + tail
    return torch.stack(steps[::-1], dim=1)


def action_surprise(
    policy: ActorCriticPolicy,
    observations: TensorObservations,
    rewards: Tensor,
    reward_of: Callable[[TensorObservations, Tensor], Tensor],
    samples: int,
) -> Tensor:
    """Return the actions' rewards less their means over the policy's actions at the same states.

    Args:
        policy: Draws the other actions, from torch's global random stream.
        observations: ``(n, ...)``; images are looked at in several batches.
        rewards: Those of the actions taken, ``(n,)``.
        reward_of: Rewards ``(n,)`` of one action at each observation.
        samples: Actions at each; see :class:`LearnedCredit`.
    """
    surprise = []
    for rows in _batches(observations):
        some = _rows(observations, rows)
        with torch.no_grad():
            total = torch.zeros_like(rewards[rows])
            for others in _draws(policy.get_distribution(some), samples):
                total += reward_of(some, others)
        surprise.append(rewards[rows] - total / samples)
    return torch.cat(surprise)


def _draws(distribution: Distribution, samples: int) -> Iterator[Tensor]:
    """Yield so many actions at each state, a Gaussian's in pairs around its mean."""
    if isinstance(distribution, StateDependentNoiseDistribution):
        # Its own samples are one and the same: they repeat the noise that the rollout was made by.
        gaussian = DiagGaussianDistribution(distribution.action_dim)
        gaussian.distribution = distribution.distribution  # what its log-probabilities are of
        squash = distribution.bijector.forward if distribution.bijector else nn.Identity()
        yield from map(squash, _draws(gaussian, samples))
        return
    mirrored = type(distribution) is DiagGaussianDistribution
    while samples > 0:
        drawn = distribution.sample()
        yield drawn
        if mirrored and samples > 1:
            yield 2 * distribution.mode() - drawn
        samples -= 1 + mirrored


def policy_gradients(
    policy: ActorCriticPolicy, observations: TensorObservations, actions: Tensor, weights: Tensor
) -> Tensor:
    """Return the gradients of mean log-probability times weight, one for each row of weights.

    Args:
        policy: The policy.
        observations: ``(n, ...)``.
        actions: ``(n, ...)``.
        weights: ``(K, n)``.

    Returns:
        Gradients in all parameters that the log-probabilities depend on, ``(K, P)``.
    """
    forward = forward_of(policy)
    weights = weights / weights.shape[1]
    parts = [
        forward.score_gradients(_rows(observations, rows), actions[rows], weights[:, rows])
        for rows in _batches(observations)
    ]
    return torch.stack(parts).sum(0)


def _batches(observations: TensorObservations) -> Iterator[slice]:
    """Yield the rows that one batch takes: all of them, unless they are images."""
    n = len(leading(observations))
    tensors = observations.values() if isinstance(observations, dict) else [observations]
    pixels = sum(tensor[0].numel() for tensor in tensors if tensor.dim() > 3)
    at_once = max(1, _AT_ONCE // pixels) if pixels else n
    yield from (slice(start, start + at_once) for start in range(0, n, at_once))


def _rows(observations: TensorObservations, rows: slice) -> TensorObservations:
    some: TensorObservations = map_parts(lambda x: x[rows], observations)
    return some


def _standardised(estimates: Tensor) -> Tensor:
    """Return ``(K, T, N)`` with mean 0 and deviation 1 in each of the K."""
    mean = estimates.mean((1, 2), keepdim=True)
    return (estimates - mean) / (estimates.std((1, 2), keepdim=True) + 1e-8)


def _halves(n: int) -> tuple[slice, slice]:
    """Halves of rows that lie environment by environment: apart as far as they can be."""
    return slice(0, n // 2), slice(n // 2, n)
