"""The learned rule for analytic games: learned gates on gradients, momenta and their change."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from l2l_gail.core.oracle import Oracle
from l2l_gail.core.registry import register_rule
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import State, Vars

__all__ = ["GatedMomentum"]


@register_rule("gated_momentum")
class GatedMomentum(UpdateRule):
    r"""``x - lr sum_j c_j b_j`` with basis ``b = (g, m, g - g_prev)`` and learned gates ``c``.

    The gates are a small network's output on features that do not change when the game is
    rescaled; so the rule is scale-equivariant and can converge linearly, all the way to the
    equilibrium, where a rule with an absolute step stalls. The change of the gradient in the basis
    is what makes optimistic methods stable in games (Daskalakis et al. 2018, arXiv 1711.00141);
    here its gain is learned. At the start the rule is plain gradient descent.

    Args:
        lr: The unit of all steps.
        decays: Decay rates of the momenta in the basis.
        hidden: Width of the gate network.
        gate_scale: Range of one unit of the network's output, in gains.
        seed: Seed of the network's initial weights, drawn without touching torch's global state.
    """

    def __init__(
        self,
        lr: float,
        *,
        decays: tuple[float, ...] = (0.5, 0.9),
        hidden: int = 16,
        gate_scale: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            lr=lr, decays=list(decays), hidden=hidden, gate_scale=gate_scale, seed=seed
        )
        self.lr = self.config["lr"]
        self.decays = tuple(self.config["decays"])
        self.gate_scale = self.config["gate_scale"]
        n_basis = 2 + len(self.decays)
        first, head = (
            skip_init(nn.Linear, n_basis, hidden),
            skip_init(nn.Linear, hidden, n_basis),
        )
        generator = torch.Generator().manual_seed(seed)  # torch's global state stays untouched
        bound = n_basis**-0.5
        for tensor in first.parameters():
            nn.init.uniform_(tensor, -bound, bound, generator=generator)
        for tensor in head.parameters():
            nn.init.zeros_(tensor)
        self.gates = nn.Sequential(first, nn.Tanh(), head)

    def init(self, variables: Vars) -> State:
        """Return zero momenta, a zero mean square and no last gradient, per tensor."""
        zeros = {name: torch.zeros_like(tensor) for name, tensor in variables.items()}
        momenta = {f"m{i}": dict(zeros) for i in range(len(self.decays))}
        return {"t": 0, "previous": zeros, "square": dict(zeros), **momenta}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return the variables after one gated step, tensor by tensor of any shape."""
        gradient = oracle(variables)
        t = state["t"] + 1
        new: State = {"t": t, "previous": gradient, "square": {}}
        new |= {f"m{i}": {} for i in range(len(self.decays))}
        moved: Vars = {}
        for name, g in gradient.items():
            previous = state["previous"][name] if state["t"] else g
            square = 0.9 * state["square"][name] + 0.1 * g * g
            momenta = [
                decay * state[f"m{i}"][name] + (1 - decay) * g
                for i, decay in enumerate(self.decays)
            ]
            unbiased = [m / (1 - decay**t) for m, decay in zip(momenta, self.decays, strict=True)]
            basis = torch.stack([g, *unbiased, g - previous], dim=-1)  # (..., n_basis)
            root = (square / (1 - 0.9**t) + torch.finfo(g.dtype).tiny).sqrt()
            moved[name] = variables[name] - self.lr * (self._gains(basis, root) * basis).sum(-1)
            new["square"][name] = square
            for i, m in enumerate(momenta):
                new[f"m{i}"][name] = m
        return moved, new

    def _gains(self, basis: Tensor, root: Tensor) -> Tensor:
        """Return the gains ``(..., n_basis)``: gradient descent plus the network's correction."""
        features = (basis / root[..., None]).clamp(-5.0, 5.0)
        parameters = next(self.gates.parameters())
        correction = self.gates(features.to(parameters.dtype)).to(basis.dtype) * self.gate_scale
        descent = torch.zeros_like(correction[..., :1]) + 1.0
        return torch.cat([correction[..., :1] + descent, correction[..., 1:]], dim=-1)
