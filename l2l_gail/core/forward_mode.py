"""The meta-gradient carried forward through all steps of a follower, at a memory that stays flat.

Reverse mode differentiates an unroll of a few steps and forgets the past: a step that pays off
later than that looks worthless (short-horizon bias, Wu et al. 2018, arXiv 1803.02021). Forward mode
keeps, for each scalar ``phi`` of the rule, the tangents ``dz/dphi`` of follower and state
``z = (x, S)`` and carries them along with the steps ``z <- F(z, phi)``:

    dz/dphi <- dF/dz (decay dz/dphi) + dF/dphi,

curvature included: ``dF/dz`` sees how the gradient changes with the follower (a Hessian-vector
product). It is real-time recurrent learning (Williams & Zipser 1989), for learning rates in
Franceschi et al. 2017 (arXiv 1703.01785). The cost grows with the number of scalars, so that it is
for a few: steps and momenta, not networks.

Where a step's length does not depend on the gradient's, as in Muon, a high rate lets the follower
bounce around its optimum: the tangents grow without bound, and the rule runs away. From such a
start reverse mode tracks better, and is cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call

from l2l_gail.checks import check_fraction
from l2l_gail.core.game import Game
from l2l_gail.core.oracle import Oracle, check_loss, leaf
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import State, Vars, all_finite, detach, map_tensors, mapped, named_tensors
from l2l_gail.core.unroll import Trajectory, check_answer, writings
from l2l_gail.errors import InputError

__all__ = ["MAX_SCALARS", "ForwardMode"]

MAX_SCALARS = 64

Scalar = tuple[str, int]
"""A parameter's name and the index of one of its entries."""


