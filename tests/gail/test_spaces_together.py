"""What else the library does, on classes, dicts and images: credit, AIRL, states alone, rewards."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecTransposeImage
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.gail import (
    AIRL,
    BC,
    GAIL,
    L2LGAIL,
    DiscriminatorConfig,
    LearnedReward,
    LearnedRewardWrapper,
    RelabellingReplayBuffer,
    TrackingCallback,
    VecLearnedReward,
    behaviour_cloning,
)
from l2l_gail.gail import credit as credit_module
from l2l_gail.gail.credit import policy_gradients
from tests.gail.worlds import envs_of, recorded

SMALL = DiscriminatorConfig(hidden_sizes=(8,), updates_per_rollout=2, batch_size=16)
OF_STATES = DiscriminatorConfig(hidden_sizes=(8,), judges="state_transition", batch_size=16)
SETTINGS: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "seed": 0}
SETTINGS |= {"device": "cpu"}
DOT, CORNERS, POLE = "tests/Dot-v0", "tests/Corners-v0", "CartPole-v1"


def trained(cls: type[GAIL], policy: str, env_id: str, **kwargs: Any) -> GAIL:
    env, demos = envs_of(env_id, 2), recorded(env_id, 2)
    return cls(policy, env, demos, **{"discriminator": SMALL} | SETTINGS | kwargs).learn(32)


def test_gradients_of_images_in_batches_are_those_of_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = trained(L2LGAIL, "CnnPolicy", DOT)
    buffer = model.rollout_buffer
    obs, acts = buffer.by_env(buffer.observations), buffer.by_env(buffer.actions)
    weights = torch.randn(3, len(acts), generator=torch.manual_seed(1))
    whole = policy_gradients(model.policy, obs, acts, weights)
    monkeypatch.setattr(credit_module, "_AT_ONCE", 5 * obs[0].numel())
    assert len(list(credit_module._batches(obs))) == -(-len(acts) // 5)
    torch.testing.assert_close(policy_gradients(model.policy, obs, acts, weights), whole)


@pytest.mark.slow
def test_an_actions_surprise_is_told_from_the_rewards_of_all_classes() -> None:
    model = trained(L2LGAIL, "MultiInputPolicy", CORNERS)
    buffer = model.rollout_buffer
    obs = {key: buffer.by_env(part) for key, part in buffer.observations.items()}
    acts = buffer.by_env(buffer.actions)
    with torch.no_grad():
        every = [torch.full_like(acts, action) for action in range(4)]
        rewards = torch.stack([model._rewards(obs, action) for action in every], dim=1)
        expected = (rewards * model.policy.get_distribution(obs).distribution.probs).sum(1)
        taken = rewards.gather(1, acts[:, None])[:, 0]
    drawn = credit_module.action_surprise(model.policy, obs, taken, model._rewards, 4000)
    torch.testing.assert_close(drawn, taken - expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(("policy", "env_id"), [("MlpPolicy", POLE), ("MultiInputPolicy", CORNERS)])
def test_airl_learns_from_classes_and_dicts(policy: str, env_id: str) -> None:
    model = trained(AIRL, policy, env_id)
    rows = model._rollout_rows(model.rollout_buffer)
    rows = rows[rows[:, -2] == 0]  # without the absorbing state
    buffer = model.rollout_buffer
    obs = buffer.observations
    flat = (
        {key: buffer.by_env(part) for key, part in obs.items()}
        if isinstance(obs, dict)
        else buffer.by_env(obs)
    )
    log_probs = model.policy.get_distribution(flat).log_prob(buffer.by_env(buffer.actions))
    torch.testing.assert_close(rows[:, -1], log_probs.detach())
    width = model.discriminator.obs_dim
    one_hot = rows[:, width : width + model.discriminator.act_dim]
    assert torch.equal(one_hot.argmax(1), buffer.by_env(buffer.actions))


def test_states_alone_are_judged_in_dicts_too() -> None:
    demos = recorded(CORNERS, 2)
    model = trained(GAIL, "MultiInputPolicy", CORNERS, discriminator=OF_STATES)
    width = model.discriminator.obs_dim
    assert model.discriminator.in_dim == 2 * width == 12
    kinds = model.expert_rows()[:, [*range(2, 6), *range(width + 2, width + 6)]]
    corners = torch.as_tensor(demos.obs["corner"])
    assert torch.equal(kinds[:, :4].argmax(1), corners)
    assert torch.equal(kinds[:, 4:].argmax(1), corners)  # it stays the same in an episode


def test_what_is_not_for_images_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="AIRL is for observations without images"):
        trained(AIRL, "CnnPolicy", DOT)
    with pytest.raises(InputError, match="for observations without images"):
        trained(GAIL, "CnnPolicy", DOT, discriminator=OF_STATES)
    env = gymnasium.make(CORNERS)
    with pytest.raises(InputError, match="takes no dicts of observations"):
        RelabellingReplayBuffer(10, env.observation_space, env.action_space, reward=None)


def test_cloning_as_an_algorithm_is_the_fit_of_classes() -> None:
    demos, env = recorded(CORNERS, 2), envs_of(CORNERS, 2)
    bc = BC("MultiInputPolicy", env, demos, seed=0, device="cpu")
    again = BC("MultiInputPolicy", env, demos, seed=0, device="cpu")
    error = behaviour_cloning(again.policy, demos, steps=40)
    bc.learn(40)
    for name, own in bc.policy.state_dict().items():
        assert torch.equal(own, again.policy.state_dict()[name]), name
    assert error < np.log(4)


@pytest.mark.slow
def test_a_probe_measures_a_game_of_images() -> None:
    measured: list[dict[str, float]] = []

    class Watched(TrackingCallback):
        def _measure(self, *args: Any) -> dict[str, float]:
            measured.append(super()._measure(*args))
            return measured[-1]

    env, demos = envs_of(DOT, 2), recorded(DOT, 2)
    model = GAIL("CnnPolicy", env, demos, discriminator=SMALL, **SETTINGS)
    model.learn(32, callback=Watched(1))
    (traces,) = measured
    assert traces["loss"] > traces["loss_after"] > traces["limit"]


@pytest.mark.parametrize("env_id", [CORNERS, DOT])
def test_any_algorithms_environments_are_paid_what_the_discriminator_says(env_id: str) -> None:
    venv: Any = envs_of(env_id, 2)
    venv = VecTransposeImage(venv) if env_id == DOT else venv
    reward = LearnedReward.for_env(venv, recorded(env_id, 2), **SETTINGS, discriminator=SMALL)
    paying = VecLearnedReward(venv, reward, update_every=8)
    seen, acts = paying.reset(), np.array([1, 3])
    for _ in range(8):
        expected = reward(seen, acts)
        seen, rewards, _, _ = paying.step(acts)
        np.testing.assert_array_equal(rewards, expected)
    assert "disc/loss" in reward.log


def test_one_environment_of_a_dict_is_paid_alike() -> None:
    reward = LearnedReward.for_env(CORNERS, recorded(CORNERS, 2), **SETTINGS)
    env = LearnedRewardWrapper(gymnasium.make(CORNERS), reward, update_every=10)
    obs, _ = env.reset(seed=0)
    for _ in range(10):
        batch = {key: np.asarray(part)[None] for key, part in obs.items()}
        expected = reward(batch, np.array([2]))
        obs, paid, _, _, info = env.step(2)
        assert paid == expected[0]
        assert info["env_reward"] < 0


def test_a_replay_buffer_of_classes_pays_for_the_actions_as_they_are() -> None:
    reward = LearnedReward.for_env(POLE, recorded(POLE, 1), **SETTINGS)
    buffer = {"reward": reward}
    model = DQN(
        "MlpPolicy", POLE, learning_starts=10, buffer_size=100, seed=0, device="cpu",
        replay_buffer_class=RelabellingReplayBuffer, replay_buffer_kwargs=buffer,
    ).learn(60)  # fmt: skip
    drawn = model.replay_buffer.sample(20)
    expected = reward(drawn.observations, drawn.actions[:, 0])
    np.testing.assert_array_equal(drawn.rewards[:, 0].numpy(), expected)


def test_a_replay_buffer_pays_for_a_matrix_of_actions_in_its_own_units() -> None:
    space = spaces.Box(
        np.array([[-1, 0, 2]] * 2, np.float32), np.array([[3, 1, 6]] * 2, np.float32)
    )
    seen: list[Tensor] = []

    def reward(obs: Tensor, acts: Tensor, next_obs: Tensor, dones: Tensor) -> np.ndarray:
        seen.append(acts)
        return np.zeros(len(obs), np.float32)

    buffer = RelabellingReplayBuffer(8, spaces.Box(-1, 1, (2,)), space, reward=reward)  # type: ignore[arg-type]
    at = np.zeros((1, 2), np.float32)
    for _ in range(8):  # SB3's algorithms store an action flat, and scaled to [-1, 1]
        buffer.add(at, at, np.array([[0, 1, -1, -1, 0, 1]]), np.zeros(1), np.zeros(1), [{}])
    buffer.sample(5)
    (acts,) = seen
    assert torch.equal(acts, torch.tensor([[1, 1, 2], [-1, 0.5, 6]]).expand(5, 2, 3))
