"""The command that records: a policy of whatever kind, or an expert that it trains first."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from l2l_gail.demos import Demonstrations
from l2l_gail.demos.__main__ import main
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.demos.record import record_episodes
from l2l_gail.errors import InputError
from l2l_gail.evaluation import evaluate_policy_return
from l2l_gail.gail import AIRL, BC, GAIL
from l2l_gail.recording import expert as expert_module
from l2l_gail.recording import record_command as record_module
from l2l_gail.stopping import Interrupted
from tests.demos.support import Doubling, save_model, small_policy
from tests.gail.worlds import Corners
from tests.marks import slow


@pytest.mark.slow
@pytest.mark.parametrize("cls", [GAIL, slow(AIRL), slow(BC)])
def test_a_model_of_this_library_is_recorded_as_it_acts(cls: Any, tmp_path: Path) -> None:
    kwargs = {} if cls is BC else {"n_steps": 64}
    model = cls("MlpPolicy", "Hopper-v5", "Hopper-v5", seed=0, device="cpu", **kwargs)
    model.learn(100).save(tmp_path / "model")
    out, command = tmp_path / "out.npz", ["record", "--env", "Hopper-v5", "--episodes", "1"]
    main([*command, "--model", str(tmp_path / "model.zip"), "--out", str(out)])
    demos = Demonstrations.load(out)
    acts = model.predict(demos.obs, deterministic=True)[0]
    np.testing.assert_allclose(demos.acts, acts, atol=1e-4)


@pytest.mark.slow
def test_what_a_model_of_this_library_needs_beside_its_file_is_said(tmp_path: Path) -> None:
    command = ["record", "--env", "Hopper-v5", "--episodes", "1", "--out", str(tmp_path / "o.npz")]
    kwargs = {"n_steps": 64, "device": "cpu", "seed": 0}
    falling = GAIL(
        "MlpPolicy", "Hopper-v5", "Hopper-v5", learning_rate=lambda x: x * 1e-3, **kwargs
    )
    falling.learn(64).save(tmp_path / "falling")
    command += ["--model", str(tmp_path / "falling.zip")]
    with pytest.raises(InputError, match=r"rebuild learning_rate .* give --trust-pickle"):
        main(command)
    main([*command, "--trust-pickle"])
    demos = Demonstrations.load(tmp_path / "o.npz")
    acts = falling.predict(demos.obs, deterministic=True)[0]
    np.testing.assert_allclose(demos.acts, acts, atol=1e-4)

    network = torch.nn.Bilinear(11, 3, 1)
    own = GAIL("MlpPolicy", "Hopper-v5", "Hopper-v5", discriminator_network=network, **kwargs)
    own.save(tmp_path / "own")
    with pytest.raises(InputError, match="load it in Python and give its predict to record_episo"):
        main([*command[:-3], str(tmp_path / "p.npz"), "--model", str(tmp_path / "own.zip")])


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
        with pytest.warns(UserWarning, match="is no better than that of random actions"):
            main(argv)
        assert "recorded, 2 episodes" in capsys.readouterr().out
        demos = Demonstrations.load(out)
        by_hand = record_episodes(policy, "Hopper-v5", [5, 6], {"max_episode_steps": 30})
        np.testing.assert_array_equal(demos.acts, by_hand.acts)
        provenance = json.loads(out.with_suffix(".json").read_text())
        assert provenance["episodes"]["reset_seeds"] == [5, 6]
        assert provenance["env_kwargs"] == {"max_episode_steps": 30}
        assert "licence" not in provenance  # that is for whoever recorded it to say
        measured = evaluate_policy_return(
            policy, "Hopper-v5", range(30_000, 30_050), {"max_episode_steps": 30}
        )
        assert demos.expert_return == measured.mean_return
        assert demos.random_return is not None
        with pytest.raises(InputError, match="not overwritten"):
            main(argv)

    @pytest.mark.slow
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

    def test_records_an_sb3_model_of_dicts_behind_its_statistics(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = EnvSpec("Corners-v0", entry_point=Corners)
        monkeypatch.setitem(gymnasium.registry, "Corners-v0", spec)
        venv = VecNormalize(make_vec_env(Corners), norm_obs_keys=["at"])
        venv.obs_rms["at"].mean, venv.obs_rms["at"].var = np.array([0.5, 0.2]), np.array([0.01, 9])
        venv.save(str(tmp_path / "vec.pkl"))
        model = PPO("MultiInputPolicy", venv, seed=0, device="cpu")
        model.save(tmp_path / "model")
        argv = ["record", "--env", "Corners-v0", "--model", str(tmp_path / "model.zip"),
                "--trust-pickle", "--vecnormalize", str(tmp_path / "vec.pkl"), "--env-kwargs",
                "max_episode_steps=5", "--out", str(tmp_path / "a.npz")]  # fmt: skip
        main(argv)
        demos = Demonstrations.load(tmp_path / "a.npz")
        by_hand = record_episodes(
            model, "Corners-v0", range(10_000, 10_004), {"max_episode_steps": 5}
        )
        np.testing.assert_array_equal(demos.acts, by_hand.acts)
        raw, _ = model.predict(demos.obs, deterministic=True)
        assert (raw != demos.acts).any()

    def test_the_suffix_that_save_adds_may_be_left_out(self, tmp_path: Path) -> None:
        _, path = save_model(tmp_path, PPO)
        main(["record", "--env", "Pendulum-v1", "--env-kwargs", "max_episode_steps=3", "--model",
              str(path.with_suffix("")), "--out", str(tmp_path / "a.npz")])  # fmt: skip
        policy = json.loads((tmp_path / "a.json").read_text())["policy"]
        assert policy == {"model": "model.zip"}

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
            (["--seed", "-1"], "--seed is -1: give a whole number from 0"),
            (["--algo", "ppo"], "go with --model"),
            (["--policy", "a:b", "--model", "c.zip"], "give one of them"),
            (["--policy", "a:b", "--resume"], "leave out --model and --policy"),
            (["--policy", "json"], "write module:function"),
            (["--policy", "json:"], "write module:function"),
            (["--policy", "./hand.py:f"], "write module:function"),
            (
                ["--policy", "no_such_module:f"],
                r"--policy 'no_such_module:f': module 'no_such_module' cannot be imported \(No "
                r"module named 'no_such_module'\); Python looks in this folder and those of "
                r"PYTHONPATH$",
            ),
            (["--policy", "json:no_such"], "'json' has no function 'no_such'"),
            (["--resume"], "no training was interrupted there, leave out --resume"),
            (["--model", "nowhere.partial.pt"], "does not exist"),
            (["--out", "demos.txt"], "does not end in .npz"),
            (["--env-kwargs", "wings"], "write name=value"),
            (["--model", "nowhere.zip"], "no model at"),
            (["--model", "."], r"\. is a folder, not a file"),
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

    def test_records_a_function_of_one_observation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "hand.py").write_text(
            "import numpy as np\n"
            "def swing(obs):\n    assert obs.shape == (3,)\n    return np.array([2 * obs[2]])\n"
            "def wide(obs):\n    return obs\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        argv = ["record", "--env", "Pendulum-v1", "--episodes", "2", *self.limit]
        out = tmp_path / "a.npz"
        main([*argv, "--policy", "hand:swing", "--out", str(out)])
        demos = Demonstrations.load(out)
        np.testing.assert_allclose(demos.acts, np.clip(2 * demos.obs[:, 2:], -2, 2), atol=1e-6)
        assert json.loads(out.with_suffix(".json").read_text())["policy"] == {
            "function": "hand:swing"
        }
        with pytest.raises(InputError, match=r"action of shape \(3,\) for one observation, \(1,\)"):
            main([*argv, "--policy", "hand:wide", "--out", str(tmp_path / "b.npz")])
        (tmp_path / "broken.py").write_text("1 / 0\n")
        with pytest.raises(ZeroDivisionError):  # its traceback leads to the line
            main([*argv, "--policy", "broken:swing", "--out", str(tmp_path / "b.npz")])

    @pytest.mark.slow
    def test_an_interrupted_expert_is_kept_and_gone_on_with(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out = tmp_path / "ip.npz"
        partial = tmp_path / "ip.partial.pt"
        argv = ["record", "--env", "InvertedPendulum-v5", "--total-timesteps", "6000",
                "--episodes", "1", "--out", str(out)]  # fmt: skip
        on_step = expert_module._Selection._on_step

        def press_ctrl_c(selection: Any) -> bool:
            if selection.num_timesteps == 3_008:
                os.kill(os.getpid(), signal.SIGINT)
            return on_step(selection)

        monkeypatch.setattr(expert_module._Selection, "_on_step", press_ctrl_c)
        with pytest.raises(Interrupted) as caught:
            main(argv)
        assert caught.value.resumable
        assert f"the training is kept in {partial}" in capsys.readouterr().err
        assert not out.exists()
        monkeypatch.setattr(expert_module._Selection, "_on_step", on_step)
        with pytest.raises(InputError, match="add --resume to go on with it, or remove it"):
            main(argv)
        with pytest.raises(InputError, match="of a training with another seed, total_timesteps"):
            main([*argv, "--resume", "--seed", "5", "--total-timesteps", "7000"])
        kept = tmp_path / "kept.npz"
        main(["record", "--env", "InvertedPendulum-v5", "--model", str(partial), "--episodes", "1",
              "--out", str(kept)])  # fmt: skip
        assert Demonstrations.load(kept).env_id == "InvertedPendulum-v5"
        main([*argv, "--resume"])
        assert not partial.exists()
        checkpoints = json.loads(out.with_suffix(".json").read_text())["policy"]["checkpoints"]
        steps = [point[0] for point in checkpoints]
        assert steps == [2048, 4096, 6144]

    def test_an_interrupt_while_an_expert_is_measured_costs_none_of_its_training(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out, partial = tmp_path / "ip.npz", tmp_path / "ip.partial.pt"
        argv = ["record", "--env", "InvertedPendulum-v5", "--total-timesteps", "2048",
                "--episodes", "1", "--out", str(out)]  # fmt: skip
        measure, made = record_module._measure, expert_module.make_expert_model

        def press_ctrl_c(*_: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(record_module, "_measure", press_ctrl_c)
        with pytest.raises(Interrupted) as caught:
            main(argv)
        assert caught.value.resumable
        assert f"the training is kept in {partial}" in capsys.readouterr().err

        def made_without_learning(*given: Any) -> Any:
            model, venv = made(*given)
            model.learn = None
            return model, venv

        monkeypatch.setattr(record_module, "_measure", measure)
        monkeypatch.setattr(expert_module, "make_expert_model", made_without_learning)
        with monkeypatch.context() as patched:  # a disk that is full once most is written

            def no_space(path: Path, _: str) -> None:
                assert out.exists()
                raise InputError(f"{path} cannot be written")

            patched.setattr(record_module, "atomic_write", no_space)
            with pytest.raises(InputError, match="cannot be written"):
                main([*argv, "--resume"])
        assert sorted(os.listdir(tmp_path)) == [partial.name]
        main([*argv, "--resume"])
        assert not partial.exists()
        (checkpoint,) = json.loads(out.with_suffix(".json").read_text())["policy"]["checkpoints"]
        assert checkpoint[0] == 2048

    def test_a_second_signal_ends_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def press_ctrl_c_twice(selection: Any) -> bool:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            return True

        monkeypatch.setattr(expert_module._Selection, "_on_step", press_ctrl_c_twice)
        with pytest.raises(Interrupted) as caught:
            main(["record", "--env", "InvertedPendulum-v5", "--out", str(tmp_path / "a.npz")])
        assert not caught.value.resumable
        assert not list(tmp_path.iterdir())
