"""The follower's gradient, on demand and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from l2l_gail.core.types import Vars
from l2l_gail.errors import InputError

__all__ = ["FieldOracle", "Oracle", "check_loss", "leaf"]


class Oracle:
    """Answers a rule's question "what is the gradient here?" and counts the questions.

    The number of queries is what separates Naive L2L (0) from FGSM and Grad L2L (1), PGD and
    k-step L2L (k) and extragradient (2 a step); with gradients on demand they share one interface.

    Args:
        loss: Maps variables to the scalar loss that the follower minimises.
        second_order: If true, gradients stay in the graph, so that a meta-gradient sees how they
            depend on the rule. If false (the default) they enter as data.
    """

    def __init__(self, loss: Callable[[Vars], Tensor], *, second_order: bool = False) -> None:
        self._loss = loss
        self.second_order = second_order
        self.queries = 0

    def __call__(self, variables: Vars) -> Vars:
        """Return the gradient of the loss at ``variables``, tensor by tensor.

        Args:
            variables: The point, tensors of any shape.

        Returns:
            Gradients of the same names, shapes and dtypes; they share no memory with anything.

        Raises:
            InputError: A variable is of whole numbers or bools, or the loss has no gradient.
        """
        self.queries += 1
        with torch.enable_grad():
            if self.second_order:
                # A view, not the tensor: the gradient is a partial one, even where the batch is
                # the answer of a leader who has seen these very variables.
                point = {
                    name: tensor.view_as(tensor) if tensor.requires_grad else leaf(name, tensor)
                    for name, tensor in variables.items()
                }
            else:
                point = {name: leaf(name, tensor) for name, tensor in variables.items()}
            return _apart(self.gradient(point))

    def gradient(self, point: Vars) -> Vars:
        """Return the gradient at a point whose tensors require gradients; not counted."""
        gradients = torch.autograd.grad(
            self._value(point),
            list(point.values()),
            create_graph=self.second_order,
            materialize_grads=True,  # zeros for what the loss does not use
        )
        return dict(zip(point, gradients, strict=True))

    def _value(self, point: Vars) -> Tensor:
        return check_loss(self._loss(point), "the follower's loss")


class FieldOracle(Oracle):
    """An oracle over a vector field instead of a loss: both players of a game moved as one.

    Simultaneous gradient descent-ascent, extragradient and optimistic descent on a game are the
    ordinary rules applied to the field ``(grad_x f, -grad_y f)``, which is no loss's gradient.

    Args:
        field: Maps variables to the field at them, same names and shapes.
        second_order: As in :class:`Oracle`.
    """

    def __init__(self, field: Callable[[Vars], Vars], *, second_order: bool = False) -> None:
        super().__init__(_no_loss, second_order=second_order)
        self._field = field

    def gradient(self, point: Vars) -> Vars:
        """Return the field at ``point``; not counted."""
        field = self._field(point)
        return field if self.second_order else {name: t.detach() for name, t in field.items()}


def leaf(name: str, tensor: Tensor) -> Tensor:
    """Return a variable as the leaf of a graph, in which a gradient can be asked for.

    Raises:
        InputError: It is of whole numbers or bools, and so has none.
    """
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise InputError(
            f"the variable {name!r} is of {tensor.dtype} and has no gradient: give the follower's "
            "floating-point tensors alone, module.named_parameters() in place of state_dict()"
        )
    return tensor.detach().requires_grad_()


def check_loss(loss: Any, name: str) -> Tensor:
    """Return what a game gave as a loss, a tensor of one number that has a gradient.

    Args:
        loss: Anything.
        name: What the message calls it.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(loss, Tensor):
        raise InputError(f"{name} is a {type(loss).__name__}: return a tensor of one number")
    if loss.numel() != 1:
        raise InputError(
            f"{name} has the shape {tuple(loss.shape)}: return one number, such as its mean"
        )
    if not loss.requires_grad:
        raise InputError(
            f"{name} has no gradient: compute it of the tensors that the game is given, without "
            "detach(), item(), numpy() or no_grad()"
        )
    return loss


def _apart(gradients: Vars) -> Vars:
    """Return gradients of which no two are one tensor, as those of what a loss adds up are."""
    taken: set[int] = set()
    apart: Vars = {}
    for name, gradient in gradients.items():
        apart[name] = gradient.clone() if id(gradient) in taken else gradient
        taken.add(id(gradient))
    return apart


def _no_loss(variables: Vars) -> Tensor:
    raise TypeError("a FieldOracle has a field and no loss")
