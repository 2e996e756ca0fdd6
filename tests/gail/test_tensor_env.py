"""Training on tensors: the same as through SB3's loop, callbacks and hand-made cases included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

import envs
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL, L2LGAIL, RuleTraining
from l2l_gail.ppo import FromVecEnv, PPOConfig, SB3VecEnv, TensorEnv, tensor_env_of
from l2l_gail.ppo.buffer import TensorRolloutBuffer
from tests.gail.models import weights_of
from tests.gail.support import TIME_LIMIT, UNDECIDED, walk_demos, walk_envs
from tests.gail.tensor_support import (
    N_ENVS,
    N_STEPS,
    ROLLOUT,
    OwnPolicy,
    TensorWalk,
    Through,
    assert_logged_alike,
    assert_trained_alike,
    logged,
    make,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "bounds": {"clip_range_vf": 0.1, "target_kl": 0.003, "ent_coef": 0.02, "max_grad_norm": 0.05},
    "schedules": {
        "learning_rate": lambda left: 1e-3 * left,
        "clip_range": lambda left: 0.1 + 0.1 * left,
    },
    "plain advantages": {"normalize_advantage": False, "batch_size": 1000},
}
GSDE: dict[str, dict[str, Any]] = {
    "gsde": {"use_sde": True, "sde_sample_freq": 4},
    "squashed": {"use_sde": True, "policy_kwargs": {"squash_output": True}},
}


def train_both_ways(cls: type[GAIL], policy: Any, rollouts: int, **kwargs: Any) -> Any:
    outcome = []
    for wrap in (Through, lambda view: view):
        model = make(cls, wrap(TensorWalk().sb3()), policy, **kwargs)
        rows = logged(model, rollouts * ROLLOUT)
        outcome += [model, rows]
    by_sb3, _, on_tensors, _ = outcome
    assert isinstance(by_sb3._tensor_env, FromVecEnv)
    assert isinstance(on_tensors._tensor_env, TensorWalk)
    return outcome


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
@pytest.mark.parametrize("options", [*OPTIONS, *GSDE])
def test_any_policy_trains_as_through_sb3_bit_for_bit(cls: type[GAIL], options: str) -> None:
    a, rows_a, b, rows_b = train_both_ways(cls, OwnPolicy, 5, **(OPTIONS | GSDE)[options])
    assert_trained_alike(a, b, atol=0)
    assert_logged_alike(rows_a, rows_b, rel=1e-5)
    assert any(row.get("rollout/ep_len_mean", TIME_LIMIT) < TIME_LIMIT for row in rows_b)


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
@pytest.mark.parametrize("options", list(OPTIONS))
def test_the_short_way_trains_as_through_sb3(cls: type[GAIL], options: str) -> None:
    a, rows_a, b, rows_b = train_both_ways(cls, "MlpPolicy", 5, **OPTIONS[options])
    assert_trained_alike(a, b, atol=2e-5)
    assert_logged_alike(rows_a, rows_b, rel=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_hopper_trains_as_through_sb3(cls: type[GAIL]) -> None:
    trained = {}
    for policy, wrap in ((OwnPolicy, True), (OwnPolicy, False), ("MlpPolicy", False)):
        with envs.make("Hopper-v5", 4, device="cpu", max_episode_steps=30) as env:
            view = Through(env.sb3()) if wrap else env
            model = make(
                cls,
                view,
                policy,
                Demonstrations.load("Hopper-v5"),
                n_steps=40,
                policy_kwargs=PPOConfig().policy_kwargs,  # a class has no defaults of GAIL's
            )
            rows = logged(model, 3 * 160)
        trained[policy, wrap] = model, rows
    (by_sb3, rows), (own, own_rows), (short, short_rows) = trained.values()
    assert_trained_alike(by_sb3, own, atol=0)
    assert_logged_alike(rows, own_rows, rel=1e-5)
    assert_trained_alike(by_sb3, short, atol=1e-4)
    assert_logged_alike(rows, short_rows, rel=1e-2)


def test_time_limit_bootstraps_the_learned_reward_on_tensors() -> None:
    """Three steps by hand; the environment pays 100 a step and its limit falls on the second."""
    steps = TIME_LIMIT + 1
    model = make(GAIL, TensorWalk(2, bound=1e9), n_steps=steps, gamma=0.9, gae_lambda=0.8)
    value, log2 = 2.0, np.log(2.0)
    with torch.no_grad():  # V is 2 everywhere, the discriminator is undecided everywhere
        model.policy.value_net.weight.zero_()
        model.policy.value_net.bias.fill_(value)
    model.discriminator_updates.update = lambda expert, policy: (
        torch.zeros(len(policy)),
        UNDECIDED,
    )
    _, callback = model._setup_learn(1)
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, steps)

    buffer, cut = model.rollout_buffer, TIME_LIMIT - 1  # the step that ended at the time limit
    rewards = np.full((steps, 2), log2)
    rewards[cut] += 0.9 * value
    np.testing.assert_allclose(buffer.rewards, rewards, rtol=1e-6)
    inside = log2 + 0.9 * value - value
    # Nothing after the cut step counts for it: the next state is a new episode.
    expected = np.array([inside + 0.9 * 0.8 * inside, inside, inside])
    for env in range(2):
        np.testing.assert_allclose(buffer.advantages[cut - 1 :, env], expected, rtol=1e-5)
        np.testing.assert_allclose(buffer.returns[cut - 1 :, env], expected + value, rtol=1e-5)


def test_a_terminated_state_has_no_value_even_at_the_time_limit() -> None:
    model = make(GAIL, TensorWalk(2, bound=-1e9), n_steps=2, batch_size=2)  # every step ends
    _, callback = model._setup_learn(1)
    model.env.tensor_env.length += TIME_LIMIT - 1  # and the first also by the time limit
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 2)
    buffer = model.rollout_buffer
    assert buffer.dones.all()
    assert not buffer.time_limits.any()
    torch.testing.assert_close(buffer.advantages, buffer.rewards - buffer.values)


def test_rewards_belong_to_their_own_transitions() -> None:
    model = make(GAIL, TensorWalk())
    _, callback = model._setup_learn(1)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, N_STEPS)
    buffer = model.rollout_buffer
    with torch.no_grad():
        logits = model.discriminator(
            buffer.observations.flatten(0, 1), buffer.actions.flatten(0, 1)
        )
        values = model.policy.predict_values(buffer.final_obs.flatten(0, 1)).view(N_STEPS, N_ENVS)
    expected = torch.nn.functional.softplus(logits).view(N_STEPS, N_ENVS)
    expected += model.gamma * values * buffer.time_limits
    torch.testing.assert_close(buffer.rewards, expected)
    assert buffer.time_limits.any()
    assert (buffer.dones & ~buffer.time_limits).any()


def test_twice_the_same_is_the_same() -> None:
    a, b = (make(L2LGAIL, TensorWalk()).learn(3 * ROLLOUT) for _ in range(2))
    assert_trained_alike(a, b, atol=0)


def test_a_rule_that_does_not_learn_is_adam_on_tensors_too() -> None:
    training = RuleTraining(meta_learning_rate=0.0, holdout_fraction=0.25)
    adam = make(GAIL, TensorWalk(), rule_training=training).learn(3 * ROLLOUT)
    frozen = make(L2LGAIL, TensorWalk(), rule_training=training, credit=None)
    frozen.learn(3 * ROLLOUT)
    assert_trained_alike(adam, frozen, atol=0)


class Watcher(BaseCallback):
    """Notes what a callback can see, and stops after so many steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.stop_after = stop_after
        self.episodes: list[tuple[float, int]] = []
        self.timesteps: list[int] = []
        self.rollouts: list[tuple[str, int]] = []
        self.rewards: list[np.ndarray] = []

    def _on_rollout_start(self) -> None:
        self.rollouts.append(("start", self.num_timesteps))

    def _on_rollout_end(self) -> None:
        self.rollouts.append(("end", self.num_timesteps))
        self.rewards.append(self.locals["rollout_buffer"].rewards.cpu().clone().numpy())

    def _on_step(self) -> bool:
        self.timesteps.append(self.num_timesteps)
        infos = self.locals["infos"]
        assert len(infos) == N_ENVS
        assert self.locals["env"] is self.model.env
        for done, info in zip(self.locals["dones"], infos, strict=True):
            assert bool(done) == ("episode" in info) == ("terminal_observation" in info)
            if "episode" in info:
                self.episodes.append((info["episode"]["r"], info["episode"]["l"]))
                ended_by_time = info["episode"]["l"] == TIME_LIMIT
                assert ended_by_time or not info["TimeLimit.truncated"]
        return self.stop_after is None or self.n_calls < self.stop_after


