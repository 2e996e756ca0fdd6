"""The view for Stable-Baselines3 against ``DummyVecEnv`` itself."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from l2l_gail.errors import InputError
from l2l_gail.ppo.sb3_view import SB3VecEnv
from tests.envs.view_support import (
    BROKEN,
    PLAYS,
    SEED,
    N,
    actions,
    assert_same,
    batch,
    break_one,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")


def dummy(env_id: str, kwargs: dict[str, Any], n: int = N) -> VecEnv:
    return make_vec_env(env_id, n, seed=SEED, env_kwargs=kwargs)


@pytest.mark.parametrize(("env_id", "kwargs", "steps", "ends"), PLAYS)
def test_sb3_view_is_dummy_vec_env_to_the_last_bit(env_id, kwargs, steps, ends) -> None:
    ours, theirs = batch(env_id, kwargs).sb3(info_keys="all"), dummy(env_id, kwargs)
    assert_same(ours.reset(), theirs.reset(), "reset")
    assert_same(ours.reset_infos, theirs.reset_infos, "reset_infos")
    ended = 0
    for t, action in enumerate(actions(theirs, steps)):
        expected = theirs.step(action)
        assert_same(ours.step(action), expected, f"step {t}")
        if expected[2].any():
            assert_same(ours.reset_infos, theirs.reset_infos, f"reset_infos {t}")
        ended += expected[2].sum()
    assert ended >= ends
    for env in (ours, theirs):
        env.seed(11)
    assert_same(ours.reset(), theirs.reset(), "seeded reset")
    assert_same(ours.reset(), theirs.reset(), "second reset")
    ours.close()
    theirs.close()


def test_sb3_infos_without_named_terms_say_only_what_sb3_reads() -> None:
    ours, theirs = batch("Hopper-v5").sb3(), dummy("Hopper-v5", {})
    ours.reset()
    theirs.reset()
    for action in actions(theirs, 60):
        _, _, dones, infos = ours.step(action)
        for done, info, expected in zip(dones, infos, theirs.step(action)[3], strict=True):
            names = {"TimeLimit.truncated"}
            names |= {"episode", "terminal_observation"} if done else set()
            assert_same(info, {name: expected[name] for name in names})
    ours.close()
    theirs.close()


def test_sb3_infos_have_the_named_terms_asked_for() -> None:
    view = batch("Hopper-v5").sb3(info_keys=("x_velocity", "reward_ctrl"))
    view.reset()
    _, _, _, infos = view.step(np.zeros((N, 3), np.float32))
    for info in infos:
        assert set(info) == {"x_velocity", "reward_ctrl", "TimeLimit.truncated"}
        info["own"] = True  # every environment has its own
    assert infos[0] is not infos[1]
    view.close()


def test_an_unknown_named_term_is_one_line() -> None:
    view = batch("Hopper-v5").sb3(info_keys=("x_velocty",))
    view.reset()
    with pytest.raises(InputError, match=r"Hopper-v5 has no term x_velocty; it has .*x_velocity"):
        view.step(np.zeros((N, 3), np.float32))
    view.close()


def test_the_shared_info_refuses_to_be_written_to_and_copies_do_not() -> None:
    view = batch("HalfCheetah-v5").sb3()
    view.reset()
    infos = view.step(np.zeros((N, 6), np.float32))[3]
    assert infos == [{"TimeLimit.truncated": False}] * N
    for write in (
        lambda: infos[0].__setitem__("a", 1),
        lambda: infos[0].update(a=1),
        lambda: infos[0].pop("TimeLimit.truncated"),
        infos[0].clear,
    ):
        with pytest.raises(TypeError, match="write into a copy"):
            write()
    for copied in (
        infos[0].copy(),
        copy.copy(infos[0]),
        copy.deepcopy(infos)[0],
        pickle.loads(pickle.dumps(infos))[0],
    ):
        copied["a"] = 1
    assert infos[0] == {"TimeLimit.truncated": False}
    view.close()


def test_nothing_that_was_returned_changes_later() -> None:
    view = batch("Hopper-v5").sb3()
    returned = [view.reset()]
    kept = copy.deepcopy(returned)
    for action in actions(view, 30):
        returned.append(view.step(action))
        kept.append(copy.deepcopy(returned[-1]))
    assert_same(returned, kept)
    view.close()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: VecNormalize(env, gamma=0.9),
        lambda env: VecFrameStack(env, 3),
        lambda env: VecNormalize(VecCheckNan(env, raise_exception=True), norm_reward=False),
    ],
    ids=["VecNormalize", "VecFrameStack", "VecCheckNan"],
)
def test_wrappers_of_sb3_do_with_it_what_they_do_with_dummy_vec_env(wrap) -> None:
    kwargs = {"max_episode_steps": 20}
    ours, theirs = (
        wrap(env) for env in (batch("Hopper-v5", kwargs).sb3("all"), dummy("Hopper-v5", kwargs))
    )
    assert_same(ours.reset(), theirs.reset())
    for action in actions(theirs, 60):
        assert_same(ours.step(action), theirs.step(action))
    ours.close()
    theirs.close()


def test_vec_normalize_is_saved_and_loaded(tmp_path) -> None:
    view = batch("Hopper-v5").sb3()
    normalized = VecNormalize(view)
    normalized.reset()
    for action in actions(view, 20):
        normalized.step(action)
    normalized.save(str(tmp_path / "normalize.pkl"))
    loaded = VecNormalize.load(str(tmp_path / "normalize.pkl"), view)
    assert_same(loaded.obs_rms.mean, normalized.obs_rms.mean)
    assert loaded.reset().shape == (N, 11)
    view.close()


def test_vec_monitor_writes_the_episodes_that_it_writes_of_dummy_vec_env(tmp_path) -> None:
    lines = []
    for name, env in (("ours", batch("Hopper-v5").sb3()), ("theirs", dummy("Hopper-v5", {}))):
        with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
            monitored = VecMonitor(env, str(tmp_path / name))
        monitored.reset()
        for action in actions(env, 60):
            monitored.step(action)
        monitored.close()
        written = (tmp_path / f"{name}.monitor.csv").read_text().splitlines()[2:]
        lines.append([line.split(",")[:2] for line in written])
    assert len(lines[0]) > 10
    assert lines[0] == lines[1]


def ppo(env: VecEnv, seed: int = 0) -> PPO:
    return PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=2, seed=seed, device="cpu")


def test_ppo_learns_on_it_what_it_learns_on_dummy_vec_env(tmp_path) -> None:
    kwargs = {"max_episode_steps": 30}
    ours = ppo(batch("Hopper-v5", kwargs).sb3()).learn(N * 96)
    theirs = ppo(dummy("Hopper-v5", kwargs)).learn(N * 96)
    for name, value in theirs.policy.state_dict().items():
        assert torch.equal(ours.policy.state_dict()[name], value), name
    assert_same(list(ours.ep_info_buffer), list(theirs.ep_info_buffer))

    ours.save(tmp_path / "ppo.zip")
    env = batch("Hopper-v5", kwargs).sb3()
    loaded = PPO.load(tmp_path / "ppo.zip", env=env, device="cpu")
    obs = env.reset()
    assert_same(
        loaded.predict(obs, deterministic=True)[0], ours.predict(obs, deterministic=True)[0]
    )
    loaded.learn(N * 32, reset_num_timesteps=False)
    assert loaded.num_timesteps == N * 128
    for model in (ours, theirs, loaded):
        model.env.close()


def test_evaluate_policy_counts_whole_episodes_and_warns_of_nothing() -> None:
    ours, theirs = batch("Hopper-v5").sb3(), dummy("Hopper-v5", {})
    model = ppo(theirs)
    for env in (ours, theirs):
        env.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [
            evaluate_policy(model, env, n_eval_episodes=20, return_episode_rewards=True)
            for env in (ours, theirs)
        ]
    assert_same(*results)
    ours.close()
    theirs.close()


def test_sb3_view_says_about_itself_what_dummy_vec_env_says() -> None:
    env = batch("Hopper-v5")
    view, theirs = env.sb3(), dummy("Hopper-v5", {})
    assert isinstance(view, SB3VecEnv)
    assert isinstance(theirs, DummyVecEnv)
    assert view.tensor_env is env
    assert view.num_envs == N
    assert view.observation_space == theirs.observation_space
    assert view.action_space == theirs.action_space
    assert view.render_mode is None
    assert [spec.id for spec in view.get_attr("spec")] == ["Hopper-v5"] * N
    assert view.get_attr("render_mode", 0) == [None]
    assert view.env_is_wrapped(Monitor) == theirs.env_is_wrapped(Monitor) == [True] * N
    assert view.env_is_wrapped(gymnasium.wrappers.RescaleAction, [0, 1]) == [False, False]
    assert list(view.get_images()) == [None] * N
    assert not view.has_attr("np_random")
    with pytest.raises(AttributeError, match=r"'np_random'.*tensor_env"):
        view.get_attr("np_random")
    with pytest.raises(AttributeError, match=r"'render'"):
        view.env_method("render")
    view.close()
    theirs.close()


def test_set_attr_is_what_get_attr_returns() -> None:
    view = batch("Hopper-v5").sb3()
    view.set_attr("difficulty", 2)
    view.set_attr("difficulty", 5, indices=[0, -1])
    assert view.get_attr("difficulty") == [5, 2, 2, 2, 2, 2, 2, 5]
    view.set_attr("greet", lambda name: f"hello {name}", 1)
    assert view.env_method("greet", "you", indices=1) == ["hello you"]
    assert not view.has_attr("greet")  # not of every environment
    view.close()


def test_options_last_until_the_next_reset() -> None:
    view = batch("Hopper-v5").sb3()
    view.set_options({"anything": 1})
    view.reset()
    assert view._options == [{}] * N
    view.close()


def test_sb3_view_warns_of_a_broken_simulation_when_episodes_end_and_at_resets() -> None:
    env = batch("Hopper-v5", {"max_episode_steps": 3})
    view = env.sb3()
    view.reset()
    still = np.zeros((N, 3), np.float32)
    break_one(env)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert not view.step(still)[2].any()
    with pytest.warns(RuntimeWarning, match=BROKEN):
        assert view.step(still)[2].all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            view.step(still)
    break_one(env)
    view.step(still)
    with pytest.warns(RuntimeWarning, match=BROKEN):
        view.reset()
    view.close()


def test_closing_twice_is_safe_and_a_forgotten_view_closes_nothing() -> None:
    env = batch("Hopper-v5")
    env.gymnasium()
    env.sb3()
    gc.collect()
    env.reset()
    assert env.step(np.zeros((N, 3), np.float32))[0].shape == (N, 11)  # it is still open
    for view in (env.gymnasium(), env.sb3()):
        view.close()
        view.close()
    env.close()
    with pytest.raises(RuntimeError, match="is closed"):
        env.step(np.zeros((N, 3), np.float32))
