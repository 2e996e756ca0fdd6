"""torch's Adam on many small parameters as on one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

__all__ = ["FlatAdam"]


class FlatAdam:
    """Takes an optimizer's steps on its parameters joined to one vector; quick on a CPU.

    On a dozen small tensors a step of ``torch.optim.Adam`` is mostly Python. Parameters and moments
    become pieces of vectors, on which torch's own function is called once, until :meth:`close`
    gives each its own memory again and the optimizer its counters of steps.

    Args:
        optimizer: A plain Adam; see :meth:`of`.
        parameters: Its parameters, in the order of the gradient's pieces.
        grad: Their gradient, ``(n,)``.
    """

    def __init__(
        self, optimizer: torch.optim.Adam, parameters: Sequence[Tensor], grad: Tensor
    ) -> None:
        self._parameters = parameters
        self._states = states = [optimizer.state[parameter] for parameter in parameters]
        self._group = optimizer.param_groups[0]
        self._grad = grad
        self._params, pieces = _joined([parameter.data for parameter in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.data = piece
        self._first, pieces = _joined([state["exp_avg"] for state in states])
        for state, piece in zip(states, pieces, strict=True):
            state["exp_avg"] = piece
        self._second, pieces = _joined([state["exp_avg_sq"] for state in states])
        for state, piece in zip(states, pieces, strict=True):
            state["exp_avg_sq"] = piece
        self._counter = states[0]["step"].clone()

    @classmethod
    def of(
        cls, optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], grad: Tensor
    ) -> FlatAdam | None:
        """Return it for a plain Adam on the CPU that has stepped all parameters alike."""
        if isinstance(optimizer, torch.optim.Adam) and _suits(optimizer, parameters):
            return cls(optimizer, parameters, grad)
        return None

    def step(self) -> None:
        """Step along the gradient as it stands."""
        group = self._group
        beta1, beta2 = group["betas"]
        adam(
            [self._params],
            [self._grad],
            [self._first],
            [self._second],
            [],
            [self._counter],
            fused=group["fused"],
            foreach=group["foreach"],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
            decoupled_weight_decay=group.get("decoupled_weight_decay", False),
        )

    def close(self) -> None:
        """Leave parameters and optimizer as its own steps would have.

        Own memory begins where the processor likes it to: matrix products may round otherwise on
        pieces, and a run resumed from a file would differ from one that went on.
        """
        for parameter, state in zip(self._parameters, self._states, strict=True):
            parameter.data = parameter.data.clone()
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = state[name].clone()
            state["step"].copy_(self._counter)


def _suits(optimizer: torch.optim.Adam, parameters: Sequence[Tensor]) -> bool:
    if type(optimizer) is not torch.optim.Adam or len(optimizer.param_groups) != 1:
        return False
    group = optimizer.param_groups[0]
    if any(group[name] for name in ("amsgrad", "maximize", "capturable", "differentiable")):
        return False
    if {id(p) for p in group["params"]} != {id(p) for p in parameters}:
        return False
    if any(p.is_cuda or "step" not in optimizer.state[p] for p in parameters):
        return False
    return len({float(optimizer.state[p]["step"]) for p in parameters}) == 1


def _joined(tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return tensors as one vector, and its pieces in their shapes."""
    joined = torch.cat([tensor.flatten() for tensor in tensors])
    pieces = joined.split([tensor.numel() for tensor in tensors])
    return joined, [piece.view_as(t) for piece, t in zip(pieces, tensors, strict=True)]
