"""One step of the GPU backend against one of the CPU backend, from the same states."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from envs.cpu.env import CpuEnv
from envs.definition import Definition
from envs.warp.env import WarpEnv


def actions_for(env: WarpEnv, seed: int) -> Tensor:
    """Return actions in [-1, 1) on the environment's device."""
    generator = torch.Generator().manual_seed(seed)
    shape = (env.num_envs, *env.single_action_space.shape)
    return (2 * torch.rand(shape, generator=generator) - 1).to(env.device)


def on_host(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a step returned, on the host."""
    *tensors, info = result
    return *(tensor.cpu() for tensor in tensors), {k: v.cpu() for k, v in info.items()}


def set_state(env: WarpEnv, cpu: CpuEnv, model: mujoco.MjModel) -> None:
    """Put the state of a CPU batch into a warp one."""
    for name, field in vars(env._physics.fields).items():
        field.copy_(torch.from_numpy(np.array(getattr(cpu._fields, name))))
    start = mujoco.mj_stateSize(model, int(mujoco.mjtState.mjSTATE_WARMSTART) - 1)
    warmstart = cpu._batch.state[:, start : start + model.nv]
    env._physics.warmstart.copy_(torch.from_numpy(warmstart))
    env._core.length.copy_(torch.from_numpy(cpu._length))


def one_step_errors(
    definition: Definition, env: WarpEnv, rounds: int = 8
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Step both backends from the same states, met in random play every third step.

    Returns:
        The 99th percentile over all pairs of the largest error in ``qpos``, ``obs`` (without
        contact forces), ``forces``, ``reward`` and its named ``terms``; terminations of warp and
        of the CPU.
    """
    num_envs = env.num_envs
    cpu = CpuEnv(definition, num_envs)
    cpu.reset()
    env.reset()
    space, rng = cpu.single_action_space, np.random.default_rng(0)
    errors: dict[str, list[np.ndarray]] = {"qpos": [], "obs": [], "forces": [], "reward": []}
    ends = []

    def act() -> np.ndarray:
        return rng.uniform(space.low, space.high, (num_envs, *space.shape)).astype(np.float32)

    forces = 6 * (definition.model.nbody - 1) if "cfrc_ext" in definition.task.derived else 0
    for _ in range(rounds):
        for _ in range(3):
            cpu.step(act())
        set_state(env, cpu, definition.model)
        actions = act()
        _, reward, terminated, truncated, info = cpu.step(actions)
        _, w_reward, w_terminated, w_truncated, w_info = on_host(env.step(actions))
        assert torch.equal(truncated, w_truncated)
        ends.append((w_terminated.numpy(), terminated.numpy()))
        going = ~(terminated | truncated | w_terminated).numpy()
        qpos = np.abs(env._physics.fields.qpos.cpu().numpy() - cpu._fields.qpos)[going]
        apart = (w_info["final_obs"] - info["final_obs"]).abs().numpy()
        split = apart.shape[1] - forces
        errors["qpos"].append(qpos.max(-1))
        errors["obs"].append(apart[:, :split].max(-1))
        errors["forces"].append(apart[:, split:].max(-1, initial=0.0))
        errors["reward"].append((w_reward - reward).abs().numpy())
        for name in w_info.keys() - {"final_obs", "_final_obs"}:
            if not name.startswith("episode_"):  # totals begin where each backend began
                term = (w_info[name] - info[name]).abs().reshape(num_envs, -1)
                errors.setdefault("terms", []).append(term.amax(-1).numpy())
    assert env.diverged == env.overflowed == 0
    mine, theirs = (np.concatenate(side) for side in zip(*ends, strict=True))
    p99 = {name: float(np.quantile(np.concatenate(e), 0.99)) for name, e in errors.items()}
    return p99, mine, theirs


def within(p99: dict[str, float]) -> bool:
    return p99["qpos"] <= 1e-5 and p99["obs"] <= 1e-3 and p99["reward"] <= 1e-4
