from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from l2l_gail.errors import InputError
from l2l_gail.stats import (
    area_under_curve,
    bootstrap_band,
    bootstrap_interval,
    collapse_rate,
    iqm,
    max_drawdown,
    normalized_return,
    probability_of_improvement,
    seed_std,
    steps_to_fraction,
    tail_std,
)

scores = arrays(
    np.float64, st.integers(1, 24), elements=st.floats(-1e3, 1e3, allow_subnormal=False)
)


def test_normalised_return_puts_random_at_0_and_the_expert_at_1() -> None:
    np.testing.assert_allclose(
        normalized_return([20, 3000, 1510], random=20, expert=3000), [0, 1, 0.5]
    )
    with pytest.raises(InputError, match="not above a random policy's 20"):
        normalized_return([1], random=20, expert=20)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7], 7.0),
        ([1, 2, 9], 4.0),  # nothing is dropped
        ([1, 2, 3, 100], 2.5),  # one at each end
        ([100, 1, 2, 3, -50, 4, 5], 3.0),  # floor(7 / 4) = 1 at each end
        (range(8), 3.5),
        ([0, 0, 1, 1, 1, 3, 3, 9, 9, 9, 9, 9], 26 / 6),  # 3 at each end
    ],
)
def test_iqm_is_the_mean_of_the_middle_half(values, expected: float) -> None:
    assert float(iqm(list(values))) == pytest.approx(expected)


@given(scores, st.floats(0.1, 10), st.floats(-100, 100))
def test_iqm_moves_with_the_values_and_stays_inside_them(values, scale, shift) -> None:
    middle = float(iqm(values))
    assert values.min() - 1e-9 <= middle <= values.max() + 1e-9
    assert float(iqm(scale * values + shift)) == pytest.approx(scale * middle + shift, abs=1e-6)
    assert float(iqm(values[::-1])) == middle


def test_iqm_reduces_one_axis() -> None:
    grid = np.random.default_rng(0).normal(size=(3, 9))
    np.testing.assert_allclose(iqm(grid), [float(iqm(row)) for row in grid])
    np.testing.assert_allclose(iqm(grid.T, axis=0), iqm(grid))


def test_bootstrap_of_two_runs_is_the_exact_distribution() -> None:
    # Resamples of {0, 1}: means 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    assert bootstrap_interval([[0.0, 1.0]]) == (0.0, 1.0)
    assert bootstrap_interval([[0.0, 1.0]], confidence=0.4) == (0.5, 0.5)


def test_bootstrap_agrees_with_all_resamples_of_four_runs() -> None:
    values = [0.3, 1.9, 2.0, 7.5]
    every = [float(iqm(draw)) for draw in itertools.product(values, repeat=4)]
    low, high = bootstrap_interval([values], resamples=40_000)
    assert low == pytest.approx(np.quantile(every, 0.025), abs=0.06)
    assert high == pytest.approx(np.quantile(every, 0.975), abs=0.06)


def test_bootstrap_draws_inside_each_task() -> None:
    # Two tasks of constant scores: drawing across them would give a spread.
    low, high = bootstrap_interval([[1.0, 1.0], [5.0, 5.0]])
    assert (low, high) == (3.0, 3.0)


def test_bootstrap_is_reproducible_and_leaves_the_global_generator_alone() -> None:
    values = [np.random.default_rng(1).normal(size=5)]
    state = np.random.get_state()[1].copy()
    first = bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) == first
    few = bootstrap_interval(values, resamples=50, seed=3)
    assert bootstrap_interval(values, resamples=50, seed=4) != few
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = bootstrap_interval([generator.normal(size=20)], resamples=300)
        hits += low <= 0 <= high
    assert 170 <= hits <= 198  # the percentile interval of 20 runs covers a little too rarely


def test_the_interval_of_one_run_is_unknown() -> None:
    assert bootstrap_interval([[3.0]]) is None
    assert bootstrap_interval([[1.0, 2.0], [3.0]]) is None
    assert seed_std([3.0]) is None
    assert seed_std([1.0, 3.0]) == pytest.approx(np.sqrt(2))


@given(scores)
def test_the_interval_holds_the_iqm_of_identical_runs(values) -> None:
    constant = np.full(5, values[0])
    low, high = bootstrap_interval([constant], resamples=50)
    assert low == pytest.approx(values[0])
    assert high == pytest.approx(values[0])


