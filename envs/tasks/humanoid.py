"""Humanoid: a two-legged robot with arms that walks forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import mujoco
import numpy as np

from .base import Array, Fields, NoisyStart, flat, norm, sum_of_squares

__all__ = ["Humanoid", "HumanoidV4"]


@dataclass(frozen=True)
class Humanoid(NoisyStart):
    """Humanoid-v5: 17 torques, 348 observations, ends when the torso is too low or too high.

    ======= =============================================== ==================
    entry   observation                                     unit
    ======= =============================================== ==================
    --      x, y of the torso (left out by default)         m
    0       z of the torso                                  m
    1-4     orientation of the torso (w, x, y, z)           quaternion
    5-7     abdomen around z, y, x                          rad
    8-11    right hip around x, z, y; right knee            rad
    12-15   left hip around x, z, y; left knee              rad
    16-18   right shoulder 1, 2; right elbow                rad
    19-21   left shoulder 1, 2; left elbow                  rad
    22-24   velocity of the torso in x, y, z                m/s
    25-27   angular velocity of the torso around x, y, z    rad/s
    28-44   velocities of the joints in the order of 5-21   rad/s
    45-174  of each of 13 bodies, relative to the centre    kg m^2, kg m, kg
            of mass: inertia (6), mass times offset (3),
            mass
    175-252 of each body: angular and linear velocity       rad/s, m/s
    253-269 torque of each actuated joint                   N m
    270-347 of each body: contact torque and force          N m, N
    ======= =============================================== ==================

    Reward: ``forward_reward_weight * dx/dt + healthy_reward (if healthy) - ctrl_cost_weight *
    |control|^2 - contact_cost_weight * |contact forces|^2``, with x of the centre of mass, the
    last term clipped to ``contact_cost_range``. All but positions and velocities is as the physics
    has it one substep before the end of the step. Healthy: z of the torso inside
    ``healthy_z_range``, an open interval.
    """

    nconmax: ClassVar[int | None] = 24
    njmax: ClassVar[int | None] = 64

    xml_file: str = "humanoid.xml"
    frame_skip: int = 5
    forward_reward_weight: float = 1.25
    ctrl_cost_weight: float = 0.1
    contact_cost_weight: float = 5e-7
    contact_cost_range: tuple[float, float] = (-float("inf"), 10.0)
    healthy_reward: float = 5.0
    terminate_when_unhealthy: bool = True
    healthy_z_range: tuple[float, float] = (1.0, 2.0)
    reset_noise_scale: float = 1e-2
    exclude_current_positions_from_observation: bool = True
    include_cinert_in_observation: bool = True
    include_cvel_in_observation: bool = True
    include_qfrc_actuator_in_observation: bool = True
    include_cfrc_ext_in_observation: bool = True
    total_mass: float = field(init=False, repr=False)

    def bind(self, model: mujoco.MjModel, asarray: Callable[[np.ndarray], Array]) -> Self:
        """Return the task with what it needs of its compiled model; see :meth:`Task.bind`."""
        bound = super().bind(model, asarray)
        object.__setattr__(bound, "total_mass", float(model.body_mass.sum()))
        return bound

    @property
    def derived(self) -> tuple[str, ...]:
        """``MjData`` fields that the task reads besides ``qpos``, ``qvel`` and ``ctrl``."""
        asked = {
            "cinert": self.include_cinert_in_observation,
            "cvel": self.include_cvel_in_observation,
            "qfrc_actuator": self.include_qfrc_actuator_in_observation,
        }
        tendons = ("ten_length", "ten_velocity")
        return ("xipos", "cfrc_ext", *tendons, *(name for name, used in asked.items() if used))

    def before(self, xp: Any, f: Fields) -> Array:
        """Return x and y of the centre of mass, ``(B, 2)``."""
        # Gymnasium's product over all three axes: over two, numpy may round otherwise.
        moments = xp.einsum("b,nbj->nj", self.body_mass, f.xipos)
        return (moments / self.total_mass)[:, :2]

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return positions, velocities, inertias and forces, ``(B, 348)``, or what is asked."""
        skipped = 2 * int(self.exclude_current_positions_from_observation)
        parts = [f.qpos[:, skipped:], f.qvel]
        if self.include_cinert_in_observation:
            parts.append(flat(f.cinert[:, 1:]))
        if self.include_cvel_in_observation:
            parts.append(flat(f.cvel[:, 1:]))
        if self.include_qfrc_actuator_in_observation:
            parts.append(f.qfrc_actuator[:, 6:])
        if self.include_cfrc_ext_in_observation:
            parts.append(flat(f.cfrc_ext[:, 1:]))
        return xp.concatenate(parts, -1)

    def is_healthy(self, xp: Any, f: Fields) -> Array:
        """Return whether the robot stands, ``(B,)`` bool; not a number is unhealthy."""
        low, high = self.healthy_z_range
        return (low < f.qpos[:, 2]) & (f.qpos[:, 2] < high)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and Gymnasium's info entries."""
        velocity = (self.before(xp, f) - before) / self.dt
        forward = self.forward_reward_weight * velocity[:, 0]
        healthy = self.is_healthy(xp, f)
        survive = healthy * self.healthy_reward
        ctrl_cost = self.ctrl_cost_weight * sum_of_squares(xp, f.ctrl)
        contact_cost = self.contact_cost_weight * sum_of_squares(xp, f.cfrc_ext)
        contact_cost = xp.clip(contact_cost, *self.contact_cost_range)
        info = {
            **self.reset_info(xp, f),
            "x_velocity": velocity[:, 0],
            "y_velocity": velocity[:, 1],
            "reward_survive": survive,
            "reward_forward": forward,
            "reward_ctrl": -ctrl_cost,
            "reward_contact": -contact_cost,
        }
        reward = forward + survive - (ctrl_cost + contact_cost)
        return reward, ~healthy & self.terminate_when_unhealthy, info

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return where the torso is, and length and velocity of the tendons ``(B, 2)``."""
        return {
            "x_position": f.qpos[:, 0],
            "y_position": f.qpos[:, 1],
            "tendon_length": f.ten_length,
            "tendon_velocity": f.ten_velocity,
            "distance_from_origin": norm(xp, f.qpos[:, :2]),
        }


@dataclass(frozen=True)
class HumanoidV4(Humanoid):
    """Humanoid-v4: as v5, but contact forces cost nothing and 376 numbers are observed.

    Those are v5's with the world's zeros before each part of the bodies, and the forces on the
    torso's six free directions before those of the joints. The healthy reward is paid in the last
    step too; positions in infos are the centre of mass.
    """

    fixed: ClassVar[tuple[str, ...]] = (
        "xml_file",
        "frame_skip",
        "contact_cost_weight",
        "contact_cost_range",
        "include_cinert_in_observation",
        "include_cvel_in_observation",
        "include_qfrc_actuator_in_observation",
        "include_cfrc_ext_in_observation",
    )

    @property
    def derived(self) -> tuple[str, ...]:
        """``MjData`` fields that the task reads besides ``qpos``, ``qvel`` and ``ctrl``."""
        return "xipos", "cinert", "cvel", "qfrc_actuator", "cfrc_ext"

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return positions, velocities, inertias and forces, ``(B, 376)``, or 378 with x and y."""
        skipped = 2 * int(self.exclude_current_positions_from_observation)
        bodies = (flat(f.cinert), flat(f.cvel), f.qfrc_actuator, flat(f.cfrc_ext))
        return xp.concatenate((f.qpos[:, skipped:], f.qvel, *bodies), -1)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and Gymnasium's info entries."""
        position = self.before(xp, f)
        velocity = (position - before) / self.dt
        forward = self.forward_reward_weight * velocity[:, 0]
        healthy = self.is_healthy(xp, f)
        survive = (healthy | self.terminate_when_unhealthy) * self.healthy_reward
        cost = self.ctrl_cost_weight * sum_of_squares(xp, f.ctrl)
        info = {
            "reward_linvel": forward,
            "reward_quadctrl": -cost,
            "reward_alive": survive,
            "x_position": position[:, 0],
            "y_position": position[:, 1],
            "distance_from_origin": norm(xp, position),
            "x_velocity": velocity[:, 0],
            "y_velocity": velocity[:, 1],
            "forward_reward": forward,
        }
        return forward + survive - cost, ~healthy & self.terminate_when_unhealthy, info

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return nothing."""
        return {}
