"""The batch on the CPU as an object: threads, seeds, saved states, wrong inputs, its end."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import textwrap
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import envs
from envs.cpu import mjbatch
from envs.cpu.env import CpuEnv
from envs.tasks import GYMNASIUM_TASKS
from l2l_gail.errors import InputError
from l2l_gail.mujoco_warnings import without_mujoco_warnings
from tests.envs.support import EACH_KIND, Originals, outcomes, random_actions, same, same_bits

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")


@pytest.mark.parametrize("env_id", EACH_KIND)
def test_the_number_of_threads_changes_nothing(env_id: str) -> None:
    found = []
    for threads in (1, 2, 3):
        with envs.make(env_id, 7, "cpu", 3, num_threads=threads, max_episode_steps=25) as env:
            actions = random_actions(env.single_action_space, 60, 7, seed=0)
            found.append([env.reset()[0], *outcomes(env, actions)])
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_the_same_seed_gives_the_same_trajectories_and_another_does_not() -> None:
    actions = np.zeros((30, 4, 3), dtype=np.float32)
    first, second, third = (envs.make("Hopper-v5", 4, "cpu", seed) for seed in (5, 5, 6))
    starts = [env.reset()[0] for env in (first, second, third)]
    assert same_bits(starts[0], starts[1])
    assert same_bits(starts[0][1:], starts[2][:-1])  # environment i begins with seed + i
    assert not same_bits(starts[0], starts[2])
    assert same(outcomes(first, actions), outcomes(second, actions))


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Pusher-v5", "Ant-v4"])
def test_later_resets_go_on_with_each_generator_as_gymnasiums_do(env_id: str) -> None:
    originals, env = Originals(env_id, 3), envs.make(env_id, 3, "cpu", seed=11)
    assert same_bits(env.reset()[0], originals.reset(11)[0])
    for action in random_actions(env.single_action_space, 30, 3, seed=0):
        assert same_bits(env.step(action)[0], originals.step(action).obs)
    obs, info = env.reset()
    theirs, infos = originals.reset()
    assert same_bits(obs, theirs)
    assert all(same_bits(info[k], np.stack([i[k] for i in infos])) for k in info)
    assert same_bits(env.reset(seed=4)[0], originals.reset(4)[0])
    info = env.step(np.zeros((3, *env.single_action_space.shape)))[4]
    assert info["episode_length"].tolist() == [1, 1, 1]


def test_a_list_of_seeds_seeds_each_environment() -> None:
    env, originals = envs.make("Hopper-v5", 3, "cpu"), Originals("Hopper-v5", 3)
    env.reset()
    originals.reset(0)
    obs, _ = env.reset(seed=[9, None, 4])
    theirs = [e.reset(seed=s)[0] for e, s in zip(originals.envs, [9, None, 4], strict=True)]
    assert same_bits(obs, np.stack(theirs))
    with pytest.raises(InputError, match="2 seeds for 3 environments"):
        env.reset(seed=[1, 2])


def test_nothing_that_was_returned_is_overwritten() -> None:
    env = envs.make("Humanoid-v5", 3, "cpu", max_episode_steps=4)
    obs, reset_info = env.reset()
    results: list[Tensor] = [obs, *reset_info.values()]
    kept = [tensor.clone() for tensor in results]
    for action in random_actions(env.single_action_space, 20, 3, seed=0):
        *tensors, info = env.step(action)
        returned = [*tensors, *info.values()]
        assert len({tensor.data_ptr() for tensor in returned}) == len(returned)
        results += returned
        kept += [tensor.clone() for tensor in returned]
    assert same(results, kept)


@pytest.mark.parametrize("env_id", EACH_KIND)
def test_a_saved_state_continues_exactly_in_another_environment(
    env_id: str, tmp_path: Path
) -> None:
    limit = {"max_episode_steps": 30}
    env = envs.make(env_id, 5, "cpu", 3, **limit)
    actions = random_actions(env.single_action_space, 80, 5, seed=0)
    env.reset()
    obs = [env.step(action)[0] for action in actions[:23]][-1]
    torch.save(env.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)

    another = envs.make(env_id, 5, "cpu", 99, num_threads=2, **limit)
    assert same_bits(another.load_state_dict(state), obs)
    again = envs.make(env_id, 5, "cpu", 98, **limit)  # saved before a step was taken
    assert same_bits(again.load_state_dict(another.state_dict()), obs)
    expected = outcomes(env, actions[23:])
    assert same(outcomes(another, actions[23:]), expected)
    assert same(outcomes(again, actions[23:]), expected)
    assert same_bits(another.reset()[0], env.reset()[0])
    assert same_bits(another.load_state_dict(state), obs)
    assert same(outcomes(another, actions[23:]), expected)


@pytest.mark.parametrize("huge", [1e12, float("nan")])
@pytest.mark.parametrize("env_id", ["Ant-v5", "HalfCheetah-v5", "Hopper-v5"])
def test_what_diverges_is_counted_and_does_as_gymnasiums(env_id: str, huge: float) -> None:
    """MuJoCo puts it back to the default pose within the step, and the episode goes on."""
    originals = Originals(env_id, 3, max_episode_steps=6)
    env = envs.make(env_id, 3, "cpu", num_threads=2, max_episode_steps=6)
    assert isinstance(env, CpuEnv)
    originals.reset(0)
    env.reset()
    counts = []
    with without_mujoco_warnings():
        for t, action in enumerate(random_actions(env.single_action_space, 14, 3, seed=0)):
            if t in (2, 4, 9):
                env._batch.field("qvel")[1] = huge
                originals.envs[1].unwrapped.data.qvel[:] = huge  # type: ignore[attr-defined]
            step = originals.step(action)
            obs, reward, terminated, truncated, info = env.step(action)
            assert same_bits(obs, step.obs)
            assert same_bits(reward, step.reward)
            assert same_bits(terminated, step.terminated)
            assert same_bits(truncated, step.truncated)
            assert same_bits(info["final_obs"], step.final_obs)
            counts.append(env.diverged)
    assert counts == [0, 0, 1, 1, *[2] * 5, *[3] * 5]
    with pytest.warns(RuntimeWarning, match=r"states that were not finite or huge \(3\)"):
        env.check()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.check()  # once is enough


def test_gradients_and_other_types_of_actions_are_taken() -> None:
    env, other = envs.make("Hopper-v5", 2, "cpu"), envs.make("Hopper-v5", 2, "cpu")
    env.reset()
    other.reset()
    with_gradient = torch.ones(2, 3, requires_grad=True) * 0.5
    assert same_bits(env.step(with_gradient)[1], other.step(np.full((2, 3), 0.5, np.float32))[1])
    whole: Any = [[1, 0, -1], [0, 0, 1]]
    assert same_bits(env.step(np.array(whole))[1], other.step(torch.tensor(whole).float())[1])


def test_what_was_returned_outlives_the_environment() -> None:
    env = envs.make("Humanoid-v5", 3, "cpu", num_threads=2)
    env.reset()
    *tensors, info = env.step(np.zeros((3, 17), np.float32))
    results = [*tensors, *info.values(), *env.reset_info.values()]
    kept = [tensor.clone() for tensor in results]
    env.close()
    others = [envs.make("Humanoid-v5", 3, "cpu", seed=9) for _ in range(3)]
    for other in others:
        other.reset()
    assert same(results, kept)


def test_garbage_collection_frees_the_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    original = mjbatch._delete

    def delete(lib: Any, batch: int, owner: int) -> None:
        freed.append(batch)
        original(lib, batch, owner)

    monkeypatch.setattr(mjbatch, "_delete", delete)
    env = envs.make("Ant-v5", 20, "cpu", num_threads=3)
    env.reset()
    alive = weakref.ref(env)
    del env
    gc.collect()
    assert alive() is None
    assert len(freed) == 1
    with envs.make("Hopper-v5", 2, "cpu") as env:
        env.reset()
    assert len(freed) == 2
    env.close()
    del env
    gc.collect()
    assert len(freed) == 2


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_gets_one_line_and_ends() -> None:
    script = """
        import gc, os, sys
        import numpy as np
        import envs

        env = envs.make("Ant-v5", 32, "cpu", num_threads=3)
        forgotten = envs.make("Hopper-v5", 32, "cpu", num_threads=3)
        actions = np.zeros((32, 8), np.float32)
        env.reset()
        forgotten.reset()
        env.step(actions)
        child = os.fork()
        if child == 0:
            for use in (lambda: env.step(actions), env.reset, env.state_dict):
                try:
                    use()
                except RuntimeError as error:
                    print("child:", error, flush=True)
            del forgotten
            gc.collect()
            own = envs.make("Ant-v5", 32, "cpu", num_threads=3)
            own.reset()
            own.step(actions)
            print("child: its own step", flush=True)
            env.close()
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        env.step(actions)
        print("parent: ended with", os.waitstatus_to_exitcode(status))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    line = "child: Ant-v5: a forked process cannot step the environments of its parent; make them "
    assert done.stdout.splitlines() == [
        *[f"{line}in the process that steps them"] * 3,
        "child: its own step",
        "parent: ended with 7",
    ], done.stderr


