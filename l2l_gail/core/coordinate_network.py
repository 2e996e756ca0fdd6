"""The network that a learned rule applies to every weight, with its derivative written out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["coordinate_network"]

_CHUNK_BYTES = 120_000


def coordinate_network(
    features: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    w3: Tensor,
    b3: Tensor,
) -> Tensor:
    """Return ``W3 relu(W2 relu(W1 F + b1) + b2) + b3``, the same network for each column of ``F``.

    On the CPU the columns pass in chunks whose activations fit the cache and the allocator's free
    lists: at 12.6k columns and 16 hidden units the activations are else 0.8 MB each, and handing
    those pages back to the system and faulting them in again took longer than the arithmetic.

    ======== ================= ========================================
    argument shape             meaning
    ======== ================= ========================================
    features ``(n_in, N)``     one column for each weight
    w1, b1   ``(h, n_in)``     first layer; ``b1`` is ``(h, 1)``
    w2, b2   ``(h, h)``        second layer; ``b2`` is ``(h, 1)``
    w3, b3   ``(n_out, h)``    last layer; ``b3`` is ``(n_out, 1)``
    ======== ================= ========================================

    Returns:
        Tensor of shape ``(n_out, N)``. It can be differentiated once in every argument.
    """
    return _CoordinateNetwork.apply(features, w1, b1, w2, b2, w3, b3)


class _CoordinateNetwork(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        w1: Tensor,
        b1: Tensor,
        w2: Tensor,
        b2: Tensor,
        w3: Tensor,
        b3: Tensor,
    ) -> Tensor:
        out = []
        hidden = []
        ctx.columns = _columns(features, len(w1))
        for f in features.split(ctx.columns, dim=1):  # (n_in, columns)
            h1 = torch.addmm(b1, w1, f).relu_()  # (h, columns)
            h2 = torch.addmm(b2, w2, h1).relu_()  # (h, columns)
            out.append(torch.addmm(b3, w3, h2))  # (n_out, columns)
            hidden += [h1, h2]
        ctx.save_for_backward(features, w1, w2, w3, *hidden)
        return torch.cat(out, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        features, w1, w2, w3, *hidden = ctx.saved_tensors
        grad_w1, grad_w2, grad_w3 = (torch.zeros_like(w) for w in (w1, w2, w3))
        grad_b1 = w1.new_zeros(len(w1), 1)
        grad_b2 = torch.zeros_like(grad_b1)
        grad_features = []
        chunks = zip(
            features.split(ctx.columns, dim=1),
            grad_out.split(ctx.columns, dim=1),
            hidden[::2],
            hidden[1::2],
            strict=True,
        )
        # The sign of a rectified value, 0 or 1, is the rectifier's slope; a mask is slower.
        for f, g3, h1, h2 in chunks:
            grad_w3.addmm_(g3, h2.mT)
            g2 = (w3.mT @ g3).mul_(h2.sign())  # (h, columns)
            grad_w2.addmm_(g2, h1.mT)
            grad_b2 += g2.sum(1, keepdim=True)
            g1 = (w2.mT @ g2).mul_(h1.sign())  # (h, columns)
            grad_w1.addmm_(g1, f.mT)
            grad_b1 += g1.sum(1, keepdim=True)
            if ctx.needs_input_grad[0]:
                grad_features.append(w1.mT @ g1)
        return (
            torch.cat(grad_features, dim=1) if grad_features else None,
            grad_w1,
            grad_b1,
            grad_w2,
            grad_b2,
            grad_w3,
            grad_out.sum(1, keepdim=True),
        )


def _columns(features: Tensor, hidden: int) -> int:
    """Return how many columns pass at a time: on the CPU equal parts that fit, else all."""
    n = features.shape[1]
    if features.device.type != "cpu":
        return n
    parts = math.ceil(n * hidden * features.element_size() / _CHUNK_BYTES)
    return math.ceil(n / max(parts, 1))