def test_callbacks_see_the_same_as_in_sb3s_loop() -> None:
    seen = []
    for wrap in (Through, lambda view: view):
        watcher = Watcher()
        model = make(GAIL, wrap(TensorWalk().sb3()), OwnPolicy)
        model.learn(2 * ROLLOUT, callback=watcher)
        episodes = [(info["r"], info["l"]) for info in model.ep_info_buffer]
        assert episodes == watcher.episodes
        seen.append((watcher.episodes, watcher.timesteps, watcher.rollouts))
    assert seen[0] == seen[1]
    assert seen[1][1] == [N_ENVS * (i + 1) for i in range(2 * N_STEPS)]
    np.testing.assert_array_equal(watcher.rewards[-1], model.rollout_buffer.rewards)
    assert max(rewards.max() for rewards in watcher.rewards) < 100.0  # not the environment's


@pytest.mark.parametrize("policy", ["MlpPolicy", OwnPolicy])
def test_callbacks_see_values_where_they_are_known(policy: Any) -> None:
    class Values(Watcher):
        def _on_step(self) -> bool:
            known = [self.locals[name] for name in ("values", "log_probs")]
            if policy is OwnPolicy:
                assert [len(value) for value in known] == [N_ENVS, N_ENVS]
            else:
                assert known == [None, None]
            return super()._on_step()

    watcher = Values()
    make(GAIL, TensorWalk(), policy).learn(ROLLOUT, callback=watcher)
    assert len(watcher.timesteps) == N_STEPS