def test_it_says_what_it_is() -> None:
    env = envs.make("Hopper-v5", 3, "cpu", num_threads=2)
    assert repr(env) == "CpuEnv('Hopper-v5', num_envs=3, device='cpu')"
    assert env.place == "the CPU, 2 threads"
    assert env.device == torch.device("cpu")
    assert env.dtype == torch.float64
    assert envs.make("Hopper-v5", 3, "cpu:0").place == "the CPU, 1 thread"


def test_no_time_limit_is_no_time_limit() -> None:
    env = envs.make("HalfCheetah-v5", 2, "cpu", max_episode_steps=-1, frame_skip=1)
    env.reset()
    for _ in range(1_010):
        _, _, terminated, truncated, info = env.step(np.zeros((2, 6), np.float32))
        assert not (terminated | truncated).any()
    assert info["episode_length"].tolist() == [1_010, 1_010]


def test_the_guide_runs_and_its_table_is_true() -> None:
    """Every example in docs/environments.md runs, and its table of tasks says what there is."""
    text = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 3
    for example in examples:
        exec(compile(example, "environments.md", "exec"), {})
    rows = re.findall(
        r"^\| (\w+) \| (v[45, v]+) \| ([\d, ]+) \| (\d+) \| (\d+) \| (\w+) \|$", text, re.M
    )
    found = set()
    for name, versions, widths, actions, limit, _ in rows:
        sizes = widths.split(", ")
        for i, version in enumerate(versions.split(", ")):
            with envs.make(f"{name}-{version}", 1, "cpu") as env:
                assert env.single_observation_space.shape == (int(sizes[min(i, len(sizes) - 1)]),)
                assert env.single_action_space.shape == (int(actions),)
                assert env.max_episode_steps == int(limit)
                found.add(env.env_id)
    assert found == GYMNASIUM_TASKS


