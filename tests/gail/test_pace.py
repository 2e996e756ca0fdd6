from __future__ import annotations

import math

import pytest

from l2l_gail.gail.pace import PolicyPace


def test_the_rate_stays_as_it_is_while_the_margin_grows() -> None:
    pace = PolicyPace(0.5)
    assert pace.factor == 1.0
    for margin in (0.1, 1.0, 5.0):
        pace.observe(margin)
        assert pace.factor == 1.0


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_rate_is_a_power_of_the_averaged_margins_share_of_the_largest(power: float) -> None:
    pace = PolicyPace(power)
    pace.observe(4.0)
    pace.observe(2.0)
    average = 0.8 * 4.0 + 0.2 * 2.0
    assert pace.factor == pytest.approx((average / 4.0) ** power)
    for _ in range(200):
        pace.observe(1.0)
    assert pace.factor == pytest.approx(0.25**power)


def test_a_margin_of_the_wrong_sign_leaves_a_small_rate() -> None:
    pace = PolicyPace(1.0)
    pace.observe(4.0)
    for _ in range(200):
        pace.observe(-3.0)
    assert pace.factor == pytest.approx(0.01)


@pytest.mark.parametrize("margin", [math.nan, math.inf, -math.inf])
def test_a_margin_that_is_not_finite_is_left_out(margin: float) -> None:
    pace = PolicyPace(0.5)
    pace.observe(4.0)
    pace.observe(margin)
    assert float(pace.margin) == 4.0


def test_margins_below_zero_from_the_start_leave_the_rate() -> None:
    pace = PolicyPace(0.5)
    pace.observe(-1.0)
    assert pace.factor == 1.0


def test_its_state_goes_on_where_it_was() -> None:
    pace, other = PolicyPace(0.5), PolicyPace(0.5)
    for margin in (3.0, 2.0, 1.0):
        pace.observe(margin)
    other.load_state_dict(pace.state_dict())
    pace.observe(0.5)
    other.observe(0.5)
    assert pace.factor == other.factor < 1.0
