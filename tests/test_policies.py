"""What may be played: functions and live models; everything else is one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import envs
from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.demos.record import record_episodes
from l2l_gail.errors import InputError
from l2l_gail.evaluation import evaluate_policy_return
from l2l_gail.policies import as_predict

PENDULUM = {"max_episode_steps": 20}
HOPPER = {"max_episode_steps": 5}


def still(observations: np.ndarray) -> np.ndarray:
    return np.zeros((len(observations), 3))


@pytest.fixture(scope="module")
def ppo() -> PPO:
    return PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8, seed=0, device="cpu")


@pytest.fixture(params=[evaluate_policy_return, record_episodes])
def play(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param


def test_a_live_model_is_played_as_it_acts_without_noise(play: Callable[..., Any], ppo) -> None:
    by_hand = play(
        lambda obs: ppo.predict(obs, deterministic=True)[0], "Pendulum-v1", [0, 1], PENDULUM
    )
    for model in (ppo, ppo.policy):
        np.testing.assert_array_equal(
            play(model, "Pendulum-v1", 2, PENDULUM).returns, by_hand.returns
        )


def test_a_model_of_classes_is_played_too(play: Callable[..., Any]) -> None:
    dqn = DQN("MlpPolicy", "CartPole-v1", buffer_size=10, seed=0, device="cpu")
    assert len(play(dqn, "CartPole-v1", range(2)).returns) == 2


def test_a_model_is_played_behind_its_vecnormalize() -> None:
    venv = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]))
    venv.obs_rms.mean, venv.obs_rms.var = np.array([0.1, 0.2, 0.3]), np.array([2.0, 3.0, 4.0])
    model = PPO("MlpPolicy", venv, n_steps=8, batch_size=8, seed=0, device="cpu")
    raw = np.random.default_rng(0).normal(size=(5, 3))
    expected, _ = model.predict(venv.normalize_obs(raw), deterministic=True)
    np.testing.assert_array_equal(as_predict(model)(raw), expected)
    assert not np.allclose(as_predict(model)(raw), model.predict(raw, deterministic=True)[0])


def test_a_callback_takes_a_model_and_a_number_of_episodes(ppo: PPO) -> None:
    callback = TrueReturnCallback("Pendulum-v1", 2, 100, PENDULUM)
    assert list(callback.seeds) == [0, 1]
    assert len(callback.evaluate(ppo, callback.seeds).returns) == 2


class Remembering:
    def predict(self, observation: Any, *, deterministic: bool) -> tuple[np.ndarray, Any]:
        return still(observation), np.zeros(3)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("ppo", r"the predict of a PPO does not play here \(.*observation shape"),
        (Remembering(), "a Remembering remembers what it has seen"),
        (3, "the policy is an int: give a function"),
        (lambda obs: 0.0, r"gives actions of shape \(\) where \(1, 3\) is needed"),
        (lambda obs: np.zeros((len(obs), 1)), r"shape \(1, 1\) where \(1, 3\) is needed"),
        (lambda obs: np.zeros(len(obs)), r"shape \(1,\) where \(1, 3\) is needed"),
        (lambda obs: np.zeros((2, 3)), r"shape \(2, 3\) where \(1, 3\) is needed"),
        (lambda obs: None, "gives a NoneType where an array"),
        (lambda obs: torch.zeros(1, 3, requires_grad=True), "gives a Tensor where an array"),
    ],
)
def test_what_is_no_policy_of_the_environment_is_one_line(
    play: Callable[..., Any], ppo: PPO, policy: Any, said: str
) -> None:
    policy = ppo if isinstance(policy, str) else policy
    with pytest.raises(InputError, match=said) as caught:
        play(policy, "Hopper-v5", 1, HOPPER)
    assert "\n" not in str(caught.value)


def test_the_predict_of_a_model_alone_is_one_line(play: Callable[..., Any], ppo: PPO) -> None:
    with pytest.raises(InputError, match=r"gives a tuple where .* give the model itself"):
        play(ppo.predict, "Pendulum-v1", 1, PENDULUM)


def test_nothing_is_broadcast_in_a_batch_either() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 1\) where \(2, 3\) is needed"):
        evaluate_policy_return(
            lambda obs: np.zeros((len(obs), 1)), "Hopper-v5", 2, HOPPER,
            envs.batch_of_episodes("Hopper-v5", HOPPER),
        )  # fmt: skip


@pytest.mark.parametrize("seeds", [0, -1, [], [-3], "two", 1.5, [0.5], None])
def test_what_are_no_seeds_is_one_line(play: Callable[..., Any], seeds: Any) -> None:
    with pytest.raises(InputError, match="seed"):
        play(still, "Hopper-v5", seeds, HOPPER)


def test_seeds_in_an_array_are_taken(play: Callable[..., Any]) -> None:
    assert len(play(still, "Hopper-v5", np.array([3, 4]), HOPPER).returns) == 2
    assert len(play(still, "Hopper-v5", np.int64(3), HOPPER).returns) == 3


def test_a_live_environment_is_one_line(play: Callable[..., Any]) -> None:
    env = gymnasium.make("Hopper-v5")
    try:
        with pytest.raises(InputError, match="is given by its id, such as 'Hopper-v5', and this"):
            play(still, env, 1)
    finally:
        env.close()
