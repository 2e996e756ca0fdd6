"""The probe of the distance to the moving optimum: what it measures, and that it only measures."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL, L2LGAIL, DiscriminatorConfig, TrackingCallback
from l2l_gail.gail.tracking import _whole
from tests.gail.tensor_support import ROLLOUT, TensorWalk, assert_trained_alike, logged, make
from tests.marks import slow

WIDE = DiscriminatorConfig(hidden_sizes=(8, 8), updates_per_rollout=3, batch_size=128)
NAMES = {f"rule/tracking_{name}" for name in ("loss", "loss_after", "limit", "distance")}


@pytest.mark.slow
@pytest.mark.parametrize("cls", [slow(GAIL), L2LGAIL])
def test_a_training_with_probes_is_the_training_without_to_the_bit(cls: type[GAIL]) -> None:
    probed, plain = make(cls, TensorWalk()), None
    rows = logged(probed, 5 * ROLLOUT, callback=TrackingCallback(2))
    drawn = torch.rand(1)
    plain = make(cls, TensorWalk())
    without = logged(plain, 5 * ROLLOUT)
    assert torch.equal(drawn, torch.rand(1))  # torch's own stream
    assert_trained_alike(probed, plain, atol=0)
    left, right = (model.discriminator_updates.state_dict() for model in (probed, plain))
    assert torch.equal(left["stream"], right["stream"])
    assert [row["step"] // ROLLOUT for row in rows if row.keys() >= NAMES] == [1, 3, 5]
    for row, other in zip(rows, without, strict=True):
        assert {tag: value for tag, value in row.items() if tag not in NAMES} == other


@pytest.mark.slow
def test_the_copy_is_solved_and_the_discriminator_is_on_its_way_there() -> None:
    measured: list[tuple[Any, ...]] = []

    class Watched(TrackingCallback):
        def _measure(self, model: GAIL, *args: Any) -> dict[str, float]:
            traces = super()._measure(model, *args)
            measured.append((model, *args, traces))
            return traces

    model = make(GAIL, TensorWalk(num_envs=12), discriminator=WIDE)
    model.learn(12 * 20, callback=Watched(1))
    _, expert, policy, before, traces = measured[0]
    assert traces["loss"] > traces["loss_after"] > traces["limit"]
    assert traces["distance"] > 0

    # The optimum by torch's Adam, on batches drawn afresh until it moves no more.
    game = model.discriminator_updates.trainer.game
    whole = _whole(model.discriminator, expert, policy, 12 * 20)
    weights = {name: value.clone().requires_grad_() for name, value in before.items()}
    adam = torch.optim.Adam(weights.values(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 1000)
    for seed in range(1000):
        adam.zero_grad()
        game.follower_loss(weights, _whole(model.discriminator, expert, policy, seed)).backward()
        adam.step()
        schedule.step()
    optimum = game.follower_loss(weights, whole).item()
    assert traces["limit"] == pytest.approx(optimum, rel=0.1)
    assert traces["limit"] - optimum < 0.1 * (traces["loss_after"] - optimum)


def test_the_cost_is_counted() -> None:
    callback = TrackingCallback(1)
    make(GAIL, TensorWalk()).learn(ROLLOUT, callback=callback)
    assert callback.cpu_s > 0


def test_a_probe_every_no_rollout_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 rollout, not 0"):
        TrackingCallback(0)
