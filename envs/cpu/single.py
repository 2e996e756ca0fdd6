"""One simulation of a task as a ``gymnasium.Env``, stepped by Gymnasium's own code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from numpy.typing import NDArray

from ..tasks import TASKS
from ..tasks.check import check_task
from .draw import GeneratorDraw

__all__ = ["TaskEnv"]


class TaskEnv(MujocoEnv):
    """A registered task as ``gymnasium.make`` returns it: one environment, with rendering.

    Model, simulation, renderer and reset are those of Gymnasium's ``MujocoEnv``, so returns
    measured here do not depend on the batched backends. Observation, reward, termination and reset
    noise are the task's, on a batch of one.

    Args:
        task: Id by which the task is registered.
        xml_file: Path of the model (MJCF); a bare name is one of Gymnasium's models.
        render_mode: As in Gymnasium's MuJoCo environments, like the rest up to ``visual_options``.
        width: Of a picture, in pixels.
        height: Likewise.
        camera_id: Camera by number.
        camera_name: Camera by name.
        default_camera_config: Settings of the free camera.
        max_geom: Number of geoms that a picture may show.
        visual_options: Flags of the renderer.
        **arguments: Fields of the task.

    Raises:
        TypeError: An argument that the task does not have.
        InputError: The task does not do what :class:`~envs.tasks.Task` says.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012

    def __init__(
        self,
        task: str,
        xml_file: str,
        *,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        camera_id: int | None = None,
        camera_name: str | None = None,
        default_camera_config: dict[str, float] | None = None,
        max_geom: int = 1000,
        visual_options: dict[int, bool] | None = None,
        **arguments: Any,
    ) -> None:
        unbound = TASKS[task](xml_file=xml_file, **arguments)
        super().__init__(
            xml_file,
            unbound.frame_skip,
            observation_space=None,
            render_mode=render_mode,
            width=width,
            height=height,
            camera_id=camera_id,
            camera_name=camera_name,
            default_camera_config=default_camera_config,
            max_geom=max_geom,
            visual_options=visual_options,
        )
        self.task = unbound.bind(self.model, np.asarray)
        noise = GeneratorDraw([np.random.default_rng(0) for _ in range(2)])
        obs_dim = check_task(self.task, self.model, noise)
        self.observation_space = Box(-np.inf, np.inf, (obs_dim,), np.float64)
        self.metadata = {**self.metadata, "render_fps": round(1.0 / self.dt)}
        names = ("qpos", "qvel", "ctrl", *self.task.derived)
        self._fields = SimpleNamespace(**{name: getattr(self.data, name)[None] for name in names})

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], np.float64, bool, bool, dict[str, Any]]:
        """Take one step; see :meth:`gymnasium.Env.step`.

        Args:
            action: Controls, ``(act_dim,)``.
        """
        task, fields = self.task, self._fields
        before = task.before(np, fields)
        before = None if before is None else before.copy()
        self.do_simulation(action, task.frame_skip)
        reward, terminated, terms = task.transition(np, before, fields, np.asarray(action)[None])
        if self.render_mode == "human":
            self.render()
        info = {name: value[0].copy() for name, value in terms.items()}
        # Truncation is the work of the TimeLimit that gymnasium.make puts around.
        obs, ended = task.observation(np, fields)[0], bool(terminated[0])
        return obs, np.float64(reward[0]), ended, False, info

    def reset_model(self) -> NDArray[np.float64]:
        """Draw a new episode's state; return its observation ``(obs_dim,)``."""
        qpos, qvel = self.task.initial(np, GeneratorDraw([self.np_random]))
        self.set_state(qpos[0], qvel[0])
        return self.task.observation(np, self._fields)[0]

    def _get_reset_info(self) -> dict[str, Any]:
        terms = self.task.reset_info(np, self._fields)
        return {name: value[0].copy() for name, value in terms.items()}
