"""Pusher: an arm of seven joints that pushes an object to a goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, Fields, Task, norm
from .draw import Draw

__all__ = ["Pusher"]


@dataclass(frozen=True)
class Pusher(Task):
    """Pusher-v5: 7 torques, 23 observations, never ends before the time limit of 100 steps.

    ===== ============================================== =====
    entry observation                                    unit
    ===== ============================================== =====
    0-2   shoulder: pan, lift, roll                      rad
    3, 4  elbow: flex; forearm: roll                     rad
    5, 6  wrist: flex, roll                              rad
    7-13  velocities of these joints                     rad/s
    14-16 x, y, z of the fingertip                       m
    17-19 x, y, z of the object                          m
    20-22 x, y, z of the goal                            m
    ===== ============================================== =====

    Reward: ``-reward_dist_weight * |object - goal| - reward_near_weight * |object - fingertip| -
    reward_control_weight * |action|^2``. Where things are, the physics says one substep before the
    end of the step. There is no Pusher-v4 on MuJoCo 3 or later: Gymnasium does not make it.
    """

    nconmax: ClassVar[int | None] = 16
    njmax: ClassVar[int | None] = 32

    xml_file: str = "pusher_v5.xml"
    frame_skip: int = 5
    reward_near_weight: float = 0.5
    reward_dist_weight: float = 1.0
    reward_control_weight: float = 0.1

    @property
    def derived(self) -> tuple[str, ...]:
        """``MjData`` fields that the task reads besides ``qpos``, ``qvel`` and ``ctrl``."""
        return ("xpos",)

    def place(self, f: Fields, name: str) -> Array:
        """Return positions of a body in m, ``(B, 3)``."""
        return f.xpos[:, self.body_ids[name]]

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return the arm's angles and velocities, fingertip, object and goal, ``(B, 23)``."""
        places = (self.place(f, name) for name in ("tips_arm", "object", "goal"))
        return xp.concatenate((f.qpos[:, :7], f.qvel[:, :7], *places), -1)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, no termination and Gymnasium's info entries."""
        moved = self.place(f, "object")
        near = -norm(xp, moved - self.place(f, "tips_arm")) * self.reward_near_weight
        dist = -norm(xp, moved - self.place(f, "goal")) * self.reward_dist_weight
        ctrl = -xp.square(action).sum(-1) * self.reward_control_weight
        info = {"reward_dist": dist, "reward_ctrl": ctrl, "reward_near": near}
        return dist + ctrl + near, xp.zeros_like(dist, dtype=bool), info

    def initial(self, xp: Any, draw: Draw) -> tuple[Array, Array]:
        """Return the default pose, the object at least 0.17 m from the goal, small velocities."""
        moved = draw.uniform_until(lambda p: norm(xp, p) > 0.17, (-0.3, -0.2), (0.0, 0.2))
        goal = xp.zeros_like(moved)
        arm = xp.broadcast_to(self.init_qpos[:-4], (moved.shape[0], len(self.init_qpos) - 4))
        qvel = self.init_qvel + draw.uniform(-0.005, 0.005, len(self.init_qvel))
        return (
            xp.concatenate((arm, moved, goal), -1),
            xp.concatenate((qvel[:, :-4], goal, goal), -1),
        )
