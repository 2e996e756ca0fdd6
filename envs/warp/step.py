"""One step of all worlds as a fixed sequence of operations: no branch, no loop, no host sync."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from ..tasks import Task
from .draw import TensorDraw

__all__ = ["Physics", "Segment", "TensorStep"]


class Physics(Protocol):
    """What a step needs of the physics; see :class:`~envs.warp.physics.WarpPhysics`."""

    num_worlds: int
    fields: SimpleNamespace

    def step(self, substeps: int) -> None: ...  # noqa: D102

    def post_constraint(self) -> None: ...  # noqa: D102

    def forward(self) -> None: ...  # noqa: D102

    def restart(self, mask: Tensor, qpos: Tensor, qvel: Tensor) -> None: ...  # noqa: D102

    def take_overflow(self) -> Tensor: ...  # noqa: D102

    def diverged(self) -> Tensor: ...  # noqa: D102


class Segment(NamedTuple):
    """A part of the step: torch's draw of noise, other work of torch's, or warp's work."""

    of: Literal["noise", "torch", "warp"]
    run: Callable[[], None]


class TensorStep:
    """Action in, observations, rewards and ends out, with the masked reset of ended episodes.

    The same operations run eagerly on warp's CPU device and recorded as CUDA graphs on a GPU:
    all shapes are fixed, all state is written in place, and new episodes' states are drawn for
    all worlds at every step and taken where an episode ended.

    A world breaks off when its action or its state is not finite, when its state is huge, or when
    contacts were dropped for lack of room. Its episode ends there, with reward 0 and its previous
    observation as the final one: no NaN reaches a learner. It ends as terminated, except for lack
    of room, which says nothing of the world itself and may end all of them at once: these are
    truncated, so that a learner goes on valuing the states they were in.

    Args:
        task: The task, bound to the model with tensors.
        physics: The worlds.
        draw: Reset noise.
        obs_dim: Numbers in one observation.
        max_episode_steps: The time limit in steps.

    Attributes:
        actions: To be filled before a step, ``(N, act_dim)`` float32.
        obs: Observations ``(N, obs_dim)``, after any reset.
        length: Steps of the running episodes, ``(N,)`` int64.
        total: Their returns, ``(N,)`` float64.
        diverged: Number of worlds broken off for what was not finite or huge, ``()`` int64.
        overflowed: Number of worlds broken off for lack of room, ``()`` int64.
        reset_terms: Gymnasium's info of each world's latest reset, ``(N, ...)``.
        outputs: What the latest step returned besides ``obs``.
    """

    def __init__(
        self,
        task: Task,
        physics: Physics,
        draw: TensorDraw,
        obs_dim: int,
        max_episode_steps: int,
    ) -> None:
        self._task, self._physics, self._draw = task, physics, draw
        self._limit = max_episode_steps
        n, like = physics.num_worlds, physics.fields.ctrl
        self.actions = torch.zeros_like(like)
        self.obs = like.new_zeros(n, obs_dim)
        self.length = like.new_zeros(n, dtype=torch.int64)
        self.total = like.new_zeros(n, dtype=torch.float64)
        self.diverged = like.new_zeros((), dtype=torch.int64)
        self.overflowed = like.new_zeros((), dtype=torch.int64)
        self.reset_terms = {
            name: torch.zeros_like(value, memory_format=torch.contiguous_format)
            for name, value in task.reset_info(torch, physics.fields).items()
        }
        self.outputs: dict[str, Tensor] = {}
        self._everywhere = like.new_ones(n, dtype=torch.bool)
        self._qpos = torch.zeros_like(physics.fields.qpos)  # of the episodes that may begin
        self._qvel = torch.zeros_like(physics.fields.qvel)
        # A reset observation that reads only positions and velocities needs no physics.
        self._refreshed = tuple(name for name in task.derived if name != "cfrc_ext")
        self._lagged: dict[str, Tensor] = {}
        self._done = self._everywhere

    def segments(self) -> tuple[Segment, ...]:
        """Return the step's parts in order.

        They hold this object, which therefore does not hold them: the memory of the worlds comes
        back with the last reference, not when a garbage collector next looks for cycles.
        """
        segments = (
            Segment("noise", self._draw_states),
            Segment("torch", self._prepare),
            Segment("warp", self._simulate),
            Segment("torch", self._conclude),
        )
        if not self._refreshed:
            return segments
        return *segments, Segment("warp", self._physics.forward), Segment("torch", self._merge)

    def restart_all(self) -> None:
        """Begin new episodes in all worlds, eagerly."""
        recorded = self._done, self._lagged  # a graph's own tensors, to be held as long as it
        self._done = self._everywhere
        self._draw_states()
        self._restart(self.obs)
        if self._refreshed:
            self._physics.forward()
            self._merge()
        self._done, self._lagged = recorded

    def _draw_states(self) -> None:
        """Draw a new state for every world; the ends of episodes decide which are taken."""
        qpos, qvel = self._task.initial(torch, self._draw)
        self._qpos.copy_(qpos)
        self._qvel.copy_(qvel)

    def _prepare(self) -> None:
        """Set controls, and keep what the reward needs of the state before."""
        self._bad_action = ~torch.isfinite(self.actions).all(-1)
        self._action = self.actions.masked_fill(self._bad_action[:, None], 0.0)
        fields = self._physics.fields
        fields.ctrl.copy_(self._action)
        before = self._task.before(torch, fields)
        self._before = None if before is None else before.clone()

    def _simulate(self) -> None:
        self._physics.step(self._task.frame_skip)
        if self._task.contact_forces:
            self._physics.post_constraint()

    def _conclude(self) -> None:
        """Evaluate the state reached, end episodes, and put ended worlds into new states."""
        task, physics = self._task, self._physics
        final_obs = task.observation(torch, physics.fields)
        reward, terminated, terms = task.transition(
            torch, self._before, physics.fields, self._action
        )
        overflow = physics.take_overflow()
        finite = torch.isfinite(final_obs).all(-1) & torch.isfinite(reward)
        broken = self._bad_action | physics.diverged() | ~finite | overflow
        self.overflowed += overflow.sum()
        self.diverged += (broken & ~overflow).sum()

        final_obs = torch.where(broken[:, None], self.obs, final_obs)
        reward = reward.masked_fill(broken, 0.0)
        terminated = (terminated | broken) & ~overflow  # what lacked contacts says nothing
        self.length += 1
        self.total += reward
        truncated = (self.length >= self._limit) | overflow
        self._done = terminated | truncated
        self.outputs = {
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            **{name: value.masked_fill(_rows(broken, value), 0) for name, value in terms.items()},
            "final_obs": final_obs,
            "_final_obs": self._done,
            "episode_return": self.total.clone(),
            "episode_length": self.length.clone(),
        }
        self._restart(final_obs)

    def _restart(self, final_obs: Tensor) -> None:
        """Begin new episodes where ``_done``."""
        fields, done = self._physics.fields, self._done
        self._lagged = {name: getattr(fields, name).clone() for name in self._refreshed}
        self._physics.restart(done, self._qpos, self._qvel)
        self.length.masked_fill_(done, 0)
        self.total.masked_fill_(done, 0.0)
        if self._task.contact_forces:  # known only after a step
            fields.cfrc_ext.masked_fill_(_rows(done, fields.cfrc_ext), 0.0)
        self.obs.copy_(final_obs)
        if not self._refreshed:
            self._observe()

    def _merge(self) -> None:
        """Take the derived fields just computed where episodes began, the step's elsewhere."""
        for name, lagged in self._lagged.items():
            field = getattr(self._physics.fields, name)
            field.copy_(torch.where(_rows(self._done, field), field, lagged))
        self._observe()

    def _observe(self) -> None:
        """Set observations and infos of the episodes that began."""
        task, fields, done = self._task, self._physics.fields, self._done
        self.obs.copy_(torch.where(done[:, None], task.observation(torch, fields), self.obs))
        for name, value in task.reset_info(torch, fields).items():
            held = self.reset_terms[name]
            held.copy_(torch.where(_rows(done, value), value, held))


def _rows(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask ``(N,)`` with as many dimensions as ``like``."""
    return mask.reshape(-1, *[1] * (like.ndim - 1))
