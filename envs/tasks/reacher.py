"""Reacher: a planar arm of two links whose fingertip is to reach a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, Fields, Task, norm
from .draw import Draw

__all__ = ["Reacher", "ReacherV4"]


@dataclass(frozen=True)
class Reacher(Task):
    """Reacher-v5: 2 torques, 10 observations, never ends before the time limit of 50 steps.

    ===== ================================================ =====
    entry observation                                      unit
    ===== ================================================ =====
    0, 1  cosine of the angle of the first, second link    --
    2, 3  sine of the angle of the first, second link      --
    4, 5  x, y of the target                               m
    6, 7  angular velocity of the first, second link       rad/s
    8, 9  x, y from the target to the fingertip            m
    ===== ================================================ =====

    Reward: ``-reward_dist_weight * |fingertip - target| - reward_control_weight * |action|^2``.
    Where the fingertip is, the physics says one substep before the end of the step.
    """

    nconmax: ClassVar[int | None] = 8
    njmax: ClassVar[int | None] = 16

    xml_file: str = "reacher.xml"
    frame_skip: int = 2
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 1.0

    @property
    def derived(self) -> tuple[str, ...]:
        """``MjData`` fields that the task reads besides ``qpos``, ``qvel`` and ``ctrl``."""
        return ("xpos",)

    def offset(self, f: Fields) -> Array:
        """Return vectors from the target to the fingertip in m, ``(B, 3)``."""
        return f.xpos[:, self.body_ids["fingertip"]] - f.xpos[:, self.body_ids["target"]]

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return angles, target, velocities and what separates them, ``(B, 10)``."""
        return xp.concatenate((*self.parts(xp, f), self.offset(f)[:, :2]), -1)

    def parts(self, xp: Any, f: Fields) -> tuple[Array, ...]:
        """Return all of an observation but its end."""
        angles = f.qpos[:, :2]
        return xp.cos(angles), xp.sin(angles), f.qpos[:, 2:], f.qvel[:, :2]

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, no termination and Gymnasium's info entries."""
        dist = -norm(xp, self.offset(f)) * self.reward_dist_weight
        ctrl = -xp.square(action).sum(-1) * self.reward_control_weight
        return (
            dist + ctrl,
            xp.zeros_like(dist, dtype=bool),
            {"reward_dist": dist, "reward_ctrl": ctrl},
        )

    def initial(self, xp: Any, draw: Draw) -> tuple[Array, Array]:
        """Return noisy angles, a target inside a circle of 0.2 m, and small velocities."""
        angles = draw.uniform(-0.1, 0.1, len(self.init_qpos)) + self.init_qpos
        target = draw.uniform_until(lambda p: norm(xp, p) < 0.2, (-0.2, -0.2), (0.2, 0.2))
        qvel = self.init_qvel + draw.uniform(-0.005, 0.005, len(self.init_qvel))
        still = xp.zeros_like(target)
        return xp.concatenate((angles[:, :-2], target), -1), xp.concatenate(
            (qvel[:, :-2], still), -1
        )


@dataclass(frozen=True)
class ReacherV4(Reacher):
    """Reacher-v4: as v5, but the reward is of the distance before the step.

    11 observations: z from the target to the fingertip, always 0 m, is the last.
    """

    fixed: ClassVar[tuple[str, ...]] = (
        "xml_file",
        "frame_skip",
        "reward_dist_weight",
        "reward_control_weight",
    )

    def before(self, xp: Any, f: Fields) -> Array:
        """Return distances of the fingertip from the target in m, ``(B,)``."""
        return norm(xp, self.offset(f))

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return angles, target, velocities and what separates them, ``(B, 11)``."""
        return xp.concatenate((*self.parts(xp, f), self.offset(f)), -1)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, no termination and Gymnasium's info entries."""
        assert before is not None
        dist, ctrl = -before, -xp.square(action).sum(-1)
        return (
            dist + ctrl,
            xp.zeros_like(dist, dtype=bool),
            {"reward_dist": dist, "reward_ctrl": ctrl},
        )
