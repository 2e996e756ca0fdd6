"""What a training game is to the core: the follower's loss, the leader's loss, the feasible set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

from torch import Tensor

from l2l_gail.core.types import Vars

__all__ = ["Culprit", "Game"]

Culprit: TypeAlias = Literal["rule", "leader", "follower", "loss"]
"""Whose numbers are not finite where a leader's step is not."""


class Game(ABC):
    """A leader-follower game seen from the follower, whose optimizer is learned.

    The bilevel problem of Jiang et al. (AISTATS 2021, arXiv 1811.01213, section 2): the leader
    minimises its loss at the follower's response, the follower minimises its own loss. Everything
    is a loss to minimise; in a zero-sum game the follower's loss is minus the leader's. A ``batch``
    is whatever the game's losses need: images and labels, or transitions of expert and policy.

    Attributes:
        zero_sum: Whether the follower's loss is minus the leader's, whatever the point. Only then
            can one backward pass train leader and rule: ``L2LTrainer``'s order ``"fused"``.
        parts: What messages call that which is not finite.
    """

    zero_sum: bool = False
    parts: ClassVar[Mapping[Culprit, str]] = {
        "rule": "the rule's weights",
        "leader": "the leader's weights",
        "follower": "the follower",
        "loss": "the leader's loss",
    }

    @abstractmethod
    def follower_loss(self, follower: Vars, batch: Any) -> Tensor:
        """Return the scalar loss that the follower minimises on ``batch``."""

    def init_follower(self, batch: Any) -> Vars:
        """Return where the follower starts: the clean images, or a network's weights."""
        raise NotImplementedError(f"{type(self).__name__} does not say where a follower starts")

    def leader_loss(self, follower: Vars, batch: Any) -> Tensor:
        """Return the scalar loss that the leader minimises at the follower's response."""
        raise NotImplementedError(f"{type(self).__name__} trains its leader elsewhere")

    def leader_statistics(self) -> Mapping[str, Tensor]:
        """Return what :meth:`leader_loss` writes besides: running statistics of a normalisation.

        Where the leader's step is not finite and so not taken, they are put back.
        """
        return {}

    def meta_loss(self, follower: Vars, batch: Any) -> Tensor:
        """Return the scalar loss that the *rule* minimises; the follower's own by default."""
        return self.follower_loss(follower, batch)

    def project(self, follower: Vars, batch: Any) -> Vars:
        """Return the nearest feasible follower: an epsilon ball, or everything (the default)."""
        return follower

    def leader_response(self, follower: Vars, batch: Any) -> Any:
        """Return the batch after a differentiable virtual step of the leader (default: as it is).

        Analytic games answer here, so that a rule can be trained through several rounds of play.
        """
        return batch
