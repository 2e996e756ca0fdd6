"""The tasks as pure functions: numpy and torch alike, Gymnasium's arguments, edges and names."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import load_env_creator
from torch import Tensor

import envs
from envs.cpu.draw import GeneratorDraw
from envs.cpu.env import CpuEnv
from envs.definition import define
from envs.tasks import GYMNASIUM_TASKS, Task
from tests.envs.support import Originals, random_actions

OF_PICTURES = {"default_camera_config", "kwargs", "self"}
HEALTHY = [f"{name}-v{v}" for name in ("Ant", "Hopper", "Humanoid", "Walker2d") for v in (4, 5)]
TORCH_CASES: list[tuple[str, dict[str, Any]]] = [
    *((env_id, {}) for env_id in sorted(GYMNASIUM_TASKS)),
    ("Ant-v4", {"use_contact_forces": True}),
    ("Ant-v5", {"include_cfrc_ext_in_observation": False}),
    ("Hopper-v5", {"exclude_current_positions_from_observation": False}),
    ("Humanoid-v5", {"include_cinert_in_observation": False}),
]

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")


class TorchDraw:
    """The draws of numpy generators as tensors."""

    def __init__(self, seeds: list[int], dtype: torch.dtype) -> None:
        self.draw = GeneratorDraw([np.random.default_rng(seed) for seed in seeds])
        self.dtype = dtype

    def uniform(self, low: float, high: float, n: int) -> Tensor:
        return torch.from_numpy(self.draw.uniform(low, high, n)).to(self.dtype)

    def normal(self, n: int) -> Tensor:
        return torch.from_numpy(self.draw.normal(n)).to(self.dtype)

    def uniform_until(
        self, accept: Callable[[Tensor], Tensor], low: Sequence[float], high: Sequence[float]
    ) -> Tensor:
        def accepts(points: np.ndarray) -> np.ndarray:
            return accept(torch.from_numpy(points).to(self.dtype)).numpy()

        return torch.from_numpy(self.draw.uniform_until(accepts, low, high)).to(self.dtype)


def bound(env_id: str, asarray: Callable[[np.ndarray], Any] = np.asarray, **kwargs: Any) -> Task:
    definition = define(env_id, kwargs)
    return definition.task.bind(definition.model, asarray)


def reached(env_id: str, kwargs: dict[str, Any]) -> tuple[dict[str, np.ndarray], Any, np.ndarray]:
    """Fields of 24 environments after some steps, what was kept before the last, its actions."""
    env = envs.make(env_id, 24, "cpu", num_threads=1, **kwargs)
    assert isinstance(env, CpuEnv)
    env.reset()
    actions = random_actions(env.single_action_space, 9, 24, seed=0)
    for action in actions:
        before = env._before
        env.step(action)
    return {name: np.array(value) for name, value in vars(env._fields).items()}, before, actions[-1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("env_id", "kwargs"), TORCH_CASES)
def test_torch_says_what_numpy_says(env_id: str, kwargs: dict[str, Any], dtype: Any) -> None:
    """In the tensors' own precision, and in float64 to the last few bits."""
    fields, before, action = reached(env_id, kwargs)
    limit = 1e-12 if dtype == torch.float64 else 1e-3

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(dtype)

    ours, theirs = bound(env_id, **kwargs), bound(env_id, tensor, **kwargs)
    f = SimpleNamespace(**fields)
    g = SimpleNamespace(**{name: tensor(value) for name, value in fields.items()})

    def check(one: Any, other: Tensor, kind: torch.dtype) -> None:
        assert other.dtype == kind
        assert tuple(other.shape) == one.shape
        np.testing.assert_allclose(other.numpy(), one, rtol=limit, atol=limit)

    check(ours.observation(np, f), theirs.observation(torch, g), dtype)
    if before is not None:
        check(ours.before(np, f), theirs.before(torch, g), dtype)  # type: ignore[arg-type]
    # Of float32 actions the cost would be a float32, whose sum torch adds up in another order.
    reward, over, info = ours.transition(np, before, f, action.astype(np.float64))
    kept = None if before is None else tensor(before)
    reward_t, over_t, info_t = theirs.transition(torch, kept, g, tensor(action))
    check(reward, reward_t, dtype)
    check(over, over_t, torch.bool)
    infos = [(info, info_t), (ours.reset_info(np, f), theirs.reset_info(torch, g))]
    for one, other in infos:
        assert set(one) == set(other)
        for name, value in one.items():
            np.testing.assert_allclose(other[name].numpy(), value, rtol=limit, atol=limit)
            assert tuple(other[name].shape) == value.shape

    seeds = [3, 1, 4, 1, 5]
    starts = ours.initial(np, GeneratorDraw([np.random.default_rng(seed) for seed in seeds]))
    starts_t = theirs.initial(torch, TorchDraw(seeds, dtype))
    for one, other, size in zip(starts, starts_t, (f.qpos, f.qvel), strict=True):
        assert one.shape == (5, size.shape[1])
        check(one, other, dtype)


