"""Whether demonstrations fit an environment, and what their endings say about rewards."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import wrappers
from gymnasium.spaces import Box

import envs
from l2l_gail.demos import Demonstrations, Endings
from l2l_gail.demos.__main__ import main
from l2l_gail.demos.arguments import (
    arguments_in,
    arguments_of,
    differing_arguments,
    left_out,
    plain_kwargs,
)
from l2l_gail.demos.fit import reordered, time_step_ratio
from l2l_gail.demos.record import record_episodes
from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL
from l2l_gail.gail.fit import is_altered
from tests.demos.test_demos import ACT_DIM, OBS_DIM, make_arrays, refusal, write

OBSERVATIONS = Box(-np.inf, np.inf, (OBS_DIM,))
ACTIONS = Box(-1, 1, (ACT_DIM,))


def test_arguments_of_the_environment_are_recorded_and_come_back(tmp_path: Path) -> None:
    kwargs = {"forward_reward_weight": 2.0, "reset_noise_scale": 0.0}
    demos = record_episodes(lambda obs: np.zeros((1, 3)), "Hopper-v5", [0], kwargs)
    assert demos.env_kwargs == kwargs
    demos.save(tmp_path / "d.npz")
    assert Demonstrations.load(tmp_path / "d.npz").env_kwargs == kwargs
    assert demos.head(1).env_kwargs == kwargs


def test_other_arguments_are_warned_about() -> None:
    demos = Demonstrations(**make_arrays(3), env_id="Hopper-v5", env_kwargs={"a": 1, "b": [2]})
    with pytest.warns(UserWarning, match="a 1 there and 3 here, c not given there and 'x' here"):
        demos.check_env("Hopper-v5", OBSERVATIONS, ACTIONS, {"a": 3, "b": (2,), "c": "x"})


@pytest.mark.parametrize(
    ("recorded", "given"),
    [
        ({"a": 1}, {"a": 1, "render_mode": "rgb_array"}),
        ({"a": [1, 2]}, {"a": (1, 2)}),
        (None, {"a": 1}),
        ({"a": 1}, None),
        ({"a": 1}, {"a": np.int64(1)}),
        ({"a": [1.0, np.inf]}, {"a": np.array([1, np.inf])}),
        ({"RescaleAction": {"min_action": -1.0, "max_action": [1.0] * ACT_DIM}}, {}),
    ],
)
def test_the_same_or_unknown_arguments_are_silent(
    recorded: dict | None, given: dict | None
) -> None:
    demos = Demonstrations(**make_arrays(3), env_id="Hopper-v5", env_kwargs=recorded)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        demos.check_env("Hopper-v5", OBSERVATIONS, ACTIONS, given)


def test_none_is_a_value_and_a_default_spelled_out_is_no_other_argument() -> None:
    def make(goal: float | None = 1.0, shape: tuple[int, ...] = (2,), **_: object) -> Any: ...

    gymnasium.register("Made-v0", make, max_episode_steps=9, kwargs={"own": 3})
    try:
        same = {"goal": 1.0, "shape": (2,), "own": 3, "max_episode_steps": 9}
        assert differing_arguments({}, plain_kwargs(same), ACTIONS, "m:Made-v0") == []
        assert differing_arguments({"goal": None, "own": 4}, {}, ACTIONS, "Made-v0") == [
            "goal", "own",
        ]  # fmt: skip
    finally:
        del gymnasium.registry["Made-v0"]
    for pair in (({"other": None}, {}), ({}, {"other": None})):
        assert differing_arguments(*pair, ACTIONS, "Made-v0") == ["other"]
    hopper = gymnasium.make("Hopper-v5", frame_skip=4, reset_noise_scale=5e-3)
    assert differing_arguments({}, arguments_of(hopper.spec), ACTIONS, "Hopper-v5") == []


def test_arguments_of_numpy_and_infinite_ones_are_kept_and_compared(tmp_path: Path) -> None:
    kwargs = {
        "frame_skip": np.int64(8),
        "ctrl_cost_weight": np.float32(0.5),
        "healthy_z_range": (0.3, np.inf),
    }
    zero = lambda obs: np.zeros((len(obs), 3), np.float32)  # noqa: E731
    recorded = record_episodes(zero, "Hopper-v5", [0], kwargs)
    made = Demonstrations.from_episodes(recorded, env_id="Hopper-v5", env_kwargs=kwargs)
    expected = {"frame_skip": 8, "ctrl_cost_weight": 0.5, "healthy_z_range": [0.3, np.inf]}
    for number, demos in enumerate((recorded, made)):
        assert demos.env_kwargs == expected
        demos.save(tmp_path / f"{number}.npz")
        assert Demonstrations.load(tmp_path / f"{number}.npz").env_kwargs == expected
    with pytest.warns(UserWarning, match=r"frame_skip 8 there and not given.*\[0.3, inf\] there"):
        GAIL("MlpPolicy", envs.make("Hopper-v5", num_envs=2, device="cpu"), recorded)


def test_an_argument_that_is_no_plain_value_is_named_and_the_others_compared() -> None:
    demos = Demonstrations(**make_arrays(3), env_id="Hopper-v5", env_kwargs={"a": 1, "b": 2})
    with (
        pytest.warns(UserWarning, match="plain values are not compared with the demonstrations: a"),
        pytest.warns(UserWarning, match="other arguments: b 2 there and 3 here;"),
    ):
        demos.check_env("Hopper-v5", OBSERVATIONS, ACTIONS, {"a": object(), "b": 3})
    kwargs = {"a": np.nan, "b": 2}
    with pytest.warns(UserWarning, match="are left out of the demonstrations: a;"):
        made = Demonstrations.from_episodes([{"obs": np.zeros((3, 2))}], env_kwargs=kwargs)
    assert made.env_kwargs == {"b": 2}


def test_a_value_of_the_registration_that_is_not_plain_is_passed_over() -> None:
    assert left_out({"a": object(), "b": 1, "render_mode": object()}) == ["a"]
    gymnasium.register("Made-v0", entry_point=lambda: None, kwargs={"a": object()})
    try:
        assert left_out({"a": object(), "c": object()}, "Made-v0") == ["c"]
    finally:
        del gymnasium.registry["Made-v0"]


@pytest.mark.parametrize("text", ["3", "{", "[" * 100_000, '{"a": NaN}', "\x1b"])
def test_arguments_that_are_no_json_object_are_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "d.npz", make_arrays(3) | {"env_kwargs": np.array(text)})
    assert "'env_kwargs' is no JSON object" in refusal(path)
    with pytest.raises(InputError, match="more than plain values"):
        Demonstrations(**make_arrays(3), env_kwargs={"a": object()})


def test_info_states_the_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kwargs = np.array(json.dumps({"weight": 2.0, "name": "\x1b[2J"}))
    main(["info", str(write(tmp_path / "d.npz", make_arrays(3) | {"env_kwargs": kwargs}))])
    printed = capsys.readouterr().out
    assert r"name=\x1b[2J, weight=2.0" in printed


def test_an_action_space_that_most_actions_are_outside_of_is_warned_about() -> None:
    demos = Demonstrations.load("Hopper-v5")
    env = gymnasium.make("Hopper-v5")
    scaled = wrappers.RescaleAction(env, np.float32(-0.3), np.float32(0.3))
    with pytest.warns(UserWarning, match="of the demonstrated action entries are outside"):
        demos.check_env("Hopper-v5", env.observation_space, scaled.action_space)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        demos.check_env("Hopper-v5", env.observation_space, env.action_space)
    env.close()


@pytest.mark.parametrize(
    ("wrap", "strange"),
    [
        (lambda env: env, False),
        (wrappers.NormalizeObservation, True),
        (lambda env: wrappers.TransformObservation(env, lambda o: 100 * o, None), True),
        (lambda env: wrappers.TransformObservation(env, lambda o: o * np.nan, None), True),
    ],
    ids=["plain", "normalised", "other units", "NaN"],
)
def test_observations_that_a_wrapper_changed_are_unfamiliar(wrap, strange: bool) -> None:
    env = wrap(gymnasium.make("Hopper-v5"))
    seen = np.stack([env.reset(seed=seed)[0] for seed in range(5)])
    env.close()
    found = Demonstrations.load("Hopper-v5").unfamiliar(seen)
    assert bool(found) is strange


def test_what_never_varies_may_differ() -> None:
    arrays = make_arrays(5)
    arrays["obs"][:, 1] = 3.0
    assert Demonstrations(**arrays).unfamiliar(np.array([[0.0, 7.0, 0.0, 0.0]])) == []
    assert Demonstrations(**arrays).unfamiliar(np.array([[99.0, 7.0, 0.0, 0.0]])) == [0]


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.int8, -100, 100), (np.bool_, 0, 1)])
def test_ranges_of_small_types_are_told_from_nothing(dtype: type, low: int, high: int) -> None:
    arrays = make_arrays(5)
    arrays["obs"] = np.full_like(arrays["obs"], low, dtype=dtype)
    arrays["obs"][2, 0] = high
    near, far = np.full((2, 1, arrays["obs"].shape[1]), low, dtype=np.float64)
    far[0, 0] = low + 4.0 * (high - low)
    assert Demonstrations(**arrays).unfamiliar(near) == []
    assert Demonstrations(**arrays).unfamiliar(far) == [0]


def test_endings_are_counted() -> None:
    arrays = make_arrays(2, 3, 4, 1)
    arrays["terminals"] = np.isin(np.arange(10), (1, 9))
    arrays["truncated"] = np.arange(10) == 4
    demos = Demonstrations(**arrays)
    assert demos.endings == Endings(terminal=2, time_limit=1, cut_off=1)
    assert demos.endings.terminal_share == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("endings", "sign", "said"),
    [
        (Endings(10, 0, 0), "positive", "10 of 10 .* pays the policy for not ending them"),
        (Endings(6, 4, 3), "positive", "6 of 10"),
        (Endings(0, 4, 0), "positive", None),
        (Endings(1, 3, 0), "positive", None),
        (Endings(0, 0, 4), "positive", None),
        (Endings(0, 4, 0), "negative", "4 of 4 .* pays the policy for failing early"),
        (Endings(10, 0, 0), "negative", None),
        (Endings(10, 0, 0), "either", None),
        (Endings(0, 10, 0), "either", None),
    ],
)
def test_a_reward_whose_sign_speaks_against_the_demonstrations_is_named(
    endings: Endings, sign, said: str | None
) -> None:
    found = endings.conflict(sign)
    if said is None:
        assert found is None
    else:
        assert found is not None
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(found)


def test_the_digest_is_of_the_content_and_not_of_the_file(tmp_path: Path) -> None:
    demos = Demonstrations(**make_arrays(3, 5), env_id="Hopper-v5")
    demos.save(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", **make_arrays(3, 5))
    found = {Demonstrations.load(tmp_path / name).digest for name in ("d.npz", "e.npz")}
    assert found == {demos.digest}
    arrays = make_arrays(3, 5)
    arrays["obs"][0, 0] = np.nextafter(arrays["obs"][0, 0], 9)
    assert Demonstrations(**arrays).digest != demos.digest
    assert demos.head(1).digest != demos.digest


def moving(step: float, length: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Positions that follow velocities in steps of a length, beside noise: ``(length, 5)``."""
    rng = np.random.default_rng(0)
    velocities = np.cumsum(rng.normal(size=(length + 1, 2)), axis=0)
    positions = np.zeros((length + 1, 2))
    positions[1:] = np.cumsum(step * (velocities[1:] + velocities[:-1]) / 2, axis=0)
    states = np.concatenate([positions, velocities, rng.normal(size=(length + 1, 1))], axis=1)
    return states[:-1], states[1:]


