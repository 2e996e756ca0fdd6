"""Reading policies: plain arrays, and models of Stable-Baselines3 without running their pickles."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from l2l_gail.demos.policy_file import ACTIVATIONS, MlpPolicy
from l2l_gail.demos.sb3_file import read_sb3_policy
from l2l_gail.errors import InputError
from l2l_gail.recording.trusted import load_sb3_model, load_vecnormalize, playing
from tests.demos.support import (
    Doubling,
    members_of,
    save_model,
    small_policy,
    write_members,
)
from tests.gail.worlds import Corners

OBSERVATIONS = Box(-8.0, 8.0, (3,))  # of Pendulum
ACTIONS = Box(-2.0, 2.0, (1,))


class TestMlpPolicy:
    def test_is_the_documented_formula(self) -> None:
        policy = small_policy(3, 2, obs_clip=1.5)
        obs = np.random.default_rng(2).normal(size=(5, 3)) * 4
        x = np.clip((obs - policy.obs_mean) / (policy.obs_std + 1e-6), -1.5, 1.5)
        hidden = np.tanh(x @ policy.weights[0] + policy.biases[0])
        expected = hidden @ policy.weights[1] + policy.biases[1]
        np.testing.assert_allclose(policy(obs), expected, rtol=1e-6)
        low, high = np.array([-2.0, 0.0]), np.array([2.0, 1.0])
        squashed = small_policy(3, 2, obs_clip=1.5, action_low=low, action_high=high)
        expected = low + (high - low) * (np.tanh(expected) + 1) / 2
        np.testing.assert_allclose(squashed(obs), expected, rtol=1e-5)

    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_activations_are_those_of_torch(self, name: str) -> None:
        modules = {module.lower(): getattr(torch.nn, module) for module in dir(torch.nn)}
        x = np.linspace(-4, 4, 81)
        expected = modules[name]()(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(ACTIVATIONS[name](x), expected, atol=1e-12)

    def test_row_does_not_depend_on_its_batch(self) -> None:
        policy = small_policy(11, 3)
        obs = np.random.default_rng(2).normal(size=(50, 11))
        alone = np.concatenate([policy(row[None]) for row in obs])
        np.testing.assert_array_equal(policy(obs), alone)

    def test_saved_policy_acts_the_same(self, tmp_path: Path) -> None:
        bounds = {"action_low": np.full(2, -0.4), "action_high": np.full(2, 0.4)}
        policy = small_policy(3, 2, activation="relu", obs_clip=5.0, **bounds)
        policy.save(tmp_path / "p.npz")
        obs = np.random.default_rng(2).normal(size=(5, 3)) * 4
        np.testing.assert_array_equal(MlpPolicy.load(tmp_path / "p.npz")(obs), policy(obs))

    def test_reads_a_file_with_the_bare_layout(self, tmp_path: Path) -> None:
        policy = small_policy(3, 2)
        np.savez(
            tmp_path / "p.npz",
            W0=policy.weights[0],
            b0=policy.biases[0],
            Wout=policy.weights[1],
            bout=policy.biases[1],
            obs_mean=policy.obs_mean,
            obs_std=policy.obs_std,
            logstd=np.zeros(2),
        )
        obs = np.random.default_rng(2).normal(size=(5, 3))
        np.testing.assert_array_equal(MlpPolicy.load(tmp_path / "p.npz")(obs), policy(obs))

    def test_unsound_policies_are_refused(self, tmp_path: Path) -> None:
        sound = small_policy(3, 2)
        sound.save(tmp_path / "sound.npz")
        with np.load(tmp_path / "sound.npz") as file:
            arrays = {name: file[name] for name in file.files}
        for number, (damage, pattern) in enumerate(
            [
                ({"W0": np.zeros((4, 8))}, "layer 0"),
                ({"bout": np.full(2, np.nan)}, "NaN"),
                ({"activation": np.array("mish")}, "activation 'mish' is unknown; there are: tanh"),
                ({"action_low": np.zeros(2)}, "pairs"),
                ({"obs_clip": np.zeros(3)}, "no single number"),
                ({"obs_clip": np.array(np.nan)}, "obs_clip be positive"),
                ({"Wout": np.zeros((8, 2), "M8[s]")}, "damaged"),
                ({"Wout": np.full((8, 2), 1e300), "bout": np.full(2, 1e308)}, "so large"),
            ]
        ):
            path = tmp_path / f"{number}.npz"
            np.savez(path, **(arrays | damage))
            with pytest.raises(InputError, match=pattern):
                MlpPolicy.load(path)


class _Bomb:
    """Unpickling this leaves a folder behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.trace),)


