"""The discriminator, its loss and the rewards, against closed forms and autograd."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from l2l_gail.core import Vars
from l2l_gail.errors import InputError
from l2l_gail.gail import (
    GAIL,
    LOSSES,
    DiscriminatorConfig,
    DiscriminatorGame,
    ModuleDiscriminator,
    RuleTraining,
    TanhDiscriminator,
    TransitionBatch,
    reward_of_logits,
)
from l2l_gail.gail.game import bernoulli_entropy
from tests.gail import models

OBS = spaces.Box(-np.inf, np.inf, (5,), np.float64)
ACTS = spaces.Box(np.array([-1.0, -2.0], np.float32), np.array([1.0, 0.5], np.float32))


def make(hidden: tuple[int, ...] = (6, 4), seed: int = 0) -> TanhDiscriminator:
    torch.manual_seed(seed)
    return TanhDiscriminator(OBS, ACTS, hidden).double()


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
def test_penalties_of_a_linear_discriminator_and_their_sums(slope: float) -> None:
    data = batch()
    plain, weights = linear_game(DiscriminatorConfig(penalty="none"), slope)
    to_one, to_zero = (slope - 1) ** 2, slope**2 / 2
    for penalty, expected in (
        ("gradient_penalty", to_one),
        ("r1", to_zero),
        ("r2", to_zero),
        (("r1", "r2"), 2 * to_zero),
        (("gradient_penalty", "r2", "none"), to_one + to_zero),
    ):
        game, _ = linear_game(DiscriminatorConfig(penalty=penalty, penalty_weight=7.0), slope)
        extra = game.follower_loss(weights, data) - plain.follower_loss(weights, data)
        assert extra.item() == pytest.approx(7.0 * expected, abs=1e-9)


def test_each_penalty_looks_at_its_own_side() -> None:
    data = batch()
    for penalty, side in (("r1", "expert"), ("r2", "policy"), ("gradient_penalty", "between")):
        game = DiscriminatorGame(make(), DiscriminatorConfig(penalty=penalty, penalty_weight=1e6))
        weights = game.init_follower()
        before = game.follower_loss(weights, data)
        for moved in ("expert", "policy", "between"):
            after = game.follower_loss(weights, data._replace(**{moved: getattr(data, moved) + 1}))
            assert (abs(after - before).item() > 100) == (moved == side)


def test_losses_are_their_formulas() -> None:
    on_expert, on_policy = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])

    def softplus(*values: float) -> float:
        return sum(math.log1p(math.exp(value)) for value in values) / len(values)

    expected = {
        "binary_cross_entropy": softplus(-2.0, 1.0) + softplus(0.5, -3.0),
        "least_squares": (1.0 + 4.0) / 2 + (2.25 + 4.0) / 2,
        "relativistic": softplus(0.5 - 2.0, -3.0 + 1.0),
    }
    assert expected.keys() == LOSSES.keys()
    for name, value in expected.items():
        assert LOSSES[name](on_expert, on_policy).item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_falls_where_the_expert_is_rated_higher(name: str) -> None:
    low, high = torch.full((4,), -0.5), torch.full((4,), 0.5)
    assert LOSSES[name](high, low) < LOSSES[name](low, high)


class Product(torch.nn.Module):
    """``logit = w (s_0 - s_1) a_0``, whose gradient in its input is known."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return (self.w * (obs[:, 0] - obs[:, 1]) * acts[:, 0])[:, None]


def test_a_module_of_ones_own_is_a_discriminator() -> None:
    discriminator = ModuleDiscriminator(OBS, ACTS, Product()).double()
    x = batch().expert
    difference, action = x[:, 0] - x[:, 1], x[:, 5]
    weights = {"network.w": torch.tensor(2.0, dtype=torch.float64).requires_grad_()}
    for given, w in ((None, 3.0), (weights, 2.0)):
        logits = discriminator.logits_expert_is_high(x, given)
        torch.testing.assert_close(logits, w * difference * action)
        expected = torch.zeros_like(x)
        expected[:, 0], expected[:, 1] = w * action, -w * action
        expected[:, 5] = w * difference
        torch.testing.assert_close(discriminator.input_gradient(x, given), expected)
    slope = discriminator.input_gradient(x, weights).square().sum()
    (in_weight,) = torch.autograd.grad(slope, [weights["network.w"]])
    expected = 2 * 2.0 * (2 * action.square() + difference.square()).sum()
    torch.testing.assert_close(in_weight, expected)
    discriminator.adopt({"network.w": torch.tensor(5.0)})
    assert discriminator.weights()["network.w"].item() == 5.0


def test_the_general_input_gradient_is_the_written_out_one() -> None:
    tanh = make()
    x = batch().policy

    class Through(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tanh = tanh

        def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
            return self.tanh.logits_expert_is_high(torch.cat([obs, acts], 1))

    with torch.no_grad():  # as in the evaluation of a rule
        general = ModuleDiscriminator(OBS, ACTS, Through()).input_gradient(x)
    torch.testing.assert_close(general, tanh.input_gradient(x), rtol=1e-12, atol=1e-12)


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
        "logit": d.log() - (1 - d).log(),
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
        ({"loss": "relativistik"}, "perhaps you meant 'relativistic'"),
        ({"penalty": ("r1", "r3")}, "penalty 'r3'"),
        ({"reward": "log"}, "reward"),
        ({"penalty_weight": -1.0}, "penalty"),
        ({"hidden_sizes": (8, 0)}, "hidden_sizes"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(settings: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        DiscriminatorConfig(**settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"meta_learning_rate": -1.0}, {"meta_every": 0}, {"holdout_fraction": 1.0}]
)
def test_a_training_that_no_rule_could_use_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        RuleTraining(**settings)  # type: ignore[arg-type]


def test_weights_that_require_no_gradient_stay(tmp_path: Path) -> None:
    class Encoded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = torch.nn.Linear(3, 8).requires_grad_(False)
            self.head, self.unused = torch.nn.Linear(8, 1), torch.nn.Linear(2, 2)

        def forward(self, obs: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
            return self.head(torch.tanh(self.encoder(torch.cat([obs, acts], 1))))

    model = models.make(GAIL, discriminator_network=Encoded())
    before = {name: w.clone() for name, w in model.discriminator.state_dict().items()}
    model.learn(models.ROLLOUT)
    after = model.discriminator.state_dict()
    moved = [name for name, w in before.items() if not torch.equal(w, after[name])]
    assert moved
    assert all(".head." in name for name in moved)
    model.save(tmp_path / "model")
    again = GAIL.load(tmp_path / "model", device="cpu", discriminator_network=Encoded())
    assert torch.equal(again.discriminator.state_dict()[moved[0]], after[moved[0]])
    with pytest.raises(InputError, match="no weight that requires a gradient"):
        models.make(GAIL, discriminator_network=Encoded().requires_grad_(False))
