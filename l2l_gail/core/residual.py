"""What the learned rules for network weights share: a base step, bent, scaled and guarded."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.core.coordinate_network import coordinate_network
from l2l_gail.core.oracle import Oracle
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.rules import init_moments
from l2l_gail.core.types import Layout, State, Vars

__all__ = ["ResidualRule"]

_SLOW_BETA = 0.99
_SCALARS = 2
_FREE = (6, 2)
_EQUIVARIANT = (8, 4)
"""Features per weight and outputs of the network's two forms."""


class ResidualRule(UpdateRule):
    r"""A learned rule that starts as a hand-designed one, bit for bit, and learns to deviate.

    The base is a direction ``d`` and a size ``r`` of each weight's gradient, from a subclass. A
    learned step ``s`` scales all steps (or those of each tensor); a small network that is shared by
    all weights bends ``d`` and adds to it, in one of two forms:

    * **free**, :math:`\Delta w = e^s \mathrm{lr}\,(-d\,e^{2\tanh o_1} + \tanh o_2)`, on the
      features of :class:`~l2l_gail.core.coordinate_mlp.CoordinateMLP`;
    * **sign-equivariant**,
      :math:`\Delta w = -e^s \mathrm{lr}\,(d\,e^{2\tanh o_1} + u \tanh o_2 + m \tanh o_3 +
      w \tanh o_4)`. Even features gate odd steps: turn the sign of gradients and weights, and the
      step turns its own. What the free form can leak, one constant added to all weights, this form
      cannot express.

    ======= ============================================ =======================================
    symbol  formula                                      meaning
    ======= ============================================ =======================================
    u       ``g / r``                                    gradient in units of its own size
    m       momentum of .99 over ``r``                   slow direction
    w       ``5 w``                                      the weight itself
    even    ``|u| |d| |m| |w|``, ``log(r) / 10``, and    per weight; ``a b`` here is the agreement
            ``u d``, ``u m``, ``d w``                    ``a b / ((1 + |a|)(1 + |b|))``
    scalars ``log(||g||_2 + 1e-12) / 5``,                one number each, folded into the first
            ``tanh(t / 2000)``                           bias
    ======= ============================================ =======================================

    All of them are clipped to [-5, 5] and enter as data unless the oracle is second order. The last
    layer and ``s`` start at zero.

    Args:
        config: The subclass's configuration; ``lr``, ``eps``, ``hidden``, ``learn_step``,
            ``learn_network``, ``step_lr_ratio`` and ``seed`` are read here.
        sign_equivariant: The network's form.
        layers: Number of learned steps: 0 for one over all weights, else one for each tensor.
        network: Whether there is a network at all; one that is not learned is never asked.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        sign_equivariant: bool,
        layers: int = 0,
        network: bool = True,
    ) -> None:
        super().__init__(**config)
        config = self.config  # numbers are Python's own in it
        self.lr = config["lr"]
        self.eps = config["eps"]
        self.step_lr_ratio = config["step_lr_ratio"]
        self.learn_network = config["learn_network"]
        self.sign_equivariant = sign_equivariant
        self.has_network = network
        shape = (layers,) if layers else ()
        self.log_step = nn.Parameter(torch.zeros(shape), requires_grad=config["learn_step"])
        if not network:
            return
        hidden, learned = config["hidden"], self.learn_network
        generator = torch.Generator().manual_seed(config["seed"])
        features, outputs = _EQUIVARIANT if self.sign_equivariant else _FREE
        inputs = features + _SCALARS
        self.w1 = nn.Parameter(_uniform(generator, hidden, inputs), requires_grad=learned)
        self.b1 = nn.Parameter(_uniform(generator, hidden, 1), requires_grad=learned)
        self.w2 = nn.Parameter(_uniform(generator, hidden, hidden), requires_grad=learned)
        self.b2 = nn.Parameter(_uniform(generator, hidden, 1), requires_grad=learned)
        self.w3 = nn.Parameter(torch.zeros(outputs, hidden), requires_grad=learned)
        self.b3 = nn.Parameter(torch.zeros(outputs, 1), requires_grad=learned)

    @abstractmethod
    def direction(
        self, layout: Layout, gradient: Tensor, state: State
    ) -> tuple[Tensor, Tensor, State]:
        """Return the base direction ``d``, the size ``r`` (both ``(N,)``), and the new moments.

        Args:
            layout: How the tensors lie in the vector.
            gradient: Flat gradient, shape ``(N,)``.
            state: ``t``, ``m`` and ``v`` of :func:`~l2l_gail.core.rules.init_moments`.
        """

    def decayed(self, layout: Layout, d: Tensor, weights: Tensor) -> Tensor:
        """Return the base direction with what a weight decay adds to it, ``(N,)``: here nothing."""
        return d

    def init(self, variables: Vars) -> State:
        """Return zero moments over the flat vector, shape ``(N,)`` each, and zero counters."""
        vector = Layout(variables).flatten(variables)
        zero = torch.zeros((), device=vector.device)
        return {
            **init_moments(vector),
            **({"slow": torch.zeros_like(vector)} if self.has_network else {}),
            "fallbacks": zero,
            "step_ratio": torch.ones_like(zero),
            "cosine": zero.clone(),
        }

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return the weights after one learned step.

        A step that is not finite is replaced by the base's own and counted in the state's
        ``fallbacks``.
        """
        layout = Layout(variables)
        gradient = layout.flatten(oracle(variables))
        weights = layout.flatten(variables)
        moments = {name: state[name] for name in ("t", "m", "v")}
        d, r, moments = self.direction(layout, gradient, moments)
        d = self.decayed(layout, d, weights)
        new_state = dict(moments)
        if self.has_network:
            slow = torch.lerp(gradient, state["slow"], _SLOW_BETA)
            new_state["slow"] = slow

        scale = self._scale(layout, gradient, moments)
        base = self.lr * -d
        if self.learn_network:
            slow_hat = slow / (1 - _SLOW_BETA ** moments["t"])
            step = scale * self._bent(gradient, d, r, slow_hat, weights, moments["t"], oracle)
        else:
            step = scale * -d
        finite = (0.0 * step.detach()).sum().isfinite()
        step = torch.where(finite, step, base)
        new_state |= {
            "fallbacks": state["fallbacks"] + (~finite).to(state["fallbacks"].dtype),
            **_compare(step.detach(), base.detach(), gradient.detach()),
        }
        return layout.unflatten(weights + step), new_state

    def _scale(self, layout: Layout, gradient: Tensor, moments: State) -> Tensor:
        """Return ``lr e^s``, 0-d, or ``(N,)`` if each tensor has a step of its own.

        Args:
            layout: How the tensors lie in the vector.
            gradient: Flat gradient, shape ``(N,)``.
            moments: Those after this gradient, for a subclass whose scale depends on them.
        """
        # Bounded in value, not in gradient: a step that has hit a bound can come back.
        log_step = self.log_step + (self.log_step.clamp(-8.0, 8.0) - self.log_step).detach()
        scale = log_step.to(gradient.dtype).exp() * self.lr
        if not scale.dim():
            return scale
        return torch.cat([s.expand(n) for s, n in zip(scale.unbind(), layout.sizes, strict=True)])

    def _bent(
        self,
        g: Tensor,
        d: Tensor,
        r: Tensor,
        slow: Tensor,
        weights: Tensor,
        t: int,
        oracle: Oracle,
    ) -> Tensor:
        """Return the step in units of its scale, shape ``(N,)``."""
        form = self._even_features if self.sign_equivariant else self._free_features
        features, basis = form(g / r, d, slow / r, 5.0 * weights, r)
        norm = (g.norm() + 1e-12).log() / 5.0
        scalars = torch.stack([norm, norm.new_full((), math.tanh(t / 2000.0))])[:, None]
        features, scalars = features.clamp(-5.0, 5.0), scalars.clamp(-5.0, 5.0)
        if not oracle.second_order:
            features, basis, scalars = features.detach(), basis.detach(), scalars.detach()
        bend, *gates = self._network(features, scalars).tanh().unbind()
        multiplier = (2.0 * bend).exp()
        if not self.sign_equivariant:
            return torch.addcmul(gates[0], -d, multiplier)
        return torch.addcmul((torch.stack(gates) * basis).sum(0), d, multiplier).neg()

    @staticmethod
    def _free_features(
        u: Tensor, d: Tensor, m: Tensor, w: Tensor, r: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the six features ``(6, N)`` and an empty basis."""
        rows = torch.stack([u, d, m, _agreement(u, d), w, r.log() / 10.0])
        return rows, rows[:0]

    @staticmethod
    def _even_features(
        u: Tensor, d: Tensor, m: Tensor, w: Tensor, r: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the eight even features ``(8, N)`` and the odd basis ``(3, N)`` beside ``d``."""
        basis = torch.stack([u, m, w])
        sizes = [x.abs() for x in (u, d, m, w)]
        agreements = [_agreement(u, d), _agreement(u, m), _agreement(d, w)]
        return torch.stack([*sizes, *agreements, r.log() / 10.0]), basis.clamp(-5.0, 5.0)

    def _network(self, features: Tensor, scalars: Tensor) -> Tensor:
        """Return the network's outputs, ``(2, N)`` or ``(4, N)``."""
        dtype = features.dtype
        w1, b1, w2, b2, w3, b3 = (
            p.to(dtype) for p in (self.w1, self.b1, self.w2, self.b2, self.w3, self.b3)
        )
        w1, w1_scalars = w1.split([len(features), _SCALARS], dim=1)
        bias = b1 + w1_scalars @ scalars
        return coordinate_network(features, w1, bias, w2, b2, w3, b3)

    def meta_parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return the network at ``lr`` and all else at ``step_lr_ratio`` times that."""
        learned = self.learned_parameters().values()
        network = [p for p in learned if p.dim() == 2]
        others = [p for p in learned if p.dim() < 2]
        groups: list[dict[str, Any]] = [{"params": network, "lr": lr}] if network else []
        if others:
            groups.append({"params": others, "lr": lr * self.step_lr_ratio})
        return groups

    def diagnostics(self, state: State) -> dict[str, Tensor]:
        """Return how the last step compares with the base's, ``exp(s)``, the fallbacks so far.

        Where each tensor has its step, ``global_step`` is their geometric mean.
        """
        return {
            "global_step": self.log_step.detach().clamp(-8.0, 8.0).mean().exp(),
            "step_ratio": state["step_ratio"],
            "cosine": state["cosine"],
            "fallbacks": state["fallbacks"],
        }


def _agreement(a: Tensor, b: Tensor) -> Tensor:
    return (a / (1 + a.abs())) * (b / (1 + b.abs()))


def _compare(step: Tensor, base: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """Return the step's length over the base's and its cosine with steepest descent, 0-d each."""
    length = step.norm()
    return {
        "step_ratio": length / (base.norm() + 1e-30),
        "cosine": -(step @ gradient) / (length * gradient.norm() + 1e-30),
    }


def _uniform(generator: torch.Generator, rows: int, columns: int) -> Tensor:
    """Weights in ``+-1/sqrt(columns)``, torch's default for a linear layer."""
    bound = 1.0 / math.sqrt(max(columns, 1))
    return (torch.rand(rows, columns, generator=generator) * 2 - 1) * bound
