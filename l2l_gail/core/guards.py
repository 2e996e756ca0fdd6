"""What a bad step must not leave: whose fault it was, a rule and statistics to go back to."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from l2l_gail.core.game import Culprit
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import State, Vars, all_finite, named_tensors
from l2l_gail.errors import InputError

__all__ = ["RuleBackup", "Statistics", "leader_culprit", "spoiled"]


class RuleBackup:
    """A rule's weights as they were given: for a residual rule the start, which is its base.

    Args:
        rule: The rule.

    Attributes:
        weights: A copy of its ``state_dict`` at that time.

    Raises:
        InputError: If they are not finite already.
    """

    def __init__(self, rule: UpdateRule) -> None:
        self.weights = copy.deepcopy(rule.state_dict())
        if not all_finite(dict(named_tensors(self.weights))):
            raise InputError(
                f"the weights of this {type(rule).__name__} are not finite: give a rule whose "
                "training did not fail"
            )

    def take_over(self, weights: Vars, rule: UpdateRule) -> None:
        """Replace the copy by that of a saved training, whose rule this one goes on for.

        Raises:
            ValueError: If it is of another rule, or not finite.
        """
        own = rule.state_dict()
        if [(n, t.shape) for n, t in weights.items()] != [(n, t.shape) for n, t in own.items()]:
            raise ValueError(f"the saved start is not one of {type(rule).__name__}")
        if not all_finite(weights):
            raise ValueError(f"the saved start of {type(rule).__name__} is not finite")
        self.weights = copy.deepcopy(weights)

    def restore(self, rule: UpdateRule, optimizer: torch.optim.Optimizer | None) -> None:
        """Set the rule's weights back, and let its optimizer forget."""
        rule.load_state_dict(self.weights)
        if optimizer is not None:
            optimizer.state.clear()


class Statistics:
    """Copies of tensors that a leader's loss writes, to put back if its step is not taken.

    Args:
        tensors: What :meth:`~l2l_gail.core.game.Game.leader_statistics` gives.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._pairs = [(tensor, tensor.detach().clone()) for tensor in tensors.values()]

    @torch.no_grad()
    def restore(self) -> None:
        """Write the copies back."""
        for tensor, kept in self._pairs:
            tensor.copy_(kept)


def spoiled(before: State, after: State) -> bool:
    """Return whether a tensor of a rule's state holds NaN or infinity, and did not before.

    Infinity may be what a rule starts from: the least loss so far, for instance.
    """
    finite_before = dict(named_tensors(before))
    return any(
        not bool(all_finite({name: tensor}))
        and (name not in finite_before or bool(all_finite({name: finite_before[name]})))
        for name, tensor in named_tensors(after)
    )


def leader_culprit(
    rule: UpdateRule, leader: list[Tensor], statistics: Mapping[str, Tensor], follower: Vars
) -> Culprit:
    """Return whose numbers are not finite: the first of them is what spoiled the others."""
    suspects: dict[Culprit, Mapping[str, Tensor]] = {
        "rule": dict(rule.named_parameters()),
        "leader": {**{str(i): p for i, p in enumerate(leader)}, **statistics},
        "follower": follower,
    }
    for name, tensors in suspects.items():
        if tensors and not bool(all_finite(tensors)):
            return name
    return "loss"
