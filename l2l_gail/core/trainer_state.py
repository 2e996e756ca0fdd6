"""What a trainer is made of between two programs, and how one goes on where another has stopped."""

from __future__ import annotations

import copy
from typing import Any

import torch

from l2l_gail.core.forward_mode import ForwardMode
from l2l_gail.core.guards import RuleBackup
from l2l_gail.core.next_step import NextStep
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import State, Vars, copy_tree, shapes_of

__all__ = ["TrainerState"]


class TrainerState:
    """The part of an :class:`~l2l_gail.core.trainer.L2LTrainer` that a checkpoint holds.

    Attributes:
        rule: The update rule.
        meta_optimizer: Of the rule's parameters.
        leader_optimizer: Of the leader's.
        follower: The committed follower.
        state: The rule's committed state.
        steps: Steps taken.
        skipped: Meta-updates that were skipped.
        rejected: Persistent steps that were not committed.
        refused: Leader's steps that were not taken.
        resets: Times the rule was set back.
    """

    rule: UpdateRule
    meta_optimizer: torch.optim.Optimizer | None
    leader_optimizer: torch.optim.Optimizer | None
    follower: Vars | None
    state: State
    steps: int
    skipped: int
    rejected: int
    refused: int
    resets: int
    _backup: RuleBackup
    _forward: ForwardMode | None
    _next: NextStep | None

    def state_dict(self) -> dict[str, Any]:
        """Return everything a resumed trainer needs: follower, rule, state, optimizers, counts."""
        return {
            "follower": self.follower,
            "state": self.state,
            "rule": self.rule.state_dict(),
            "meta_optimizer": _optimizer_state(self.meta_optimizer),
            "leader_optimizer": _optimizer_state(self.leader_optimizer),
            "counts": [self.steps, self.skipped, self.rejected, self.refused, self.resets],
            **({"given": self._backup.weights} if self.meta_optimizer else {}),
            **({"tangents": self._forward.tangents} if self._forward else {}),
            **({"course": self._next.state()} if self._next else {}),
        }

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Take over a state of :meth:`state_dict`, as a copy on this trainer's device.

        Before the first step, with no follower yet, the saved one's device is the trainer's.

        Raises:
            ValueError: If it is of another follower, another rule, or has other optimizers.
        """
        follower, rule_state = state["follower"], state["state"]
        optimizers = ("meta_optimizer", "leader_optimizer")
        for name in optimizers:  # everything is looked at before anything is replaced
            there, saved = getattr(self, name) is not None, state[name] is not None
            was_frozen = name == "meta_optimizer" and not self.rule.learned_parameters()
            if there != saved and not (saved and was_frozen):
                raise ValueError(f"saved with{'out' * (not saved)} a {name}, loaded otherwise")
        if self.follower is None and follower is not None:
            if rule_state.keys() != self.rule.init(follower).keys():
                raise ValueError(f"the saved state is not one of {type(self.rule).__name__}")
        if self.follower is not None:
            if shapes_of(follower) != shapes_of(self.follower):
                raise ValueError("the saved follower has other names or shapes than this one")
            if rule_state.keys() != self.state.keys():
                raise ValueError(f"the saved state is not one of {type(self.rule).__name__}")
        device = next(iter(self.follower.values())).device if self.follower else None
        follower, rule_state = copy_tree(follower, device), copy_tree(rule_state, device)
        try:
            self.rule.load_state_dict(state["rule"], strict=strict)
        except RuntimeError as error:
            which = type(self.rule).__name__
            raise ValueError(f"the saved rule is no {which} like this one: {error}") from error
        self.follower, self.state = follower, rule_state
        for name in optimizers:
            optimizer = getattr(self, name)
            if optimizer is not None:
                optimizer.load_state_dict(copy.deepcopy(state[name]))  # it keeps what it is given
        if "given" in state:  # not before version 0.2.0
            self._backup.take_over(state["given"], self.rule)
        counts = [*state["counts"], 0, 0][:5]  # version 0.1.0 had the first three
        self.steps, self.skipped, self.rejected, self.refused, self.resets = counts
        if self._forward:
            device = next(self.rule.parameters()).device
            self._forward.tangents = copy_tree(state.get("tangents", []), device)
        if self._next:
            device = next(self.rule.parameters()).device
            self._next.load(copy_tree(state.get("course"), device), follower)


def _optimizer_state(optimizer: torch.optim.Optimizer | None) -> dict[str, Any] | None:
    return None if optimizer is None else optimizer.state_dict()
