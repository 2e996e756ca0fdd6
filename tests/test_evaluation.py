"""The true return: what is summed, over which episodes, in which environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

import envs
from l2l_gail.errors import InputError
from l2l_gail.evaluation import Evaluation, evaluate_policy_return, random_policy

SHORT = {"max_episode_steps": 60}


def linear_policy(observations: np.ndarray) -> np.ndarray:
    """Some policy whose rows do not depend on each other; far beyond the action bounds."""
    gain = np.random.default_rng(0).normal(size=(11, 3)) * 3
    return (observations[:, :, None] * gain).sum(axis=1)


def play_by_hand(seed: int) -> tuple[float, int]:
    """One episode as anybody would write it."""
    env = gymnasium.make("Hopper-v5", **SHORT)
    obs, _ = env.reset(seed=seed)
    total, length, ended = 0.0, 0, False
    while not ended:
        action = np.clip(linear_policy(obs[None])[0], -1.0, 1.0).astype(np.float32)
        obs, reward, terminated, truncated, _ = env.step(action)
        total, length, ended = total + float(reward), length + 1, terminated or truncated
    return total, length


def test_lockstep_equals_one_episode_at_a_time() -> None:
    seeds = [3, 1, 4, 15]
    together = evaluate_policy_return(linear_policy, "Hopper-v5", seeds, SHORT)
    alone = [evaluate_policy_return(linear_policy, "Hopper-v5", [seed], SHORT) for seed in seeds]
    np.testing.assert_array_equal(together.returns, [one.returns[0] for one in alone])
    np.testing.assert_array_equal(together.lengths, [one.lengths[0] for one in alone])
    by_hand = [play_by_hand(seed) for seed in seeds]
    np.testing.assert_array_equal(together.returns, [total for total, _ in by_hand])
    np.testing.assert_array_equal(together.lengths, [length for _, length in by_hand])
    assert len(set(together.lengths.tolist())) > 1  # so some had to wait for none


def test_only_running_episodes_are_asked_for() -> None:
    batches = []

    def counting(observations: np.ndarray) -> np.ndarray:
        batches.append(len(observations))
        return linear_policy(observations)

    result = evaluate_policy_return(counting, "Hopper-v5", range(5), SHORT)
    assert sum(batches) == result.lengths.sum()
    assert len(batches) == result.lengths.max()
    assert batches == sorted(batches, reverse=True)


def test_a_batch_of_environments_plays_the_same_episodes() -> None:
    def batch(env_id: str, n: int, kwargs: Mapping[str, Any]) -> envs.BatchedEnv:
        return envs.make(env_id, n, "cpu", **kwargs)

    seeds = [3, 1, 4, 15, 9]
    alone = evaluate_policy_return(linear_policy, "Hopper-v5", seeds, SHORT)
    batched = evaluate_policy_return(linear_policy, "Hopper-v5", seeds, SHORT, batch)
    np.testing.assert_array_equal(batched.returns, alone.returns)
    np.testing.assert_array_equal(batched.lengths, alone.lengths)
    assert len(set(alone.lengths.tolist())) > 1


def test_environment_arguments_reach_the_environment() -> None:
    result = evaluate_policy_return(
        lambda obs: np.zeros((len(obs), 3)),
        "Hopper-v5",
        [0],
        {"max_episode_steps": 7, "healthy_reward": 100.0, "forward_reward_weight": 0.0},
    )
    assert result.lengths.tolist() == [7]
    assert result.returns[0] == pytest.approx(700.0)


def test_figures_of_an_evaluation() -> None:
    result = Evaluation(np.array([1.0, 3.0]), np.array([10, 20]))
    assert (result.mean_return, result.std_return, result.mean_length) == (2.0, 1.0, 15.0)


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_policy_whose_actions_are_not_finite_is_named_as_that(in_batch: bool) -> None:
    make_batch = envs.batch_of_episodes("Hopper-v5", {}) if in_batch else None
    with pytest.raises(InputError, match="the policy gives actions that are not finite: its weigh"):
        evaluate_policy_return(
            lambda obs: np.full((len(obs), 3), np.nan), "Hopper-v5", [0], SHORT, make_batch
        )


class Blind(gymnasium.Env):
    """Rewards are no numbers, from the third step on observations neither."""

    observation_space = Box(-1, 1, (2,), np.float64)
    action_space = Box(-1, 1, (1,), np.float32)
    see_for = 99

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2), {}

    def step(self, action: np.ndarray):
        self.t += 1
        return np.full(2, np.nan if self.t > self.see_for else 0.0), np.nan, False, False, {}


@pytest.mark.filterwarnings("ignore:.*WARN:UserWarning")
def test_rewards_and_observations_that_are_not_finite_are_named_as_that() -> None:
    gymnasium.register("Blind-v0", Blind, max_episode_steps=9)
    try:
        with pytest.warns(RuntimeWarning, match="rewards of the environment were not finite, in 2"):
            result = evaluate_policy_return(lambda obs: obs[:, :1], "Blind-v0", [4, 5])
        assert np.isnan(result.returns).all()
        Blind.see_for = 3
        with pytest.raises(InputError, match="an observation of the environment is not finite"):
            evaluate_policy_return(lambda obs: obs[:, :1], "Blind-v0", [4])
    finally:
        del gymnasium.registry["Blind-v0"]


def test_no_seeds_is_wrong_input() -> None:
    with pytest.raises(InputError, match="at least one seed"):
        evaluate_policy_return(linear_policy, "Hopper-v5", [])


def test_random_policy_draws_from_the_space_and_repeats_by_seed() -> None:
    low, high = np.array([[-2.0, 0.0], [2.0, 0.5]], dtype=np.float32)
    space = Box(low, high, dtype=np.float32)
    observations = np.zeros((500, 3))
    first, second = random_policy(space, seed=1), random_policy(space, seed=1)
    actions = first(observations)
    np.testing.assert_array_equal(actions, second(observations))
    assert not np.array_equal(actions, first(observations))
    assert not np.array_equal(actions, random_policy(space, seed=2)(observations))
    assert (actions >= space.low).all()
    assert (actions <= space.high).all()
    np.testing.assert_allclose(actions.mean(axis=0), [0.0, 0.25], atol=0.2)
    assert actions.dtype == np.float32
