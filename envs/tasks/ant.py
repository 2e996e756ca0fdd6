"""Ant: a four-legged robot that runs forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import mujoco
import numpy as np

from l2l_gail.errors import InputError

from .base import Array, Fields, NoisyStart, flat, norm, reached, sum_of_squares

__all__ = ["Ant", "AntV4"]


@dataclass(frozen=True)
class Ant(NoisyStart):
    """Ant-v5: 8 torques, 105 observations, ends when the torso is too low or too high.

    ====== ================================================ ========================
    entry  observation                                      unit
    ====== ================================================ ========================
    --     x, y of the torso (left out by default)          m
    0      z of the torso                                   m
    1-4    orientation of the torso (w, x, y, z)            quaternion
    5, 6   hip and ankle, front left                        rad
    7, 8   hip and ankle, front right                       rad
    9, 10  hip and ankle, back left                         rad
    11, 12 hip and ankle, back right                        rad
    13-15  velocity of the torso in x, y, z                 m/s
    16-18  angular velocity of the torso around x, y, z     rad/s
    19-26  velocities of the joints in the order of 5-12    rad/s
    27-104 contact torque and force (x, y, z each) on each  N m, N, clipped to
           of 13 bodies, the torso first                    ``contact_force_range``
    ====== ================================================ ========================

    Reward: ``forward_reward_weight * dx/dt + healthy_reward (if healthy) - ctrl_cost_weight *
    |action|^2 - contact_cost_weight * |clipped contact forces|^2``, with x of ``main_body`` as the
    physics has it one substep before the end of the step. Healthy: all of the state finite and z
    inside ``healthy_z_range``, a closed interval.
    """

    normal_velocities: ClassVar[bool] = True
    nconmax: ClassVar[int | None] = 16
    njmax: ClassVar[int | None] = 48

    xml_file: str = "ant.xml"
    frame_skip: int = 5
    forward_reward_weight: float = 1.0
    ctrl_cost_weight: float = 0.5
    contact_cost_weight: float = 5e-4
    healthy_reward: float = 1.0
    main_body: int | str = 1
    terminate_when_unhealthy: bool = True
    healthy_z_range: tuple[float, float] = (0.2, 1.0)
    contact_force_range: tuple[float, float] = (-1.0, 1.0)
    reset_noise_scale: float = 0.1
    exclude_current_positions_from_observation: bool = True
    include_cfrc_ext_in_observation: bool = True
    body: int = field(init=False, repr=False)

    def bind(self, model: mujoco.MjModel, asarray: Callable[[np.ndarray], Array]) -> Self:
        """Return the task with what it needs of its compiled model; see :meth:`Task.bind`.

        Raises:
            InputError: ``main_body`` is no body of the model.
        """
        bound = super().bind(model, asarray)
        try:
            body = model.body(self.main_body).id
        except (KeyError, IndexError) as error:
            names = ", ".join(model.body(i).name for i in range(model.nbody))
            raise InputError(
                f"main_body={self.main_body!r} is no body of {self.xml_file}: give a number from 0 "
                f"to {model.nbody - 1} or one of {names}"
            ) from error
        object.__setattr__(bound, "body", body)
        return bound

    @property
    def derived(self) -> tuple[str, ...]:
        """``MjData`` fields that the task reads besides ``qpos``, ``qvel`` and ``ctrl``."""
        return "xpos", "cfrc_ext"

    def before(self, xp: Any, f: Fields) -> Array:
        """Return x and y of the main body, ``(B, 2)``."""
        return f.xpos[:, self.body, :2]

    def forces(self, xp: Any, f: Fields) -> Array:
        """Return clipped contact torques and forces, ``(B, nbody, 6)``, in N m and N."""
        return xp.clip(f.cfrc_ext, *self.contact_force_range)

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return positions, velocities and contact forces, ``(B, 105)``; fewer or more if asked."""
        skipped = 2 * int(self.exclude_current_positions_from_observation)
        parts = [f.qpos[:, skipped:], f.qvel]
        if self.include_cfrc_ext_in_observation:
            parts.append(flat(self.forces(xp, f)[:, 1:]))
        return xp.concatenate(parts, -1)

    def is_healthy(self, xp: Any, f: Fields) -> Array:
        """Return whether the robot stands, ``(B,)`` bool."""
        low, high = self.healthy_z_range
        finite = xp.isfinite(f.qpos).all(-1) & xp.isfinite(f.qvel).all(-1)
        return finite & (low <= f.qpos[:, 2]) & (f.qpos[:, 2] <= high)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and Gymnasium's info entries."""
        velocity = (self.before(xp, f) - before) / self.dt
        forward = velocity[:, 0] * self.forward_reward_weight
        healthy = self.is_healthy(xp, f)
        survive = healthy * self.healthy_reward
        ctrl_cost = self.ctrl_cost_weight * xp.square(action).sum(-1)
        contact_cost = self.contact_cost_weight * sum_of_squares(xp, self.forces(xp, f))
        info = {
            **self.reset_info(xp, f),
            "x_velocity": velocity[:, 0],
            "y_velocity": velocity[:, 1],
            "reward_forward": forward,
            "reward_ctrl": -ctrl_cost,
            "reward_contact": -contact_cost,
            "reward_survive": survive,
        }
        reward = forward + survive - (ctrl_cost + contact_cost)
        return reward, ~healthy & self.terminate_when_unhealthy, info

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return where the torso is."""
        return reached(xp, f)


@dataclass(frozen=True)
class AntV4(Ant):
    """Ant-v4: as v5, but contact forces only count and show if ``use_contact_forces``.

    Then they are observed of 14 bodies, the world's zeros first (111 observations; else 27). The
    healthy reward is paid in the last step too; positions in infos are the torso's one substep
    before the end, and ``reward_ctrl`` is the contact cost where that counts.
    """

    fixed: ClassVar[tuple[str, ...]] = (
        "frame_skip",
        "forward_reward_weight",
        "main_body",
        "include_cfrc_ext_in_observation",
    )

    main_body: int | str = "torso"
    use_contact_forces: bool = False

    @property
    def derived(self) -> tuple[str, ...]:
        """``MjData`` fields that the task reads besides ``qpos``, ``qvel`` and ``ctrl``."""
        return ("xpos", "cfrc_ext") if self.use_contact_forces else ("xpos",)

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return positions and velocities, ``(B, 27)``, with contact forces ``(B, 111)``."""
        skipped = 2 * int(self.exclude_current_positions_from_observation)
        parts = [f.qpos[:, skipped:], f.qvel]
        if self.use_contact_forces:
            parts.append(flat(self.forces(xp, f)))
        return xp.concatenate(parts, -1)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and Gymnasium's info entries."""
        position = self.before(xp, f)
        velocity = (position - before) / self.dt
        healthy = self.is_healthy(xp, f)
        survive = (healthy | self.terminate_when_unhealthy) * self.healthy_reward
        costs = shown = self.ctrl_cost_weight * xp.square(action).sum(-1)
        if self.use_contact_forces:
            shown = self.contact_cost_weight * sum_of_squares(xp, self.forces(xp, f))
            costs = costs + shown
        info = {
            "reward_forward": velocity[:, 0],
            "reward_ctrl": -shown,
            "reward_survive": survive,
            "x_position": position[:, 0],
            "y_position": position[:, 1],
            "distance_from_origin": norm(xp, position),
            "x_velocity": velocity[:, 0],
            "y_velocity": velocity[:, 1],
            "forward_reward": velocity[:, 0],
        }
        reward = velocity[:, 0] + survive - costs
        return reward, ~healthy & self.terminate_when_unhealthy, info

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return nothing."""
        return {}
