"""How a transition (s, a) or (s, s') becomes the discriminator's flat input, chosen by the spaces.

=============================== ============================= ====================================
part                            kept as                       network input
=============================== ============================= ====================================
observations, ``Box``           normalised, float32           the same
actions, ``Box``                clipped to the space, float32 the same
``Discrete``, ``MultiDiscrete`` one-hot, uint8                one-hot
``MultiBinary``                 0 or 1, uint8                 0 or 1
images                          pixels, uint8                 pixels from 0 to 1
=============================== ============================= ====================================

A rollout and the demonstrations are *kept* as rows, one for each transition, and become network
inputs only as batches are drawn: where no part needs float32 a row takes a quarter of the memory,
which is what images are short of. Without images and classes both are the same.

Both are flat, so that a loss, a penalty or a rule sees one tensor ``(B, in_dim)`` whatever the
spaces: the penalty's point between expert and policy is a mixture of their pixels and of their
one-hot vectors, and the gradient's length counts all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, preprocess_obs
from torch import Tensor

from l2l_gail.ppo import ObservationParts
from l2l_gail.ppo.observations import TensorObservations

__all__ = ["TransitionFeatures"]

_PIXEL = 1.0 / 255.0
_USUAL = 16.0
"""Bounds of actions are left as they are within this factor of 1."""


class TransitionFeatures:
    """The layout of rows: observation parts in the order of their space, then what is beside them.

    That is the action or, for a discriminator of states alone, the next observation's parts.

    Args:
        observation_space: See :class:`~l2l_gail.ppo.parts.ObservationParts`.
        action_space: A ``Box``, ``Discrete``, ``MultiDiscrete`` or ``MultiBinary``.
        of_states: Whether the next observation, without images, takes the action's place.

    Attributes:
        parts: The observation's parts.
        obs_dim: Entries of an observation in a row.
        act_dim: Entries of an action in a row.
        beside_dim: Entries in a row beside those of the observation.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        *,
        of_states: bool = False,
    ) -> None:
        self.parts = ObservationParts(observation_space)
        self.of_states = of_states
        self.observation_space = observation_space
        self.action_space = action_space
        self.obs_dim = sum(self.parts.widths.values())
        self.act_dim = get_flattened_obs_dim(action_space)
        self.beside_dim = self.obs_dim if of_states else self.act_dim
        self._action_units = _units_of(action_space)

    def observation_rows(
        self, obs: TensorObservations, normalise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return observations as rows ``(B, obs_dim)``.

        Args:
            obs: Raw observations, ``(B, *shape)`` or a dict of such.
            normalise: Of the continuous entries, ``(B, continuous_width)`` to the same shape.
        """
        parts = self.parts
        rows: dict[str, Tensor] = {}
        if parts.continuous:
            widths = [parts.widths[key] for key in parts.continuous]
            pieces = normalise(parts.flat_continuous(obs)).split(widths, dim=1)
            rows = dict(zip(parts.continuous, pieces, strict=True))
        for key, space in parts.spaces.items():
            if key in parts.images:
                rows[key] = parts.of(obs, key).flatten(1).to(torch.uint8)
            elif key not in parts.continuous:
                rows[key] = one_hot(parts.of(obs, key), space)
        return torch.cat([rows[key] for key in parts.spaces], dim=1)

    def action_rows(self, acts: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return actions as rows ``(B, act_dim)``: clipped, or one-hot.

        Entries whose bounds are far from a size of 1, thousandths or thousands to either side, are
        shifted and scaled so that these are -1 and 1: a network sees little of them otherwise.

        Args:
            acts: Raw actions ``(B, *shape)``.
            low: Bounds of a ``Box``, ``(act_dim,)``.
            high: Likewise.
        """
        if not isinstance(self.action_space, spaces.Box):
            return one_hot(acts, self.action_space)
        clipped = acts.flatten(1).clamp(low, high)
        if self._action_units is None:
            return clipped
        middle, reach = (torch.as_tensor(unit).to(clipped) for unit in self._action_units)
        return (clipped - middle) / reach

    def inputs_of_rows(self, rows: Tensor) -> Tensor:
        """Return rows ``(B, in_dim)`` as network inputs of that shape, floating."""
        if not rows.is_floating_point():
            rows = rows.float()
        if not self.parts.images:
            return rows
        unit = rows.new_ones(rows.shape[1])
        start = 0
        for key, width in self.parts.widths.items():
            if key in self.parts.images:
                unit[start : start + width] = _PIXEL
            start += width
        return rows * unit

    def split(self, inputs: Tensor) -> tuple[TensorObservations, Any]:
        """Return network inputs ``(B, in_dim)`` as observations and what is beside them.

        Observations, of either kind, have the shape of their space again, ``(B, *shape)`` or a dict
        of such; those of classes are one-hot, ``(B, n)``. Actions are ``(B, act_dim)``.
        """
        now, beside = inputs.split([self.obs_dim, self.beside_dim], dim=1)
        return self._shaped(now), self._shaped(beside) if self.of_states else beside

    def whole_pixels(self, obs: TensorObservations) -> TensorObservations:
        """Return observations of :meth:`split` with pixels from 0 to 255."""
        parts = {key: self.parts.of(obs, key) for key in self.parts.spaces}
        parts |= {key: parts[key] / _PIXEL for key in self.parts.images}
        return parts if isinstance(self.observation_space, spaces.Dict) else parts[""]

    def _shaped(self, inputs: Tensor) -> TensorObservations:
        columns = inputs.split(list(self.parts.widths.values()), dim=1)
        shaped = {
            key: column.unflatten(1, space.shape) if isinstance(space, spaces.Box) else column
            for (key, space), column in zip(self.parts.spaces.items(), columns, strict=True)
        }
        return shaped if isinstance(self.observation_space, spaces.Dict) else shaped[""]


def one_hot(values: Tensor, space: spaces.Space) -> Tensor:
    """Return values ``(B, *shape)`` of a space of classes as one-hot rows ``(B, n)`` uint8."""
    encoded = preprocess_obs(values.reshape(len(values), *(space.shape or ())), space)
    assert isinstance(encoded, Tensor)
    return encoded.to(torch.uint8)


def _units_of(space: spaces.Space) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what a ``Box`` of actions is shifted and divided by; None where nothing has to be."""
    if not isinstance(space, spaces.Box):
        return None
    low, high = (bound.astype(np.float64).ravel() for bound in (space.low, space.high))
    reach = (high - low) / 2
    unusual = np.isfinite(reach) & (reach > 0) & ((reach < 1 / _USUAL) | (reach > _USUAL))
    if not unusual.any():
        return None
    middle = np.where(unusual, low + reach, 0.0)
    return middle, np.where(unusual, reach, 1.0)
