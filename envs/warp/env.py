"""Batches on a GPU: mujoco_warp and torch on one device, nothing goes through the host."""

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

from ..batched import BatchedEnv, Info, StepResult
from ..definition import Definition, plain_arguments
from .draw import TensorDraw
from .step import TensorStep

if TYPE_CHECKING:
    from .graph import StepRunner

__all__ = ["WarpEnv", "obstacle"]

_TESTED = "4.0"
_OLDEST_WARP = (1, 19)


class WarpEnv(BatchedEnv):
    """Batched environments on a GPU, in float32.

    Observations, rewards and ends are computed by the same task functions as on the CPU; the
    physics differ from MuJoCo's by float32 and by mujoco_warp's kernels (``docs/gpu.md`` has
    figures). A step is one CUDA graph, launched after a small one that draws noise. No step waits
    for the device but the first two, which load the kernels and record.

    Worlds whose action or state is not finite end their episodes with reward 0, as terminated;
    worlds without room for their contacts do likewise, as truncated. Both are counted, and
    :meth:`check` warns of them.

    One generator draws the noise of all worlds: the same seed and number of environments give the
    same resets, but not those of Gymnasium.

    Args:
        definition: What to simulate.
        num_envs: Number of environments.
        seed: Seed of the first reset.
        device: ``cuda``, ``cuda:1``, ...; ``cpu`` runs the same code on warp's CPU device, 4 to 5
            times slower than the CPU backend, for tests.
        nconmax: Contacts to have room for, per environment on average. By default what the task
            says that its own model needs, and mujoco_warp's guess for other models.
        njmax: Constraint rows to have room for in each environment; likewise.
        deterministic: Have mujoco_warp order contacts, constraint rows and sums, at a half to a
            third of the speed. An H200 did not repeat Ant's results bit for bit all the same; the
            CPU device always does.
        graph: Record the step and replay it; otherwise every step is launched kernel by kernel.

    Raises:
        InputError: There is no such device, or an :func:`obstacle` to using it.
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
        from .graph import StepRunner
        from .physics import WarpPhysics

        for name, room in (("nconmax", nconmax), ("njmax", njmax)):
            if room is not None and room < 1:
                raise InputError(f"{name} is room for at least 1, not {room}")
        task = definition.task.bind(definition.model, self._tensor)
        try:
            self._physics = WarpPhysics(
                definition.model,
                num_envs,
                place,
                task.derived,
                nconmax=definition.nconmax if nconmax is None else nconmax,
                njmax=definition.njmax if njmax is None else njmax,
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
        self._runner = StepRunner(self._core.segments(), place, self._generator, graph)
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
        """How often a world was reset for what was not finite or huge; waits for the device."""
        self._check_usable()
        return int(self._core.diverged)

    @property
    def overflowed(self) -> int:
        """How often a world was reset for lack of room for contacts; waits for the device."""
        self._check_usable()
        return int(self._core.overflowed)

    def check(self) -> None:
        """Warn of worlds that had to be reset since the last check.

        Waits for the device once: call it where training waits anyway, between rollouts.
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
                "state, or what the task computes of it, was not finite or huge",
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
        return {
            "env_id": self.env_id,
            "kwargs": dict(self._arguments),
            **_copies(self._live()),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> Tensor:
        """Restore a state returned by :meth:`state_dict`; a refused one changes nothing."""
        self._check_usable()
        core = self._core
        live = self._live()
        self._check_state(state, live)
        self._generator.set_state(state["generator"].cpu())
        for name, value in live.items():
            value.copy_(state[name])
        self.reset_info = _copies(core.reset_terms)
        self._seed, self._ready = None, True
        return core.obs.clone()

    def close(self) -> None:
        """Free the worlds; safe to call twice."""
        if not self._closed:
            self._settle()
            del self._core, self._physics, self._runner
        super().close()

    def _live(self) -> dict[str, Tensor]:
        """Return the worlds' own memory: all of a saved state but the generator."""
        core, physics = self._core, self._physics
        return {
            **{f"fields.{name}": value for name, value in vars(physics.fields).items()},
            **{f"reset_info.{name}": value for name, value in core.reset_terms.items()},
            "warmstart": physics.warmstart,
            "length": core.length,
            "return": core.total,
            "obs": core.obs,
        }

    def _check_state(self, state: dict[str, Any], live: dict[str, Tensor]) -> None:
        """Refuse anything but a state that such an environment returned."""
        known = isinstance(state, dict) and {"env_id", "kwargs", "obs"} <= state.keys()
        if not known or not isinstance(state["obs"], Tensor) or state["obs"].ndim != 2:
            raise InputError("this is no saved state of environments: state_dict() returns one")
        here, count = f"{self.num_envs} x {self.env_id}", len(state["obs"])
        if state["env_id"] != self.env_id or count != self.num_envs or "physics" in state:
            place = "on the CPU" if "physics" in state else "on a GPU"
            raise InputError(
                f"the saved state is of {count} x {state['env_id']}, {place}; this is {here} on a "
                "GPU"
            )
        if plain_arguments(state["kwargs"]) != self._arguments:
            raise InputError(
                f"the saved state is of {here} with other arguments: {state['kwargs']}, not "
                f"{self._arguments}"
            )
        for name, own in {**live, "generator": self._generator.get_state()}.items():
            value = state.get(name)
            if (
                not isinstance(value, Tensor)
                or value.shape != own.shape
                or value.dtype != own.dtype
            ):
                raise InputError(
                    f"the saved state's {name!r} is not {own.dtype} of the shape {tuple(own.shape)}"
                )

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


def obstacle(device: str) -> str | None:
    """Return why mujoco_warp cannot simulate on a torch device, ``None`` if it can.

    Keeps warp from printing its greeting.
    """
    try:
        version, warp_version = metadata.version("mujoco-warp"), metadata.version("warp-lang")
    except metadata.PackageNotFoundError:
        return (
            f"simulation on {device} needs mujoco_warp: install the extra 'gpu' "
            "(pip install 'l2l_gail[gpu]', in a clone pip install -e '.[gpu]')"
        )
    if not version.startswith(f"{_TESTED}."):
        return f"mujoco_warp {version} was not tested: pip install 'mujoco-warp=={_TESTED}.*'"
    if tuple(int(number) for number in warp_version.split(".")[:2]) < _OLDEST_WARP:
        oldest = ".".join(map(str, _OLDEST_WARP))
        return f"warp {warp_version} is too old: pip install 'warp-lang>={oldest}'"
    import warp as wp

    # Warp tells of itself when it starts, and of every kernel that it loads, some 40 lines.
    wp.config.log_level = max(wp.config.log_level, wp.LOG_WARNING)
    if torch.device(device).type == "cpu":
        return None
    if not wp.is_cuda_available():
        return f"warp cannot use {device}: its driver is missing or too old"
    if not wp.is_mempool_supported(str(_numbered(device))):
        return f"warp cannot use {device}: it has no memory pools"  # a recorded step allocates
    return None


def _usable_device(device: str) -> torch.device:
    """Return a torch device that warp can use as well.

    Raises:
        InputError: It does not exist, or there is an obstacle.
    """
    device = choose_device(device)
    if (reason := obstacle(device)) is not None:
        raise InputError(reason)
    place = _numbered(device)
    if place.type == "cuda":
        import warp as wp

        wp.set_mempool_enabled(str(place), True)
    return place


def _numbered(device: str) -> torch.device:
    """Return a device with its index, as warp names it."""
    place = torch.device(device)
    if place.type != "cuda":
        return place
    return torch.device("cuda", torch.cuda.current_device() if place.index is None else place.index)


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return copies, which the next step does not overwrite."""
    return {name: value.clone() for name, value in tensors.items()}


def _wait(runner: StepRunner, owner: int) -> None:
    if os.getpid() == owner:  # a forked child has no device to wait for
        runner.wait()
