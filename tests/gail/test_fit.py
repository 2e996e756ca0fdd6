"""What speaks against a training is said before it begins."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env

import envs
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail import AIRL, BC, GAIL, L2LGAIL, LearnedReward
from tests.gail.models import (
    ROLLOUT,
    make,
    more,
)
from tests.gail.support import ENV_ID, walk_demos, walk_envs


def demos_like_walk(**changes: Any) -> Demonstrations:
    demos = walk_demos()
    names = [field.name for field in dataclasses.fields(demos)]
    return Demonstrations(**{name: getattr(demos, name) for name in names} | changes)


def in_units(unit: float) -> GAIL:
    demos = walk_demos()
    scaled = demos_like_walk(obs=demos.obs * unit, next_obs=demos.next_obs * unit)
    return GAIL("MlpPolicy", walk_envs(), scaled, n_steps=16, batch_size=16, seed=0, device="cpu")


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6])
def test_observations_in_small_units_are_seen_as_well(unit: float) -> None:
    model, demos = in_units(unit), walk_demos()
    features = model.policy.features_extractor(torch.as_tensor(demos.obs * unit))
    assert features.std(0, correction=0).min().item() == pytest.approx(1.0, abs=0.01)


def test_an_entry_too_small_to_be_seen_beside_the_others_is_named() -> None:
    demos = walk_demos()
    mixed = demos.obs * np.array([1e-6, 1.0], np.float32)
    with pytest.warns(UserWarning, match=r"1 of 2 observation entries \(the first: 0\)"):
        GAIL("MlpPolicy", walk_envs(), demos_like_walk(obs=mixed), n_steps=16, batch_size=16)


def test_an_entry_that_float32_cannot_tell_apart_is_named() -> None:
    demos = walk_demos()
    for offset, said in ((1e3, False), (1e9, True)):
        far = demos.obs.astype(np.float64) + np.array([0.0, offset])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            GAIL("MlpPolicy", walk_envs(), demos_like_walk(obs=far), n_steps=16, batch_size=16)
        named = [str(one.message) for one in caught if "float32" in str(one.message)]
        assert [text.split(" are so")[0] for text in named] == [
            "1 of 2 observation entries (the first: 1, around 1e+09)"
        ] * said


@pytest.mark.parametrize(
    ("reach", "said"),
    [(1e-3, "clipped; scale them to about 1"), (1e3, "hardly any of them; scale them to about 1")],
)
def test_actions_in_units_that_noise_does_not_suit_are_named(reach: float, said: str) -> None:
    class Other(gymnasium.ActionWrapper):
        def __init__(self, env: gymnasium.Env) -> None:
            super().__init__(env)
            shape = env.action_space.shape
            self.action_space = gymnasium.spaces.Box(-reach, reach, shape, np.float32)

        def action(self, action: np.ndarray) -> np.ndarray:
            return (action / reach).astype(np.float32)

    env = make_vec_env(ENV_ID, 2, seed=0, wrapper_class=Other)
    demos = demos_like_walk(acts=walk_demos().acts * np.float32(reach))
    with pytest.warns(UserWarning, match=f"actions reach .* to either side.*{said}"):
        GAIL("MlpPolicy", env, demos, n_steps=16, batch_size=16)


def test_cloning_warns_of_far_actions_alone_and_a_reward_of_none() -> None:
    def made(reach: float) -> tuple[Any, Demonstrations]:
        bounds = np.full(walk_envs().action_space.shape, np.float32(reach))
        env = make_vec_env(
            ENV_ID,
            2,
            seed=0,
            wrapper_class=gymnasium.wrappers.RescaleAction,
            wrapper_kwargs={"min_action": -bounds, "max_action": bounds},
        )
        return env, demos_like_walk(acts=walk_demos().acts * np.float32(reach))

    with pytest.warns(UserWarning, match="actions reach 1e\\+03 .* begin near 0: it hardly gets"):
        BC("MlpPolicy", *made(1e3), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BC("MlpPolicy", *made(1e-3), device="cpu")
        for reach in (1e-3, 1e3):
            LearnedReward.for_env(*made(reach), device="cpu")


def test_of_the_units_of_mujocos_tasks_nothing_is_said() -> None:
    for env_id in ("Hopper-v5", "HalfCheetah-v5", "Walker2d-v5"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            GAIL("MlpPolicy", envs.make(env_id, 2, "cpu"), env_id, n_steps=16, batch_size=16)


def test_a_reward_that_pays_for_not_finishing_is_warned_of() -> None:
    ends = walk_demos().truncated
    finishing = demos_like_walk(terminals=ends, truncated=np.zeros_like(ends))
    kwargs = {"n_steps": 16, "batch_size": 16}
    with pytest.warns(UserWarning, match="--reward logit"):
        GAIL("MlpPolicy", walk_envs(), finishing, **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GAIL("MlpPolicy", walk_envs(), finishing, discriminator=more(reward="airl"), **kwargs)
        GAIL("MlpPolicy", walk_envs(), walk_demos(), **kwargs)


@pytest.mark.parametrize("cls", [GAIL, AIRL, BC])
def test_the_time_limit_of_the_environment_settles_ends_of_unknown_kind(
    cls: type[GAIL | BC],
) -> None:
    unknown = Demonstrations.from_episodes(
        [
            {"obs": each.obs, "next_obs": each.next_obs, "acts": each.acts, "terminal": True}
            for each in walk_demos()
        ]
    )
    assert unknown.endings.terminal == 3
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = cls("MlpPolicy", walk_envs(), unknown, device="cpu")
    assert not [one for one in caught if "terminal state" in str(one.message)]
    assert model.demonstrations.endings.time_limit == 3
    assert not model.demonstrations.terminals.any()


def test_ends_of_unknown_kind_in_an_environment_without_a_limit_are_warned_of() -> None:
    unknown = demos_like_walk(env_id=None, ended_after=np.full(3, 8))
    env = make_vec_env(lambda: gymnasium.make(ENV_ID).unwrapped, 2, seed=0)
    with pytest.warns(UserWarning, match=r"1,000 steps are taken to be it; to say it, give demons"):
        model = GAIL("MlpPolicy", env, unknown, n_steps=16, batch_size=16, device="cpu")
    assert model.demonstrations.ended_after is not None


def test_observations_that_a_wrapper_has_changed_are_warned_of() -> None:
    class Scaled(gymnasium.ObservationWrapper):
        def observation(self, observation: np.ndarray) -> np.ndarray:
            return observation * np.float32(1000.0)

    env = make_vec_env(ENV_ID, 2, seed=0, wrapper_class=Scaled)
    model = GAIL("MlpPolicy", env, walk_demos(), n_steps=16, batch_size=16, seed=0)
    with pytest.warns(UserWarning, match="wrapper"):
        model.learn(ROLLOUT)


@pytest.mark.parametrize("outside", [False, True])
def test_a_wrapper_that_normalises_observations_is_refused(outside: bool) -> None:
    def wrapped(env: gymnasium.Env) -> gymnasium.Env:
        env = gymnasium.wrappers.NormalizeObservation(env)
        return gymnasium.wrappers.RecordEpisodeStatistics(env) if outside else env

    env = make_vec_env(ENV_ID, 2, seed=0, wrapper_class=wrapped)
    with pytest.raises(InputError, match="NormalizeObservation normalises observations"):
        GAIL("MlpPolicy", env, walk_demos(), n_steps=16, batch_size=16)
    GAIL("MlpPolicy", walk_envs(), walk_demos(), n_steps=16, batch_size=16)


def test_other_arguments_of_the_environment_are_warned_of() -> None:
    demos = demos_like_walk(env_kwargs={"gravity": 3.0})
    with pytest.warns(UserWarning, match="gravity 3.0 there and not given here"):
        GAIL("MlpPolicy", walk_envs(), demos, n_steps=16, batch_size=16)


def test_actions_that_are_rescaled_here_alone_are_warned_of() -> None:
    def rescaled(env: gymnasium.Env) -> gymnasium.Env:
        return gymnasium.wrappers.RescaleAction(env, -2.0, np.float32(2.0))

    env = make_vec_env(ENV_ID, 2, wrapper_class=rescaled)
    said = "RescaleAction not given there and {'max_action': 2.0, 'min_action': -2.0} here"
    with pytest.warns(UserWarning, match=said):
        GAIL("MlpPolicy", env, demos_like_walk(env_kwargs={}), n_steps=16, batch_size=16)

    def as_it_was(env: gymnasium.Env) -> gymnasium.Env:
        return gymnasium.wrappers.RescaleAction(env, -0.5, 1.0)

    env = make_vec_env(ENV_ID, 2, wrapper_class=as_it_was)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*RescaleAction")
        GAIL("MlpPolicy", env, demos_like_walk(env_kwargs={}), n_steps=16, batch_size=16)


@pytest.mark.parametrize("cls", [GAIL, BC])
def test_demonstrations_are_taken_as_a_list_of_episodes(cls: type[GAIL | BC]) -> None:
    whole = walk_demos()
    episodes = [
        {name: getattr(part, name) for name in ("obs", "acts", "next_obs")}
        for part in (whole[:1], whole[1:])
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they do not say of which environment they are
        model = cls("MlpPolicy", walk_envs(), episodes, device="cpu")
    np.testing.assert_array_equal(model.demonstrations.acts, whole.acts)
    with pytest.raises(InputError, match=r"demonstrations is 3: give a Demonstrations, or a path"):
        cls("MlpPolicy", walk_envs(), 3, device="cpu")


@pytest.mark.parametrize(
    "given",
    [
        {"rule": "adam"},
        {"rule": torch.optim.Adam},
        {"discriminator": {"batch_size": 16}},
        {"rule_training": 0.5},
    ],
)
def test_an_argument_of_another_kind_is_refused_in_one_line(given: dict[str, Any]) -> None:
    ((name, _),) = given.items()
    with pytest.raises(InputError, match=f"^{name} is .*: give an? "):
        GAIL("MlpPolicy", walk_envs(), walk_demos(), device="cpu", **given)


def test_observations_in_the_middle_of_an_episode_are_not_held_against_a_wrapper() -> None:
    model = make().learn(ROLLOUT)
    model._last_obs = model._last_obs + 1e6  # wherever the policy has gone
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model._setup_learn(1, None, False)
    model._last_obs = None  # so the environments are reset
    model.env.reset = lambda: np.full((2, 2), 1e6, np.float32)
    with pytest.warns(UserWarning, match="wrapper"):
        model._setup_learn(1, None, False)


class Repeated(gymnasium.Wrapper):
    """Every action four times."""

    def step(self, action: np.ndarray) -> Any:
        for _ in range(4):
            stepped = self.env.step(action)
            if stepped[2] or stepped[3]:
                break
        return stepped


class Slow(gymnasium.Wrapper):
    """Twice the substeps, which no keyword argument tells of."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        env.unwrapped.frame_skip *= 2  # type: ignore[attr-defined]


