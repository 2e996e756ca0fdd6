"""Rules and discriminators as objects, a user's own among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from l2l_gail.core import (
    CoordinateMLP,
    Oracle,
    UpdateRule,
    build_rule,
    register_rule,
    registry,
    rule_name,
)
from l2l_gail.errors import InputError
from l2l_gail.gail import (
    GAIL,
    L2LGAIL,
    RuleTraining,
)
from tests.gail.models import (
    ROLLOUT,
    assert_same_weights,
    make,
    weights_of,
)
from tests.gail.support import walk_demos, walk_envs


def test_a_learned_rule_with_nothing_to_be_trained_on_is_refused() -> None:
    training = RuleTraining(holdout_fraction=0.0, meta_mode="reverse")
    with pytest.raises(InputError, match=r"holdout_fraction above 0 .* or meta_mode='next'"):
        make(L2LGAIL, rule_training=training)


def test_a_training_of_a_rule_that_is_not_learned_is_refused() -> None:
    with pytest.raises(InputError, match=r"give rule=MatrixRule\(\)") as caught:
        make(L2LGAIL, rule=None, rule_training=RuleTraining())
    assert "\n" not in str(caught.value)
    assert make(GAIL, rule=None, rule_training=RuleTraining()).rule_training == RuleTraining()


def test_the_rule_is_an_object_and_the_given_one_is_not_touched() -> None:
    rule = CoordinateMLP(1e-3, seed=0)
    model = make(GAIL, rule=rule).learn(2 * ROLLOUT)
    assert_same_weights(model, make(L2LGAIL, credit=None).learn(2 * ROLLOUT))
    assert rule.log_step.item() == 0.0
    assert model.rule.log_step.item() != 0.0


@pytest.mark.parametrize(
    "rule",
    ["sgd", "adam", "optimistic_adam", "extragradient", "prodigy", "coordinate_mlp"],
)
def test_any_rule_of_the_core_trains_is_saved_and_loaded(rule: str, tmp_path: Path) -> None:
    model = make(GAIL, rule=build_rule(rule, lr=1e-3)).learn(ROLLOUT)
    before = make(GAIL, rule=build_rule(rule, lr=1e-3))
    assert not torch.equal(
        weights_of(model)["disc.layers.0.weight"], weights_of(before)["disc.layers.0.weight"]
    )
    model.save(tmp_path / "model")
    again = GAIL.load(
        tmp_path / "model", env=walk_envs(), demonstrations=walk_demos(), device="cpu"
    )
    assert rule_name(again.rule) == rule
    assert_same_weights(again, model)
    for left, right in zip(
        again.discriminator_updates.trainer.state.values(),
        model.discriminator_updates.trainer.state.values(),
        strict=True,
    ):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


class Halving(UpdateRule):
    """Someone's own rule: gradient descent whose rate halves at every step."""

    def __init__(self, lr: float) -> None:
        super().__init__(lr=lr)
        self.lr = lr

    def init(self, variables: Any) -> Any:
        return {"t": 0}

    def forward(self, variables: Any, oracle: Oracle, state: Any) -> Any:
        rate = self.lr * 0.5 ** state["t"]
        gradient = oracle(variables)
        moved = {name: tensor - rate * gradient[name] for name, tensor in variables.items()}
        return moved, {"t": state["t"] + 1}


def test_a_rule_of_ones_own_is_saved_once_it_has_a_name(tmp_path: Path) -> None:
    model = make(GAIL, rule=Halving(0.1)).learn(ROLLOUT)
    assert model.discriminator_updates.trainer.state == {"t": 3}
    with pytest.raises(InputError, match="register_rule"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model.zip").exists()
    register_rule("halving", Halving)
    model.save(tmp_path / "model")
    again = GAIL.load(tmp_path / "model", device="cpu")
    assert isinstance(again.rule, Halving)
    assert again.rule.lr == 0.1
    assert again.discriminator_updates.trainer.state == {"t": 3}


class Telling(Halving):
    """Descent that says something of itself, and may forget an argument."""

    def __init__(self, lr: float, said: Any = None, forgets: bool = False) -> None:
        UpdateRule.__init__(self, **({"lr": lr, "said": said} if forgets else {}))
        if forgets or said is abs:
            self.config["said"] = said
        self.lr = lr
        self.said = said

    def diagnostics(self, state: Any) -> Any:
        return self.said


def test_a_registered_rule_that_would_not_come_back_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))
    with pytest.warns(UserWarning, match="cannot be saved: Telling is not a registered rule"):
        make(GAIL, rule=Telling(0.1))
    register_rule("telling", Telling)
    for rule, said in (
        (Telling(0.1, forgets=True), "its constructor's argument 'forgets' is not in its config"),
        (Telling(0.1, abs), "its config's 'said' is not a plain value"),
    ):
        with pytest.raises(InputError, match=f"cannot be saved: telling: {said}") as caught:
            make(GAIL, rule=rule)
        assert "\n" not in str(caught.value)
    model = make(GAIL, rule=Telling(0.1))
    model.save(tmp_path / "model.zip")
    assert GAIL.load(tmp_path / "model.zip", device="cpu").rule.config == model.rule.config
    model.rule.config["said"] = abs
    with pytest.raises(InputError, match="is not a plain value"):
        model.save(tmp_path / "other.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


@pytest.mark.filterwarnings("ignore:a model with this rule cannot be saved")
def test_what_a_rule_says_of_itself_may_be_a_number_of_any_kind() -> None:
    said = {"a": 1.5, "b": np.float32(2), "c": torch.ones(1), "d": torch.tensor(3), "e": True}
    updates = make(GAIL, rule=Telling(0.1, said)).discriminator_updates
    rows = torch.zeros(8, updates.discriminator.in_dim)
    _, log = updates.update(rows, rows)
    assert [log[f"rule/{key}"] for key in said] == [1.5, 2.0, 1.0, 3.0, 1.0]
    for wrong, refusal in (
        ({"x": torch.ones(3)}, r"Telling.diagnostics gives 'x' of shape \(3,\): give one number"),
        ({"x": None}, r"Telling.diagnostics gives 'x' None: give one number"),
        ([1.0], r"Telling.diagnostics returns a list: return a dict of numbers"),
    ):
        updates.trainer.rule.said = wrong
        with pytest.raises(InputError, match=refusal):
            updates.update(rows, rows)


class Bilinear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.form = torch.nn.Bilinear(2, 1, 1)

    def forward(self, obs: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
        return self.form(obs, acts)


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_a_discriminator_of_ones_own_trains_and_is_saved(cls: type[GAIL], tmp_path: Path) -> None:
    network = Bilinear()
    untouched = network.form.weight.clone()
    model = make(cls, discriminator_network=network).learn(2 * ROLLOUT)
    assert torch.equal(network.form.weight, untouched)
    assert not torch.equal(model.discriminator.network.form.weight, untouched)
    model.save(tmp_path / "model")
    again = cls.load(tmp_path / "model", discriminator_network=network, device="cpu")
    assert_same_weights(again, model)