def test_no_seed_is_another_one_each_time() -> None:
    first, second = (envs.make("Hopper-v5", 1, torch.device("cpu"), None) for _ in range(2))
    assert not same_bits(first.reset()[0], second.reset()[0])


def test_infos_of_resets_and_steps_are_each_their_own() -> None:
    env = envs.make("Humanoid-v4", 2, "cpu", max_episode_steps=2)
    env.reset()
    zeros = np.zeros((2, 17), dtype=np.float32)
    env.step(zeros)
    kept = envs.make("Hopper-v5", 2, "cpu", max_episode_steps=1)
    kept.reset()
    held = kept.reset_info
    copies = {name: value.clone() for name, value in held.items()}
    kept.step(np.zeros((2, 3), dtype=np.float32))
    assert copies
    assert all(same_bits(held[name], value) for name, value in copies.items())
    info = env.step(zeros)[4]
    places = [value.data_ptr() for value in info.values() if value.numel()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int64])
def test_actions_of_other_real_types_are_taken_as_float32(dtype: torch.dtype) -> None:
    env, other = (envs.make("Hopper-v5", 2, "cpu") for _ in range(2))
    env.reset()
    other.reset()
    actions = torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, 1.0]])
    assert same_bits(env.step(actions.to(dtype))[0], other.step(actions)[0])
    with pytest.raises(InputError, match="actions must be real numbers, not complex64"):
        env.step(actions.to(torch.complex64))


@pytest.mark.parametrize("env_id", ["Hopper-v5", "HalfCheetah-v5"])
def test_torchs_default_device_changes_nothing(env_id: str) -> None:
    found = []
    for device in ("cpu", "meta"):
        with torch.device(device), envs.make(env_id, 2, "cpu", 0) as env:
            found.append(
                [env.reset()[0], *env.step(np.zeros((2, env.single_action_space.shape[0])))[:4]]
            )
    assert same(*found)


def test_a_state_of_arguments_in_numbers_of_numpy_is_plain(tmp_path: Path) -> None:
    kwargs = {"ctrl_cost_weight": np.float64(0.1), "healthy_z_range": (np.float32(0.5), 2.0)}
    with envs.make("Hopper-v5", 2, "cpu", 0, **kwargs) as env:
        env.reset()
        torch.save(env.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    with envs.make(
        "Hopper-v5", 2, "cpu", 0, ctrl_cost_weight=0.1, healthy_z_range=[0.5, 2.0]
    ) as env:
        assert torch.equal(env.load_state_dict(state), state["obs"])
        before = env.step(np.zeros((2, 3), np.float32))[0]
        env.load_state_dict(state)
        del state["generators"]
        with pytest.raises(InputError, match="the saved state lacks generators"):
            env.load_state_dict(state)
        assert torch.equal(env.step(np.zeros((2, 3), np.float32))[0], before)
