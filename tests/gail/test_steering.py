"""The policy's learning rate, corrected where an update moves the policy too far or hardly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from l2l_gail.errors import InputError
from l2l_gail.gail import AIRL, GAIL, L2LGAIL
from l2l_gail.gail import steering as steering_module
from l2l_gail.gail.steering import PolicySteering
from tests.gail.models import ROLLOUT, assert_same_weights, make
from tests.gail.tensor_support import ROLLOUT as LONGER_ROLLOUT
from tests.gail.tensor_support import LoggedAtRolloutEnd, TensorWalk
from tests.gail.tensor_support import make as make_on
from tests.gail.worlds import envs_of, recorded
from tests.marks import slow

ENTRIES = 3
ENOUGH = 2048
"""Transitions of a rollout of which four are judged."""


def observed(divergences: list[float], transitions: int = ENOUGH, **kwargs: bool) -> float:
    """The factor after updates of so many nats an entry, where 0.01 are asked for."""
    steering = PolicySteering(0.01, ENTRIES)
    for divergence in divergences:
        steering.observe(ENTRIES * divergence, transitions, **kwargs)
    return steering.factor.item()


def test_within_the_tolerance_the_rate_stays_as_it_is() -> None:
    assert observed([0.0064, 0.0158] * 50) == 1.0


@pytest.mark.parametrize("off", [0.2, 0.4, 0.55, 1.65, 2.4])
def test_beyond_it_the_rate_is_corrected_until_the_divergence_is_near(off: float) -> None:
    away, within, near = [0.01 * off] * 4, [0.01 * 1.5] * 4, [0.01 * 1.2] * 4
    assert observed(away[:3]) == 1.0
    assert observed(away) == pytest.approx(off**-0.7)
    assert observed(within + away) == pytest.approx(off**-0.7)
    assert observed(away + away) == pytest.approx(off**-1.4)
    assert observed(away + within) == pytest.approx((off * 1.5) ** -0.7)
    assert observed(away + near + within * 9) == pytest.approx(off**-0.7)


def test_short_rollouts_are_judged_together() -> None:
    assert observed([0.1] * 15, transitions=512) == 1.0
    assert observed([0.1] * 16, transitions=512) < 1.0
    assert observed([0.1] * 3, transitions=100_000) == 1.0


def test_the_mean_is_of_logarithms() -> None:
    assert observed([0.01 * 8, 0.01 / 8, 0.01 * 5, 0.01 / 5]) == 1.0
    assert observed([0.01 * 8, 0.01 * 2, 0.01 * 2, 0.01 / 2]) == pytest.approx(2**-0.7)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("start", [0.05, 0.3, 3.0, 30.0])
def test_however_the_divergence_depends_on_the_rate_it_comes_near_and_stays(
    power: float, start: float
) -> None:
    steering = PolicySteering(0.01, 1)
    factors = []
    for _ in range(60):
        steering.observe(0.01 * (start * float(steering.factor)) ** power, ENOUGH)
        factors.append(float(steering.factor))
    assert 1 / 1.6 <= (start * factors[-1]) ** power <= 1.6
    assert len(set(factors[-20:])) == 1


def test_it_changes_at_most_fourfold_at_once_and_thirtyfold_or_by_a_hundred_in_all() -> None:
    assert observed([1e-6] * 4) == pytest.approx(4.0)
    assert observed([10.0] * 4) == pytest.approx(0.25)
    assert observed([math.inf] * 4) == pytest.approx(0.25)
    assert observed([1e-6] * 100) == pytest.approx(30.0)
    assert observed([10.0] * 100) == pytest.approx(0.01)


def test_a_policy_that_may_not_move_further_does_not_but_is_held_back() -> None:
    assert observed([1e-6] * 100, may_rise=False) == 1.0
    assert observed([0.05] * 4, may_rise=False) < 1.0


@pytest.mark.parametrize("nothing", [math.nan, 0.0, -1e-9])
def test_what_was_not_measured_is_left_out(nothing: float) -> None:
    assert observed([nothing] * 100) == 1.0
    assert observed([nothing, 0.1, 0.1, 0.1, nothing]) == 1.0
    assert observed([nothing, 0.1, 0.1, 0.1, nothing, 0.1]) < 1.0


@pytest.fixture
def judged_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four updates are enough, however small the rollouts of the tests are."""
    monkeypatch.setattr(steering_module, "_TRANSITIONS", 1)