def test_callbacks_see_the_named_terms_of_the_view() -> None:
    class Positions(Watcher):
        def __init__(self) -> None:
            super().__init__()
            self.positions: list[float] = []

        def _on_step(self) -> bool:
            self.positions += [info["x_position"] for info in self.locals["infos"]]
            return super()._on_step()

    seen = []
    for wrap in (Through, lambda view: view):
        watcher = Positions()
        view = SB3VecEnv(TensorWalk(), info_keys="x_position")
        make(GAIL, wrap(view), OwnPolicy).learn(ROLLOUT, callback=watcher)
        seen.append(watcher.positions)
    assert seen[0] == seen[1]
    assert len(seen[1]) == ROLLOUT
    assert max(seen[1]) > 3.0  # of the states reached, not of those after a reset


class Breaks(TensorWalk):
    """Fails once, instead of a step."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def step(self, actions: Any) -> tuple[Any, ...]:
        if self.steps == self.after:
            self.after = -1
            raise KeyboardInterrupt
        return super().step(actions)


class Interrupts(Watcher):
    """Fails after so many steps, when the environments have taken the last of them."""

    def _on_step(self) -> bool:
        if not super()._on_step():
            raise KeyboardInterrupt
        return True


@pytest.mark.parametrize(
    ("make_env", "stop_after", "steps"),
    [
        (lambda: Breaks(0), None, 0),
        (lambda: Breaks(N_STEPS + 15), None, N_STEPS + 15),
        (TensorWalk, N_STEPS + 15, N_STEPS + 15),
    ],
)
def test_an_exception_leaves_the_model_where_the_environments_stand(
    make_env: Callable[[], TensorWalk], stop_after: int | None, steps: int
) -> None:
    env, watcher = make_env(), Interrupts(stop_after)
    model = make(GAIL, env)
    with pytest.raises(KeyboardInterrupt):
        model.learn(10 * ROLLOUT, callback=watcher)
    assert env.steps == steps
    np.testing.assert_array_equal(model._last_obs, env._observe(env.at).numpy())
    np.testing.assert_array_equal(model._last_episode_starts, env.length.numpy() == 0)
    noted = [(info["r"], info["l"]) for info in model.ep_info_buffer]
    if stop_after is None:
        assert noted == watcher.episodes
    else:  # as in SB3's loop, all but those of the step on which the callback failed
        assert noted == watcher.episodes[: len(noted)]
        assert len(watcher.episodes) - len(noted) <= N_ENVS
    assert steps == 0 or len(noted) > N_ENVS
    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert env.steps == steps + N_STEPS


def test_a_callback_can_stop_the_training_and_it_goes_on_from_there() -> None:
    env = TensorWalk()
    model = make(GAIL, env)
    watcher = Watcher(stop_after=7)
    model.learn(10 * ROLLOUT, callback=watcher)
    assert model.num_timesteps == 7 * N_ENVS
    assert env.steps == 7
    noted = [(info["r"], info["l"]) for info in model.ep_info_buffer]
    assert noted == watcher.episodes[: len(noted)]
    np.testing.assert_array_equal(model._last_obs, env._observe(env.at).numpy())
    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert model.num_timesteps == 7 * N_ENVS + ROLLOUT
    model = make(GAIL, TensorWalk())
    model.learn(10 * ROLLOUT, callback=StopTrainingOnMaxEpisodes(1))
    assert model.num_timesteps < ROLLOUT


def test_no_more_episodes_are_kept_than_are_averaged() -> None:
    model = make(GAIL, TensorWalk(), stats_window_size=4).learn(ROLLOUT)
    longer = make(GAIL, TensorWalk(), stats_window_size=100).learn(ROLLOUT)
    kept, all_of_them = (
        [(info["r"], info["l"]) for info in m.ep_info_buffer] for m in (model, longer)
    )
    assert len(all_of_them) > 4
    assert kept == all_of_them[-4:]


def test_which_environments_are_stepped_as_tensors() -> None:
    env = TensorWalk()
    view = env.sb3()
    assert isinstance(env, TensorEnv)
    assert tensor_env_of(view) is env
    for other in (None, walk_envs(), Through(view), VecMonitor(view), VecNormalize(view)):
        assert tensor_env_of(other) is None


def test_a_subclass_of_the_view_is_stepped_itself() -> None:
    class Counting(SB3VecEnv):
        steps = 0

        def step_wait(self) -> Any:
            self.steps += 1
            return super().step_wait()

    view = Counting(TensorWalk())
    assert tensor_env_of(view) is None
    model = make(GAIL, view).learn(ROLLOUT)
    assert view.steps == N_STEPS
    assert isinstance(model._tensor_env, FromVecEnv)


def test_the_environment_can_be_another_one_later() -> None:
    model = make(GAIL, TensorWalk(2)).learn(2 * N_STEPS)
    assert isinstance(model._tensor_env, TensorWalk)
    model.set_env(walk_envs(2))
    model.learn(2 * N_STEPS, reset_num_timesteps=False)
    assert isinstance(model._tensor_env, FromVecEnv)
    model.set_env(TensorWalk(2))  # the environment itself is as good as its view
    model.learn(2 * N_STEPS, reset_num_timesteps=False)
    assert isinstance(model._tensor_env, TensorWalk)
    assert model.num_timesteps == 3 * 2 * N_STEPS


def test_a_rollout_buffer_of_ones_own_is_refused() -> None:
    class OwnBuffer(RolloutBuffer):
        pass

    with pytest.raises(InputError, match="leave rollout_buffer_class"):
        make(GAIL, TensorWalk(2), rollout_buffer_class=OwnBuffer)
    model = make(GAIL, TensorWalk(2), rollout_buffer_class=RolloutBuffer)  # SB3's default
    assert isinstance(model.rollout_buffer, TensorRolloutBuffer)


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_a_model_trained_on_tensors_is_saved_and_loaded(cls: type[GAIL], tmp_path: Path) -> None:
    model = make(cls, TensorWalk()).learn(2 * ROLLOUT)
    model.save(tmp_path / "model")
    assert "TensorEnv" in cls.load.__annotations__["env"]
    again = cls.load(tmp_path / "model", env=TensorWalk(), demonstrations=walk_demos())
    assert isinstance(again.env, VecEnv)
    assert_trained_alike(model, again, atol=0)
    before = weights_of(again)["policy.log_std"].clone()
    again.learn(ROLLOUT, reset_num_timesteps=False)
    assert again.num_timesteps == 3 * ROLLOUT
    assert not torch.equal(weights_of(again)["policy.log_std"], before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("policy", ["MlpPolicy", OwnPolicy])
@pytest.mark.parametrize("env_device", ["cuda", "cpu"])
def test_training_stays_on_the_gpu(policy: Any, env_device: str) -> None:
    watcher = Watcher()
    model = make(L2LGAIL, TensorWalk(device=env_device), policy, device="cuda")
    model.learn(2 * ROLLOUT, callback=watcher)
    buffer = model.rollout_buffer
    for tensor in (buffer.observations, buffer.rewards, buffer.returns, buffer.final_obs):
        assert tensor.device.type == "cuda"
    assert all(bool(value.isfinite().all()) for value in weights_of(model).values())
    assert [(info["r"], info["l"]) for info in model.ep_info_buffer] == watcher.episodes
