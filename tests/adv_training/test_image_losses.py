"""Losses of an attack against values by hand, and what an attack does with them."""

from __future__ import annotations

import pytest
import torch

from adv_training.attacks import fgsm, losses, pgd
from adv_training.game import Start
from adv_training.image_losses import cross_entropy, margin
from tests.adv_training.support import EPS, generator, tiny_batch, tiny_game

LOGITS = torch.tensor([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0], [0.0, 0.0, 0.0]])


def test_margin_is_the_largest_wrong_logit_minus_the_right_one() -> None:
    y = torch.tensor([0, 1, 2])
    assert margin(LOGITS, y).tolist() == [3.0, -3.0, 0.0]


def test_margin_goes_on_where_cross_entropy_is_flat() -> None:
    sure = torch.tensor([[0.0, 200.0]], requires_grad=True)
    y = torch.tensor([1])
    (flat,) = torch.autograd.grad(cross_entropy(sure, y).sum(), sure)
    (steep,) = torch.autograd.grad(margin(sure, y).sum(), sure)
    assert flat.abs().max() == 0
    assert steep.tolist() == [[1.0, -1.0]]


def test_an_attack_raises_the_loss_it_is_given_most() -> None:
    classifier, batch = tiny_game().classifier.eval(), tiny_batch(64)
    found = {
        loss.__name__: pgd(classifier, batch, EPS, steps=5, loss=loss)
        for loss in (cross_entropy, margin)
    }
    with torch.no_grad():
        by_margin = {k: margin(classifier(x), batch.y).mean() for k, x in found.items()}
    by_entropy = {k: losses(classifier, x, batch.y).mean() for k, x in found.items()}
    assert by_margin["margin"] > by_margin["cross_entropy"]
    assert by_entropy["cross_entropy"] > by_entropy["margin"]
    assert not torch.equal(fgsm(classifier, batch, EPS), fgsm(classifier, batch, EPS, loss=margin))


def test_a_game_is_zero_sum_only_where_both_players_mean_the_same_loss() -> None:
    batch = tiny_batch()
    assert tiny_game().zero_sum
    game = tiny_game(attack_loss=margin)
    assert not game.zero_sum
    with torch.no_grad():
        expected = margin(game.classifier.eval()(batch.x), batch.y).mean()
    torch.testing.assert_close(game.follower_loss({"x": batch.x}, batch), -expected)


def test_an_unconfined_start_leaves_the_ball_and_not_the_box() -> None:
    batch = tiny_batch(64)
    game = tiny_game(start=Start(noise=2.0, confined=False), generator=generator(1))
    start = game.init_follower(batch)["x"]
    shift = (start - batch.x).abs() / EPS
    assert 1.9 < shift.max() <= 2 + 1e-4
    assert (shift > 1).float().mean() == pytest.approx(0.5, abs=0.02)
    far = game.project({"x": batch.x + 3.0}, batch)["x"]
    assert far.max() <= 1.0
    assert (far - batch.x).max() > 2 * EPS
