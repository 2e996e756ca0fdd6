"""The GPU backend on warp's CPU device: the same code, without a GPU.

What compiles kernels is slow: about half a minute for the first task on a machine, a few seconds
for each other one.
"""

from __future__ import annotations

import copy
import gc
import re
import subprocess
import sys
import textwrap
import warnings
import weakref
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import mujoco
import numpy as np
import pytest
import torch
from torch import Tensor

import envs
from envs.cpu import CpuEnv
from envs.definition import Definition, define
from envs.tasks import TASKS
from envs.warp_env import WarpEnv, capacity, obstacle
from envs_teacher import actions_for, one_step_errors, within
from l2l_gail.errors import InputError

wp = pytest.importorskip("warp", reason="needs the gpu extra")
mjw = pytest.importorskip("mujoco_warp", reason="needs the gpu extra")
ROOT = Path(__file__).parent.parent


def make(env_id: str = "Hopper-v5", num_envs: int = 4, seed: int = 0, **options) -> WarpEnv:
    definition = options.pop("definition", None) or define(env_id, options.pop("kwargs", {}))
    return WarpEnv(definition, num_envs, seed, device="cpu", **options)


# Wrong input.


def install(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    original = metadata.version

    def version(name: str) -> str:
        if name not in TESTED:
            return original(name)
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)


TESTED = {"mujoco-warp": "4.0.0", "warp-lang": "1.19.0"}
MISSING = (
    "simulation on cuda needs mujoco_warp: install the extra 'gpu' "
    "(pip install 'l2l_gail[gpu]', in a clone pip install -e '.[gpu]')"
)


@pytest.mark.parametrize(
    ("versions", "driver", "pools", "expected"),
    [
        ({}, True, True, MISSING),
        ({"mujoco-warp": "4.0.0"}, True, True, MISSING),
        (
            {**TESTED, "mujoco-warp": "3.9.1"},
            True,
            True,
            "mujoco_warp 3.9.1 was not tested: pip install 'mujoco-warp==4.0.*'",
        ),
        (
            {**TESTED, "mujoco-warp": "4.1.0"},
            True,
            True,
            "mujoco_warp 4.1.0 was not tested: pip install 'mujoco-warp==4.0.*'",
        ),
        (
            {**TESTED, "warp-lang": "1.9.1"},
            True,
            True,
            "warp 1.9.1 is too old: pip install 'warp-lang>=1.19'",
        ),
        (TESTED, False, True, "warp cannot use cuda: its driver is missing or too old"),
        (TESTED, True, False, "warp cannot use cuda: it has no memory pools"),
        ({"mujoco-warp": "4.0.3", "warp-lang": "2.0.0.dev1"}, True, True, None),
    ],
)
def test_what_is_in_the_way_of_a_gpu_is_one_line_and_auto_goes_round_it(
    versions: dict[str, str],
    driver: bool,
    pools: bool,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def supported(device: str) -> bool:
        asked.append(device)
        return pools

    install(monkeypatch, versions)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(sys.modules["envs.make"], "choose_device", lambda device: device)
    monkeypatch.setattr(wp, "is_cuda_available", lambda: driver)
    monkeypatch.setattr(wp, "is_mempool_supported", supported)
    assert obstacle("cuda") == expected
    assert set(asked) <= {"cuda:1"}  # torch's current device is not always warp's
    if expected is None:
        assert asked
        assert envs.simulation_device("auto") == envs.simulation_device("cuda") == "cuda"
        return
    assert "\n" not in expected
    said = re.escape(f"there is a GPU, but {expected}; simulating on the CPU")
    with pytest.warns(UserWarning, match=f"^{said}$"):
        env = envs.make("Hopper-v5", 2)
    assert isinstance(env, CpuEnv)
    with pytest.raises(InputError) as caught:
        envs.make("Hopper-v5", 2, "cuda")
    assert str(caught.value) == f"{expected}; or use cpu"


def test_looking_for_a_gpu_prints_nothing() -> None:
    script = "from envs.warp_env import obstacle; print('found:', obstacle('cuda:0'))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("found: "), done.stdout + done.stderr
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("device", "versions", "message"),
    [
        ("cpu", {}, "simulation on cpu needs mujoco_warp: install the extra 'gpu' "),
        ("cpu", {**TESTED, "mujoco-warp": "4.1.0"}, r"mujoco_warp 4\.1\.0 was not tested"),
        ("tpu", TESTED, "tpu is unknown"),
        ("cuda:77", TESTED, "cuda:77 is not available here"),
    ],
)
def test_a_backend_that_cannot_be_is_one_line(device, versions, message, monkeypatch) -> None:
    definition = define("Hopper-v5", {})
    install(monkeypatch, versions)
    with pytest.raises(InputError, match=message) as caught:
        WarpEnv(definition, 2, device=device)
    assert "\n" not in str(caught.value)


