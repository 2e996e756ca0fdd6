"""The learned rule for network weights: a small network on every coordinate, a residual on Adam."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.core.coordinate_network import coordinate_network
from l2l_gail.core.oracle import Oracle
from l2l_gail.core.registry import register_rule
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.rules import adam_direction, init_moments
from l2l_gail.core.types import Layout, State, Vars

__all__ = ["CoordinateMLP"]

_VECTOR_FEATURES = 6
_SCALAR_FEATURES = 2
_SLOW_BETA = 0.99


@register_rule("coordinate_mlp")
class CoordinateMLP(UpdateRule):
    r"""A learned optimizer that starts as exactly Adam and learns, online, to deviate from it.

    One network is shared by all weights and sees, for each of them, the features below; its two
    outputs bend Adam's step and add to it, within a trust region, and one more learned number
    scales all steps at once:

    .. math:: \Delta w = e^{s}\,\mathrm{lr}\,(-d\,e^{2\tanh o_1} + \tanh o_2).

    The last layer and ``s`` start at zero, so that the first step is Adam's, bit for bit. The
    coordinate-wise form is that of Andrychowicz et al. 2016 (arXiv 1606.04474) and of the small
    networks of Metz et al. 2020 (arXiv 2009.11243); the residual on Adam and the global step that
    is learned with the game are this library's.

    ======= ============================================ =======================================
    feature formula                                      meaning
    ======= ============================================ =======================================
    u       ``g / r``                                    gradient in units of its own size
    d       ``m / r``                                    Adam's direction
    m99     momentum of .99 over ``r``                   slow direction
    agree   ``u d / ((1 + |u|)(1 + |d|))``               does the gradient agree with momentum
    w       ``5 w``                                      the weight itself
    size    ``log(r) / 10``                              scale of this weight's gradient
    norm    ``log(||g||_2 + 1e-12) / 5``                 scale of the whole gradient (one number)
    time    ``tanh(t / 2000)``                           progress (one number)
    ======= ============================================ =======================================

    ``r = sqrt(v) + eps``; features are clipped to [-5, 5] and enter as data unless the oracle is
    second order. The computation lies as ``[features, N]`` and the two one-number features are
    folded into the first bias: both save time, neither changes the result.

    Args:
        lr: Adam's learning rate, the unit of all steps.
        hidden: Width of the two hidden layers.
        betas: Decay rates of Adam's moments.
        eps: Part of ``r``.
        learn_step: Whether the global step ``s`` is learned.
        learn_network: Whether the network is; without it the rule is Adam under a learned global
            step, the "hypergradient" baseline (Baydin et al. 2018, arXiv 1703.04782).
        step_lr_ratio: Meta learning rate of ``s`` over that of the network.
        seed: Seed of the network's initial weights, drawn without touching torch's global state.
    """

    def __init__(
        self,
        lr: float,
        *,
        hidden: int = 16,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        learn_step: bool = True,
        learn_network: bool = True,
        step_lr_ratio: float = 10.0,
        seed: int = 0,
    ) -> None:
        if not (learn_step or learn_network):
            raise ValueError(
                "nothing to learn: learn_step and learn_network are both off; use Adam"
            )
        super().__init__(
            lr=lr,
            hidden=hidden,
            betas=list(betas),
            eps=eps,
            learn_step=learn_step,
            learn_network=learn_network,
            step_lr_ratio=step_lr_ratio,
            seed=seed,
        )
        self.lr = lr
        self.betas = (betas[0], betas[1])
        self.eps = eps
        self.step_lr_ratio = step_lr_ratio
        self.learn_network = learn_network
        self.log_step = nn.Parameter(torch.zeros(()), requires_grad=learn_step)
        generator = torch.Generator().manual_seed(seed)
        inputs = _VECTOR_FEATURES + _SCALAR_FEATURES
        self.w1 = nn.Parameter(_uniform(generator, hidden, inputs), requires_grad=learn_network)
        self.b1 = nn.Parameter(_uniform(generator, hidden, 1), requires_grad=learn_network)
        self.w2 = nn.Parameter(_uniform(generator, hidden, hidden), requires_grad=learn_network)
        self.b2 = nn.Parameter(_uniform(generator, hidden, 1), requires_grad=learn_network)
        self.w3 = nn.Parameter(torch.zeros(2, hidden), requires_grad=learn_network)
        self.b3 = nn.Parameter(torch.zeros(2, 1), requires_grad=learn_network)

    def init(self, variables: Vars) -> State:
        """Return zero moments over the flat vector, shape ``(N,)`` each, and zero counters."""
        vector = Layout(variables).flatten(variables)
        zero = torch.zeros((), device=vector.device)
        return {
            **init_moments(vector),
            "slow": torch.zeros_like(vector),
            "fallbacks": zero,
            "step_ratio": torch.ones_like(zero),
            "cosine": zero.clone(),
        }

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return the weights after one learned step.

        A step that is not finite is replaced by Adam's own and counted in the state's
        ``fallbacks``.
        """
        layout = Layout(variables)
        gradient = layout.flatten(oracle(variables))
        weights = layout.flatten(variables)
        moments = {name: state[name] for name in ("t", "m", "v")}
        d, r, moments = adam_direction(gradient, moments, self.betas, self.eps)
        slow = torch.lerp(gradient, state["slow"], _SLOW_BETA)

        # Bounded in value, not in gradient: a step that has hit a bound can come back.
        log_step = self.log_step + (self.log_step.clamp(-8.0, 8.0) - self.log_step).detach()
        scale = log_step.to(d.dtype).exp() * self.lr
        base = self.lr * -d
        if self.learn_network:
            slow_hat = slow / (1 - _SLOW_BETA ** moments["t"])
            features, scalars = self._features(gradient, d, r, slow_hat, weights, moments["t"])
            if not oracle.second_order:
                features, scalars = features.detach(), scalars.detach()
            multiplier, addend = self._network(features, scalars)
            step = scale * torch.addcmul(addend, -d, multiplier)
        else:
            step = scale * -d
        finite = (0.0 * step.detach()).sum().isfinite()
        step = torch.where(finite, step, base)
        new_state = {
            **moments,
            "slow": slow,
            "fallbacks": state["fallbacks"] + (~finite).to(state["fallbacks"].dtype),
            **_compare(step.detach(), base.detach(), gradient.detach()),
        }
        return layout.unflatten(weights + step), new_state

    def _features(
        self, g: Tensor, d: Tensor, r: Tensor, slow: Tensor, weights: Tensor, t: int
    ) -> tuple[Tensor, Tensor]:
        """Return the features per coordinate ``(6, N)`` and the one-number ones ``(2, 1)``."""
        u = g / r
        agree = (u / (1 + u.abs())) * (d / (1 + d.abs()))
        rows = torch.stack([u, d, slow / r, agree, 5.0 * weights, r.log() / 10.0])
        norm = (g.norm() + 1e-12).log() / 5.0
        scalars = torch.stack([norm, norm.new_full((), math.tanh(t / 2000.0))])[:, None]
        return rows.clamp(-5.0, 5.0), scalars.clamp(-5.0, 5.0)

    def _network(self, features: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor]:
        """Return the multiplier ``exp(2 tanh o1)`` and the addend ``tanh o2``, ``(N,)`` each."""
        dtype = features.dtype
        w1, b1, w2, b2, w3, b3 = (
            p.to(dtype) for p in (self.w1, self.b1, self.w2, self.b2, self.w3, self.b3)
        )
        w1, w1_scalars = w1.split([_VECTOR_FEATURES, _SCALAR_FEATURES], dim=1)
        bias = b1 + w1_scalars @ scalars
        bend, addend = coordinate_network(features, w1, bias, w2, b2, w3, b3).tanh().unbind()
        return (2.0 * bend).exp(), addend

    def meta_parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return the network at ``lr`` and the global step at ``step_lr_ratio`` times that."""
        network = [
            p for name, p in self.named_parameters() if name != "log_step" and p.requires_grad
        ]
        groups: list[dict[str, Any]] = [{"params": network, "lr": lr}] if network else []
        if self.log_step.requires_grad:
            groups.append({"params": [self.log_step], "lr": lr * self.step_lr_ratio})
        return groups

    def diagnostics(self, state: State) -> dict[str, Tensor]:
        """Return how the last step compares with Adam's, ``exp(s)``, and the fallbacks so far."""
        return {
            "global_step": self.log_step.detach().clamp(-8.0, 8.0).exp(),
            "step_ratio": state["step_ratio"],
            "cosine": state["cosine"],
            "fallbacks": state["fallbacks"],
        }


def _compare(step: Tensor, base: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """Return the step's length over Adam's and its cosine with steepest descent, 0-d each."""
    length = step.norm()
    return {
        "step_ratio": length / (base.norm() + 1e-30),
        "cosine": -(step @ gradient) / (length * gradient.norm() + 1e-30),
    }


def _uniform(generator: torch.Generator, rows: int, columns: int) -> Tensor:
    """Weights in ``+-1/sqrt(columns)``, torch's default for a linear layer."""
    bound = 1.0 / math.sqrt(max(columns, 1))
    return (torch.rand(rows, columns, generator=generator) * 2 - 1) * bound
