"""What Hopper and Walker2d share: legs in a plane, a torso that must not fall, a reward for x."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, Fields, NoisyStart

__all__ = ["PlanarWalker"]


@dataclass(frozen=True)
class PlanarWalker(NoisyStart):
    """A robot in the x-z plane whose torso has x, z and an angle.

    Reward: ``forward_reward_weight * dx/dt + healthy_reward (if healthy) - ctrl_cost_weight *
    |action|^2``; an episode ends when the robot is no longer healthy.
    """

    v4: ClassVar[bool] = False
    """Whether the healthy reward is paid in the last step too, and infos say less."""

    frame_skip: int = 4
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 1e-3
    healthy_reward: float = 1.0
    terminate_when_unhealthy: bool = True
    reset_noise_scale: float = 5e-3
    exclude_current_positions_from_observation: bool = True

    @abstractmethod
    def is_healthy(self, xp: Any, f: Fields) -> Array:
        """Return whether the robot stands, ``(B,)`` bool; not a number is unhealthy."""

    def before(self, xp: Any, f: Fields) -> Array:
        """Return x of the torso, ``(B,)``."""
        return f.qpos[:, 0]

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return positions and clipped velocities, ``(B, 2 nv - 1)``, or one more with x."""
        skipped = int(self.exclude_current_positions_from_observation)
        return xp.concatenate((f.qpos[:, skipped:], xp.clip(f.qvel, -10, 10)), -1)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and Gymnasium's info entries."""
        x_velocity = (f.qpos[:, 0] - before) / self.dt
        forward = self.forward_reward_weight * x_velocity
        healthy = self.is_healthy(xp, f)
        paid = healthy | self.terminate_when_unhealthy if self.v4 else healthy
        survive = paid * self.healthy_reward
        cost = self.ctrl_cost_weight * xp.square(action).sum(-1)
        if self.v4:
            info = {"x_position": f.qpos[:, 0], "x_velocity": x_velocity}
        else:
            info = {
                **self.reset_info(xp, f),
                "x_velocity": x_velocity,
                "reward_forward": forward,
                "reward_ctrl": -cost,
                "reward_survive": survive,
            }
        return forward + survive - cost, ~healthy & self.terminate_when_unhealthy, info

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return where the torso is; v4 does not say."""
        if self.v4:
            return {}
        height = f.qpos[:, 1] - self.init_qpos[1]
        return {"x_position": f.qpos[:, 0], "z_distance_from_origin": height}
