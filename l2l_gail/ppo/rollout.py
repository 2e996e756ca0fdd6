"""Collecting a rollout from a tensor environment: SB3's loop without leaving the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.ppo import PPO
from torch import Tensor

from l2l_gail.ppo.buffer import TensorRolloutBuffer
from l2l_gail.ppo.env import BOOKKEEPING, TensorEnv, check_env
from l2l_gail.ppo.forward import PolicyForward

__all__ = ["LazyArray", "StepInfos", "as_array", "bounded_actions", "collect"]


class LazyArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A device's tensor for callbacks that want an array: brought over when looked at, not before.

    It is brought over once; what is written into the array does not reach the tensor.

    Args:
        tensor: Tensor of any shape.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    @cached_property
    def _values(self) -> np.ndarray:
        return self.tensor.cpu().numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the values as an array."""
        return np.array(self._values, dtype=dtype, copy=copy)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] = (), **kwargs: Any
    ) -> Any:
        """Return what operators and numpy's functions make of the values: arrays."""
        if out:
            kwargs["out"] = _plain(out)
        return getattr(ufunc, method)(*_plain(inputs), **kwargs)

    def __bool__(self) -> bool:
        return bool(self._values)

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "tensor":  # numpy's own questions, a bare copy
            raise AttributeError(name)
        return getattr(self._values, name)


def _plain(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value._values if isinstance(value, LazyArray) else value for value in values)


def as_array(tensor: Tensor) -> np.ndarray | LazyArray:
    """Return a tensor's values: an array that shares its memory, or one that is made on demand."""
    return tensor.numpy() if tensor.device.type == "cpu" else LazyArray(tensor)


class StepInfos(Sequence[dict[str, Any]]):
    """One step's ``infos`` for callbacks that read them: built when looked at, not before.

    Each has SB3's ``TimeLimit.truncated``, the environment's named terms, and where the episode
    ended ``terminal_observation`` and ``episode`` (return ``r``, length ``l``).

    Args:
        terminated: ``(N,)`` bool.
        info: The tensor environment's.
    """

    def __init__(self, terminated: Tensor, info: dict[str, Tensor]) -> None:
        self._terminated = terminated
        self._info = info

    def __len__(self) -> int:
        return len(self._terminated)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        columns = self._columns
        own = {name: column[index] for name, column in columns.items() if name not in BOOKKEEPING}
        if not columns["_final_obs"][index]:
            return own | {"TimeLimit.truncated": False}
        return own | {
            "TimeLimit.truncated": not bool(self._terminated[index]),
            "terminal_observation": columns["final_obs"][index].copy(),
            "episode": {
                "r": round(float(columns["episode_return"][index]), 6),
                "l": int(columns["episode_length"][index]),
            },
        }

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """The environment's info as arrays: brought over once for all rows."""
        return {name: column.cpu().numpy() for name, column in self._info.items()}


