"""Prodigy: Adam that finds its own learning rate."""

from __future__ import annotations

import math

import torch

from l2l_gail.core.oracle import Oracle
from l2l_gail.core.registry import register_rule
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.types import Layout, State, Vars

__all__ = ["Prodigy"]


@register_rule("prodigy")
class Prodigy(UpdateRule):
    r"""Prodigy, Mishchenko & Defazio 2024 (arXiv 2306.06101), algorithm 4, without weight decay.

    The step is Adam's, whose learning rate is ``lr d``; ``d`` is a lower bound on the distance from
    the start ``x_0`` to the solution, and grows as the evidence does:

    .. math::
        r \leftarrow \beta_3 r + \tfrac{d}{d_0}\,d\,\mathrm{lr}\,\langle g, x_0 - x\rangle, \quad
        s \leftarrow \beta_3 s + \tfrac{d}{d_0}\,d\,\mathrm{lr}\,g, \quad
        d \leftarrow \max(d,\ \text{d\_coef}\; r / \|s\|_1).

    The first step after a growth is taken with the former ``d``, as in the authors' own code
    (github.com/konstmish/prodigy), whose defaults these are; the two differ without a first moment
    alone (``betas[0] = 0``), where that code mixes the former ``d`` and the new one.

    Args:
        lr: Factor on the learning rate that was found; 1 unless a schedule is wanted.
        betas: Decay rates of Adam's moments.
        beta3: Decay rate of ``r`` and ``s``; ``None`` is the root of the second of ``betas``.
        eps: Added to the root of the second moment, in units of ``d``.
        d0: First value of ``d``: far too small is right.
        d_coef: Factor on every estimate of ``d``; the knob to turn, if any.
        use_bias_correction: Whether the moments' bias is corrected, as in Adam. The growth of ``d``
            is a warm-up of its own, so that by default it is not.
        safeguard_warmup: Leave ``lr`` out of ``s``, for schedules that start near 0.
    """

    def __init__(
        self,
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        beta3: float | None = None,
        eps: float = 1e-8,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
    ) -> None:
        super().__init__(
            lr=lr,
            betas=list(betas),
            beta3=beta3,
            eps=eps,
            d0=d0,
            d_coef=d_coef,
            use_bias_correction=use_bias_correction,
            safeguard_warmup=safeguard_warmup,
        )
        self.lr = self.config["lr"]
        self.betas = (self.config["betas"][0], self.config["betas"][1])
        self.beta3 = math.sqrt(self.betas[1]) if beta3 is None else self.config["beta3"]
        self.eps = self.config["eps"]
        self.d0 = self.config["d0"]
        self.d_coef = self.config["d_coef"]
        self.use_bias_correction = use_bias_correction
        self.safeguard_warmup = safeguard_warmup

    def init(self, variables: Vars) -> State:
        """Return the start as a flat vector ``(N,)``, zero moments and sums, and ``d0``."""
        start = Layout(variables).flatten(variables)
        # d may be millionths: its sums are in float64 whatever the weights are in.
        d = torch.full((), self.d0, dtype=torch.float64, device=start.device)
        return {
            "t": 0,
            "start": start,
            "m": torch.zeros_like(start),
            "v": torch.zeros_like(start),
            "s": torch.zeros_like(start),
            "numerator": torch.zeros_like(d),
            "d": d,
        }

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``x - lr d m / (sqrt(v) + eps d)``; a gradient of zeros moves nothing."""
        layout = Layout(variables)
        g = layout.flatten(oracle(variables))
        x = layout.flatten(variables)
        beta1, beta2 = self.betas
        t, d = state["t"] + 1, state["d"]
        rate = d * self.lr
        if self.use_bias_correction:
            rate = rate * (math.sqrt(1 - beta2**t) / (1 - beta1**t))

        gained = torch.dot(g, state["start"] - x)
        numerator = self.beta3 * state["numerator"] + d / self.d0 * rate * gained
        weight = d / self.d0 * (d if self.safeguard_warmup else rate)
        s = self.beta3 * state["s"] + weight.to(g.dtype) * g
        m = beta1 * state["m"] + ((1 - beta1) * d).to(g.dtype) * g
        v = beta2 * state["v"] + ((1 - beta2) * d * d).to(g.dtype) * g * g
        size = s.abs().sum().double()
        moves = size > 0
        grown = torch.maximum(d, self.d_coef * numerator / size)
        d_next = torch.where(moves, grown, d)

        direction = m / (v.sqrt() + (d_next * self.eps).to(v.dtype))
        step = torch.where(moves, rate.to(direction.dtype) * direction, torch.zeros_like(direction))
        new = {
            "t": t,
            "start": state["start"],
            "m": m,
            "v": v,
            "s": s,
            "numerator": torch.where(moves, numerator, state["numerator"]),
            "d": d_next,
        }
        return layout.unflatten(x - step), new

    def diagnostics(self, state: State) -> dict[str, torch.Tensor]:
        """Return the learning rate that was found, ``lr d``."""
        return {"learning_rate": self.lr * state["d"]}
