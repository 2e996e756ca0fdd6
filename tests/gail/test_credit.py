"""Learned credit: its estimates against sums written out, its gradients against autograd's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy

from l2l_gail.core import MatrixRule
from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL, L2LGAIL, LearnedCredit
from l2l_gail.gail.credit import (
    _draws,
    action_surprise,
    advantage_estimates,
    policy_gradients,
)
from l2l_gail.ppo.buffer import advantages_and_returns
from tests.gail.support import walk_demos
from tests.gail.tensor_support import ROLLOUT, LoggedAtRolloutEnd, TensorWalk, make

T, N = 7, 4


def a_rollout(seed: int = 0) -> tuple[SimpleNamespace, torch.Tensor]:
    stream = torch.Generator().manual_seed(seed)
    rewards, values, surprise = torch.randn(3, T, N, generator=stream)
    return SimpleNamespace(
        rewards=rewards,
        values=values,
        last_values=torch.randn(N, generator=stream),
        dones=torch.rand(T, N, generator=stream) < 0.2,
        gamma=0.9,
    ), surprise


def test_without_surprise_the_estimates_are_the_generalised_ones() -> None:
    buffer, surprise = a_rollout()
    decays = torch.tensor([0.95, 0.5, 0.0])
    got = advantage_estimates(buffer, torch.zeros_like(surprise), decays)
    for decay, estimate in zip(decays.tolist(), got, strict=True):
        expected, _ = advantages_and_returns(
            buffer.rewards, buffer.values, buffer.dones, buffer.last_values, buffer.gamma, decay
        )
        torch.testing.assert_close(estimate, expected)


def test_later_rewards_enter_by_their_means_the_actions_own_as_it_was() -> None:
    buffer, surprise = a_rollout(1)
    decay = 0.8
    [got] = advantage_estimates(buffer, surprise, torch.tensor([decay]))
    next_values = torch.cat([buffer.values[1:], buffer.last_values[None]])
    expected = torch.zeros(T, N)
    for env in range(N):
        for t in range(T):
            weight = 1.0
            for k in range(t, T):
                goes_on = 0.0 if buffer.dones[k, env] else 1.0
                reward = buffer.rewards[k, env] - (surprise[k, env] if k > t else 0.0)
                residual = reward + buffer.gamma * goes_on * next_values[k, env]
                expected[t, env] += weight * (residual - buffer.values[k, env])
                weight *= buffer.gamma * decay * goes_on
    torch.testing.assert_close(got, expected)


def test_the_expectation_over_later_actions_stays() -> None:
    # Rewards that are noise around a mean: the mean reward in their place changes no average.
    stream = torch.Generator().manual_seed(2)
    n = 200_000
    noise = torch.randn(3, n, generator=stream)
    buffer = SimpleNamespace(
        rewards=1.0 + noise,
        values=torch.zeros(3, n),
        last_values=torch.zeros(n),
        dones=torch.zeros(3, n, dtype=torch.bool),
        gamma=0.9,
    )
    decays = torch.tensor([0.95])
    [plain] = advantage_estimates(buffer, torch.zeros(3, n), decays)
    [steady] = advantage_estimates(buffer, noise, decays)
    torch.testing.assert_close(plain[0].mean(), steady[0].mean(), atol=0.01, rtol=0)
    assert steady[0].var() < 0.6 * plain[0].var()


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_a_gaussians_actions_come_in_pairs_whose_linear_part_cancels(samples: int) -> None:
    policy = make(GAIL, TensorWalk(), "MlpPolicy", walk_demos()).policy
    obs, acts = torch.randn(10, 2), torch.randn(10, 1)
    asked: list[torch.Tensor] = []

    def reward(_: object, actions: torch.Tensor) -> torch.Tensor:
        asked.append(actions)
        return 3.0 * actions[:, 0]

    got = action_surprise(policy, obs, 3.0 * acts[:, 0], reward, samples)
    assert len(asked) == samples
    mean = policy.get_distribution(obs).mode()
    off = [each - mean for each in asked]
    for one, other in zip(off[0:-1:2], off[1::2], strict=False):
        torch.testing.assert_close(one, -other)
    assert len({float(each.abs().sum().round(decimals=3)) for each in off}) == (samples + 1) // 2
    if samples % 2 == 0:
        torch.testing.assert_close(got, 3.0 * (acts - mean)[:, 0])


def test_a_categoricals_actions_are_drawn_one_by_one() -> None:
    distribution = CategoricalDistribution(3).proba_distribution(torch.zeros(1_000, 3))
    draws = list(_draws(distribution, 3))
    assert len(draws) == 3
    assert all(set(each.tolist()) == {0, 1, 2} for each in draws)
    assert not torch.equal(draws[0], draws[1])


@pytest.mark.parametrize("squashed", [False, True])
def test_actions_under_state_dependent_noise_are_what_its_log_probabilities_are_of(
    squashed: bool,
) -> None:
    distribution = StateDependentNoiseDistribution(1, squash_output=squashed)
    _, log_std = distribution.proba_distribution_net(4, log_std_init=-1.0)
    distribution.proba_distribution(torch.full((1_000, 1), 0.5), log_std, torch.ones(1_000, 4))
    noise = distribution.exploration_mat.clone()
    draws = list(_draws(distribution, 3))
    assert len(draws) == 3
    assert torch.equal(distribution.exploration_mat, noise)  # that of the rollout goes on
    before_squash = [torch.atanh(each) if squashed else each for each in draws]
    torch.testing.assert_close(before_squash[0] + before_squash[1], torch.ones(1_000, 1))
    for each in (before_squash[0], before_squash[2]):
        torch.testing.assert_close(
            each.std(), distribution.distribution.scale[0, 0], rtol=0.1, atol=0
        )
    assert not torch.equal(draws[0], draws[2])


def test_policy_gradients_are_autograds_one_for_each_row() -> None:
    model = make(GAIL, TensorWalk(), "MlpPolicy", walk_demos())
    policy = model.policy
    stream = torch.Generator().manual_seed(3)
    obs = torch.randn(10, 2, generator=stream)
    acts = torch.randn(10, 1, generator=stream)
    weights = torch.randn(3, 10, generator=stream)
    got = policy_gradients(policy, obs, acts, weights)
    for row, gradient in zip(weights, got, strict=True):
        policy.zero_grad()
        _, log_probs, _ = policy.evaluate_actions(obs, acts)
        (log_probs * row).mean().backward()
        parts = [p.grad.flatten() for p in policy.parameters() if p.grad is not None]
        torch.testing.assert_close(gradient, torch.cat(parts))
    assert isinstance(policy, ActorCriticPolicy)


def test_it_mixes_the_advantages_and_logs_the_weights() -> None:
    model = make(L2LGAIL, TensorWalk(), "MlpPolicy", walk_demos(), credit=LearnedCredit())
    seen = LoggedAtRolloutEnd()
    model.learn(3 * ROLLOUT, callback=seen)
    log = seen.log
    names = ["action", "lambda_0.95", "lambda_0.8", "lambda_0.6", "lambda_0.3"]
    weights = [log[f"credit/{name}"] for name in names]
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    assert len(set(weights)) > 1
    assert -1 <= log["credit/alignment"] <= 1
    own, _ = advantages_and_returns(
        model.rollout_buffer.rewards,
        model.rollout_buffer.values,
        model.rollout_buffer.dones,
        model.rollout_buffer.last_values,
        model.gamma,
        model.gae_lambda,
    )
    assert not torch.allclose(model.rollout_buffer.advantages, own)
    torch.testing.assert_close(model.rollout_buffer.returns, own + model.rollout_buffer.values)


@pytest.mark.parametrize("rule", [None, MatrixRule()])
def test_without_credit_the_classes_train_alike_bit_for_bit(rule: MatrixRule | None) -> None:
    states = []
    for cls, without in ((GAIL, {}), (L2LGAIL, {"credit": None})):
        model = make(cls, TensorWalk(), "MlpPolicy", walk_demos(), rule=rule, **without)
        states.append(model.learn(3 * ROLLOUT).policy.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_loaded_model_goes_on_with_the_weights_it_had_learned(tmp_path: Path) -> None:
    settings = LearnedCredit(decays=(0.9, 0.2), credit_memory=0.5, action_samples=2)
    model = make(L2LGAIL, TensorWalk(), "MlpPolicy", walk_demos(), credit=settings)
    model.learn(2 * ROLLOUT)
    model.save(tmp_path / "model.zip")
    loaded = L2LGAIL.load(tmp_path / "model.zip", env=model.env, demonstrations=walk_demos())
    assert loaded.credit == settings
    assert loaded.credit_assignment is not None
    assert model.credit_assignment is not None
    for name, value in model.credit_assignment.state_dict().items():
        assert torch.equal(value, loaded.credit_assignment.state_dict()[name])
    loaded.learn(ROLLOUT)


@pytest.mark.parametrize("distance", [1.0, 0.25, 0.0])
def test_the_weights_fade_into_the_estimate_that_looks_furthest(distance: float) -> None:
    logs = []
    for fades in (True, False):
        settings = LearnedCredit(decays=(0.2, 0.9), caution=0.0, fades=fades)
        model = make(L2LGAIL, TensorWalk(), "MlpPolicy", walk_demos(), credit=settings)
        model.learn(ROLLOUT)
        assert model.credit_assignment is not None
        surprise = torch.randn(
            model.rollout_buffer.rewards.shape, generator=torch.Generator().manual_seed(0)
        )
        torch.manual_seed(0)
        _, log = model.credit_assignment.advantages(
            model.policy, model.rollout_buffer, surprise, distance
        )
        logs.append(log)
    faded, plain = logs
    for name in ("action", "lambda_0.2"):
        assert faded[f"credit/{name}"] == pytest.approx(distance * plain[f"credit/{name}"])
    expected = distance * plain["credit/lambda_0.9"] + 1 - distance
    assert faded["credit/lambda_0.9"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "wrong",
    [
        {"decays": ()},
        {"decays": (1.1,)},
        {"decays": (float("nan"),)},
        {"credit_memory": 1.0},
        {"action_samples": 0},
        {"caution": -1.0},
    ],
)
def test_settings_that_no_training_could_use_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong)).removesuffix("s")):
        LearnedCredit(**wrong)  # type: ignore[arg-type]
