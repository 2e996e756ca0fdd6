"""InvertedPendulum and InvertedDoublePendulum: poles on a cart that are to stay upright."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, Fields, NoisyStart

__all__ = [
    "InvertedDoublePendulum",
    "InvertedDoublePendulumV4",
    "InvertedPendulum",
    "InvertedPendulumV4",
]


@dataclass(frozen=True)
class InvertedPendulum(NoisyStart):
    """InvertedPendulum-v5: 1 force on the cart, 4 observations, ends when the pole tilts.

    ===== ============================== =====
    entry observation                    unit
    ===== ============================== =====
    0     position of the cart           m
    1     angle of the pole              rad
    2     velocity of the cart           m/s
    3     angular velocity of the pole   rad/s
    ===== ============================== =====

    Reward: 1 while the pole's angle is finite and at most 0.2 rad, else 0.
    """

    nconmax: ClassVar[int | None] = 8
    njmax: ClassVar[int | None] = 16

    xml_file: str = "inverted_pendulum.xml"
    frame_skip: int = 2
    reset_noise_scale: float = 0.01

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return positions and velocities, ``(B, 4)``."""
        return xp.concatenate((f.qpos, f.qvel), -1)

    def has_fallen(self, xp: Any, f: Fields) -> Array:
        """Return whether the pole is down or the state not finite, ``(B,)`` bool."""
        finite = xp.isfinite(f.qpos).all(-1) & xp.isfinite(f.qvel).all(-1)
        return ~finite | (xp.abs(f.qpos[:, 1]) > 0.2)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and Gymnasium's info entry, a whole number."""
        fallen = self.has_fallen(xp, f)
        survive = ~fallen * xp.ones_like(f.qpos[:, 0])
        return survive, fallen, {"reward_survive": ~fallen * 1}


@dataclass(frozen=True)
class InvertedPendulumV4(InvertedPendulum):
    """InvertedPendulum-v4: as v5, but the last step is paid as well, and infos are empty."""

    fixed: ClassVar[tuple[str, ...]] = ("xml_file", "frame_skip", "reset_noise_scale")

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and no info."""
        return xp.ones_like(f.qpos[:, 0]), self.has_fallen(xp, f), {}


@dataclass(frozen=True)
class InvertedDoublePendulum(NoisyStart):
    """InvertedDoublePendulum-v5: 1 force on the cart, 9 observations, ends when the tip falls.

    ===== ============================================== ============================
    entry observation                                    unit
    ===== ============================================== ============================
    0     position of the cart                           m
    1, 2  sine of the angle of the first, second pole    --
    3, 4  cosine of the angle of the first, second pole  --
    5     velocity of the cart                           m/s, clipped to +-10
    6, 7  angular velocity of the first, second pole     rad/s, clipped to +-10
    8     constraint force on the cart                   N, clipped to +-10
    ===== ============================================== ============================

    Reward: ``healthy_reward (unless it ends) - 0.01 x^2 - (y - 2)^2 - 1e-3 w1^2 - 5e-3 w2^2``:
    x, y in m say where the tip is, one substep before the end of the step, w1 and w2 in rad/s how
    fast the poles turn. It ends at y <= 1.
    """

    normal_velocities: ClassVar[bool] = True
    nconmax: ClassVar[int | None] = 8
    njmax: ClassVar[int | None] = 16

    xml_file: str = "inverted_double_pendulum.xml"
    frame_skip: int = 5
    healthy_reward: float = 10.0
    reset_noise_scale: float = 0.1

    @property
    def derived(self) -> tuple[str, ...]:
        """``MjData`` fields that the task reads besides ``qpos``, ``qvel`` and ``ctrl``."""
        return "site_xpos", "qfrc_constraint"

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return cart, poles, velocities and the constraint's force, ``(B, 9)``."""
        return xp.concatenate(self.parts(xp, f, 1), -1)

    def parts(self, xp: Any, f: Fields, forces: int) -> tuple[Array, ...]:
        """Return the parts of an observation, the last one the first so many forces."""
        return (
            f.qpos[:, :1],
            xp.sin(f.qpos[:, 1:]),
            xp.cos(f.qpos[:, 1:]),
            xp.clip(f.qvel, -10, 10),
            xp.clip(f.qfrc_constraint[:, :forces], -10, 10),
        )

    def penalties(self, xp: Any, f: Fields) -> tuple[Array, Array]:
        """Return what the tip's distance and the poles' velocities cost, ``(B,)`` each."""
        x, y = f.site_xpos[:, 0, 0], f.site_xpos[:, 0, 2]
        v1, v2 = f.qvel[:, 1], f.qvel[:, 2]
        distance = 0.01 * _square(xp, x) + _square(xp, y - 2)
        return distance, 1e-3 * _square(xp, v1) + 5e-3 * _square(xp, v2)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and Gymnasium's info entries."""
        fallen = f.site_xpos[:, 0, 2] <= 1
        survive = ~fallen * self.healthy_reward
        distance, velocity = self.penalties(xp, f)
        info = {
            "reward_survive": survive,
            "distance_penalty": -distance,
            "velocity_penalty": -velocity,
        }
        return survive - distance - velocity, fallen, info


@dataclass(frozen=True)
class InvertedDoublePendulumV4(InvertedDoublePendulum):
    """InvertedDoublePendulum-v4: as v5, but the last step is paid in full, and infos are empty.

    11 observations: the constraint's forces on both poles (N m, clipped to +-10) follow.
    """

    fixed: ClassVar[tuple[str, ...]] = (
        "xml_file",
        "frame_skip",
        "healthy_reward",
        "reset_noise_scale",
    )

    def observation(self, xp: Any, f: Fields) -> Array:
        """Return cart, poles, velocities and the constraint's forces, ``(B, 11)``."""
        return xp.concatenate(self.parts(xp, f, 3), -1)

    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return reward, termination and no info."""
        distance, velocity = self.penalties(xp, f)
        return 10 - distance - velocity, f.site_xpos[:, 0, 2] <= 1, {}


def _square(xp: Any, values: Array) -> Array:
    """Return squares as Gymnasium takes them here, one number at a time with the C library's pow.

    That is off by one bit from the product in one case out of a thousand. ``float_power`` is the
    function that calls the same pow on every machine; torch's gives float64.
    """
    return xp.asarray(xp.float_power(values, 2.0), dtype=values.dtype)
