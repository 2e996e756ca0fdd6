"""Making demonstrations: recording, reading other people's policies, training, the command."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from l2l_gail.demos import Demonstrations
from l2l_gail.demos.__main__ import main
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.demos.record import record_episodes
from l2l_gail.errors import InputError
from l2l_gail.evaluation import Evaluation, evaluate_policy_return
from l2l_gail.files import save_tensors
from l2l_gail.gail import AIRL, BC, GAIL
from l2l_gail.recording import expert as expert_module
from l2l_gail.recording.expert import (
    Checkpoint,
    ExpertRecipe,
    make_expert_model,
    plain_policy,
    recipe_for,
    train_expert,
)
from l2l_gail.recording.partial import PartialExpert, partial_policy
from l2l_gail.stopping import Interrupted
from tests.demos.support import Doubling, save_model, small_policy


def bold_policy(observations: np.ndarray) -> np.ndarray:
    """Actions of Hopper, many of them beyond the bounds."""
    gain = np.random.default_rng(0).normal(size=(11, 3)) * 3
    return (observations[:, :, None] * gain).sum(axis=1)


class Own(gymnasium.Env):
    """Counts in one array that it returns again and again, and scales actions where they lie."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self) -> None:
        self.count = np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        self.count[:] = 0
        return self.count, {}

    def step(self, action: np.ndarray) -> tuple:
        self.count += 1
        action *= 5
        return self.count, np.array([0.5]), False, False, {}  # a reward that is an array


class TestRecording:
    def test_what_environment_and_policy_write_over_is_recorded_as_it_was(self) -> None:
        def half(observations: np.ndarray) -> np.ndarray:
            observations *= 0  # normalised in place, say
            return observations + 0.5

        gymnasium.register("Own-v0", entry_point=Own, max_episode_steps=4)
        try:
            demos = record_episodes(half, "Own-v0", [0, 1])
        finally:
            del gymnasium.registry["Own-v0"]
        assert demos.obs.ravel().tolist() == [0, 1, 2, 3] * 2
        assert demos.next_obs.ravel().tolist() == [1, 2, 3, 4] * 2
        assert set(demos.acts.ravel()) == {0.5}
        assert demos.returns.tolist() == [2.0, 2.0]

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

    def test_termination_in_the_step_of_the_time_limit_is_a_termination(self) -> None:
        terminates = len(record_episodes(bold_policy, "Hopper-v5", [7]))
        limit = {"max_episode_steps": terminates}
        demos = record_episodes(bold_policy, "Hopper-v5", [7], limit)
        assert len(demos) == terminates
        assert demos.terminals[-1]
        assert not demos.truncated.any()

    def test_returns_are_those_of_an_evaluation(self) -> None:
        seeds, limit = [3, 4], {"max_episode_steps": 40}
        demos = record_episodes(bold_policy, "Hopper-v5", seeds, limit)
        measured = evaluate_policy_return(bold_policy, "Hopper-v5", seeds, limit)
        np.testing.assert_allclose(demos.returns, measured.returns, rtol=1e-12)
        np.testing.assert_array_equal(demos.episode_lengths, measured.lengths)

    def test_policy_of_another_environment_is_refused(self) -> None:
        with pytest.raises(InputError, match="actions of shape"):
            record_episodes(lambda obs: np.zeros((len(obs), 2)), "Hopper-v5", [0])
        with pytest.raises(InputError, match="a recording needs at least one seed"):
            record_episodes(bold_policy, "Hopper-v5", [])


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


def test_expert_is_not_the_last_policy_if_an_earlier_one_was_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, scores = [], iter([5.0, 9.0, 7.0, 1.0, 0.0])

    def scripted(policy: MlpPolicy, *_: object) -> Evaluation:
        seen.append(policy)
        return Evaluation(np.array([next(scores)]), np.array([1]))

    monkeypatch.setattr(expert_module, "evaluate_policy_return", scripted)
    expert = train_expert(
        "InvertedPendulum-v5",
        total_timesteps=1280,
        seed=0,
        selection_seeds=[1],
        recipe=TINY,
        n_checkpoints=5,
    )
    assert expert.best == Checkpoint(steps=512, mean_return=9.0)
    assert expert.policy is seen[1]
    assert [point.mean_return for point in expert.checkpoints] == [5.0, 9.0, 7.0, 1.0, 0.0]
    # Policies are copies: training on does not change the one that was kept.
    assert not np.array_equal(seen[1].weights[0], seen[2].weights[0])
    assert not np.array_equal(seen[1].obs_mean, seen[2].obs_mean)