@pytest.mark.parametrize(("step", "ratio"), [(0.1, 1.0), (0.2, 2.0), (0.025, 0.25)])
def test_the_length_of_a_step_is_told_by_positions_and_velocities(
    step: float, ratio: float
) -> None:
    assert time_step_ratio(moving(0.1), moving(step)) == pytest.approx(ratio, rel=1e-9)


def test_velocities_that_an_observation_clips_do_not_lengthen_a_step() -> None:
    clipped = tuple(np.hstack([s[:, :2], s[:, 2:4].clip(-3, 3), s[:, 4:]]) for s in moving(0.1))
    assert (np.abs(clipped[0][:, 2:4]) == 3).mean() > 0.2
    assert time_step_ratio(moving(0.1), clipped) == pytest.approx(1.0, abs=0.01)
    assert time_step_ratio(clipped, moving(0.2)) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("env_id", ["Hopper-v5", "HalfCheetah-v5", "Walker2d-v5"])
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_the_steps_of_the_demonstrations_in_the_package_are_their_environments(
    env_id: str, seed: int
) -> None:
    env = envs.make(env_id, 64, "cpu", seed, num_threads=1)
    obs, _ = env.reset()
    noise = torch.Generator().manual_seed(seed)
    width = env.single_action_space.shape[0]
    states, following = [], []
    for _ in range(32):  # the first rollout of a training, by a policy that knows nothing
        states.append(obs.numpy().copy())
        actions = 0.6 * torch.randn(64, width, generator=noise)
        obs, _, ended, cut, _ = env.step(actions.clamp(-1, 1))
        goes_on = ~(ended | cut).numpy()
        states[-1] = states[-1][goes_on]
        following.append(obs.numpy()[goes_on].copy())
    env.close()
    here = np.concatenate(states), np.concatenate(following)
    demonstrations = Demonstrations.load(env_id)
    ratio = time_step_ratio(demonstrations.state_pairs(), here)
    assert ratio == pytest.approx(1.0, abs=0.05)
    assert reordered(demonstrations.state_pairs(), here) == []


