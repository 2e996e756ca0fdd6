"""Walker2d: a two-legged planar robot that walks forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, Fields
from .planar import PlanarWalker

__all__ = ["Walker2d", "Walker2dV4"]


@dataclass(frozen=True)
class Walker2d(PlanarWalker):
    """Walker2d-v5: 6 torques, 17 observations, ends when the torso falls or tilts.

    ===== ================================================ ==========================
    entry observation                                      unit
    ===== ================================================ ==========================
    --    x of the torso (left out by default)             m
    0     z of the torso                                   m
    1     angle of the torso                               rad
    2-4   angles of right thigh, leg, foot joint           rad
    5-7   angles of left thigh, leg, foot joint            rad
    8, 9  velocity of the torso in x, in z                 m/s, clipped to +-10
    10    angular velocity of the torso                    rad/s, clipped to +-10
    11-13 angular velocities of right thigh, leg, foot     rad/s, clipped to +-10
    14-16 angular velocities of left thigh, leg, foot      rad/s, clipped to +-10
    ===== ================================================ ==========================

    Reward: ``forward_reward_weight * dx/dt + healthy_reward (if healthy) - ctrl_cost_weight *
    |action|^2``. Healthy: the torso's z and angle inside their ranges, open intervals.
    """

    nconmax: ClassVar[int | None] = 16
    njmax: ClassVar[int | None] = 64

    xml_file: str = "walker2d_v5.xml"
    healthy_z_range: tuple[float, float] = (0.8, 2.0)
    healthy_angle_range: tuple[float, float] = (-1.0, 1.0)

    def is_healthy(self, xp: Any, f: Fields) -> Array:
        """Return whether the robot stands, ``(B,)`` bool; not a number is unhealthy."""
        (z_low, z_high), (angle_low, angle_high) = self.healthy_z_range, self.healthy_angle_range
        z, angle = f.qpos[:, 1], f.qpos[:, 2]
        return (z_low < z) & (z < z_high) & (angle_low < angle) & (angle < angle_high)


@dataclass(frozen=True)
class Walker2dV4(Walker2d):
    """Walker2d-v4: as v5, but for the friction of the right foot: 0.9, and not 1.9 as the left one.

    The healthy reward is paid in the last step too, and infos say less.
    """

    v4: ClassVar[bool] = True
    fixed: ClassVar[tuple[str, ...]] = ("xml_file", "frame_skip")

    xml_file: str = "walker2d.xml"
