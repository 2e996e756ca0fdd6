"""Attacks: the budget, closed forms, and what they leave untouched."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adv_training.attacks import fgsm, losses, pgd, pgd_survivors, standing_survivors, usual_step
from adv_training.data import ImageBatch, Images
from adv_training.evaluate import (
    accuracy,
    attack,
    attack_gain,
    moved,
    single_step_trap,
)
from adv_training.image_losses import margin
from adv_training.methods import build_method
from adv_training.registry import method_names
from adv_training.synthetic import synthetic_images
from l2l_gail.errors import InputError
from tests.adv_training.support import EPS, Linear, generator, tiny_batch, tiny_game, tiny_settings

CONFINED = [name for name in method_names() if name not in ("n_fgsm", "free")]


def linear_problem() -> tuple[Linear, ImageBatch]:
    """A linear classifier and images far enough inside the box that only the ball binds."""
    x = 0.3 + 0.4 * torch.rand(6, 3, 4, 4, generator=generator(1))
    return Linear(), ImageBatch(x, torch.tensor([0, 1, 0, 1, 1, 0]))


def test_attacks_on_a_linear_classifier_reach_the_corner_of_the_ball() -> None:
    model, batch = linear_problem()
    towards = torch.where(batch.y == 1, -1.0, 1.0).view(-1, 1, 1, 1)
    corner = batch.x + EPS * towards * model.weight.detach().sign()
    for found in (
        fgsm(model, batch, EPS),
        pgd(model, batch, EPS),
        pgd(model, batch, EPS, generator=generator(2)),
    ):
        torch.testing.assert_close(found, corner, atol=1e-6, rtol=0)


def test_survivors_of_a_linear_classifier_are_those_with_a_margin() -> None:
    model, batch = linear_problem()
    weight = model.weight.detach()
    # Signed scores from 0.2 to 2 times what the ball can undo, which is eps * |w|_1.
    signs = torch.where(batch.y == 1, 1.0, -1.0)
    share = torch.linspace(0.2, 2.0, len(signs))
    wanted = signs * share * EPS * weight.abs().sum()
    x = 0.5 + (weight / weight.square().sum()) * wanted.view(-1, 1, 1, 1)
    centred = _Shifted(model, -float((0.5 * weight).sum()))
    found = pgd_survivors(centred, ImageBatch(x, batch.y), EPS, steps=40, generator=generator(3))
    assert found.tolist() == (share > 1).tolist()


class _Shifted(nn.Module):
    def __init__(self, model: nn.Module, shift: float) -> None:
        super().__init__()
        self.model = model
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) + torch.tensor([0.0, self.shift])


@pytest.mark.parametrize("name", CONFINED)
@pytest.mark.parametrize("edge", [0.0, 1.0, None])
def test_no_rule_leaves_the_ball_or_the_box(name: str, edge: float | None) -> None:
    # The residual network starts at zero, which is nothing where there is no sign beside it.
    shape = "slim" if name == "naive_l2l" else "residual"
    method = build_method(tiny_settings(name, pgd_steps=4, l2l_steps=2, attacker=shape))
    game = tiny_game(start=method.start, generator=generator())
    batch = tiny_batch()
    if edge is not None:
        batch = ImageBatch(torch.full_like(batch.x, edge), batch.y)
    x = attack(game, method, batch)
    assert (x - batch.x).abs().max() <= EPS + 1e-6
    assert x.min() >= 0
    assert x.max() <= 1
    if name == "standard":
        assert torch.equal(x, batch.x)
    elif name != "naive_l2l" or edge is None:  # which sees nothing in an image of one grey
        assert (x - batch.x).abs().max() > EPS / 4
    for found in (fgsm(game.classifier, batch, EPS), pgd(game.classifier, batch, EPS)):
        assert (found - batch.x).abs().max() <= EPS + 1e-6
        assert found.min() >= 0
        assert found.max() <= 1


def test_labels_that_are_no_class_are_refused_before_a_gpu_ends_the_process() -> None:
    model, batch = linear_problem()
    for labels, said in ((batch.y + 1, "from 1 to 2"), (batch.y - 100, "from -100 to -99")):
        wrong = ImageBatch(batch.x, labels)
        for run in (
            lambda wrong: fgsm(model, wrong, EPS),
            lambda wrong: pgd(model, wrong, EPS, steps=2),
        ):
            with pytest.raises(
                InputError, match=f"the labels run {said} .* give labels from 0 to 1"
            ):
                run(wrong)
    nobody = ImageBatch(batch.x[:0], batch.y[:0])
    assert pgd(model, nobody, EPS).shape == (0, 3, 4, 4)


def test_an_attack_does_not_depend_on_the_neighbours() -> None:
    batch = tiny_batch(12)
    learned = build_method(tiny_settings("grad_l2l", l2l_steps=2))
    for method, steps in ((learned, 2), (build_method(tiny_settings("pgd", pgd_steps=5)), 5)):
        assert method.steps == steps
        game = tiny_game()
        together = attack(game, method, batch)
        alone = [attack(game, method, batch.part(slice(i, i + 1))) for i in range(12)]
        difference = (together - torch.cat(alone)).abs()
        # A gradient that is 0 but for rounding may take either sign; such pixels are few.
        assert (difference > 1e-5).float().mean() < 2e-3
    alone = [pgd(game.classifier, batch.part(slice(i, i + 1)), EPS, steps=5) for i in range(12)]
    difference = (pgd(game.classifier, batch, EPS, steps=5) - torch.cat(alone)).abs()
    assert (difference > 1e-5).float().mean() < 2e-3


def test_attacks_raise_the_loss_and_more_steps_raise_it_more() -> None:
    classifier = tiny_game().classifier
    batch = tiny_batch(64)
    clean = losses(classifier, batch.x, batch.y).mean()
    one = losses(classifier, fgsm(classifier, batch, EPS), batch.y).mean()
    many = losses(classifier, pgd(classifier, batch, EPS), batch.y).mean()
    assert clean < one < many


def test_pgd_agrees_with_a_plain_loop() -> None:
    classifier = tiny_game().classifier.eval()
    batch = tiny_batch(8)
    x = batch.x.clone()
    for _ in range(3):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(x), batch.y), x)
        x = x.detach() + 2 / 255 * gradient.sign()
        x = torch.max(torch.min(x, batch.x + EPS), batch.x - EPS).clamp(0, 1)
    torch.testing.assert_close(pgd(classifier, batch, EPS, steps=3), x, atol=1e-6, rtol=0)


def test_more_restarts_or_steps_never_raise_robust_accuracy() -> None:
    classifier = tiny_game().classifier
    images = synthetic_images(100, seed=5)
    batch = images.batch(slice(None))
    # Labels that the untrained classifier agrees with: then an attack has something to take.
    with torch.no_grad():
        labels = classifier.eval()(batch.x).argmax(1)
    batch = ImageBatch(batch.x, labels)
    found = [
        pgd_survivors(
            classifier, batch, 0.003, steps=3, step_size=0.001, restarts=n, generator=generator(7)
        )
        for n in (1, 2, 4)
    ]
    assert bool((found[1] <= found[0]).all())
    assert bool((found[2] <= found[1]).all())
    assert 0 < found[2].sum() < len(labels)


def test_survivors_are_no_more_than_the_last_iterate_says() -> None:
    classifier = tiny_game().classifier
    batch = tiny_batch(100)
    with torch.no_grad():
        batch = ImageBatch(batch.x, classifier.eval()(batch.x).argmax(1))
        eps = 0.004
        survives = pgd_survivors(classifier, batch, eps, step_size=0.001, generator=generator(1))
    last = pgd(classifier, batch, eps, step_size=0.001, generator=generator(1))
    with torch.no_grad():
        stands = classifier(last).argmax(1) == batch.y
    assert not bool((survives & ~stands).any())
    assert abs(float(survives.float().mean() - stands.float().mean())) < 0.05


def test_the_standing_measure_is_no_kinder_than_either_of_its_attacks() -> None:
    classifier = tiny_game().classifier
    batch = tiny_batch(200)
    with torch.no_grad():
        batch = ImageBatch(batch.x, classifier.eval()(batch.x).argmax(1))
    eps = 0.002
    options = {"steps": 10, "step_size": eps / 4}
    by_margin = pgd_survivors(
        classifier, batch, eps, loss=margin, generator=generator(5), **options
    )
    standing = standing_survivors(classifier, batch, eps, generator=generator(5))
    assert not bool((standing & ~by_margin).any())
    assert 0 < standing.sum() < len(batch.y)
    by_entropy = pgd_survivors(classifier, batch, eps, generator=generator(5), **options)
    assert standing.sum() <= by_entropy.sum()


def test_the_standing_measure_of_a_linear_classifier_is_the_margin() -> None:
    model, batch = linear_problem()
    weight = model.weight.detach()
    signs = torch.where(batch.y == 1, 1.0, -1.0)
    share = torch.linspace(0.2, 2.0, len(signs))
    wanted = signs * share * EPS * weight.abs().sum()
    x = 0.5 + (weight / weight.square().sum()) * wanted.view(-1, 1, 1, 1)
    centred = _Shifted(model, -float((0.5 * weight).sum()))
    found = standing_survivors(centred, ImageBatch(x, batch.y), EPS, generator=generator(3))
    assert found.tolist() == (share > 1).tolist()


def test_accuracy_counts_clean_and_robust_images() -> None:
    classifier = tiny_game().classifier
    images = synthetic_images(90, seed=2)
    with torch.no_grad():
        labels = classifier.eval()(images.batch(slice(None)).x).argmax(1)
    labels[:30] = (labels[:30] + 1) % 10  # a third is wrong already
    found = accuracy(classifier, Images(images.pixels, labels), 1e-6, seed=0, steps=2)
    assert found.clean == pytest.approx(2 / 3)
    assert found.pgd20 == pytest.approx(2 / 3)  # nothing is lost in a ball of no size
    assert found.robust == pytest.approx(2 / 3)
    wide = accuracy(classifier, Images(images.pixels, labels), 0.5, seed=0, step_size=0.1)
    assert wide.pgd20 < 0.1  # and everything in one of half the range
    assert wide.robust < 0.1


def test_attacks_leave_modes_gradients_and_weights_alone() -> None:
    game = tiny_game()
    classifier = game.classifier
    classifier.train()
    classifier[1][1].eval()  # one layer in a mode of its own
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    batch = tiny_batch()
    fgsm(classifier, batch, EPS)
    pgd(classifier, batch, EPS, steps=2, generator=generator())
    pgd_survivors(classifier, batch, EPS, steps=2, generator=generator())
    losses(classifier, batch.x, batch.y)
    single_step_trap(classifier, batch, EPS, generator())
    method = build_method(tiny_settings("grad_l2l"))
    attack_gain(game, method, synthetic_images(20, seed=1))
    assert classifier.training
    assert not classifier[1][1].training
    assert all(torch.equal(v, before[k]) for k, v in classifier.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in classifier.parameters())
    assert all(p.grad is None and p.requires_grad for p in method.rule.parameters())
    assert not batch.x.requires_grad


def test_gain_is_the_mean_difference_of_losses() -> None:
    game = tiny_game()
    method = build_method(tiny_settings("grad_l2l"))
    images = synthetic_images(40, seed=4)
    batch = images.batch(slice(None))
    gain = attack_gain(game, method, images)
    clean = losses(game.classifier, batch.x, batch.y).mean()
    by_rule = losses(game.classifier, attack(game, method, batch), batch.y).mean()
    assert gain.rule == pytest.approx(float(by_rule - clean), abs=1e-5)
    assert gain.fgsm > 0
    assert attack_gain(game, build_method(tiny_settings("pgd")), images).rule is None


def test_moved_is_relative_to_the_start() -> None:
    before, after = Linear(), Linear()
    with torch.no_grad():
        after.weight.mul_(1.5)
    assert moved(after, before) == pytest.approx(0.5)
    assert moved(before, before) == 0.0
    for parameter in before.parameters():
        parameter.detach().zero_()
    assert moved(after, before) is None


@pytest.mark.parametrize(("peer", "steps"), [("PGD", 20), ("FGSM", 1)])
def test_attacks_agree_with_torchattacks(peer: str, steps: int) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    classifier = tiny_game().classifier.eval()
    batch = tiny_batch(100)
    with torch.no_grad():
        batch = ImageBatch(batch.x.contiguous(), classifier(batch.x).argmax(1))
    eps = 0.004
    if peer == "PGD":
        theirs = torchattacks.PGD(classifier, eps=eps, alpha=eps / 4, steps=20, random_start=False)
        mine = pgd(classifier, batch, eps, steps=20, step_size=eps / 4)
    else:
        theirs = torchattacks.FGSM(classifier, eps=eps)
        mine = fgsm(classifier, batch, eps)
    found = theirs(batch.x, batch.y)
    with torch.no_grad():
        robust = [float((classifier(x).argmax(1) == batch.y).float().mean()) for x in (mine, found)]
    assert robust[0] == pytest.approx(robust[1], abs=0.01)
    assert ((mine - found).abs() > 1e-5).float().mean() < 0.02


def test_twenty_steps_reach_the_edge_of_a_large_ball() -> None:
    assert {usual_step(k / 255) for k in (1, 8, 12, 16)} == {2 / 255}  # as in the papers, exactly
    linear, eps = Linear(), 0.3
    x = torch.full((4, 3, 4, 4), 0.5)
    batch = ImageBatch(x, linear(x).argmax(1))
    assert torch.equal(pgd(linear, batch, eps), fgsm(linear, batch, eps))