def test_nothing_is_said_of_steps_where_no_entry_is_a_velocity_or_there_are_few() -> None:
    noise = np.random.default_rng(1).normal(size=(2, 200, 5))
    still = np.ones((200, 5))
    assert time_step_ratio((noise[0], noise[1]), moving(0.1)) is None
    assert time_step_ratio(moving(0.1), (still, still)) is None
    assert time_step_ratio(moving(0.1), moving(0.1, length=20)) is None


def test_entries_in_another_order_are_told_by_which_is_the_velocity_of_which() -> None:
    now, after = moving(0.1)
    assert reordered((now, after), moving(0.1)) == []
    assert reordered((now / 3, after / 3), moving(0.1)) == []
    for order in ([2, 3, 0, 1, 4], [0, 3, 2, 1, 4], [4, 0, 1, 2, 3]):
        mixed = now[:, order], after[:, order]
        pairs = {(order.index(0), order.index(2)), (order.index(1), order.index(3))}
        found = set(reordered(mixed, moving(0.1)))
        assert found
        assert found <= pairs
    twins = [1, 0, 3, 2, 4]  # each position still beside its own velocity
    assert reordered((now[:, twins], after[:, twins]), moving(0.1)) == []
    assert reordered((now[:20, ::-1], after[:20, ::-1]), moving(0.1)) == []