def test_probability_of_improvement_counts_pairs() -> None:
    assert probability_of_improvement([[3, 4]], [[1, 2]]) == 1.0
    assert probability_of_improvement([[1, 2]], [[3, 4]]) == 0.0
    # Pairs of {1, 3} with {1, 2}: a tie, a loss, two wins.
    assert probability_of_improvement([[1, 3]], [[1, 2]]) == 2.5 / 4
    # Tasks count equally, whatever their number of runs.
    assert probability_of_improvement([[3, 4], [0]], [[1, 2], [1]]) == 0.5
    with pytest.raises(InputError, match="1 tasks against 2"):
        probability_of_improvement([[1]], [[1], [2]])


@given(scores, scores)
def test_probabilities_of_improvement_of_two_methods_add_to_one(mine, theirs) -> None:
    there = probability_of_improvement([mine], [theirs])
    back = probability_of_improvement([theirs], [mine])
    assert there + back == pytest.approx(1)


def test_tail_std_sees_the_end_only() -> None:
    assert tail_std([100, -100, *[1, 3] * 5]) == 1.0
    assert tail_std([1, 3], last=10) == 1.0
    assert tail_std([5]) == 0.0


def test_drawdown_is_the_largest_fall_once_the_run_is_half_way() -> None:
    assert max_drawdown([0.1, 0.9, 0.4, 1.0, 0.7]) == pytest.approx(0.5)
    assert max_drawdown([0.4, 0.1, 0.6, 0.5, 0.9]) == pytest.approx(0.1)
    assert max_drawdown([0.4, 0.0]) == 0.0


@given(scores)
def test_drawdown_agrees_with_its_definition(values) -> None:
    curve = values / 1000
    start = next((t for t in range(len(curve)) if curve[t] >= 0.5), len(curve))
    falls = [curve[start : t + 1].max() - curve[t] for t in range(start, len(curve))]
    assert max_drawdown(curve) == pytest.approx(max(falls, default=0.0))


def test_collapse_rate_counts_after_the_first_good_evaluation() -> None:
    assert collapse_rate([0.0, 0.9, 0.4, 0.6, 0.49, 0.8]) == 0.5
    assert collapse_rate([0.0, 0.8, 0.9]) == 0.0
    assert collapse_rate([0.7, 0.1]) is None
    assert collapse_rate([0.1, 0.9]) is None


def test_steps_to_95_percent_reads_the_smoothed_curve() -> None:
    steps = [10, 20, 30, 40, 50, 60]
    # A single spike at 20 is smoothed away; the plateau counts.
    curve = [0.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    assert steps_to_fraction(steps, curve, window=3) == 60
    assert steps_to_fraction(steps, curve, window=1) == 20
    assert steps_to_fraction(steps, np.linspace(0, 1, 6), window=1, fraction=0.6) == 40
    assert steps_to_fraction(steps, curve, maximum=2.0) is None
    assert steps_to_fraction(steps, -np.ones(6)) is None


def test_area_is_exact_for_straight_lines_at_uneven_steps() -> None:
    assert area_under_curve([0, 1, 5, 10], [0, 2, 10, 20]) == pytest.approx(10)
    assert area_under_curve([3], [7]) == 7
    with pytest.raises(InputError, match="2 steps for 1 values"):
        area_under_curve([1, 2], [1])
    with pytest.raises(InputError, match="do not increase"):
        area_under_curve([1, 1], [1, 2])


@pytest.mark.parametrize("statistic", [iqm, tail_std, max_drawdown, collapse_rate, seed_std])
def test_no_values_and_no_numbers_are_refused(statistic) -> None:
    with pytest.raises(InputError, match="no values"):
        statistic([])
    with pytest.raises(InputError, match="NaN or infinite"):
        statistic([1.0, float("nan")])


def test_bootstrap_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        bootstrap_interval([[1, 2]], confidence=95)
    with pytest.raises(InputError, match="at least one task"):
        bootstrap_interval([])
    with pytest.raises(InputError, match=r"those of one task: .* \[scores\]"):
        bootstrap_interval([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match=r"shape \(3,\): give a row for each seed"):
        bootstrap_band([1.0, 2.0, 3.0])


def test_windows_without_evaluations_are_refused() -> None:
    with pytest.raises(InputError, match="the last 0 evaluations: give 1 or more"):
        tail_std([1.0, 2.0], last=0)
    with pytest.raises(InputError, match="a window of 0 evaluations: give 1 or more"):
        steps_to_fraction([1, 2], [0.0, 1.0], window=0)


def test_tasks_may_be_the_rows_of_an_array() -> None:
    rows = np.array([[1.0, 2.0, 5.0, 9.0], [0.0, 3.0, 4.0, 7.0]])
    assert bootstrap_interval(rows) == bootstrap_interval(list(rows))
    assert probability_of_improvement(rows, rows - 10.0) == 1.0
    with pytest.raises(InputError, match="give at least one task"):
        bootstrap_interval(np.zeros((0, 4)))
