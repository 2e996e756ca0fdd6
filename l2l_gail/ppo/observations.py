"""Observations as training handles them: one tensor, or a dict of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

__all__ = ["Observations", "as_tensors", "leading", "map_tensors", "network_input"]

Observations: TypeAlias = Tensor | dict[str, Tensor]
"""``(N, *shape)`` of a ``Box`` or ``Discrete`` space; one such tensor per key of a ``Dict``."""


def map_tensors(function: Callable[..., Any], *observations: Any) -> Any:
    """Apply a function to the tensors (or arrays) of observations of one structure.

    Args:
        function: Takes one tensor of each of ``observations``.
        *observations: Tensors, or dicts of equal keys.

    Returns:
        The results, in the structure of ``observations``.
    """
    first = observations[0]
    if isinstance(first, dict):
        return {key: function(*(each[key] for each in observations)) for key in first}
    return function(*observations)


def as_tensors(
    observations: np.ndarray | dict[str, np.ndarray] | Observations, device: torch.device
) -> Observations:
    """Return observations as tensors on ``device``, without a copy where that is possible."""
    return map_tensors(lambda x: torch.as_tensor(x, device=device), observations)


def network_input(observations: Observations) -> Observations:
    """Return observations with float32 for any other floating type; whole numbers stay as they are.

    SB3's policies turn those (images, classes) into features themselves.
    """
    return map_tensors(lambda x: x.float() if x.is_floating_point() else x, observations)


def leading(observations: Observations) -> Tensor:
    """Return one of the tensors: for what they share, device and leading dimensions."""
    return next(iter(observations.values())) if isinstance(observations, dict) else observations
