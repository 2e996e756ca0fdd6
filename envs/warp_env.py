"""The GPU backend: mujoco_warp and torch on one device, nothing goes through the host."""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from l2l_gail.devices import choose_device
from l2l_gail.errors import InputError

from .batched import BatchedEnv, Info, StepResult
from .definition import Definition
from .warp_draw import TensorDraw
from .warp_step import TensorStep

if TYPE_CHECKING:
    from .warp_graph import StepRunner

__all__ = ["WarpEnv", "capacity"]

_TESTED = "4.0"
_CAPACITY = {  # contacts, constraint rows: over twice what random play on the ground needed
    "ant": (16, 48),
    "half_cheetah": (16, 32),
    "hopper": (16, 32),
    "humanoid": (24, 64),
    "inverted_double_pendulum": (8, 16),
    "inverted_pendulum": (8, 16),
    "pusher": (16, 32),
    "reacher": (8, 16),
    "swimmer": (8, 16),
    "walker2d": (16, 32),
}


class WarpEnv(BatchedEnv):
    """Batched environments on a GPU, in float32.

    Observations, rewards and ends are computed by the same task functions as on the CPU; the
    physics differ from MuJoCo's by float32 and by mujoco_warp's kernels (``docs/gpu.md`` has
    figures). A step is a few CUDA graphs launched one after the other; nothing in it waits for the
    device, except that the first two load the kernels and record.

    Worlds whose action or state is not finite, or that lack room for their contacts, end their
    episodes with reward 0 and are counted; :meth:`check` says so.

    One generator draws the noise of all worlds: the same seed and number of environments give the
    same resets, but not those of Gymnasium.

    Args:
        definition: What to simulate.
        num_envs: Number of environments.
        seed: Seed of the first reset.
        device: ``cuda``, ``cuda:1``, ...; ``cpu`` runs the same code on warp's CPU device, 2 to 3
            times slower than the CPU backend, for tests.
        nconmax: Contacts to have room for, per environment on average. By default enough for
            Gymnasium's own models, and mujoco_warp's guess for others.
        njmax: Constraint rows to have room for in each environment; likewise.
        deterministic: Have mujoco_warp order its sums, so that a GPU repeats its results bit for
            bit; costs a factor of 2 to 3. Its CPU device always does.
        graph: Record the step and replay it; without, every step is launched kernel by kernel.

    Raises:
        InputError: No such device, mujoco_warp missing or of a version that was not tested.
    """

    def __init__(
        self,
        definition: Definition,
        num_envs: int,
        seed: int = 0,
        *,
        device: str = "cuda",
        nconmax: int | None = None,
        njmax: int | None = None,
        deterministic: bool = False,
        graph: bool = True,
    ) -> None:
        place = _usable_device(device)
        super().__init__(definition, num_envs, place, torch.float32, seed)
        from .warp_graph import StepRunner
        from .warp_physics import WarpPhysics

        for name, room in (("nconmax", nconmax), ("njmax", njmax)):
            if room is not None and room < 1:
                raise InputError(f"{name} is room for at least 1, not {room}")
        contacts, rows = capacity(definition)
        task = definition.task.bind(definition.model, self._tensor)
        try:
            self._physics = WarpPhysics(
                definition.model,
                num_envs,
                place,
                task.derived,
                nconmax=contacts if nconmax is None else nconmax,
                njmax=rows if njmax is None else njmax,
                deterministic=deterministic,
            )
        except NotImplementedError as error:
            raise InputError(f"mujoco_warp cannot simulate this model: {error}") from error
        self._generator = torch.Generator(place)
        self._core = TensorStep(
            task,
            self._physics,
            TensorDraw(num_envs, place, self._generator),
            int(np.prod(self.single_observation_space.shape)),
            self.max_episode_steps,
        )
        self._runner = StepRunner(self._core.segments, place, self._generator, graph)
        # Memory must not be given back while the device still works on it.
        self._settle = weakref.finalize(self, _wait, self._runner, os.getpid())
        self._told_both = (0, 0)
        self._ready = self._stepped = False

    def reset(self, seed: int | Sequence[int | None] | None = None) -> tuple[Tensor, Info]:
        """Begin new episodes everywhere; see :meth:`BatchedEnv.reset`.

        The one generator of all worlds is seeded by all of their seeds together.
        """
        self._check_usable()
        seeds = self._seeds(seed)
        if any(own is not None and own < 0 for own in seeds):
            raise InputError("a seed is 0 or more")
        if any(own is not None for own in seeds):
            entropy = np.random.SeedSequence([0 if own is None else own + 1 for own in seeds])
            self._generator.manual_seed(int(entropy.generate_state(1, np.uint32)[0]))
        self._runner.run(self._core.restart_all)
        self._ready = True
        self.reset_info = _copies(self._core.reset_terms)
        return self._core.obs.clone(), dict(self.reset_info)

    def step(self, actions: Tensor | np.ndarray) -> StepResult:
        """Take one step in every environment; see :meth:`BatchedEnv.step`.

        Actions that are not finite cannot be refused without waiting for the device: their
        environments are reset and counted in :attr:`diverged`.
        """
        self._check_usable()
        if not self._ready:
            raise RuntimeError(f"{self.env_id}: call reset() before step()")
        self._core.actions.copy_(self._check_actions(actions))
        if not self._stepped and self.device.type == "cuda" and sys.stderr.isatty():
            print(
                f"{self.env_id}: preparing the GPU's kernels; the first time on a machine compiles "
                "them, about 2 minutes",
                file=sys.stderr,
            )
        self._stepped = True
        self._runner()
        info = _copies(self._core.outputs)
        self.reset_info = _copies(self._core.reset_terms)
        outcome = (info.pop(name) for name in ("reward", "terminated", "truncated"))
        return self._core.obs.clone(), *outcome, info

    @property
    def place(self) -> str:
        """The GPU's name."""
        if self.device.type == "cuda":
            return f"{self.device} ({torch.cuda.get_device_name(self.device)}), mujoco_warp"
        return "warp's CPU device, for tests"

    @property
    def diverged(self) -> int:
        """How often a world was reset for an action or a state not finite or huge; waits."""
        self._check_usable()
        return int(self._core.diverged)

    @property
    def overflowed(self) -> int:
        """How often a world was reset because contacts or constraints had no room; waits."""
        self._check_usable()
        return int(self._core.overflowed)

    def check(self) -> None:
        """Warn of worlds that had to be reset since the last check.

        Waits for the device once; call it where a training waits anyhow, as between rollouts.
        """
        self._check_usable()
        diverged, overflowed = torch.stack((self._core.diverged, self._core.overflowed)).tolist()
        new_diverged, new_overflowed = (
            diverged - self._told_both[0],
            overflowed - self._told_both[1],
        )
        self._told_both = (diverged, overflowed)
        if new_overflowed:
            warnings.warn(
                f"{self.env_id}: contacts had no room and {new_overflowed} environments were reset;"
                f" raise nconmax (now {self._physics.nconmax}) and njmax (now "
                f"{self._physics.njmax}) of WarpEnv",
                RuntimeWarning,
                stacklevel=2,
            )
        if new_diverged:
            warnings.warn(
                f"{self.env_id}: {new_diverged} environments were reset because their action or "
                "state was not finite or huge",
                RuntimeWarning,
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return physics, generator and episode totals.

        The continuation is exact as far as the device repeats itself (``deterministic``).

        Raises:
            RuntimeError: There is no episode yet, or the environment is closed.
        """
        self._check_usable()
        if not self._ready:
            raise RuntimeError(f"{self.env_id}: call reset() before state_dict()")
        core, physics = self._core, self._physics
        return {
            "env_id": self.env_id,
            "fields": _copies(vars(physics.fields)),
            "warmstart": physics.warmstart.clone(),
            "length": core.length.clone(),
            "return": core.total.clone(),
            "generator": self._generator.get_state(),
            "reset_info": _copies(core.reset_terms),
            "obs": core.obs.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> Tensor:
        """Go on from a state of :meth:`state_dict`."""
        self._check_usable()
        core, physics = self._core, self._physics
        fields = state.get("fields", {})
        if state["env_id"] != self.env_id or len(state["obs"]) != self.num_envs or not fields:
            raise InputError(
                f"the saved state is of {len(state['obs'])} x {state['env_id']}, "
                f"{'on a GPU' if fields else 'on the CPU'}; this is {self.num_envs} x "
                f"{self.env_id} on a GPU"
            )
        for name, value in fields.items():
            getattr(physics.fields, name).copy_(value)
        for name, value in state["reset_info"].items():
            core.reset_terms[name].copy_(value)
        physics.warmstart.copy_(state["warmstart"])
        core.length.copy_(state["length"])
        core.total.copy_(state["return"])
        core.obs.copy_(state["obs"])
        self._generator.set_state(state["generator"].cpu())
        self.reset_info = _copies(core.reset_terms)
        self._seed, self._ready = None, True
        return core.obs.clone()

    def close(self) -> None:
        """Free the worlds; again is nothing."""
        if not self._closed:
            self._settle()
            del self._core, self._physics, self._runner
        super().close()

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    def _check_actions(self, actions: Tensor | np.ndarray) -> Tensor:
        """Return actions ``(N, act_dim)`` as a tensor; numpy's come from the host."""
        if not isinstance(actions, Tensor):
            actions = torch.from_numpy(np.ascontiguousarray(actions)).to(self.device)
        self._check_shape(actions.shape)
        if not actions.is_floating_point():
            raise InputError(f"actions must be floating point, not {actions.dtype}")
        if actions.device != self.device:
            raise InputError(
                f"the actions are on {actions.device}, the environments on {self.device}"
            )
        return actions.detach()


def capacity(definition: Definition) -> tuple[int | None, int | None]:
    """Return room for contacts and constraint rows, ``None`` for a model of the user's own."""
    name, _, ending = definition.task.xml_file.rpartition(".")
    return _CAPACITY.get(name, (None, None)) if ending == "xml" else (None, None)


def _usable_device(device: str) -> torch.device:
    """Return a device of torch's that warp can use too.

    Raises:
        InputError: It is not there, or mujoco_warp is missing or was not tested.
    """
    try:
        version = metadata.version("mujoco-warp")
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"simulation on {device} needs mujoco_warp: pip install 'l2l_gail[gpu]', or use cpu"
        ) from error
    if not version.startswith(f"{_TESTED}."):
        raise InputError(
            f"mujoco_warp {version} was not tested: pip install 'mujoco-warp=={_TESTED}.*'"
        )
    place = torch.device(choose_device(device))
    import warp as wp

    # Warp tells of every kernel that it loads, some 40 lines.
    wp.config.log_level = max(wp.config.log_level, wp.LOG_WARNING)
    if place.type == "cuda":
        index = torch.cuda.current_device() if place.index is None else place.index
        place = torch.device("cuda", index)
        if not wp.is_cuda_available() or not wp.is_mempool_supported(str(place)):
            raise InputError(f"warp cannot use {place}: its driver is too old; use cpu")
        wp.set_mempool_enabled(str(place), True)  # a recorded step allocates
    return place


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that the next step does not overwrite."""
    return {name: value.clone() for name, value in tensors.items()}


def _wait(runner: StepRunner, owner: int) -> None:
    if os.getpid() == owner:  # a forked child has no device to wait for
        runner.wait()
