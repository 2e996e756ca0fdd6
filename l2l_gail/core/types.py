"""Names for what a learned optimizer moves: a follower's variables and a rule's state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from l2l_gail.errors import InputError

__all__ = [
    "Layout",
    "State",
    "Vars",
    "all_finite",
    "check_real",
    "copy_tree",
    "detach",
    "has_tangent",
    "map_tensors",
    "mapped",
    "named_tensors",
    "shapes_of",
]

Vars: TypeAlias = dict[str, Tensor]
"""The follower's variables by name: an image batch ``{"x": ...}`` or a network's weights."""

State: TypeAlias = dict[str, Any]
"""A rule's memory: tensors, plain numbers and dicts of them; its structure never changes."""

Tree = TypeVar("Tree")


def mapped(function: Callable[[Any, Any], Any], tree: Any) -> Any:
    """Return a dict, list or tuple rebuilt of ``function(key, part)``; the key may be the place."""
    if isinstance(tree, Mapping):
        return {key: function(key, part) for key, part in tree.items()}
    rebuild = getattr(tree, "_make", type(tree))  # a named tuple stays one
    return rebuild([function(place, part) for place, part in enumerate(tree)])


def map_tensors(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """Return ``tree`` with ``function`` of each tensor; dicts, lists and tuples are rebuilt."""
    if isinstance(tree, Tensor):
        return function(tree)  # type: ignore[return-value]
    if isinstance(tree, (Mapping, list, tuple)):
        return mapped(lambda _, part: map_tensors(function, part), tree)
    return tree


def detach(tree: Tree) -> Tree:
    """Return ``tree`` with every tensor cut from its graph; dicts, lists and tuples are rebuilt.

    This is the commit of a step: after it nothing of the step's graph is alive.
    """
    return map_tensors(Tensor.detach, tree)


def copy_tree(tree: Tree, device: torch.device | None) -> Tree:
    """Return ``tree`` with a copy of every tensor on a device, cut from its graph.

    Args:
        tree: Tensors in nested dicts, lists and tuples.
        device: Where the copies lie; ``None`` leaves each where its tensor does.
    """
    return map_tensors(lambda x: x.detach().clone().to(device or x.device), tree)


def shapes_of(variables: Vars) -> dict[str, torch.Size]:
    """Return the shape of each variable."""
    return {name: tensor.shape for name, tensor in variables.items()}


def all_finite(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return a 0-d bool tensor: no entry is NaN or infinite.

    One reduction per tensor: the sum of ``0 * x`` is NaN exactly if an entry is not finite.
    """
    none = torch.zeros((), device="cpu")  # whatever torch's default device is
    return sum(((0.0 * tensor.detach()).sum() for tensor in tensors.values()), none).isfinite()


def named_tensors(tree: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all floating-point tensors in nested dicts, lists and tuples, by where they stand.

    Args:
        tree: The containers; anything else in them is passed over.
        name: What the names begin with; parts are joined by dots.
    """
    if isinstance(tree, Tensor):
        if tree.is_floating_point():
            yield name, tree
        return
    if isinstance(tree, Mapping):
        # An optimizer's state has parameters as keys: their place stands for them.
        parts = [
            (place if isinstance(key, Tensor) else key, part)
            for place, (key, part) in enumerate(tree.items())
        ]
    else:
        parts = list(enumerate(tree)) if isinstance(tree, list | tuple) else []
    for key, part in parts:
        yield from named_tensors(part, f"{name}.{key}" if name else str(key))


def has_tangent(tensor: Tensor) -> bool:
    """Return whether a tensor carries a forward-mode derivative."""
    return forward_ad.unpack_dual(tensor).tangent is not None


def check_real(variables: Vars) -> None:
    """Refuse variables of complex numbers, which have no order and no sign.

    Raises:
        InputError: One is complex.
    """
    for name, tensor in variables.items():
        if tensor.is_complex():
            raise InputError(
                f"{name!r} is complex: give its real and imaginary parts (torch.view_as_real)"
            )


class Layout:
    """How the tensors of a ``Vars`` lie in one flat vector, in the dict's own order.

    Coordinate-wise rules work on the vector, so that their cost does not depend on how many
    tensors a network has, and splitting a tensor in two changes nothing.

    Args:
        variables: The variables whose names, shapes and dtypes define the layout.

    Raises:
        InputError: A variable is complex, on which coordinate-wise rules would be other rules.
    """

    def __init__(self, variables: Vars) -> None:
        check_real(variables)
        self.shapes = {name: tensor.shape for name, tensor in variables.items()}
        self.dtypes = [tensor.dtype for tensor in variables.values()]
        self.sizes = [tensor.numel() for tensor in variables.values()]

    def flatten(self, variables: Vars) -> Tensor:
        """Return the variables as one vector.

        Args:
            variables: Tensors of the layout's names and shapes.

        Returns:
            Tensor of shape ``(N,)``, ``N`` the number of scalars, of the dtype that holds those of
            all: float64 if one of them is. Of float16 alone it is float32, as the small numbers
            that rules divide by are 0 in float16.
        """
        vector = torch.cat([variables[name].reshape(-1) for name in self.shapes])
        return vector.float() if vector.dtype == torch.float16 else vector

    def unflatten(self, vector: Tensor) -> Vars:
        """Return the vector ``(N,)`` as named tensors of the layout's shapes and dtypes.

        They are views of it where they have its dtype.
        """
        parts = zip(self.shapes.items(), self.dtypes, vector.split(self.sizes), strict=True)
        return {name: piece.view(shape).to(dtype) for (name, shape), dtype, piece in parts}
