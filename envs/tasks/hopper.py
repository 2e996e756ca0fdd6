"""Hopper: a one-legged robot that hops forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, Fields
from .planar import PlanarWalker

__all__ = ["Hopper", "HopperV4"]


@dataclass(frozen=True)
class Hopper(PlanarWalker):
    """Hopper-v5: 3 torques, 11 observations, ends when the torso falls or tilts.

    ===== ============================================ ==========================
    entry observation                                  unit
    ===== ============================================ ==========================
    --    x of the torso (left out by default)         m
    0     z of the torso                               m
    1     angle of the torso                           rad
    2     angle of the thigh joint                     rad
    3     angle of the leg joint                       rad
    4     angle of the foot joint                      rad
    5, 6  velocity of the torso in x, in z             m/s, clipped to +-10
    7     angular velocity of the torso                rad/s, clipped to +-10
    8-10  angular velocity of thigh, leg, foot joint   rad/s, clipped to +-10
    ===== ============================================ ==========================

    Reward: ``forward_reward_weight * dx/dt + healthy_reward (if healthy) - ctrl_cost_weight *
    |action|^2``. Healthy: all of the state but x and z inside ``healthy_state_range``, z and the
    torso's angle inside their ranges, all of them open intervals.
    """

    nconmax: ClassVar[int | None] = 16
    njmax: ClassVar[int | None] = 32

    xml_file: str = "hopper.xml"
    healthy_state_range: tuple[float, float] = (-100.0, 100.0)
    healthy_z_range: tuple[float, float] = (0.7, float("inf"))
    healthy_angle_range: tuple[float, float] = (-0.2, 0.2)

    def is_healthy(self, xp: Any, f: Fields) -> Array:
        """Return whether the robot stands, ``(B,)`` bool; not a number is unhealthy."""
        (low, high), (z_low, z_high) = self.healthy_state_range, self.healthy_z_range
        angle_low, angle_high = self.healthy_angle_range
        z, angle = f.qpos[:, 1], f.qpos[:, 2]
        state = xp.concatenate((f.qpos[:, 2:], f.qvel), -1)
        healthy = ((low < state) & (state < high)).all(-1)
        return healthy & (z_low < z) & (z < z_high) & (angle_low < angle) & (angle < angle_high)


@dataclass(frozen=True)
class HopperV4(Hopper):
    """Hopper-v4: the healthy reward is paid in the last step too, and infos say less."""

    v4: ClassVar[bool] = True
    fixed: ClassVar[tuple[str, ...]] = ("xml_file", "frame_skip")
