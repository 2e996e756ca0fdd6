"""Training a rule without derivatives: by what whole games come to, or long pieces of them.

A meta-gradient needs an outer objective that can be differentiated, and sees a short way ahead. An
evolution strategy needs a number only, such as the return of a policy after ten thousand steps, and
its cost does not depend on how it came about. Few parameters are enough for a few games; the noise
of the estimate grows with their number.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.core.descent import check_moves_rule, descend
from l2l_gail.core.rule import UpdateRule
from l2l_gail.errors import InputError

__all__ = ["EvolutionStrategy"]


class EvolutionStrategy:
    r"""Antithetic evolution strategy on a rule's learned parameters, persistent if asked.

    Each pair of candidates is the rule moved by :math:`\pm\epsilon`, :math:`\epsilon` normal with
    standard deviation :math:`\sigma`, and the gradient of the smoothed loss is estimated by

    .. math:: \frac{1}{n}\sum_i \frac{L_i^+ - L_i^-}{2\sigma^2}\,\xi_i .

    For **whole games** :math:`\xi_i = \epsilon_i` (Salimans et al. 2017, arXiv 1703.03864). For
    **pieces** of long games (``persistent=True``) each candidate goes on with a game of its own
    from piece to piece, and :math:`\xi_i` is the sum of all its :math:`\epsilon_i` since that
    began: persistent evolution strategies (Vicol et al. 2021, arXiv 2112.13835), which see what an
    early parameter did to a late loss and so have no short-horizon bias.

        strategy = EvolutionStrategy(rule, torch.optim.Adam(rule.parameters(), lr=0.03))
        for _ in range(50):
            strategy.tell([loss_of_game(candidate) for candidate in strategy.ask()])

    Args:
        rule: The rule; its learned parameters are moved in place.
        optimizer: Takes the estimated gradient's step; holds some or all of these parameters.
        pairs: Antithetic pairs of candidates.
        sigma: Standard deviation of a candidate's distance in each parameter.
        persistent: Whether the games go on from one ``ask`` to the next.
        seed: Of the perturbations.

    Attributes:
        skipped: Pairs that were left out because a loss was not finite.

    Raises:
        InputError: If there is nothing to learn, ``pairs`` or ``sigma`` is not positive, or the
            optimizer is none, or holds a parameter of something else.
    """

    def __init__(
        self,
        rule: UpdateRule,
        optimizer: torch.optim.Optimizer,
        *,
        pairs: int = 4,
        sigma: float = 0.1,
        persistent: bool = False,
        seed: int = 0,
    ) -> None:
        self.rule = rule
        self.optimizer = optimizer
        self.parameters = [p for p in rule.parameters() if p.requires_grad]
        if not self.parameters:
            raise InputError(f"{type(rule).__name__} has nothing to learn")
        if pairs < 1 or not 0.0 < sigma < math.inf:
            raise InputError(f"pairs and sigma must be positive, not {pairs} and {sigma}")
        check_moves_rule(rule, optimizer, "optimizer", optional=False)
        self.pairs = pairs
        self.sigma = sigma
        self.persistent = persistent
        self.skipped = 0
        self._stream = torch.Generator("cpu").manual_seed(seed)
        size = sum(p.numel() for p in self.parameters)
        self._sums = torch.zeros(pairs, size, device="cpu")  # xi

    def ask(self) -> list[UpdateRule]:
        """Return ``2 pairs`` candidates, copies of the rule: ``+`` and ``-`` of a pair in turn."""
        epsilon = self.sigma * torch.randn(self._sums.shape, generator=self._stream, device="cpu")
        self._sums = self._sums + epsilon if self.persistent else epsilon
        start = nn.utils.parameters_to_vector(self.parameters).detach()
        candidates = []
        for of_pair in epsilon.to(start):
            for sign in (1.0, -1.0):
                candidate = copy.deepcopy(self.rule)
                learned = [p for p in candidate.parameters() if p.requires_grad]
                nn.utils.vector_to_parameters(start + sign * of_pair, learned)
                candidates.append(candidate.requires_grad_(False))
        return candidates

    def tell(self, losses: Sequence[float]) -> Tensor:
        """Move the rule by the candidates' losses.

        Args:
            losses: The loss of each candidate of the last :meth:`ask`, lower being better; with
                ``persistent``, that of its piece. A pair with a loss that is not finite is left
                out, so that the mean is over the others, and begins anew if persistent.

        Returns:
            The estimated gradient, shape ``(n,)`` over all learned parameters; zeros, and no step
            taken, where every pair is left out.

        Raises:
            InputError: If there are not two losses for each pair.
        """
        if len(losses) != 2 * self.pairs:
            raise InputError(f"{2 * self.pairs} candidates were asked for, not {len(losses)}")
        up, down = torch.tensor(losses, dtype=torch.float64).view(self.pairs, 2).unbind(1)
        difference = (up - down).to(self._sums.dtype)
        good = difference.isfinite()
        self.skipped += int((~good).sum())
        weighted = difference[good, None] * self._sums[good] / (2 * self.sigma**2)
        # Divided by all pairs, the step would be the shorter the more of them are left out.
        gradient = weighted.sum(0) / max(len(weighted), 1)
        for pair in (~good).nonzero().flatten().tolist():
            self.begin(pair)
        if bool(good.any()):
            pieces = gradient.split([p.numel() for p in self.parameters])
            shaped = [
                piece.view(parameter.shape).to(parameter)
                for parameter, piece in zip(self.parameters, pieces, strict=True)
            ]
            descend(self.optimizer, self.parameters, shaped)
        return gradient

    def begin(self, pair: int) -> None:
        """Forget a pair's past: both of its games begin anew."""
        self._sums[pair] = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed strategy needs; the rule's parameters are saved with the rule."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "stream": self._stream.get_state(),
            "sums": self._sums,
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state of :meth:`state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._stream.set_state(state["stream"])
        self._sums = state["sums"].clone()
        self.skipped = state["skipped"]