def collect(
    model: PPO,
    env: TensorEnv,
    callback: BaseCallback,
    rollout_buffer: TensorRolloutBuffer,
    n_rollout_steps: int,
    forward: PolicyForward,
) -> bool:
    """Step the environments ``n_rollout_steps`` times and fill the buffer, values included.

    Callbacks are called as in SB3's own loop and find its local variables, arrays and ``infos`` in
    a form that costs nothing until it is looked at. Two differ: ``values`` and ``log_probs`` are
    ``None`` where they are computed in one batch after the last step, as for ``"MlpPolicy"``.
    ``rollout_buffer`` has no content before ``on_rollout_end``, where its rewards are the
    environment's. ``ep_info_buffer`` is brought up to date once, after the last step, and so are
    the model's ``_last_obs`` and ``_last_episode_starts``; an exception on the way, Ctrl-C
    included, leaves them where the environments stand.

    Returns:
        False if a callback asked to stop.
    """
    assert model._last_obs is not None
    assert model._last_episode_starts is not None
    policy, device = model.policy, model.device
    policy.set_training_mode(False)
    rollout_buffer.reset()
    callback.on_rollout_start()
    if model.use_sde:
        policy.reset_noise(env.num_envs)
    callback.update_locals(
        {"self": model, "env": model.env, "callback": callback, "rollout_buffer": rollout_buffer}
        | {"n_rollout_steps": n_rollout_steps}
    )
    obs, dones = (
        torch.as_tensor(array, device=device)
        for array in (model._last_obs, model._last_episode_starts)
    )
    to_env = bounded_actions(policy)
    judged: list[tuple[Tensor, Tensor]] = []
    ended: list[tuple[Tensor, Tensor, Tensor]] = []
    try:
        for n_steps in range(n_rollout_steps):
            if model.use_sde and model.sde_sample_freq > 0 and n_steps % model.sde_sample_freq == 0:
                policy.reset_noise(env.num_envs)
            obs_tensor = obs.float()
            with torch.no_grad():
                actions, values, log_probs = forward.act(obs_tensor)
                clipped = to_env(actions)
            new_obs, rewards, terminated, truncated, info = env.step(clipped.to(env.device))
            obs, dones = new_obs.to(device), info["_final_obs"]
            model.num_timesteps += env.num_envs
            callback.update_locals(
                {
                    "n_steps": n_steps,
                    "obs_tensor": obs_tensor,
                    "values": values,
                    "log_probs": log_probs,
                    "actions": as_array(actions),
                    "clipped_actions": as_array(clipped),
                    "new_obs": as_array(new_obs),
                    "rewards": as_array(rewards),
                    "dones": as_array(dones),
                    "infos": StepInfos(terminated, info),
                }
            )
            if not callback.on_step():
                return False
            rollout_buffer.add(
                obs_tensor, actions, rewards, terminated, truncated, info["final_obs"]
            )
            ended.append((dones, info["episode_return"], info["episode_length"]))
            if values is not None and log_probs is not None:
                judged.append((values, log_probs))
    finally:
        _leave(model, obs, dones, ended)
    check_env(env)
    rollout_buffer.stack()
    with torch.no_grad():
        _fill_values(rollout_buffer, forward, judged)
        rollout_buffer.last_values = forward.values(obs.float())
    callback.on_rollout_end()
    return True


def bounded_actions(policy: ActorCriticPolicy) -> Callable[[Tensor], Tensor]:
    """Return the map from a policy's actions to the environment's unit and bounds."""
    space = policy.action_space
    assert isinstance(space, spaces.Box)
    low, high = (
        torch.as_tensor(bound, dtype=torch.float32, device=policy.device)
        for bound in (space.low, space.high)
    )
    if policy.squash_output:  # from [-1, 1]
        return lambda actions: low + 0.5 * (actions + 1.0) * (high - low)
    return lambda actions: actions.clamp(low, high)


def _leave(
    model: PPO, obs: Tensor, dones: Tensor, ended: list[tuple[Tensor, Tensor, Tensor]]
) -> None:
    """Leave the environments' state and the last ended episodes where SB3 keeps them.

    Args:
        model: Gets them, in SB3's form.
        obs: What the policy is to see next, ``(N, obs_dim)``.
        dones: Whether that begins an episode, ``(N,)``.
        ended: Of each step: where episodes ended, their returns and lengths so far, ``(N,)``.
    """
    model._last_obs = obs.cpu().numpy()
    model._last_episode_starts = dones.cpu().numpy()
    if not ended:
        return
    assert model.ep_info_buffer is not None
    masks, *totals = (torch.stack(column).flatten() for column in zip(*ended, strict=True))
    last = masks.nonzero()[-(model.ep_info_buffer.maxlen or 0) :, 0]  # no more than are averaged
    seconds = round(time.time() - model.start_time / 1e9, 6)
    for r, length in zip(*(column[last].tolist() for column in totals), strict=True):
        model.ep_info_buffer.append({"r": round(r, 6), "l": length, "t": seconds})


def _fill_values(
    buffer: TensorRolloutBuffer, forward: PolicyForward, judged: list[tuple[Tensor, Tensor]]
) -> None:
    """Put values and log-probabilities ``(T, N)`` into the buffer, in one batch if not known."""
    if judged:
        values, log_probs = (torch.stack(column) for column in zip(*judged, strict=True))
    else:
        flat = forward.prepare(buffer.observations.flatten(0, 1))
        values, log_probs = forward.judge(flat, buffer.actions.flatten(0, 1))
    buffer.values = values.view(buffer.rewards.shape)
    buffer.log_probs = log_probs.view(buffer.rewards.shape)
