"""Recording: episodes of a policy, as they were played."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from l2l_gail.demos.record import record_episodes
from l2l_gail.errors import InputError
from l2l_gail.evaluation import evaluate_policy_return


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
