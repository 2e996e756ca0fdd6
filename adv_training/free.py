"""Free adversarial training: one backward pass for the weights and for the perturbation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.core import Oracle, State, UpdateRule, Vars

__all__ = ["FreePerturbation", "SignDescentOptimizer"]


class FreePerturbation(UpdateRule):
    """The perturbation itself is what is learned (Shafahi et al. 2019, arXiv 1904.12843).

    A learned rule whose one parameter ``delta`` is added to whatever batch comes, and which is
    carried from batch to batch. In the fused order its gradient comes from the classifier's own
    backward pass: no query, no cost. Each batch is replayed several times, so that the perturbation
    gets somewhere.

    Args:
        shape: Of a batch, ``(B, C, H, W)``.
        radius: Epsilon, in pixels' units of [0, 1].
    """

    def __init__(self, shape: tuple[int, int, int, int], radius: float) -> None:
        super().__init__(shape=list(shape), radius=radius)
        self.radius = radius
        self.delta = nn.Parameter(torch.zeros(shape))
        self.part = slice(None)

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``x + delta`` and the unchanged (empty) state."""
        return {"x": variables["x"] + self.delta[self.part]}, state

    def take_part(self, part: slice) -> None:
        """Perturb this part of each batch alone; other processes have the others."""
        self.part = part

    def set_radius(self, radius: float) -> None:
        """Scale the step to another epsilon."""
        self.radius = radius


class SignDescentOptimizer(torch.optim.Optimizer):
    """``delta <- clamp(delta - eps sign(g), -eps, eps)``, with the rule's epsilon of the moment.

    Args:
        rule: Whose perturbation to move.
        parameters: Its parameter.
    """

    def __init__(self, rule: FreePerturbation, parameters: Iterable[Tensor]) -> None:
        super().__init__(parameters, {})
        self.rule = rule

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step."""
        radius = self.rule.radius
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(radius * p.grad.sign()).clamp_(-radius, radius)
