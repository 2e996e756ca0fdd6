"""Hopper: a one-legged robot that hops forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, Fields, NoisyStart

__all__ = ["Hopper", "HopperV4"]


@dataclass(frozen=True)
class Hopper(NoisyStart):
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

    xml_file: str = "hopper.xml"
    frame_skip: int = 4
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 1e-3
    healthy_reward: float = 1.0
    terminate_when_unhealthy: bool = True
    healthy_state_range: tuple[float, float] = (-100.0, 100.0)
    healthy_z_range: tuple[float, float] = (0.7, float("inf"))
    healthy_angle_range: tuple[float, float] = (-0.2, 0.2)
    reset_noise_scale: float = 5e-3
    exclude_current_positions_from_observation: bool = True

    def before(self, xp: Any, f: Fields) -> Array:
        """Return x of the torso, ``(B,)``."""
        return f.qpos[:, 0]

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return positions and clipped velocities, ``(B, 11)``, or 12 with x."""
        skipped = int(self.exclude_current_positions_from_observation)
        return xp.concatenate((f.qpos[:, skipped:], xp.clip(f.qvel, -10, 10)), -1)

    def is_healthy(self, xp: Any, f: Fields) -> Array:
        """Return whether the robot stands, ``(B,)`` bool; not a number is unhealthy."""
        (low, high), (z_low, z_high) = self.healthy_state_range, self.healthy_z_range
        angle_low, angle_high = self.healthy_angle_range
        z, angle = f.qpos[:, 1], f.qpos[:, 2]
        state = xp.concatenate((f.qpos[:, 2:], f.qvel), -1)
        healthy = ((low < state) & (state < high)).all(-1)
        return healthy & (z_low < z) & (z < z_high) & (angle_low < angle) & (angle < angle_high)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and Gymnasium's info entries."""
        x_velocity = (f.qpos[:, 0] - before) / self.dt
        forward = self.forward_reward_weight * x_velocity
        healthy = self.is_healthy(xp, f)
        survive = healthy * self.healthy_reward
        cost = self.ctrl_cost_weight * xp.square(action).sum(-1)
        info = {
            **self.reset_info(xp, f),
            "x_velocity": x_velocity,
            "reward_forward": forward,
            "reward_ctrl": -cost,
            "reward_survive": survive,
        }
        return forward + survive - cost, ~healthy & self.terminate_when_unhealthy, info

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return where the torso is."""
        return {
            "x_position": f.qpos[:, 0],
            "z_distance_from_origin": f.qpos[:, 1] - self.init_qpos[1],
        }


@dataclass(frozen=True)
class HopperV4(Hopper):
    """Hopper-v4: the healthy reward is paid in the last step too, and infos say less."""

    fixed: ClassVar[tuple[str, ...]] = ("xml_file", "frame_skip")

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and Gymnasium's info entries."""
        x_velocity = (f.qpos[:, 0] - before) / self.dt
        healthy = self.is_healthy(xp, f)
        survive = (healthy | self.terminate_when_unhealthy) * self.healthy_reward
        cost = self.ctrl_cost_weight * xp.square(action).sum(-1)
        reward = self.forward_reward_weight * x_velocity + survive - cost
        info = {"x_position": f.qpos[:, 0], "x_velocity": x_velocity}
        return reward, ~healthy & self.terminate_when_unhealthy, info

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return nothing."""
        return {}
