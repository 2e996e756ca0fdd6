from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL
from l2l_gail.gail.pace import PolicyPace
from tests.gail.models import ROLLOUT, make


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


def test_the_rate_of_a_training_is_ppos_times_the_pace_and_a_loaded_model_goes_on_with_it(
    tmp_path: Path,
) -> None:
    model = make(learning_rate=1e-2, policy_pace=1.0)
    margins = iter((4.0, 2.0, 1.0))
    updates = model.discriminator_updates
    updates.update = lambda expert, policy: (
        torch.zeros(len(policy)),
        {"disc/logit_expert": next(margins), "disc/logit_policy": 0.0},
    )
    model.learn(2 * ROLLOUT)
    share = (0.8 * 4.0 + 0.2 * 2.0) / 4.0
    assert model.pace.factor == pytest.approx(share)
    assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 * share)
    model.save(tmp_path / "model")
    loaded = GAIL.load(tmp_path / "model")
    assert loaded.policy_pace == 1.0
    assert loaded.pace.factor == model.pace.factor


def test_without_a_pace_and_a_correction_the_rate_is_ppos() -> None:
    model = make(learning_rate=1e-2, policy_pace=0.0, policy_divergence=0.0)
    model.learn(8 * ROLLOUT)
    assert model.policy.optimizer.param_groups[0]["lr"] == 1e-2


@pytest.mark.parametrize("pace", [-1.0, math.inf, math.nan])
def test_a_pace_that_cannot_be_is_refused(pace: float) -> None:
    with pytest.raises(InputError, match="policy_pace must be 0 or more and finite"):
        make(policy_pace=pace)
