"""Hand-designed rules: sign descent, SGD, Adam, and the optimistic and extragradient family.

``g_t`` is the oracle's gradient, ``lr`` the learning rate; every rule minimises.

================== ============================================= =======================
rule               step                                          queries a step
================== ============================================= =======================
SignDescent        ``x - lr sign(g)``                            1 (k steps: PGD-k)
SGD                ``x - lr b``, ``b = momentum b + g``           1
Optimistic         ``x - lr (g_t + k (g_t - g_{t-1}))``          1
Adam               ``x - lr m / r``                              1
OptimisticAdam     ``x - lr (d_t + k (d_t - d_{t-1}))``, d=m/r   1
Extragradient      ``x - lr g(x - lr g(x))``                     2
================== ============================================= =======================
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from l2l_gail.core.oracle import Oracle
from l2l_gail.core.registry import register_rule
from l2l_gail.core.rule import UpdateRule, plain_numbers
from l2l_gail.core.types import Layout, State, Vars, check_real, has_tangent

__all__ = [
    "SGD",
    "Adam",
    "Extragradient",
    "Optimistic",
    "OptimisticAdam",
    "SignDescent",
    "adam_direction",
    "init_moments",
]


def _minus(variables: Vars, lr: float, direction: Vars) -> Vars:
    return {name: tensor - lr * direction[name] for name, tensor in variables.items()}


def _zeros_like(variables: Vars) -> Vars:
    return {name: torch.zeros_like(tensor) for name, tensor in variables.items()}


@register_rule("sign_descent")
class SignDescent(UpdateRule):
    """Steps of fixed size along the gradient's sign: FGSM in one step, PGD in several.

    Goodfellow et al. 2015, arXiv 1412.6572 (FGSM); Madry et al. 2018, arXiv 1706.06083 (PGD). The
    projection onto the threat model is the game's, not the rule's.

    Args:
        lr: Step size per coordinate, in the variables' unit.
    """

    def __init__(self, lr: float) -> None:
        super().__init__(lr=lr)
        self.lr = self.config["lr"]

    def init(self, variables: Vars) -> State:
        """Return no state; complex variables, which have no sign, are refused."""
        check_real(variables)
        return {}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``x - lr sign(g)`` and the unchanged (empty) state."""
        gradient = oracle(variables)
        return _minus(variables, self.lr, {name: g.sign() for name, g in gradient.items()}), state


@register_rule("sgd")
class SGD(UpdateRule):
    """Gradient descent with optional Polyak momentum, as ``torch.optim.SGD``.

    Args:
        lr: Learning rate.
        momentum: Polyak momentum; may be negative, which stabilises alternating games.
    """

    def __init__(self, lr: float, momentum: float = 0.0) -> None:
        super().__init__(lr=lr, momentum=momentum)
        self.lr = self.config["lr"]
        self.momentum = self.config["momentum"]

    def init(self, variables: Vars) -> State:
        """Return zero momentum buffers (none without momentum)."""
        return {"buffer": _zeros_like(variables)} if self.momentum else {}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``x - lr b`` with ``b = momentum b + g``."""
        direction = oracle(variables)
        if self.momentum:
            direction = {
                name: self.momentum * state["buffer"][name] + g for name, g in direction.items()
            }
            state = {"buffer": direction}
        return _minus(variables, self.lr, direction), state


@register_rule("optimistic")
class Optimistic(UpdateRule):
    """Optimistic gradient descent, Daskalakis et al. 2018, arXiv 1711.00141 (OGDA with gain 1).

    Args:
        lr: Learning rate.
        gain: ``k`` in ``g_t + k (g_t - g_{t-1})``. For a follower that moves alone on a bilinear
            game whose leader answers with rate ``lr``, ``2 / lr - 1`` is critical damping.
    """

    def __init__(self, lr: float, gain: float = 1.0) -> None:
        super().__init__(lr=lr, gain=gain)
        self.lr = self.config["lr"]
        self.gain = self.config["gain"]

    def init(self, variables: Vars) -> State:
        """Return an empty memory of the last gradient (the first step is a plain one)."""
        return {"previous": _zeros_like(variables), "t": 0}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``x - lr (g + gain (g - g_previous))``."""
        gradient = oracle(variables)
        previous = state["previous"] if state["t"] else gradient
        direction = {name: g + self.gain * (g - previous[name]) for name, g in gradient.items()}
        return _minus(variables, self.lr, direction), {"previous": gradient, "t": state["t"] + 1}


