"""The GPU backend on warp's CPU device: the same code, without a GPU.

What compiles kernels is slow: about half a minute for the first task on a machine, a few seconds
for each other one.
"""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
import textwrap
import warnings
import weakref
from contextlib import nullcontext
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from torch import Tensor

from envs.cpu.env import CpuEnv
from envs.definition import Definition, define
from envs.tasks import GYMNASIUM_TASKS
from l2l_gail.errors import InputError
from tests.envs.warp.support import make
from tests.envs.warp.teacher import actions_for, one_step_errors, within
from tests.marks import slow

wp = pytest.importorskip("warp", reason="needs the gpu extra")
mjw = pytest.importorskip("mujoco_warp", reason="needs the gpu extra")
ROOT = Path(__file__).parents[3]


def test_resets_depend_on_seeds_and_go_on() -> None:
    first, second, other = make(seed=3), make(seed=3), make(seed=4)
    obs = first.reset()[0]
    assert torch.equal(obs, second.reset()[0])
    assert not torch.equal(obs, other.reset()[0])
    assert len({tuple(row) for row in obs.tolist()}) == 4  # no two worlds begin alike
    later = first.reset()[0]
    assert not torch.equal(obs, later)
    assert torch.equal(later, second.reset()[0])
    assert torch.equal(first.reset(seed=3)[0], obs)
    assert torch.equal(first.reset(seed=[3, 4, 5, 6])[0], obs)
    assert obs.dtype == torch.float32
    torch.testing.assert_close(obs[:, 0], torch.full((4,), 1.25), atol=5.1e-3, rtol=0)


def test_memory_is_shared_and_freed() -> None:
    env = make()
    env.reset()
    inside = env._physics._data.qpos.numpy()  # on the CPU a view too
    env._physics.fields.qpos[2, 1] = 0.75
    assert inside[2, 1] == 0.75


@pytest.mark.parametrize("steps", [0, slow(3)])
@pytest.mark.parametrize("closed", [True, False])
def test_nothing_of_the_worlds_waits_for_the_garbage_collector(steps: int, closed: bool) -> None:
    env = make()
    env.reset()
    for i in range(steps):  # the third is replayed
        env.step(actions_for(env, i))
    physics, core = env._physics, env._core
    held = [weakref.ref(part) for part in (physics, physics._data.qpos, core, env._runner)]
    del physics, core
    gc.disable()
    try:
        if closed:
            env.close()
        else:
            del env
        assert [part() is None for part in held] == [True] * 4
    finally:
        gc.enable()


def test_a_height_field_without_room_counts_and_a_tired_solver_does_not() -> None:
    bits = [bit for bit in mjw.OverflowType if int(bit).bit_count() == 1]
    physics = make(num_envs=len(bits))._physics
    assert not physics.take_overflow().any()
    physics._overflow.copy_(torch.tensor([int(bit) for bit in bits], dtype=torch.int32))
    dropped = [bits[i].name for i in torch.nonzero(physics.take_overflow()).flatten().tolist()]
    assert {"NEFC", "NARROWPHASE", "HFIELD"} <= set(dropped)
    assert not {"ITERATIONS", "LS_ITERATIONS", "TACTILE", "CONTACT_MATCH"} & set(dropped)
    assert not physics.take_overflow().any()


# Parity with the CPU backend, which is Gymnasium bit for bit.


def teach(definition: Definition, exact_frames: bool = True):
    env = make(num_envs=64, definition=definition)
    if not exact_frames:
        env._physics._frames = nullcontext
    return one_step_errors(definition, env)


@pytest.mark.slow
@pytest.mark.parametrize(
    "env_id",
    [
        "Hopper-v5",
        "HalfCheetah-v5",
        "Walker2d-v5",
        "Ant-v5",
        "InvertedPendulum-v5",
        "InvertedDoublePendulum-v5",
        "Swimmer-v5",
        "Reacher-v5",
        "Pusher-v5",
    ],
)
def test_one_step_is_mujocos_to_float32(env_id: str) -> None:
    p99, mine, theirs = teach(define(env_id, {}))
    assert within(p99), p99
    assert p99["forces"] <= 1e-3
    assert p99["terms"] <= 1e-4
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_one_step_of_humanoid_is_that_of_mujocos_newton() -> None:
    definition = define("Humanoid-v5", {})
    definition.model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    p99, mine, theirs = teach(definition)
    assert within(p99), p99
    assert p99["forces"] <= 0.1  # of hundreds of newtons
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_ant_needs_mujocos_contact_frames() -> None:
    p99, _, _ = teach(define("Ant-v5", {}), exact_frames=False)
    assert p99["obs"] > 0.1, "mujoco_warp takes MuJoCo's contact frames: warp_contact.py can go"
    assert not within(p99)


