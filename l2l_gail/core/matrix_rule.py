"""Orthogonalised momentum for weight matrices: at a fixed rate, and with what can be learned on it.

A weight matrix moves along its momentum with all singular values set to about 1; biases and
single rows, which have nothing to orthogonalise, move by Adam. Both directions have an RMS of about
1 per weight, so that one learning rate serves all.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.checks import check_nonnegative
from l2l_gail.core.oracle import Oracle
from l2l_gail.core.registry import register_rule
from l2l_gail.core.residual import ResidualRule
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.rules import adam_direction, init_moments
from l2l_gail.core.types import Layout, State, Vars
from l2l_gail.errors import InputError

__all__ = ["MatrixRule", "Muon", "is_matrix", "orthogonalise"]

_ITERATIONS = 5


@register_rule("muon")
class Muon(UpdateRule):
    """Muon, Jordan et al. 2024 (kellerjordan.github.io/posts/muon), at a fixed or a decaying rate.

    For a matrix: ``m <- b m + (1 - b) g`` with ``b`` the first of ``betas``, and the step is
    ``lr sqrt(max(shape))`` times :func:`orthogonalise` of ``b m + (1 - b) g``. Tensors of more
    dimensions count as matrices of their first one; biases, scalars and matrices of one row or
    column move by Adam with the same betas.

    Args:
        lr: Learning rate, the RMS of a step per weight.
        betas: Decay rates: of the momentum, and of Adam's second moment.
        eps: Part of the root of Adam's second moment.
        half_life: Steps in which the rate halves; ``None`` leaves it where it is.
        final_lr: Where the decay of the rate ends.
        decay: Decoupled weight decay of matrices and rows, ``W <- W - lr (D + decay W)``. As the
            spectral norm of ``D`` is about ``sqrt(max(shape))``, no matrix grows beyond
            ``sqrt(max(shape)) / decay``, whatever the loss asks for. ``None`` leaves it to whoever
            uses the rule, and is 0 where nobody says otherwise.

    Raises:
        InputError: If ``half_life`` is not positive, ``final_lr`` is given without it, or ``decay``
            is negative or not finite.
    """

    def __init__(
        self,
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        half_life: float | None = None,
        final_lr: float = 0.0,
        decay: float | None = None,
    ) -> None:
        super().__init__(
            lr=lr,
            betas=list(betas),
            eps=eps,
            half_life=half_life,
            final_lr=final_lr,
            decay=decay,
        )
        if half_life is None and final_lr:
            raise InputError("final_lr is where the rate's decay ends: it needs a half_life")
        if half_life is not None and half_life <= 0:
            raise InputError(f"half_life must be a positive number of steps, not {half_life}")
        if decay is not None:
            check_nonnegative("decay", decay)
        self.lr = self.config["lr"]
        self.betas = (self.config["betas"][0], self.config["betas"][1])
        self.eps = self.config["eps"]
        self.half_life = self.config["half_life"]
        self.final_lr = self.config["final_lr"]
        self.decay = self.config["decay"]

    def init(self, variables: Vars) -> State:
        """Return zero moments over the flat vector of all variables, shape ``(N,)`` each."""
        return init_moments(Layout(variables).flatten(variables))

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``x - lr_t d``, where ``lr_t = max(final_lr, lr 2^(-t / half_life))``."""
        layout = Layout(variables)
        gradient = layout.flatten(oracle(variables))
        d, _, moments = matrix_direction(layout, gradient, state, self.betas, self.eps)
        lr = self.lr
        if self.half_life is not None:
            lr = max(self.final_lr, lr * 0.5 ** (state["t"] / self.half_life))
        weights = layout.flatten(variables)
        return layout.unflatten(weights + lr * -_decayed(layout, d, weights, self.decay)), moments


