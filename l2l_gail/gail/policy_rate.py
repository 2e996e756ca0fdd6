"""The learning rate of a policy that plays against a discriminator."""

from __future__ import annotations

import math
from typing import Any

from gymnasium.spaces import Box

from l2l_gail.gail.pace import PolicyPace
from l2l_gail.gail.steering import PolicySteering

__all__ = ["PolicyRate"]

_FAR = 0.5
"""Share of the largest margin from which the policy has more of its way before it than behind."""


class PolicyRate:
    """Inherited from before an algorithm of SB3's: PPO's learning rate follows the game.

    It falls as the policy nears the expert (the pace), and is corrected where it was badly chosen
    (the steering).

    Attributes:
        policy_pace: Power of the margin that the rate is multiplied by; 0 for none.
        policy_divergence: What an update should move the policy by, in nats for each entry of a
            continuous action, give or take a factor of 1.6; 0 for no steering.
        pace: Follows the margin, of which others ask too.
        steering: ``None`` where it is switched off, for a policy over classes, for which none was
            measured, and where the user has said more of the policy's steps than a rate: a
            schedule, or ``target_kl``.
    """

    policy_pace: float
    policy_divergence: float
    pace: PolicyPace
    steering: PolicySteering | None = None
    # Of the algorithm.
    action_space: Any
    learning_rate: Any
    logger: Any
    policy: Any
    n_envs: int
    n_steps: int
    target_kl: float | None

    def _begin_rate(self) -> None:
        """Begin at PPO's rate."""
        self.pace = PolicyPace(self.policy_pace)
        self.steering = None
        has_more_to_say = callable(self.learning_rate) or self.target_kl is not None
        if self.policy_divergence and isinstance(self.action_space, Box) and not has_more_to_say:
            entries = math.prod(self.action_space.shape)
            self.steering = PolicySteering(self.policy_divergence, entries)

    @property
    def rate_factor(self) -> float:
        """What PPO's learning rate is multiplied by."""
        steered = 1.0 if self.steering is None else float(self.steering.factor)
        return self.pace.factor * steered

    def _observe_update(self) -> None:
        """Correct the rate by how far the update that has just ended has moved the policy."""
        if self.steering is None:
            return
        # A policy that has arrived hardly moves at any rate, and a higher one drives it away.
        far_to_go = self.pace.share >= _FAR
        # Of a single step SB3 measures nothing, and logs 0.
        divergence = self.logger.name_to_value.get("train/approx_kl", 0.0)
        self.steering.observe(divergence, self.n_steps * self.n_envs, may_rise=far_to_go)

    def _update_learning_rate(self, optimizers: Any) -> None:
        super()._update_learning_rate(optimizers)  # type: ignore[misc]
        for group in self.policy.optimizer.param_groups:
            group["lr"] *= self.rate_factor
        self.logger.record("train/learning_rate", self.policy.optimizer.param_groups[0]["lr"])