@pytest.mark.parametrize("env_id", sorted(GYMNASIUM_TASKS))
def test_arguments_are_gymnasiums_with_its_defaults(env_id: str) -> None:
    """No argument is missing, none is invented, and each begins where Gymnasium's does."""
    entry = gymnasium.spec(env_id).entry_point
    assert isinstance(entry, str)
    taken = {
        name: parameter.default
        for name, parameter in inspect.signature(load_env_creator(entry)).parameters.items()
        if name not in OF_PICTURES
    }
    kind = envs.TASKS[env_id]
    ours = {f.name: f.default for f in dataclasses.fields(kind) if f.init}
    assert set(kind.fixed) <= set(ours)
    assert {name: ours[name] for name in set(ours) - set(kind.fixed)} == taken


@pytest.mark.parametrize("env_id", sorted(e for e in GYMNASIUM_TASKS if e.endswith("v5")))
def test_tables_name_every_entry_of_the_observation(env_id: str) -> None:
    """The docstring's rows follow one another from 0 to the last entry, and have units."""
    rows = re.findall(r"^    (\d+)(?:[-,] ?(\d+))? +\S", envs.TASKS[env_id].__doc__ or "", re.M)
    following = 0
    for first, last in rows:
        assert int(first) == following
        following = int(last or first) + 1
    with envs.make(env_id, 1, "cpu") as env:
        assert env.single_observation_space.shape == (following,)


