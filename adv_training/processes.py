"""Several processes that train one classifier, each on a part of every batch.

``torchrun`` starts them.  All hold the same weights, optimizers and random states and draw the
same batches and random starts, of which each takes its part; gradients of classifier, learned
attacker and adversarial weights are averaged before anything is done with them, and batch
normalisation takes the statistics of the whole batch.  So a run is what it is in one process with
the same batch size, up to rounding, and a checkpoint of one number of processes goes on with any
other.

``DistributedDataParallel`` does not fit: its gradients are averaged by hooks of ``backward()``, and
here ``torch.autograd.grad`` differentiates one loss by two players' parameters.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from l2l_gail.errors import InputError

__all__ = ["ALONE", "Processes", "is_launched", "is_restarted", "joined"]

T = TypeVar("T")

# One process evaluates while the others wait for it; that takes long for large networks.  One that
# has died is noticed at once, by its connection or by torchrun.
_LONGEST_WAIT = datetime.timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: Its number; the first, 0, judges and writes.
        count: How many there are.
        device: Where it computes.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this one judges the classifier and writes the files."""
        return self.rank == 0

    def part(self, whole: int) -> slice:
        """Return which of ``whole`` images in a batch are this process's.

        Raises:
            InputError: They cannot be dealt out evenly.
        """
        if whole % self.count:
            raise InputError(
                f"--batch-size {whole} cannot be dealt out evenly to {self.count} processes; give "
                f"a multiple of {self.count}"
            )
        share = whole // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def mean(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the mean of each tensor over the processes, all of them in one message."""
        if self.count == 1:
            return tensors
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.div_(self.count).split([tensor.numel() for tensor in tensors])
        return [part.view_as(t) for part, t in zip(parts, tensors, strict=True)]

    def gathered(self, tensor: Tensor) -> Tensor:
        """Return the processes' tensors, all of one shape, one after the other."""
        if self.count == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        dist.all_gather(parts, tensor)
        return torch.cat(parts)

    def total(self, number: float) -> float:
        """Return the sum of a number over the processes."""
        return self._reduced(number, "SUM")

    def largest(self, number: int) -> int:
        """Return the largest of a number over the processes."""
        return int(self._reduced(number, "MAX"))

    def from_first(self, find: Callable[[], T]) -> T:
        """Return what the first process finds, in all of them; only there it is looked for.

        Raises:
            InputError: In all of them, where it is raised in the first: none is left waiting.
        """
        if self.count == 1:
            return find()
        found: list[Any] = [None, None]
        if self.is_first:
            try:
                found[0] = find()
            except InputError as error:
                found[1] = error
        dist.broadcast_object_list(found)
        if found[1] is not None:
            raise found[1]
        return found[0]

    def take_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def _reduced(self, number: float, how: str) -> float:
        if self.count == 1:
            return number
        value = torch.tensor(number, dtype=torch.float64, device=self.device)
        dist.all_reduce(value, getattr(dist.ReduceOp, how))
        return float(value)


ALONE = Processes()
"""One process that trains by itself."""


def is_launched() -> bool:
    """Return whether ``torchrun`` has started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_restarted() -> bool:
    """Return whether ``torchrun`` has started it because one was lost."""
    return _starts() > 0


def _starts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Be one of the processes that ``torchrun`` has started.

    What others than the first print to stdout is dropped, a wrong input is said by the first, and
    at the end each waits for the others.

    Args:
        device: ``cpu``, or ``cuda`` for one GPU each, by their number on the machine.

    Raises:
        InputError: What ``torchrun`` sets is not all there.
    """
    needed = ["MASTER_ADDR", "MASTER_PORT"]
    on_gpu = device.partition(":")[0] == "cuda"
    missing = [name for name in [*needed, *["LOCAL_RANK"] * on_gpu] if name not in os.environ]
    if missing:
        raise InputError(
            f"RANK and WORLD_SIZE are set, and {', '.join(missing)} not: start with torchrun, "
            "which sets them all, or unset RANK and WORLD_SIZE to train in one process"
        )
    if on_gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    store, rank, count = next(rendezvous("env://"))
    if os.environ.get("LOCAL_WORLD_SIZE") == str(count):
        # torchrun keeps one store for all its restarts: without a name of its own a process could
        # meet the address of one that is dead. Machines do not count restarts alike; for several
        # docs/scale.md says what to set.
        store = dist.PrefixStore(f"start{_starts()}", store)  # type: ignore[attr-defined]
    backend = "gloo" if device == "cpu" else "nccl"
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=count, timeout=_LONGEST_WAIT
    )
    dist.barrier()  # one that has nothing to do may else leave before the others have found it
    processes = Processes(rank, count, device)
    with contextlib.ExitStack() as stack:
        stack.callback(dist.destroy_process_group)
        if not processes.is_first:
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        try:
            yield processes
            dist.barrier()  # while the first still judges, none may seem to be lost
        except InputError:
            if processes.is_first:
                raise
            sys.exit(2)
