"""Every task on the CPU against ``gymnasium.make``: the same seeds and actions, the same bits.

With v4 as with v5, with default and with other arguments, over 4,000 steps and at least 100 ends of
episodes each; the terms of the infos by name, type and value, and those of the resets too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from torch import Tensor

import envs
from envs.batched import BatchedEnv
from envs.tasks import GYMNASIUM_TASKS
from tests.envs.support import Originals, Step, random_actions, same_bits
from tests.marks import slow

_OWN = {"final_obs", "_final_obs", "episode_return", "episode_length"}
_SEED = 7

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")


@dataclass(frozen=True)
class Case:
    """A task, how long it is compared, and how many ends that must bring at least."""

    env_id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    num_envs: int = 2
    steps: int = 2_000
    ends: int = 100
    terminations: int = 0
    note: str = ""

    def __str__(self) -> str:
        return f"{self.env_id}{self.note and '-' + self.note}"


def falling(env_id: str) -> Case:
    """A task whose episodes end by themselves under random actions."""
    return Case(env_id, terminations=100)


def cut(env_id: str, steps: int, **kwargs: Any) -> Case:
    """A task whose episodes are cut after some steps."""
    return Case(env_id, {"max_episode_steps": steps, **kwargs})


DEFAULTS = [
    cut("Ant-v4", 45),
    cut("Ant-v5", 45),
    cut("HalfCheetah-v4", 35),
    cut("HalfCheetah-v5", 35),
    falling("Hopper-v4"),
    falling("Hopper-v5"),
    falling("Humanoid-v4"),
    falling("Humanoid-v5"),
    falling("InvertedDoublePendulum-v4"),
    falling("InvertedDoublePendulum-v5"),
    falling("InvertedPendulum-v4"),
    falling("InvertedPendulum-v5"),
    cut("Pusher-v5", 35),
    Case("Reacher-v4", num_envs=3),
    Case("Reacher-v5", num_envs=3),
    cut("Swimmer-v4", 35),
    cut("Swimmer-v5", 35),
    falling("Walker2d-v4"),
    falling("Walker2d-v5"),
]

_SEEN = {"exclude_current_positions_from_observation": False}


def other(env_id: str, note: str, ends: int = 5, steps: int = 300, **kwargs: Any) -> Case:
    """A task with other arguments than by default, for a shorter while."""
    return Case(env_id, kwargs, steps=steps, ends=ends, note=note)


OTHERS = [
    # In a large batch numpy could add up in another order than in a small one: it must not.
    *(
        Case(env_id, num_envs=40, steps=60, ends=ends, note="many")
        for env_id, ends in (
            ("Ant-v5", 5),
            ("Humanoid-v5", 40),
            ("InvertedDoublePendulum-v5", 40),
            ("Reacher-v4", 40),
        )
    ),
    Case("HalfCheetah-v5", num_envs=1, steps=2_001, ends=2, note="time limit of 1000"),
    other("Pusher-v5", "time limit of 100", ends=4),
    other(
        "Ant-v5",
        "weights",
        xml_file="ant.xml",
        frame_skip=3,
        forward_reward_weight=1.3,
        ctrl_cost_weight=0.07,
        contact_cost_weight=0.011,
        healthy_reward=0.3,
        main_body="aux_1",
        healthy_z_range=(0.3, 0.9),
        contact_force_range=(-0.7, 2.1),
        reset_noise_scale=0.2,
        max_episode_steps=60,
        **_SEEN,
    ),
    other("Ant-v5", "blind", include_cfrc_ext_in_observation=False, main_body=4),
    other("Ant-v4", "contacts", use_contact_forces=True, contact_cost_weight=0.013, **_SEEN),
    other("Ant-v4", "endless", terminate_when_unhealthy=False, max_episode_steps=90),
    other("HalfCheetah-v4", "weights", ctrl_cost_weight=0.3, max_episode_steps=40, **_SEEN),
    other(
        "HalfCheetah-v5",
        "weights",
        frame_skip=4,
        forward_reward_weight=0.7,
        ctrl_cost_weight=0.3,
        reset_noise_scale=0.3,
        max_episode_steps=40,
        **_SEEN,
    ),
    other(
        "Hopper-v5",
        "weights",
        frame_skip=5,
        forward_reward_weight=1.7,
        ctrl_cost_weight=0.02,
        healthy_reward=0.3,
        healthy_state_range=(-3.0, 2.5),
        healthy_z_range=(0.8, 1.26),
        healthy_angle_range=(-0.1, 0.15),
        reset_noise_scale=0.02,
        **_SEEN,
    ),
    other("Hopper-v4", "endless", terminate_when_unhealthy=False, max_episode_steps=40),
    other("Hopper-v5", "endless", terminate_when_unhealthy=False, max_episode_steps=40),
    other(
        "Humanoid-v5",
        "weights",
        frame_skip=4,
        forward_reward_weight=1.1,
        ctrl_cost_weight=0.3,
        contact_cost_weight=3e-4,
        contact_cost_range=(0.01, 2.0),
        healthy_reward=2.3,
        healthy_z_range=(1.2, 1.9),
        reset_noise_scale=0.02,
        **_SEEN,
    ),
    other(
        "Humanoid-v5",
        "no inertias",
        include_cinert_in_observation=False,
        include_qfrc_actuator_in_observation=False,
    ),
    other(
        "Humanoid-v5",
        "no forces",
        include_cvel_in_observation=False,
        include_cfrc_ext_in_observation=False,
    ),
    other("Humanoid-v4", "weights", ctrl_cost_weight=0.3, healthy_z_range=(1.2, 1.9), **_SEEN),
    other("InvertedPendulum-v5", "weights", frame_skip=3, reset_noise_scale=0.1),
    other(
        "InvertedDoublePendulum-v5",
        "weights",
        frame_skip=4,
        healthy_reward=7.3,
        reset_noise_scale=0.05,
    ),
    other(
        "Pusher-v5",
        "weights",
        frame_skip=4,
        reward_near_weight=0.7,
        reward_dist_weight=1.3,
        reward_control_weight=0.3,
        max_episode_steps=40,
    ),
    other("Reacher-v5", "weights", frame_skip=3, reward_dist_weight=1.3, reward_control_weight=0.3),
    other("Swimmer-v4", "weights", ctrl_cost_weight=0.3, max_episode_steps=40, **_SEEN),
    other(
        "Swimmer-v5",
        "weights",
        frame_skip=5,
        forward_reward_weight=0.7,
        ctrl_cost_weight=0.3,
        reset_noise_scale=0.3,
        max_episode_steps=40,
        **_SEEN,
    ),
    other("Walker2d-v4", "endless", terminate_when_unhealthy=False, max_episode_steps=40, **_SEEN),
    other(
        "Walker2d-v5",
        "weights",
        xml_file="walker2d.xml",
        frame_skip=5,
        forward_reward_weight=1.7,
        ctrl_cost_weight=0.02,
        healthy_reward=0.3,
        healthy_z_range=(0.9, 1.4),
        healthy_angle_range=(-0.3, 0.4),
        reset_noise_scale=0.02,
        **_SEEN,
    ),
]


def test_every_task_is_compared() -> None:
    """No task is left out of the list, nor of those with other arguments."""
    assert [case.env_id for case in DEFAULTS] == sorted(GYMNASIUM_TASKS)
    assert {case.env_id.split("-")[0] for case in OTHERS if case.note == "weights"} == {
        env_id.split("-")[0] for env_id in GYMNASIUM_TASKS
    }


def shorter(case: Case) -> Case:
    """A fifth of the steps, and nearly as large a part of the ends."""
    ends, terminations = case.ends // 7, case.terminations // 7
    return replace(
        case, steps=case.steps // 5, ends=ends, terminations=terminations, note="shorter"
    )


OLDER = [case for case in DEFAULTS if case.env_id.endswith("-v4")]
CASES = [
    *(case for case in DEFAULTS if case not in OLDER),
    *(slow(case, id=str(case)) for case in OLDER),
    *map(shorter, OLDER),
    *OTHERS,
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_bits_as_gymnasium(case: Case) -> None:
    """All that reset and step return equals Gymnasium's, through ends and resets."""
    originals = Originals(case.env_id, case.num_envs, **case.kwargs)
    batch = envs.make(case.env_id, case.num_envs, "cpu", _SEED, **case.kwargs)
    actions = random_actions(batch.single_action_space, case.steps, case.num_envs, seed=1)
    ours, reset_info = batch.reset()
    theirs, infos = originals.reset(_SEED)
    assert same_bits(ours, theirs)
    assert same_terms(reset_info, infos)

    ended = terminated = 0
    totals, lengths = np.zeros(case.num_envs), np.zeros(case.num_envs, dtype=np.int64)
    for action in actions:
        step = originals.step(action)
        totals, lengths = totals + step.reward, lengths + 1
        done = step.terminated | step.truncated
        obs, reward, over, cut_off, info = batch.step(action)
        assert same_bits(obs, step.obs)
        assert same_bits(reward, step.reward)
        assert same_bits(over, step.terminated)
        assert same_bits(cut_off, step.truncated)
        assert same_bits(info["final_obs"], step.final_obs)
        assert same_bits(info["_final_obs"], done)
        assert same_bits(info["episode_return"], totals)
        assert same_bits(info["episode_length"], lengths)
        assert same_terms({k: v for k, v in info.items() if k not in _OWN}, step.infos)
        assert_same_resets(batch, step)
        totals[done], lengths[done] = 0.0, 0
        ended, terminated = ended + done.sum(), terminated + step.terminated.sum()
    assert ended >= case.ends
    assert terminated >= case.terminations
    assert batch.diverged == 0
    batch.close()
    originals.close()