@register_rule("extragradient")
class Extragradient(UpdateRule):
    """Extragradient, Korpelevich 1976: the step uses the gradient at a look-ahead point.

    Args:
        lr: Learning rate of both the look-ahead and the step.
    """

    def __init__(self, lr: float) -> None:
        super().__init__(lr=lr)
        self.lr = self.config["lr"]

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``x - lr g(x - lr g(x))``; asks the oracle twice."""
        look_ahead = _minus(variables, self.lr, oracle(variables))
        return _minus(variables, self.lr, oracle(look_ahead)), state


@register_rule("adam")
class Adam(UpdateRule):
    """Adam, Kingma & Ba 2015, arXiv 1412.6980, equal to ``torch.optim.Adam`` without weight decay.

    Args:
        lr: Learning rate.
        betas: Decay rates of the first and the second moment.
        eps: Added to the root of the second moment.
    """

    def __init__(
        self, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(lr=lr, betas=list(betas), eps=eps)
        self.lr = self.config["lr"]
        self.betas = (self.config["betas"][0], self.config["betas"][1])
        self.eps = self.config["eps"]

    def init(self, variables: Vars) -> State:
        """Return zero moments over the flat vector of all variables, shape ``(N,)`` each."""
        return init_moments(Layout(variables).flatten(variables))

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``x - lr m / r``."""
        layout = Layout(variables)
        gradient = layout.flatten(oracle(variables))
        direction, _, moments = adam_direction(gradient, state, self.betas, self.eps)
        weights = layout.flatten(variables) + self.lr * -direction
        return layout.unflatten(weights), moments


@register_rule("optimistic_adam")
class OptimisticAdam(Adam):
    """Optimistic Adam, Daskalakis et al. 2018, arXiv 1711.00141, algorithm 1.

    Args:
        lr: Learning rate.
        betas: Decay rates of the first and the second moment.
        eps: Added to the root of the second moment.
        gain: ``k`` in ``d_t + k (d_t - d_{t-1})``; the paper's algorithm has gain 1.
    """

    def __init__(
        self,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        gain: float = 1.0,
    ) -> None:
        super().__init__(lr, betas, eps)
        self.config["gain"] = self.gain = plain_numbers(gain)

    def init(self, variables: Vars) -> State:
        """Return zero moments and a zero memory of the last direction."""
        moments = super().init(variables)
        return {**moments, "previous": torch.zeros_like(moments["m"])}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``x - lr (d + gain (d - d_previous))``."""
        layout = Layout(variables)
        gradient = layout.flatten(oracle(variables))
        direction, _, moments = adam_direction(gradient, state, self.betas, self.eps)
        previous = state["previous"] if state["t"] else direction
        step = direction + self.gain * (direction - previous)
        weights = layout.flatten(variables) - self.lr * step
        return layout.unflatten(weights), {**moments, "previous": direction}


def init_moments(vector: Tensor) -> State:
    """Return Adam's state before the first step on a vector of shape ``(N,)``."""
    return {"t": 0, "m": torch.zeros_like(vector), "v": torch.zeros_like(vector)}


def adam_direction(
    gradient: Tensor, state: State, betas: tuple[float | Tensor, float], eps: float
) -> tuple[Tensor, Tensor, State]:
    """Return Adam's direction at a gradient: the one place where its moments are computed.

    The learned rule starts here too, which is why it equals Adam bit for bit before it has learned.

    Args:
        gradient: Flat gradient, shape ``(N,)``.
        state: ``t`` (steps so far), ``m`` and ``v``, the raw moments, shape ``(N,)``.
        betas: Decay rates of the moments; the first may be learned, a 0-d tensor.
        eps: Part of the root ``r``, not of the quotient alone: weights of constant inputs have
            ``g = v = 0``, and ``g / r`` must be 0 there.

    Returns:
        ``d = m_hat / r``, ``r = sqrt(v_hat) + eps`` (both ``(N,)``), and the new state.
    """
    beta1, beta2 = betas
    t = state["t"] + 1
    m = torch.lerp(gradient, state["m"], beta1)
    v = beta2 * state["v"] + (1 - beta2) * gradient * gradient
    # sqrt has an infinite derivative at 0; where v has one, backward or forward, that is a NaN.
    root = (v + 1e-30 if v.requires_grad or has_tangent(v) else v).sqrt()
    r = root / math.sqrt(1 - beta2**t) + eps
    d = m / r / (1 - beta1**t)
    return d, r, {"t": t, "m": m, "v": v}
