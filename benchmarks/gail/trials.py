"""Rules and rewards on trial: registered for the grids only, not part of the library."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from l2l_gail.core import (
    Adam,
    MatrixRule,
    Muon,
    Oracle,
    PacedMatrixRule,
    State,
    Vars,
    register_rule,
)
from l2l_gail.gail.rewards import REWARDS

__all__ = ["DecayedMatrixRule", "DecayedMuon", "SearchedRule", "SpectralAdam"]


@register_rule("decayed_muon")
class DecayedMuon(Muon):
    """Muon with weight decay, by the name that it had in the grids before it was the library's."""

    def __init__(self, lr: float, decay: float) -> None:
        super().__init__(lr, decay=decay)
        self.config = {"lr": lr, "decay": decay}


@register_rule("decayed_matrix_rule")
class DecayedMatrixRule(MatrixRule):
    """The matrix rule with the same decay, likewise."""

    def __init__(self, decay: float, lr: float = 3e-2) -> None:
        super().__init__(lr, decay=decay)
        self.config = {"lr": lr, "decay": decay}


@register_rule("spectral_adam")
class SpectralAdam(Adam):
    """Adam, after whose steps each matrix is divided by its spectral norm.

    Spectral normalisation (Miyato et al. 2018, arXiv 1802.05957) as a projection: it bounds the
    slope of the logits by 1, in place of a penalty.
    """

    def __init__(self, lr: float) -> None:
        super().__init__(lr)
        self.config = {"lr": lr}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return the projected step."""
        after, state = super().forward(variables, oracle, state)
        return {
            name: tensor / torch.linalg.matrix_norm(tensor, 2) if tensor.dim() > 1 else tensor
            for name, tensor in after.items()
        }, state


def _unit(sharpness: float) -> Callable[[Tensor], Tensor]:
    """GAIL's reward of ``sharpness`` times the logit, in units of its own mean over the rollout.

    With .03 of it a step and a discount of .99, returns are about 3.
    """

    def reward(logits: Tensor) -> Tensor:
        raw = F.softplus(sharpness * logits)
        return 0.03 * raw / raw.mean()

    return reward


REWARDS["relative"] = lambda logits: F.softplus(logits - logits.mean())
"""GAIL's reward against the rollout's own mean logit: it cannot saturate, and stays positive."""

# The same rewards in other units: PPO's advantages do not see them, its value network does.
REWARDS["gail_x0.1"] = lambda logits: 0.1 * F.softplus(logits)
REWARDS["gail_x0.3"] = lambda logits: 0.3 * F.softplus(logits)
REWARDS["airl_x0.01"] = lambda logits: 0.01 * logits

REWARDS["unit"] = _unit(1.0)
REWARDS["unit_flat"] = _unit(0.5)
REWARDS["unit_sharp"] = _unit(2.0)
REWARDS["unit_sharpest"] = _unit(4.0)


@register_rule("searched_rule")
class SearchedRule(PacedMatrixRule):
    """The paced matrix rule, its weights given and nothing left to learn: one gradient a step.

    Args:
        lr: As for ``PacedMatrixRule``.
        momentum: The first of its ``betas``.
        pace: The pace's weights, those of matrices and then those of all else.
    """

    def __init__(self, lr: float, momentum: float, pace: list[float]) -> None:
        super().__init__(lr, learn_step=False, betas=(momentum, 0.99))
        self.config = {"lr": lr, "momentum": momentum, "pace": list(pace)}
        with torch.no_grad():
            self.pace.copy_(torch.tensor(pace).view_as(self.pace))
