"""TRADES, free and adversarial weight perturbation against plain torch code."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adv_training.data import Dataset, ImageBatch
from adv_training.methods import build_method
from adv_training.other_games import TradesGame
from adv_training.registry import Method
from adv_training.settings import Settings
from adv_training.step import build_game, build_trainer, train_step
from l2l_gail.core import L2LTrainer
from tests.adv_training.support import EPS, generator, start, tiny_batch, tiny_game, tiny_settings


def player(settings: Settings) -> tuple[L2LTrainer, Method, nn.Module]:
    method = build_method(settings)
    classifier = copy.deepcopy(tiny_game().classifier)
    game = build_game(classifier, method, settings, generator(5))
    return build_trainer(game, method, settings), method, classifier


def sgd(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        model.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )


def assert_alike(one: nn.Module, other: nn.Module) -> None:
    for (name, mine), theirs in zip(
        one.state_dict().items(), other.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5, msg=name)


def divergence(model: nn.Module, x: Tensor, perturbed: Tensor) -> Tensor:
    p, q = model(x).softmax(1), model(perturbed).log_softmax(1)
    return (p * (p.log() - q)).sum(1).mean()


def test_a_step_of_trades_is_the_paper_s() -> None:
    settings = tiny_settings("trades", pgd_steps=3, trades_beta=4.0)
    trainer, method, classifier = player(settings)
    reference, batch = copy.deepcopy(classifier), tiny_batch()
    width = 0.055 * EPS
    noise = torch.empty_like(batch.x).uniform_(-width, width, generator=generator(5))
    x = (batch.x + noise).clamp(0, 1)
    for _ in range(3):
        x.requires_grad_()
        loss = divergence(reference.eval(), batch.x, x)
        (ascent,) = torch.autograd.grad(loss, x)
        x = x.detach() + 2.5 / 3 * EPS * ascent.sign()
        x = x.clamp(batch.x - EPS, batch.x + EPS).clamp(0, 1)
    reference.train()
    optimizer = sgd(reference, settings)
    clean, perturbed = reference(batch.x), reference(x)
    p = clean.softmax(1)
    apart = (p * (p.log() - perturbed.log_softmax(1))).sum(1).mean()
    (F.cross_entropy(clean, batch.y) + 4.0 * apart).backward()
    optimizer.step()
    train_step(trainer, method, batch)
    assert_alike(classifier, reference)


def test_trades_is_no_zero_sum_game_and_knows_a_new_batch() -> None:
    game = TradesGame(tiny_game().classifier, EPS, beta=1.0)
    assert not game.zero_sum
    one, other = tiny_batch(8), tiny_batch(8, seed=1)
    game.init_follower(one)
    same = game.follower_loss({"x": other.x}, other)
    torch.testing.assert_close(same, torch.tensor(0.0), atol=1e-5, rtol=0)


def test_a_step_under_weight_perturbation_takes_the_gradient_at_the_moved_weights() -> None:
    settings = tiny_settings("fgsm", awp=0.05)
    trainer, method, classifier = player(settings)
    reference, batch = copy.deepcopy(classifier), tiny_batch()
    point = batch.x.clone().requires_grad_()
    (ascent,) = torch.autograd.grad(F.cross_entropy(reference.eval()(point), batch.y), point)
    x = (batch.x + EPS * ascent.sign()).clamp(0, 1)
    moved = copy.deepcopy(reference).train()
    matrices = [p for p in moved.parameters() if p.dim() > 1]
    gradients = torch.autograd.grad(
        F.cross_entropy(copy_statistics(moved, reference)(x), batch.y), matrices
    )
    with torch.no_grad():
        for p, g in zip(matrices, gradients, strict=True):
            p += 0.05 * p.norm() * g / g.norm()
    copy_statistics(moved, reference)
    gradients = torch.autograd.grad(F.cross_entropy(moved(x), batch.y), list(moved.parameters()))
    optimizer = sgd(reference, settings)
    for p, g in zip(reference.parameters(), gradients, strict=True):
        p.grad = g
    optimizer.step()
    copy_statistics(reference, moved)
    train_step(trainer, method, batch)
    assert_alike(classifier, reference)


def copy_statistics(to: nn.Module, source: nn.Module) -> nn.Module:
    for mine, theirs in zip(to.buffers(), source.buffers(), strict=True):
        mine.copy_(theirs)
    return to


def test_weight_perturbation_reaches_trades_and_a_learned_attacker() -> None:
    for name in ("trades", "grad_l2l"):
        found = []
        for awp in (0.0, 0.05):
            trainer, method, classifier = player(tiny_settings(name, awp=awp))
            train_step(trainer, method, tiny_batch())
            found.append(torch.cat([p.detach().flatten() for p in classifier.parameters()]))
        assert not torch.equal(*found)
        assert bool(found[1].isfinite().all())


def test_free_is_the_plain_loop_over_replays_and_carries_its_perturbation() -> None:
    settings = tiny_settings("free", batch_size=16, free_replays=2)
    trainer, method, classifier = player(settings)
    assert method.replays == 2
    assert not method.learns
    reference = copy.deepcopy(classifier).train()
    optimizer = sgd(reference, settings)
    delta = torch.zeros(16, 3, 32, 32)
    for seed in (0, 1):
        batch = tiny_batch(16, seed=seed)
        for _ in range(2):
            train_step(trainer, method, batch)
            shift = delta.clone().requires_grad_()
            x = (batch.x + shift).clamp(batch.x - EPS, batch.x + EPS).clamp(0, 1)
            optimizer.zero_grad()
            F.cross_entropy(reference(x), batch.y).backward()
            optimizer.step()
            assert shift.grad is not None
            delta = (delta + EPS * shift.grad.sign()).clamp(-EPS, EPS)
    # Sign steps amplify rounding: where a gradient is nearly 0 its sign is anybody's.
    differs = (method.rule.delta - delta).abs() > 1e-6
    assert differs.float().mean() < 0.01
    first, second = (
        torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (classifier, reference)
    )
    torch.testing.assert_close(first, second, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["trades", "free"])
def test_follower_and_start_stay_in_ball_and_box(name: str) -> None:
    settings = tiny_settings(name, batch_size=16)
    trainer, method, _ = player(settings)
    batch = tiny_batch()
    seen: list[Tensor] = []
    real = trainer.game.training_loss

    def watched(classify: object, follower: dict[str, Tensor], batch: ImageBatch) -> Tensor:
        seen.append(follower["x"].detach())
        return real(classify, follower, batch)

    trainer.game.training_loss = watched  # type: ignore[method-assign]
    for _ in range(2):
        train_step(trainer, method, batch)
    for x in seen:
        assert (x - batch.x).abs().max() <= EPS + 1e-6
        assert 0 <= x.min() <= x.max() <= 1
    assert (seen[-1] - batch.x).abs().max() > EPS / 4


def test_one_replay_trains_and_is_no_attacker(tmp_path: Path, data: Dataset) -> None:
    run = start(tmp_path, tiny_settings("free", free_replays=1, epochs=1), data)
    assert not run.method.learns
    assert 0 <= run.run()["clean"] <= 1
