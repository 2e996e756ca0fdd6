"""Environments made by Gymnasium: what is refused, in one line each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.wrappers import TimeLimit

import envs
from l2l_gail.demos.record import record_episodes
from l2l_gail.errors import InputError
from l2l_gail.evaluation import evaluate_policy_return
from l2l_gail.gail.flags import TaskFlags
from l2l_gail.gym_env import check_env_id, make_env, parse_env_kwargs
from l2l_gail.recording.expert import train_expert
from l2l_gail.recording.record_command import main as record_main


@pytest.mark.parametrize(
    ("env_id", "meant"),
    [("Hoper-v5", "Hopper-v5"), ("hopper-v5", "Hopper-v5"), ("HalfCheeta-v5", "HalfCheetah-v5")],
)
def test_unknown_id_names_the_nearest(env_id: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"unknown environment '{env_id}'.*meant '{meant}'"):
        check_env_id(env_id)


def test_id_that_nothing_is_near_to() -> None:
    with pytest.raises(InputError, match="unknown environment 'qqqqq'"):
        check_env_id("qqqqq")
    with pytest.raises(InputError, match="module 'no_such_module' cannot be imported"):
        check_env_id("no_such_module:Foo-v0")


@pytest.mark.parametrize(
    ("env_id", "kwargs", "pattern"),
    [
        ("Hopper-v5", {"wings": 2}, "wings"),
        ("Hopper-v5", {"xml_file": "/nowhere/hopper.xml"}, "does not exist"),
        ("Blackjack-v1", {}, "observation space is Tuple"),
    ],
)
def test_environments_that_cannot_be_used(env_id: str, kwargs: dict, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern) as caught:
        make_env(env_id, kwargs)
    assert "\n" not in str(caught.value)


def test_environment_arguments_from_the_command_line() -> None:
    parsed = parse_env_kwargs(["a=False", "b=0.5", "c=hopper.xml", "d=(1, 2)", "e=x=y", "f="])
    assert parsed == {"a": False, "b": 0.5, "c": "hopper.xml", "d": (1, 2), "e": "x=y", "f": ""}
    for wrong in ("a", "=1", "a b=1"):
        with pytest.raises(InputError, match="write name=value"):
            parse_env_kwargs([wrong])


def test_arguments_that_cannot_be_meant_are_one_line() -> None:
    with pytest.raises(InputError, match="'frame_skip' is given twice: give it once"):
        parse_env_kwargs(["frame_skip=2", "healthy_reward=1.0", "frame_skip=3"])
    with pytest.raises(InputError, match=r"'a=-----.*has 100,002 characters: give at most 1,000"):
        parse_env_kwargs(["a=" + "-" * 100_000])
    for text in ("(" * 900, "(0.3, high)", "[1, 2", "{'a': b}"):
        with pytest.raises(InputError, match=r"^environment argument a=.* and is none; text is"):
            parse_env_kwargs([f"a={text}"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("false", False),
        ("TRUE", True),
        ("null", None),
        ("None", None),
        ("-inf", -math.inf),
        ("(0.3, inf)", (0.3, math.inf)),
        ("{'a': [true, none]}", {"a": [True, None]}),
        ("'false'", "false"),
        ("3d.xml", "3d.xml"),
        ("4x4", "4x4"),
        (" 3", 3),
        ("rgb_array", "rgb_array"),
        ("./ant.xml", "./ant.xml"),
        ("-x", "-x"),
    ],
)
def test_words_of_other_languages_are_values(text: str, value: Any) -> None:
    found = parse_env_kwargs([f"a={text}"])["a"]
    assert (found, type(found)) == (value, type(value))


class Endless(gymnasium.Env):
    """Nothing ever happens."""

    observation_space = Box(-1, 1, (2,), np.float64)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        return np.zeros(2), {}

    def step(self, action: np.ndarray):
        return np.zeros(2), 0.0, False, False, {}


@pytest.fixture
def endless() -> Iterator[str]:
    gymnasium.register("Endless-v0", Endless)
    gymnasium.register("Limited-v0", lambda: TimeLimit(Endless(), 7))
    yield "Endless-v0"
    del gymnasium.registry["Endless-v0"], gymnasium.registry["Limited-v0"]


def still(observations: np.ndarray) -> np.ndarray:
    return np.zeros((len(observations), 1))


def test_an_environment_without_a_time_limit_is_refused_before_anything_is_played(
    endless: str, tmp_path: Path
) -> None:
    message = r"^(Endless|Hopper)-v\d has no time limit, .* --env-kwargs max_episode_steps=1000 or"
    batch = envs.batch_of_episodes("Hopper-v5", {})
    for refused in (
        lambda: evaluate_policy_return(still, endless, [0]),
        lambda: record_episodes(still, endless, [0]),
        lambda: train_expert(endless, total_timesteps=9, seed=0, selection_seeds=[0]),
        lambda: record_main(["--env", endless, "--out", str(tmp_path / "demos.npz")]),
        lambda: evaluate_policy_return(still, "Hopper-v5", [0], {"max_episode_steps": -1}, batch),
    ):
        with pytest.raises(InputError, match=message) as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_time_limit_that_is_as_good_as_none_is_refused_likewise(
    endless: str, tmp_path: Path
) -> None:
    huge = {"max_episode_steps": 10**9}
    given = ["--env", endless, "--env-kwargs", f"max_episode_steps={10**9}"]
    for refused in (
        lambda: evaluate_policy_return(still, endless, [0], huge),
        lambda: record_episodes(still, endless, [0], huge),
        lambda: record_main([*given, "--out", str(tmp_path / "demos.npz")]),
        lambda: evaluate_policy_return(
            still, "Hopper-v5", [0], huge, envs.batch_of_episodes("Hopper-v5", huge)
        ),
    ):
        with pytest.raises(InputError, match=r"time limit of 1,000,000,000 steps, .*: give"):
            refused()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["max_episode_steps", "frame_skip"])
@pytest.mark.parametrize("value", [True, False, 10.0, "many", (1, 2)])
def test_what_is_no_whole_number_is_no_count(name: str, value: object) -> None:
    for make in (
        lambda: make_env("Hopper-v5", {name: value}),
        lambda: envs.make("Hopper-v5", 1, "cpu", **{name: value}),
    ):
        with pytest.raises(InputError, match=rf"argument {name}=.*: give a whole number from 1"):
            make()


def test_a_step_of_days_is_refused() -> None:
    with pytest.raises(InputError, match="frame_skip is 1000000000: give a whole number from 1 to"):
        make_env("Hopper-v5", {"frame_skip": 10**9})


def test_a_time_limit_may_come_from_anywhere(endless: str) -> None:
    given = evaluate_policy_return(still, endless, [0], {"max_episode_steps": 5})
    assert given.lengths.tolist() == [5]
    assert evaluate_policy_return(still, "Limited-v0", [0]).lengths.tolist() == [7]
    assert len(record_episodes(still, "Limited-v0", [0])) == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"healthy_z_range": 0.7}, "fails at its first step with healthy_z_range=0.7: cannot"),
        ({"reset_noise_scale": "small"}, "fails at its first step with reset_noise_scale='small'"),
        ({"reset_noise_scale": float("nan")}, "fails at its first step with .*=nan"),
        ({"healthy_reward": "x"}, "fails at its first step with healthy_reward='x'"),
        ({"reset_noise_scale": -1}, "fails at its first step with reset_noise_scale=-1"),
        ({"xml_file": None}, "cannot be made"),
        ({"terminate_when_unhealthy": "no"}, "terminate_when_unhealthy='no': give True or False"),
    ],
)
def test_arguments_of_another_kind_are_one_line_before_any_work(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        envs.make("Hopper-v5", 2, device="cpu", **given)
    assert "\n" not in str(caught.value)


def test_arguments_of_another_kind_are_found_by_both_scripts(
    tmp_path: Path,
) -> None:
    said = "fails at its first step with reset_noise_scale='small'"
    given = ["--env-kwargs", "reset_noise_scale=small"]
    with pytest.raises(InputError, match=said):
        record_main([*given, "--out", str(tmp_path / "demos.npz")])
    with pytest.raises(InputError, match=said):
        TaskFlags(env="Hopper-v5", env_kwargs=("reset_noise_scale=small",)).load()
    assert not list(tmp_path.iterdir())