# What a step must do besides.


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_old_tensors_stay() -> None:
    limit = {"max_episode_steps": 15}
    first, second = (make("Ant-v5", 8, seed=5, kwargs=dict(limit)) for _ in range(2))
    assert torch.equal(first.reset()[0], second.reset()[0])
    held: list[tuple[Tensor, Tensor]] = []
    ended = 0
    for i in range(40):
        results = [env.step(actions_for(env, i)) for env in (first, second)]
        for mine, other in zip(*(r[:4] for r in results), strict=True):
            assert torch.equal(mine, other)
        info = results[0][4]
        ended += int(info["_final_obs"].sum())
        held += [(t, t.clone()) for t in (*results[0][:4], *info.values())]
    assert ended >= 16
    assert all(torch.equal(tensor, copied) for tensor, copied in held)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["Hopper-v5", "HalfCheetah-v5", "Ant-v5"])
def test_a_recorded_step_is_the_eager_one_bit_for_bit(env_id: str) -> None:
    limit = {"max_episode_steps": 7}
    recorded = make(env_id, 8, kwargs=dict(limit))
    eager = make(env_id, 8, kwargs=dict(limit), graph=False)
    assert torch.equal(recorded.reset()[0], eager.reset()[0])
    for i in range(30):
        results = [env.step(actions_for(env, i)) for env in (recorded, eager)]
        for mine, theirs in zip(*(r[:4] for r in results), strict=True):
            assert torch.equal(mine, theirs)
        assert all(torch.equal(results[0][4][k], v) for k, v in results[1][4].items())
    assert recorded._runner._launches
    assert not eager._runner._launches


@pytest.mark.slow
def test_a_saved_state_goes_on_bit_for_bit() -> None:
    env = make("Ant-v5", 4, seed=1)
    env.reset()
    for i in range(5):
        env.step(actions_for(env, i))
    state = copy.deepcopy(env.state_dict())
    expected = [env.step(actions_for(env, i)) for i in range(5, 40)]
    other = make("Ant-v5", 4, seed=2)
    assert torch.equal(other.load_state_dict(state), state["obs"])
    for i, step in enumerate(expected, start=5):
        again = other.step(actions_for(other, i))
        for mine, before in zip(again[:4], step[:4], strict=True):
            assert torch.equal(mine, before)
        assert torch.equal(again[4]["episode_return"], step[4]["episode_return"])
    with pytest.raises(InputError, match=r"of 4 x Ant-v5, on a GPU; this is 3 x Ant-v5"):
        make("Ant-v5", 3).load_state_dict(state)
    cpu = CpuEnv(define("Ant-v5", {}), 4)
    cpu.reset()
    with pytest.raises(InputError, match=r"of 4 x Ant-v5, on the CPU; this is 4 x Ant-v5 on a GPU"):
        other.load_state_dict(cpu.state_dict())


@pytest.mark.slow
def test_a_broken_world_is_reset_and_its_neighbours_do_not_notice() -> None:
    whole, broken = make("HalfCheetah-v5", 4), make("HalfCheetah-v5", 4)
    whole.reset()
    broken.reset()
    others = [0, 1, 3]
    for i in range(20):
        actions = actions_for(whole, i)
        if i == 5:
            broken._physics.fields.qvel[2, 3] = float("nan")
        expected, got = whole.step(actions), broken.step(actions)
        for mine, theirs in zip(got[:4], expected[:4], strict=True):
            assert torch.equal(mine[others], theirs[others])
        assert got[2].tolist() == [False, False, i == 5, False]
        assert torch.isfinite(got[0]).all()
        assert torch.isfinite(got[1]).all()
        if i > 5:
            assert got[0][2].abs().max() < 100
            assert got[4]["episode_length"].tolist() == [i + 1, i + 1, i - 5, i + 1]
    assert (whole.diverged, broken.diverged) == (0, 1)
    with pytest.warns(RuntimeWarning, match="1 environments were reset because their action or"):
        broken.check()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        broken.check()
        whole.check()


