"""Policies that several tests read, save and record."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3 import DDPG, SAC, TD3
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from l2l_gail.demos.policy_file import MlpPolicy


def small_policy(obs_dim: int, act_dim: int, **settings: Any) -> MlpPolicy:
    rng = np.random.default_rng(1)
    return MlpPolicy(
        obs_mean=rng.normal(size=obs_dim),
        obs_std=rng.uniform(0.5, 2, size=obs_dim),
        weights=(rng.normal(size=(obs_dim, 8)), rng.normal(size=(8, act_dim))),
        biases=(rng.normal(size=8), rng.normal(size=act_dim)),
        **settings,
    )


def save_model(tmp_path: Path, algorithm: Any, **settings: Any) -> tuple[Any, Path]:
    """An untrained small model of Pendulum, saved by SB3."""
    settings.setdefault("policy_kwargs", {}).setdefault("net_arch", [16, 16])
    if algorithm in (SAC, TD3, DDPG):
        settings["buffer_size"] = 10
    model = algorithm("MlpPolicy", "Pendulum-v1", seed=0, device="cpu", **settings)
    # The initial last layer of PPO is so small that every action is about 0.
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.manual_seed(3)))
    model.save(tmp_path / "model.zip")
    return model, tmp_path / "model.zip"


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


class Doubling(BaseFeaturesExtractor):
    """An extractor without parameters: only its name in the file gives it away."""

    def __init__(self, observation_space: Box) -> None:
        super().__init__(observation_space, features_dim=3)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 2 * observations


def write_d4rl(path: Path, **changes: Any) -> Path:
    """As D4RL's scripts do: arrays of all steps, gzip, metadata in a group."""
    h5py = pytest.importorskip("h5py")
    states = np.arange(22, dtype=np.float32).reshape(11, 2)
    arrays = {
        "observations": states[:-1],
        "next_observations": states[1:],
        "actions": np.linspace(-1, 1, 10, dtype=np.float32)[:, None],
        "rewards": np.arange(10, dtype=np.float32),
        "terminals": np.arange(10) == 3,
        "timeouts": np.arange(10) == 7,
    } | changes
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array, compression="gzip")
        file.create_dataset("metadata/algorithm", data="SAC")
        file.create_dataset("infos/qpos", data=states)
    return path
