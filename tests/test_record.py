"""Making demonstrations: recording, reading other people's policies, training, the command."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from l2l_gail.demos import Demonstrations
from l2l_gail.demos.__main__ import main
from l2l_gail.demos.expert import ExpertRecipe, recipe_for, train_expert
from l2l_gail.demos.policy_file import ACTIVATIONS, MlpPolicy
from l2l_gail.demos.record import record_episodes
from l2l_gail.demos.sb3_file import read_sb3_policy
from l2l_gail.demos.trusted import load_sb3_model, load_vecnormalize
from l2l_gail.errors import InputError
from l2l_gail.evaluation import evaluate_policy_return

SPACES = gymnasium.make("Pendulum-v1")
ACTIONS = SPACES.action_space
OBSERVATIONS = SPACES.observation_space
assert isinstance(ACTIONS, Box)
assert isinstance(OBSERVATIONS, Box)


def bold_policy(observations: np.ndarray) -> np.ndarray:
    """Actions of Hopper, many of them beyond the bounds."""
    gain = np.random.default_rng(0).normal(size=(11, 3)) * 3
    return (observations[:, :, None] * gain).sum(axis=1)


def small_policy(obs_dim: int, act_dim: int, **settings: Any) -> MlpPolicy:
    rng = np.random.default_rng(1)
    return MlpPolicy(
        obs_mean=rng.normal(size=obs_dim),
        obs_std=rng.uniform(0.5, 2, size=obs_dim),
        weights=(rng.normal(size=(obs_dim, 8)), rng.normal(size=(8, act_dim))),
        biases=(rng.normal(size=8), rng.normal(size=act_dim)),
        **settings,
    )


class TestRecording:
    def test_what_is_recorded_is_what_happened(self) -> None:
        limit = {"max_episode_steps": 40}
        demos = record_episodes(bold_policy, "Hopper-v5", [7, 8, 9], limit)
        assert demos.env_id == "Hopper-v5"
        assert demos.n_episodes == 3
        env = gymnasium.make("Hopper-v5", **limit)
        row = 0
        for seed in (7, 8, 9):
            obs, _ = env.reset(seed=seed)
            ended = False
            while not ended:
                action = np.clip(bold_policy(obs[None])[0], -1, 1).astype(np.float32)
                np.testing.assert_array_equal(demos.obs[row], obs.astype(np.float32))
                np.testing.assert_array_equal(demos.acts[row], action)
                obs, reward, terminated, truncated, _ = env.step(action)
                np.testing.assert_array_equal(demos.next_obs[row], obs.astype(np.float32))
                assert demos.rews[row] == reward
                assert demos.terminals[row] == terminated
                assert demos.truncated[row] == (truncated and not terminated)
                row, ended = row + 1, terminated or truncated
        assert row == len(demos)
        assert np.abs(bold_policy(demos.obs)).max() > 1  # so that clipping was needed
        env.close()

    def test_time_limit_is_no_terminal_state(self) -> None:
        demos = record_episodes(bold_policy, "Hopper-v5", [7], {"max_episode_steps": 5})
        assert demos.episode_lengths.tolist() == [5]
        assert demos.truncated.tolist() == [False] * 4 + [True]
        assert not demos.terminals.any()

    def test_returns_are_those_of_an_evaluation(self) -> None:
        seeds, limit = [3, 4], {"max_episode_steps": 40}
        demos = record_episodes(bold_policy, "Hopper-v5", seeds, limit)
        measured = evaluate_policy_return(bold_policy, "Hopper-v5", seeds, limit)
        np.testing.assert_allclose(demos.returns, measured.returns, rtol=1e-12)
        np.testing.assert_array_equal(demos.episode_lengths, measured.lengths)

    def test_policy_of_another_environment_is_refused(self) -> None:
        with pytest.raises(InputError, match="actions of shape"):
            record_episodes(lambda obs: np.zeros((len(obs), 2)), "Hopper-v5", [0])
        with pytest.raises(InputError, match="at least one episode"):
            record_episodes(bold_policy, "Hopper-v5", [])


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
                ({"activation": np.array("mish")}, "unknown activation 'mish'"),
                ({"action_low": np.zeros(2)}, "pairs"),
                ({"obs_clip": np.zeros(3)}, "not a policy"),
            ]
        ):
            path = tmp_path / f"{number}.npz"
            np.savez(path, **(arrays | damage))
            with pytest.raises(InputError, match=pattern):
                MlpPolicy.load(path)


def save_model(tmp_path: Path, algorithm: Any, **settings: Any) -> tuple[Any, Path]:
    """An untrained small model of Pendulum, saved by SB3."""
    settings.setdefault("policy_kwargs", {}).setdefault("net_arch", [16, 16])
    if algorithm in (SAC, TD3, DDPG):
        settings["buffer_size"] = 10
    model = algorithm("MlpPolicy", "Pendulum-v1", seed=0, device="cpu", **settings)
    # The initial last layer of PPO is so small that every action is about 0.
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.manual_seed(3)))
    model.save(tmp_path / "model.zip")
    return model, tmp_path / "model.zip"


class Doubling(BaseFeaturesExtractor):
    """An extractor without parameters: only its name in the file gives it away."""

    def __init__(self, observation_space: Box) -> None:
        super().__init__(observation_space, features_dim=3)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return 2 * observations


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

    def test_damaged_models_are_refused(self, tmp_path: Path) -> None:
        _, path = save_model(tmp_path, PPO)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match="damaged or no model"):
            read_sb3_policy(path, ACTIONS)
        with pytest.raises(InputError, match="no model at"):
            read_sb3_policy(tmp_path / "nowhere.zip", ACTIONS)

    def test_nothing_in_a_model_is_executed(self, tmp_path: Path) -> None:
        _, path = save_model(tmp_path, PPO)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        trace = tmp_path / "executed"
        hostile = io.BytesIO()
        torch.save({"log_std": _Bomb(trace)}, hostile)
        hostile_path = tmp_path / "hostile.zip"
        with zipfile.ZipFile(hostile_path, "w") as archive:
            for name, content in (members | {"policy.pth": hostile.getvalue()}).items():
                archive.writestr(name, content)
        with pytest.raises(InputError, match="damaged or no model"):
            read_sb3_policy(hostile_path, ACTIONS)
        assert not trace.exists()

    def test_serialized_fields_are_left_alone(self, tmp_path: Path) -> None:
        model, path = save_model(tmp_path, PPO)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        data = json.loads(members["data"])
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = "no pickle at all"
        with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
            for name, content in (members | {"data": json.dumps(data).encode()}).items():
                archive.writestr(name, content)
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


TINY = ExpertRecipe(n_envs=4, n_steps=64, batch_size=64, n_epochs=2)


def test_expert_is_the_best_checkpoint() -> None:
    def train() -> Any:
        return train_expert(
            "InvertedPendulum-v5",
            total_timesteps=1500,
            seed=0,
            selection_seeds=range(100, 104),
            recipe=TINY,
            n_checkpoints=4,
        )

    expert = train()
    steps = [checkpoint.steps for checkpoint in expert.checkpoints]
    assert steps == sorted(set(steps))
    assert steps[-1] == 1536  # whole rollouts of 256
    assert expert.best.mean_return == max(point.mean_return for point in expert.checkpoints)
    again = evaluate_policy_return(expert.policy, "InvertedPendulum-v5", range(100, 104))
    assert again.mean_return == expert.best.mean_return
    same = train()
    assert same.checkpoints == expert.checkpoints
    np.testing.assert_array_equal(same.policy.weights[0], expert.policy.weights[0])


def test_expert_leaves_torch_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    train_expert("InvertedPendulum-v5", total_timesteps=1, seed=0, selection_seeds=[1], recipe=TINY)
    assert torch.get_num_threads() == before


def test_ant_has_a_recipe_of_its_own() -> None:
    assert recipe_for("Ant-v5") == ExpertRecipe(
        n_envs=32, batch_size=256, learning_rate=2e-4, log_std_init=-1.5
    )
    assert recipe_for("Hopper-v5") == recipe_for("Walker2d-v5") == ExpertRecipe()


class TestCommand:
    limit = ("--env-kwargs", "max_episode_steps=30")

    def test_records_a_policy_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        policy = small_policy(11, 3)
        policy.save(tmp_path / "in.policy.npz")
        out = tmp_path / "new" / "hopper.npz"
        argv = [
            "record", "--model", str(tmp_path / "in.policy.npz"), "--out", str(out),
            "--episodes", "2", "--episode-seed", "5", *self.limit,
        ]  # fmt: skip
        main(argv)
        assert "recorded, 2 episodes" in capsys.readouterr().out
        demos = Demonstrations.load(out)
        by_hand = record_episodes(policy, "Hopper-v5", [5, 6], {"max_episode_steps": 30})
        np.testing.assert_array_equal(demos.acts, by_hand.acts)
        provenance = json.loads(out.with_suffix(".json").read_text())
        assert provenance["episodes"]["reset_seeds"] == [5, 6]
        assert provenance["env_kwargs"] == {"max_episode_steps": 30}
        measured = evaluate_policy_return(
            policy, "Hopper-v5", range(30_000, 30_050), {"max_episode_steps": 30}
        )
        assert demos.expert_return == measured.mean_return
        assert demos.random_return is not None
        with pytest.raises(InputError, match="not overwritten"):
            main(argv)

    def test_trains_where_no_model_is_given(self, tmp_path: Path) -> None:
        out = tmp_path / "ip.npz"
        main(["record", "--env", "InvertedPendulum-v5", "--total-timesteps", "10",
              "--episodes", "1", "--out", str(out)])  # fmt: skip
        demos = Demonstrations.load(out)
        assert demos.env_id == "InvertedPendulum-v5"
        provenance = json.loads(out.with_suffix(".json").read_text())
        assert provenance["policy"]["checkpoint"]["steps"] == 2048
        policy = MlpPolicy.load(tmp_path / "ip.policy.npz")
        np.testing.assert_allclose(np.clip(policy(demos.obs), -3, 3), demos.acts, atol=1e-4)

    def test_records_an_sb3_model_behind_its_statistics(self, tmp_path: Path) -> None:
        venv = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]))
        venv.obs_rms.mean, venv.obs_rms.var = np.array([0.1, 0.2, 0.3]), np.array([2.0, 3.0, 4.0])
        venv.save(str(tmp_path / "vec.pkl"))
        model, path = save_model(tmp_path, SAC)
        argv = ["record", "--env", "Pendulum-v1", "--model", str(path), "--episodes", "1",
                "--vecnormalize", str(tmp_path / "vec.pkl"), *self.limit]  # fmt: skip
        with pytest.raises(InputError, match="--trust-pickle lets it be loaded, which runs code"):
            main([*argv, "--out", str(tmp_path / "a.npz")])
        main([*argv, "--trust-pickle", "--out", str(tmp_path / "a.npz")])
        demos = Demonstrations.load(tmp_path / "a.npz")
        expected, _ = model.predict(venv.normalize_obs(demos.obs), deterministic=True)
        np.testing.assert_allclose(demos.acts, expected, atol=1e-4)

    def test_records_a_model_that_only_pickle_loads(self, tmp_path: Path) -> None:
        model, path = save_model(
            tmp_path, PPO, policy_kwargs={"features_extractor_class": Doubling}
        )
        argv = ["record", "--env", "Pendulum-v1", "--model", str(path), "--episodes", "1",
                "--out", str(tmp_path / "a.npz"), *self.limit]  # fmt: skip
        with pytest.raises(InputError, match="--trust-pickle"):
            main(argv)
        main([*argv, "--trust-pickle"])
        demos = Demonstrations.load(tmp_path / "a.npz")
        expected, _ = model.predict(demos.obs, deterministic=True)
        np.testing.assert_allclose(demos.acts, expected, atol=1e-4)
        assert not (tmp_path / "a.policy.npz").exists()  # it is no plain network

    @pytest.mark.parametrize(
        ("argv", "pattern"),
        [
            (["--env", "Hoper-v5"], "perhaps you meant 'Hopper-v5'"),
            (["--sed", "1"], "perhaps you meant --seed"),
            (["--episodes", "0"], "record at least one"),
            (["--total-timesteps", "0"], "at least one"),
            (["--seed", "-1"], "0 or positive"),
            (["--algo", "ppo"], "go with --model"),
            (["--out", "demos.txt"], "does not end in .npz"),
            (["--env-kwargs", "wings"], "write name=value"),
            (["--model", "nowhere.zip"], "no model at"),
            (["--model", "nowhere.policy.npz"], "does not exist"),
        ],
    )
    def test_wrong_input_is_refused_before_any_training(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], pattern: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=pattern):
            main(["record", *argv])
        assert not list(tmp_path.iterdir())

    def test_policy_of_another_environment_is_refused(self, tmp_path: Path) -> None:
        small_policy(17, 6).save(tmp_path / "p.policy.npz")
        with pytest.raises(InputError, match="maps 17 observations to 6 actions"):
            main(["record", "--model", str(tmp_path / "p.policy.npz"),
                  "--out", str(tmp_path / "d.npz")])  # fmt: skip
