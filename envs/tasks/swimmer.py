"""Swimmer: three links that swim forward in a plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, Fields, NoisyStart, reached

__all__ = ["Swimmer", "SwimmerV4"]


@dataclass(frozen=True)
class Swimmer(NoisyStart):
    """Swimmer-v5: 2 torques, 8 observations, never ends before the time limit.

    ===== =========================================== =====
    entry observation                                 unit
    ===== =========================================== =====
    --    x, y of the front tip (left out by default) m
    0     angle of the front tip                      rad
    1, 2  angles of the first, second rotor           rad
    3, 4  velocity of the front tip in x, in y        m/s
    5     angular velocity of the front tip           rad/s
    6, 7  angular velocities of the rotors            rad/s
    ===== =========================================== =====

    Reward: ``forward_reward_weight * dx/dt - ctrl_cost_weight * |action|^2``.
    """

    nconmax: ClassVar[int | None] = 8
    njmax: ClassVar[int | None] = 16

    xml_file: str = "swimmer.xml"
    frame_skip: int = 4
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 1e-4
    reset_noise_scale: float = 0.1
    exclude_current_positions_from_observation: bool = True

    def before(self, xp: Any, f: Fields) -> Array:
        """Return x and y of the front tip, ``(B, 2)``."""
        return f.qpos[:, :2]

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return positions and velocities, ``(B, 8)``, or 10 with x and y."""
        skipped = 2 * int(self.exclude_current_positions_from_observation)
        return xp.concatenate((f.qpos[:, skipped:], f.qvel), -1)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, no termination and Gymnasium's info entries."""
        velocity = (f.qpos[:, :2] - before) / self.dt
        forward = self.forward_reward_weight * velocity[:, 0]
        cost = self.ctrl_cost_weight * xp.square(action).sum(-1)
        info = {
            **Swimmer.reset_info(self, xp, f),
            "x_velocity": velocity[:, 0],
            "y_velocity": velocity[:, 1],
            "reward_forward": forward,
            "reward_ctrl": -cost,
        }
        return forward - cost, xp.zeros_like(forward, dtype=bool), info

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return where the front tip is."""
        return reached(xp, f)


@dataclass(frozen=True)
class SwimmerV4(Swimmer):
    """Swimmer-v4: as v5; infos name the forward reward otherwise, twice, and a reset has none."""

    fixed: ClassVar[tuple[str, ...]] = ("xml_file", "frame_skip")

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, no termination and Gymnasium's info entries."""
        reward, terminated, info = super().transition(xp, before, f, action)
        forward = info.pop("reward_forward")
        return reward, terminated, {**info, "reward_fwd": forward, "forward_reward": forward}

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return nothing."""
        return {}
