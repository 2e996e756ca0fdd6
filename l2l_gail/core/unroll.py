"""K steps of a rule on a game, as one differentiable piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from l2l_gail.core.game import Game
from l2l_gail.core.oracle import Oracle
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import State, Vars

__all__ = ["Trajectory", "unroll"]


@dataclass
class Trajectory:
    """What an unroll leaves behind, the graph included if gradients were enabled.

    Attributes:
        followers: The follower after each step, oldest first.
        batches: The batch after each step: the step's own, after the leader's virtual response.
        state: The rule's state after the last step.
        queries: How many gradients the rule asked for.
    """

    followers: list[Vars]
    batches: list[Any]
    state: State
    queries: int


def unroll(
    rule: UpdateRule,
    game: Game,
    follower: Vars,
    state: State,
    batches: Sequence[Any],
    *,
    second_order: bool = False,
    oracle: Oracle | None = None,
) -> Trajectory:
    """Apply ``rule`` once for each batch, projecting and letting the leader answer in between.

    Args:
        rule: The update rule; its parameters are shared by all steps.
        game: Gives the loss whose gradient the rule may query, the projection and the response.
        follower: Where the follower stands before the first step.
        state: The rule's state before the first step.
        batches: One batch a step. An entry ``None`` repeats the batch before it as the leader's
            response left it, so that ``[batch] + [None] * (k - 1)`` is k steps on one batch.
        second_order: Whether the inner gradients stay in the graph; see
            :class:`~l2l_gail.core.oracle.Oracle`.
        oracle: What answers in the first step; made from the game's loss by default, as in the
            others.

    Returns:
        The trajectory of ``len(batches)`` steps.
    """
    followers: list[Vars] = []
    seen: list[Any] = []
    queries = 0
    for given in batches:
        batch = seen[-1] if given is None and seen else given
        oracle = oracle or Oracle(
            lambda v, batch=batch: game.follower_loss(v, batch),  # type: ignore[misc]
            second_order=second_order,
        )
        follower, state = rule(follower, oracle, state)
        follower = game.project(follower, batch)
        queries += oracle.queries
        oracle = None
        followers.append(follower)
        seen.append(game.leader_response(follower, batch))
    return Trajectory(followers, seen, state, queries)
