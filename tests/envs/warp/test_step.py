"""The tensor step and its draws: no simulator, no kernel."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from envs.tasks import GYMNASIUM_TASKS
from envs.warp.draw import TensorDraw
from tests.envs.warp.support import run, scripted


class StaysOnDevice(TorchDispatchMode):
    """Collects operations that see a tensor outside the device "meta"."""

    def __init__(self) -> None:
        super().__init__()
        self.strays: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor) and leaf.device.type != "meta":
                self.strays.append(str(func))
        return result


def test_the_guard_sees_tensors_of_the_host_and_meta_refuses_to_be_waited_for() -> None:
    on_device = torch.zeros(3, device="meta")
    with StaysOnDevice() as guard:
        torch.zeros(3)
    assert guard.strays
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(on_device.any())
    with pytest.raises((RuntimeError, NotImplementedError)):
        on_device.nonzero()


@pytest.mark.parametrize("env_id", sorted(GYMNASIUM_TASKS))
def test_no_task_leaves_the_device_or_waits_for_it(env_id: str) -> None:
    step, _, _ = scripted(env_id, 4, device="meta")
    with StaysOnDevice() as guard:
        outputs = run(step, torch.zeros_like(step.actions))
    assert not guard.strays
    assert all(len(value) == 4 for value in outputs.values())
    assert outputs["reward"].dtype == torch.float32
    assert outputs["terminated"].dtype == outputs["truncated"].dtype == torch.bool
    assert step.obs.dtype == outputs["final_obs"].dtype == torch.float32


def test_a_new_episode_begins_where_one_ended_and_only_there() -> None:
    step, physics, _ = scripted("Hopper-v5", 3)
    physics.fields.qpos[1, 1] = 0.1  # z: fallen
    before = physics.fields.qpos.clone()
    out = run(step)
    assert out["terminated"].tolist() == [False, True, False]
    assert out["_final_obs"].tolist() == [False, True, False]
    assert not out["truncated"].any()
    assert out["final_obs"][1, 0] == before[1, 1]
    assert step.obs[1, 0] == pytest.approx(1.25, abs=0.01)
    assert torch.equal(step.obs[[0, 2]], out["final_obs"][[0, 2]])
    assert step.length.tolist() == [1, 0, 1]
    assert out["episode_length"].tolist() == [1, 1, 1]
    torch.testing.assert_close(
        physics.fields.qpos[[0, 2], 0], before[[0, 2], 0] + 0.1, rtol=0, atol=1e-6
    )
    assert physics.fields.qpos[1, 0].abs() < 0.01


def test_episode_totals_and_the_time_limit() -> None:
    step, _, _ = scripted("HalfCheetah-v5", 2, limit=3)
    returns = torch.zeros(2, dtype=torch.float64)
    for i in range(1, 4):
        out = run(step, torch.full_like(step.actions, 0.5))
        returns += out["reward"]
        assert out["episode_length"].tolist() == [i, i]
        torch.testing.assert_close(out["episode_return"], returns)
        assert out["truncated"].tolist() == [i == 3] * 2
    assert not out["terminated"].any()
    assert step.total.tolist() == [0, 0]
    assert run(step)["episode_length"].tolist() == [1, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2e10, -2e10])
def test_a_diverged_world_ends_with_finite_numbers_and_is_counted(value: float) -> None:
    step, physics, _ = scripted("HalfCheetah-v5", 3)
    run(step)
    seen = step.obs.clone()
    physics.poison = {1: value}
    out = run(step)
    assert out["terminated"].tolist() == [False, True, False]
    assert all(torch.isfinite(v).all() for v in out.values() if v.is_floating_point())
    assert torch.isfinite(step.obs).all()
    assert out["reward"][1] == 0
    assert out["x_velocity"][1] == 0
    assert torch.equal(out["final_obs"][1], seen[1])
    assert int(step.diverged) == 1
    assert int(step.overflowed) == 0
    physics.poison = {}
    assert not run(step)["terminated"].any()
    assert int(step.diverged) == 1


def test_an_action_that_is_not_finite_ends_its_world_alone() -> None:
    step, physics, _ = scripted("Hopper-v5", 3)
    actions = torch.full_like(step.actions, 0.3)
    actions[2, 1] = float("nan")
    out = run(step, actions)
    assert out["terminated"].tolist() == [False, False, True]
    assert torch.isfinite(out["reward"]).all()
    assert torch.isfinite(physics.fields.ctrl).all()
    assert physics.fields.ctrl[0].tolist() == pytest.approx([0.3] * 3)
    assert int(step.diverged) == 1


def test_a_world_without_room_for_its_contacts_is_truncated_and_counted() -> None:
    step, physics, _ = scripted("Hopper-v5", 5)
    run(step)
    seen = step.obs.clone()
    physics.overflow[:3] = True
    physics.fields.qpos[[1, 3], 1] = 0.1  # z: fallen, in the second world for lack of a contact
    physics.poison = {2: float("nan"), 4: float("nan")}
    out = run(step)
    assert out["truncated"].tolist() == [True, True, True, False, False]
    assert out["terminated"].tolist() == [False, False, False, True, True]
    assert out["_final_obs"].all()
    assert not out["reward"][[0, 1, 2, 4]].any()
    assert torch.equal(out["final_obs"][[0, 1, 2, 4]], seen[[0, 1, 2, 4]])
    assert (int(step.overflowed), int(step.diverged)) == (3, 1)
    physics.poison = {}
    assert not run(step)["_final_obs"].any()


def test_derived_fields_stay_a_substep_behind_except_in_new_episodes() -> None:
    step, physics, _ = scripted("Ant-v5", 3)
    run(step)
    physics.fields.qpos[0, 2] = 5.0  # z: far too high
    out = run(step)
    assert out["terminated"].tolist() == [True, False, False]
    assert physics.fields.xpos[:, 1, 0].tolist() == [-1.0, 2.0, 2.0]
    # Contact forces are those of a step: none in a new episode.
    assert physics.fields.cfrc_ext[:, 1, 0].tolist() == [0.0, 2.0, 2.0]
    assert step.obs[:, -1].tolist() == [0.0, 1.0, 1.0]
    assert out["final_obs"][:, -1].tolist() == [1.0, 1.0, 1.0]
    # The next reward starts from the new episode's own place: from -1 to 3, from 2 to 3.
    dt = 0.05
    torch.testing.assert_close(run(step)["x_velocity"], torch.tensor([4.0, 1.0, 1.0]) / dt)


def test_info_of_a_reset_is_kept_until_the_next() -> None:
    step, physics, _ = scripted("Hopper-v5", 2)
    first = step.reset_terms["x_position"].clone()
    physics.fields.qpos[1, 1] = 0.1
    run(step)
    assert step.reset_terms["x_position"][0] == first[0]
    assert step.reset_terms["x_position"][1] == physics.fields.qpos[1, 0] != first[1]


def draw(rows: int = 20_000, seed: int = 0) -> TensorDraw:
    return TensorDraw(rows, torch.device("cpu"), torch.Generator().manual_seed(seed))


def test_draws_have_the_bounds_and_moments_they_should() -> None:
    uniform = draw().uniform(-0.5, 1.5, 3)
    assert uniform.shape == (20_000, 3)
    assert -0.5 <= float(uniform.min()) < -0.499
    assert 1.499 < float(uniform.max()) <= 1.5
    normal = draw().normal(2)
    assert normal.shape == (20_000, 2)
    assert float(normal.mean()) == pytest.approx(0, abs=0.03)
    assert float(normal.std()) == pytest.approx(1, abs=0.03)
    assert torch.equal(draw(seed=5).normal(2), draw(seed=5).normal(2))
    assert not torch.equal(draw(seed=5).normal(2), draw(seed=6).normal(2))


def test_rejection_sampling_is_uniform_where_points_are_accepted() -> None:
    points = draw().uniform_until(lambda p: p.norm(dim=-1) < 0.2, (-0.2, -0.2), (0.2, 0.2))
    radius = points.norm(dim=-1)
    assert points.shape == (20_000, 2)
    assert float(radius.max()) < 0.2
    # In a uniform disc a quarter of the points lies inside half of the radius.
    assert float((radius < 0.1).float().mean()) == pytest.approx(0.25, abs=0.015)
    assert float(points.mean()) == pytest.approx(0, abs=0.003)
