"""The pieces of training on tensors, each against what it stands for."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn

from l2l_gail.ppo.buffer import (
    TensorRolloutBuffer,
    advantages_and_returns,
    minibatch_order,
)
from l2l_gail.ppo.flat_adam import FlatAdam
from l2l_gail.ppo.forward import GaussianForward, PolicyForward, forward_of
from l2l_gail.ppo.infos import StepInfos
from l2l_gail.ppo.lazy_array import LazyArray, as_array
from l2l_gail.ppo.loss import Minibatch, PPOLoss
from l2l_gail.ppo.parts import is_like
from l2l_gail.ppo.policy import NormalizedPolicy, NormalizeObservations
from l2l_gail.ppo.rollout import environment_actions
from l2l_gail.ppo.tanh_network import TanhNetwork, tanh_layer
from tests.gail.tensor_support import OwnPolicy

OBS = spaces.Box(-np.inf, np.inf, (5,), np.float64)
ACTS = spaces.Box(np.array([-0.5, -2.0], np.float32), np.array([1.0, 2.0], np.float32))
LOSS = PPOLoss(clip=0.2, clip_vf=None, ent_coef=0.0, vf_coef=0.5, normalize_advantage=True)


def make_policy(cls: type[NormalizedPolicy] = NormalizedPolicy, **kwargs: Any) -> NormalizedPolicy:
    torch.manual_seed(0)
    policy = cls(OBS, ACTS, lambda _: 3e-4, log_std_init=-0.5, **kwargs)
    with torch.no_grad():  # beyond the small weights that SB3 starts with
        for parameter in policy.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    if isinstance(policy.features_extractor, NormalizeObservations):
        policy.features_extractor.statistics.set(np.linspace(-1, 1, 5), np.linspace(0.5, 2, 5))
    return policy


def make_batch(policy: NormalizedPolicy, n: int = 64) -> tuple[Tensor, Minibatch]:
    """Observations, and transitions of a policy close to ``policy``."""
    generator = torch.Generator().manual_seed(1)
    obs = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        actions, values, log_probs = policy(obs)
    noise = torch.randn(4, n, generator=generator)
    return obs, Minibatch(
        prepared=obs,
        actions=actions,
        old_values=values.flatten() + 0.3 * noise[0],
        old_log_probs=log_probs + 0.3 * noise[1],
        advantages=3.0 * noise[2] + 1.0,
        returns=noise[3],
    )


def gradients(policy: NormalizedPolicy) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in policy.named_parameters()}


def test_advantages_are_sb3s_to_the_last_bit() -> None:
    n_steps, n_envs, gamma, gae_lambda = 37, 5, 0.97, 0.91
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, n_steps, n_envs, generator=generator)
    last_values = torch.randn(n_envs, generator=generator)
    dones = torch.rand(n_steps, n_envs, generator=generator) < 0.2
    theirs = RolloutBuffer(
        n_steps, OBS, ACTS, device="cpu", gae_lambda=gae_lambda, gamma=gamma, n_envs=n_envs
    )
    theirs.rewards[:], theirs.values[:] = rewards.numpy(), values.numpy()
    theirs.episode_starts[1:] = dones[:-1].numpy()
    theirs.compute_returns_and_advantage(last_values, dones[-1].numpy())
    advantages, returns = advantages_and_returns(
        rewards, values, dones, last_values, gamma, gae_lambda
    )
    np.testing.assert_array_equal(advantages.numpy(), theirs.advantages)
    np.testing.assert_array_equal(returns.numpy(), theirs.returns)


def test_the_buffer_stacks_steps_and_knows_why_an_episode_ended() -> None:
    buffer = TensorRolloutBuffer(gamma=0.9, gae_lambda=0.8)
    yes, no = torch.tensor([True]), torch.tensor([False])
    ends = [(no, no), (yes, no), (no, yes), (yes, yes)]
    for t, (terminated, truncated) in enumerate(ends):
        obs = torch.full((1, 2), float(t))
        reward = torch.tensor([t], dtype=torch.float64)
        buffer.add(obs, obs[:, :1], reward, terminated, truncated, obs + 0.5)
    buffer.stack()
    assert len(buffer) == 4
    assert buffer.observations.shape == (4, 1, 2)
    assert buffer.rewards.dtype == torch.float32
    assert buffer.dones.flatten().tolist() == [False, True, True, True]
    assert buffer.time_limits.flatten().tolist() == [False, False, True, False]
    assert buffer.by_env(torch.tensor([[1, 2], [3, 4], [5, 6]])).tolist() == [1, 3, 5, 2, 4, 6]
    buffer.reset()
    buffer.add(obs, obs, reward, no, no, obs)
    buffer.stack()
    assert len(buffer) == 1


def test_minibatches_are_drawn_as_sb3_draws_them() -> None:
    np.random.seed(3)
    expected = np.random.permutation(10)
    np.random.seed(3)
    orders = minibatch_order(10, torch.device("cpu"))
    np.testing.assert_array_equal(next(orders).numpy(), expected)
    assert sorted(next(orders).tolist()) == list(range(10))


def test_the_short_forward_gives_sb3s_actions_values_and_log_probabilities() -> None:
    policy = make_policy()
    forward = forward_of(policy)
    assert isinstance(forward, GaussianForward)
    obs, _ = make_batch(policy)
    torch.manual_seed(7)
    actions, values, log_probs = policy(obs)
    torch.manual_seed(7)
    with torch.no_grad():
        own, *later = forward.act(obs.float())
        assert later == [None, None]
        torch.testing.assert_close(own, actions, rtol=0, atol=3e-6)
        prepared = forward.prepare(obs)
        own_values, own_log_probs = forward.evaluate(prepared, actions)
        torch.testing.assert_close(own_values, values.flatten(), rtol=0, atol=3e-6)
        torch.testing.assert_close(own_log_probs, log_probs, rtol=0, atol=1e-5)
        torch.testing.assert_close(forward.values(obs), values.flatten(), rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_vf": 0.2},
        {"ent_coef": 0.1, "vf_coef": 1.5},
        {"normalize_advantage": False, "clip": 0.05},
    ],
)
@pytest.mark.parametrize("net_arch", [None, [], {"pi": [7], "vf": [9, 8, 3]}])
def test_the_written_out_gradient_is_autograds(changes: dict[str, Any], net_arch: Any) -> None:
    policy = make_policy(net_arch=net_arch)
    loss = dataclasses.replace(LOSS, **changes)
    obs, batch = make_batch(policy)
    general = PolicyForward(policy)
    expected = general.gradient(loss, batch)
    by_autograd = gradients(policy)
    general.clip_gradient(0.1)
    clipped = gradients(policy)

    lean = forward_of(policy)
    assert isinstance(lean, GaussianForward)
    for _ in range(2):  # the second into the same memory
        terms = lean.gradient(loss, batch._replace(prepared=lean.prepare(obs)))
    ratio = expected.log_ratio.exp()
    assert ((ratio - 1).abs() > loss.clip).any()
    for own, theirs in zip(terms, expected, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)
    for name, gradient in gradients(policy).items():
        torch.testing.assert_close(gradient, by_autograd[name], rtol=1e-3, atol=1e-5, msg=name)
    lean.clip_gradient(0.1)
    for name, gradient in gradients(policy).items():
        torch.testing.assert_close(gradient, clipped[name], rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("fused", [True, False])
def test_steps_on_one_vector_are_the_optimizers(fused: bool) -> None:
    lean, plain = (
        make_policy(optimizer_kwargs={"fused": fused, "eps": 1e-5, "weight_decay": 0.01})
        for _ in range(2)
    )
    plain.load_state_dict(lean.state_dict())
    for update in range(2):  # a second one starts from what the first has left
        forward = forward_of(lean)
        obs, batch = make_batch(lean)
        for _ in range(4):
            forward.gradient(LOSS, batch._replace(prepared=forward.prepare(obs)))
            for own, theirs in zip(plain.parameters(), lean.parameters(), strict=True):
                assert theirs.grad is not None
                own.grad = theirs.grad.clone()
            forward.step()
            plain.optimizer.step()
        forward.finish()
        for own, theirs in zip(plain.parameters(), lean.parameters(), strict=True):
            torch.testing.assert_close(theirs, own, rtol=1e-6, atol=1e-7)
            state, expected = lean.optimizer.state[theirs], plain.optimizer.state[own]
            assert float(state["step"]) == float(expected["step"]) == 4 * (update + 1)
            for name in ("exp_avg", "exp_avg_sq"):
                torch.testing.assert_close(state[name], expected[name], rtol=1e-6, atol=1e-9)


def test_only_a_plain_adam_is_taken_on_one_vector() -> None:
    for kwargs in ({"amsgrad": True}, {"maximize": True}):
        policy = make_policy(optimizer_kwargs=kwargs)
        forward = forward_of(policy)
        obs, batch = make_batch(policy)
        forward.gradient(LOSS, batch._replace(prepared=forward.prepare(obs)))
        forward.step()
        parameters, grad = list(policy.parameters()), torch.zeros(1)
        assert FlatAdam.of(policy.optimizer, parameters, grad) is None
    sgd = torch.optim.SGD(parameters, lr=0.1)
    assert FlatAdam.of(sgd, parameters, grad) is None


def test_a_short_gradient_is_not_made_longer() -> None:
    policy = make_policy()
    lean = forward_of(policy)
    obs, batch = make_batch(policy)
    lean.gradient(LOSS, batch._replace(prepared=lean.prepare(obs)))
    before = gradients(policy)
    lean.clip_gradient(1e6)
    for name, gradient in gradients(policy).items():
        assert torch.equal(gradient, before[name])


@pytest.mark.parametrize(
    "policy",
    [
        lambda: make_policy(OwnPolicy),
        lambda: make_policy(activation_fn=nn.ReLU),
        lambda: make_policy(use_sde=True),
        lambda: make_policy(features_extractor_class=FlattenExtractor),
        lambda: make_policy(share_features_extractor=False),
        lambda: make_policy().requires_grad_(False),
    ],
)
def test_any_other_policy_goes_through_sb3s_methods(policy: Any) -> None:
    assert type(forward_of(policy())) is PolicyForward


def test_a_tanh_layer_is_one_and_can_be_differentiated_twice() -> None:
    x = torch.linspace(-12, 12, 4001, dtype=torch.float32)[:, None]
    one, zero = torch.ones(1, 1), torch.zeros(1)
    torch.testing.assert_close(tanh_layer(x, one, zero), x.tanh(), rtol=0, atol=3e-7)
    generator = torch.Generator().manual_seed(0)
    x, w, b = (
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((4, 3), (2, 3), (2,))
    )
    assert torch.autograd.gradcheck(tanh_layer, (x, w, b))
    assert torch.autograd.gradgradcheck(tanh_layer, (x, w, b))


def test_what_is_no_tanh_network_is_told_apart() -> None:
    linear, tanh = nn.Linear(2, 2), nn.Tanh()
    network = TanhNetwork.of([linear, tanh, linear])
    assert network is not None
    x = torch.randn(3, 2)
    with torch.no_grad():
        torch.testing.assert_close(network.forward(x)[0], linear(tanh(linear(x))))
    unbiased = nn.Linear(2, 2, bias=False)
    for other in ([linear, tanh], [linear, nn.ReLU(), linear], [tanh, linear], [unbiased], []):
        assert TanhNetwork.of(other) is None


def test_actions_reach_the_environment_in_its_unit() -> None:
    policy = make_policy()
    given = torch.tensor([[-3.0, 0.5], [0.25, 9.0]])
    assert environment_actions(policy)(given).tolist() == [[-0.5, 0.5], [0.25, 2.0]]
    squashed = make_policy(use_sde=True, squash_output=True)
    within = torch.tensor([[-1.0, 0.5], [0.25, 1.0]])
    np.testing.assert_array_equal(
        environment_actions(squashed)(within).numpy(), squashed.unscale_action(within.numpy())
    )


def test_a_lazy_array_is_an_array_when_looked_at() -> None:
    lazy = LazyArray(torch.tensor([True, False, True]))
    assert np.sum(lazy) == 2
    assert lazy.sum() == 2
    assert [bool(x) for x in lazy] == [True, False, True]
    assert len(lazy) == 3
    assert not lazy[1]
    np.testing.assert_array_equal(np.asarray(lazy, dtype=np.float32), [1.0, 0.0, 1.0])
    assert len(copy.deepcopy(lazy)) == 3
    with pytest.raises(AttributeError):
        _ = lazy.no_such_thing
    assert isinstance(as_array(torch.zeros(2)), np.ndarray)


def test_a_lazy_array_calculates_as_an_array() -> None:
    array = np.array([1.5, -2.0, 0.0], np.float32)
    lazy, mask = LazyArray(torch.tensor(array)), LazyArray(torch.tensor([True, False, True]))
    for ours, expected in (
        (~mask, [False, True, False]),
        (mask & [True, True, False], [True, False, False]),
        (lazy > 0, [True, False, False]),
        (lazy == array, [True, True, True]),
        (array != lazy, [False, False, False]),
        (2 - lazy, 2 - array),
        (lazy * lazy, array**2),
        (np.maximum(lazy, 0), [1.5, 0.0, 0.0]),
        (np.where(mask, lazy, 9.0), [1.5, 9.0, 0.0]),
    ):
        assert isinstance(ours, np.ndarray)
        np.testing.assert_array_equal(ours, expected)
    total = np.zeros(3)
    total += lazy
    np.testing.assert_array_equal(total, array)
    assert np.add.reduce(lazy) == array.sum()
    assert not LazyArray(torch.tensor([False]))
    assert LazyArray(torch.tensor(True))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(mask)
    scaled = whole = LazyArray(torch.tensor([1.0, 2.0]))
    scaled *= 3.0
    np.testing.assert_array_equal(whole, [3.0, 6.0])


def test_a_lazy_array_is_brought_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    moves = []
    original = Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: moves.append(1) or original(tensor))
    lazy = LazyArray(torch.arange(4))
    assert (len(lazy), len(moves)) == (4, 0)
    assert list(lazy) == [0, 1, 2, 3]
    assert lazy.sum() == 6
    assert len(moves) == 1


def test_infos_are_those_of_sb3() -> None:
    info = {
        "final_obs": torch.tensor([[1.0], [2.0], [3.0]]),
        "_final_obs": torch.tensor([False, True, True]),
        "episode_return": torch.tensor([5.0, 6.0, 7.12345678], dtype=torch.float64),
        "episode_length": torch.tensor([8, 9, 10]),
        "x_velocity": torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64),
    }
    infos = StepInfos(torch.tensor([False, True, False]), info)
    first, second, third = infos
    assert first == {"TimeLimit.truncated": False, "x_velocity": 0.5}
    assert (second["x_velocity"], third["x_velocity"]) == (-1.0, 2.0)
    assert second["episode"] == {"r": 6.0, "l": 9}
    assert second["terminal_observation"] == np.array([2.0])
    assert not second["TimeLimit.truncated"]
    assert third["TimeLimit.truncated"]
    assert third["episode"]["r"] == 7.123457
    assert infos[1:] == [second, third]
    assert infos[-1]["episode"] == third["episode"]
    with pytest.raises(IndexError):
        _ = infos[3]


@pytest.mark.parametrize(
    ("learned_in", "played_in", "fits"),
    [
        (spaces.Box(0, 255, (3, 8, 9), np.uint8), spaces.Box(0, 255, (8, 9, 3), np.uint8), True),
        (spaces.Box(0, 255, (3, 8, 9), np.uint8), spaces.Box(0, 255, (9, 8, 3), np.uint8), False),
        (spaces.Box(-1, 1, (3, 4)), spaces.Box(-1, 1, (4, 3)), False),
        (spaces.Box(-1, 1, (3,)), spaces.Box(-2, 2, (3,)), True),
        (spaces.Discrete(3), spaces.Discrete(4), False),
    ],
    ids=str,
)
def test_what_is_learned_in_a_space_fits_those_of_its_shape(
    learned_in: spaces.Space, played_in: spaces.Space, fits: bool
) -> None:
    assert is_like(learned_in, played_in) == fits
    inside, outside = (spaces.Dict({"part": space}) for space in (learned_in, played_in))
    assert is_like(inside, outside) == fits
    assert not is_like(inside, played_in)
