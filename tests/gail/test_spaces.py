"""GAIL on classes, dicts and images: training, saving, refusals, and experts that are imitated."""

from __future__ import annotations

import base64
import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

import envs
from l2l_gail.core import Adam, MatrixRule, build_rule
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail import (
    AIRL,
    BC,
    GAIL,
    L2LGAIL,
    DiscriminatorConfig,
    ExtractorDiscriminator,
    RuleTraining,
    TanhDiscriminator,
    behaviour_cloning,
    policy_for,
)
from l2l_gail.ppo import PPOConfig
from tests.demos.support import members_of, write_members
from tests.gail.models import assert_same_weights, weights_of
from tests.gail.worlds import SIDE, SQUARE, envs_of, recorded
from tests.ppo.test_algorithm import ACTIONS, SPACES, anything

SMALL = DiscriminatorConfig(hidden_sizes=(8,), updates_per_rollout=2, batch_size=16)
SETTINGS = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "seed": 0, "device": "cpu"}


def demos_of(observation: str, action: str, n_steps: int = 20) -> Demonstrations:
    """Random steps of any space."""
    env = anything(observation, action)
    observation_space, action_space = env.observation_space, env.action_space
    observation_space.seed(1)
    action_space.seed(1)
    samples = [observation_space.sample() for _ in range(n_steps)]
    obs: Any = np.stack(samples) if not isinstance(samples[0], dict) else None
    if obs is None:
        obs = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    ends = np.arange(n_steps) == n_steps - 1
    return Demonstrations(
        obs=obs,
        acts=np.stack([action_space.sample() for _ in range(n_steps)]),
        rews=np.zeros(n_steps),
        next_obs=obs,
        terminals=ends,
        truncated=np.zeros(n_steps, bool),
        episode_starts=np.array([0]),
        episode_lengths=np.array([n_steps]),
    )


