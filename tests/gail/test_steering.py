"""The policy's learning rate, steered to updates of one length."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL, L2LGAIL
from l2l_gail.gail.steering import PolicySteering
from tests.gail.models import ROLLOUT, assert_same_weights, make
from tests.gail.tensor_support import ROLLOUT as LONGER_ROLLOUT
from tests.gail.tensor_support import LoggedAtRolloutEnd, TensorWalk
from tests.gail.tensor_support import make as make_on


def test_the_rate_rises_where_the_policy_moves_too_little_and_falls_where_too_far() -> None:
    steering = PolicySteering(0.04)
    steering.observe(0.04)
    assert steering.factor.item() == pytest.approx(1.0)
    steering.observe(0.04 / 1.21)
    assert steering.factor.item() == pytest.approx(1.1)
    steering.observe(4.0)  # no more than by half at once
    assert steering.factor.item() == pytest.approx(1.1 / 1.5)
    for nothing in (math.nan, math.inf, -math.inf):
        steering.observe(nothing)
    assert steering.factor.item() == pytest.approx(1.1 / 1.5)


@pytest.mark.parametrize(("divergence", "end"), [(0.0, 4.0), (-1e-9, 4.0), (1e3, 0.01)])
def test_the_rate_never_leaves_a_hundredth_to_four_times_its_start(
    divergence: float, end: float
) -> None:
    steering = PolicySteering(0.04)
    for _ in range(50):
        steering.observe(divergence)
    assert steering.factor.item() == pytest.approx(end)


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_updates_move_the_policy_as_far_as_asked_from_any_rate_in_reach(cls: type[GAIL]) -> None:
    divergences = []
    for rate in (1e-3, 3e-2):
        model = make_on(cls, TensorWalk(), learning_rate=rate, policy_divergence=0.02)
        seen = LoggedAtRolloutEnd()
        model.learn(30 * LONGER_ROLLOUT, callback=seen)
        divergences.append(np.exp(np.mean(np.log(seen.divergences[-10:]))))
        assert model.steering is not None
        factor = float(model.steering.factor)
        assert 1 < factor if rate == 1e-3 else factor < 1
        # The last update, which the factor has followed, was taken at up to 1.5 times of that.
        taken = model.policy.optimizer.param_groups[0]["lr"]
        assert rate * factor / 1.5 <= taken <= rate * factor * 1.5
    assert all(0.01 < divergence < 0.04 for divergence in divergences)


def test_the_pace_has_no_say_where_the_policy_is_steered() -> None:
    one, other = (
        make(policy_divergence=0.02, policy_pace=pace).learn(4 * ROLLOUT) for pace in (0.0, 2.0)
    )
    assert_same_weights(one, other)


def test_a_loaded_model_goes_on_at_the_rate_it_had(tmp_path: Path) -> None:
    model = make(policy_divergence=0.02).learn(3 * ROLLOUT)
    assert model.steering is not None
    model.save(tmp_path / "model")
    loaded = GAIL.load(tmp_path / "model", env=model.get_env(), demonstrations=model.demonstrations)
    assert loaded.policy_divergence == 0.02
    assert loaded.steering is not None
    assert float(loaded.steering.factor) == float(model.steering.factor) != 1.0


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_no_policy_is_steered_unless_it_is_asked_for(cls: type[GAIL]) -> None:
    assert make(cls).steering is None


@pytest.mark.parametrize("divergence", [-0.1, math.nan, math.inf])
def test_a_divergence_that_no_update_could_have_is_refused(divergence: float) -> None:
    with pytest.raises(InputError, match="policy_divergence must be 0 or more and finite"):
        make(policy_divergence=divergence)
