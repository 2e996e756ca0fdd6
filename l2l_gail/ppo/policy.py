"""Observations in the demonstrations' units; the statistics are part of the model."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

__all__ = ["NormalizeObservations", "NormalizedPolicy", "ObservationStatistics"]

_STD_FLOOR = 1e-3
_CLIP = 10.0


class ObservationStatistics(nn.Module):
    """Shifts and scales observations by fixed statistics, and clips them to +-10.

    The statistics are buffers: they are saved with the network that owns them, so no second file
    is ever needed, and they never change while a game is played.

    Args:
        width: Number of entries of an observation.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def set(self, mean: ArrayLike, std: ArrayLike) -> None:
        """Take the statistics, shape ``(width,)`` each.

        The scale is ``1 / (std + 1e-3)``, so that an entry that hardly varies is not blown up.
        Where even the largest ``std`` is below 1, the 1e-3 is that much smaller.
        """
        self.mean.copy_(torch.as_tensor(np.asarray(mean), dtype=torch.float32))
        std = torch.as_tensor(np.asarray(std), dtype=torch.float32)
        unit = float(std.max())
        self.scale.copy_(1.0 / (std + _STD_FLOOR * (min(unit, 1.0) or 1.0)))

    def forward(self, observations: Tensor) -> Tensor:
        """Return normalised observations ``(B, width)``."""
        return ((observations - self.mean) * self.scale).clamp(-_CLIP, _CLIP)


class NormalizeObservations(BaseFeaturesExtractor):
    """An SB3 features extractor that normalises, so that ``predict`` takes raw observations.

    Args:
        observation_space: A flat ``Box``.
    """

    def __init__(self, observation_space: gymnasium.Space) -> None:
        assert isinstance(observation_space, spaces.Box)
        width = int(np.prod(observation_space.shape))
        super().__init__(observation_space, features_dim=width)
        self.statistics = ObservationStatistics(width)

    def forward(self, observations: Tensor) -> Tensor:
        """Return features ``(B, width)`` of observations ``(B, *shape)``."""
        return self.statistics(observations.flatten(1))


class NormalizedPolicy(ActorCriticPolicy):
    """SB3's actor-critic policy, whose features extractor normalises unless it is given another.

    Args:
        *args: As in ``ActorCriticPolicy``.
        **kwargs: As in ``ActorCriticPolicy``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("features_extractor_class", NormalizeObservations)
        super().__init__(*args, **kwargs)
