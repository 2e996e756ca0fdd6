"""Games with another loss for the classifier: TRADES."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l2l_gail.core import Vars

from .data import ImageBatch
from .game import Classify, ImageGame, in_mode

__all__ = ["TradesGame"]


class TradesGame(ImageGame):
    """TRADES (Zhang et al. 2019, arXiv 1901.08573).

    With ``p`` the softmax of the logits, the perturbation raises ``KL(p(x) || p(x'))``, which knows
    no labels, and the classifier lowers ``l(f(x), y) + beta KL(p(x) || p(x'))``.

    Queries see ``p(x)`` as it was when the perturbation began: computed once for each batch, where
    the authors' code computes it anew at every step.

    Args:
        classifier: Images to logits.
        eps: Radius of the ball.
        beta: Weight of the second term, their 1 / lambda.
        options: As for ``ImageGame``.
    """

    def __init__(
        self, classifier: nn.Module, eps: float, *, beta: float = 6.0, **options: Any
    ) -> None:
        super().__init__(classifier, eps, **options)
        self.beta = beta
        self.zero_sum = False
        self._clean: tuple[Tensor, Tensor] | None = None  # images, and what they are taken for

    def init_follower(self, batch: ImageBatch) -> Vars:
        """Return the images the attack starts from; look at the clean ones once."""
        with in_mode(self.classifier, training=False), torch.no_grad():
            self._clean = batch.x, self.logits(self.classifier, batch.x).softmax(1)
        return super().init_follower(batch)

    def follower_loss(self, follower: Vars, batch: ImageBatch) -> Tensor:
        """Return minus the divergence, mean over the batch, classifier in evaluation mode."""
        if self._clean is None or self._clean[0] is not batch.x:
            self.init_follower(batch)
        assert self._clean is not None
        with in_mode(self.classifier, training=False):
            perturbed = self.logits(self.classifier, follower["x"]).log_softmax(1)
        return -F.kl_div(perturbed, self._clean[1], reduction="batchmean")

    def training_loss(self, classify: Classify, follower: Vars, batch: ImageBatch) -> Tensor:
        """Return the sum of both terms, means over the batch."""
        clean = self.logits(classify, batch.x)
        perturbed = self.logits(classify, follower["x"])
        self.note_accuracy(perturbed, batch.y)
        natural = F.cross_entropy(clean, batch.y, label_smoothing=self.label_smoothing)
        apart = F.kl_div(perturbed.log_softmax(1), clean.softmax(1), reduction="batchmean")
        return natural + self.beta * apart
