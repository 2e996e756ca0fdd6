"""Losses of logits and labels, one number an image: what an attack raises.

A loss is any function ``(logits, y) -> losses`` with logits of shape ``(B, classes)``, labels int64
of shape ``(B,)`` and losses of shape ``(B,)``; larger is better for the attack.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ImageLoss", "cross_entropy", "margin", "sharp_cross_entropy"]

ImageLoss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return ``-log softmax(logits)[y]``."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return the largest logit of a wrong class minus that of the right one.

    Positive exactly where the image is classified wrongly. Unlike cross-entropy it does not vanish
    where the classifier is sure (Carlini & Wagner 2017, arXiv 1608.04644, f_6 with kappa infinite).
    """
    right = logits.gather(1, y[:, None]).squeeze(1)
    hidden = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, y[:, None], True)
    return logits.masked_fill(hidden, -torch.inf).amax(1) - right


def sharp_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of three times the logits.

    It weighs the classes that are nearest to winning more, and images that are about to fall.
    """
    return cross_entropy(3.0 * logits, y)
