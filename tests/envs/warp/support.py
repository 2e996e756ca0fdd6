"""Physics without a simulator, for tests of the tensor step."""

from __future__ import annotations

from types import SimpleNamespace

import mujoco
import numpy as np
import torch
from torch import Tensor

from envs.definition import Definition, define
from envs.tasks import Task
from envs.warp.draw import TensorDraw
from envs.warp.env import WarpEnv
from envs.warp.step import TensorStep


class ScriptedPhysics:
    """Moves every world's first position by 0.1 in a step; ``poison`` says what goes wrong where.

    Derived fields hold the number of steps, and -1 after :meth:`forward`.
    """

    def __init__(
        self, model: mujoco.MjModel, num_worlds: int, derived: tuple[str, ...], device: str = "cpu"
    ) -> None:
        data = mujoco.MjData(model)
        self.num_worlds = num_worlds
        self.fields = SimpleNamespace()
        for name in ("qpos", "qvel", "ctrl", *derived):
            shape = np.shape(getattr(data, name))
            setattr(self.fields, name, torch.zeros(num_worlds, *shape, device=device))
        self.overflow = torch.zeros(num_worlds, dtype=torch.bool, device=device)
        self.derived = derived
        self.steps = 0
        self.poison: dict[int, float] = {}  # world -> what its velocity becomes

    def step(self, substeps: int) -> None:
        self.steps += 1
        self.fields.qpos[:, 0] += 0.1
        for world, value in self.poison.items():
            self.fields.qvel[world, 0] = value
        for name in self.derived:
            getattr(self.fields, name).fill_(self.steps)

    def post_constraint(self) -> None:
        self.fields.cfrc_ext.fill_(self.steps)

    def forward(self) -> None:
        for name in self.derived:
            if name != "cfrc_ext":
                getattr(self.fields, name).fill_(-1.0)

    def restart(self, mask: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        rows = mask[:, None]
        self.fields.qpos.copy_(torch.where(rows, qpos, self.fields.qpos))
        self.fields.qvel.copy_(torch.where(rows, qvel, self.fields.qvel))
        self.fields.ctrl.masked_fill_(rows, 0.0)

    def take_overflow(self) -> Tensor:
        taken = self.overflow.clone()
        self.overflow.zero_()
        return taken

    def diverged(self) -> Tensor:
        state = torch.cat((self.fields.qpos, self.fields.qvel), -1)
        return ~(state.abs() < 1e10).all(-1)


def scripted(
    env_id: str, num_worlds: int, limit: int = 1000, device: str = "cpu", **kwargs: object
) -> tuple[TensorStep, ScriptedPhysics, Task]:
    """Return a tensor step of a real task over scripted physics, reset."""
    definition: Definition = define(env_id, kwargs)
    task = definition.task.bind(
        definition.model, lambda a: torch.as_tensor(a, dtype=torch.float32, device=device)
    )
    physics = ScriptedPhysics(definition.model, num_worlds, task.derived, device)
    generator = None if device == "meta" else torch.Generator().manual_seed(0)
    draw = TensorDraw(num_worlds, torch.device(device), generator)
    obs_dim = definition.observation_space.shape[0]
    step = TensorStep(task, physics, draw, obs_dim, limit)
    step.restart_all()
    return step, physics, task


def run(step: TensorStep, actions: Tensor | None = None) -> dict[str, Tensor]:
    """Take one step; by default with zero controls."""
    step.actions.copy_(torch.zeros_like(step.actions) if actions is None else actions)
    for segment in step.segments():
        segment.run()
    return step.outputs


def make(env_id: str = "Hopper-v5", num_envs: int = 4, seed: int = 0, **options) -> WarpEnv:
    """Make environments on warp's CPU device."""
    definition = options.pop("definition", None) or define(env_id, options.pop("kwargs", {}))
    return WarpEnv(definition, num_envs, seed, device="cpu", **options)
