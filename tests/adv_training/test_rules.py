"""The rules that move a perturbation, against plain torch code."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adv_training.attackers import ATTACKERS, PatchNet, ResidualNet, build_attacker
from adv_training.attacks import fgsm
from adv_training.data import ImageBatch, Images
from adv_training.evaluate import attack
from adv_training.game import ImageGame
from adv_training.memory import PerturbationMemory
from adv_training.methods import build_method
from adv_training.registry import Method
from adv_training.robustness import fine_tune
from adv_training.rules import (
    ClassStart,
    LearnedStart,
    MemoryStart,
    ResidualPerturber,
    SignSteps,
    Stay,
    images_and_gradient,
    set_radius,
)
from l2l_gail.core import SGD, Oracle
from l2l_gail.errors import InputError
from tests.adv_training.support import EPS, generator, tiny_batch, tiny_game, tiny_settings


def gradient(game, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    point = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(game.classifier.eval()(point), y)
    return torch.autograd.grad(loss, point)[0]


def shaken_net(seed: int = 0, inputs: int = 6) -> ResidualNet:
    """A network whose last layer is not zero, so that it has a say."""
    torch.manual_seed(seed)
    net = ResidualNet(8, inputs=inputs)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return net


@pytest.mark.parametrize("kind", [ResidualNet, PatchNet])
def test_a_convolution_of_unshuffled_pixels_is_that(kind: type[ResidualNet]) -> None:
    torch.manual_seed(0)
    net = kind(8, inputs=9).double()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    padding = kind.outer_kernel // 2
    plain = nn.Sequential(
        nn.PixelUnshuffle(2),
        nn.Conv2d(36, 8, kind.outer_kernel, padding=padding, bias=False),
        *net.layers[2:],
    ).double()
    plain.load_state_dict(net.layers.state_dict())
    inputs = torch.randn(5, 9, 6, 10, dtype=torch.float64)
    for given in (inputs, inputs.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(net(given), plain(given))
    ours = torch.autograd.grad(net(inputs).square().sum(), list(net.parameters()))
    theirs = torch.autograd.grad(plain(inputs).square().sum(), list(plain.parameters()))
    torch.testing.assert_close(ours, theirs)


def test_the_residual_attacker_starts_as_the_sign_alone() -> None:
    game, batch = tiny_game(), tiny_batch()
    rule = build_attacker("residual", EPS, channels=None, seed=3)
    found = attack(game, Method(rule), batch)
    part = torch.tanh(torch.tensor(1.0))
    sign = gradient(game, batch.x, batch.y).sign()
    torch.testing.assert_close(found, (batch.x + EPS * part * sign).clamp(0, 1))


def test_the_residual_attacker_with_a_large_weight_is_fgsm() -> None:
    game, batch = tiny_game(), tiny_batch()
    rule = build_attacker("residual", EPS, channels=8, seed=3)
    assert isinstance(rule, ResidualPerturber)
    with torch.no_grad():
        rule.sign_weight.fill_(50.0)
    torch.testing.assert_close(attack(game, Method(rule), batch), fgsm(game.classifier, batch, EPS))


def test_the_residual_attacker_is_its_formula() -> None:
    game, batch = tiny_game(), tiny_batch()
    net = shaken_net()
    rule = ResidualPerturber(net, EPS)
    g = gradient(game, batch.x, batch.y)
    rms = g.pow(2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    inputs = torch.cat([2 * batch.x - 1, torch.clamp(g / rms, -3, 3)], dim=1)
    expected = batch.x + EPS * torch.tanh(net(inputs) + g.sign())
    torch.testing.assert_close(
        attack(game, Method(rule), batch), expected.detach().clamp(0, 1), atol=1e-5, rtol=0
    )


def test_a_tiny_gradient_is_normalised_and_none_stays_none() -> None:
    x = torch.rand(2, 3, 4, 4, generator=generator())
    ascent = torch.randn(2, 3, 4, 4, generator=generator(1))
    plain = images_and_gradient(x, ascent)
    torch.testing.assert_close(images_and_gradient(x, 1e-13 * ascent), plain, atol=1e-4, rtol=0)
    assert images_and_gradient(x, 0 * ascent)[:, 3:].abs().max() == 0


def test_a_learned_start_is_followed_by_one_sign_step_from_there() -> None:
    game, batch = tiny_game(), tiny_batch()
    inner = ResidualPerturber(shaken_net(), EPS)
    x1, _ = inner({"x": batch.x}, Oracle(lambda v: game.follower_loss(v, batch)), {})
    x1 = x1["x"].detach()
    expected = x1 + EPS * gradient(game, x1, batch.y).sign()
    expected = expected.clamp(batch.x - EPS, batch.x + EPS).clamp(0, 1)
    oracle = Oracle(lambda v: game.follower_loss(v, batch))
    LearnedStart(inner, EPS)({"x": batch.x}, oracle, {})
    assert oracle.queries == 2
    found = attack(game, Method(LearnedStart(inner, EPS)), batch)
    torch.testing.assert_close(found, expected)


def test_the_class_start_asks_away_from_the_image_and_is_its_formula() -> None:
    batch = tiny_batch()
    game = tiny_game()
    net = shaken_net(inputs=9)
    rule = ClassStart(net, EPS, 10, (3, 32, 32))
    with torch.no_grad():
        rule.starts.normal_(std=0.02, generator=generator(2))
        rule.sign_weight.fill_(0.7)
    start = torch.tanh(30 * rule.starts[batch.y])
    g = gradient(game, (batch.x + 0.5 * EPS * start).clamp(0, 1).detach(), batch.y)
    rms = g.pow(2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    inputs = torch.cat([2 * batch.x - 1, torch.clamp(g / rms, -3, 3), start], dim=1)
    expected = batch.x + EPS * torch.tanh(net(inputs) + 0.7 * g.sign() + 0.5 * start)
    found = attack(game, Method(rule, labelled=True), batch, differentiable=True)
    torch.testing.assert_close(found, expected.clamp(0, 1), atol=1e-5, rtol=0)
    parameters = dict(rule.named_parameters())
    loss = game.follower_loss({"x": found}, batch)
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    assert all(g.abs().max() > 0 for g in gradients)


def test_the_memory_start_asks_on_the_way_to_the_last_perturbation() -> None:
    batch = tiny_batch()
    game = tiny_game()
    net = shaken_net(inputs=9)
    rule = MemoryStart(net, EPS)
    last = batch.x + 0.3 * EPS * torch.randn(batch.x.shape, generator=generator(2))
    batch = batch._replace(indices=torch.arange(len(batch.y)))
    game.memory = PerturbationMemory(batch_as_images(batch))
    game.memory.keep(batch, last)
    start = (last - batch.x).sign()
    g = gradient(game, (batch.x + 0.5 * EPS * start).clamp(0, 1), batch.y)
    rms = g.pow(2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    inputs = torch.cat([2 * batch.x - 1, torch.clamp(g / rms, -3, 3), start], dim=1)
    expected = batch.x + EPS * torch.tanh(net(inputs) + 2.0 * g.sign() + 0.5 * start)
    method = Method(rule, remembers=True)
    found = attack(game, method, batch, differentiable=True)
    torch.testing.assert_close(found, expected.clamp(0, 1), atol=1e-5, rtol=0)
    game.memory = None  # of images that it has not met nothing is known
    at_the_image = attack(game, method, batch)
    g = gradient(game, batch.x, batch.y)
    rms = g.pow(2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    none = torch.zeros_like(g)
    inputs = torch.cat([2 * batch.x - 1, torch.clamp(g / rms, -3, 3), none], dim=1)
    expected = batch.x + EPS * torch.tanh(net(inputs) + 2.0 * g.sign())
    torch.testing.assert_close(at_the_image, expected.clamp(0, 1), atol=1e-5, rtol=0)


def test_the_class_start_learns_what_all_images_of_a_class_share() -> None:
    batch = tiny_batch(64)
    game = tiny_game()
    rule = build_attacker("class_start", EPS, channels=8, seed=0)
    tuned = fine_tune(game, Method(rule, labelled=True), batch_as_images(batch), steps=30)
    start = torch.tanh(30 * tuned.rule.starts[batch.y]).detach()
    clean, there = (game.follower_loss({"x": x}, batch) for x in (batch.x, batch.x + EPS * start))
    assert there < clean  # the follower's loss falls: the classifier's rises, and no query was made


@pytest.mark.parametrize("name", sorted(ATTACKERS))
@pytest.mark.parametrize("uses_gradient", [True, False])
def test_attackers_of_every_shape_write_what_they_are_seeded_to(
    name: str, uses_gradient: bool
) -> None:
    batch = tiny_batch(4)
    labelled = name == "class_start" and uses_gradient
    game = tiny_game()
    channels = 32 if name == "paper_slim" else 8
    rules = [
        build_attacker(name, EPS, channels=channels, seed=seed, uses_gradient=uses_gradient)
        for seed in (0, 0, 1)
    ]
    methods = [Method(rule, labelled=labelled) for rule in rules]
    first, again, other = (attack(game, method, batch) for method in methods)
    assert torch.equal(first, again)
    assert name in ("residual", "class_start", "memory") or not torch.equal(first, other)
    assert (first - batch.x).abs().max() <= EPS + 1e-6
    alone = [attack(game, methods[0], game_batch) for game_batch in split(batch)]
    torch.testing.assert_close(torch.cat(alone), first, atol=1e-4, rtol=0)


def batch_as_images(batch: ImageBatch) -> Images:
    return Images((255 * batch.x).round().to(torch.uint8), batch.y)


def split(batch):
    return [type(batch)(batch.x[i : i + 1], batch.y[i : i + 1]) for i in range(len(batch.y))]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("paper_slim", 1.43e6), ("paper_wide", 1.75e6), ("paper_two_layer", 0.35e6)],
)
def test_the_paper_s_attackers_have_the_paper_s_size(name: str, parameters: float) -> None:
    net = ATTACKERS[name]()
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(parameters, rel=0.02)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "grad_l2l", "start_l2l", "naive_l2l"])
@pytest.mark.parametrize("attacker", ["slim", "residual", "class_start", "memory"])
def test_steps_follow_the_radius(name: str, attacker: str) -> None:
    changes = {"pgd_steps": 4, "attacker": attacker}
    method = build_method(tiny_settings(name, eps=8.0, **changes))
    half = build_method(tiny_settings(name, eps=4.0, **changes))
    set_radius(method.rule, EPS / 2)
    batch = tiny_batch()
    game = ImageGame(tiny_game().classifier, EPS / 2)
    assert torch.equal(attack(game, method, batch), attack(game, half, batch))


def test_a_rule_that_cannot_follow_the_radius_is_refused() -> None:
    set_radius(Stay(), 0.1)
    set_radius(SignSteps(1.0, 0.1), 0.2)
    with pytest.raises(InputError, match="SGD has no set_radius") as caught:
        set_radius(SGD(0.1), 0.1)
    assert "\n" not in str(caught.value)


def test_an_unknown_shape_of_the_attacker_is_one_line_that_names_the_known() -> None:
    with pytest.raises(InputError, match=r"^attacker 'foo' is unknown; there are: slim, resid.*$"):
        build_attacker("foo", EPS, channels=None, seed=0)
