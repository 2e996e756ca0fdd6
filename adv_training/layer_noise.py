"""What random layers draw from, dropout for one: torch's global random state, as a run has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["layer_noise"]


@contextmanager
def layer_noise(device: torch.device, *place: int) -> Iterator[None]:
    """Inside, torch's global random state is that of a place in a run; then it is as it was before.

    A state for each place, in the place of one that is carried along: a run goes on from any
    checkpoint, in any number of processes, and nobody else's draws get in between.

    Args:
        device: Where the layers are; its generator is meant, and the CPU's.
        place: Whole numbers from 0 that tell it from all others, the run's seed first.
    """
    seed = int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for here in cuda:
            with torch.cuda.device(here):
                torch.cuda.manual_seed(seed)
        yield
