"""The policy that acts: the average of those that the training has passed through."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from l2l_gail.averaging import WeightAverage

__all__ = ["ActsByAverage"]


class ActsByAverage:
    """Inherited from before an algorithm of SB3's: ``predict`` acts by an average of its policy.

    GAIL's policy is the generator of an adversarial game, and like one it circles about the
    equilibrium: a policy as good as the expert may fall in the next rollout and stand again in the
    one after. The average of its weights does not follow it there.

    Attributes:
        policy: The policy that is trained, which collects the rollouts.
        policy_average: Decay of the average from one rollout to the next, in [0, 1); 0 for none.
        average: The average, ``None`` if there is none.
    """

    policy: Any  # ActorCriticPolicy, of which SB3 knows less where it declares it
    policy_average: float
    average: WeightAverage | None = None

    @property
    def acting_policy(self) -> ActorCriticPolicy:
        """The policy that ``predict`` acts by: the average, once a rollout was learned from."""
        if self.average is None or not self.average.steps:
            return cast(ActorCriticPolicy, self.policy)
        return cast(ActorCriticPolicy, self.average.model)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions at raw observations, as ``PPO.predict``, by :attr:`acting_policy`."""
        return self.acting_policy.predict(observation, state, episode_start, deterministic)

    def _begin_average(self) -> None:
        """Begin the average at the policy as it is, without drawing from any random stream."""
        if not self.policy_average:
            return
        if self.policy.use_sde:  # its noise hangs on the weights, and then could not be copied
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                self.policy.reset_noise()  # every rollout begins by drawing it anew
        distribution = self.policy.action_dist
        if isinstance(distribution, nn.Module):  # has weights of its own
            self.average = WeightAverage(self.policy, self.policy_average)
            return
        # What it was last asked hangs on the weights, too, and each question makes another.
        self.policy.action_dist = None
        try:
            self.average = WeightAverage(self.policy, self.policy_average)
        finally:
            self.policy.action_dist = distribution
        self.average.model.action_dist = copy.copy(distribution)
