"""Observations as training handles them: one tensor, or a dict of tensors."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from l2l_gail.observations import Observations, map_parts

__all__ = ["TensorObservations", "as_tensors", "leading", "network_input", "to_numpy"]

TensorObservations: TypeAlias = Tensor | dict[str, Tensor]
"""``(N, *shape)`` of a ``Box`` or ``Discrete`` space; one such tensor per key of a ``Dict``."""


def as_tensors(
    observations: Observations | TensorObservations, device: torch.device
) -> TensorObservations:
    """Return observations as tensors on ``device``, without a copy where that is possible."""
    return map_parts(lambda x: torch.as_tensor(x, device=device), observations)


def network_input(observations: TensorObservations) -> TensorObservations:
    """Return observations with float32 for any other floating type; whole numbers stay as they are.

    SB3's policies turn those (images, classes) into features themselves.
    """
    return map_parts(lambda x: x.float() if x.is_floating_point() else x, observations)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values as an array; those of a CPU tensor without a copy."""
    return tensor.cpu().numpy()


def leading(observations: TensorObservations) -> Tensor:
    """Return one of the tensors: for what they share, device and leading dimensions."""
    return next(iter(observations.values())) if isinstance(observations, dict) else observations
