"""Batch normalisation by the statistics of a batch that lies in several processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .processes import Processes

__all__ = ["SyncedBatchNorm", "sync_batch_norm"]


class SyncedBatchNorm(_BatchNorm):
    """Batch normalisation whose batch is that of all processes together.

    In training mode mean and variance are those of the whole batch and gradients flow through them
    to every process, so that training does not depend on how many share the batch; in evaluation
    mode it is the ordinary layer.  ``torch.nn.SyncBatchNorm`` is the same for CUDA alone and cannot
    be held against one process where there is no GPU.  One message of ``2 C`` numbers for each
    process and pass.

    Args:
        layer: Whose place it takes; parameters and statistics are shared with it.
        processes: Those that share the batch.
    """

    def __init__(self, layer: _BatchNorm, processes: Processes) -> None:
        tracks = layer.track_running_stats
        super().__init__(
            layer.num_features, layer.eps, layer.momentum, False, track_running_stats=tracks
        )
        self.processes = processes
        self.affine = layer.affine
        self.weight, self.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised input, ``(B, C, ...)``, in the type it came in."""
        if not self.training:
            return super().forward(x)
        precise = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        dims = [dim for dim in range(x.dim()) if dim != 1]
        var, mean = torch.var_mean(precise, dims, correction=0)
        rows = _Gathered.apply(torch.stack([mean, var]), self.processes)  # (processes, 2, C)
        mean = rows[:, 0].mean(0)
        var = (rows[:, 1] + (rows[:, 0] - mean).square()).mean(0)  # parts are of equal size
        self._follow(mean.detach(), var.detach(), self.processes.count * x.numel() // x.shape[1])
        scale = torch.rsqrt(var + self.eps)
        if self.affine:
            scale = scale * self.weight
        shift = -mean * scale
        if self.affine:
            shift = shift + self.bias
        shape = [1, -1, *[1] * (x.dim() - 2)]
        return (precise * scale.view(shape) + shift.view(shape)).to(x.dtype)

    def _follow(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Let the running statistics take a step, as the ordinary layer does."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            keep = self.momentum
            if keep is None:  # the plain mean over all batches
                keep = 1 / float(self.num_batches_tracked)
            self.running_mean.mul_(1 - keep).add_(mean * keep)
            self.running_var.mul_(1 - keep).add_(var * (keep * count / (count - 1)))

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions: the layer that was here has been checked."""


class _Gathered(torch.autograd.Function):
    """Everybody's rows for everybody; backward, the sum of what everybody makes of mine."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        rows = own.new_zeros(processes.count, *own.shape)
        rows[processes.rank] = own
        dist.all_reduce(rows)
        return rows

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[ctx.processes.rank], None


def sync_batch_norm(model: nn.Module, processes: Processes) -> None:
    """Replace every batch normalisation inside a model; names in ``state_dict`` stay.

    Args:
        model: Itself no batch normalisation.
        processes: Those that share each batch; one alone changes nothing.
    """
    if processes.count == 1:
        return
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, SyncedBatchNorm):
                setattr(parent, name, SyncedBatchNorm(child, processes))
