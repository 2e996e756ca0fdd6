"""The policy's reward as a function of the discriminator's logit ``l`` (high = expert-like).

With ``D = sigmoid(l)`` the probability of "expert":

======== ==================================== ===================================================
name     ``r(l)``                             source
======== ==================================== ===================================================
gail     ``softplus(l) = -log(1 - D)``        Ho & Ermon 2016, arXiv 1606.03476; positive
logit    ``l = log D - log(1 - D)``           Fu et al. 2018, arXiv 1710.11248, algorithm 1
fairl    ``-l exp(min(l, 5))``                Ghasemipour et al. 2020, arXiv 1911.02256
dail     ``0.5 sigmoid(l) (tanh(l) + 1)``     Chirra et al. 2025, arXiv 2510.00922; in [0, 1]
constant ``1``                                the no-demonstrations control
======== ==================================== ===================================================

``airl`` is an older name of ``logit``. That reward alone makes no AIRL: see
:class:`~l2l_gail.gail.airl.AIRL` for the method.

The sign matters where episodes end early: a positive reward favours staying alive whatever the
demonstrations say, which is what the ``constant`` control measures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["REWARDS", "SIGNS", "Sign", "reward_of_logits"]

REWARDS: dict[str, Callable[[Tensor], Tensor]] = {
    "gail": F.softplus,
    "logit": lambda logits: logits,
    # exp is bounded so that one odd state cannot outweigh a rollout.
    "fairl": lambda logits: -logits * logits.clamp(max=5.0).exp(),
    "dail": lambda logits: 0.5 * logits.sigmoid() * (logits.tanh() + 1.0),
    "constant": torch.ones_like,
}
"""The rewards by name; one of your own is one more entry."""
REWARDS["airl"] = REWARDS["logit"]  # runs and models that were begun under this name keep it


Sign: TypeAlias = Literal["positive", "negative", "either"]

SIGNS: dict[str, Sign] = {"gail": "positive", "dail": "positive", "constant": "positive"}
"""Rewards that are of one sign at every step, by name; what is not here may be of either."""


def reward_of_logits(logits_expert_is_high: Tensor, name: str) -> Tensor:
    """Return the reward for logits of any shape, same shape.

    Args:
        logits_expert_is_high: The discriminator's logits.
        name: One of the forms above.
    """
    return REWARDS[name](logits_expert_is_high)
