"""The learned rule for images: a convolutional network that writes the perturbation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from l2l_gail.core.oracle import Oracle
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import State, Vars

__all__ = ["ConvPerturber", "normalise_gradient"]

Normaliser = Literal["sample_max", "sign", "batch_max"]


class ConvPerturber(UpdateRule):
    """The attacker ``g`` of Jiang et al. 2021 (arXiv 1811.01213), one step of it.

    ``x <- x + step_size * tanh(net(A))``, where ``A`` is the image alone (**Naive L2L**, no query)
    or the image and the normalised gradient of the attack's loss (**Grad L2L**, one query).
    Unrolled k times with shared weights it is the **k-step L2L** (k queries). The projection onto
    the epsilon ball and [0, 1] is the game's.

    The follower *minimises* (its loss is minus the classifier's), so the oracle's gradient points
    downhill for the attack; the network is fed the ascent direction, the paper's ``grad_x loss``.

    Args:
        net: Maps ``(B, 2C, H, W)`` (or ``(B, C, H, W)`` if naive) to ``(B, C, H, W)``; its
            parameters are the rule's.
        step_size: Largest change of a pixel in one step; the paper's choice is epsilon.
        uses_gradient: Grad L2L if true, Naive L2L if false.
        normaliser: How the gradient is scaled before the network sees it; ``batch_max`` is the
            paper's code, in which the attack on an image depends on its neighbours in the batch.
    """

    def __init__(
        self,
        net: nn.Module,
        step_size: float,
        *,
        uses_gradient: bool = True,
        normaliser: Normaliser = "sample_max",
    ) -> None:
        super().__init__(step_size=step_size, uses_gradient=uses_gradient, normaliser=normaliser)
        self.net = net
        self.step_size = step_size
        self.uses_gradient = uses_gradient
        self.normaliser = normaliser

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return the perturbed images ``{"x": (B, C, H, W)}`` and the unchanged (empty) state."""
        x = variables["x"]
        inputs = x
        if self.uses_gradient:
            ascent = -normalise_gradient(oracle(variables)["x"], self.normaliser)
            inputs = torch.cat([x, ascent], dim=1)  # (B, 2C, H, W)
        return {"x": x + self.step_size * self.net(inputs).tanh()}, state


def normalise_gradient(gradient: Tensor, how: Normaliser = "sample_max") -> Tensor:
    """Scale a gradient of shape ``(B, ...)`` to [-1, 1].

    Args:
        gradient: Gradient per sample.
        how: ``sample_max`` divides each sample by its own largest entry, ``batch_max`` all by the
            largest of the batch, ``sign`` keeps only the signs.

    Raises:
        ValueError: For another ``how``.
    """
    if how == "sign":
        return gradient.sign()
    if how == "sample_max":
        largest = gradient.abs().amax(dim=tuple(range(1, gradient.dim())), keepdim=True)
    elif how == "batch_max":
        largest = gradient.abs().max()
    else:
        raise ValueError(f"normaliser must be sample_max, sign or batch_max, not {how!r}")
    return gradient / largest.clamp_min(1e-12)
