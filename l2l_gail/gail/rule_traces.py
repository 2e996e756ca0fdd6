"""Whether an update rule helps: its last step, against its base and after its own training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from l2l_gail.core import L2LTrainer, Layout, Oracle, State, UpdateRule, Vars, unroll
from l2l_gail.core.types import copy_tree
from l2l_gail.gail.batch import TransitionBatch

__all__ = ["TracedStep", "rule_traces", "step_size"]


class TracedStep(NamedTuple):
    """One update that trained the rule, with all that it takes to take it again.

    Attributes:
        before: The discriminator's weights before it.
        state: The rule's state before it.
        after: The weights after it, the rule being as it was before its own training on it.
        batch: What the update was computed on.
        held_out: What the rule was trained on: held-out data, or the next update's batch.
    """

    before: Vars
    state: State
    after: Vars
    batch: TransitionBatch
    held_out: TransitionBatch


def step_size(before: Vars, after: Vars) -> Tensor:
    """Return the root mean square of a step over all weights, 0-d."""
    return (_flat(after) - _flat(before)).square().mean().sqrt()


@torch.no_grad()
def rule_traces(trainer: L2LTrainer, step: TracedStep, meta_loss: Tensor) -> dict[str, Tensor]:
    """Take a step again by the rule as its training has left it, and by its base, and compare.

    Nothing of the training is changed and nothing is drawn at random. Costs one gradient of the
    discriminator's loss.

    Args:
        trainer: What took the step; its rule has been trained on it and not since.
        step: The step.
        meta_loss: The meta-loss after it, 0-d, which the trainer has computed.

    Returns:
        0-d tensors, losses being the meta-loss on the step's held-out data: ``meta_loss_after`` of
        the rule as it is now, and for a rule that has a base ``meta_loss_base`` of the base's step
        from the same point, ``gain`` of the step that was taken over it, and ``cosine_base`` of the
        two steps.
    """
    oracle = _AskedOnce(trainer, step.batch)
    again = _moved(trainer, trainer.rule, step, oracle)
    traces = {"meta_loss_after": trainer.game.meta_loss(again, step.held_out)}
    base = trainer.rule.base()
    if base is None:
        return traces
    by_base = _moved(trainer, base, step, oracle)
    loss = trainer.game.meta_loss(by_base, step.held_out)
    start = _flat(step.before)
    steps = _flat(step.after) - start, _flat(by_base) - start
    traces["meta_loss_base"] = loss
    traces["gain"] = loss - meta_loss
    traces["cosine_base"] = torch.cosine_similarity(*steps, dim=0, eps=1e-30)
    return traces


class _AskedOnce(Oracle):
    """An oracle that keeps its answer at the step's starting point, where all rules ask."""

    def __init__(self, trainer: L2LTrainer, batch: TransitionBatch) -> None:
        super().__init__(lambda variables: trainer.game.follower_loss(variables, batch))
        self._known: tuple[Vars, Vars] | None = None

    def __call__(self, variables: Vars) -> Vars:
        if self._known is None or self._known[0] is not variables:
            self._known = variables, super().__call__(variables)
        return copy_tree(self._known[1], None)  # a rule may write into its own


def _moved(trainer: L2LTrainer, rule: UpdateRule, step: TracedStep, oracle: Oracle) -> Vars:
    course = unroll(rule, trainer.game, step.before, step.state, [step.batch], oracle=oracle)
    return course.followers[-1]


def _flat(variables: Vars) -> Tensor:
    return Layout(variables).flatten(variables)