class TestReadingSB3:
    observations = np.random.default_rng(5).normal(size=(20, 3)).astype(np.float32)

    @pytest.mark.parametrize(
        ("algorithm", "settings"),
        [
            (PPO, {}),
            (PPO, {"use_sde": True}),
            (PPO, {"policy_kwargs": {"activation_fn": torch.nn.ELU, "net_arch": {"pi": [8]}}}),
            (PPO, {"policy_kwargs": {"net_arch": []}}),
            (PPO, {"use_sde": True, "policy_kwargs": {"squash_output": True}}),
            (A2C, {"policy_kwargs": {"log_std_init": -1.0, "ortho_init": False}}),
            (SAC, {}),
            (TD3, {}),
            (DDPG, {"policy_kwargs": {"activation_fn": torch.nn.Tanh}}),
        ],
    )
    def test_rebuilt_policy_acts_as_the_model(
        self, tmp_path: Path, algorithm: Any, settings: dict[str, Any]
    ) -> None:
        model, path = save_model(tmp_path, algorithm, **settings)
        expected, _ = model.predict(self.observations, deterministic=True)
        rebuilt = np.clip(read_sb3_policy(path, ACTIONS)(self.observations), -2, 2)
        assert expected.std() > 0.1
        np.testing.assert_allclose(rebuilt, expected, atol=2e-5)
        trusted = load_sb3_model(path, OBSERVATIONS, ACTIONS)(self.observations)
        np.testing.assert_allclose(trusted, expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("algorithm", "settings", "reason"),
        [
            (PPO, {"policy_kwargs": {"features_extractor_class": Doubling}}, "features_extractor"),
            (PPO, {"policy_kwargs": {"activation_fn": torch.nn.Mish}}, "activation"),
            (SAC, {"use_sde": True}, "state-dependent"),
        ],
    )
    def test_what_plain_fields_do_not_say_is_refused(
        self, tmp_path: Path, algorithm: Any, settings: dict[str, Any], reason: str
    ) -> None:
        _, path = save_model(tmp_path, algorithm, **settings)
        with pytest.raises(InputError, match=rf"{reason}.*--trust-pickle.*runs code"):
            read_sb3_policy(path, ACTIONS)
        load_sb3_model(path, OBSERVATIONS, ACTIONS)

    def test_model_of_another_action_space_is_refused(self, tmp_path: Path) -> None:
        _, path = save_model(tmp_path, PPO)
        with pytest.raises(InputError, match="action bound low"):
            read_sb3_policy(path, Box(-1.0, 1.0, (1,)))
        with pytest.raises(InputError, match="a space of shape"):
            read_sb3_policy(path, Box(-2.0, 2.0, (2,)))
        with pytest.raises(InputError, match="was trained with the space"):
            load_sb3_model(path, OBSERVATIONS, Box(-2.0, 2.0, (2,)))

    def test_channels_may_be_turned_and_other_numbers_may_not(self, tmp_path: Path) -> None:
        images, first = (Box(0, 255, shape, np.uint8) for shape in ((36, 40, 3), (3, 36, 40)))
        wide, high = Box(-1.0, 1.0, (3, 4)), Box(-1.0, 1.0, (4, 3))
        model = SimpleNamespace(observation_space=first, action_space=ACTIONS)
        playing(model, tmp_path, images, ACTIONS)  # as stable-baselines3 keeps its images
        model.observation_space = wide
        with pytest.raises(InputError, match="was trained with the space"):
            playing(model, tmp_path, high, ACTIONS)

    def test_damaged_models_are_refused(self, tmp_path: Path) -> None:
        _, path = save_model(tmp_path, PPO)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match="damaged, cut off"):
            read_sb3_policy(path, ACTIONS)
        with pytest.raises(InputError, match="no model at"):
            read_sb3_policy(tmp_path / "nowhere.zip", ACTIONS)

    def test_nothing_in_a_model_is_executed(self, tmp_path: Path) -> None:
        _, path = save_model(tmp_path, PPO)
        members = members_of(path)
        trace = tmp_path / "executed"
        hostile = io.BytesIO()
        torch.save({"log_std": _Bomb(trace)}, hostile)
        hostile_path = tmp_path / "hostile.zip"
        write_members(hostile_path, members | {"policy.pth": hostile.getvalue()})
        with pytest.raises(InputError, match="damaged or no model"):
            read_sb3_policy(hostile_path, ACTIONS)
        assert not trace.exists()

    @pytest.mark.parametrize("algorithm", [PPO, SAC])
    def test_spaces_as_gym_before_021_spelled_them_are_read(
        self, tmp_path: Path, algorithm: Any
    ) -> None:
        model, path = save_model(tmp_path, algorithm)
        members = members_of(path)
        data = json.loads(members["data"])
        for space in ("observation_space", "action_space"):
            data[space]["shape"] = data[space].pop("_shape")
            data[space][":type:"] = "<class 'gym.spaces.box.Box'>"
        write_members(tmp_path / "old.zip", members | {"data": json.dumps(data).encode()})
        expected, _ = model.predict(self.observations, deterministic=True)
        rebuilt = read_sb3_policy(tmp_path / "old.zip", ACTIONS)(self.observations)
        np.testing.assert_allclose(np.clip(rebuilt, -2, 2), expected, atol=2e-5)
        with pytest.raises(InputError, match="a space of shape"):
            read_sb3_policy(tmp_path / "old.zip", Box(-2.0, 2.0, (2,)))

    def test_layers_that_policy_and_value_shared_come_first(self, tmp_path: Path) -> None:
        model, path = save_model(tmp_path, PPO)
        expected, _ = model.predict(self.observations, deterministic=True)
        state = model.policy.state_dict()
        for part in ("weight", "bias"):  # as SB3 before 1.8 wrote net_arch=[16, {"pi": [16]}]
            net = "mlp_extractor.policy_net"
            state[f"mlp_extractor.shared_net.0.{part}"] = state.pop(f"{net}.0.{part}")
            state[f"{net}.0.{part}"] = state.pop(f"{net}.2.{part}")
        content = io.BytesIO()
        torch.save(state, content)
        old = tmp_path / "old.zip"
        write_members(old, members_of(path) | {"policy.pth": content.getvalue()})
        rebuilt = read_sb3_policy(old, ACTIONS)(self.observations)
        np.testing.assert_allclose(np.clip(rebuilt, -2, 2), expected, atol=2e-5)

    @pytest.mark.parametrize(
        "change",
        [
            {"mlp_extractor.policy_net." + "9" * 5000 + ".weight": torch.zeros(1)},
            {"action_net.weight": torch.zeros(1, 16, dtype=torch.int64)},
            {"action_net.weight": torch.zeros(1)},
            {"action_net.bias": torch.zeros(1, 1)},
        ],
        ids=["many digits", "whole numbers", "no matrix", "no vector"],
    )
    def test_networks_of_another_make_are_refused(
        self, tmp_path: Path, change: dict[str, torch.Tensor]
    ) -> None:
        model, path = save_model(tmp_path, PPO)
        content = io.BytesIO()
        torch.save({**model.policy.state_dict(), **change}, content)
        write_members(path, members_of(path) | {"policy.pth": content.getvalue()})
        with pytest.raises(InputError, match="no plain perceptron"):
            read_sb3_policy(path, ACTIONS)

    def test_serialized_fields_are_left_alone(self, tmp_path: Path) -> None:
        model, path = save_model(tmp_path, PPO)
        members = members_of(path)
        data = json.loads(members["data"])
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = "no pickle at all"
        write_members(tmp_path / "plain.zip", members | {"data": json.dumps(data).encode()})
        expected, _ = model.predict(self.observations, deterministic=True)
        rebuilt = read_sb3_policy(tmp_path / "plain.zip", ACTIONS)(self.observations)
        np.testing.assert_allclose(np.clip(rebuilt, -2, 2), expected, atol=2e-5)

    def test_vecnormalize_statistics(self, tmp_path: Path) -> None:
        venv = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]), clip_obs=1.2)
        venv.obs_rms.mean = np.array([1.0, 2.0, 3.0])
        venv.obs_rms.var = np.array([4.0, 0.25, 1.0])
        venv.save(str(tmp_path / "vec.pkl"))
        statistics = load_vecnormalize(tmp_path / "vec.pkl")
        assert statistics is not None
        seen = statistics.before(lambda obs: obs)(self.observations)
        np.testing.assert_allclose(seen, venv.normalize_obs(self.observations), rtol=1e-6)
        (tmp_path / "other.pkl").write_bytes(pickle.dumps([1, 2]))
        with pytest.raises(InputError, match="no VecNormalize"):
            load_vecnormalize(tmp_path / "other.pkl")

    def test_vecnormalize_statistics_of_a_dict(self, tmp_path: Path) -> None:
        venv = VecNormalize(make_vec_env(Corners), clip_obs=1.2, norm_obs_keys=["at"])
        venv.obs_rms["at"].mean, venv.obs_rms["at"].var = np.array([0.1, 0.2]), np.array([0.1, 0.3])
        venv.save(str(tmp_path / "vec.pkl"))
        statistics = load_vecnormalize(tmp_path / "vec.pkl")
        assert statistics is not None
        observed = {"at": self.observations[:, :2], "corner": np.arange(20) % 4}
        seen, expected = statistics.before(lambda obs: obs)(observed), venv.normalize_obs(observed)
        assert list(seen) == list(expected)
        for key, array in seen.items():
            np.testing.assert_array_equal(array, expected[key])
            assert array.dtype == expected[key].dtype
        statistics.check_fits(Corners.observation_space, "vec.pkl", "Corners-v0")
        for other in (OBSERVATIONS, Dict(at=OBSERVATIONS), Dict(corner=Discrete(4))):
            with pytest.raises(
                InputError, match=r"has statistics of shape {'at': \(2,\)}, A-v0 giv"
            ):
                statistics.check_fits(other, "vec.pkl", "A-v0")

    def test_a_path_in_the_home_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        venv = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]))
        venv.save(str(tmp_path / "vec.pkl"))
        assert load_vecnormalize("~/vec.pkl") is not None
        model, _ = save_model(tmp_path, SAC)
        expected, _ = model.predict(self.observations, deterministic=True)
        trusted = load_sb3_model("~/model.zip", OBSERVATIONS, ACTIONS)(self.observations)
        np.testing.assert_allclose(trusted, expected, atol=1e-6)

    def test_vecnormalize_statistics_that_name_the_classes_of_gym(self, tmp_path: Path) -> None:
        venv = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]), clip_obs=1.2)
        venv.obs_rms.mean = np.array([1.0, 2.0, 3.0])
        old = pickle.dumps(venv, protocol=2).replace(b"cgymnasium.", b"cgym.")
        assert b"cgym.spaces" in old
        (tmp_path / "old.pkl").write_bytes(old)
        statistics = load_vecnormalize(tmp_path / "old.pkl")
        assert statistics is not None
        np.testing.assert_array_equal(statistics.mean, [1.0, 2.0, 3.0])
