"""What an attacker keeps of each training image from one epoch to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data import ImageBatch, Images
from .processes import ALONE, Processes

__all__ = ["PerturbationMemory"]


class PerturbationMemory:
    """The signs of the last perturbation of each training image, in the image's own frame.

    A crop is read where it is looked at and written back there; what a crop does not show stays as
    it was. One byte for each number (CIFAR-10: 150 MB), a quarter of that in a checkpoint.

    Args:
        images: Those to be remembered, on the device where the memory is to lie.

    Attributes:
        signs: int8 ``(N, C, H, W)``; 0 where nothing is known yet.
    """

    def __init__(self, images: Images) -> None:
        self.signs = torch.zeros_like(images.pixels, dtype=torch.int8)

    def recall(self, batch: ImageBatch) -> Tensor:
        """Return the signs of a batch as it is looked at, in -1, 0 and 1, ``(B, C, H, W)``."""
        known = self.signs[batch.indices]
        if batch.view is not None:
            known = batch.view.of(known)
        return known.to(batch.x.dtype).contiguous(memory_format=torch.channels_last)

    def keep(self, batch: ImageBatch, perturbed: Tensor, processes: Processes = ALONE) -> None:
        """Remember how the images of a batch have been perturbed.

        Args:
            batch: The clean images.
            perturbed: The others, ``(B, C, H, W)``.
            processes: Those that share the batch; each remembers all of it, as the next epoch
                deals the images out anew.
        """
        assert batch.indices is not None
        signs = (perturbed.detach() - batch.x).sign().to(torch.int8)
        if batch.view is not None:
            signs = batch.view.put(self.signs[batch.indices], signs)
        self.signs[processes.gathered(batch.indices)] = processes.gathered(signs.contiguous())

    def state_dict(self) -> dict[str, Any]:
        """Return the signs, eight to a byte."""
        signs = self.signs.cpu().numpy()
        return {
            "shape": list(signs.shape),
            "up": torch.from_numpy(np.packbits(signs > 0)),
            "down": torch.from_numpy(np.packbits(signs < 0)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` has returned.

        Raises:
            ValueError: It is of other images.
        """
        shape = tuple(self.signs.shape)
        if tuple(state["shape"]) != shape:
            raise ValueError(f"the memory is one of {tuple(state['shape'])} signs, not {shape}")
        up, down = (
            np.unpackbits(state[name].numpy(), count=self.signs.numel()).astype(np.int8)
            for name in ("up", "down")
        )
        self.signs.copy_(torch.from_numpy((up - down).reshape(shape)))
