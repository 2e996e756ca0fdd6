"""Demonstrations of classes, dicts and images: recording, files, checks, experts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import DQN, PPO

from l2l_gail.demos import Demonstrations
from l2l_gail.demos.__main__ import main
from l2l_gail.demos.info_command import describe
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.demos.record import record_episodes
from l2l_gail.demos.sb3_file import read_sb3_policy
from l2l_gail.errors import InputError
from l2l_gail.recording.expert import ExpertRecipe, make_expert_model, plain_policy, train_expert
from l2l_gail.recording.trusted import load_sb3_model
from tests.demos.support import small_policy
from tests.gail.worlds import SIDE, cartpole_expert, corners_expert, recorded

POLE = gymnasium.make("CartPole-v1")


def assert_equal(a: Demonstrations, b: Demonstrations) -> None:
    assert a.digest == b.digest
    assert type(a.obs) is type(b.obs)
    assert a.acts.dtype == b.acts.dtype


@pytest.mark.parametrize("env_id", ["CartPole-v1", "tests/Corners-v0", "tests/Dot-v0"])
def test_a_file_gives_back_what_was_recorded(env_id: str, tmp_path: Path) -> None:
    demos = recorded(env_id, 2)
    demos.save(tmp_path / "demos.npz")
    assert_equal(Demonstrations.load(tmp_path / "demos.npz"), demos)
    assert demos.acts.dtype == np.int64
    assert demos.acts.shape == (len(demos),)


def test_a_dict_is_recorded_key_by_key_and_cut_by_episodes() -> None:
    demos = recorded("tests/Corners-v0", 3)
    assert isinstance(demos.obs, dict)
    assert isinstance(demos.next_obs, dict)
    assert {key: part.dtype for key, part in demos.obs.items()} == {
        "at": np.float32,
        "corner": np.int64,
    }
    np.testing.assert_array_equal(demos.obs["at"][1:20], demos.next_obs["at"][:19])
    np.testing.assert_array_equal(corners_expert(demos.obs), demos.acts)
    head = demos.head(2)
    assert len(head) == 40
    np.testing.assert_array_equal(head.obs["at"], demos.obs["at"][:40])
    assert demos.head(1).digest != head.digest
    assert "obs.corner=(60,) int64" in repr(demos)


def test_pictures_stay_bytes(tmp_path: Path) -> None:
    demos = recorded("tests/Dot-v0", 2)
    assert demos.obs.dtype == np.uint8
    assert demos.obs.shape == (40, SIDE, SIDE, 1)
    assert demos.obs_mean.shape == (SIDE, SIDE, 1)


def test_unlike_parts_of_a_dict_are_refused() -> None:
    demos = recorded("tests/Corners-v0", 1)
    columns = {
        name: getattr(demos, name)
        for name in ("acts", "rews", "terminals", "truncated", "episode_starts", "episode_lengths")
    }
    short = {**demos.obs, "corner": demos.obs["corner"][:-1]}
    with pytest.raises(InputError, match="unequal length"):
        Demonstrations(obs=short, next_obs=short, **columns)
    with pytest.raises(InputError, match=r"'next_obs\.corner' missing"):
        Demonstrations(obs=demos.obs, next_obs={"at": demos.next_obs["at"]}, **columns)


def test_actions_in_a_dict_are_no_numbers() -> None:
    demos = recorded("tests/Corners-v0", 1)
    with pytest.raises(InputError, match="'acts' has dtype object"):
        dataclasses.replace(demos, acts={"move": demos.acts})


def test_info_tells_of_classes_and_dicts() -> None:
    text = describe(recorded("tests/Corners-v0", 2))
    assert "observations of corner" in text
    assert "one class" in text
    assert "0: " in text
    assert "36 x 36 x 1, uint8" in describe(recorded("tests/Dot-v0", 1))


def test_a_plain_policy_chooses_the_largest_output(tmp_path: Path) -> None:
    policy = small_policy(4, 3, classes=True)
    policy.save(tmp_path / "policy.npz")
    loaded = MlpPolicy.load(tmp_path / "policy.npz")
    seen = np.random.default_rng(0).normal(size=(50, 4))
    chosen = loaded(seen)
    assert chosen.dtype == np.int64
    np.testing.assert_array_equal(chosen, small_policy(4, 3)(seen).argmax(1))
    assert len(set(chosen.tolist())) > 1
    with pytest.raises(InputError, match="classes have no bounds"):
        small_policy(4, 1, classes=True, action_low=np.zeros(1), action_high=np.ones(1))


def saved(algorithm: Any, tmp_path: Path) -> tuple[Any, Path]:
    settings = {"buffer_size": 10} if algorithm is DQN else {}
    model = algorithm("MlpPolicy", "CartPole-v1", seed=0, device="cpu", **settings)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.manual_seed(3)))
    model.save(tmp_path / "model.zip")
    return model, tmp_path / "model.zip"


@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_a_model_over_classes_is_rebuilt_without_unpickling(algorithm: Any, tmp_path: Path) -> None:
    model, path = saved(algorithm, tmp_path)
    seen = np.random.default_rng(5).normal(size=(200, 4)).astype(np.float32)
    expected = model.predict(seen, deterministic=True)[0]
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(read_sb3_policy(path, POLE.action_space)(seen), expected)
    trusted = load_sb3_model(path, POLE.observation_space, POLE.action_space)
    np.testing.assert_array_equal(trusted(seen), expected)
    with pytest.raises(InputError, match="chooses from 2 actions"):
        read_sb3_policy(path, Discrete(3))
    with pytest.raises(InputError, match="acts in a space Discrete"):
        read_sb3_policy(path, Box(-1, 1, (1,)))


def test_an_expert_over_classes_is_trained_and_is_its_models_policy() -> None:
    recipe = ExpertRecipe(n_envs=4, n_steps=64, batch_size=64, n_epochs=2)
    model, venv = make_expert_model("CartPole-v1", recipe, seed=0)
    model.learn(512)
    policy = plain_policy(model, venv)
    seen = np.random.default_rng(5).normal(size=(100, 4)).astype(np.float32)
    expected = model.predict(venv.normalize_obs(seen), deterministic=True)[0]
    np.testing.assert_array_equal(policy(seen), expected)
    for env_id in ("tests/Dot-v0", "tests/Corners-v0"):
        with pytest.raises(InputError, match="give it with --model"):
            train_expert(env_id, total_timesteps=10, seed=0, selection_seeds=[0])


def test_the_command_records_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, path = saved(PPO, tmp_path)
    out = tmp_path / "pole.npz"
    command = ["record", "--env", "CartPole-v1", "--model", str(path), "--episodes", "2"]
    with pytest.warns(UserWarning, match="no better than that of random actions"):
        main([*command, "--out", str(out)])
    demos = Demonstrations.load(out)
    assert set(np.unique(demos.acts)) <= {0, 1}
    assert MlpPolicy.load(tmp_path / "pole.policy.npz").classes
    assert json.loads((tmp_path / "pole.json").read_text())["episodes"]["actions"] == (
        "deterministic"
    )
    assert main(["info", str(out)]) is None
    assert "0: " in capsys.readouterr().out


def test_a_model_of_pictures_is_recorded_where_it_is_trusted(tmp_path: Path) -> None:
    model = PPO("CnnPolicy", "tests/Dot-v0", n_steps=8, batch_size=8, seed=0, device="cpu")
    model.save(tmp_path / "cnn.zip")
    command = ["record", "--env", "tests/Dot-v0", "--model", str(tmp_path / "cnn.zip")]
    command += ["--out", str(tmp_path / "dot.npz"), "--episodes", "1"]
    with pytest.raises(InputError, match="--trust-pickle"):
        main(command)
    main([*command, "--trust-pickle"])
    demos = Demonstrations.load(tmp_path / "dot.npz")
    np.testing.assert_array_equal(model.predict(demos.obs, deterministic=True)[0], demos.acts)


def test_an_action_of_another_space_is_refused_in_one_line() -> None:
    for wrong in (np.array([2]), np.array([0.5]), np.array([np.nan])):
        with pytest.raises(InputError, match=r"which is none of Discrete\(2\)|not finite"):
            record_episodes(lambda obs, wrong=wrong: wrong, "CartPole-v1", [0])
    assert record_episodes(cartpole_expert, "CartPole-v1", [0]).returns == [500.0]


def test_dicts_are_taken_from_memory_chosen_joined_and_thinned(tmp_path: Path) -> None:
    demos = recorded("tests/Corners-v0", 3)
    whole = [
        {
            "obs": {key: np.concatenate([e.obs[key], e.next_obs[key][-1:]]) for key in e.obs},
            "acts": e.acts,
            "rews": e.rews,
            "truncated": True,
        }
        for e in demos
    ]
    again = Demonstrations.from_episodes(whole)
    assert_equal(again, demos)
    columns = (demos.obs, demos.acts)
    cut = Demonstrations.from_arrays(
        *columns, episode_lengths=demos.episode_lengths, next_obs=demos.next_obs, rews=demos.rews
    )
    np.testing.assert_array_equal(cut.next_obs["at"], demos.next_obs["at"])
    assert_equal(Demonstrations.concatenate([demos[:1], demos[1:]]), demos)
    thin = demos.subsample(7)
    np.testing.assert_array_equal(thin.obs["corner"][:3], demos.obs["corner"][[0, 7, 14]])
    np.testing.assert_allclose(thin.returns, demos.returns)

    demos.save(tmp_path / "whole.npz")
    demos.save(tmp_path / "compact.npz", compact=True)
    with np.load(tmp_path / "compact.npz") as file:
        assert {"final_obs.at", "final_obs.corner"} < set(file.files)
        assert not [name for name in file.files if name.startswith("next_obs")]
    assert_equal(Demonstrations.load(tmp_path / "compact.npz"), demos)


def test_states_of_a_dict_follow_one_another() -> None:
    demos = recorded("tests/Corners-v0", 2)
    states = Demonstrations.from_episodes([{"obs": e.obs} for e in demos])
    assert states.acts is None
    bare = dataclasses.replace(states, next_obs=None)
    for pairs in (states.state_pairs(), bare.state_pairs()):
        for before, after in zip(*(part["at"] for part in pairs), strict=True):
            assert np.abs(after - before).sum() == pytest.approx(0.1, abs=1e-5)
    assert len(bare.state_pairs()[0]["corner"]) == len(bare) - 2
    assert "none: states alone" in describe(states)


def test_episodes_with_other_keys_or_rows_are_refused() -> None:
    at, corner = np.zeros((5, 2)), np.zeros(5, np.int64)
    for episodes, words in (
        ([{"obs": {"at": at}}, {"obs": {"corner": corner}}], "episode 1: 'next_obs.at' was before"),
        ([{"obs": {"at": at, "corner": corner[:3]}}], "'obs.corner' has 2 rows"),
        ([{"obs": {}}], "'obs' has dtype object"),
        ([{"obs": at, "acts": {"move": corner}}], "'acts' has dtype object"),
    ):
        with pytest.raises(InputError, match=words):
            Demonstrations.from_episodes(episodes)
