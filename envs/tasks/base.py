"""What a task is: observation, reward, termination and reset noise, written once for every backend.

A task is a frozen dataclass whose fields are the keyword arguments of ``gymnasium.make``. Its
functions are pure, take arrays with a leading batch dimension ``B`` and an array namespace ``xp``
(numpy on the CPU, torch on a GPU) of which they use only names that both spell alike. Fed with
Gymnasium's float64 states, numpy gives Gymnasium's numbers to the last bit; where the order of
operations matters for that, a comment says so.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import mujoco
import numpy as np

from l2l_gail.errors import InputError

from .draw import Draw

__all__ = ["Array", "Fields", "NoisyStart", "Task", "flat", "norm", "reached", "sum_of_squares"]

Array = Any
"""A numpy array on the CPU, a torch tensor on a GPU."""
Fields = Any
"""``MjData`` fields as attributes, each with a leading batch dimension: ``f.qpos (B, nq)``, ..."""


@dataclass(frozen=True)
class Task(ABC):
    """A MuJoCo task: one of Gymnasium's, or your own (:func:`~envs.register.register_task`).

    Attributes:
        xml_file: Name of one of Gymnasium's models, or a path that begins with ``.``, ``/`` or
            ``~``.
        frame_skip: Physics substeps in one step.
        dt: Seconds in one step; known once :meth:`bind` was called, as what follows is.
        init_qpos: The model's default positions, ``(nq,)``.
        init_qvel: The model's default velocities, ``(nv,)``.
        body_mass: Masses of the bodies in kg, ``(nbody,)``.
        body_ids: Index of each body by name.
    """

    fixed: ClassVar[tuple[str, ...]] = ()
    """Fields that Gymnasium does not take as keyword arguments for this version of the task."""
    nconmax: ClassVar[int | None] = None
    """Room for contacts on a GPU, per environment on average; ``None`` leaves it to mujoco_warp.

    It is that of the model that the task is registered with; mujoco_warp guesses for any other.
    """
    njmax: ClassVar[int | None] = None
    """Room for constraint rows in each environment; likewise."""

    xml_file: str
    frame_skip: int
    dt: float = field(init=False, repr=False)
    init_qpos: Array = field(init=False, repr=False)
    init_qvel: Array = field(init=False, repr=False)
    body_mass: Array = field(init=False, repr=False)
    body_ids: dict[str, int] = field(init=False, repr=False)

    def bind(self, model: mujoco.MjModel, asarray: Callable[[np.ndarray], Array]) -> Self:
        """Return the task with what it needs of its compiled model.

        Args:
            model: The compiled model.
            asarray: Makes an array of the backend's own kind.
        """
        bound = copy.copy(self)
        names = _Bodies({model.body(i).name: i for i in range(model.nbody)})
        for name, value in (
            ("dt", model.opt.timestep * self.frame_skip),
            ("init_qpos", asarray(model.qpos0.copy())),
            ("init_qvel", asarray(np.zeros(model.nv))),
            ("body_mass", asarray(model.body_mass.copy())),
            ("body_ids", names),
        ):
            object.__setattr__(bound, name, value)
        return bound

    @property
    def derived(self) -> tuple[str, ...]:
        """``MjData`` fields that the task reads besides ``qpos``, ``qvel`` and ``ctrl``."""
        return ()

    @property
    def contact_forces(self) -> bool:
        """Whether ``cfrc_ext`` is read, which ``mj_rnePostConstraint`` computes after a step."""
        return "cfrc_ext" in self.derived

    def before(self, xp: Any, f: Fields) -> Array | None:
        """Return what the reward needs of the state before a step, as a live view or a copy."""
        return None

    @abstractmethod
    def observation(self, xp: Any, f: Fields) -> Array:
        """Return observations ``(B, obs_dim)`` as a new array."""

    @abstractmethod
    def transition(
        self, xp: Any, before: Array | None, f: Fields, action: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Return the outcome of a step.

        Args:
            xp: Array namespace.
            before: What :meth:`before` returned before the step.
            f: Fields after the step.
            action: Actions ``(B, act_dim)``, in the type in which they were given: Gymnasium
                computes the control cost in it.

        Returns:
            reward ``(B,)``; terminated ``(B,)`` bool; named terms for the infos, ``(B, ...)``.
        """

    def reset_info(self, xp: Any, f: Fields) -> dict[str, Array]:
        """Return named terms for the info of a reset, ``(B, ...)``."""
        return {}

    @abstractmethod
    def initial(self, xp: Any, draw: Draw) -> tuple[Array, Array]:
        """Return positions ``(B, nq)`` and velocities ``(B, nv)`` of new episodes.

        Gymnasium's tasks draw in Gymnasium's order.
        """


@dataclass(frozen=True)
class NoisyStart(Task):
    """A task whose episodes begin in the model's default pose, with noise on it.

    Attributes:
        reset_noise_scale: Half the width of uniform noise on positions and velocities; where
            ``normal_velocities``, also the standard deviation of that on velocities.
    """

    normal_velocities: ClassVar[bool] = False

    reset_noise_scale: float

    def initial(self, xp: Any, draw: Draw) -> tuple[Array, Array]:
        """Return positions ``(B, nq)`` and velocities ``(B, nv)`` of new episodes."""
        scale, nv = self.reset_noise_scale, len(self.init_qvel)
        qpos = self.init_qpos + draw.uniform(-scale, scale, len(self.init_qpos))
        if self.normal_velocities:
            return qpos, self.init_qvel + scale * draw.normal(nv)
        return qpos, self.init_qvel + draw.uniform(-scale, scale, nv)


class _Bodies(dict[str, int]):
    """Body indices by name; a missing name means that the model does not fit the task."""

    def __missing__(self, name: str) -> int:
        raise InputError(f"the model has no body {name!r}; it has {', '.join(filter(None, self))}")


def flat(array: Array) -> Array:
    """Return an array ``(B, ...)`` as rows ``(B, n)``."""
    return array.reshape(array.shape[0], -1)


def sum_of_squares(xp: Any, array: Array) -> Array:
    """Return the sum of squares ``(B,)`` of each row of an array ``(B, ...)``.

    Over rows laid out flat, so that numpy adds in the order in which it adds one environment's.
    """
    return flat(xp.square(array)).sum(-1)


def reached(xp: Any, f: Fields) -> dict[str, Array]:
    """Return where a free body has come to on the ground, as named terms ``(B,)``, in m."""
    return {
        "x_position": f.qpos[:, 0],
        "y_position": f.qpos[:, 1],
        "distance_from_origin": norm(xp, f.qpos[:, :2]),
    }


def norm(xp: Any, vectors: Array) -> Array:
    """Return Euclidean norms ``(B,)`` of vectors ``(B, n)``.

    By way of a dot product, as ``numpy.linalg.norm`` takes a single vector's norm: the sum of
    squares differs from it in the last bit.
    """
    return xp.sqrt(xp.linalg.vecdot(vectors, vectors))
