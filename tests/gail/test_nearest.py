"""The policy whose states were nearest to the expert's is kept, and measured beside the last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.compare import compare
from l2l_gail.demos import Demonstrations
from l2l_gail.gail import BC, GAIL, L2LGAIL, TrainingRun
from l2l_gail.runs import RunFolder
from l2l_gail.snapshots import NEAREST, load_policy
from tests.comparison.support import gail_run
from tests.gail.support import ENV_ID, walk_demos, walk_envs
from tests.gail.tensor_support import make

ROLLOUT = 2 * 32
ENV = "Hopper-v5"


class Told:
    """A distance that is what a list says, one after the other."""

    def __init__(self, distances: Sequence[float]) -> None:
        self.left = list(distances)

    def __call__(self, obs: np.ndarray) -> float:
        return self.left.pop(0)


def run_of(folder: RunFolder, distances: Sequence[float], cls: type[GAIL] = GAIL) -> TrainingRun:
    env = envs.make(ENV, 2, device="cpu", max_episode_steps=25)
    demos = Demonstrations.load(ENV)
    model = make(cls, env, "MlpPolicy", demos, n_steps=32, batch_size=32)
    told: Any = Told(distances)
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
    run = run_of(folder, [])
    run.evaluation.state_distance = None
    run.train(ROLLOUT)
    assert not (folder.path / "nearest.zip").exists()
    assert "nearest_returns" not in run.summary([5], {})


def test_behaviour_cloning_has_no_other_than_its_last(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ENV_ID, "bc", 0)
    model = BC("MlpPolicy", walk_envs(2), walk_demos(), seed=0)
    told: Any = Told([2.0, 1.0])
    run = TrainingRun(model, folder, TrueReturnCallback(ENV_ID, [3], 10, state_distance=told))
    assert run.evaluation.on_nearest is None


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
