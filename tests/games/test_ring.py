"""The ring of Gaussians: its measures on samples that are known, and a short GAN on it."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from l2l_gail.core import Adam, CoordinateMLP, L2LTrainer, UpdateRule
from l2l_gail.games import RingBatch, RingGame, RingOfGaussians, RingQuality


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_samples_lie_on_the_ring() -> None:
    ring = RingOfGaussians(n_modes=8, radius=2.0, std=0.05)
    samples = ring.sample(20_000, stream())
    assert samples.shape == (20_000, 2)
    assert samples.dtype == torch.float32
    assert float(samples.norm(dim=1).mean()) == pytest.approx(2.0, abs=0.01)
    angles = torch.atan2(samples[:, 1], samples[:, 0])
    nearest = (angles / (math.pi / 4)).round().long() % 8
    shares = torch.bincount(nearest, minlength=8) / 20_000
    torch.testing.assert_close(shares, torch.full((8,), 1 / 8), rtol=0, atol=0.01)
    off = samples - 2.0 * torch.stack(
        [(nearest * math.pi / 4).cos(), (nearest * math.pi / 4).sin()], dim=1
    )
    assert float(off.std()) == pytest.approx(0.05, abs=0.001)


def test_quality_of_samples_that_are_known() -> None:
    ring = RingOfGaussians()
    perfect = ring.quality(ring.sample(2000, stream(1)), stream(2))
    assert perfect.energy_distance < 0.01
    assert perfect.modes == 8
    assert perfect.high_quality > 0.99

    one_mode = ring.quality(ring.centres[3].expand(2000, 2), stream(2))
    assert one_mode.modes == 1
    assert one_mode.high_quality == 1.0
    assert one_mode.energy_distance > 1.0

    far = ring.quality(torch.full((2000, 2), 10.0), stream(2))
    assert (far.modes, far.high_quality) == (0, 0.0)
    assert far.energy_distance > 10.0

    centres = ring.centres.repeat_interleave(torch.tensor([993, 1, 1, 1, 1, 1, 1, 1]), dim=0)
    assert ring.quality(centres, stream(2)).modes == 1  # a tenth of the fair share is 12.5 samples


def test_energy_distance_of_two_points_is_twice_their_distance() -> None:
    point = RingOfGaussians(n_modes=1, radius=2.0, std=0.0)  # all at (2, 0)
    elsewhere = torch.tensor([[-1.0, 4.0]]).expand(100, 2)  # 5 away
    assert point.quality(elsewhere, stream()).energy_distance == pytest.approx(10.0, rel=1e-5)


def network(out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()).append(
        nn.Linear(32, out)
    )


@pytest.mark.parametrize("r1", [0.0, 0.7])
def test_discriminators_loss_is_cross_entropy_plus_half_the_squared_slope(r1: float) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(2, 1)
    game = RingGame(linear, r1=r1)
    batch = RingBatch(torch.randn(16, 2), torch.randn(16, 2))
    loss = game.follower_loss(game.init_follower(batch), batch)
    logits = torch.cat([linear(batch.real), linear(batch.fake)]).squeeze(1)
    labels = torch.cat([torch.ones(16), torch.zeros(16)])
    expected = 2 * F.binary_cross_entropy_with_logits(logits, labels)
    expected = expected + r1 / 2 * linear.weight.square().sum()
    torch.testing.assert_close(loss, expected)


def test_leaders_loss_sees_the_generator_and_the_followers_does_not() -> None:
    torch.manual_seed(0)
    game = RingGame(network(1))
    follower = {k: v.requires_grad_() for k, v in game.init_follower().items()}
    fake = torch.randn(8, 2, requires_grad=True)
    batch = RingBatch(torch.randn(8, 2), fake)
    (gradient,) = torch.autograd.grad(game.leader_loss(follower, batch), fake)
    assert float(gradient.abs().sum()) > 0
    (gradient,) = torch.autograd.grad(game.follower_loss(follower, batch), fake, allow_unused=True)
    assert gradient is None


def play_gan(rule: UpdateRule, iterations: int) -> tuple[list[RingQuality], RingGame]:
    """Train a small GAN on the ring; return its quality before and after."""
    torch.manual_seed(0)
    ring, noise, data, judge = RingOfGaussians(), stream(1), stream(2), stream(3)
    generator, game = network(2), RingGame(network(1), r1=1.0)
    weights_before = copy.deepcopy(game.discriminator.state_dict())
    leader = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
    groups = rule.meta_parameter_groups(1e-3)
    trainer = L2LTrainer(
        game, rule, meta_optimizer=torch.optim.Adam(groups) if groups else None, persistent=True
    )

    def batch(n: int = 128) -> RingBatch:
        return RingBatch(ring.sample(n, data), generator(torch.randn(n, 2, generator=noise)))

    def quality() -> RingQuality:
        with torch.no_grad():
            samples: Tensor = generator(torch.randn(1000, 2, generator=noise))
        return ring.quality(samples, judge)

    course = [quality()]
    for _ in range(iterations):
        trainer.step([batch()], [batch()])
        assert trainer.follower is not None
        leader.zero_grad()
        game.leader_loss(trainer.follower, batch()).backward()
        leader.step()
    course.append(quality())
    for name, tensor in game.discriminator.state_dict().items():
        assert torch.equal(tensor, weights_before[name])  # the follower is not the module's
    return course, game


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", [Adam(2e-3, (0.5, 0.999)), CoordinateMLP(2e-3, betas=(0.5, 0.999))], ids=["adam", "l2l"]
)
def test_short_gan_gets_closer_to_the_ring(rule: UpdateRule) -> None:
    (before, after), _ = play_gan(rule, iterations=400)
    assert after.energy_distance < 0.1 * before.energy_distance
    assert after.modes >= 4 > before.modes
