"""A whole discriminator of one's own, with its own input gradient."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import set_random_seed
from torch import Tensor

from l2l_gail.core import Vars
from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL, TanhDiscriminator
from tests.gail.tensor_support import ROLLOUT, TensorWalk, make


class Counted(TanhDiscriminator):
    """Counts how often its derivative is asked for."""

    asked = 0

    def input_gradient(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        self.asked += 1
        return super().input_gradient(inputs, weights)


class Wrong(TanhDiscriminator):
    """Whose derivative is half as large as it is."""

    def input_gradient(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        return super().input_gradient(inputs, weights) / 2


def of_the_walk(cls: type[TanhDiscriminator]) -> TanhDiscriminator:
    return cls(TensorWalk.single_observation_space, TensorWalk.single_action_space, (8, 8))


def test_it_trains_as_the_same_network_of_the_library_and_is_asked_for_its_derivative() -> None:
    usual = make(GAIL, TensorWalk())
    network = of_the_walk(Counted)
    network.load_state_dict(usual.discriminator.state_dict())
    own = make(GAIL, TensorWalk(), discriminator_network=network)
    for model in (usual, own):
        set_random_seed(5)
        model.learn(2 * ROLLOUT)
    trained = own.discriminator.network
    assert trained is not network
    assert trained.asked > 0
    for name, weight in usual.discriminator.named_parameters():
        assert torch.equal(trained.get_parameter(name), weight), name


def test_it_is_saved_and_loaded_with_one_of_its_class(tmp_path: Path) -> None:
    network = of_the_walk(Counted)
    model = make(GAIL, TensorWalk(), discriminator_network=network)
    model.learn(ROLLOUT)
    model.save(tmp_path / "own.zip")
    with pytest.raises(InputError, match="give discriminator_network"):
        GAIL.load(tmp_path / "own.zip")
    again = GAIL.load(tmp_path / "own.zip", discriminator_network=of_the_walk(Counted))
    obs, acts = torch.randn(5, 2), torch.randn(5, 1)
    assert torch.equal(again.discriminator(obs, acts), model.discriminator(obs, acts))
    before = copy.deepcopy(network.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_derivative_that_is_none_of_its_logits_is_refused() -> None:
    with pytest.raises(InputError, match="is not the derivative of its logits by the inputs"):
        make(GAIL, TensorWalk(), discriminator_network=of_the_walk(Wrong))


def test_one_of_other_spaces_is_refused() -> None:
    box = spaces.Box(-1, 1, (7,))
    with pytest.raises(InputError, match="takes 14 inputs, not 3: make it for the environment's"):
        make(GAIL, TensorWalk(), discriminator_network=TanhDiscriminator(box, box))
