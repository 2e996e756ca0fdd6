"""Collecting a rollout from a tensor environment: SB3's loop without leaving the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.ppo import PPO
from torch import Tensor

from l2l_gail.observations import map_parts
from l2l_gail.ppo.buffer import TensorRolloutBuffer
from l2l_gail.ppo.env import TensorEnv, report_broken
from l2l_gail.ppo.forward import PolicyForward
from l2l_gail.ppo.from_vec_env import FromVecEnv
from l2l_gail.ppo.infos import StepInfos
from l2l_gail.ppo.lazy_array import as_array
from l2l_gail.ppo.observations import TensorObservations, as_tensors, network_input, to_numpy

__all__ = ["collect", "environment_actions", "unscaled"]


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
    ``None`` where they are computed in one batch after the last step, as for ``"MlpPolicy"`` on
    tensors. ``rollout_buffer`` has no content before the last step is taken. ``_last_obs`` and
    ``_last_episode_starts`` are brought up to date after the last step, and so is
    ``ep_info_buffer``, unless the environments are those of a ``VecEnv``, whose infos are read at
    every step; an exception on the way, Ctrl-C included, leaves them where the environments stand.

    ``on_rollout_end`` is left to the caller, who may replace the rewards first.

    Returns:
        False if a callback asked to stop.
    """
    assert model._last_obs is not None
    assert model._last_episode_starts is not None
    policy, device = model.policy, model.device
    policy.set_training_mode(False)
    rollout_buffer.reset()
    callback.on_rollout_start()
    if (
        model.use_sde
    ):  # not before: a training resumed from a checkpoint of the callback draws it too
        policy.reset_noise(env.num_envs)
    callback.update_locals(
        {"self": model, "env": model.env, "callback": callback, "rollout_buffer": rollout_buffer}
        | {"n_rollout_steps": n_rollout_steps}
    )
    obs = as_tensors(model._last_obs, device)
    dones = torch.as_tensor(model._last_episode_starts, device=device)
    to_environment = environment_actions(policy)
    evaluated: list[tuple[Tensor, Tensor]] = []
    ended: list[tuple[Tensor, Tensor, Tensor]] = []
    try:
        for n_steps in range(n_rollout_steps):
            if model.use_sde and model.sde_sample_freq > 0 and n_steps % model.sde_sample_freq == 0:
                policy.reset_noise(env.num_envs)
            obs_tensor = network_input(obs)
            with torch.no_grad():
                actions, values, log_probs = forward.act(obs_tensor)
                clipped = to_environment(actions)
            new_obs, rewards, terminated, truncated, info = env.step(clipped.to(env.device))
            obs, dones = as_tensors(new_obs, device), info["_final_obs"]
            model.num_timesteps += env.num_envs
            infos = env.infos if isinstance(env, FromVecEnv) else StepInfos(terminated, info)
            callback.update_locals(
                {
                    "n_steps": n_steps,
                    "obs_tensor": obs_tensor,
                    "values": values,
                    "log_probs": log_probs,
                    "actions": as_array(actions),
                    "clipped_actions": as_array(clipped),
                    "new_obs": map_parts(as_array, new_obs),
                    "rewards": as_array(rewards),
                    "dones": as_array(dones),
                    "infos": infos,
                }
            )
            if not callback.on_step():
                return False
            if isinstance(infos, list):  # a VecEnv's own, which say of episodes what they will
                model._update_info_buffer(infos, dones.numpy())
            else:
                ended.append((dones, info["episode_return"], info["episode_length"]))
            rollout_buffer.add(
                obs_tensor, actions, rewards, terminated, truncated, info["final_obs"]
            )
            if values is not None and log_probs is not None:
                evaluated.append((values, log_probs))
    finally:
        _leave(model, obs, dones, ended)
    report_broken(env)
    rollout_buffer.stack()
    with torch.no_grad():
        _fill_values(rollout_buffer, forward, evaluated)
        rollout_buffer.last_values = forward.values(network_input(obs))
    return True


def environment_actions(policy: ActorCriticPolicy) -> Callable[[Tensor], Tensor]:
    """Return the map from a policy's actions to the environment's unit and bounds.

    Actions that are no ``Box``'s are the environment's as they are.
    """
    space = policy.action_space
    if not isinstance(space, spaces.Box):
        return lambda actions: actions
    # Bounds that float32 rounds would let actions leave the space, so that they become what numpy
    # makes of both, in SB3 as well.
    wide = np.result_type(np.float32, space.dtype) == np.float64
    low, high = (
        torch.as_tensor(bound, device=policy.device).to(torch.float64 if wide else torch.float32)
        for bound in (space.low, space.high)
    )
    if policy.squash_output:  # from [-1, 1]
        return lambda actions: unscaled(actions, low, high)
    return lambda actions: actions.clamp(low, high)


def unscaled(actions: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return actions in [-1, 1], as squashed policies draw them, in the environment's unit."""
    return low + 0.5 * (actions + 1.0) * (high - low)


def _leave(
    model: PPO,
    obs: TensorObservations,
    dones: Tensor,
    ended: Sequence[tuple[Tensor, Tensor, Tensor]],
) -> None:
    """Leave the environments' state and the last ended episodes where SB3 keeps them.

    Args:
        model: Gets them, in SB3's form.
        obs: What the policy is to see next, ``(N, ...)``.
        dones: Whether that begins an episode, ``(N,)``.
        ended: Of each step: where episodes ended, their returns and lengths so far, ``(N,)``.
    """
    model._last_obs = map_parts(to_numpy, obs)
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
    buffer: TensorRolloutBuffer, forward: PolicyForward, evaluated: list[tuple[Tensor, Tensor]]
) -> None:
    """Put values and log-probabilities ``(T, N)`` into the buffer, in one batch if not known."""
    if evaluated:
        values, log_probs = (torch.stack(column) for column in zip(*evaluated, strict=True))
    else:
        prepared = forward.prepare(map_parts(lambda x: x.flatten(0, 1), buffer.observations))
        values, log_probs = forward.evaluate(prepared, buffer.actions.flatten(0, 1))
    buffer.values = values.view(buffer.rewards.shape)
    buffer.log_probs = log_probs.view(buffer.rewards.shape)
