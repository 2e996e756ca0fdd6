"""Settings of the discriminator, and of how a learned update rule is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_args

from tyro.conf import arg

from l2l_gail.checks import (
    check_below_one,
    check_choice,
    check_counts,
    check_fraction,
    check_nonnegative,
)
from l2l_gail.core import MetaMode
from l2l_gail.gail.discriminator import JUDGED
from l2l_gail.gail.losses import LOSSES
from l2l_gail.gail.penalties import PENALTIES
from l2l_gail.gail.rewards import REWARDS

__all__ = ["DECAY_WITHOUT_PENALTY", "DiscriminatorConfig", "RuleTraining"]

DECAY_WITHOUT_PENALTY = 6.0
"""Weight decay of a rule that has been given none, where no penalty bounds the discriminator."""


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator, its loss and how often it is updated.

    Attributes:
        hidden_sizes: Widths of the tanh layers.
        updates_per_rollout: Gradient steps after each rollout.
        batch_size: Samples per class and step: so many of the expert and so many of the policy.
        loss: The loss on its logits, a name of ``losses.LOSSES``: binary_cross_entropy,
            least_squares or relativistic.
        penalty: Penalties on its input gradient, which add up, names of ``penalties.PENALTIES``:
            gradient_penalty, r1, r2 or none.
        penalty_weight: Weight of the penalties. Without any the rules muon and matrix_rule decay
            its weights, by 6 if they were given no decay of their own.
        entropy_weight: Weight of the Bernoulli entropy of ``D``, as a bonus (Ho & Ermon 2016).
        controller_weight: ``k`` of C-GAIL's term ``k/2 E (D - 1/2)^2`` (Luo et al. 2024,
            arXiv 2402.16349).
        judges: What it is shown: state_action; or state_transition, a state and the next one, for
            demonstrations without actions (Torabi et al. 2018, arXiv 1807.06158).
        reward: The policy's reward as a function of the logit, a name of ``rewards.REWARDS``: gail,
            logit, fairl or dail; constant is the control without demonstrations.

    Raises:
        InputError: A value that no training could use.
    """

    # Renamed on the command line where the field's name says too little beside those of PPO.
    hidden_sizes: Annotated[tuple[int, ...], arg(name="discriminator-hidden-sizes")] = (100, 100)
    updates_per_rollout: Annotated[int, arg(name="updates")] = 10
    batch_size: Annotated[int, arg(name="discriminator-batch-size")] = 256
    loss: str = "binary_cross_entropy"
    penalty: tuple[str, ...] = ("gradient_penalty",)
    penalty_weight: float = 1.0
    entropy_weight: float = 0.0
    controller_weight: float = 0.0
    reward: str = "gail"
    judges: str = "state_action"

    def __post_init__(self) -> None:
        """Refuse values that no training could use; one penalty may be given by its name alone."""
        one = isinstance(self.penalty, str)
        object.__setattr__(self, "penalty", (self.penalty,) if one else tuple(self.penalty))
        check_choice("loss", self.loss, LOSSES)
        for name in self.penalty:
            check_choice("penalty", name, PENALTIES)
        check_choice("reward", self.reward, REWARDS)
        check_choice("judges", self.judges, JUDGED)
        check_counts(updates_per_rollout=self.updates_per_rollout, batch_size=self.batch_size)
        check_counts(**{f"hidden_sizes[{i}]": size for i, size in enumerate(self.hidden_sizes)})
        for name in ("penalty_weight", "entropy_weight", "controller_weight"):
            check_nonnegative(name, getattr(self, name))

    @property
    def is_penalised(self) -> bool:
        """Whether a penalty bounds the slope of its logits."""
        return self.penalty_weight > 0 and any(name != "none" for name in self.penalty)


@dataclass(frozen=True)
class RuleTraining:
    """How an update rule that has parameters is trained while the game runs.

    For each (or each n-th) discriminator update one gradient step on the discriminator's loss,
    penalties included, at the weights that the update has produced.

    Attributes:
        meta_learning_rate: Adam's learning rate for the rule's parameters; 0 leaves it as it is.
        meta_every: Train the rule after every n-th discriminator update. At every single one it
            learns no better and takes three times as long; with next, where it costs next to
            nothing, 1 is the natural choice.
        holdout_fraction: Share of each rollout that only the rule's training sees; none with next.
        meta_mode: What that loss is computed on. reverse: the held-out part of the rollout.
            next: the batch of the next update, whose gradient is needed anyway, and which after a
            rollout's last update is of the next rollout, the policy having answered, see
            :mod:`~l2l_gail.core.next_step`. forward: the held-out part with derivatives through all
            updates since the start, for a rule that learns at most 64 numbers (a step, a momentum),
            see :mod:`~l2l_gail.core.forward_mode`.
        meta_decay: With forward: factor on what has been carried, before each update, from 0 to 1.

    Raises:
        InputError: A value that no training could use.
    """

    meta_learning_rate: float = 3e-3
    meta_every: int = 5
    holdout_fraction: float = 0.25
    meta_mode: MetaMode = "reverse"
    meta_decay: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values that no training could use."""
        check_nonnegative("meta_learning_rate", self.meta_learning_rate)
        check_counts(meta_every=self.meta_every)
        check_below_one("holdout_fraction", self.holdout_fraction)
        check_choice("meta_mode", self.meta_mode, get_args(MetaMode))
        check_fraction("meta_decay", self.meta_decay)