@pytest.mark.parametrize("env_id", ["Ant-v5", "HalfCheetah-v5"])
@pytest.mark.parametrize("kind", ["float64", "columns", "torch"])
def test_same_bits_however_actions_are_given(env_id: str, kind: str) -> None:
    """Double precision counts in the control cost; how an array lies in memory does not."""
    originals, batch = Originals(env_id, 5), envs.make(env_id, 5, "cpu", _SEED)
    originals.reset(_SEED)
    batch.reset()
    for action in random_actions(batch.single_action_space, 50, 5, seed=2):
        given: Any = action.astype(np.float64) * 1.1 if kind == "float64" else action
        step = originals.step(given)
        if kind == "columns":
            given = np.asfortranarray(action)
        elif kind == "torch":
            given = Tensor(action.T.copy()).T
        obs, reward, _, _, info = batch.step(given)
        assert same_bits(obs, step.obs)
        assert same_bits(reward, step.reward)
        assert same_bits(info["reward_ctrl"], np.stack([i["reward_ctrl"] for i in step.infos]))


@pytest.mark.parametrize("env_id", sorted(GYMNASIUM_TASKS))
def test_spaces_and_limit_are_gymnasiums(env_id: str) -> None:
    """An environment of a batch has the spaces, the time limit and the id of the original."""
    original, batch = Originals(env_id, 1).envs[0], envs.make(env_id, 2, "cpu")
    assert batch.single_observation_space == original.observation_space
    assert batch.single_action_space == original.action_space
    assert batch.spec.id == env_id
    assert batch.max_episode_steps == gymnasium.spec(env_id).max_episode_steps
    obs, _ = batch.reset()
    assert tuple(obs.shape[1:]) == original.observation_space.shape


def same_terms(ours: dict[str, Tensor], theirs: list[dict[str, Any]]) -> bool:
    """Whether infos have the same names, and every row the same numbers of the same type."""
    assert all(set(ours) == set(info) for info in theirs)
    return all(same_bits(ours[k], np.stack([info[k] for info in theirs])) for k in ours)


def assert_same_resets(batch: BatchedEnv, step: Step) -> None:
    """The environments that began anew say of it what Gymnasium's do."""
    for i, info in step.reset_infos.items():
        assert set(batch.reset_info) == set(info)
        assert all(same_bits(batch.reset_info[k][i], v) for k, v in info.items())
