"""A task of a user's own on the GPU backend, run on warp's CPU device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest
import torch

import envs
from envs.definition import define
from tests.envs.own_task import MODEL, Puck
from tests.envs.warp.support import make
from tests.envs.warp.teacher import one_step_errors, within

pytest.importorskip("mujoco_warp", reason="needs the gpu extra")


@pytest.fixture
def puck(tmp_path: Path) -> Iterator[str]:
    xml = tmp_path / "puck.xml"
    xml.write_text(MODEL)
    envs.register_task("Puck-v0", Puck, xml, max_episode_steps=40)
    yield "Puck-v0"
    del envs.TASKS["Puck-v0"], gymnasium.registry["Puck-v0"]


@pytest.mark.slow
def test_one_step_is_that_of_the_cpu_backend(puck: str) -> None:
    definition = define(puck, {})
    env = make(puck, num_envs=16, definition=definition)
    assert (env._physics.nconmax, env._physics.njmax) == (8, 24)
    p99, ends, true_ends = one_step_errors(definition, env, rounds=4)
    assert within(p99), p99
    assert (ends == true_ends).all()


@pytest.mark.slow
def test_episodes_end_and_begin_as_the_task_says(puck: str) -> None:
    env = make(puck, num_envs=8)
    env.reset()
    heights, ends = [], 0
    for _ in range(90):
        obs, _, terminated, truncated, info = env.step(torch.ones(8, 1))
        ended = info["_final_obs"]
        assert torch.equal(terminated, info["height"] < 0.2)
        assert torch.equal(truncated, info["episode_length"] >= 40)
        assert torch.isfinite(obs).all()
        heights.append(env.reset_info["height"][ended])
        ends += int(ended.sum())
    assert ends > 8
    assert (torch.cat(heights) > 0.2).all()
    assert env.diverged == env.overflowed == 0
