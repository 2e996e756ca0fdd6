"""The embedded demonstrations: what their provenance says of them holds."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from l2l_gail.demos import Demonstrations, embedded
from l2l_gail.demos.embedded import POLICY_SUFFIX, embedded_path
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.gym_env import make_env

LEAST_RETURN = {"HalfCheetah-v5": 4000, "Hopper-v5": 3000, "Walker2d-v5": 3500}


def test_these_sets_are_embedded() -> None:
    assert embedded() == sorted(LEAST_RETURN)


@pytest.mark.parametrize("name", LEAST_RETURN)
class TestEmbedded:
    """Every set: what its provenance says of it holds."""

    @pytest.fixture
    def demos(self, name: str) -> Demonstrations:
        return Demonstrations.load(name)

    @pytest.fixture
    def provenance(self, name: str) -> dict:
        return json.loads(embedded_path(name).with_suffix(".json").read_text())

    def test_is_small_and_good(self, name: str, demos: Demonstrations) -> None:
        folder = embedded_path(name).parent
        assert sum(path.stat().st_size for path in folder.glob(f"{name}.*")) < 500_000
        assert demos.env_id == name
        assert demos.n_episodes >= 4
        assert demos.expert_return is not None
        assert demos.expert_return >= LEAST_RETURN[name]
        assert demos.returns.min() >= 0.9 * LEAST_RETURN[name]
        assert demos.random_return is not None
        assert demos.random_return < 100
        assert np.abs(demos.acts).max() <= 1.0

    def test_is_the_file_of_its_provenance(
        self, name: str, demos: Demonstrations, provenance: dict
    ) -> None:
        content = embedded_path(name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == provenance["sha256"]
        assert provenance["licence"] == "MIT"
        assert provenance["command"].startswith(f"python -m l2l_gail.demos record --env {name}")
        assert provenance["expert"]["mean_return"] == demos.expert_return
        assert provenance["random"]["mean_return"] == demos.random_return
        np.testing.assert_allclose(provenance["episodes"]["returns"], demos.returns, atol=1e-3)
        seeds = provenance["episodes"]["reset_seeds"]
        assert seeds == list(range(seeds[0], seeds[0] + demos.n_episodes))

    def test_observations_follow_one_another(self, demos: Demonstrations) -> None:
        inside = np.ones(len(demos), dtype=bool)
        inside[demos.episode_starts + demos.episode_lengths - 1] = False
        following = np.flatnonzero(inside)
        np.testing.assert_array_equal(demos.next_obs[following], demos.obs[following + 1])

    def test_replaying_the_actions_gives_the_observations(
        self, name: str, demos: Demonstrations, provenance: dict
    ) -> None:
        env = make_env(name)
        obs, _ = env.reset(seed=provenance["episodes"]["reset_seeds"][1])
        start = int(demos.episode_starts[1])
        for step in range(start, start + 50):
            np.testing.assert_allclose(obs, demos.obs[step], atol=1e-4)
            obs, reward, *_ = env.step(demos.acts[step])
            assert reward == pytest.approx(demos.rews[step], abs=1e-3)
        env.close()

    def test_policy_beside_it_played_it(self, name: str, demos: Demonstrations) -> None:
        path = embedded_path(name)
        policy = MlpPolicy.load(path.with_name(name + POLICY_SUFFIX))
        again = np.clip(policy(demos.obs), -1, 1)
        # The policy saw float64 observations; the file holds them as float32.
        np.testing.assert_allclose(again, demos.acts, atol=1e-4)
