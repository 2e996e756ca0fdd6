"""The trainer's step with a leader: who is moved by which gradient, when, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from l2l_gail.core import (
    Adam,
    ConvPerturber,
    CoordinateMLP,
    Game,
    L2LTrainer,
    Oracle,
    SignDescent,
    State,
    UpdateRule,
    Vars,
    unroll,
)
from l2l_gail.games import Bilinear, RingBatch, RingGame


class ImageGame(Game):
    """A zero-sum game on tiny images; counts how often the classifier's loss is computed."""

    zero_sum = True

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weights = nn.Parameter(torch.randn(3, 8, generator=generator, dtype=torch.float64))
        self.losses = 0

    def init_follower(self, batch: tuple[Tensor, Tensor]) -> Vars:
        return {"x": batch[0]}

    def leader_loss(self, follower: Vars, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.losses += 1
        return F.cross_entropy(follower["x"].flatten(1).tanh() @ self.weights.T, batch[1])

    def follower_loss(self, follower: Vars, batch: tuple[Tensor, Tensor]) -> Tensor:
        return -self.leader_loss(follower, batch)

    def project(self, follower: Vars, batch: tuple[Tensor, Tensor]) -> Vars:
        return {"x": batch[0] + (follower["x"] - batch[0]).clamp(-0.3, 0.3)}


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(6, 2, 2, 2, generator=generator, dtype=torch.float64)
    return pixels, torch.arange(6) % 3


def perturber() -> ConvPerturber:
    torch.manual_seed(0)
    return ConvPerturber(nn.Conv2d(4, 2, 1).double(), 0.1)


def image_trainer(
    rule: UpdateRule, leader_lr: float = 0.5, meta_lr: float | None = 0.5, **options: Any
) -> L2LTrainer:
    game = ImageGame()
    meta = None if meta_lr is None else torch.optim.SGD(rule.parameters(), lr=meta_lr)
    leader = torch.optim.SGD([game.weights], lr=leader_lr)
    return L2LTrainer(game, rule, meta_optimizer=meta, leader_optimizer=leader, **options)


def weights(rule: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(rule.parameters()).detach().clone()


def leader_of(trainer: L2LTrainer) -> Tensor:
    assert isinstance(trainer.game, ImageGame)
    return trainer.game.weights.detach().clone()


def test_fused_and_alternating_orders_have_the_same_gradients_where_they_should() -> None:
    """The leader's always; the rule's while the leader stands still."""
    fused_rule, alternating_rule = perturber(), perturber()
    fused = image_trainer(fused_rule, leader_lr=0.5, order="fused")
    alternating = image_trainer(alternating_rule, leader_lr=0.5, order="alternating")
    before = weights(fused_rule)
    fused.step([images()])
    alternating.step([images()])
    torch.testing.assert_close(leader_of(fused), leader_of(alternating), rtol=1e-12, atol=1e-14)
    assert not torch.equal(weights(fused_rule), weights(alternating_rule))

    fused_rule, alternating_rule = perturber(), perturber()
    image_trainer(fused_rule, leader_lr=0.0, order="fused").step([images()])
    image_trainer(alternating_rule, leader_lr=0.0, order="alternating").step([images()])
    assert not torch.equal(weights(fused_rule), before)
    torch.testing.assert_close(
        weights(fused_rule), weights(alternating_rule), rtol=1e-12, atol=1e-14
    )


class Scaled(UpdateRule):
    """A learned step length, so that the response depends on rule and leader."""

    def __init__(self) -> None:
        super().__init__()
        self.length = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        return {"x": variables["x"] - self.length * oracle(variables)["x"].tanh()}, state


@pytest.mark.parametrize("second_order", [False, True])
def test_leaders_gradient_is_the_one_at_the_response_held_fixed(second_order: bool) -> None:
    """In both orders and at every step, whether the rule is trained there or not."""
    game = ImageGame()
    course = unroll(Scaled(), game, {"x": images()[0]}, {}, [images(), None])
    response = {"x": course.followers[-1]["x"].detach()}

    def loss_beside(i: int, by: float) -> float:
        with torch.no_grad():
            game.weights.view(-1)[i] += by
            loss = float(game.leader_loss(response, images()))
            game.weights.view(-1)[i] -= by
        return loss

    slopes = [
        (loss_beside(i, 1e-6) - loss_beside(i, -1e-6)) / 2e-6 for i in range(game.weights.numel())
    ]
    expected = torch.tensor(slopes, dtype=torch.float64).view(3, 8)
    of_rule = []
    for order in ("fused", "alternating"):
        options: dict[str, Any] = {"order": order, "second_order": second_order, "meta_every": 2}
        trainer = image_trainer(Scaled(), leader_lr=0.0, meta_lr=0.0, **options)
        seen: list[Tensor] = []

        def note(gradients: Sequence[Tensor], seen: list[Tensor] = seen) -> Sequence[Tensor]:
            seen.extend(gradients)
            return gradients

        trainer.combine = note
        for _ in range(2):
            trainer.step([images(), None])
        of_leader = [gradient for gradient in seen if gradient.dim() == 2]
        assert len(of_leader) == 2
        for gradient in of_leader:
            torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
        of_rule += [gradient.abs() for gradient in seen if gradient.dim() == 0]
    torch.testing.assert_close(of_rule[0], of_rule[1], rtol=1e-12, atol=1e-14)


def test_leader_descends_and_the_rule_ascends_on_the_leaders_loss() -> None:
    rule = perturber()
    still = image_trainer(rule, leader_lr=0.0, meta_lr=2.0)
    losses = [float(still.step([images()])["leader_loss"]) for _ in range(20)]
    assert losses[-1] > losses[0] + 0.01

    led = image_trainer(perturber(), leader_lr=0.5, meta_lr=None)
    losses = [float(led.step([images()])["leader_loss"]) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize(("order", "losses"), [("fused", 2), ("alternating", 4)])
@pytest.mark.parametrize("k", [1, 3])
def test_orders_cost_what_they_promise(order: Any, losses: int, k: int) -> None:
    """One loss for each query, one at the end; the alternating order plays twice."""
    trainer = image_trainer(perturber(), order=order)
    trainer.step([images()] * k)
    assert isinstance(trainer.game, ImageGame)
    assert trainer.game.losses == losses // 2 * (k + 1)


def test_hand_designed_attack_passes_through_the_same_step() -> None:
    trainer = image_trainer(SignDescent(0.1), meta_lr=None)
    pixels, labels = images()
    before = leader_of(trainer).requires_grad_()
    stats = trainer.step([(pixels, labels)] * 3)
    x = pixels
    for _ in range(3):
        x = x.clone().requires_grad_()
        logits = x.flatten(1).tanh() @ before.detach().T
        (g,) = torch.autograd.grad(F.cross_entropy(logits, labels), x)
        x = pixels + (x.detach() + 0.1 * g.sign() - pixels).clamp(-0.3, 0.3)
    loss = F.cross_entropy(x.flatten(1).tanh() @ before.T, labels)
    (gradient,) = torch.autograd.grad(loss, before)
    torch.testing.assert_close(leader_of(trainer), before.detach() - 0.5 * gradient)
    torch.testing.assert_close(stats["leader_loss"], loss.detach())
    assert set(stats) == {"leader_loss"}


# Which games may be fused.


def ring() -> RingGame:
    torch.manual_seed(0)
    return RingGame(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)))


def ring_trainer(game: RingGame, **options: Any) -> tuple[L2LTrainer, RingBatch]:
    """Return a trainer whose leader moves the generated points themselves."""
    rule = CoordinateMLP(1e-3)
    points = nn.Parameter(torch.full((16, 2), 0.5))
    trainer = L2LTrainer(
        game,
        rule,
        meta_optimizer=torch.optim.Adam(rule.meta_parameter_groups(1e-3)),
        leader_optimizer=torch.optim.SGD([points], lr=0.0),
        persistent=True,
        **options,
    )
    return trainer, RingBatch(torch.ones(16, 2), points)


def test_fused_order_is_refused_where_it_would_drop_the_followers_own_loss() -> None:
    with pytest.raises(ValueError, match="RingGame is not zero-sum; use order='alternating'") as e:
        ring_trainer(ring(), order="fused")
    assert "\n" not in str(e.value)


def test_rule_of_a_game_that_is_not_zero_sum_descends_on_the_followers_loss_by_default() -> None:
    game = ring()
    trainer, batch = ring_trainer(game)
    assert trainer.order == "alternating"
    stats = trainer.step([batch], [batch])
    assert trainer.follower is not None
    expected = game.follower_loss(trainer.follower, batch)
    torch.testing.assert_close(stats["meta_loss"], expected.detach())


def test_zero_sum_game_is_fused_by_default() -> None:
    assert image_trainer(perturber()).order == "fused"
    assert image_trainer(perturber(), meta_on="mean").order == "alternating"


def test_game_with_a_meta_loss_of_its_own_is_not_fused() -> None:
    one = torch.ones(1, 1)
    game = Bilinear(one, one[0], one[0])
    assert game.zero_sum
    rule = CoordinateMLP(1e-3)
    optimizers = {
        "meta_optimizer": torch.optim.Adam(rule.parameters()),
        "leader_optimizer": torch.optim.SGD([one.clone().requires_grad_()], lr=0.1),
    }
    assert L2LTrainer(game, rule, **optimizers).order == "alternating"
    with pytest.raises(ValueError, match="Bilinear has a meta-loss of its own"):
        L2LTrainer(game, rule, order="fused", **optimizers)


def test_fused_order_refuses_what_it_would_drop_in_silence() -> None:
    with pytest.raises(ValueError, match="meta_on='mean' asks for more than the last follower"):
        image_trainer(perturber(), order="fused", meta_on="mean")
    trainer = image_trainer(perturber())
    with pytest.raises(ValueError, match="no use for meta_batches"):
        trainer.step([images()], [images()])
    assert trainer.steps == 0


def test_order_is_nobodys_business_where_there_is_one_optimizer_at_most() -> None:
    game = ring()
    rule = CoordinateMLP(1e-3)
    meta = torch.optim.Adam(rule.parameters())
    L2LTrainer(game, rule, meta_optimizer=meta, order="fused", meta_on="mean")
    points = nn.Parameter(torch.zeros(4, 2))
    leader = torch.optim.SGD([points], lr=0.1)
    trainer = L2LTrainer(game, Adam(1e-3), leader_optimizer=leader, order="fused", persistent=True)
    batch = RingBatch(torch.ones(4, 2), points)
    assert "leader_loss" in trainer.step([batch], [batch])


# Steps that are not finite.


class NormalisedGame(ImageGame):
    """The same with a running mean, which the leader's loss moves."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros((), dtype=torch.float64)
        self.scale = 1.0

    def leader_loss(self, follower: Vars, batch: tuple[Tensor, Tensor]) -> Tensor:
        with torch.no_grad():
            self.mean.lerp_(follower["x"].mean(), 0.1)
        return self.scale * super().leader_loss(follower, batch)

    def follower_loss(self, follower: Vars, batch: tuple[Tensor, Tensor]) -> Tensor:
        return -super().leader_loss(follower, batch)

    def leader_statistics(self) -> dict[str, Tensor]:
        return {"mean": self.mean}


@pytest.mark.parametrize("order", ["fused", "alternating"])
def test_leader_is_not_moved_by_a_loss_that_is_not_finite(order: str) -> None:
    trainer = image_trainer(perturber(), order=order)
    game = NormalisedGame()
    trainer.game, trainer.leader_optimizer = game, torch.optim.SGD([game.weights], 0.5, 0.9)
    trainer.step([images()])
    kept = [game.weights.detach().clone(), game.mean.clone(), weights(trainer.rule)]
    momentum = trainer.leader_optimizer.state[game.weights]["momentum_buffer"].clone()
    x, y = images()
    with pytest.warns(RuntimeWarning, match="was not taken: the follower left the finite"):
        trainer.step([(torch.full_like(x, torch.nan), y)])
    for before, after in zip(kept, [game.weights, game.mean, weights(trainer.rule)], strict=True):
        assert torch.equal(before, after)
    assert torch.equal(trainer.leader_optimizer.state[game.weights]["momentum_buffer"], momentum)
    assert (trainer.refused, trainer.culprit) == (1, "follower")
    trainer.step([images()])
    assert (trainer.refused, trainer.culprit) == (1, None)
    assert not torch.equal(game.weights, kept[0])


@pytest.mark.parametrize("part", ["rule", "leader", "statistics", "loss"])
def test_part_that_is_not_finite_is_told_from_what_it_spoils(part: str) -> None:
    trainer = image_trainer(perturber())
    game = NormalisedGame()
    trainer.game, trainer.leader_optimizer = game, torch.optim.SGD([game.weights], 0.5)
    broken = {"rule": next(trainer.rule.parameters()), "leader": game.weights}
    with torch.no_grad():
        if part in broken:
            broken[part].fill_(torch.inf)
        elif part == "statistics":
            game.mean.fill_(torch.nan)
            game.scale = torch.inf
        else:
            game.scale = torch.inf
    with pytest.warns(RuntimeWarning):
        trainer.step([images()])
    assert trainer.culprit == ("leader" if part == "statistics" else part)
    assert trainer.refused == 1
    assert trainer.resets == (part == "rule")
    if part == "rule":  # as it was given: the next step is an ordinary one
        trainer.step([images()])
        assert trainer.culprit is None
        assert bool(weights(trainer.rule).isfinite().all())
