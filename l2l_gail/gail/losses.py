"""The discriminator's loss as a function of its logits (high = expert-like).

===================== ====================================== =======================================
name                  ``loss(l_E, l_P)``                     source
===================== ====================================== =======================================
binary_cross_entropy  ``E softplus(-l_E) + E softplus(l_P)`` Ho & Ermon 2016, arXiv 1606.03476,
                                                             eq. 17, expert and policy exchanged
least_squares         ``E (l_E - 1)^2 + E (l_P + 1)^2``      Mao et al. 2017, arXiv 1611.04076; with
                                                             these targets Peng et al. 2021,
                                                             arXiv 2104.02180, eq. 6
relativistic          ``E softplus(l_P - l_E)``, in pairs    Jolicoeur-Martineau 2018, arXiv
                                                             1807.00734; with r1 and r2 Huang et al.
                                                             2024 (R3GAN), arXiv 2501.05441
===================== ====================================== =======================================

A loss of your own is one more entry: ``LOSSES["mine"] = function``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional as F

__all__ = ["LOSSES", "Loss"]

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Logits of expert and policy transitions, ``(B,)`` each, to a scalar."""


def _binary_cross_entropy(on_expert: Tensor, on_policy: Tensor) -> Tensor:
    return F.softplus(-on_expert).mean() + F.softplus(on_policy).mean()


def _least_squares(on_expert: Tensor, on_policy: Tensor) -> Tensor:
    return (on_expert - 1).square().mean() + (on_policy + 1).square().mean()


def _relativistic(on_expert: Tensor, on_policy: Tensor) -> Tensor:
    return F.softplus(on_policy - on_expert).mean()


LOSSES: dict[str, Loss] = {
    "binary_cross_entropy": _binary_cross_entropy,
    "least_squares": _least_squares,
    "relativistic": _relativistic,
}
"""The losses by name."""