@register_rule("matrix_rule")
class MatrixRule(ResidualRule):
    r"""Orthogonalised momentum under a learned global step, which starts high.

    :math:`\Delta w = -e^{s}\,\mathrm{lr}\,d` with the direction ``d`` of :class:`Muon`, whose steps
    it takes until it has learned (bit for bit, and to rounding where the momentum is learned). A
    greedy step that starts too low stays too low (short-horizon bias, Wu
    et al. 2018, arXiv 1803.02021); from above it falls to where it should be. On top of it can be
    learned: a step for each tensor, the momentum, and a sign-equivariant network on the basis
    ``d``, ``u``, ``m``, ``w`` of :class:`~l2l_gail.core.residual.ResidualRule`.

    Args:
        lr: The unit of all steps.
        layers: 0 for one step over all weights; the number of the follower's tensors for a step of
            each.
        learn_step: Whether the step is learned.
        learn_momentum: Whether the first of ``betas`` is learned, through a sigmoid. What it does
            to later steps is seen only by a trainer that carries derivatives forward.
        learn_network: Whether there is a network, and it is learned.
        hidden: Width of the network's two hidden layers.
        betas: Decay rates of the momentum and of the second moment.
        eps: Part of ``r``, the root of the second moment.
        step_lr_ratio: Meta learning rate of step and momentum over that of the network.
        decay: Decoupled weight decay, as for :class:`Muon`, under the learned step.
        seed: Seed of the network's initial weights, drawn without touching torch's global state.

    Raises:
        InputError: If nothing is to be learned, a momentum that is learned does not start between 0
            and 1, or ``decay`` is negative or not finite.
    """

    def __init__(
        self,
        lr: float = 3e-2,
        *,
        layers: int = 0,
        learn_step: bool = True,
        learn_momentum: bool = False,
        learn_network: bool = False,
        hidden: int = 16,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        step_lr_ratio: float = 30.0,
        decay: float | None = None,
        seed: int = 0,
    ) -> None:
        if learn_momentum and not 0.0 < betas[0] < 1.0:
            raise InputError(
                f"a momentum that is learned starts between 0 and 1, not at {betas[0]}"
            )
        if not (learn_step or learn_momentum or learn_network):
            raise InputError("nothing to learn: step, momentum and network are all off; use Muon")
        if decay is not None:
            check_nonnegative("decay", decay)
        config = {
            "lr": lr,
            "layers": layers,
            "learn_step": learn_step,
            "learn_momentum": learn_momentum,
            "learn_network": learn_network,
            "hidden": hidden,
            "betas": list(betas),
            "eps": eps,
            "step_lr_ratio": step_lr_ratio,
            "decay": decay,
            "seed": seed,
        }
        super().__init__(config, sign_equivariant=True, layers=layers, network=learn_network)
        self.layers = layers
        self.betas = (self.config["betas"][0], self.config["betas"][1])
        self.decay = self.config["decay"]
        self.logit_shift = nn.Parameter(torch.zeros(())) if learn_momentum else None

    def init(self, variables: Vars) -> State:
        """Return zero moments over the flat vector, shape ``(N,)`` each, and zero counters.

        Raises:
            InputError: If ``layers`` is not the number of variables.
        """
        if self.layers not in (0, len(variables)):
            raise InputError(
                f"layers={self.layers} asks for a step of each tensor, but there are "
                f"{len(variables)} tensors"
            )
        return super().init(variables)

    def base(self) -> Muon:
        """Return the Muon that this rule starts as."""
        return Muon(self.lr, betas=self.betas, eps=self.eps, decay=self.decay)

    def direction(
        self, layout: Layout, gradient: Tensor, state: State
    ) -> tuple[Tensor, Tensor, State]:
        """Return Muon's direction, the root of the second moment, and the new moments."""
        betas = (self._momentum(gradient.dtype), self.betas[1])
        return matrix_direction(layout, gradient, state, betas, self.eps)

    def decayed(self, layout: Layout, d: Tensor, weights: Tensor) -> Tensor:
        """Return the direction with the pull of the weight decay, ``(N,)``."""
        return _decayed(layout, d, weights, self.decay)

    def _momentum(self, dtype: torch.dtype) -> Tensor | float:
        start = self.betas[0]
        if self.logit_shift is None:
            return start
        return (self.logit_shift.to(dtype) + math.log(start / (1 - start))).sigmoid()

    def diagnostics(self, state: State) -> dict[str, Any]:
        """Return those of the residual rules, and the momentum where it is learned."""
        learned = {}
        if self.logit_shift is not None:
            learned["momentum"] = torch.as_tensor(self._momentum(torch.float32)).detach()
        return {**super().diagnostics(state), **learned}


def matrix_direction(
    layout: Layout,
    gradient: Tensor,
    state: State,
    betas: tuple[float | Tensor, float],
    eps: float,
) -> tuple[Tensor, Tensor, State]:
    """Return the direction of steepest descent by matrix, RMS about 1, downhill being ``-d``.

    Args:
        layout: How the tensors lie in the vector.
        gradient: Flat gradient, shape ``(N,)``.
        state: ``t``, ``m`` and ``v`` of :func:`~l2l_gail.core.rules.init_moments`.
        betas: Decay rates of the momentum and of the second moment.
        eps: As in :func:`~l2l_gail.core.rules.adam_direction`.

    Returns:
        ``d`` and ``r = sqrt(v_hat) + eps`` (both ``(N,)``), and the new state.
    """
    d, r, moments = adam_direction(gradient, state, betas, eps)
    ahead = torch.lerp(gradient, moments["m"], betas[0])
    pieces = []
    for shape, of_adam, of_momentum in zip(
        layout.shapes.values(), d.split(layout.sizes), ahead.split(layout.sizes), strict=True
    ):
        if not is_matrix(shape):
            pieces.append(of_adam)
            continue
        matrix = orthogonalise(of_momentum.view(shape[0], -1))
        pieces.append(matrix.reshape(-1) * math.sqrt(max(matrix.shape)))
    return torch.cat(pieces), r, moments


def _decayed(layout: Layout, d: Tensor, weights: Tensor, decay: float | None) -> Tensor:
    """Return ``d + decay w`` for matrices and rows, ``d`` for all else, ``(N,)``."""
    if not decay:
        return d
    by_tensor = zip(
        layout.shapes.values(), d.split(layout.sizes), weights.split(layout.sizes), strict=True
    )
    return torch.cat([of_d + decay * w if len(shape) > 1 else of_d for shape, of_d, w in by_tensor])


def is_matrix(shape: torch.Size) -> bool:
    """Return whether there is something to orthogonalise: two rows and two columns at least."""
    return len(shape) > 1 and min(shape[0], shape[1:].numel()) > 1


def orthogonalise(matrix: Tensor) -> Tensor:
    """Return the matrix with its singular values moved to between about 0.7 and 1.2.

    Five Newton-Schulz steps with the quintic of Jordan et al. 2024,
    ``X <- 3.4445 X - 4.7750 (X X') X + 2.0315 (X X')^2 X``, from ``X = M / |M|_F``. A direction
    whose singular value is below about a thousandth of the norm may fall short; a matrix of zeros
    stays one.

    Args:
        matrix: Shape ``(n, m)``.
    """
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-30)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        polynomial = torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315)
        x = torch.addmm(x, polynomial, x, beta=3.4445)
    return x.mT if matrix.shape[0] > matrix.shape[1] else x
