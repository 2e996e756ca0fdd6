"""What a pass through a classifier or an attacker costs, in floating-point operations."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .registry import Method

__all__ = ["attacker_flops", "forward_flops"]


def attacker_flops(method: Method, *shape: int) -> int | None:
    """Return the operations of one pass through a method's attacker; ``None`` if it has none.

    Args:
        method: With or without a learned rule.
        shape: Of an image, ``(C, H, W)``.
    """
    net = getattr(method.rule, "net", None)
    if not method.learns or net is None:
        return None
    colours, *size = shape
    return forward_flops(net, 1, method.sees * colours, *size)


def forward_flops(module: nn.Module, *shape: int) -> int:
    """Return the floating-point operations of one pass of an input of ``shape`` through a module.

    Two for each multiply-add of a convolution or matrix product; the rest is not counted.  The
    module is left as it was.
    """
    module = copy.deepcopy(module).eval()  # one with CUDA graphs counts nothing, its copy does
    weight = next(itertools.chain(module.parameters(), module.buffers(), [torch.zeros(())]))
    x = torch.zeros(shape, device=weight.device, dtype=weight.dtype)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(x)
    return counter.get_total_flops()
