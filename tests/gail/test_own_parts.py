"""Networks, rewards, losses and penalties of one's own: a mistake is one line before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL, DiscriminatorConfig
from l2l_gail.gail.losses import LOSSES
from l2l_gail.gail.penalties import PENALTIES
from l2l_gail.gail.rewards import REWARDS
from tests.gail.tensor_support import ROLLOUT, TensorWalk, make


class Judge(nn.Module):
    """Of the walk's two observations and one action."""

    def __init__(self, inside: nn.Module | None = None, outputs: int = 1, inputs: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, 8)
        self.inside = inside or nn.Tanh()
        self.last = nn.Linear(8, outputs)

    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return self.last(self.inside(self.first(torch.cat([obs, acts], dim=1))))


class Tied(Judge):
    def __init__(self) -> None:
        super().__init__(nn.Linear(8, 8))
        self.again = self.inside


class OfOne(Judge):
    def forward(self, obs: Tensor) -> Tensor:  # type: ignore[override]
        return obs.sum(1)


class OneNumber(Judge):
    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return super().forward(obs, acts).mean()


class Noisy(Judge):
    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        logits = super().forward(obs, acts)
        return logits + torch.randn_like(logits)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Judge(nn.Dropout(0.5)), "inside is a Dropout, with which two looks"),
        (Judge(nn.BatchNorm1d(8)), "inside is a BatchNorm1d, .* take LayerNorm"),
        (Tied(), r"one weight in two places, again\.weight being the second"),
        (OfOne(), "discriminator_network cannot be called: TypeError"),
        (Judge(inputs=4), "discriminator_network cannot be called: RuntimeError: mat1 and mat2"),
        (Judge().double(), "discriminator_network cannot be called: RuntimeError"),
        (Judge(outputs=2), r"float32 tensor of shape \(3,\) or \(3, 1\), not .* \(3, 2\)"),
        (OneNumber(), r"one number for each of 3 transitions .*, not torch\.float32 of shape \(\)"),
        (Noisy(), "two looks at one transition differ"),
        (Judge, "give a Module, not its class"),
    ],
)
def test_a_network_that_cannot_judge_is_refused(network: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make(GAIL, TensorWalk(), discriminator_network=network)
    assert "\n" not in str(caught.value)


def test_a_network_that_can_judge_is_not_changed_itself() -> None:
    network = Judge(nn.LayerNorm(8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model = make(GAIL, TensorWalk(), discriminator_network=network)
    model.learn(ROLLOUT)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("table", "setting", "function", "message"),
    [
        (REWARDS, "reward", lambda logits: logits.mean(), "the reward 'mine' has to return one nu"),
        (REWARDS, "reward", lambda logits: logits.numpy(), "(3,), not ndarray"),
        (REWARDS, "reward", lambda logits: logits[:, None], "not torch.float32 of shape (3, 1)"),
        (REWARDS, "reward", lambda a, b: a, "the reward 'mine' cannot be called: TypeError"),
        (LOSSES, "loss", lambda on_e, on_p: on_e - on_p, "the loss 'mine' has to return a scalar"),
        (PENALTIES, "penalty", lambda d, w, batch: batch.expert, "the penalty 'mine' has to retu"),
        (PENALTIES, "penalty", lambda d, w, batch: 0.0, "of shape (), not float"),
    ],
)
def test_a_function_that_returns_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    table: dict[str, Any],
    setting: str,
    function: Callable[..., Any],
    message: str,
) -> None:
    monkeypatch.setitem(table, "mine", function)
    config = DiscriminatorConfig(hidden_sizes=(8,), **{setting: "mine"})  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        make(GAIL, TensorWalk(), discriminator=config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "setting", "name"),
    [(REWARDS, "reward", "r1"), (LOSSES, "loss", "gail"), (PENALTIES, "penalty", "logit")],
)
def test_a_function_of_ones_own_is_tried_whatever_else_has_its_name(
    monkeypatch: pytest.MonkeyPatch, table: dict[str, Any], setting: str, name: str
) -> None:
    monkeypatch.setitem(table, name, lambda *given: "nothing")
    config = DiscriminatorConfig(hidden_sizes=(8,), **{setting: name})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"the {setting} '{name}' has to return"):
        make(GAIL, TensorWalk(), discriminator=config)


def test_functions_of_ones_own_train_as_the_same_ones_of_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finals = []
    for name in ("own", "ours"):
        names = {"reward": "gail", "loss": "least_squares", "penalty": "r1"}
        if name == "own":
            for table, key in ((REWARDS, "reward"), (LOSSES, "loss"), (PENALTIES, "penalty")):
                monkeypatch.setitem(table, "mine", table[names[key]])  # type: ignore[index]
                names[key] = "mine"
        config = DiscriminatorConfig(hidden_sizes=(8,), **names)  # type: ignore[arg-type]
        model = make(GAIL, TensorWalk(), discriminator=config)
        model.learn(2 * ROLLOUT)
        finals.append(model.discriminator.weights())
    assert all(torch.equal(finals[0][key], finals[1][key]) for key in finals[0])