def warnings_of_a_rollout(wrap: Any) -> list[str]:
    env = make_vec_env(lambda: wrap(gymnasium.make("Hopper-v5")), 2)
    model = GAIL(
        "MlpPolicy", env, "Hopper-v5", n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(256)
    return [str(w.message) for w in caught if "lasts about" in str(w.message)]


@pytest.mark.parametrize(
    ("wrap", "ratio"),
    [
        (lambda env: env, None),
        (lambda env: gymnasium.wrappers.TransformReward(env, lambda reward: 2 * reward), None),
        (Slow, "2"),
        (Repeated, "3"),
        (
            lambda env: gymnasium.wrappers.TransformObservation(
                env, lambda obs: np.r_[obs[:5] / 2, obs[5:]], env.observation_space
            ),
            "0.5",
        ),
    ],
)
def test_steps_of_another_length_than_the_demonstrations_are_said_once(
    wrap: Any, ratio: str | None
) -> None:
    told = warnings_of_a_rollout(wrap)
    assert len(told) == (ratio is not None)
    assert all(f"lasts about {ratio}" in text for text in told)


def recorded_wrongly(fault: str | None) -> Demonstrations:
    demos = Demonstrations.load("Hopper-v5")
    assert demos.acts is not None
    episodes = []
    for episode in demos:
        obs, acts = (
            np.concatenate([episode.state_pairs()[0], episode.state_pairs()[1][-1:]]),
            (episode.acts),
        )
        assert acts is not None
        acts = acts[: len(obs) - 1]
        if fault == "opposite":
            acts = -acts
        elif fault == "one opposite":
            acts = acts * np.array([1, -1, 1], np.float32)
        elif fault == "late observations":
            obs = np.concatenate([obs[:1], obs[:-1]])
        elif fault == "late actions":
            acts = np.concatenate([acts[:1], acts[:-1]])
        elif fault == "velocities first":
            obs = np.roll(obs, 6, axis=1)
        episodes.append({"obs": obs, "acts": acts})
    return Demonstrations.from_episodes(episodes, env_id="Hopper-v5")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (None, None),
        ("opposite", "to have the opposite sign"),
        ("one opposite", "actions look to have the opposite sign in entry 1,"),
        ("late observations", "one step early beside the observations"),
        ("late actions", "one step late beside the observations"),
        ("velocities first", "another order"),
    ],
)
def test_silent_faults_of_a_recording_are_said_once(fault: str | None, said: str | None) -> None:
    env = make_vec_env("Hopper-v5", 8)
    model = GAIL(
        "MlpPolicy", env, recorded_wrongly(fault), n_steps=128, n_epochs=1, seed=0, device="cpu"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(2048)
    told = [str(w.message) for w in caught if "look" in str(w.message)]
    assert len(told) == (said is not None)
    assert all(said in text for text in told if said is not None)


def entries_fixed(entries: list[int], value: float = 0.25) -> Demonstrations:
    demos = Demonstrations.load("Hopper-v5")
    obs, next_obs = np.array(demos.obs), np.array(demos.next_obs)
    obs[:, entries] = next_obs[:, entries] = value
    return dataclasses.replace(demos, obs=obs, next_obs=next_obs)


def heard_in(model: GAIL, steps: int) -> list[warnings.WarningMessage]:
    """What is said of the first rollouts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(steps)
    words = ("in all demonstrations", "lasts about")
    return [w for w in caught if any(each in str(w.message) for each in words)]


@pytest.mark.parametrize(
    ("never_varies", "said"),
    [([], None), ([3], "entry 3 has one"), ([0, 3, 5, 7], "entries 0, 3, 5, ... have one")],
)
def test_entries_that_only_the_environment_varies_are_said_once(
    never_varies: list[int], said: str | None
) -> None:
    model = GAIL(
        "MlpPolicy",
        make_vec_env("Hopper-v5", 8),
        dataclasses.replace(entries_fixed(never_varies), next_obs=None),
        n_steps=64,
        n_epochs=1,
        seed=0,
        device="cpu",
    )
    told = [str(w.message) for w in heard_in(model, 3 * 512)]
    assert len(told) == (said is not None)
    assert all(f"{said} value" in text for text in told)


class Late(gymnasium.ObservationWrapper):
    """Entry 3 is .25 for so many steps, and another value then."""

    def __init__(self, env: gymnasium.Env[Any, Any], steps: int, then: float = 0.5) -> None:
        super().__init__(env)
        self.left, self.then = steps, then

    def step(self, action: Any) -> Any:
        self.left -= 1
        return super().step(action)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        observation = observation.copy()
        observation[3] = 0.25 if self.left >= 0 else self.then
        return observation


def late_model(
    wrap: Any, demos: Demonstrations | None = None, cls: type[GAIL] = GAIL, n_steps: int = 16
) -> GAIL:
    env = make_vec_env("Hopper-v5", 2, wrapper_class=wrap)
    demos = demos or entries_fixed([3])
    return cls("MlpPolicy", env, demos, n_steps=n_steps, n_epochs=1, seed=0, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize(("rollouts", "heard"), [(10, True), (17, False)])
def test_entries_are_compared_in_the_first_sixteen_rollouts(rollouts: int, heard: bool) -> None:
    told = heard_in(late_model(lambda env: Late(env, 16 * rollouts)), 20 * 32)
    assert ["entry 3 has one value" in str(w.message) for w in told] == [True] * heard


def test_entries_that_differ_by_rounding_do_not_vary() -> None:
    then = 0.25 + 1e-7
    assert np.float32(then) != np.float32(0.25)
    assert not heard_in(late_model(lambda env: Late(env, 0, then)), 32)


@pytest.mark.parametrize(("states", "heard"), [(31, False), (32, True)])
def test_of_few_demonstrated_states_none_is_said_to_never_vary(states: int, heard: bool) -> None:
    demos = entries_fixed([3])
    single = Demonstrations.from_arrays(
        demos.obs[:states], demos.acts[:states], episode_lengths=[1] * states, env_id="Hopper-v5"
    )
    assert bool(heard_in(late_model(lambda env: Late(env, 0), single), 32)) == heard


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL, AIRL])
def test_the_line_that_trains_is_warned(cls: type[GAIL]) -> None:
    [told] = heard_in(late_model(lambda env: Late(env, 0), cls=cls), 32)
    assert told.filename == __file__


def test_of_two_faults_one_is_said() -> None:
    [told] = heard_in(late_model(lambda env: Late(Slow(env), 0), n_steps=128), 2 * 256)
    assert "lasts about 2 times" in str(told.message)