class ForwardMode:
    """Takes a rule's steps and carries their derivatives in the rule's scalars along.

    Args:
        rule: A rule with at most 64 scalars to learn, whose operations all have a forward-mode
            derivative in torch.
        decay: Factor on the tangents before each step, in [0, 1]. 0 forgets the past; 1 keeps all
            of it, which on a long and rough course can explode.

    Attributes:
        tangents: For each scalar the derivatives of the follower and of the state's tensors; empty
            before the first step.

    Raises:
        InputError: If there is nothing to learn, there are too many scalars, a network is among
            what is learned, or ``decay`` is outside [0, 1].
    """

    def __init__(self, rule: UpdateRule, decay: float) -> None:
        check_fraction("meta_decay", decay)
        self.rule = rule
        self.decay = decay
        self.scalars: list[Scalar] = [
            (name, index)
            for name, parameter in rule.learned_parameters().items()
            for index in range(parameter.numel())
        ]
        if not 0 < len(self.scalars) <= MAX_SCALARS:
            raise InputError(
                f"the forward meta-gradient is for 1 to {MAX_SCALARS} scalars, and "
                f"{type(rule).__name__} learns {len(self.scalars)}; use meta_mode='reverse'"
            )
        if rule.config.get("learn_network"):
            raise InputError(
                f"the network of {type(rule).__name__} has no forward derivative; use "
                "meta_mode='reverse'"
            )
        self.tangents: list[tuple[Vars, State]] = []

    def forget(self) -> None:
        """Drop the tangents: the follower is a new one."""
        self.tangents = []

    def unroll(
        self, game: Game, follower: Vars, state: State, batches: Sequence[Any]
    ) -> Trajectory:
        """Apply the rule as :func:`~l2l_gail.core.unroll.unroll` does, tangents along.

        Batches enter as data, also one that is a leader's response.

        Returns:
            The trajectory, without a graph; :attr:`tangents` are those of its last point.
        """
        followers: list[Vars] = []
        seen: list[Any] = []
        queries = 0
        tangents = self.tangents or [({}, {}) for _ in self.scalars]
        for given in batches:
            batch = seen[-1] if given is None and seen else given
            oracle = _TangentOracle(
                lambda v, batch=batch: game.follower_loss(v, batch)  # type: ignore[misc]
            )
            moved: list[tuple[Vars, State]] = []
            for scalar, (of_follower, of_state) in zip(self.scalars, tangents, strict=True):
                oracle.rewind()
                before = writings(follower), writings(state)
                with torch.no_grad(), forward_ad.dual_level():
                    answer = functional_call(
                        self.rule,
                        self._dual_parameters(scalar),
                        (
                            _dual(follower, of_follower, self.decay),
                            oracle,
                            _dual(state, of_state, self.decay),
                        ),
                    )
                    check_answer(self.rule, answer, (follower, state), before)
                    after, state_after = answer
                    after = game.project(after, batch)
                    moved.append((_tangents_of(after), _tangents_of(state_after)))
                    follower_after, new_state = _primal(after), _primal(state_after)
            follower, state, tangents = follower_after, new_state, moved
            queries += oracle.queries
            followers.append(follower)
            with torch.no_grad():
                seen.append(detach(game.leader_response(follower, batch)))
        self.tangents = tangents
        return Trajectory(followers, seen, state, queries)

    def meta_gradient(
        self, loss: Callable[[Vars], Tensor], follower: Vars, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the loss at the last follower and its gradient in the rule's parameters.

        Args:
            loss: The meta-loss as a function of the follower.
            follower: The last follower of :meth:`unroll`.
            parameters: Learned parameters of the rule, all or some.

        Returns:
            The loss, 0-d and detached, and a gradient for each of ``parameters``.
        """
        point = {name: leaf(name, tensor) for name, tensor in follower.items()}
        with torch.enable_grad():
            value = check_loss(loss(point), "the meta-loss")
            slopes = torch.autograd.grad(value, list(point.values()), materialize_grads=True)
        gradients = {
            name: torch.zeros_like(p) for name, p in self.rule.named_parameters() if p.requires_grad
        }
        for (name, index), (of_follower, _) in zip(self.scalars, self.tangents, strict=True):
            for key, slope in zip(point, slopes, strict=True):
                if key in of_follower:
                    gradients[name].view(-1)[index] += (slope * of_follower[key]).sum()
        of = {id(p): gradients.get(name) for name, p in self.rule.named_parameters()}
        return value.detach(), [g for p in parameters if (g := of[id(p)]) is not None]

    def guard(self) -> None:
        """Drop tangents that left the finite numbers, so that later steps count again."""
        for of_follower, of_state in self.tangents:
            if not all_finite({**of_follower, **dict(named_tensors(of_state, "state"))}):
                return self.forget()

    def _dual_parameters(self, scalar: Scalar) -> dict[str, Tensor]:
        """Return the rule's parameters, the one of ``scalar`` with a unit tangent."""
        name, index = scalar
        parameter = self.rule.get_parameter(name).detach()
        tangent = torch.zeros_like(parameter)
        tangent.view(-1)[index] = 1.0
        return {name: forward_ad.make_dual(parameter, tangent)}


class _TangentOracle(Oracle):
    """An oracle whose answers carry a tangent: the Hessian times that of the question.

    The same questions are asked once for each scalar; the gradient and its graph are kept, so that
    each of them costs one Hessian-vector product more, and not a gradient.
    """

    def __init__(self, loss: Callable[[Vars], Tensor]) -> None:
        super().__init__(loss, second_order=True)
        self._answers: list[tuple[Vars, Vars]] = []
        self._asked = 0

    def rewind(self) -> None:
        """Go back to the first question."""
        self._asked = 0

    def __call__(self, variables: Vars) -> Vars:
        if self._asked == len(self._answers):
            point = {name: leaf(name, _primal(t)) for name, t in variables.items()}
            with torch.enable_grad():
                self._answers.append((point, self.gradient(point)))
            self.queries += 1
        point, gradients = self._answers[self._asked]
        self._asked += 1
        tangents = _tangents_of(variables)
        curved = {n: g for n, g in gradients.items() if g.requires_grad and n in tangents}
        products: Sequence[Tensor | None] = [None] * len(point)
        if curved:
            products = torch.autograd.grad(
                list(curved.values()),
                list(point.values()),
                [tangents[name] for name in curved],
                retain_graph=True,
                allow_unused=True,
            )
        # Copies: the rule may write into them, and the next scalar's question is answered by these.
        return {
            name: own if product is None else forward_ad.make_dual(own, product.clone())
            for (name, g), product in zip(gradients.items(), products, strict=True)
            for own in (g.detach().clone(),)
        }


def _dual(tree: Any, tangents: Any, decay: float) -> Any:
    """Return ``tree`` with ``decay`` times the tangents on those of its tensors that have one."""
    if isinstance(tree, (dict, list, tuple)):
        return mapped(lambda key, value: _dual(value, tangents.get(key, {}), decay), tree)
    if isinstance(tree, Tensor) and isinstance(tangents, Tensor):
        return forward_ad.make_dual(tree, decay * tangents)
    return tree


def _tangents_of(tree: Any) -> Any:
    """Return the tangents of a tree's tensors, as dicts of those that have one.

    Of a list or a tuple the keys are the places.
    """
    if isinstance(tree, (list, tuple)):
        tree = dict(enumerate(tree))
    if isinstance(tree, dict):
        found = {key: _tangents_of(value) for key, value in tree.items()}
        return {key: value for key, value in found.items() if value is not None and value != {}}
    return forward_ad.unpack_dual(tree).tangent if isinstance(tree, Tensor) else None


def _primal(tree: Any) -> Any:
    return map_tensors(lambda tensor: forward_ad.unpack_dual(tensor).primal, tree)
