"""Settings of the discriminator and of its learned update rule, in two small groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from l2l_gail.errors import InputError

__all__ = ["DiscriminatorConfig", "LearnedRuleConfig", "PenaltyName", "RewardName", "RuleName"]

RuleName = Literal["adam", "optimistic_adam", "sgd"]
PenaltyName = Literal["gradient_penalty", "r1", "none"]
RewardName = Literal["gail", "airl", "fairl", "dail", "constant"]


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator, its loss and how it is trained.

    Attributes:
        hidden_sizes: Widths of the tanh layers.
        update_rule: The hand-designed rule that moves its weights.
        learning_rate: The rule's learning rate.
        updates_per_rollout: Gradient steps after each rollout.
        batch_size: Samples per class and step: so many of the expert and so many of the policy.
        penalty: ``gradient_penalty`` pulls the input-gradient's norm to 1 between expert and
            policy (Gulrajani et al. 2017, arXiv 1704.00028), ``r1`` pulls it to 0 at expert data
            (Mescheder et al. 2018, arXiv 1801.04406).
        penalty_weight: Weight of the penalty.
        entropy_weight: Weight of the Bernoulli entropy of ``D``, as a bonus (Ho & Ermon 2016).
        controller_weight: ``k`` of C-GAIL's term ``k/2 E (D - 1/2)^2`` (Luo et al. 2024,
            arXiv 2402.16349).
        reward: The policy's reward as a function of the logit; see
            :mod:`l2l_gail.gail.rewards`. ``constant`` is the no-demonstrations control.
        holdout_fraction: Share of each rollout that the updates never see. A learned rule is
            judged on it; a hand-designed rule has no use for it.
    """

    hidden_sizes: tuple[int, ...] = (100, 100)
    update_rule: RuleName = "adam"
    learning_rate: float = 3e-4
    updates_per_rollout: int = 10
    batch_size: int = 512
    penalty: PenaltyName = "gradient_penalty"
    penalty_weight: float = 1.0
    entropy_weight: float = 0.0
    controller_weight: float = 0.0
    reward: RewardName = "gail"
    holdout_fraction: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that no training could use."""
        _check_choice("update_rule", self.update_rule, get_args(RuleName))
        _check_choice("penalty", self.penalty, get_args(PenaltyName))
        _check_choice("reward", self.reward, get_args(RewardName))
        _check(
            0 < self.learning_rate < math.inf,
            f"learning_rate must be positive and finite, not {self.learning_rate}",
        )
        _check_counts(updates_per_rollout=self.updates_per_rollout, batch_size=self.batch_size)
        _check_counts(**{f"hidden_sizes[{i}]": size for i, size in enumerate(self.hidden_sizes)})
        _check(
            0 <= self.holdout_fraction < 1,
            f"holdout_fraction must be in [0, 1), not {self.holdout_fraction}",
        )
        for name in ("penalty_weight", "entropy_weight", "controller_weight"):
            weight = getattr(self, name)
            _check(0 <= weight < math.inf, f"{name} must be 0 or more and finite, not {weight}")


@dataclass(frozen=True)
class LearnedRuleConfig:
    """The learned update rule and its training, while the game runs.

    Attributes:
        meta_learning_rate: Adam's learning rate for the rule's network.
        global_step_lr_ratio: The learned global step's rate over the network's.
        meta_every: Train the rule after every n-th discriminator update.
        hidden: Width of the rule's two hidden layers.
        learn_network: Whether the coordinate network is learned; without it the rule is Adam under
            a learned global step.
        learn_step: Whether the global step is learned.
        holdout_fraction: Share of each rollout on which the rule is judged.
    """

    meta_learning_rate: float = 3e-3
    global_step_lr_ratio: float = 10.0
    meta_every: int = 1
    hidden: int = 16
    learn_network: bool = True
    learn_step: bool = True
    holdout_fraction: float = 0.25

    def __post_init__(self) -> None:
        """Refuse values that no training could use."""
        for name in ("meta_learning_rate", "global_step_lr_ratio"):
            rate = getattr(self, name)
            _check(0 <= rate < math.inf, f"{name} must be 0 or more and finite, not {rate}")
        _check_counts(meta_every=self.meta_every, hidden=self.hidden)
        _check(
            0 < self.holdout_fraction < 1,
            f"a learned rule needs a holdout_fraction in (0, 1), not {self.holdout_fraction}",
        )
        _check(
            self.learn_network or self.learn_step,
            "learn_network and learn_step are both off: nothing to learn; use GAIL",
        )


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        _check(isinstance(count, int) and count >= 1, f"{name} must be a whole number, not {count}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _check(value in choices, f"{name} must be one of {', '.join(choices)}, not {value!r}")
