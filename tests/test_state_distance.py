"""Wasserstein-1 of states: against sorted samples, by hand, and at evaluation time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.errors import InputError
from l2l_gail.state_distance import StateDistance, wasserstein_1
from tests.gail.models import assert_same_weights, make
from tests.gail.support import ENV_ID, TIME_LIMIT, walk_demos


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 12), m=st.integers(1, 12), seed=st.integers(0, 10))
def test_it_is_the_mean_gap_of_sorted_samples_of_one_size(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) * 2 + 1
    same_size = np.sort(np.repeat(a, m, axis=0), axis=0), np.sort(np.repeat(b, n, axis=0), axis=0)
    expected = np.abs(same_size[0] - same_size[1]).mean(axis=0)
    np.testing.assert_allclose(wasserstein_1(a, b), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(wasserstein_1(b, a), expected, rtol=1e-9, atol=1e-12)


def test_a_shift_is_as_far_as_it_is_long_and_order_does_not_matter() -> None:
    a = np.random.default_rng(0).normal(size=(500, 2))
    assert wasserstein_1(a, a[::-1]) == pytest.approx([0, 0])
    assert wasserstein_1(a + np.array([0.5, -2.0]), a[::-1]) == pytest.approx([0.5, 2.0])


def test_states_are_in_units_of_the_expert() -> None:
    rng = np.random.default_rng(0)
    expert = rng.normal(size=(1000, 2)) * [1.0, 100.0] + [5.0, -7.0]
    distance = StateDistance(expert)
    assert distance(expert) == 0
    assert distance(expert + np.array([0.0, 100.0])) == pytest.approx(
        0.5, rel=0.05
    )  # one of two entries
    assert distance(expert + np.array([1e9, 0.0])) == pytest.approx(5, rel=0.05)  # clipped at 10


def test_a_large_offset_hides_no_distance() -> None:
    expert = np.random.default_rng(0).normal(size=(500, 2)) + 1.7e9
    assert StateDistance(expert)(expert + 5.0) == pytest.approx(5.0, rel=0.05)


def test_an_array_without_states_is_refused() -> None:
    for wrong in (np.zeros(3), np.zeros((0, 3)), np.zeros((2, 3, 4))):
        with pytest.raises(InputError, match="have no distance"):
            StateDistance(wrong)


def test_evaluations_measure_all_states_in_which_an_action_was_taken() -> None:
    distance = StateDistance(walk_demos().obs)
    evaluation = TrueReturnCallback(ENV_ID, [3, 4], every=32, state_distance=distance)
    seen: list[np.ndarray] = []

    def stand_still(obs: np.ndarray) -> np.ndarray:
        seen.append(obs.copy())
        return np.zeros((len(obs), 1), np.float32)

    result, found = evaluation.evaluate_states(stand_still, [3, 4])
    assert result.lengths.tolist() == [TIME_LIMIT] * 2
    assert len(np.concatenate(seen)) == 2 * TIME_LIMIT
    assert found == distance(np.concatenate(seen))
    without = TrueReturnCallback(ENV_ID, [3, 4], every=32)
    again, none = without.evaluate_states(stand_still, [3, 4])
    assert none is None
    np.testing.assert_array_equal(again.returns, result.returns)


def test_a_distance_changes_neither_curve_nor_training() -> None:
    curves, models = [], []
    for distance in (StateDistance(walk_demos().obs), None):
        evaluation = TrueReturnCallback(ENV_ID, [3], every=32, state_distance=distance)
        models.append(make().learn(64, callback=evaluation))
        curves.append(evaluation.curve)
    assert len(curves[0].pop("state_w1")) == 2
    assert curves[0] == curves[1]
    assert_same_weights(*models)