def edges(task: Any) -> list[float]:
    """The bounds of a task's ranges, their neighbours, and what is no finite number."""
    names = ("healthy_z_range", "healthy_angle_range", "healthy_state_range")
    bounds = [bound for name in names for bound in getattr(task, name, ())]
    near = [np.nextafter(b, b + sign) for b in bounds for sign in (-1.0, 1.0)]
    return [*bounds, *near, float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("env_id", HEALTHY)
def test_health_ends_where_gymnasiums_does(env_id: str) -> None:
    """On both sides of every bound, at it, and where a number is none, in every coordinate."""
    kwargs: dict[str, Any] = {"healthy_z_range": (0.75, 1.5)}
    task, original = bound(env_id, **kwargs), Originals(env_id, 1, **kwargs).envs[0]
    inner: Any = original.unwrapped
    original.reset(seed=0)
    qpos, qvel = task.init_qpos.copy(), task.init_qvel.copy()
    outcomes = set()
    for where, size in (("qpos", len(qpos)), ("qvel", len(qvel))):
        for i in range(size):
            for value in edges(task):
                f = SimpleNamespace(qpos=qpos[None].copy(), qvel=qvel[None].copy())
                getattr(f, where)[0, i] = value
                inner.data.qpos[:], inner.data.qvel[:] = f.qpos[0], f.qvel[0]
                healthy = task.is_healthy(np, f)  # type: ignore[attr-defined]
                assert healthy.tolist() == [bool(inner.is_healthy)], (where, i, value)
                outcomes.add(bool(healthy[0]))
    assert outcomes == {True, False}


@pytest.mark.parametrize("version", [4, 5])
def test_a_pole_may_tilt_by_exactly_its_limit(version: int) -> None:
    task = bound(f"InvertedPendulum-v{version}")
    angles = np.array([0.2, -0.2, np.nextafter(0.2, 1), -0.3, np.nan, 0.0, 0.0])
    f = SimpleNamespace(qpos=np.zeros((7, 2)), qvel=np.zeros((7, 2)))
    f.qpos[:, 1] = angles
    f.qvel[5, 0], f.qpos[6, 0] = np.inf, np.nan
    reward, terminated, info = task.transition(np, None, f, np.zeros((7, 1), np.float32))
    assert terminated.tolist() == [False, False, True, True, True, True, True]
    if version == 5:
        assert reward.tolist() == info["reward_survive"].tolist() == [1, 1, 0, 0, 0, 0, 0]
    else:
        assert (reward.tolist(), info) == ([1.0] * 7, {})


@pytest.mark.parametrize("version", [4, 5])
def test_the_double_pendulum_ends_at_its_limit_and_not_at_nan(version: int) -> None:
    task = bound(f"InvertedDoublePendulum-v{version}")
    f = SimpleNamespace(qvel=np.zeros((4, 3)), site_xpos=np.zeros((4, 1, 3)))
    f.site_xpos[:, 0, 2] = [1.0, np.nextafter(1.0, 2.0), 0.5, np.nan]
    reward, terminated, _ = task.transition(np, None, f, np.zeros((4, 1), np.float32))
    assert terminated.tolist() == [True, False, True, False]
    assert reward[0] == (0.0 if version == 5 else 10.0) - 1.0


def test_a_square_is_the_one_that_gymnasium_takes() -> None:
    """``x**2`` of a numpy scalar is the C library's pow, which is not always the product."""
    values = np.random.default_rng(0).normal(size=50_000)
    task = bound("InvertedDoublePendulum-v5")
    f = SimpleNamespace(qvel=np.zeros((len(values), 3)), site_xpos=np.zeros((len(values), 1, 3)))
    f.qvel[:, 1] = values
    f.site_xpos[:, 0, 2] = 2.0
    _, _, info = task.transition(np, None, f, np.zeros((len(values), 1), np.float32))
    expected = np.array([1e-3 * value**2 for value in values])
    np.testing.assert_array_equal(-info["velocity_penalty"], expected)
    assert (1e-3 * np.square(values) != expected).any()


@pytest.mark.parametrize(
    ("env_id", "kwargs", "derived", "contacts"),
    [
        ("Hopper-v5", {}, set(), False),
        ("Ant-v4", {}, {"xpos"}, False),
        ("Ant-v4", {"use_contact_forces": True}, {"xpos", "cfrc_ext"}, True),
        ("Ant-v5", {"include_cfrc_ext_in_observation": False}, {"xpos", "cfrc_ext"}, True),
        ("Reacher-v5", {}, {"xpos"}, False),
    ],
)
def test_only_what_is_read_is_derived(
    env_id: str, kwargs: dict[str, Any], derived: set[str], contacts: bool
) -> None:
    task = envs.TASKS[env_id](**kwargs)
    assert set(task.derived) == derived
    assert task.contact_forces is contacts


def test_a_task_is_bound_without_changing_it() -> None:
    definition = define("Ant-v5", {"frame_skip": 7})
    task = definition.task.bind(definition.model, np.asarray)
    assert task.dt == pytest.approx(0.07)
    assert task.body == 1  # type: ignore[attr-defined]
    assert not hasattr(definition.task, "dt")
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.frame_skip = 3  # type: ignore[misc]
