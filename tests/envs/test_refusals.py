"""What batched environments refuse, and where they run: one line each, before any work."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import envs
from l2l_gail.errors import InputError
from tests.envs.support import outcomes, random_actions, same, same_bits

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")


def test_a_state_of_other_environments_is_refused() -> None:
    env = envs.make("Hopper-v5", 3, "cpu")
    with pytest.raises(RuntimeError, match="call reset"):
        env.state_dict()
    env.reset()
    state = env.state_dict()
    for other in (envs.make("Hopper-v5", 2, "cpu"), envs.make("Walker2d-v5", 3, "cpu")):
        with pytest.raises(InputError, match="the saved state is of 3 x Hopper-v5, this is"):
            other.load_state_dict(state)
    with pytest.raises(InputError, match="with other arguments: "):
        envs.make("Hopper-v5", 3, "cpu", frame_skip=2).load_state_dict(state)
    with pytest.raises(InputError, match="the saved state is of 0 x None"):
        env.load_state_dict({})
    del state["physics"]  # as on a GPU, where it is in single fields
    with pytest.raises(InputError, match="of 3 x Hopper-v5 on a GPU, this is 3 x Hopper-v5 on the"):
        env.load_state_dict(state)


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    message = str(error.value)
    assert message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("env_id", "kwargs", "says"),
    [
        ("Hoper-v5", {}, "unknown environment 'Hoper-v5'; perhaps you meant 'Hopper-v5'"),
        ("walker2d-v5", {}, "perhaps you meant 'Walker2d-v5'"),
        ("Zzz", {}, "there are: Ant-v4, Ant-v5, "),
        ("HumanoidStandup-v5", {}, "HumanoidStandup-v5 cannot be batched: only Ant-v4, "),
        ("CartPole-v1", {}, "CartPole-v1 cannot be batched"),
        ("Pusher-v4", {}, "only supported on `mujoco<3`"),
        ("Hopper-v5", {"frame_skipp": 3}, "frame_skipp"),
        ("Hopper-v4", {"frame_skip": 3}, "frame_skip"),
        ("Ant-v4", {"main_body": 2}, "main_body"),
        ("Ant-v5", {"main_body": "head"}, "main_body='head' is no body of ant.xml"),
        ("Ant-v5", {"main_body": 99}, "give a number from 0 to 13 or one of world, torso"),
        ("Hopper-v5", {"xml_file": "hoper.xml"}, "hoper.xml does not exist"),
        ("Hopper-v5", {"render_mode": "human"}, "do not render"),
        ("Hopper-v5", {"num_envs": 0}, "0 environments cannot be stepped: give a number from 1 on"),
        ("Hopper-v5", {"num_envs": "3"}, "3 environments cannot be stepped"),
        ("Hopper-v5", {"num_envs": True}, "True environments cannot be stepped"),
        ("Hopper-v5", {"seed": -1}, "a seed is a whole number from 0 on, not -1"),
        ("Hopper-v5", {"num_threads": 0}, "0 threads"),
        ("Hopper-v5", {"device": "tpu"}, "tpu is unknown"),
    ],
)
def test_what_cannot_be_made_is_one_line(env_id: str, kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        envs.make(**{"env_id": env_id, "num_envs": 2, "device": "cpu", **kwargs})
    assert says in one_line(error)


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch, "empty", absent)
    with pytest.raises(InputError) as error:
        envs.make("Hopper-v5", 2, "cuda")
    assert "cuda is not available here" in one_line(error)


def test_a_gpu_without_mujoco_warp_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    monkeypatch.setattr(sys.modules["envs.make"], "choose_device", lambda name: name)
    with pytest.raises(InputError) as error:
        envs.make("Hopper-v5", 2, "cuda:1")
    assert one_line(error) == (
        "simulation on cuda:1 needs mujoco_warp: install the extra 'gpu' (pip install "
        "'l2l_gail[gpu]', in a clone pip install -e '.[gpu]'); or use cpu"
    )


def test_wrong_actions_are_one_line_and_move_nothing() -> None:
    env, other = envs.make("Hopper-v5", 4, "cpu"), envs.make("Hopper-v5", 4, "cpu")
    with pytest.raises(RuntimeError, match=r"Hopper-v5: call reset\(\) before step\(\)"):
        env.step(np.zeros((4, 3), np.float32))
    env.reset()
    other.reset()
    for shape in [(4, 2), (3, 3), (4, 3, 1), (12,), ()]:
        with pytest.raises(InputError, match=r"actions must have the shape \(4, 3\)") as error:
            env.step(np.zeros(shape, np.float32))
        one_line(error)
    for value in (float("nan"), float("inf")):
        action = torch.zeros(4, 3)
        action[2, 1] = value
        with pytest.raises(InputError, match="action of environment 2 is not finite") as error:
            env.step(action)
        one_line(error)
    with pytest.raises(InputError, match="a seed is a whole number from 0 on, not -3") as error:
        env.reset(seed=-3)
    one_line(error)
    for seed in (1.5, "a", [0, 1.5, 2, 3]):
        with pytest.raises(InputError, match="a seed is a whole number from 0 on"):
            env.reset(seed=seed)
    actions = random_actions(env.single_action_space, 10, 4, seed=0)
    assert same(outcomes(env, actions), outcomes(other, actions))


@pytest.mark.parametrize("use", ["reset", "step", "state_dict", "load_state_dict", "diverged"])
def test_a_closed_environment_says_so(use: str) -> None:
    env = envs.make("Ant-v5", 3, "cpu", num_threads=2)
    env.reset()
    state = env.state_dict()
    env.close()
    env.close()
    uses: dict[str, Callable[[], Any]] = {
        "reset": env.reset,
        "step": lambda: env.step(np.zeros((3, 8), np.float32)),
        "state_dict": env.state_dict,
        "load_state_dict": lambda: env.load_state_dict(state),
        "diverged": lambda: env.diverged,
    }
    with pytest.raises(RuntimeError, match="Ant-v5: the environment is closed"):
        uses[use]()


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("Hopper-v5", {"frame_skip": 0}, "cannot be made: float division by zero"),
        ("Reacher-v5", {"xml_file": "hopper.xml"}, "the model has no body 'fingertip'; it has"),
    ],
)
def test_a_model_or_skip_that_does_not_fit_the_task_is_one_line(
    env_id: str, kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        envs.make(env_id, 2, "cpu", **kwargs).reset()
    assert "\n" not in str(caught.value)


def test_auto_takes_the_gpu_only_where_it_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    make_module = sys.modules["envs.make"]  # the package's name of it is the function
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert envs.simulation_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(make_module, "obstacle", lambda device: None)
    assert envs.simulation_device("auto") == "cuda"
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(4))
    assert (
        envs.simulation_device("auto", 255) == envs.learning_device("Hopper-v5", "auto", 8) == "cpu"
    )
    assert envs.simulation_device("auto", 256) == "cuda"
    monkeypatch.setattr(make_module, "obstacle", lambda device: f"{device} is out of order")
    with pytest.warns(UserWarning, match="a GPU, but cuda is out of order; simulating on the CPU"):
        assert envs.simulation_device("auto") == "cpu"
    monkeypatch.setattr(make_module, "choose_device", lambda device: device)
    assert envs.simulation_device("cpu") == "cpu"
    with pytest.raises(InputError, match=r"^cuda:1 is out of order; or use cpu$"):
        envs.simulation_device("cuda:1")


@pytest.mark.parametrize("hand_on", [pickle.dumps, copy.deepcopy])
def test_a_batch_is_neither_pickled_nor_copied(hand_on: Callable[[Any], Any]) -> None:
    env = envs.make("Hopper-v5", 2, "cpu")
    for whole in (env, env.sb3(), env.gymnasium()):
        with pytest.raises(TypeError, match="Hopper-v5: a batch of environments cannot be pickled"):
            hand_on(whole)


def test_a_refused_reset_leaves_the_seed_of_construction() -> None:
    env, other = envs.make("Hopper-v5", 2, "cpu", 5), envs.make("Hopper-v5", 2, "cpu", 5)
    for wrong in ([1], [1, -2]):
        with pytest.raises(InputError):
            env.reset(seed=wrong)
    assert same_bits(env.reset()[0], other.reset()[0])
    assert same_bits(env.reset(seed=np.arange(2))[0], other.reset(seed=[0, 1])[0])


def test_auto_tells_what_it_chose(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="envs.make"):
        env = envs.make("Hopper-v5", 2)
    assert caplog.messages == [f"Hopper-v5: 2 environments on {env.place}"]
