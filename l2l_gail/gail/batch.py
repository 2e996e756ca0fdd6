"""What one discriminator loss is computed on."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

__all__ = ["TransitionBatch"]


class TransitionBatch(NamedTuple):
    """Transitions of either side, as network inputs of shape ``(B, in_dim)`` each.

    Attributes:
        expert: Expert transitions.
        policy: The policy's transitions.
        between: A random point on the segment from each policy input to an expert input, for the
            gradient penalty. Part of the batch, so that a loss is a function of its arguments.
    """

    expert: Tensor
    policy: Tensor
    between: Tensor

    @classmethod
    def mixed(cls, expert: Tensor, policy: Tensor, share: Tensor) -> Self:
        """Return a batch of both sides with its points between.

        Args:
            expert: Expert transitions, ``(B, in_dim)``.
            policy: The policy's transitions, ``(B, in_dim)``.
            share: How far each point lies from the policy's input to the expert's, ``(B, 1)``, in
                [0, 1].
        """
        return cls(expert, policy, torch.lerp(policy, expert, share))
