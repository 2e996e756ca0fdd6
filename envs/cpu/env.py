"""Batches on the CPU: MuJoCo's own engine on all cores, equal to Gymnasium to the last bit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from gymnasium.utils import seeding
from torch import Tensor

from l2l_gail.cores import available_cores
from l2l_gail.errors import InputError

from ..batched import BatchedEnv, Info, StepResult
from ..definition import Definition, plain_arguments
from .draw import GeneratorDraw
from .idle_work import without_idle_work
from .mjbatch import MjBatch

__all__ = ["CpuEnv"]

_FEW = 16  # environments for which waking a thread costs more than it saves


class CpuEnv(BatchedEnv):
    """Batched environments on MuJoCo's C engine.

    Observations, rewards, their named terms, terminations, truncations and final observations
    equal those of ``gymnasium.make`` with the same seeds and actions bit for bit, in float64. A
    step releases the interpreter's lock and runs on ``num_threads`` threads, whose number changes
    no result. Nothing in it loops over environments in Python, except for the first states of new
    episodes, which are drawn from each environment's own generator.

    Args:
        definition: What to simulate.
        num_envs: Number of environments.
        seed: Seed of the first reset.
        num_threads: Threads that step the physics; by default one for each core that the process
            may use, and a single one below 16 environments.

    Raises:
        InputError: A number is out of range, or MuJoCo is older than 3.17.
    """

    def __init__(
        self,
        definition: Definition,
        num_envs: int,
        seed: int = 0,
        num_threads: int | None = None,
    ) -> None:
        super().__init__(definition, num_envs, torch.device("cpu"), torch.float64, seed)
        if num_threads is not None and num_threads < 1:
            raise InputError(f"{num_threads} threads cannot step: give at least 1")
        self.num_threads = num_threads or (1 if self.num_envs < _FEW else available_cores())
        self._task = definition.task.bind(definition.model, np.asarray)
        self._batch = MjBatch(
            without_idle_work(definition.model, definition.xml),
            self.num_envs,
            self.num_threads,
            persistent=self._task.contact_forces,
        )
        names = ("qpos", "qvel", "ctrl", *self._task.derived)
        self._fields = SimpleNamespace(**{name: self._batch.field(name) for name in names})
        self._generators: list[np.random.Generator | None] = [None] * num_envs
        self._before: np.ndarray | None = None
        self._length = np.zeros(num_envs, dtype=np.int64)
        self._return = np.zeros(num_envs)
        self._ready = False
        self._not_finite = {"rewards": 0, "observations": 0}
        self._warned: dict[str, int] = {}  # of that, and of MuJoCo's warnings, at the last check
        self._loaded: Tensor | None = None  # observations of a state that no step has left yet

    def reset(self, seed: int | Sequence[int | None] | None = None) -> tuple[Tensor, Info]:
        """Begin new episodes everywhere; see :meth:`BatchedEnv.reset`."""
        self._check_usable()
        for i, own in enumerate(self._seeds(seed)):
            if own is not None or self._generators[i] is None:
                self._generators[i] = seeding.np_random(own)[0]
        obs = self._restart(np.arange(self.num_envs, dtype=np.int32))
        self._before = self._snapshot()
        self._ready, self._loaded = True, None
        return torch.from_numpy(obs), {k: v.clone() for k, v in self.reset_info.items()}

    def step(self, actions: Tensor | np.ndarray) -> StepResult:
        """Take one step in every environment; see :meth:`BatchedEnv.step`."""
        self._check_usable()
        if not self._ready:
            raise RuntimeError(f"{self.env_id}: call reset() before step()")
        acts = self._check_actions(actions)
        fields, task = self._fields, self._task

        fields.ctrl[:] = acts
        self._batch.step(task.frame_skip)
        if task.contact_forces:
            self._batch.post_constraint()

        final_obs = task.observation(np, fields)
        obs = final_obs.copy()  # a tensor of its own, also where nothing ends: callers may write
        reward, terminated, terms = task.transition(np, self._before, fields, acts)
        reward = reward.astype(np.float64, copy=False)  # float32 where it is of the action alone
        self._count_not_finite(reward, final_obs)
        self._length += 1
        self._return += reward
        truncated = self._length >= self.max_episode_steps
        done = terminated | truncated
        info = _tensors(terms, apart_from=(final_obs, reward, terminated))
        info["final_obs"] = torch.from_numpy(final_obs)
        info["_final_obs"] = torch.from_numpy(done)
        info["episode_return"] = torch.from_numpy(self._return.copy())
        info["episode_length"] = torch.from_numpy(self._length.copy())
        if done.any():
            ids = np.flatnonzero(done).astype(np.int32)
            obs[ids] = self._restart(ids)
        self._before, self._loaded = self._snapshot(), None
        outcome = (obs, reward, terminated, truncated)
        return *(torch.from_numpy(array) for array in outcome), info  # type: ignore[return-value]

    @property
    def place(self) -> str:
        """The CPU and the number of threads."""
        return f"the CPU, {self.num_threads} thread{'s' * (self.num_threads > 1)}"

    @property
    def diverged(self) -> int:
        """How often MuJoCo reset a simulation because its state was not finite or huge."""
        self._check_usable()
        return self._batch.diverged

    def check(self) -> None:
        """Warn of what has gone wrong since the last check; see :meth:`BatchedEnv.check`."""
        super().check()
        counts = {f"the task's {what} were not finite": n for what, n in self._not_finite.items()}
        counts |= {f"MuJoCo warned of {what}": n for what, n in self._batch.warned.items()}
        for what, number in counts.items():
            if new := number - self._warned.get(what, 0):
                warnings.warn(f"{self.env_id}: {what} ({new})", RuntimeWarning, stacklevel=2)
        self._warned = counts

    def state_dict(self) -> dict[str, Any]:
        """Return physics, generators and episode totals: enough to continue exactly.

        Raises:
            RuntimeError: There is no episode yet, or the environment is closed.
        """
        self._check_usable()
        if not self._ready:
            raise RuntimeError(f"{self.env_id}: call reset() before state_dict()")
        # What the physics derives of a loaded state, only the next step computes.
        obs = torch.from_numpy(self._task.observation(np, self._fields))
        return {
            "env_id": self.env_id,
            "kwargs": self._arguments,
            "physics": torch.from_numpy(self._batch.state.copy()),
            "before": None if self._before is None else torch.from_numpy(self._before.copy()),
            "length": torch.from_numpy(self._length.copy()),
            "return": torch.from_numpy(self._return.copy()),
            "generators": [None if g is None else _plain(g) for g in self._generators],
            "reset_info": {k: v.clone() for k, v in self.reset_info.items()},
            "obs": obs if self._loaded is None else self._loaded.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> Tensor:
        """Restore a state returned by :meth:`state_dict`."""
        self._check_usable()
        physics, obs = state.get("physics"), state.get("obs", ())
        if missing := [name for name in _STATE if name not in state and physics is not None]:
            raise InputError(f"the saved state lacks {', '.join(missing)}: save it again")
        here = f"{self.num_envs} x {self.env_id} on the CPU"
        if state.get("env_id") != self.env_id or len(obs) != self.num_envs or physics is None:
            raise InputError(
                f"the saved state is of {len(obs)} x {state.get('env_id')}"
                f"{' on a GPU' * (physics is None)}, this is {here}"
            )
        if (
            plain_arguments(state["kwargs"]) != self._arguments
            or physics.shape != self._batch.state.shape
        ):
            raise InputError(
                f"the saved state is of {here} with other arguments: {state['kwargs']}, not "
                f"{self._arguments}"
            )
        self._batch.state[:] = physics.numpy()
        self._before = None if state["before"] is None else state["before"].numpy().copy()
        self._length[:] = state["length"].numpy()
        self._return[:] = state["return"].numpy()
        self._generators = [None if g is None else _generator(g) for g in state["generators"]]
        self.reset_info = {name: value.clone() for name, value in state["reset_info"].items()}
        self._seed, self._ready = None, True
        self._loaded = state["obs"].clone()
        return self._loaded.clone()

    def close(self) -> None:
        """End the threads and free the simulations; safe to call twice."""
        super().close()
        self._batch.close()
        self._fields = SimpleNamespace()  # its arrays were the batch's memory

    def _check_actions(self, actions: Tensor | np.ndarray) -> np.ndarray:
        """Return actions ``(N, act_dim)`` as float32, or float64 if they are; finite."""
        if isinstance(actions, Tensor):
            actions = actions.detach().cpu()
            actions = (actions.float() if actions.dtype is torch.bfloat16 else actions).numpy()
        # Row by row: in another layout numpy would add up the control cost in another order.
        acts = np.ascontiguousarray(actions)
        self._check_shape(acts.shape)
        if acts.dtype not in (np.float32, np.float64):
            if acts.dtype.kind not in "fiub":
                raise InputError(f"actions must be real numbers, not {acts.dtype}")
            acts = acts.astype(np.float32)
        if not np.isfinite(acts).all():
            bad = int(np.flatnonzero(~np.isfinite(acts).all(-1))[0])
            raise InputError(f"the action of environment {bad} is not finite: {acts[bad].tolist()}")
        return acts

    def _count_not_finite(self, reward: np.ndarray, obs: np.ndarray) -> None:
        """Count the rows in which the task's results are not finite."""
        if np.isfinite(reward).all() and np.isfinite(obs).all():
            return
        for what, finite in (("rewards", np.isfinite(reward)), ("observations", np.isfinite(obs))):
            rows = finite.reshape(self.num_envs, -1).all(-1)
            self._not_finite[what] += int(np.count_nonzero(~rows))

    def _restart(self, ids: np.ndarray) -> np.ndarray:
        """Begin new episodes in some environments, and return their observations."""
        draw = GeneratorDraw([g for i in ids if (g := self._generators[i]) is not None])
        self._batch.reset(ids, *self._task.initial(np, draw))
        self._length[ids] = 0
        self._return[ids] = 0.0
        fields = SimpleNamespace(**{k: v[ids] for k, v in vars(self._fields).items()})
        self.reset_info = {name: value.clone() for name, value in self.reset_info.items()}
        for name, value in self._task.reset_info(np, fields).items():
            if name not in self.reset_info:
                self.reset_info[name] = torch.zeros(
                    (self.num_envs, *value.shape[1:]),
                    dtype=torch.from_numpy(np.asarray(value)).dtype,
                    device="cpu",
                )
            self.reset_info[name].numpy()[ids] = value
        return self._task.observation(np, fields)

    def _snapshot(self) -> np.ndarray | None:
        before = self._task.before(np, self._fields)
        return None if before is None else before.copy()


_STATE = ("kwargs", "before", "length", "return", "generators", "reset_info")
"""What a saved state holds beside what tells whose it is."""


def _tensors(terms: dict[str, np.ndarray], apart_from: Sequence[np.ndarray]) -> Info:
    """Return a task's terms as tensors that share no memory.

    Views of the simulation's state are copied, and so is an array that has two names or is returned
    elsewhere.
    """
    given = {id(array) for array in apart_from}
    info = {}
    for name, value in terms.items():
        own = value.base is None and id(value) not in given
        given.add(id(value))
        info[name] = torch.from_numpy(value if own else value.copy())
    return info


def _plain(generator: np.random.Generator) -> dict[str, Any]:
    """Return a generator's state as plain values, with its 128-bit numbers as text."""
    state = generator.bit_generator.state
    numbers = {name: hex(number) for name, number in state["state"].items()}
    return {**state, "state": numbers}


def _generator(plain: dict[str, Any]) -> np.random.Generator:
    generator = seeding.np_random(0)[0]
    numbers = {name: int(number, 16) for name, number in plain["state"].items()}
    generator.bit_generator.state = {**plain, "state": numbers}
    return generator
