"""Experts are trained in any unit; what no training can do with is said before it."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest

from l2l_gail.evaluation import evaluate_policy_return
from l2l_gail.recording.expert import Expert, ExpertRecipe, train_expert
from l2l_gail.recording.normalization import variance_floor

ENV_ID = "tests/UnitReach-v0"


class UnitReach(gymnasium.Env):
    """A point to be moved to the origin, in units of one's own."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as Gymnasium has it
    render_mode = None

    def __init__(
        self,
        observed: float = 1.0,
        paid: float = 1.0,
        acted: float = 1.0,
        offset: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        self.observed, self.paid, self.acted, self.offset = observed, paid, acted, offset
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-acted, acted, (2,), np.float32)

    def _seen(self) -> np.ndarray:
        return (self.at * self.observed + self.offset).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.uniform(-1, 1, 2)
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at = self.at + 0.3 * np.clip(action / self.acted, -1, 1)
        return self._seen(), -float(np.abs(self.at).sum()) * self.paid, False, False, {}


gymnasium.register(ENV_ID, entry_point=UnitReach, max_episode_steps=20)


def trained(**kwargs: float) -> Expert:
    recipe = ExpertRecipe(n_envs=8, n_steps=64, batch_size=64, learning_rate=1e-3)
    return train_expert(
        ENV_ID,
        total_timesteps=12_288,
        seed=0,
        selection_seeds=range(20, 30),
        env_kwargs=kwargs,
        recipe=recipe,
        n_checkpoints=4,
    )


@pytest.mark.parametrize("kwargs", [{}, {"observed": 1e-6}, {"paid": 1e-6}])
def test_an_expert_learns_in_any_unit_of_observations_and_rewards(kwargs: dict[str, float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expert = trained(**kwargs)
    found = evaluate_policy_return(expert.policy, ENV_ID, range(50, 60), kwargs).mean_return
    assert found / kwargs.get("paid", 1.0) > -2.0


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"acted": 1e-3}, "actions reach 0.001 .* nearly all that it tries is clipped"),
        ({"acted": 1e3}, r"actions reach 1e\+03 .* it tries hardly any of them"),
        ({"offset": 1e7}, r"2 of 2 observation entries \(the first: 0, around 1e\+07\) are so"),
    ],
)
def test_units_that_no_training_can_do_with_are_said(kwargs: dict[str, float], said: str) -> None:
    with pytest.warns(UserWarning, match=said):
        train_expert(ENV_ID, total_timesteps=1, seed=0, selection_seeds=range(2), env_kwargs=kwargs)


def test_the_floor_is_that_of_sb3_where_nothing_is_small() -> None:
    assert variance_floor(np.array([0.0, 1e-6])) == variance_floor(3.0) == 1e-8
    assert variance_floor(np.array([1e-12, 1e-14])) == pytest.approx(1e-14)
    assert variance_floor(np.zeros(2)) == 1e-8
