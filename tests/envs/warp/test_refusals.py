"""What stands in the way of the GPU backend, and what it refuses: one line each, without a GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
import torch

import envs
from envs.cpu.env import CpuEnv
from envs.definition import define
from envs.tasks import GYMNASIUM_TASKS
from envs.warp.env import WarpEnv, obstacle
from l2l_gail.errors import InputError
from tests.envs.warp.support import make

wp = pytest.importorskip("warp", reason="needs the gpu extra")
mjw = pytest.importorskip("mujoco_warp", reason="needs the gpu extra")
ROOT = Path(__file__).parents[3]


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
        env = envs.make("Hopper-v5", 64 * len(os.sched_getaffinity(0)))
    assert isinstance(env, CpuEnv)
    with pytest.raises(InputError) as caught:
        envs.make("Hopper-v5", 2, "cuda")
    assert str(caught.value) == f"{expected}; or use cpu"


@pytest.mark.slow
def test_looking_for_a_gpu_prints_nothing() -> None:
    script = "from envs.warp.env import obstacle; print('found:', obstacle('cuda:0'))"
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
    for env_id in GYMNASIUM_TASKS:
        definition = define(env_id, {})
        assert definition.nconmax is not None, env_id
        assert definition.njmax is not None, env_id
    own = define("Ant-v5", {"xml_file": f"{gymnasium.__path__[0]}/envs/mujoco/assets/ant.xml"})
    assert (own.nconmax, own.njmax) == (None, None)
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
