"""Adversarial weight perturbation: the classifier is trained where its loss is worst nearby."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["worst_weights"]


def worst_weights(
    model: nn.Module,
    loss: Callable[[Callable[[Tensor], Tensor]], Tensor],
    gamma: float,
    *,
    combine: Callable[[Sequence[Tensor]], Sequence[Tensor]] = lambda gradients: gradients,
) -> Callable[[Tensor], Tensor]:
    """Return the model with weights moved uphill (AWP, Wu et al. 2020, arXiv 2004.05884).

    Each convolution and matrix ``w`` becomes ``w + gamma ||w|| g / ||g||`` with ``g`` the loss's
    gradient there, in one step; biases and normalisations stay, as do
    weights that are frozen or have no part in the loss. The shift is
    data: a gradient through the returned function is the one at the moved weights, and belongs to
    the model's own. Batch statistics move only where the returned function is called. Unlike the
    authors' code, weight decay then acts on the weights themselves and not on the moved ones.

    Args:
        model: In training mode.
        loss: From a function of images to logits to the loss that training lowers.
        gamma: Size of the shift, relative to each weight's norm.
        combine: What is made of the gradients first: their mean over several processes.
    """
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    moved = {name: p for name, p in parameters.items() if p.dim() > 1 and p.requires_grad}
    buffers: dict[str, Tensor] = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.enable_grad():
        value = loss(lambda x: functional_call(model, parameters | buffers, (x,)))
        weights = list(moved.values())
        gradients = combine(torch.autograd.grad(value, weights, materialize_grads=True))
    shifted = dict(parameters)
    for (name, weight), gradient in zip(moved.items(), gradients, strict=True):
        scale = gamma * weight.detach().norm() / gradient.norm().clamp_min(1e-12)
        shifted[name] = weight + scale * gradient
    return lambda x: functional_call(model, shifted, (x,))