class Rates(BaseCallback):
    """Notes the learning rate and its correction at each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        assert self.model.steering is not None
        self.factors.append(float(self.model.steering.factor))


@pytest.mark.slow
@pytest.mark.usefixtures("judged_soon")
@pytest.mark.parametrize("cls", [GAIL, slow(L2LGAIL), slow(AIRL)])
def test_a_rate_far_too_low_is_raised_and_one_far_too_high_is_lowered(
    cls: type[GAIL],
) -> None:
    divergences, factors = [], []
    for rate in (3e-4, 3e-2):
        model = make_on(cls, TensorWalk(), learning_rate=rate, policy_divergence=0.01)
        seen = LoggedAtRolloutEnd()
        model.learn(40 * LONGER_ROLLOUT, callback=seen)
        divergences.append(np.exp(np.mean(np.log(seen.divergences[-10:]))))
        assert model.steering is not None
        factors.append(float(model.steering.factor))
    assert factors[0] > 1 > factors[1]
    # The pace makes an update of a policy that is near the expert shorter than that.
    assert divergences[0] > 0.004
    assert divergences[1] < 0.025


@pytest.mark.usefixtures("judged_soon")
def test_the_rate_is_ppos_times_the_pace_times_the_correction() -> None:
    rates = Rates()
    model = make_on(L2LGAIL, TensorWalk(), learning_rate=3e-4, policy_divergence=0.01)
    model.learn(12 * LONGER_ROLLOUT, callback=rates)
    assert model.steering is not None
    assert max(rates.factors) > 1.0
    assert rates.factors[:4] == [1.0] * 4
    (group,) = model.policy.optimizer.param_groups
    assert group["lr"] == pytest.approx(3e-4 * model.pace.factor * rates.factors[-1])


@pytest.mark.usefixtures("judged_soon")
def test_a_rate_that_suits_leaves_the_training_the_same_to_the_bit() -> None:
    def trained(divergence: float) -> GAIL:
        return make_on(GAIL, TensorWalk(), policy_divergence=divergence).learn(5 * LONGER_ROLLOUT)

    without, seen = trained(0.0), LoggedAtRolloutEnd()
    make_on(GAIL, TensorWalk(), policy_divergence=0.0).learn(6 * LONGER_ROLLOUT, callback=seen)
    suits = float(np.exp(np.mean(np.log(seen.divergences[:4]))))
    assert_same_weights(trained(suits), without)
    with pytest.raises(AssertionError):
        assert_same_weights(trained(3 * suits), without)


@pytest.mark.parametrize(
    "said", [{"learning_rate": lambda progress: 1e-3 * progress}, {"target_kl": 0.02}]
)
def test_there_is_no_correction_where_more_was_said_of_the_steps(said: dict[str, Any]) -> None:
    model = make_on(GAIL, TensorWalk(), **said)
    assert model.policy_divergence == 0.005
    assert model.steering is None


@pytest.mark.usefixtures("judged_soon")
def test_of_a_single_step_nothing_is_measured_and_nothing_corrected() -> None:
    model = make_on(GAIL, TensorWalk(), n_epochs=1, batch_size=LONGER_ROLLOUT)
    model.learn(8 * LONGER_ROLLOUT)
    assert model.steering is not None
    assert float(model.steering.factor) == 1.0


@pytest.mark.usefixtures("judged_soon")
def test_a_policy_near_the_expert_is_moved_no_further() -> None:
    def factor(share: float) -> float:
        model = make_on(GAIL, TensorWalk(), learning_rate=1e-6)
        model.pace.largest.fill_(1e9)
        model.pace.margin.fill_(share * 1e9)
        model.pace.observe = lambda margin: None  # type: ignore[method-assign]
        model.learn(6 * LONGER_ROLLOUT)
        assert model.steering is not None
        return float(model.steering.factor)

    assert factor(0.6) == pytest.approx(4.0)
    assert factor(0.4) == 1.0


@pytest.mark.usefixtures("judged_soon")
def test_a_loaded_model_goes_on_at_the_rate_it_had(tmp_path: Path) -> None:
    model = make(learning_rate=1e-6).learn(6 * ROLLOUT)
    assert model.steering is not None
    model.save(tmp_path / "model")
    loaded = GAIL.load(tmp_path / "model", env=model.get_env(), demonstrations=model.demonstrations)
    assert loaded.policy_divergence == 0.005
    assert loaded.steering is not None
    assert loaded.steering.entries == model.steering.entries
    state = model.steering.state_dict()
    assert state["factor"] != 1.0
    assert all(
        torch.equal(value, state[key]) for key, value in loaded.steering.state_dict().items()
    )


def test_a_policy_over_classes_has_ppos_rate() -> None:
    model = GAIL("MlpPolicy", envs_of("CartPole-v1", 2), recorded("CartPole-v1", 1), seed=0)
    assert model.policy_divergence == 0.005
    assert model.steering is None


@pytest.mark.parametrize("divergence", [-0.1, math.nan, math.inf, None])
def test_a_divergence_that_no_update_could_have_is_refused(divergence: float) -> None:
    with pytest.raises(InputError, match="policy_divergence must be 0 or more and finite"):
        make(policy_divergence=divergence)
