"""Steps along a given gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["descend", "parameters_of"]


def parameters_of(optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    """Return the parameters that an optimizer, which must be there, moves."""
    assert optimizer is not None
    return [p for p in _all_of(optimizer) if p.requires_grad]


def descend(
    optimizer: torch.optim.Optimizer | None, parameters: list[Tensor], gradients: Sequence[Tensor]
) -> None:
    """Take the optimizer's step along ``gradients``, of the shapes of ``parameters``."""
    assert optimizer is not None
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _all_of(optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    groups = [] if optimizer is None else optimizer.param_groups
    return [parameter for group in groups for parameter in group["params"]]
