"""Networks, rewards, losses and penalties of one's own: a mistake is one line before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL, DiscriminatorConfig
from l2l_gail.gail.discriminator import ModuleDiscriminator
from l2l_gail.gail.losses import LOSSES
from l2l_gail.gail.own_parts import check_own_functions, check_own_network
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


class Dropped(Judge):
    """What is dropped of zeros does not show."""

    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(obs, 0.1), acts)


class Shaken(Judge):
    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return super().forward(obs * (1 + 0.5 * torch.randn_like(obs)), acts)


class Standardised(Judge):
    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return super().forward((obs - obs.mean(0)) / (obs.std(0, correction=0) + 1e-3), acts)


class Compared(Judge):
    """With the batch's deviation beside each hidden layer, as image GANs have it."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.last = nn.Linear(9, 1)
        nn.init.constant_(self.last.weight[:, 8:], weight)

    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        hidden = self.inside(self.first(torch.cat([obs, acts], dim=1)))
        spread = hidden.std(0, correction=0).mean().expand(len(obs), 1)
        return self.last(torch.cat([hidden, spread], dim=1))


class Remembering(Judge):
    calls = 0

    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(obs, acts) / self.calls


class Cut(Judge):
    @torch.no_grad()
    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return super().forward(obs, acts)


class Detached(Judge):
    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return super().forward(obs.detach(), acts.detach())


class OfInputs(Judge):
    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return super().forward(obs, acts).detach() + obs.sum(1, keepdim=True)


class Free(nn.Module):
    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        return obs.sum(1) - acts.sum(1)


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
        (Dropped(), "two looks at one transition differ: leave out what does that"),
        (Shaken(), "two looks at one transition differ"),
        (Remembering(), "two looks at one transition differ"),
        (Standardised(), "a transition's logit depends on those beside it: leave out"),
        (Compared(0.3), "a transition's logit depends on those beside it"),
        (Compared(0.01), "a transition's logit depends on those beside it"),
        (Cut(), r"cuts its logits off from its weights, .* \(no_grad, detach\): leave that out"),
        (OfInputs(), "cuts its logits off from its weights"),
        (Detached(), r"cuts its logits off from the transitions, .* penalty 'gradient_penalty'"),
        (Free(), "the discriminator has no weight that requires a gradient"),
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


def test_without_a_penalty_on_slopes_a_network_needs_no_gradient_of_its_inputs() -> None:
    config = DiscriminatorConfig(penalty="none", updates_per_rollout=2, batch_size=16)
    model = make(GAIL, TensorWalk(), discriminator_network=Detached(), discriminator=config)
    before = model.discriminator.weights()
    moved = model.learn(ROLLOUT).discriminator.weights()
    assert not any(torch.equal(before[name], moved[name]) for name in before)


class Halved(Judge):
    """Computes in bfloat16."""

    def forward(self, obs: Tensor, acts: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(obs, acts).float()


class OfClasses(nn.Module):
    """Takes pixels, a class that is one-hot and a one-hot action for what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.of_class, self.of_action = nn.Embedding(4, 5), nn.Linear(3, 5)

    def forward(self, obs: dict[str, Tensor], acts: Tensor) -> Tensor:
        for one_hot in (obs["class"], acts):
            assert (one_hot.sum(1) == 1).all()
        assert obs["image"].shape[1:] == (3, 36, 36)
        assert 0 <= obs["image"].min() <= obs["image"].max() <= 1
        one = self.of_class(obs["class"].nonzero()[:, 1])
        return (one * self.of_action(acts)).sum(1) + obs["image"].mean((1, 2, 3))


IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
WALK = TensorWalk.single_observation_space, TensorWalk.single_action_space
MIXED = spaces.Dict({"image": IMAGE, "class": spaces.Discrete(4)}), spaces.Discrete(3)


@pytest.mark.parametrize(
    ("network", "given"),
    [
        (Halved(nn.Sequential(nn.Tanh(), nn.Linear(8, 8), nn.Tanh())), WALK),
        (Judge(nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))), WALK),
        (Judge(nn.utils.spectral_norm(nn.Linear(8, 8))), WALK),
        (OfClasses(), MIXED),
    ],
)
def test_a_network_that_can_judge_is_taken_and_nothing_moved(
    network: nn.Module, given: tuple[spaces.Space, spaces.Space]
) -> None:
    discriminator = ModuleDiscriminator(*given, network)
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    state, drawn = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    check_own_network(DiscriminatorConfig(), discriminator)
    check_own_functions(DiscriminatorConfig(), discriminator)
    after = discriminator.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (np.random.get_state()[1] == drawn).all()


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
