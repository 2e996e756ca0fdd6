"""Rules on trial: registered for the grids only, not part of the library."""

from __future__ import annotations

import torch

from l2l_gail.core import MatrixRule, Muon, Oracle, State, Vars, register_rule

__all__ = ["DecayedMatrixRule", "DecayedMuon"]


def _decayed(before: Vars, after: Vars, amount: torch.Tensor | float) -> Vars:
    """Return the weights after a step, matrices and rows pulled to 0 by a share of what they were."""
    return {
        name: tensor - amount * before[name] if tensor.dim() > 1 else tensor
        for name, tensor in after.items()
    }


@register_rule("decayed_muon")
class DecayedMuon(Muon):
    """Muon with decoupled weight decay: ``W <- W - lr (D + decay W)``.

    ``D`` has spectral norm ``sqrt(max(shape))``, so that a matrix cannot grow beyond
    ``sqrt(max(shape)) / decay``: the rule bounds the network's slope, whatever the loss asks for.
    """

    def __init__(self, lr: float, decay: float) -> None:
        super().__init__(lr)
        self.config = {"lr": lr, "decay": decay}
        self.decay = decay

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        after, state = super().forward(variables, oracle, state)
        return _decayed(variables, after, self.lr * self.decay), state


@register_rule("decayed_matrix_rule")
class DecayedMatrixRule(MatrixRule):
    """The matrix rule with the same decay, under the learned step."""

    def __init__(self, decay: float, lr: float = 3e-2) -> None:
        super().__init__(lr)
        self.config = {"lr": lr, "decay": decay}
        self.decay = decay

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        after, state = super().forward(variables, oracle, state)
        scale = self.log_step.exp() * self.lr
        return _decayed(variables, after, scale * self.decay), state
