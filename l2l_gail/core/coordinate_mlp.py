"""The learned rule for network weights: a small network on every coordinate, a residual on Adam."""

from __future__ import annotations

from torch import Tensor

from l2l_gail.core.registry import register_rule
from l2l_gail.core.residual import ResidualRule
from l2l_gail.core.rules import Adam, adam_direction
from l2l_gail.core.types import Layout, State
from l2l_gail.errors import InputError

__all__ = ["CoordinateMLP"]


@register_rule("coordinate_mlp")
class CoordinateMLP(ResidualRule):
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
        sign_equivariant: Whether the network has the form that cannot leak one constant to all
            weights; see :class:`~l2l_gail.core.residual.ResidualRule`.
        step_lr_ratio: Meta learning rate of ``s`` over that of the network.
        seed: Seed of the network's initial weights, drawn without touching torch's global state.

    Raises:
        InputError: If nothing is to be learned.
    """

    def __init__(
        self,
        lr: float = 3e-4,
        *,
        hidden: int = 16,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        learn_step: bool = True,
        learn_network: bool = True,
        sign_equivariant: bool = False,
        step_lr_ratio: float = 10.0,
        seed: int = 0,
    ) -> None:
        if not (learn_step or learn_network):
            raise InputError(
                "nothing to learn: learn_step and learn_network are both off; use Adam"
            )
        config = {
            "lr": lr,
            "hidden": hidden,
            "betas": list(betas),
            "eps": eps,
            "learn_step": learn_step,
            "learn_network": learn_network,
            "sign_equivariant": sign_equivariant,
            "step_lr_ratio": step_lr_ratio,
            "seed": seed,
        }
        super().__init__(config, sign_equivariant=sign_equivariant)
        self.betas = (self.config["betas"][0], self.config["betas"][1])

    def base(self) -> Adam:
        """Return the Adam that this rule starts as."""
        return Adam(self.lr, self.betas, self.eps)

    def direction(
        self, layout: Layout, gradient: Tensor, state: State
    ) -> tuple[Tensor, Tensor, State]:
        """Return Adam's direction, the root of its second moment, and its new moments."""
        return adam_direction(gradient, state, self.betas, self.eps)