def test_a_time_limit_of_one_s_own_is_an_argument() -> None:
    def spec_of(**kwargs: Any) -> Any:
        return gymnasium.make("Hopper-v5", **kwargs).spec

    assert arguments_of(spec_of()) == {}
    assert arguments_of(spec_of(max_episode_steps=20)) == {"max_episode_steps": 20}
    assert arguments_of(spec_of(max_episode_steps=1000, frame_skip=2)) == {"frame_skip": 2}
    demos = record_episodes(
        lambda obs: np.zeros((len(obs), 3), np.float32), "Hopper-v5", [0], {"max_episode_steps": 3}
    )
    assert demos.env_kwargs == {"max_episode_steps": 3}
    with pytest.warns(UserWarning, match="max_episode_steps 3 there and not given here"):
        GAIL("MlpPolicy", envs.make("Hopper-v5", num_envs=2, device="cpu"), demos)
    # What was measured with the demonstrations holds where they were recorded, and nowhere else.
    for kwargs, altered in (({}, True), ({"max_episode_steps": 3}, False)):
        env = envs.make_vec("Hopper-v5", 2, 0, kwargs, device="cpu")
        assert is_altered(demos, env, kwargs) is altered
        unknown = dataclasses.replace(demos, env_kwargs=None)
        assert is_altered(unknown, env, kwargs) is bool(kwargs)


@pytest.mark.parametrize(
    ("name", "changes"), [("Humanoid-v5", True), ("HalfCheetah-v5", False)], ids=lambda x: str(x)
)
def test_arguments_in_a_specification_are_those_of_the_environment(
    name: str, changes: bool
) -> None:
    env = wrappers.RescaleAction(gymnasium.make(name, max_episode_steps=30), -1.0, 1.0)
    bounds = {"RescaleAction": {"min_action": -1.0, "max_action": 1.0}}
    own = {"max_episode_steps": 30} | (bounds if changes else {})
    assert arguments_of(env.spec) == own
    written = arguments_in(json.loads(env.spec.to_json()))
    assert written == {"max_episode_steps": 30} | bounds
    # That it changes nothing, only the space of the actions tells.
    assert differing_arguments(written, own, env.action_space) == []
    assert bool(differing_arguments(written, {}, env.unwrapped.action_space)) is True
    plain = differing_arguments(bounds, {}, env.unwrapped.action_space)
    assert plain == ["RescaleAction"] * changes


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, None),
        ({"kwargs": [1]}, None),
        ({"kwargs": {}, "additional_wrappers": 3, "max_episode_steps": [1]}, {}),
        ({"kwargs": {}, "additional_wrappers": [3, {"name": "RescaleAction", "kwargs": 3}]},
         {"RescaleAction": {}}),
        ({"kwargs": {}, "max_episode_steps": None}, {"max_episode_steps": None}),
        ({"kwargs": {"a": 1}, "id": "Unknown-v0", "max_episode_steps": 3}, {"a": 1}),
    ],
)  # fmt: skip
def test_a_specification_that_is_not_sound_gives_what_it_has(
    content: dict, expected: dict | None
) -> None:
    found = arguments_in({"id": "Hopper-v5"} | content)
    assert found == expected
    for bound in ("x", [1, 2], {}):
        theirs = {"RescaleAction": {"min_action": bound, "max_action": 1.0}}
        assert differing_arguments(theirs, {}, ACTIONS) == ["RescaleAction"]
