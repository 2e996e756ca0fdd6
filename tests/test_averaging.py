"""The average of the weights against the recurrence by hand."""

from __future__ import annotations

import copy

import torch
from torch import nn

from l2l_gail.averaging import WeightAverage
from tests.adv_training.support import tiny_batch, tiny_game


def test_the_average_follows_weights_and_statistics() -> None:
    model = tiny_game().classifier.train()
    average = WeightAverage(model, 0.5)
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    for t in range(8):
        with torch.no_grad():
            model(tiny_batch(8, seed=t).x)
            for p in model.parameters():
                p.add_(0.1)
        average.follow(model)
        keep = min(0.5, (1 + t) / (10 + t))
        for k, v in model.state_dict().items():
            expected[k] = keep * expected[k] + (1 - keep) * v if v.is_floating_point() else v
    assert average.steps == 8
    for k, v in average.model.state_dict().items():
        torch.testing.assert_close(v, expected[k])
    assert not any(p.requires_grad for p in average.model.parameters())


class Tied(nn.Module):
    """Two layers of one weight, and one of them under a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.again = self.second


def test_what_has_several_names_follows_as_what_has_one() -> None:
    model = Tied()
    average = WeightAverage(model, 0.9)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    for t in range(5):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1)
        average.follow(model)
        keep = min(0.9, (1 + t) / (10 + t))
        for name, p in model.named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * p.detach()
    followed = dict(average.model.named_parameters())
    assert followed.keys() == expected.keys() == {"first.weight", "first.bias", "second.bias"}
    for name, value in expected.items():
        torch.testing.assert_close(followed[name], value)


def test_a_saved_average_goes_on_to_the_bit() -> None:
    model = tiny_game().classifier
    first = WeightAverage(model, 0.9)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.1)
    first.follow(other)
    second = WeightAverage(model, 0.9)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for average in (first, second):
        average.follow(model)
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
