"""The learned reward for other algorithms: its values, its training and its wrappers."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

import envs
from l2l_gail import GAIL, L2LGAIL
from l2l_gail.core import Adam
from l2l_gail.errors import InputError
from l2l_gail.gail import (
    LearnedReward,
    LearnedRewardWrapper,
    VecLearnedReward,
)
from tests.gail.models import ROLLOUT, SMALL, make, more
from tests.gail.reward_support import airl, by_hand, new_reward, softplus, vec_env
from tests.gail.support import ENV_ID, TIME_LIMIT, walk_demos, walk_envs
from tests.gail.tensor_support import OwnPolicy
from tests.gail.worlds import recorded


def test_it_is_gails_reward_of_raw_transitions() -> None:
    reward = new_reward()
    obs = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    acts = np.linspace(-2, 2, 7, dtype=np.float32)[:, None]
    found = reward(obs, acts)
    assert (found.shape, found.dtype) == ((7,), np.float32)
    np.testing.assert_allclose(found, by_hand(reward, obs, acts), rtol=1e-4)


def test_an_update_on_a_rollout_is_that_of_gail() -> None:
    model, reward = make(GAIL, rule=Adam(1e-3)), new_reward(rule=Adam(1e-3))
    reward.model.discriminator.load_state_dict(model.discriminator.state_dict())
    reward.model.discriminator_updates.load_state_dict(model.discriminator_updates.state_dict())
    _, callback = model._setup_learn(1)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    buffer = model.rollout_buffer
    obs, acts = buffer.by_env(buffer.observations), buffer.by_env(buffer.actions)
    log = reward.update(obs, acts)
    assert log == reward.log
    assert {"disc/loss", "disc/entropy"} <= set(log)
    for name, value in model.discriminator.state_dict().items():
        assert torch.equal(value, reward.model.discriminator.state_dict()[name]), name
    inside = ~buffer.by_env(buffer.time_limits).numpy()
    expected = buffer.by_env(buffer.rewards).numpy()
    np.testing.assert_allclose(reward(obs, acts)[inside], expected[inside], rtol=1e-6)


def test_updates_teach_it_to_tell_the_expert_apart() -> None:
    reward = new_reward(rule=Adam(1e-2))
    demos = walk_demos()
    rng = np.random.default_rng(0)
    others = rng.uniform(-0.5, 0.2, size=demos.acts.shape).astype(np.float32)
    for _ in range(40):
        reward.update(demos.obs, others)
    assert reward(demos.obs, demos.acts).min() > reward(demos.obs, others).max()


@pytest.mark.parametrize("algorithm", [GAIL, L2LGAIL])
def test_a_saved_models_reward_is_loaded_and_goes_on(algorithm: type[GAIL], tmp_path: Path) -> None:
    model = make(algorithm).learn(2 * ROLLOUT)
    model.save(tmp_path / "model")
    frozen = LearnedReward.load(tmp_path / "model", device="cpu")
    demos = walk_demos()
    expected = LearnedReward(model)(demos.obs, demos.acts)
    np.testing.assert_array_equal(frozen(demos.obs, demos.acts), expected)
    with pytest.raises(InputError, match="without demonstrations, and cannot learn"):
        frozen.update(demos.obs, demos.acts)
    with pytest.raises(InputError, match="give update_every=0"):
        VecLearnedReward(walk_envs(), frozen)
    learning = LearnedReward.load(tmp_path / "model", demos, device="cpu")
    learning.update(demos.obs, demos.acts - 0.3)
    assert not np.array_equal(learning(demos.obs, demos.acts), expected)
    steps = model.discriminator_updates.trainer.steps
    assert learning.model.discriminator_updates.trainer.steps == steps + SMALL.updates_per_rollout


def test_a_schedule_of_the_policy_keeps_no_reward_from_being_loaded(tmp_path: Path) -> None:
    demos = walk_demos()
    for model in (make(learning_rate=lambda left: 1e-3 * left), airl(clip_range=lambda left: left)):
        model.save(tmp_path / "model")
        expected = LearnedReward(model)(demos.obs, demos.acts)
        for trust_pickle in (False, True):
            reward = LearnedReward.load(tmp_path / "model", demos, trust_pickle=trust_pickle)
            np.testing.assert_array_equal(reward(demos.obs, demos.acts), expected)


def test_a_policy_of_ones_own_is_loaded_with_its_reward_where_it_is_trusted(tmp_path: Path) -> None:
    GAIL(OwnPolicy, walk_envs(), walk_demos(), n_steps=16, device="cpu").save(tmp_path / "model")
    with pytest.raises(InputError, match=r"policy_class .* load it with trust_pickle=True"):
        LearnedReward.load(tmp_path / "model")
    assert LearnedReward.load(tmp_path / "model", trust_pickle=True).model.n_steps == 16


def test_airls_reward_is_g_or_the_shaped_one(tmp_path: Path) -> None:
    model = airl(gamma=0.9).learn(ROLLOUT)
    model.save(tmp_path / "airl.zip")
    demos = walk_demos()
    plain = LearnedReward.load(tmp_path / "airl.zip", demos, device="cpu")
    shaped = LearnedReward.load(tmp_path / "airl.zip", device="cpu", shaped=True)
    own = model.discriminator
    with torch.no_grad():
        obs, acts, after = map(torch.as_tensor, (demos.obs, demos.acts, demos.next_obs))
        g = own.reward(obs, acts).numpy()
        h = [own._value("h", own.statistics(x), dict(own.named_parameters())) for x in (obs, after)]
    np.testing.assert_allclose(plain(demos.obs, demos.acts), g, rtol=1e-6)
    ends = np.arange(len(demos)) % 2 == 0
    f = g + 0.9 * np.where(ends, 0.0, h[1].numpy()) - h[0].numpy()
    found = shaped(demos.obs, demos.acts, demos.next_obs, ends)
    np.testing.assert_allclose(found, f, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="give it next_obs"):
        shaped(demos.obs, demos.acts)
    with pytest.raises(InputError, match="needs the policy's density"):
        plain.update(demos.obs, demos.acts)
    with pytest.raises(InputError, match="only the reward of AIRL is shaped"):
        LearnedReward(make(GAIL), shaped=True)


def test_the_gymnasium_wrapper_pays_it_and_keeps_the_environments_own() -> None:
    reward = new_reward()
    env = LearnedRewardWrapper(gymnasium.make(ENV_ID), reward)
    obs, _ = env.reset(seed=3)
    for _ in range(TIME_LIMIT):
        action = np.array([0.25], np.float32)
        after, paid, _, truncated, info = env.step(action)
        assert paid == pytest.approx(float(reward(obs[None], action[None])[0]))
        assert info["env_reward"] == 100.0
        obs = after
    assert truncated


def test_the_gymnasium_wrapper_trains_it_every_so_many_steps() -> None:
    reward = new_reward()
    env = LearnedRewardWrapper(gymnasium.make(ENV_ID), reward, update_every=5)
    env.reset(seed=3)
    counts = []
    for _ in range(TIME_LIMIT):
        env.step(np.array([0.25], np.float32))
        counts.append(reward.model.discriminator_updates.trainer.steps)
    assert counts == [0] * 4 + [SMALL.updates_per_rollout] * 4


def test_the_vec_env_scores_the_state_that_a_step_reached_not_the_next_episodes() -> None:
    """A shaped reward looks at it, and at whether the episode terminated there."""
    reward = LearnedReward(airl().learn(ROLLOUT), shaped=True)
    wrapped, twin = VecLearnedReward(vec_env(), reward, update_every=0), vec_env()
    for env in (wrapped, twin):
        env.seed(5)
    obs, twin_obs = wrapped.reset(), twin.reset()
    np.testing.assert_array_equal(obs, twin_obs)
    rng, seen = np.random.default_rng(0), {"terminated": 0, "time limit": 0}
    for _ in range(60):
        actions = rng.uniform(-0.5, 1.0, size=(3, 1)).astype(np.float32) * rng.integers(2)
        before = obs.copy()
        obs, rewards, dones, infos = wrapped.step(actions)
        _, own, twin_dones, twin_infos = twin.step(actions)
        np.testing.assert_array_equal(dones, twin_dones)
        for i in range(3):
            limit = twin_infos[i]["TimeLimit.truncated"]
            reached = twin_infos[i]["terminal_observation"] if dones[i] else obs[i]
            ends = np.array([dones[i] and not limit])
            seen["terminated"] += int(ends[0])
            seen["time limit"] += int(limit)
            expected = reward(before[i][None], actions[i][None], reached[None], ends)[0]
            assert rewards[i] == pytest.approx(expected, rel=1e-5)
            assert infos[i]["env_reward"] == own[i]
    assert min(seen.values()) > 0


def test_the_vec_env_updates_on_its_own_transitions_env_by_env() -> None:
    reward, calls = new_reward(), []
    reward.update = lambda *arrays: calls.append(arrays) or {}  # type: ignore[method-assign]
    env = VecLearnedReward(vec_env(ENV_ID, 2), reward, update_every=6, window=8)
    env.seed(0)
    observed, acted = [env.reset()], []
    for step in range(6):
        acted.append(np.array([[0.1 * step], [0.1 * step + 0.05]], np.float32))
        observed.append(env.step(acted[-1])[0])
    assert [len(obs) for obs, *_ in calls] == [6, 8]
    for i in range(2):
        rows = slice(4 * i, 4 * i + 4)
        np.testing.assert_array_equal(calls[1][0][rows], np.stack(observed[2:6])[:, i])
        np.testing.assert_array_equal(calls[1][1][rows], np.stack(acted[2:6])[:, i])
        np.testing.assert_array_equal(calls[1][2][rows], np.stack(observed[3:7])[:, i])


def test_an_on_policy_algorithm_trains_on_it_while_it_learns() -> None:
    reward = new_reward()
    env = VecLearnedReward(walk_envs(), reward, update_every=2 * 16)
    model = A2C("MlpPolicy", env, n_steps=16, seed=0, device="cpu").learn(4 * 2 * 16)
    assert reward.model.discriminator_updates.trainer.steps == 4 * SMALL.updates_per_rollout
    assert model.ep_info_buffer[-1]["r"] == 100.0 * TIME_LIMIT  # the monitor inside: true returns


def test_it_works_on_a_view_of_tensor_environments() -> None:
    env = envs.make_vec("Hopper-v5", 2, 0, device="cpu")
    reward = LearnedReward.for_env(env, "Hopper-v5", discriminator=SMALL, seed=0, device="cpu")
    wrapped = VecLearnedReward(env, reward, update_every=0)
    obs = wrapped.reset()
    actions = np.zeros((2, 3), np.float32)
    _, rewards, _, infos = wrapped.step(actions)
    np.testing.assert_allclose(rewards, reward(obs, actions), rtol=1e-6)
    assert len(infos) == 2
    wrapped.close()


def test_a_batch_in_place_of_its_view_is_told_so() -> None:
    reward = LearnedReward.for_env("Hopper-v5", "Hopper-v5", device="cpu")
    with pytest.raises(InputError, match=r"are a CpuEnv, no VecEnv .*: give its view, \.sb3\(\)"):
        VecLearnedReward(envs.make("Hopper-v5", 2, "cpu"), reward)


def test_it_is_pickled() -> None:
    reward, obs, acts = new_reward(), walk_demos().obs[:5], walk_demos().acts[:5]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reward))(obs, acts), reward(obs, acts))


def test_a_reward_of_a_network_of_ones_own_is_loaded_with_it(tmp_path: Path) -> None:
    network, demos = torch.nn.Bilinear(2, 1, 1), walk_demos()
    reward = LearnedReward.for_env(ENV_ID, demos, device="cpu", discriminator_network=network)
    reward.save(tmp_path / "reward.zip")
    again = LearnedReward.load(
        tmp_path / "reward.zip", device="cpu", discriminator_network=torch.nn.Bilinear(2, 1, 1)
    )
    np.testing.assert_array_equal(again(demos.obs, demos.acts), reward(demos.obs, demos.acts))


def test_an_open_file_is_read_too() -> None:
    file = io.BytesIO()
    make(GAIL).save(file)
    file.seek(0)
    demos = walk_demos()
    assert LearnedReward.load(file, device="cpu")(demos.obs, demos.acts).shape == (len(demos),)


@pytest.mark.parametrize(
    "kwargs", [{"update_every": -1}, {"window": 0}, {"update_every": None}, {"update_every": 2.5}]
)
def test_senseless_numbers_are_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="update_every must be 0 or more"):
        VecLearnedReward(walk_envs(), new_reward(), **kwargs)


def test_an_update_on_nothing_or_on_nan_is_refused_and_changes_nothing() -> None:
    reward, obs, acts = new_reward(), walk_demos().obs[:8], walk_demos().acts[:8]
    before = reward(obs, acts)
    with pytest.raises(InputError, match="no transitions are given"):
        reward.update(obs[:0], acts[:0])
    with pytest.raises(InputError, match="NaN or infinite"):
        reward.update(np.where(np.arange(len(obs))[:, None] == 3, np.nan, obs), acts)
    np.testing.assert_array_equal(reward(obs, acts), before)


def test_a_reward_of_another_task_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"the reward is of observations of shape \(2,\)"):
        LearnedRewardWrapper(gymnasium.make("Pendulum-v1"), new_reward())
    cart_pole = gymnasium.make("CartPole-v1")
    cart_pole.observation_space = walk_envs().observation_space
    venv = DummyVecEnv([lambda: cart_pole])
    with pytest.raises(InputError, match="action space must be a Box to be wrapped, not Discrete"):
        VecLearnedReward(venv, new_reward())


def test_a_reward_of_states_alone_looks_at_the_next_one() -> None:
    reward = LearnedReward.for_env(
        ENV_ID, walk_demos(), discriminator=more(judges="state_transition"), seed=0, device="cpu"
    )
    demos = walk_demos()
    with pytest.raises(InputError, match="give it next_obs"):
        reward(demos.obs, demos.acts)
    with pytest.raises(InputError, match="give it next_obs"):
        reward.update(demos.obs, demos.acts)
    env = VecLearnedReward(walk_envs(), reward, update_every=2 * TIME_LIMIT)
    obs, actions = env.reset(), np.full((2, 1), 0.3, np.float32)
    for _ in range(TIME_LIMIT - 1):
        before = obs
        obs, paid, *_ = env.step(actions)
        with torch.no_grad():
            own = reward.model.discriminator
            logits = own(torch.as_tensor(before), None, torch.as_tensor(obs)).numpy()
        np.testing.assert_allclose(paid, softplus(logits), rtol=1e-5)
    env.step(actions)
    assert reward.model.discriminator_updates.trainer.steps == SMALL.updates_per_rollout


def test_images_may_have_their_channels_first_or_last() -> None:
    demos, env = recorded("tests/Dot-v0", 1), gymnasium.make("tests/Dot-v0")
    reward = LearnedReward.for_env(env, demos, seed=0, device="cpu")
    last, first = demos.obs[:5], np.moveaxis(demos.obs[:5], -1, 1)
    assert last.shape[-1] == first.shape[1] == 1
    np.testing.assert_array_equal(reward(last, demos.acts[:5]), reward(first, demos.acts[:5]))
    paid = LearnedRewardWrapper(env, reward)
    obs, _ = paid.reset(seed=0)
    assert paid.step(1)[1] == reward(obs[None], np.array([1]))[0]
    venv = VecLearnedReward(make_vec_env("tests/Dot-v0", 2, seed=0), reward, update_every=0)
    seen = venv.reset()
    rewards = venv.step(np.array([0, 3]))[1]
    np.testing.assert_allclose(rewards, reward(seen, np.array([0, 3])), rtol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"obs": (4, 3)}, r"obs has shape \(4, 3\), \(B, 2\) is needed"),
        ({"obs": (2,), "acts": (1,), "next_obs": (2,)}, r"obs has shape \(2,\)"),
        ({"acts": (3, 1)}, r"acts has shape \(3, 1\), \(4, 1\) is needed"),
        ({"next_obs": (5, 2)}, "obs has 4 rows, next_obs 5"),
    ],
)
def test_arrays_of_other_shapes_are_refused_in_one_line(
    shapes: dict[str, tuple[int, ...]], said: str
) -> None:
    whole = {"obs": (4, 2), "acts": (4, 1), "next_obs": (4, 2)} | shapes
    arrays = {name: np.zeros(shape, np.float32) for name, shape in whole.items()}
    for call in (new_reward(), new_reward().update):
        with pytest.raises(InputError, match=said):
            call(**arrays)


def test_any_form_of_the_reward_is_paid() -> None:
    demos = walk_demos()
    reward = LearnedReward.for_env(
        ENV_ID, demos, discriminator=more(reward="logit"), seed=0, device="cpu"
    )
    logits = np.log(np.expm1(by_hand(reward, demos.obs, demos.acts)))
    np.testing.assert_allclose(reward(demos.obs, demos.acts), logits, rtol=1e-3, atol=1e-5)
