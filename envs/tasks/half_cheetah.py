"""HalfCheetah: a two-legged planar robot that runs forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, Fields, NoisyStart

__all__ = ["HalfCheetah", "HalfCheetahV4"]


@dataclass(frozen=True)
class HalfCheetah(NoisyStart):
    """HalfCheetah-v5: 6 torques, 17 observations, never ends before the time limit.

    ===== =============================================== ==========
    entry observation                                     unit
    ===== =============================================== ==========
    --    x of the front tip (left out by default)        m
    0     z of the front tip                              m
    1     angle of the front tip                          rad
    2-4   angles of back thigh, shin, foot                rad
    5-7   angles of front thigh, shin, foot               rad
    8, 9  velocity of the front tip in x, in z            m/s
    10    angular velocity of the front tip               rad/s
    11-13 angular velocities of back thigh, shin, foot    rad/s
    14-16 angular velocities of front thigh, shin, foot   rad/s
    ===== =============================================== ==========

    Reward: ``forward_reward_weight * dx/dt - ctrl_cost_weight * |action|^2``.
    """

    normal_velocities: ClassVar[bool] = True
    nconmax: ClassVar[int | None] = 16
    njmax: ClassVar[int | None] = 48

    xml_file: str = "half_cheetah.xml"
    frame_skip: int = 5
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 0.1
    reset_noise_scale: float = 0.1
    exclude_current_positions_from_observation: bool = True

    forward_name: ClassVar[str] = "reward_forward"

    def before(self, xp: Any, f: Fields) -> Array:
        """Return x of the front tip, ``(B,)``."""
        return f.qpos[:, 0]

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return positions and velocities, ``(B, 17)``, or 18 with x."""
        skipped = int(self.exclude_current_positions_from_observation)
        return xp.concatenate((f.qpos[:, skipped:], f.qvel), -1)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, no termination and Gymnasium's info entries."""
        x_velocity = (f.qpos[:, 0] - before) / self.dt
        forward = self.forward_reward_weight * x_velocity
        cost = self.ctrl_cost_weight * xp.square(action).sum(-1)
        info = {
            "x_position": f.qpos[:, 0],
            "x_velocity": x_velocity,
            self.forward_name: forward,
            "reward_ctrl": -cost,
        }
        return forward - cost, xp.zeros_like(forward, dtype=bool), info

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return where the front tip is."""
        return {"x_position": f.qpos[:, 0]}


@dataclass(frozen=True)
class HalfCheetahV4(HalfCheetah):
    """HalfCheetah-v4: as v5; infos name the forward reward differently and a reset has none."""

    fixed: ClassVar[tuple[str, ...]] = ("xml_file", "frame_skip")
    forward_name: ClassVar[str] = "reward_run"

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return nothing."""
        return {}
