"""Experts over classes, dicts and images that GAIL imitates, by the library and by the script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import train_gail
from l2l_gail.core import Adam, CoordinateMLP
from l2l_gail.errors import InputError
from l2l_gail.evaluation import evaluate_policy_return, random_policy
from l2l_gail.gail import GAIL, L2LGAIL, DiscriminatorConfig
from l2l_gail.snapshots import load_policy
from tests.gail.worlds import corners_expert, dot_expert, envs_of, recorded
from tests.marks import slow


def true_return(model: GAIL, env_id: str) -> float:
    def play(obs: Any) -> np.ndarray:
        return model.predict(obs, deterministic=True)[0]

    return evaluate_policy_return(play, env_id, range(100, 110)).mean_return


def chance(env_id: str) -> float:
    space = gymnasium.make(env_id).action_space
    return evaluate_policy_return(random_policy(space, 0), env_id, range(100, 110)).mean_return


def share_of_expert(model: GAIL, env_id: str, expert: Any) -> float:
    """0 for random actions, 1 for the expert."""
    at_best = evaluate_policy_return(expert, env_id, range(100, 110)).mean_return
    at_random = chance(env_id)
    return (true_return(model, env_id) - at_random) / (at_best - at_random)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [Adam(3e-4), slow(CoordinateMLP(3e-4, seed=0))])
def test_cartpole_is_balanced_as_by_the_expert(rule: Any) -> None:
    demos = recorded("CartPole-v1", 3)
    assert demos.returns.tolist() == [500.0] * 3
    env = envs_of("CartPole-v1", 8)
    model = GAIL("MlpPolicy", env, demos, rule=rule, n_steps=64, learning_rate=1e-3, seed=0)
    model.learn(6_000)
    assert true_return(model, "CartPole-v1") > 400
    assert chance("CartPole-v1") < 40


@pytest.mark.slow
def test_a_corner_that_is_named_by_a_class_is_found() -> None:
    demos = recorded("tests/Corners-v0", 20)
    env = envs_of("tests/Corners-v0", 8)
    model = GAIL(
        "MultiInputPolicy",
        env,
        demos,
        rule=Adam(3e-3),
        discriminator=DiscriminatorConfig(batch_size=128),
        n_steps=32,
        batch_size=64,
        learning_rate=3e-3,
        seed=0,
        device="cpu",
    )
    assert share_of_expert(model, "tests/Corners-v0", corners_expert) < 0.2
    model.learn(12_000)
    assert share_of_expert(model, "tests/Corners-v0", corners_expert) > 0.5


@pytest.mark.slow
def test_what_a_picture_shows_is_named() -> None:
    demos = recorded("tests/Dot-v0", 20)
    env = envs_of("tests/Dot-v0", 8)
    model = GAIL(
        "CnnPolicy",
        env,
        demos,
        rule=Adam(1e-3),
        discriminator=DiscriminatorConfig(batch_size=128),
        policy_kwargs={"features_extractor_kwargs": {"features_dim": 32}},
        n_steps=32,
        n_epochs=4,
        batch_size=64,
        learning_rate=1e-3,
        seed=0,
        device="cpu",
    )
    assert share_of_expert(model, "tests/Dot-v0", dot_expert) < 0.3
    model.learn(16_000)
    assert share_of_expert(model, "tests/Dot-v0", dot_expert) > 0.8


@pytest.mark.slow
@pytest.mark.usefixtures("hardly_cloned")
@pytest.mark.parametrize("env_id", ["CartPole-v1", "tests/Corners-v0"])
def test_the_script_trains_and_goes_on_in_any_space(env_id: str, tmp_path: Path) -> None:
    recorded(env_id, 2).save(tmp_path / "demos.npz")
    command = ["--env", env_id, "--demos", str(tmp_path / "demos.npz"), "--method", "l2l_gail"]
    command += ["--out", str(tmp_path), "--n-envs", "2", "--n-steps", "16", "--eval-every", "32"]
    command += ["--learned", "both"]
    train_gail.main([*command, "--total-timesteps", "64"])
    train_gail.main([*command, "--total-timesteps", "128", "--resume"])
    (run,) = tmp_path.rglob("seed0")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 128
    assert {"expert_return", "random_return", "bc_return"} <= summary.keys()
    model = L2LGAIL.load(run / "model.zip", device="cpu")
    if env_id != "CartPole-v1":
        with pytest.raises(InputError, match=r"GAIL\.load"):
            load_policy(run, "last")
        return
    seen = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    expected = model.predict(seen, deterministic=True)[0]
    np.testing.assert_array_equal(load_policy(run, "last")(seen), expected)
    (run / "policies" / "last.npz").unlink()  # the policy of model.zip stands in
    np.testing.assert_array_equal(load_policy(run, "last")(seen), expected)
