"""The discriminator, its loss and the rewards, against closed forms and autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from l2l_gail.core import Vars
from l2l_gail.errors import InputError
from l2l_gail.gail import (
    Discriminator,
    DiscriminatorConfig,
    DiscriminatorGame,
    LearnedRuleConfig,
    TransitionBatch,
    reward_of_logits,
)
from l2l_gail.gail.game import bernoulli_entropy

OBS = spaces.Box(-np.inf, np.inf, (5,), np.float64)
ACTS = spaces.Box(np.array([-1.0, -2.0], np.float32), np.array([1.0, 0.5], np.float32))


def make(hidden: tuple[int, ...] = (6, 4), seed: int = 0) -> Discriminator:
    torch.manual_seed(seed)
    return Discriminator(OBS, ACTS, hidden).double()


def batch(n: int = 32, seed: int = 1) -> TransitionBatch:
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(3, n, 7, generator=generator, dtype=torch.float64)
    return TransitionBatch(*draws)


@pytest.mark.parametrize("hidden", [(6,), (6, 4), (5, 4, 3)])
def test_input_gradient_is_autograds(hidden: tuple[int, ...]) -> None:
    discriminator = make(hidden)
    x = batch().expert.requires_grad_()
    (expected,) = torch.autograd.grad(discriminator.logits_expert_is_high(x).sum(), x)
    torch.testing.assert_close(discriminator.input_gradient(x), expected, rtol=1e-12, atol=1e-12)


def test_input_gradient_differentiates_in_the_weights() -> None:
    discriminator = make()
    weights = {name: w.requires_grad_() for name, w in discriminator.weights().items()}
    x = batch(4).expert.requires_grad_()
    (slope,) = torch.autograd.grad(
        discriminator.logits_expert_is_high(x, weights).sum(), x, create_graph=True
    )
    double_backward = torch.autograd.grad(
        slope.square().sum(), list(weights.values()), allow_unused=True
    )
    by_hand = torch.autograd.grad(
        discriminator.input_gradient(x, weights).square().sum(),
        list(weights.values()),
        allow_unused=True,
    )
    for a, b in zip(double_backward, by_hand, strict=True):
        if a is None:
            assert b is None or not b.any()
        else:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_actions_are_clipped_and_observations_normalised() -> None:
    discriminator = make()
    discriminator.statistics.set(np.full(5, 2.0), np.full(5, 4.0 - 1e-3))
    obs = torch.tensor([[2.0, 6.0, -2.0, 1000.0, -1000.0]], dtype=torch.float64)
    inputs = discriminator.inputs(obs, torch.tensor([[5.0, -5.0]], dtype=torch.float64))
    expected = torch.tensor([[0.0, 1.0, -1.0, 10.0, -10.0, 1.0, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(inputs, expected, rtol=1e-6, atol=1e-6)


def test_a_perfect_imitator_cannot_be_told_by_its_clipped_actions() -> None:
    discriminator = make()
    obs = torch.randn(64, 5, dtype=torch.float64)
    expert = 3.0 * torch.randn(64, 2, dtype=torch.float64)  # a recorder that did not clip
    played = expert.clamp(discriminator.low, discriminator.high)
    assert torch.equal(discriminator(obs, expert), discriminator(obs, played))


def test_loss_without_regularisers_is_binary_cross_entropy() -> None:
    game = DiscriminatorGame(make(), DiscriminatorConfig(penalty="none"))
    data = batch()
    weights = game.init_follower()
    logits = game.discriminator.logits_expert_is_high(torch.cat([data.expert, data.policy]))
    labels_expert_is_one = torch.cat([torch.ones(32), torch.zeros(32)]).double()
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels_expert_is_one)
    # The mean over both classes is half the sum of the two classes' means.
    assert game.follower_loss(weights, data).item() == pytest.approx(2 * bce.item(), rel=1e-12)


def linear_game(config: DiscriminatorConfig, slope: float) -> tuple[DiscriminatorGame, Vars]:
    """A game whose discriminator is ``logit = slope * x_0``: its gradient is known everywhere."""
    game = DiscriminatorGame(make(hidden=()), config)
    weights = {name: torch.zeros_like(w) for name, w in game.init_follower().items()}
    weights["layers.0.weight"][0, 0] = slope
    return game, weights


@pytest.mark.parametrize("slope", [0.25, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_discriminator(slope: float) -> None:
    data = batch()
    plain, weights = linear_game(DiscriminatorConfig(penalty="none"), slope)
    for penalty, expected in (("gradient_penalty", (slope - 1) ** 2), ("r1", slope**2 / 2)):
        game, _ = linear_game(DiscriminatorConfig(penalty=penalty, penalty_weight=7.0), slope)
        extra = game.follower_loss(weights, data) - plain.follower_loss(weights, data)
        assert extra.item() == pytest.approx(7.0 * expected, abs=1e-9)


def test_entropy_and_controller_terms() -> None:
    data = batch()
    plain, weights = linear_game(DiscriminatorConfig(penalty="none"), 1.5)
    logits = 1.5 * torch.cat([data.expert, data.policy])[:, 0]
    p = logits.sigmoid()
    entropy = -(p * p.log() + (1 - p) * (1 - p).log())
    torch.testing.assert_close(bernoulli_entropy(logits), entropy)
    assert bernoulli_entropy(torch.zeros(1)).item() == pytest.approx(math.log(2))
    with_terms, _ = linear_game(
        DiscriminatorConfig(penalty="none", entropy_weight=0.3, controller_weight=0.8), 1.5
    )
    extra = with_terms.follower_loss(weights, data) - plain.follower_loss(weights, data)
    expected = -0.3 * entropy.mean() + 0.4 * (p - 0.5).square().mean()
    assert extra.item() == pytest.approx(expected.item(), rel=1e-10)


def test_rewards_are_their_formulas() -> None:
    logits: Tensor = torch.linspace(-4, 4, 9, dtype=torch.float64)
    d = logits.sigmoid()
    expected = {
        "gail": -(1 - d).log(),
        "airl": d.log() - (1 - d).log(),
        "fairl": -logits * logits.exp(),
        "dail": 0.5 * d * (logits.tanh() + 1),
        "constant": torch.ones(9, dtype=torch.float64),
    }
    for name, formula in expected.items():
        torch.testing.assert_close(reward_of_logits(logits, name), formula)
    assert reward_of_logits(torch.tensor([1e4]), "gail").item() == 1e4  # no overflow


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"update_rule": "adamw"}, "update_rule"),
        ({"reward": "log"}, "reward"),
        ({"penalty_weight": -1.0}, "penalty"),
        ({"holdout_fraction": 1.0}, "holdout_fraction"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(settings: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        DiscriminatorConfig(**settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_rule_with_nothing_to_learn_or_to_be_judged_on_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to learn"):
        LearnedRuleConfig(learn_network=False, learn_step=False)
    with pytest.raises(InputError, match="holdout_fraction"):
        LearnedRuleConfig(holdout_fraction=0.0)