def test_wrong_actions_are_one_line() -> None:
    env = make()
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        env.step(torch.zeros(4, 3))
    with pytest.raises(RuntimeError, match=r"call reset\(\) before state_dict\(\)"):
        env.state_dict()
    env.reset()
    for actions, message in (
        (torch.zeros(4, 2), r"shape \(4, 3\), not \(4, 2\)"),
        (torch.zeros(3, 3), r"shape \(4, 3\), not \(3, 3\)"),
        (np.zeros(12, np.float32), r"shape \(4, 3\), not \(12,\)"),
        (torch.zeros(4, 3, dtype=torch.int64), r"floating point, not torch\.int64"),
        (torch.zeros(4, 3, device="meta"), r"actions are on meta, the environments on cpu"),
    ):
        with pytest.raises(InputError, match=message):
            env.step(actions)
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="Hopper-v5: the environment is closed"):
        env.step(torch.zeros(4, 3))


def test_humanoid_says_that_its_solver_is_another() -> None:
    definition = define("Humanoid-v5", {})
    with pytest.warns(RuntimeWarning, match="not exactly Gymnasium's v5") as caught:
        make(num_envs=2, definition=definition)
    assert len(caught) == 1
    assert definition.model.opt.solver == mujoco.mjtSolver.mjSOL_PGS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("Ant-v5", num_envs=2)


def test_room_is_known_for_gymnasiums_models_and_guessed_for_others() -> None:
    definition = define("Ant-v5", {})
    assert capacity(definition) == (16, 48)
    own = SimpleNamespace(task=SimpleNamespace(xml_file="/home/me/ant.xml"))
    assert capacity(own) == (None, None)
    for room in ({"nconmax": 7, "njmax": 40}, {}):
        physics = make("Ant-v5", **room)._physics
        assert (physics.nconmax, physics.njmax) == (tuple(room.values()) or (16, 48))
    for name in ("nconmax", "njmax"):
        with pytest.raises(InputError, match=f"{name} is room for at least 1, not 0"):
            make(**{name: 0})


def test_a_model_that_mujoco_warp_cannot_simulate_is_one_line(tmp_path: Path) -> None:
    assets = f"{gymnasium.__path__[0]}/envs/mujoco/assets"
    xml = tmp_path / "hopper.xml"
    option = '<option integrator="RK4" timestep="0.002"/>'
    other = option.replace("/>", '><flag fwdinv="enable"/></option>')
    model = Path(f"{assets}/hopper.xml").read_text()
    assert option in model
    xml.write_text(model.replace(option, other))
    definition = define("Hopper-v5", {"xml_file": str(xml)})
    with pytest.raises(InputError, match="mujoco_warp cannot simulate this model: ") as caught:
        make(definition=definition)
    assert "\n" not in str(caught.value)


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


@pytest.mark.parametrize("steps", [0, pytest.param(3, marks=pytest.mark.slow)])
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


def test_a_state_of_another_kind_or_shape_is_one_line_and_changes_nothing() -> None:
    env = make(seed=1)
    env.reset()
    saved = env.state_dict()
    later = env.reset()[0]
    cut = {**saved, "fields.qpos": saved["fields.qpos"][:, :-1]}
    other = {**saved, "kwargs": {**saved["kwargs"], "frame_skip": 2}}
    for state, message in (
        ({}, "this is no saved state of environments"),
        (None, "this is no saved state of environments"),
        ({**saved, "obs": 3}, "this is no saved state of environments"),
        ({k: v for k, v in saved.items() if k != "kwargs"}, "this is no saved state of"),
        ({**saved, "env_id": "Ant-v5"}, r"of 4 x Ant-v5, on a GPU; this is 4 x Hopper-v5 on a GPU"),
        ({**saved, "physics": 0}, r"of 4 x Hopper-v5, on the CPU; this is 4 x Hopper-v5 on a GPU"),
        (
            other,
            r"with other arguments: \{.*'frame_skip': 2.*\}, not \{'max_episode_steps': 1000\}",
        ),
        (cut, r"'fields\.qpos' is not torch\.float32 of the shape \(4, 6\)"),
        ({**saved, "length": saved["return"]}, r"'length' is not torch\.int64 of the shape \(4,\)"),
        ({**saved, "warmstart": None}, r"'warmstart' is not torch\.float32 of the shape"),
        (
            {**saved, "generator": torch.zeros(3, dtype=torch.uint8)},
            r"'generator' is not torch\.uint8",
        ),
    ):
        env.reset()
        before = env.state_dict()
        with pytest.raises(InputError, match=message) as caught:
            env.load_state_dict(state)
        assert "\n" not in str(caught.value)
        after = env.state_dict()
        for name in ("generator", *env._live()):
            assert torch.equal(after[name], before[name])
    assert torch.equal(env.load_state_dict(saved), saved["obs"])
    assert torch.equal(env.reset()[0], later)


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
        from envs.warp_env import WarpEnv

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
    for env_id in (name for name in TASKS if name.endswith("-v5")):
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
