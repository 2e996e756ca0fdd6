"""What an observation is made of, as a network sees it: numbers, classes and images."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from torch import Tensor

from l2l_gail.ppo.observations import TensorObservations

__all__ = ["ObservationParts", "is_like"]


class ObservationParts:
    """The sub-spaces of an observation space, by what has to be done before a network sees them.

    =========== ============================================ ======================================
    kind        spaces                                       a network sees
    =========== ============================================ ======================================
    continuous  ``Box``, unless it is of images              the numbers, normalised
    categorical ``Discrete``, ``MultiDiscrete``,             one-hot vectors; ``MultiBinary`` as is
                ``MultiBinary``
    images      ``Box`` of uint8 from 0 to 255 in three      pixels from 0 to 1
                dimensions, as in stable-baselines3
    =========== ============================================ ======================================

    Args:
        space: A space of one of these, or a ``Dict`` of such.

    Attributes:
        spaces: Sub-spaces by key, in the order of the space; a space that is no ``Dict`` has the
            key ``""``.
        continuous: Keys of the continuous ones.
        images: Keys of those of images.
        widths: Entries of each as a flat vector, one-hot where it is categorical.
    """

    def __init__(self, space: gymnasium.Space) -> None:
        self.spaces = dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}
        self.images = [key for key, part in self.spaces.items() if is_image_space(part)]
        self.continuous = [
            key
            for key, part in self.spaces.items()
            if isinstance(part, spaces.Box) and key not in self.images
        ]
        self.widths = {key: get_flattened_obs_dim(part) for key, part in self.spaces.items()}

    @property
    def continuous_width(self) -> int:
        """Entries of all continuous parts together."""
        return sum(self.widths[key] for key in self.continuous)

    def of(self, observations: Any, key: str) -> Any:
        """Return one part of observations: of a dict of tensors or arrays, or of one of them."""
        return observations[key] if isinstance(observations, dict) else observations

    def flat_continuous(self, observations: TensorObservations) -> Tensor:
        """Return the continuous parts ``(B, continuous_width)`` of observations, beside each other.

        Statistics are of these entries, in this order.
        """
        flat = [self.of(observations, key).flatten(1) for key in self.continuous]
        flat = [part.float() if part.dtype == torch.bool else part for part in flat]
        return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)


def is_like(space: gymnasium.Space, other: gymnasium.Space) -> bool:
    """Whether what is learned in one space fits another, whose images may have channels last."""
    if isinstance(space, spaces.Dict):
        return (
            isinstance(other, spaces.Dict)
            and space.spaces.keys() == other.spaces.keys()
            and all(is_like(part, other.spaces[key]) for key, part in space.spaces.items())
        )
    if not isinstance(space, spaces.Box) or not isinstance(other, spaces.Box):
        return bool(space == other)
    if space.shape == other.shape:
        return True
    are_images = is_image_space(space) and is_image_space(other)
    return are_images and (other.shape[-1], *other.shape[:-1]) == space.shape