@pytest.mark.slow
@pytest.mark.parametrize("room", [{"njmax": 8}, {"nconmax": 1}])
def test_contacts_without_room_are_counted_and_said(room: dict[str, int]) -> None:
    env = make(kwargs={"terminate_when_unhealthy": False}, **room)
    env.reset()
    ended = 0
    for i in range(60):  # falls and lies
        _, reward, terminated, truncated, _ = env.step(actions_for(env, i))
        ended += int(truncated.sum())
        assert not terminated.any()
        assert not reward[truncated].any()
    assert env.overflowed == ended > 0
    assert env.diverged == 0
    with pytest.warns(RuntimeWarning, match="contacts had no room .*; raise nconmax .* and njmax"):
        env.check()
    roomy = make(kwargs={"terminate_when_unhealthy": False})
    roomy.reset()
    for i in range(60):
        assert not roomy.step(actions_for(roomy, i))[4]["_final_obs"].any()
    assert roomy.overflowed == 0


@pytest.mark.slow
def test_the_option_for_determinism_changes_no_number_on_the_cpu() -> None:
    plain, ordered = make("Ant-v5"), make("Ant-v5", deterministic=True)
    assert ordered._physics._model.opt.deterministic
    assert torch.equal(plain.reset()[0], ordered.reset()[0])
    for i in range(10):
        results = [env.step(actions_for(env, i))[0] for env in (plain, ordered)]
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_its_views_are_those_of_any_batch() -> None:
    env = make(num_envs=4, kwargs={"max_episode_steps": 30})
    vec = env.sb3()
    obs = vec.reset()
    assert obs.shape == (4, 11)
    seen = []
    for i in range(31):
        obs, rewards, dones, infos = vec.step(actions_for(env, i).numpy())
        assert rewards.shape == (4,)
        assert np.isfinite(obs).all()
        seen += [infos[i] for i in np.flatnonzero(dones)]
    assert seen
    assert {"terminal_observation", "TimeLimit.truncated", "episode"} <= seen[0].keys()
    batch = make(num_envs=2).gymnasium()
    batch.reset(seed=1)
    *_, info = batch.step(np.zeros((2, 3), np.float32))
    assert "x_position" in info


@pytest.mark.slow
def test_a_forked_child_gets_one_line() -> None:
    script = """
        import gc, os, sys
        import torch
        from envs.definition import define
        from envs.warp.env import WarpEnv

        env, forgotten = (WarpEnv(define("Hopper-v5", {}), 4, device="cpu") for _ in range(2))
        actions = torch.zeros(4, 3)
        env.reset()
        env.step(actions)
        child = os.fork()
        if child == 0:
            for use in (lambda: env.step(actions), env.reset, env.state_dict, env.check):
                try:
                    use()
                except RuntimeError as error:
                    print("child:", error, flush=True)
            env.close()
            del env, forgotten
            gc.collect()
            os._exit(7)
        _, status = os.waitpid(child, 0)
        env.step(actions)
        print("parent: ended with", os.waitstatus_to_exitcode(status))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    line = "child: Hopper-v5: a forked process cannot step the environments of its parent; make "
    assert [text for text in done.stdout.splitlines() if "Warp" not in text] == [
        *[f"{line}them in the process that steps them"] * 4,
        "parent: ended with 7",
    ], done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this model's PGS solver:RuntimeWarning")
def test_all_kernels_compile_for_sm_90(tmp_path: Path, monkeypatch) -> None:
    """No GPU is needed for that: NVRTC comes with warp."""
    launched: dict[tuple[object, int], set[str]] = {}

    def recorder(launch):
        def record(kernel, *args, **kwargs):
            block = kwargs.get("block_dim", 256)
            launched.setdefault((kernel.module, block), set()).add(kernel.key)
            return launch(kernel, *args, **kwargs)

        return record

    monkeypatch.setattr(wp, "launch", recorder(wp.launch))
    monkeypatch.setattr(wp, "launch_tiled", recorder(wp.launch_tiled))
    for env_id in (name for name in GYMNASIUM_TASKS if name.endswith("-v5")):
        env = make(env_id, 2)
        env.reset()
        env.step(actions_for(env, 0))
    kernels = {name for names in launched.values() for name in names}
    assert len(kernels) > 90
    assert any("primitive_narrowphase" in name for name in kernels)  # with our contact frame
    compiled = 0
    for number, (module, block) in enumerate(launched):
        monkeypatch.setitem(module.options, "block_dim", block)
        for path in wp.compile_aot_module(
            module, arch=90, module_dir=tmp_path / str(number), use_ptx=False
        ):
            assert path.suffix == ".cubin"
            assert path.stat().st_size > 1000
            compiled += 1
    assert compiled == len(launched)