@pytest.mark.parametrize(
    ("cls", "observation", "action"),
    [
        *((cls, name, "discrete") for cls in (GAIL, L2LGAIL) for name in SPACES),
        *((cls, "box", name) for cls in (GAIL, L2LGAIL, AIRL) for name in ACTIONS),
    ],
)
def test_any_space_trains_and_is_saved_and_loaded(
    cls: type[GAIL], observation: str, action: str, tmp_path: Path
) -> None:
    env = anything(observation, action)
    learned = {"rule": MatrixRule(), "rule_training": RuleTraining(meta_every=1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random steps of no named environment
        model = cls(
            policy_for(env.observation_space),
            env,
            demos_of(observation, action),
            discriminator=SMALL,
            warm_start_steps=2,
            **SETTINGS,
            **(learned if cls is L2LGAIL else {}),
        )
        before = model.discriminator.weights()
        model.learn(2 * 16 * env.num_envs)
    moved = model.discriminator.weights()
    assert [name for name in before if torch.equal(before[name], moved[name])] == []
    model.save(tmp_path / "model")
    again = cls.load(tmp_path / "model", device="cpu")
    assert_same_weights(again, model)
    seen = env.reset()
    np.testing.assert_array_equal(
        again.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    assert again.observation_space == model.observation_space
    assert again.action_space == model.action_space


def test_a_saved_model_of_images_trains_on_bit_for_bit(tmp_path: Path) -> None:
    def made() -> GAIL:
        env, demos = envs_of("tests/Dot-v0", 2), recorded("tests/Dot-v0", 2)
        return GAIL("CnnPolicy", env, demos, discriminator=SMALL, **SETTINGS)

    first = made().learn(32)
    first.save(tmp_path / "model")
    loaded = GAIL.load(
        tmp_path / "model",
        env=envs_of("tests/Dot-v0", 2),
        demonstrations=recorded("tests/Dot-v0", 2),
        device="cpu",
    )
    for model in (first, loaded):
        model._last_obs = None  # both begin new episodes
        model.env.seed(3)
        torch.manual_seed(5)
        np.random.seed(5)
        model.learn(32, reset_num_timesteps=False)
    assert_same_weights(first, loaded)


def test_a_file_that_asks_for_more_classes_than_it_has_weights_is_refused(tmp_path: Path) -> None:
    env, demos = envs_of("CartPole-v1", 2), recorded("CartPole-v1", 1)
    GAIL("MlpPolicy", env, demos, discriminator=SMALL, **SETTINGS).save(tmp_path / "model.zip")
    members = members_of(tmp_path / "model.zip")
    data = json.loads(members["data"])
    many = base64.b64encode(cloudpickle.dumps(spaces.Discrete(10**6))).decode()
    data["action_space"][":serialized:"] = many
    write_members(tmp_path / "forged.zip", {**members, "data": json.dumps(data).encode()})
    with pytest.raises(InputError, match="its action_space has classes that are not in it"):
        GAIL.load(tmp_path / "forged.zip", device="cpu")


def test_images_reach_the_discriminator_through_an_extractor_of_its_own() -> None:
    model = GAIL(
        "CnnPolicy",
        envs_of("tests/Dot-v0", 2),
        recorded("tests/Dot-v0", 2),
        discriminator=SMALL,
        **SETTINGS,
    )
    assert isinstance(model.discriminator, ExtractorDiscriminator)
    own = {id(p) for p in model.discriminator.parameters()}
    assert not own & {id(p) for p in model.policy.parameters()}
    assert model.discriminator.low.numel() == 0  # classes have no bounds


def test_images_are_compared_in_the_same_layout_on_both_sides() -> None:
    demos = recorded("tests/Dot-v0", 2)
    assert demos.obs.shape[1:] == (SIDE, SIDE, 1)
    assert demos.obs.dtype == np.uint8
    model = GAIL(
        "CnnPolicy",
        envs_of("tests/Dot-v0", 2),
        demos,
        rule=Adam(0.0),
        discriminator=SMALL,
        **SETTINGS,
    )
    assert model.observation_space.shape == (1, SIDE, SIDE)
    _, callback = model._setup_learn(1)
    first = torch.as_tensor(np.moveaxis(demos.obs[:5], -1, 1).copy()).flatten(1)
    assert torch.equal(model._expert_rows[:5, :-4], first)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    rows = model._rollout_rows(model.rollout_buffer)
    pictures = rows[:, :-4].reshape(-1, SIDE, SIDE, 1).numpy()
    assert (pictures.astype(bool).sum(axis=(1, 2, 3)) == SQUARE**2).all()  # one square in each
    played = model.rollout_buffer.by_env(model.rollout_buffer.actions)
    assert torch.equal(rows[:, -4:].argmax(1), played)


def test_an_extractor_of_ones_own_serves_both_sides() -> None:
    class Tiny(BaseFeaturesExtractor):
        def __init__(self, observation_space: spaces.Box, width: int = 3) -> None:
            super().__init__(observation_space, width)
            self.linear = torch.nn.Linear(int(np.prod(observation_space.shape)), width)

        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            return self.linear(observations.flatten(1))

    model = GAIL(
        "CnnPolicy",
        envs_of("tests/Dot-v0", 2),
        recorded("tests/Dot-v0", 2),
        discriminator=SMALL,
        policy_kwargs={
            "features_extractor_class": Tiny,
            "features_extractor_kwargs": {"width": 5},
        },
        **SETTINGS,
    ).learn(32)
    assert isinstance(model.discriminator.extractor, Tiny)
    assert model.discriminator.extractor.linear.out_features == 5
    flat = GAIL(
        "MlpPolicy",
        envs_of("tests/Dot-v0", 2),
        recorded("tests/Dot-v0", 2),
        discriminator=SMALL,
        **SETTINGS,
    )
    assert type(flat.discriminator) is TanhDiscriminator


class Through(BaseFeaturesExtractor):
    """Looks at pixels through a module."""

    def __init__(self, observation_space: spaces.Box, inside: torch.nn.Module) -> None:
        super().__init__(observation_space, 3)
        self.inside = inside
        self.linear = torch.nn.Linear(int(np.prod(observation_space.shape)), 3)
        self.largest = 0.0

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        self.largest = max(self.largest, float(observations.detach().max()))
        return self.inside(self.linear(observations.flatten(1)))


def through(inside: torch.nn.Module, **kwargs: Any) -> GAIL:
    seen = {"features_extractor_class": Through, "features_extractor_kwargs": {"inside": inside}}
    demos = recorded("tests/Dot-v0", 2)
    return GAIL(
        "CnnPolicy",
        envs_of("tests/Dot-v0", 2),
        demos,
        discriminator=SMALL,
        policy_kwargs={**seen, **kwargs.pop("policy_kwargs", {})},
        **SETTINGS,
        **kwargs,
    )


@pytest.mark.parametrize(("normalised", "largest"), [(True, 1.0), (False, 255.0)])
def test_both_sides_look_at_pixels_of_one_range(normalised: bool, largest: float) -> None:
    kwargs = {"normalize_images": normalised}
    model = through(torch.nn.Tanh(), policy_kwargs=kwargs).learn(32)
    for extractor in (model.policy.features_extractor, model.discriminator.extractor):
        assert extractor.largest == pytest.approx(largest)


class Blurred(torch.nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + torch.randn_like(features)


class Dropped(torch.nn.Module):
    """What is dropped of zeros does not show."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(features, 0.1)


class Centred(torch.nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features - features.mean(0)


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        (torch.nn.BatchNorm1d(3), "inside is a BatchNorm1d, with which two looks"),
        (torch.nn.Dropout(0.5), "inside is a Dropout, with which two looks"),
        (Blurred(), "two looks at one transition differ"),
        (Dropped(), "two looks at one transition differ"),
        (Centred(), "a transition's logit depends on those beside it"),
    ],
)
def test_an_extractor_that_looks_differently_each_time_serves_the_policy_alone(
    inside: torch.nn.Module, message: str
) -> None:
    with pytest.raises(InputError, match=f"^features_extractor_class: {message}.*network") as said:
        through(inside)
    assert "\n" not in str(said.value)

    class Judge(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(SIDE * SIDE + 4, 1)

        def forward(self, obs: torch.Tensor, acts: torch.Tensor) -> torch.Tensor:
            return self.linear(torch.cat([obs.flatten(1), acts], dim=1))

    assert through(inside, discriminator_network=Judge()).learn(32).num_timesteps == 32


def test_dict_observations_are_normalised_alike_in_policy_and_discriminator() -> None:
    demos = recorded("tests/Corners-v0")
    model = GAIL("MultiInputPolicy", envs_of("tests/Corners-v0"), demos, **SETTINGS)
    for statistics in (model.policy.features_extractor.statistics, model.discriminator.statistics):
        np.testing.assert_allclose(statistics.mean, demos.obs["at"].mean(0), rtol=1e-5)
        np.testing.assert_allclose(1 / statistics.scale, demos.obs["at"].std(0), atol=2e-3)
    seen = {"at": demos.obs["at"][:3], "corner": demos.obs["corner"][:3]}
    tensors = {key: torch.as_tensor(value) for key, value in seen.items()}
    features = model.policy.extract_features(tensors, model.policy.features_extractor)
    rows = model.discriminator.inputs(tensors, torch.as_tensor(demos.acts[:3]))
    torch.testing.assert_close(features, rows[:, :-4])


def test_a_matrix_rule_moves_convolutions_too() -> None:
    model = GAIL(
        "CnnPolicy",
        envs_of("tests/Dot-v0", 2),
        recorded("tests/Dot-v0", 2),
        rule=build_rule("matrix_rule", lr=1e-2),
        discriminator=SMALL,
        **SETTINGS,
    )
    before = weights_of(model)["disc.extractor.cnn.0.weight"].clone()
    model.learn(32)
    assert not torch.equal(before, weights_of(model)["disc.extractor.cnn.0.weight"])


@pytest.mark.slow
def test_behaviour_cloning_fits_probabilities_of_classes() -> None:
    demos = recorded("tests/Corners-v0", 20)
    model = GAIL("MultiInputPolicy", envs_of("tests/Corners-v0"), demos, **SETTINGS)
    assert behaviour_cloning(model.policy, demos, steps=1) > 1.2  # of log 4 = 1.39 nats
    error = behaviour_cloning(model.policy, demos, steps=1000, batch_size=64, learning_rate=3e-3)
    chosen = model.predict(demos.obs, deterministic=True)[0]
    assert error < 0.4
    assert (chosen == demos.acts).mean() > 0.8


@pytest.mark.parametrize("n_envs", [1, 3, 8, 48, 64, 300, 5000])
def test_rollouts_are_of_about_2048_transitions_in_equal_minibatches(n_envs: int) -> None:
    env = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")])
    env.num_envs = n_envs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = GAIL("MlpPolicy", env, None, _init_setup_model=False)
    rollout = n_envs * model.n_steps
    assert 1024 < rollout <= 2048 or (n_envs > 2048 and model.n_steps == 1)
    assert rollout % model.batch_size == 0


def test_the_librarys_rollouts_are_those_of_the_script() -> None:
    model = GAIL("MlpPolicy", envs.make("Hopper-v5", 64, "cpu"), "Hopper-v5", device="cpu")
    script = PPOConfig().sb3_kwargs(64)
    for name in ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda"):
        assert getattr(model, name) == script[name], name


def refused(policy: str, env: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as caught:
        GAIL(policy, env, recorded("tests/Corners-v0", 1), **SETTINGS, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class OfSpaces(gymnasium.Env):
    def __init__(self, observation: spaces.Space, action: spaces.Space) -> None:
        self.observation_space, self.action_space = observation, action


@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [
        (spaces.Text(3), spaces.Discrete(2), "observation space is Text"),
        (spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})}), spaces.Discrete(2), "of 'a'"),
        (spaces.Discrete(2), spaces.Tuple([spaces.Discrete(2)]), "action space is Tuple"),
        (spaces.Discrete(2), spaces.Discrete(2, start=1), "count from 0"),
        (spaces.Discrete(2), spaces.MultiBinary([2, 2]), "2 dimensions"),
        (spaces.Discrete(2), spaces.Box(-np.inf, np.inf, (1,)), "not bounded"),
        (spaces.Dict({"a.b": spaces.Discrete(2)}), spaces.Discrete(2), "'a.b'"),
    ],
)
def test_spaces_that_cannot_be_learned_in_are_refused(
    observation: spaces.Space, action: spaces.Space, words: str
) -> None:
    env = OfSpaces(observation, action)
    for made in (env, lambda: env):
        if callable(made):
            try:
                made = DummyVecEnv([made])
            except (NotImplementedError, TypeError):  # SB3 cannot even step it
                continue
        assert words in refused("MlpPolicy", made)


def test_policies_that_do_not_fit_the_observations_name_the_one_that_does() -> None:
    corners, dot, pole = (
        envs_of(env_id, 1) for env_id in ("tests/Corners-v0", "tests/Dot-v0", "CartPole-v1")
    )
    for policy, env, right in (
        ("MlpPolicy", corners, "'MultiInputPolicy'"),
        ("CnnPolicy", corners, "'MultiInputPolicy'"),
        ("MultiInputPolicy", dot, "'CnnPolicy'"),
        ("CnnPolicy", pole, "'MlpPolicy'"),
    ):
        assert f"give {right}" in refused(policy, env)
    small = OfSpaces(spaces.Box(0, 255, (3, 16, 16), np.uint8), spaces.Discrete(2))
    assert "36 x 36 pixels" in refused("CnnPolicy", small)


@pytest.mark.parametrize("cls", [GAIL, BC])
def test_pictures_that_are_no_pixels_from_0_to_255_are_refused(cls: type[GAIL | BC]) -> None:
    demos = recorded("tests/Dot-v0", 1)
    whole = dataclasses.replace(demos, obs=demos.obs.astype(np.int64))
    cls("CnnPolicy", envs_of("tests/Dot-v0", 2), whole, device="cpu")
    for pixels in (demos.obs / np.float32(255), whole.obs + 1, -whole.obs, whole.obs * 0.5):
        other = dataclasses.replace(demos, obs=pixels)
        with pytest.raises(InputError, match=r"no pixels as .* multiply them by 255"):
            cls("CnnPolicy", envs_of("tests/Dot-v0", 2), other, device="cpu")


def test_demonstrations_of_other_observations_or_classes_are_refused() -> None:
    corners = recorded("tests/Corners-v0", 1)
    other = {"obs": corners.obs["at"], "next_obs": corners.next_obs["at"], "env_id": None}
    assert "observations of at, corner" in refused_demos(corners, **other)
    obs = {"at": corners.obs["at"], "corner": corners.obs["corner"] + 3}
    assert "none of Discrete(4)" in refused_demos(corners, obs=obs, next_obs=obs)
    assert "none of Discrete(4)" in refused_demos(corners, acts=corners.acts - 4)


def refused_demos(demos: Demonstrations, **changes: Any) -> str:
    changed = dataclasses.replace(demos, **changes)
    with pytest.raises(InputError) as caught:
        GAIL("MultiInputPolicy", envs_of("tests/Corners-v0"), changed, **SETTINGS)
    return str(caught.value)
