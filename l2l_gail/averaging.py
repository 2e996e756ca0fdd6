"""The exponential moving average of a network's weights, for a classifier and for a policy."""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import nn

__all__ = ["WeightAverage"]

_EXTRA = "_extra_state"
"""Where a module's state holds what its ``get_extra_state`` returns."""


class WeightAverage:
    """A second network whose weights and buffers follow the first one slowly.

    ``w <- d w + (1 - d) w_now`` after every step, with ``d = min(decay, (1 + t) / (10 + t))`` at
    step ``t``: a short training would otherwise be judged by its first steps. It lifts every
    method of adversarial training (Gowal et al. 2020, arXiv 2010.03593), and is usual for the
    generator of a GAN, which circles about the equilibrium where its average does not (Yazici et
    al. 2019, arXiv 1806.04498). What several modules share is shared in the average too.

    Args:
        model: What to follow; it is copied.
        decay: Limit of ``d``, in [0, 1).

    Attributes:
        model: The averaged network.
        steps: Steps followed.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """Take one step towards the weights and statistics of ``model``."""
        keep = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        now = model.state_dict()
        mine, theirs = [], []
        seen = set()
        for name, value in self.model.state_dict(keep_vars=True).items():
            # What is shared has several names, and moves once. Extra state is of any type; that of
            # the start is kept.
            if name.endswith(_EXTRA) or id(value) in seen:
                continue
            seen.add(id(value))
            if value.is_floating_point():
                mine.append(value)
                theirs.append(now[name])
            else:
                value.copy_(now[name])  # the number of batches seen
        torch._foreach_lerp_(mine, theirs, 1 - keep)  # a hundred tensors in one kernel on a GPU

    def state_dict(self) -> dict[str, Any]:
        """Return weights and step."""
        return {"model": self.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Take over a state of :meth:`state_dict`; ``strict`` as for a module."""
        self.model.load_state_dict(state["model"], strict=strict)
        self.steps = operator.index(state["steps"])
