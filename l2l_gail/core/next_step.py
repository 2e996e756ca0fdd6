"""The meta-gradient from the next step's own question: it costs no gradient and no data.

Where a rule asks for the gradient at its follower on a fresh batch, that gradient also says whether
the step before was a good one: by the chain rule the loss there depends on the rule's parameters as

    d loss(x_{t+1}) / d phi = <grad loss(x_{t+1}), d x_{t+1} / d phi> ,

and the second factor is the rule's own arithmetic. This is hypergradient descent (Baydin et al.
2018, arXiv 1703.04782; Almeida et al. 1999) for rules of any form. The batch is fresh, so no data
have to be held out, and where the leader has moved in between it is the leader's answer that the
step is judged by. Learning costs one pass through the rule, and none through the game.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from l2l_gail.core.game import Game
from l2l_gail.core.oracle import Oracle
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import State, Vars, copy_tree, shapes_of
from l2l_gail.errors import InputError

__all__ = ["NextStep"]

LastStep = tuple[Vars, State, list[Vars]]
"""All that a step depends on but the rule: follower and state before it, the answers it got."""


class NextStep:
    """Keeps, from each step of a rule to the next, how it depends on the rule.

    Args:
        game: Whose follower moves freely.
        rule: What moves it.

    Raises:
        InputError: If the game has a meta-loss of its own or a feasible set: the next question
            tells nothing of these.
    """

    def __init__(self, game: Game, rule: UpdateRule) -> None:
        for name, has in (("a meta-loss of its own", "meta_loss"), ("a feasible set", "project")):
            if getattr(type(game), has) is not getattr(Game, has):
                raise InputError(
                    f"meta_mode='next' judges a step by the next one's gradient, but "
                    f"{type(game).__name__} has {name}; use meta_mode='reverse'"
                )
        self.game = game
        self.rule = rule
        self._led_to: Vars = {}
        self._last: LastStep | None = None

    def ask(self, follower: Vars, batch: Any) -> _Foreseen:
        """Ask for the gradient that the next step's rule will ask for first."""
        return _Foreseen(lambda variables: self.game.follower_loss(variables, batch), follower)

    def meta_gradient(self, oracle: _Foreseen, parameters: Sequence[Tensor]) -> list[Tensor] | None:
        """Return the gradient, in the rule's parameters, of the loss that the last step led to.

        Args:
            oracle: What :meth:`ask` has returned, for the follower as that step left it.
            parameters: Learned parameters of the rule.

        Returns:
            A gradient for each; ``None`` where there is no last step to judge.
        """
        if not self._led_to:
            return None
        moved = {name: x for name, x in self._led_to.items() if x.requires_grad}
        found: Sequence[Tensor | None] = [None] * len(parameters)
        if moved:
            slopes = [oracle.answer[name] for name in moved]
            found = torch.autograd.grad(list(moved.values()), parameters, slopes, allow_unused=True)
        self.forget()
        return [
            torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
        ]

    def keep(self, after: Vars, made_from: LastStep) -> None:
        """Let the next step judge this one.

        Args:
            after: Where it has led to, its graph in the rule's parameters included.
            made_from: Follower, state and answers of this step.
        """
        self._led_to, self._last = after, made_from

    def forget(self) -> None:
        """Leave the last step unjudged: the follower or the rule is another one."""
        self._led_to, self._last = {}, None

    def state(self) -> LastStep | None:
        """Return what :meth:`load` makes the dependence on the rule from again."""
        return self._last

    def load(self, last: LastStep | None, now: Vars) -> None:
        """Take the last step again, the rule being what it was when it was taken.

        Args:
            last: What :meth:`state` has returned.
            now: Where the follower stands after it.

        Raises:
            ValueError: The step is one of another follower.
        """
        self.forget()
        if last is None:
            return
        follower, state, answers = last
        if any(shapes_of(each) != shapes_of(now) for each in (follower, *answers)):
            raise ValueError("the saved last step is not one of this follower")
        with torch.enable_grad():
            after, _ = self.rule(follower, _Replayed(answers), state)
        self._led_to, self._last = after, (follower, state, list(answers))


class _Foreseen(Oracle):
    """An oracle that was asked at one point before the rule is, and keeps its answers.

    Attributes:
        loss: The loss at that point, 0-d.
        answer: Its gradient there.
        answers: All that it has told the rule.
    """

    def __init__(self, loss: Callable[[Vars], Tensor], point: Vars) -> None:
        super().__init__(loss)
        self._point = point
        self.answer = super().__call__(point)
        self.loss = self._last_loss
        self.queries = 0
        self.answers: list[Vars] = []

    def _value(self, point: Vars) -> Tensor:
        value = super()._value(point)
        self._last_loss = value.detach()
        return value

    def __call__(self, variables: Vars) -> Vars:
        """Return the gradient at ``variables``, known already where the point is the first one."""
        if variables is self._point:
            self.queries += 1
            told = self.answer
        else:
            told = super().__call__(variables)
        self.answers.append(told)
        return copy_tree(told, None)  # the rule may write into what it is told


class _Replayed(Oracle):
    """An oracle that gives the answers of another one again, in their order."""

    def __init__(self, answers: Sequence[Vars]) -> None:
        super().__init__(_not_asked)
        self._answers = iter(answers)

    def __call__(self, variables: Vars) -> Vars:
        self.queries += 1
        return copy_tree(next(self._answers), None)


def _not_asked(variables: Vars) -> Tensor:
    raise RuntimeError("a replayed step asks nothing new")
