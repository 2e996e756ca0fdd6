"""The policy whose states were nearest to the expert's is kept, and measured beside the last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import envs
from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.checkpoints import load_checkpoint, save_checkpoint
from l2l_gail.compare import compare
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail import BC, GAIL, L2LGAIL, DiscriminatorConfig, TrainingRun
from l2l_gail.gail.discriminator import TanhDiscriminator
from l2l_gail.play import main
from l2l_gail.runs import RunFolder
from l2l_gail.snapshots import NEAREST, has_policy, load_policy
from tests.comparison.support import gail_run
from tests.gail.support import ENV_ID, walk_demos, walk_envs
from tests.gail.tensor_support import OwnPolicy, make

ROLLOUT = 2 * 32
ENV = "Hopper-v5"


class Told:
    """A distance that is what a list says, one after the other, and then 9."""

    def __init__(self, distances: Sequence[float]) -> None:
        self.left = list(distances)

    def __call__(self, obs: np.ndarray) -> float:
        return self.left.pop(0) if self.left else 9.0


def run_of(
    folder: RunFolder,
    distances: Sequence[float] | None,
    cls: type[GAIL] = GAIL,
    policy: Any = "MlpPolicy",
    **kwargs: Any,
) -> TrainingRun:
    env = envs.make(ENV, 2, device="cpu", max_episode_steps=25)
    demos = Demonstrations.load(ENV)
    model = make(cls, env, policy, demos, n_steps=32, batch_size=32, **kwargs)
    told: Any = None if distances is None else Told(distances)
    return TrainingRun(model, folder, TrueReturnCallback(ENV, [3], ROLLOUT, state_distance=told))


def test_it_is_told_where_states_are_nearer_than_ever() -> None:
    told: Any = Told([3.0, 1.0, 2.0, 1.0, 0.5])
    evaluation = TrueReturnCallback(ENV_ID, [3], 1, state_distance=told)
    at: list[int] = []
    evaluation.on_nearest = lambda: at.append(len(evaluation.curve["steps"]))
    model = GAIL("MlpPolicy", walk_envs(2), walk_demos(), seed=0)
    model._setup_learn(1)
    evaluation.init_callback(model)
    for _ in range(5):
        evaluation.measure()
    assert at == [1, 2, 4, 5]  # of two alike the later one
    assert evaluation.curve["state_w1"] == [3.0, 1.0, 2.0, 1.0, 0.5]


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_the_nearest_policy_is_kept_and_the_last_one_too(tmp_path: Path, cls: type[GAIL]) -> None:
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    run = run_of(folder, [2.0, 1.0, 3.0, 3.5], cls)
    run.train(3 * ROLLOUT)
    nearest, last = (cls.load(folder.path / f"{name}.zip") for name in ("nearest", "model"))
    assert nearest.num_timesteps == 2 * ROLLOUT
    assert last.num_timesteps == 3 * ROLLOUT
    obs = np.random.default_rng(0).normal(size=(20, 11)).astype(np.float32)
    acted = nearest.predict(obs, deterministic=True)[0]
    assert not np.allclose(acted, last.predict(obs, deterministic=True)[0], atol=1e-6)
    space = last.action_space
    plain = np.clip(load_policy(folder.path, NEAREST)(obs), space.low, space.high)
    np.testing.assert_allclose(plain, acted, atol=2e-6)
    assert has_policy(folder.path, NEAREST)

    summary = run.summary([5, 6], {})
    played = run.evaluation.evaluate(lambda o: nearest.predict(o, deterministic=True)[0], [5, 6])
    assert summary["nearest_steps"] == 2 * ROLLOUT
    np.testing.assert_array_equal(summary["nearest_returns"], played.returns)
    np.testing.assert_array_equal(summary["nearest_lengths"], played.lengths)
    assert summary["curve"]["state_w1"] == [2.0, 1.0, 3.0]


def test_a_resumed_run_knows_how_near_it_was(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    run_of(folder, [2.0, 1.0]).train(2 * ROLLOUT)
    kept = (folder.path / "nearest.zip").read_bytes()
    again = run_of(folder, [1.5, 3.0])
    again.resume()
    again.train(4 * ROLLOUT)
    assert again.evaluation.curve["state_w1"] == [2.0, 1.0, 1.5, 3.0]
    assert (folder.path / "nearest.zip").read_bytes() == kept


def test_what_was_written_after_the_checkpoint_is_taken_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    run_of(folder, [2.0, 1.0]).train(2 * ROLLOUT)
    kept = (folder.path / "nearest.zip").read_bytes()
    (folder.path / "nearest.zip").write_bytes(b"of a future that will not come")
    again = run_of(folder, [1.5])
    again.resume()
    again.train(3 * ROLLOUT)
    assert (folder.path / "nearest.zip").read_bytes() == kept
    assert again.summary([5], {})["nearest_steps"] == 2 * ROLLOUT


def test_a_checkpoint_of_before_has_no_distances(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    run_of(folder, None).train(2 * ROLLOUT)
    state = load_checkpoint(folder.checkpoint)
    del state["nearest"]
    save_checkpoint(folder.checkpoint, state)
    again = run_of(folder, [1.5, 3.0])
    again.resume()
    again.train(4 * ROLLOUT)
    summary = again.summary([5], {})
    assert summary["nearest_steps"] == 3 * ROLLOUT
    assert {len(values) for values in summary["curve"].values()} == {4}
    assert "state_w1" not in summary["curve"]


class Wide(TanhDiscriminator):
    """A discriminator that ``load`` cannot make by itself."""

    def __init__(self, observations: Any, actions: Any) -> None:
        super().__init__(observations, actions, hidden_sizes=(7,))


@pytest.mark.parametrize("kwargs", [{"policy": OwnPolicy, "use_sde": True}, {"network": Wide}])
def test_models_that_load_only_with_help_are_measured_too(
    tmp_path: Path, kwargs: dict[str, Any]
) -> None:
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    if network := kwargs.pop("network", None):
        env = gymnasium.make(ENV)
        kwargs = {"discriminator_network": network(env.observation_space, env.action_space)}
    run = run_of(folder, [1.0, 2.0], **kwargs)
    run.train(2 * ROLLOUT)
    assert len(run.summary([5, 6], {})["nearest_returns"]) == 2


def test_a_hook_of_ones_own_is_called_too(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    first = run_of(folder, [2.0, 1.0, 3.0])
    called: list[int] = []
    first.evaluation.on_nearest = lambda: called.append(first.model.num_timesteps)
    run = TrainingRun(first.model, folder, first.evaluation)
    run.train(3 * ROLLOUT)
    assert called == [ROLLOUT, 2 * ROLLOUT]
    assert run.nearest is not None
    assert run.nearest.steps == 2 * ROLLOUT


def test_a_constant_reward_has_no_use_for_demonstrations(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ENV, "no_demos", 0)
    run = run_of(folder, [1.0], discriminator=DiscriminatorConfig(reward="constant"))
    run.train(ROLLOUT)
    assert run.nearest is None


def test_keeping_it_changes_no_training(tmp_path: Path) -> None:
    weights = []
    for distances in ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]):
        folder = RunFolder.create(tmp_path, ENV, f"gail{len(weights)}", 0)
        run = run_of(folder, distances)
        run.train(3 * ROLLOUT)
        weights.append([p.detach().numpy().copy() for p in run.model.policy.parameters()])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_distance_there_is_none(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    run = run_of(folder, None)
    run.train(ROLLOUT)
    assert not (folder.path / "nearest.zip").exists()
    assert "nearest_returns" not in run.summary([5], {})


def test_behaviour_cloning_has_no_other_than_its_last(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ENV_ID, "bc", 0)
    model = BC("MlpPolicy", walk_envs(2), walk_demos(), seed=0)
    told: Any = Told([2.0, 1.0])
    run = TrainingRun(model, folder, TrueReturnCallback(ENV_ID, [3], 10, state_distance=told))
    assert run.evaluation.on_nearest is None


@pytest.mark.slow
def test_the_comparison_has_a_column_for_it_where_runs_have_one(tmp_path: Path) -> None:
    for seed, returns in enumerate(([2900.0, 3100.0], [3000.0, 3000.0])):
        gail_run(tmp_path, "gail", seed, 1000, nearest_returns=returns, nearest_steps=30_000)
    gail_run(tmp_path, "older", 0, 2000)
    compare(tmp_path)
    lines = (tmp_path / "comparison" / "summary.md").read_text(encoding="utf-8").splitlines()
    (header, gail, older) = (
        next(line.split(" | ") for line in lines if line.startswith(f"| {name} |"))
        for name in ("method", "gail", "older")
    )
    place = header.index("nearest policy")
    assert gail[place] == "3000 [3000, 3000]"
    assert older[place] == "-"


@pytest.mark.parametrize("wrong", [{"nearest_returns": []}, {"state_w1": "far"}])
def test_a_damaged_one_is_left_out_and_said(tmp_path: Path, wrong: dict[str, Any]) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    gail_run(tmp_path, "gail", 1, 1000, **wrong)
    said: list[str] = []
    (section,) = compare(tmp_path, tell=said.append)
    assert [method.seeds for method in section.methods] == [[0]]
    assert any(next(iter(wrong)) in line for line in said)


def test_playing_one_that_is_not_there_names_what_is(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    folder.write_config({"env": ENV, "seed": 0})
    run_of(folder, None).train(ROLLOUT)
    with pytest.raises(InputError, match="no nearest policy, but: first, last"):
        main([str(folder.path), "--policy", "nearest"])
