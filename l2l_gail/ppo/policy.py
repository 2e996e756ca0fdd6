"""Observations in the demonstrations' units; the statistics are part of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import ArrayLike
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
)
from torch import Tensor, nn

from l2l_gail.errors import InputError
from l2l_gail.ppo.parts import ObservationParts

__all__ = [
    "OBS_CLIP",
    "SCALE_FLOOR",
    "NormalizeDict",
    "NormalizeObservations",
    "NormalizedMultiInputPolicy",
    "NormalizedPolicy",
    "ObservationStatistics",
    "check_policy_name",
]

SCALE_FLOOR = 1e-3
"""Share of a standard deviation of 1, or the largest if below, that is added to all of them."""

OBS_CLIP = 10.0
"""Largest size of a normalised observation's entry; what is beyond is clipped."""


def check_policy_name(name: str, known: Iterable[str]) -> None:
    """Refuse the name of a policy that there is not, SB3's recurrent ones among them.

    Raises:
        InputError: It is none of those known.
    """
    if name not in (names := list(known)):
        raise InputError(
            f"there is no policy {name!r}: give {', '.join(names)} or a class; recurrent ones are "
            "not supported"
        )


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
        if not len(self.mean):
            return
        self.mean.copy_(torch.as_tensor(np.asarray(mean), dtype=torch.float32))
        std = torch.as_tensor(np.asarray(std), dtype=torch.float32)
        unit = float(std.max())
        self.scale.copy_(1.0 / (std + SCALE_FLOOR * (min(unit, 1.0) or 1.0)))

    def forward(self, observations: Tensor) -> Tensor:
        """Return normalised observations ``(B, width)``."""
        return ((observations - self.mean) * self.scale).clamp(-OBS_CLIP, OBS_CLIP)


class NormalizeObservations(BaseFeaturesExtractor):
    """An SB3 features extractor that normalises, so that ``predict`` takes raw observations.

    Args:
        observation_space: A ``Box``.
    """

    def __init__(self, observation_space: gymnasium.Space) -> None:
        assert isinstance(observation_space, spaces.Box)
        width = int(np.prod(observation_space.shape))
        super().__init__(observation_space, features_dim=width)
        self.statistics = ObservationStatistics(width)

    def forward(self, observations: Tensor) -> Tensor:
        """Return features ``(B, width)`` of observations ``(B, *shape)``."""
        return self.statistics(observations.flatten(1))


class NormalizeDict(CombinedExtractor):
    """SB3's extractor of a ``Dict``, behind a normalisation of its continuous parts.

    Args:
        observation_space: A ``Dict``.
        **kwargs: As in ``CombinedExtractor``.
    """

    after_normalisation = CombinedExtractor
    """What extracts the same features from parts that are normalised already."""

    def __init__(self, observation_space: spaces.Dict, **kwargs: Any) -> None:
        super().__init__(observation_space, **kwargs)
        self.parts = ObservationParts(observation_space)
        self.statistics = ObservationStatistics(self.parts.continuous_width)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return features ``(B, features_dim)`` of a dict of tensors ``(B, *shape)``."""
        keys = self.parts.continuous
        if keys:
            normal = self.statistics(self.parts.flat_continuous(observations))
            pieces = normal.split([self.parts.widths[key] for key in keys], dim=1)
            observations = {**observations, **dict(zip(keys, pieces, strict=True))}
        return super().forward(observations)


class NormalizedPolicy(ActorCriticPolicy):
    """SB3's actor-critic policy, whose features extractor normalises unless it is given another.

    What is not continuous needs no statistics: classes are one-hot, pixels from 0 to 1.

    Args:
        observation_space: As in ``ActorCriticPolicy``.
        *args: As in ``ActorCriticPolicy``.
        **kwargs: As in ``ActorCriticPolicy``.
    """

    def __init__(self, observation_space: gymnasium.Space, *args: Any, **kwargs: Any) -> None:
        continuous = ObservationParts(observation_space).continuous == [""]
        extractor = NormalizeObservations if continuous else FlattenExtractor
        kwargs.setdefault("features_extractor_class", extractor)
        super().__init__(observation_space, *args, **kwargs)


class NormalizedMultiInputPolicy(MultiInputActorCriticPolicy):
    """SB3's policy for ``Dict`` observations, whose features extractor normalises likewise.

    Args:
        *args: As in ``MultiInputActorCriticPolicy``.
        **kwargs: As in ``MultiInputActorCriticPolicy``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("features_extractor_class", NormalizeDict)
        super().__init__(*args, **kwargs)
