"""A network's passes replayed as CUDA graphs: a GPU no longer waits for the CPU to launch kernels.

A pass of a residual network is about two hundred kernels, each launched by Python; a GPU is done
with a small one long before the next comes. A graph launches them all at once, forward and
backward alike (``torch.cuda.make_graphed_callables``), with the same kernels on the same numbers.
"""

from __future__ import annotations

import types
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.errors import InputError

from .processes import ALONE, Processes
from .settings import Settings

__all__ = ["check_cuda_graphs", "with_cuda_graphs"]

_DEVICES = ("cuda",)
_FIRST = 3  # passes of a kind that are as always: what is loaded or chosen at first is there then

Forward = Callable[[Tensor], Tensor]


def check_cuda_graphs(settings: Settings, processes: Processes = ALONE) -> None:
    """Refuse to replay the passes of a run that it is not made for.

    Raises:
        InputError: They are compiled, or shared by several processes.
    """
    if settings.compile:
        raise InputError("--compile and --cuda-graphs do not go together; leave one of them out")
    if processes.count > 1:
        raise InputError("--cuda-graphs is for one process; leave it out under torchrun")


@contextmanager
def with_cuda_graphs(module: nn.Module, batch_sizes: Collection[int]) -> Iterator[None]:
    """Replay a module's passes as CUDA graphs inside, in place.

    There is a graph for each kind of pass: mode, shape, precision. A pass is as before where a
    replay would not be the same: on a CPU, in the first passes of a kind, with other weights than
    the module's own (``torch.func.functional_call``), or while the gradient of the last pass of
    that kind is still to come, whose activations it would overwrite.

    In evaluation mode the images alone have a gradient. Gradients of the weights lie where the next
    pass of the kind writes its own: they are to be used before it. A pass is differentiated once.
    Mode means that of the module with all its parts; a pass draws no random numbers and depends on
    nothing but images, weights and buffers.

    Args:
        module: Maps images ``(B, C, H, W)`` to logits ``(B, classes)``. A copy of it is without
            graphs.
        batch_sizes: The ``B`` that are worth a graph, which keeps its activations in the GPU's
            memory as long as it is there.
    """
    module.forward = _Replay(module, batch_sizes)
    try:
        yield
    finally:
        del module.forward  # that of its class is there again


class _Replay:
    """What stands in for a module's ``forward``."""

    def __init__(self, module: nn.Module, batch_sizes: Collection[int]) -> None:
        self._module = module
        self._forward: Forward = module.forward
        self._sizes = frozenset(batch_sizes)
        self._seen: Counter[tuple[Any, ...]] = Counter()
        self._passes: dict[tuple[Any, ...], _Pass] = {}
        self._tensors = list(self._tensors_now())
        self._places = [tensor.data_ptr() for tensor in self._tensors]

    def __call__(self, x: Tensor) -> Tensor:
        if x.device.type not in _DEVICES or len(x) not in self._sizes or not self._is_itself:
            return self._forward(x)
        if not (self._module.training or x.requires_grad) and torch.is_grad_enabled():
            return self._forward(x)  # somebody may want the gradient of the weights
        kind = self._kind(x)
        if kind not in self._passes:
            self._seen[kind] += 1
            if self._seen[kind] <= _FIRST:
                return self._forward(x)
            self._passes[kind] = _Pass(self._module, self._forward, x)
        known = self._passes[kind]
        return self._forward(x) if known.is_awaited else known(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(self._module), self._module)
        return types.MethodType(type(copied).forward, copied)

    def _tensors_now(self) -> Iterator[Tensor]:
        return chain(self._module.parameters(), self._module.buffers())

    @property
    def _is_itself(self) -> bool:
        """Whether weights and buffers are the module's own, where the graphs use them."""
        known = zip(self._tensors, self._places, self._tensors_now(), strict=True)
        return all(own is now and place == now.data_ptr() for own, place, now in known)

    def _kind(self, x: Tensor) -> tuple[Any, ...]:
        device = x.device.type
        lower = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device)
        training = self._module.training
        return training, training and x.requires_grad, x.shape, x.dtype, lower


class _Pass:
    """The graphs of one kind of pass, forward and backward.

    Args:
        module: Whose pass it is.
        forward: The pass itself.
        x: Images of the kind.
    """

    def __init__(self, module: nn.Module, forward: Forward, x: Tensor) -> None:
        device = x.device.type
        sample = x.detach().clone().requires_grad_(not module.training or x.requires_grad)
        buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
        with (
            torch.cuda.device(x.device) if x.is_cuda else nullcontext(),
            torch.enable_grad(),
            torch.autocast(
                device,
                dtype=torch.get_autocast_dtype(device),
                enabled=torch.is_autocast_enabled(device),
                cache_enabled=False,  # weights cast outside a graph would be those of its capture
            ),
        ):
            # A function's graph has gradients of its arguments, a module's of its weights too.
            whole: Any = _Trained(module, forward) if module.training else forward
            with warnings.catch_warnings():  # of gradients that are added up: none are here
                warnings.filterwarnings("ignore", "The AccumulateGrad node's stream")
                graphed: Any = torch.cuda.make_graphed_callables(whole, (sample,))
        self._graphed: Forward = graphed
        for buffer, kept in buffers:  # the passes that warmed up have moved the statistics
            # Not as a change: the gradient of a pass that has seen them may be still to come.
            buffer.data.copy_(kept)
        self._turn: weakref.ref[_Turn] | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether somebody may still ask for the gradient of the last pass."""
        turn = None if self._turn is None else self._turn()
        return turn is not None and not turn.over

    def __call__(self, x: Tensor) -> Tensor:
        # Outputs and gradients of a graph lie where its next replay writes: nobody may keep them.
        x = _KeptGradient.apply(x)
        turn = _Turn()
        self._turn = weakref.ref(turn)
        logits: Tensor = _Kept.apply(self._graphed(x), turn)
        return logits


class _Turn:
    """One pass; it lives as long as its gradient can be asked for."""

    over = False


class _Trained(nn.Module):
    """A module with its forward pass as it was before it was replayed."""

    def __init__(self, module: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.module = module
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(x)


class _Kept(torch.autograd.Function):
    """A copy of a graph's output, and the end of its turn where the gradient passes through."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, turn: _Turn) -> Tensor:
        ctx.turn = turn
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        if ctx.turn.over:
            raise RuntimeError("a replayed pass is differentiated once; leave --cuda-graphs out")
        ctx.turn.over = True
        return gradients[0], None


class _KeptGradient(torch.autograd.Function):
    """The images as they are, and a copy of the gradient that a graph gives for them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0].clone()
