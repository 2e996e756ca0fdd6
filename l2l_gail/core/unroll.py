"""K steps of a rule on a game, as one differentiable piece."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from l2l_gail.core.batches import check_batches
from l2l_gail.core.game import Game
from l2l_gail.core.oracle import Oracle, check_loss
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import State, Vars, map_tensors
from l2l_gail.errors import InputError

__all__ = [
    "Trajectory",
    "check_answer",
    "check_kept",
    "gradients_of_both",
    "unroll",
    "writings",
]

Writings: TypeAlias = tuple[list[Any], list[int]]


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

    Raises:
        InputError: If ``batches`` is a batch itself or empty, or the rule returns what no rule may.
    """
    check_batches(batches)
    followers: list[Vars] = []
    seen: list[Any] = []
    queries = 0
    for given in batches:
        batch = seen[-1] if given is None and seen else given
        oracle = oracle or Oracle(
            lambda v, batch=batch: game.follower_loss(v, batch),  # type: ignore[misc]
            second_order=second_order,
        )
        before = writings(follower), writings(state)
        answer = rule(follower, oracle, state)
        check_answer(rule, answer, (follower, state), before)
        follower, state = answer
        follower = game.project(follower, batch)
        queries += oracle.queries
        oracle = None
        followers.append(follower)
        seen.append(game.leader_response(follower, batch))
    return Trajectory(followers, seen, state, queries)


def gradients_of_both(
    game: Game, trajectory: Trajectory, leader: list[Tensor], phi: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Return the leader's loss after an unroll, and its gradients in both players' parameters.

    The leader's is the one at the response held fixed, the rule's the one of what it led to. Where
    the inner gradients are in the graph, the response depends on the leader as well; so the loss is
    differentiated up to the response, and the response in the rule alone: one backward pass, cut
    in two.

    Args:
        game: Gives the leader's loss.
        trajectory: The unroll.
        leader: The leader's parameters.
        phi: The rule's, none where it is not trained.

    Returns:
        The loss, 0-d, and a gradient for each of ``leader`` and then of ``phi``.

    Raises:
        InputError: The loss is no tensor of one number that has a gradient.
    """
    answers: list[Tensor] = []  # what was led to, with the graph that led there
    points: list[Tensor] = []  # the same, without

    def cut(tensor: Tensor) -> Tensor:
        if tensor.grad_fn is None:
            return tensor
        answers.append(tensor)
        points.append(tensor.detach().requires_grad_())
        return points[-1]

    follower, batch = map_tensors(cut, (trajectory.followers[-1], trajectory.batches[-1]))
    loss = check_loss(game.leader_loss(follower, batch), "the leader's loss")
    found = torch.autograd.grad(loss, leader + points, materialize_grads=True)
    of_leader, slopes = found[: len(leader)], found[len(leader) :]
    if not phi or not answers:
        return loss, [*of_leader, *map(torch.zeros_like, phi)]
    return loss, [*of_leader, *torch.autograd.grad(answers, phi, slopes, materialize_grads=True)]


def writings(tree: Any) -> Writings:
    """Return what stands in nested dicts, lists and tuples, and how often each was written to.

    It is the same as before, part by part, where nobody has written into any of it.
    """
    parts: list[Any] = []
    counts: list[int] = []
    todo = [tree]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            todo.extend(part.values())
        elif isinstance(part, (list, tuple)):
            todo.extend(part)
        else:
            counted = isinstance(part, Tensor) and not part.is_inference()
            parts.append(part)
            counts.append(part._version if counted else 0)
    return parts, counts


def _is_written(before: Writings, tree: Any) -> bool:
    (parts, counts), (former, former_counts) = writings(tree), before
    return counts != former_counts or any(map(operator.is_not, parts, former))


def check_answer(
    rule: UpdateRule,
    answer: Any,
    given: tuple[Vars, State],
    before: tuple[Writings, Writings],
) -> None:
    """Refuse what no rule may return, before it is taken for the follower.

    What a rule was only told, such as labels beside an image, it may leave out.

    Args:
        rule: The rule that was asked.
        answer: What it returned.
        given: The follower and the state that it was given.
        before: The :func:`writings` of both, before.

    Raises:
        InputError: It is no pair, a variable is new or of another shape, or what the rule was given
            has been written to.
    """
    name = type(rule).__name__
    follower, state = given
    is_pair = isinstance(answer, (tuple, list)) and len(answer) == 2
    if not is_pair or not isinstance(answer[0], Mapping):
        raise InputError(
            f"{name} must return a pair, a dict of the moved variables and its state, not a "
            f"{type(answer).__name__}"
        )
    for key, tensor in answer[0].items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name} returns {key!r} as a {type(tensor).__name__}, not a tensor")
        if key not in follower:
            raise InputError(f"{name} was given no variable {key!r}, and returns one")
        if tensor.shape != follower[key].shape:
            was, now = tuple(follower[key].shape), tuple(tensor.shape)
            raise InputError(f"{name} returns {key!r} in shape {now}, given it in {was}")
    for what, tree, former in (("variables", follower, before[0]), ("state", state, before[1])):
        if _is_written(former, tree):
            raise InputError(
                f"{name} writes into the {what} that it is given: return new tensors, in new dicts"
            )


def check_kept(rule: UpdateRule, before: tuple[Vars, State], after: tuple[Vars, State]) -> None:
    """Refuse a follower that lives on without one of its variables, or a state with new parts.

    Whoever loads such a state could not tell whether it is one of the rule's.

    Raises:
        InputError: A rule has left one out, or its state was not begun with what it holds.
    """
    name = type(rule).__name__
    if lost := [key for key in before[0] if key not in after[0]]:
        raise InputError(f"{name} must return every variable: it left out {lost[0]!r}")
    state = after[1]
    if not isinstance(state, Mapping):
        raise InputError(
            f"{name} must return its state as a dict, {{}} for none, not as a "
            f"{type(state).__name__}"
        )
    if begun := [key for key in state if key not in before[1]]:
        raise InputError(
            f"{name} returns a state with {begun[0]!r}, which it was not given: let "
            "init(variables) return every part, zeros for instance"
        )
