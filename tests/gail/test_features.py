"""How transitions of each kind of space become the discriminator's input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import NatureCNN

from l2l_gail.gail import (
    DiscriminatorConfig,
    DiscriminatorGame,
    ExtractorDiscriminator,
    ModuleDiscriminator,
    TanhDiscriminator,
    TransitionBatch,
)

IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
BOX = spaces.Box(-1, 1, (2,), np.float32)


def batch_of(space: spaces.Space, n: int = 5) -> Any:
    space.seed(0)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: torch.as_tensor(np.stack([s[key] for s in samples])) for key in space.spaces}
    return torch.as_tensor(np.stack(samples))


def one_hot_by_hand(values: list[int], n: int) -> torch.Tensor:
    return torch.tensor([[float(value == k) for k in range(n)] for value in values])


def inputs(observation: spaces.Space, action: spaces.Space, obs: Any, acts: Any) -> torch.Tensor:
    return TanhDiscriminator(observation, action, (4,)).inputs(obs, acts)


def test_discrete_observations_and_actions_are_one_hot() -> None:
    obs, acts = torch.tensor([2, 0, 1]), torch.tensor([1, 1, 0])
    found = inputs(spaces.Discrete(3), spaces.Discrete(2), obs, acts)
    expected = torch.cat([one_hot_by_hand([2, 0, 1], 3), one_hot_by_hand([1, 1, 0], 2)], 1)
    assert torch.equal(found, expected)


def test_several_classes_are_one_hot_each_and_bits_stay_bits() -> None:
    space = spaces.MultiDiscrete([2, 3])
    obs = torch.tensor([[1, 2], [0, 0]])
    acts = torch.tensor([[1, 0, 1], [0, 0, 1]])
    found = inputs(space, spaces.MultiBinary(3), obs, acts)
    classes = torch.cat([one_hot_by_hand([1, 0], 2), one_hot_by_hand([2, 0], 3)], 1)
    assert torch.equal(found, torch.cat([classes, acts.float()], 1))
    assert torch.equal(inputs(spaces.MultiBinary(3), space, acts, obs)[:, 3:], classes)


def test_pixels_are_kept_as_bytes_and_seen_from_0_to_1() -> None:
    discriminator = TanhDiscriminator(IMAGE, spaces.Discrete(4), (4,))
    obs, acts = batch_of(IMAGE), torch.tensor([0, 1, 2, 3, 0])
    rows = discriminator.rows(obs, acts)
    assert rows.dtype == torch.uint8
    assert rows.shape == (5, 36 * 36 + 4)
    found = discriminator.inputs_of_rows(rows)
    torch.testing.assert_close(found[:, :-4], obs.flatten(1).float() / 255)
    assert torch.equal(found[:, -4:], one_hot_by_hand([0, 1, 2, 3, 0], 4))


def test_only_continuous_parts_of_a_dict_are_normalised() -> None:
    space = spaces.Dict(
        {
            "at": spaces.Box(-9, 9, (2, 2), np.float32),
            "image": IMAGE,
            "kind": spaces.Discrete(3),
            "speed": spaces.Box(-9, 9, (1,), np.float32),
        }
    )
    discriminator = TanhDiscriminator(space, BOX, (4,))
    assert discriminator.features.parts.continuous == ["at", "speed"]
    mean, std = np.arange(5.0), np.full(5, 2.0 - 1e-3)
    discriminator.statistics.set(mean, std)
    obs, acts = batch_of(space), 3 * batch_of(BOX)
    found, by_action = discriminator.features.split(discriminator.inputs(obs, acts))
    assert isinstance(found, dict)
    assert {key: part.shape[1:] for key, part in found.items()} == {
        "at": (2, 2), "image": (1, 36, 36), "kind": (3,), "speed": (1,),
    }  # fmt: skip
    flat = (obs["at"].flatten(1) - torch.arange(4.0)) / 2
    torch.testing.assert_close(found["at"].flatten(1), flat)
    torch.testing.assert_close(found["speed"], (obs["speed"] - 4) / 2)
    torch.testing.assert_close(found["image"], obs["image"].float() / 255)
    assert torch.equal(found["kind"], one_hot_by_hand(obs["kind"].tolist(), 3))
    assert torch.equal(by_action, acts.clamp(-1, 1))


def through_cnn() -> ExtractorDiscriminator:
    torch.manual_seed(0)
    cnn = NatureCNN(IMAGE, features_dim=8)
    return ExtractorDiscriminator(IMAGE, spaces.Discrete(4), cnn, (6,)).double()


def test_an_extractors_weights_are_the_discriminators_own() -> None:
    discriminator = through_cnn()
    weights = discriminator.weights()
    assert {name.split(".")[0] for name in weights} == {"extractor", "layers"}
    x = torch.rand(3, 36 * 36 + 4, dtype=torch.float64)
    other = {name: 1.1 * w for name, w in weights.items()}
    given = discriminator.logits_expert_is_high(x, other)
    obs, acts = x[:, :-4].reshape(3, 1, 36, 36), x[:, -4:]
    discriminator.adopt(other)
    h = torch.cat([discriminator.extractor(obs), acts], 1)
    (w1, b1), (w2, b2) = ((layer.weight, layer.bias) for layer in discriminator.layers)
    by_hand = (torch.tanh(h @ w1.T + b1) @ w2.T + b2)[:, 0]
    torch.testing.assert_close(given, by_hand, rtol=1e-6, atol=1e-6)
    assert torch.equal(discriminator.logits_expert_is_high(x), given)


def test_the_penalty_is_of_pixels_and_actions_and_reaches_all_weights() -> None:
    discriminator = through_cnn()
    weights = {name: w.requires_grad_() for name, w in discriminator.weights().items()}
    x = torch.rand(2, 36 * 36 + 4, dtype=torch.float64)
    slope = discriminator.input_gradient(x, weights)
    step = 1e-6
    for entry in (700, 36 * 36 + 1):  # a pixel, and a class of the action
        moved = torch.zeros_like(x)
        moved[:, entry] = step
        ahead, behind = (discriminator.logits_expert_is_high(x + s * moved) for s in (1, -1))
        torch.testing.assert_close(
            slope[:, entry], (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-8
        )
    game = DiscriminatorGame(discriminator, DiscriminatorConfig(penalty_weight=1e3))
    plain = DiscriminatorGame(discriminator, DiscriminatorConfig(penalty="none"))
    data = TransitionBatch(x, 1 - x, (1 + x) / 3)
    extra = game.follower_loss(weights, data) - plain.follower_loss(weights, data)
    gradients = torch.autograd.grad(extra, list(weights.values()), allow_unused=True)
    moved_by_it = {
        name for name, g in zip(weights, gradients, strict=True) if g is not None and g.any()
    }
    assert {name for name in weights if name.endswith("weight")} == {
        name for name in moved_by_it if name.endswith("weight")
    }


@pytest.mark.parametrize("space", [IMAGE, spaces.Box(-1, 1, (2, 3), np.float32)])
def test_a_module_of_ones_own_sees_observations_in_their_shape(space: spaces.Box) -> None:
    class Own(torch.nn.Module):
        def forward(self, obs: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
            assert obs.shape == (5, *space.shape)
            return obs.flatten(1).sum(1) + acts[:, 1]

    discriminator = ModuleDiscriminator(space, spaces.Discrete(2), Own())
    obs = batch_of(space)
    unit = 255 if space is IMAGE else 1
    found = discriminator(obs, torch.tensor([0, 1, 0, 1, 1]))
    expected = obs.flatten(1).float().sum(1) / unit + torch.tensor([0.0, 1, 0, 1, 1])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("reach", [1e-3, 1e3])
def test_actions_of_unusual_units_are_seen_as_those_of_usual_ones(reach: float) -> None:
    low, high = np.float32([-1.0, 0.0, -0.5]), np.float32([1.0, 2.0, 0.5])
    shares = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    acts = torch.as_tensor(low) + shares * torch.as_tensor(high - low)
    unit = np.float32([reach, reach, 1.0])  # the last one stays as it is

    def rows(unit: np.ndarray) -> torch.Tensor:
        space = spaces.Box(low * unit, high * unit)
        own = TanhDiscriminator(spaces.Box(-1, 1, (2,)), space, (4,))
        return own.rows(torch.zeros(20, 2), acts * torch.as_tensor(unit))[:, 2:]

    usual = rows(np.ones(3, np.float32))
    torch.testing.assert_close(usual, acts, rtol=0, atol=0)
    unusual = rows(unit)
    torch.testing.assert_close(unusual[:, :2], 2 * shares[:, :2] - 1, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(unusual[:, 2], usual[:, 2], rtol=0, atol=0)