def test_expert_model_has_the_recipe() -> None:
    model, venv = make_expert_model("Hopper-v5", ExpertRecipe(), seed=0)
    assert (venv.num_envs, model.n_steps, model.batch_size, model.n_epochs) == (16, 128, 128, 10)
    assert [model.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == [3e-4, 1.5e-4, 0.0]
    assert (model.gamma, model.gae_lambda, model.clip_range(1.0)) == (0.99, 0.95, 0.2)
    assert (venv.norm_obs, venv.norm_reward, venv.gamma) == (True, True, 0.99)
    shapes = [tuple(p.shape) for p in model.policy.mlp_extractor.policy_net.parameters()]
    assert shapes == [(64, 11), (64,), (64, 64), (64,)]
    assert isinstance(model.policy.mlp_extractor.policy_net[1], torch.nn.Tanh)


@pytest.mark.parametrize("cls", [GAIL, AIRL, BC])
def test_a_model_of_this_library_is_recorded_as_it_acts(cls: Any, tmp_path: Path) -> None:
    kwargs = {} if cls is BC else {"n_steps": 64}
    model = cls("MlpPolicy", "Hopper-v5", "Hopper-v5", seed=0, device="cpu", **kwargs)
    model.learn(100).save(tmp_path / "model")
    out, command = tmp_path / "out.npz", ["record", "--env", "Hopper-v5", "--episodes", "1"]
    main([*command, "--model", str(tmp_path / "model.zip"), "--out", str(out)])
    demos = Demonstrations.load(out)
    acts = model.predict(demos.obs, deterministic=True)[0]
    np.testing.assert_allclose(demos.acts, acts, atol=1e-4)


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


def test_plain_policy_acts_as_the_model_in_its_environment() -> None:
    model, venv = make_expert_model("Hopper-v5", TINY, seed=0)
    venv.obs_rms.mean, venv.obs_rms.var = np.linspace(-1, 1, 11), np.linspace(0.01, 9, 11)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(100)
    obs = np.random.default_rng(0).normal(size=(20, 11)) * 5
    expected, _ = model.predict(venv.normalize_obs(obs), deterministic=True)
    assert expected.std() > 0.1
    np.testing.assert_allclose(np.clip(plain_policy(model, venv)(obs), -1, 1), expected, atol=1e-5)


def test_expert_leaves_torch_threads_as_they_were(request: pytest.FixtureRequest) -> None:
    count = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(count))
    torch.set_num_threads(2)
    train_expert("InvertedPendulum-v5", total_timesteps=1, seed=0, selection_seeds=[1], recipe=TINY)
    assert torch.get_num_threads() == 2


def test_tasks_have_recipes_of_their_own() -> None:
    assert recipe_for("Ant-v5") == ExpertRecipe(
        n_envs=32, batch_size=256, learning_rate=2e-4, log_std_init=-1.5
    )
    fast = ExpertRecipe(
        n_envs=64, n_steps=32, batch_size=256, learning_rate=1e-3, log_std_init=-0.5
    )
    assert recipe_for("Walker2d-v5") == fast
    assert recipe_for("HalfCheetah-v4") == dataclasses.replace(fast, gamma=0.98)
    assert recipe_for("Hopper-v5") == recipe_for("my_tasks:Slider-v0") == ExpertRecipe()


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
            (["--seed", "-1"], "--seed is -1: give a whole number from 0"),
            (["--algo", "ppo"], "go with --model"),
            (["--policy", "a:b", "--model", "c.zip"], "give one of them"),
            (["--policy", "a:b", "--resume"], "leave out --model and --policy"),
            (["--policy", "json"], "write module:function"),
            (["--policy", "json:"], "write module:function"),
            (["--policy", "no_such_module:f"], "'no_such_module' cannot be imported"),
            (["--policy", "json:no_such"], "'json' has no function 'no_such'"),
            (["--resume"], "no training was interrupted there, leave out --resume"),
            (["--model", "nowhere.partial.pt"], "does not exist"),
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


def test_what_goes_on_is_the_model_that_was_kept(tmp_path: Path) -> None:
    def make(seed: int = 0) -> tuple[Any, VecNormalize]:
        return make_expert_model("InvertedPendulum-v5", TINY, seed)

    kept = PartialExpert(tmp_path / "a.partial.pt", {"seed": 0})
    model, venv = make()
    model.learn(512)
    best = plain_policy(model, venv)
    kept.save(model, venv, best, [(256, 1.5), (512, 2.5)])
    fresh, fresh_venv = make()
    policy, checkpoints = kept.restore(fresh, fresh_venv)
    assert checkpoints == [(256, 1.5), (512, 2.5)]
    assert fresh.num_timesteps == 512
    obs = np.random.default_rng(0).normal(size=(9, 4))
    np.testing.assert_array_equal(policy(obs), best(obs))
    np.testing.assert_array_equal(plain_policy(fresh, fresh_venv)(obs), best(obs))
    assert fresh_venv.ret_rms.var == venv.ret_rms.var
    moments = zip(model.policy.optimizer.state.values(), fresh.policy.optimizer.state.values(),
                  strict=True)  # fmt: skip
    assert all(torch.equal(a["exp_avg"], b["exp_avg"]) for a, b in moments)
    fresh.learn(256, reset_num_timesteps=False)
    assert fresh.num_timesteps == 768
    other, other_venv = make_expert_model("Hopper-v5", TINY, 0)
    with pytest.raises(InputError, match="does not fit"):
        kept.restore(other, other_venv)


def test_a_kept_expert_that_is_damaged_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.partial.pt"
    for content in ({"format": "l2l_gail.partial_expert", "settings": {}}, {"format": "x"}, [1]):
        path.unlink(missing_ok=True)
        save_tensors(path, content)
        with pytest.raises(InputError, match=r"does not fit|is no expert in training"):
            partial_policy(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="damaged"):
        partial_policy(path)
