"""A task of a user's own: the same in a batch, in Gymnasium and in the scripts, or refused."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import envs
import train_gail
from envs.cpu.env import CpuEnv
from envs.cpu.mjbatch import MjBatch
from envs.definition import define
from envs.tasks import GYMNASIUM_TASKS, NoisyStart, check
from l2l_gail.demos.record import record_episodes
from l2l_gail.errors import InputError
from l2l_gail.ppo.env import BOOKKEEPING
from tests.envs import own_task
from tests.envs.own_task import MODEL, Puck
from tests.envs.support import Originals, outcomes, random_actions, same, same_bits


@pytest.fixture(autouse=True)
def _forget_registered_tasks() -> Iterator[None]:
    yield
    for env_id in set(envs.TASKS) - GYMNASIUM_TASKS:
        del envs.TASKS[env_id]
        gymnasium.registry.pop(env_id, None)


@pytest.fixture
def xml(tmp_path: Path) -> Path:
    path = tmp_path / "puck.xml"
    path.write_text(MODEL)
    return path


@pytest.fixture
def puck(xml: Path) -> str:
    envs.register_task("Puck-v0", Puck, xml, max_episode_steps=40)
    return "Puck-v0"


@pytest.mark.parametrize(
    "kwargs", [{}, {"frame_skip": 8, "distance_weight": 0.1, "max_episode_steps": 12}]
)
def test_a_batch_equals_gymnasiums_single_environments_to_the_last_bit(
    puck: str, kwargs: dict[str, Any]
) -> None:
    originals, env = Originals(puck, 3, **kwargs), envs.make(puck, 3, "cpu", 7, **kwargs)
    obs, info = env.reset()
    theirs, infos = originals.reset(7)
    assert same_bits(obs, theirs)
    assert same_bits(info["height"], np.array([each["height"] for each in infos]))
    terminations = truncations = 0
    for action in random_actions(env.single_action_space, 300, 3, seed=0):
        step = originals.step(action)
        obs, reward, terminated, truncated, info = env.step(action)
        assert same_bits(obs, step.obs)
        assert same_bits(reward, step.reward)
        assert same_bits(terminated, step.terminated)
        assert same_bits(truncated, step.truncated)
        assert same_bits(info["final_obs"], step.final_obs)
        for name in ("height", "speed", "reward_all"):
            assert same_bits(info[name], np.array([each[name] for each in step.infos]))
        returned = [obs, reward, terminated, truncated, *info.values()]
        assert len({tensor.data_ptr() for tensor in returned}) == len(returned)
        terminations += int(terminated.sum())
        truncations += int(truncated.sum())
    assert terminations > 3
    assert truncations > 3
    assert np.abs(step.obs[:, -3:]).max() > 0.1  # the contact with the ground is felt


@dataclass(frozen=True)
class Muscular(Puck):
    """Observes what its actuator has stored, without which it would be no Markov process."""

    @property
    def derived(self) -> tuple[str, ...]:
        return (*super().derived, "act")

    def observation(self, xp: Any, f: Any) -> Any:
        return xp.concatenate((super().observation(xp, f), f.act), -1)

    def reset_info(self, xp: Any, f: Any) -> dict[str, Any]:
        return {"upright": f.sensordata[:, 2] > 0.5}


def test_actuators_with_a_state_are_observed_and_flags_stay_flags(xml: Path) -> None:
    dynamics = 'dyntype="filter" dynprm="0.1" gainprm="8"'
    xml.write_text(MODEL.replace("<motor ", f"<general {dynamics} ").replace(' gear="8"', ""))
    envs.register_task("Muscular-v0", Muscular, xml, max_episode_steps=20)
    originals, env = Originals("Muscular-v0", 3), envs.make("Muscular-v0", 3, "cpu", 7)
    obs, info = env.reset()
    theirs, infos = originals.reset(7)
    assert same_bits(obs, theirs)
    assert info["upright"].dtype == torch.bool
    assert info["upright"].tolist() == [each["upright"] for each in infos]
    for action in random_actions(env.single_action_space, 60, 3, seed=0):
        step = originals.step(action)
        obs, reward, _, _, info = env.step(action)
        assert same_bits(obs, step.obs)
        assert same_bits(info["final_obs"], step.final_obs)
        assert same_bits(reward, step.reward)
    assert np.abs(step.final_obs[:, -1]).max() > 0.05


def test_gymnasium_knows_it_and_its_checker_finds_nothing(puck: str) -> None:
    env = gymnasium.make(puck)
    check_env(env.unwrapped, skip_render_check=True)
    assert env.spec is not None
    assert env.spec.max_episode_steps == 40
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert same_bits(again.reset(seed=3)[0], env.reset(seed=3)[0])
    assert env.metadata["render_fps"] == 50


def test_a_picture_of_it_is_drawn(puck: str) -> None:
    pytest.importorskip("OpenGL")
    if os.environ.get("MUJOCO_GL") not in {"egl", "osmesa"}:
        pytest.skip("no off-screen renderer is chosen (MUJOCO_GL)")
    env = gymnasium.make(puck, render_mode="rgb_array", width=64, height=48)
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (48, 64, 3)
    assert picture.std() > 0
    env.close()


def test_a_saved_state_goes_on_even_where_the_model_was_moved(puck: str, tmp_path: Path) -> None:
    env = envs.make(puck, 3, "cpu", 1)
    env.reset()
    actions = random_actions(env.single_action_space, 60, 3, seed=0)
    outcomes(env, actions[:30])
    torch.save(env.state_dict(), tmp_path / "state.pt")
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "puck.xml"
    moved.write_text(MODEL)
    envs.register_task(puck, Puck, moved, max_episode_steps=40)
    another = envs.make(puck, 3, "cpu", 2)
    another.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert same(outcomes(another, actions[30:]), outcomes(env, actions[30:]))
    with pytest.raises(InputError, match="with other arguments"):
        envs.make(puck, 3, "cpu", frame_skip=2).load_state_dict(env.state_dict())


def test_one_class_serves_two_models_and_defaults(xml: Path) -> None:
    envs.register_task("Puck-v0", Puck, xml, max_episode_steps=40)
    envs.register_task("Slow-v0", Puck, xml, max_episode_steps=7, frame_skip=9)
    assert define("Puck-v0", {}).task.frame_skip == 4
    assert define("Slow-v0", {}).task.frame_skip == 9
    assert define("Slow-v0", {"frame_skip": 2}).task.frame_skip == 2
    assert (define("Slow-v0", {}).nconmax, define("Slow-v0", {}).njmax) == (8, 24)
    assert define("Slow-v0", {"xml_file": str(xml.parent / "." / "puck.xml")}).njmax == 24
    with envs.make("Slow-v0", 2, "cpu") as env:
        assert env.max_episode_steps == 7


def test_a_model_of_gymnasiums_is_found_by_its_name() -> None:
    envs.register_task("Other-v0", envs.TASKS["Hopper-v5"], "hopper.xml", max_episode_steps=9)
    ours, theirs = envs.make("Other-v0", 2, "cpu", 3), envs.make("Hopper-v5", 2, "cpu", 3)
    assert same_bits(ours.reset()[0], theirs.reset()[0])
    actions = np.zeros((2, 3), np.float32)
    assert same_bits(ours.step(actions)[1], theirs.step(actions)[1])


def test_its_returns_are_measured_by_gymnasium_and_not_by_the_batch(puck: str) -> None:
    assert envs.can_be_batched(puck)
    assert envs.batch_of_episodes(puck, {}) is None
    assert envs.batch_of_episodes("Hopper-v5", {}) is not None


@pytest.mark.slow
@pytest.mark.usefixtures("hardly_cloned")
def test_the_script_trains_on_it_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = inspect.getsource(own_task).replace("from __future__ import annotations\n", "")
    (tmp_path / "my_task.py").write_text(
        f"{source}\nimport pathlib, envs\n"
        "xml = pathlib.Path(__file__).with_name('my_puck.xml')\n"
        "xml.write_text(MODEL)\n"
        "envs.register_task('MyPuck-v0', Puck, xml, max_episode_steps=40)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    env_id = "my_task:MyPuck-v0"
    record_episodes(lambda obs: -obs[:, :1], env_id, range(3)).save(tmp_path / "puck.npz")
    flags = f"--env {env_id} --demos puck.npz --method gail --n-envs 8 --n-steps 16 --out runs"
    train_gail.main([*flags.split(), "--total-timesteps", "256"])
    assert "simulated on the CPU, 1 thread" in "".join(capsys.readouterr())
    train_gail.main([*flags.split(), "--total-timesteps", "512", "--resume"])
    assert "at step 256 within the episodes" in "".join(capsys.readouterr())
    del sys.modules["my_task"]
    assert not list(tmp_path.rglob("MUJOCO_LOG.TXT"))


def shrunk(**changes: Any) -> type[Puck]:
    """A Puck, some of whose members are others."""
    kind = type("Changed", (Puck,), {"__annotations__": {}, **changes})
    return dataclass(frozen=True)(kind)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"observation": lambda self, xp, f: f.qpos[0]},
            r"Changed.observation must be \(B, 1\) float64, not \(2,\) float64 for B = 2",
        ),
        (
            {"observation": lambda self, xp, f: f.qpos},
            "Changed.observation looks into the simulation's memory",
        ),
        (
            {"observation": lambda self, xp, f: f.qacc + 0.0},
            "Changed reads 'qacc' of the simulation: list it in its property 'derived'",
        ),
        (
            {"derived": property(lambda self: ("sensordat",))},
            "Changed.derived has 'sensordat', which is no field of MjData",
        ),
        (
            {"transition": lambda self, xp, before, f, action: (0.0, False, {})},
            r"Changed.transition's reward must be \(B,\) float64 or float32, not float",
        ),
        (
            {"transition": lambda self, xp, before, f, a: (f.qpos.sum(-1), f.qpos[:, 0], {})},
            r"terminated must be \(B,\) bool, not \(2,\) float64 for B = 2",
        ),
        (
            {"transition": lambda self, xp, before, f, action: f.qpos.sum(-1)},
            "transition must return reward, terminated and a dict of terms",
        ),
        (
            {"reset_info": lambda self, xp, f: {"height": 3.0}},
            r"reset_info's 'height' must be an array of shape \(B, ...\), with a row for each",
        ),
        (
            {"reset_info": lambda self, xp, f: None},
            "Changed.reset_info must return a dict of entries, not NoneType",
        ),
        (
            {"reset_info": lambda self, xp, f: {"episode_length": 1.0 * f.qpos[:, 0]}},
            "reset_info's 'episode_length' is the name of what every step tells: take another",
        ),
        (
            {"before": lambda self, xp, f: f.qpos[0, :1]},
            r"Changed.before must return None or an array of shape \(B, ...\).*, not \(1,\)",
        ),
        (
            {"before": lambda self, xp, f: (f.qpos, f.qvel)},
            r"Changed.before must return None or an array of shape \(B, ...\).*, not tuple",
        ),
        (
            {"observation": lambda self, xp, f: f.contact},
            "Changed reads 'contact' of the simulation: leave it, which is no array of floats",
        ),
        (
            {"derived": property(lambda self: ("contact",))},
            "Changed.derived has 'contact', which is no array of floats",
        ),
        (
            {"derived": property(lambda self: ("time",))},
            "Changed.derived has 'time', which is no array of floats",
        ),
        (
            {"initial": lambda self, xp, draw: (draw.uniform(0, 1, 3), draw.uniform(0, 1, 2))},
            r"initial's positions must be \(B, 2\) float64, not \(2, 3\) float64 for B = 2",
        ),
        (
            {"transition": lambda s, xp, b, f, a: (f.qpos.sum(-1) * xp.nan, xp.ones(2, bool), {})},
            "Changed.transition's reward is nan where the model begins",
        ),
        (
            {"observation": lambda self, xp, f: 1.0 * f.qpos.__iadd__(1.0)},
            "Changed changes 'qpos' of the simulation: work on a copy of it",
        ),
        (
            {"before": lambda self, xp, f: self.body_ids["hand"]},
            "the model has no body 'hand'; it has world, puck, pole",
        ),
    ],
)
def test_a_task_that_does_not_keep_to_its_form_is_one_line(
    xml: Path, changes: dict[str, Any], message: str
) -> None:
    envs.register_task("Changed-v0", shrunk(**changes), xml, max_episode_steps=9)
    for make in (
        lambda: envs.make("Changed-v0", 2, "cpu"),
        lambda: gymnasium.make("Changed-v0"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_names_that_every_step_takes_are_those_of_its_bookkeeping() -> None:
    assert check._BOOKKEEPING == BOOKKEEPING


@dataclass(frozen=True)
class Bare(NoisyStart):
    """Lacks everything."""


class Undecorated(Puck):
    """No dataclass of its own."""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": Bare}, "Puck-v0: Bare lacks observation, transition"),
        ({"task": dict}, "a task is a class derived from envs.tasks.Task, not <class 'dict'>"),
        ({"task": Undecorated}, r"decorate Undecorated with @dataclass\(frozen=True\)"),
        ({"xml_file": "/nowhere/puck.xml"}, "there is no model /nowhere/puck.xml"),
        ({"max_episode_steps": 0}, "max_episode_steps is at least 1, not 0"),
        ({"max_episode_steps": True}, "max_episode_steps is at least 1, not True"),
        ({"max_episode_steps": None}, "max_episode_steps is at least 1, not None"),
        ({"env_id": "Hopper-v5"}, "Hopper-v5 is registered already, and not by you"),
        ({"env_id": "CartPole-v1"}, "CartPole-v1 is registered already, and not by you"),
        ({"env_id": "no id at all!"}, "'no id at all!' is no id: "),
        ({"gravity": 3}, "Puck-v0: Puck cannot be made: .*unexpected keyword argument 'gravity'"),
    ],
)
def test_what_cannot_be_registered_is_one_line_and_leaves_nothing(
    xml: Path, wrong: dict[str, Any], message: str
) -> None:
    given = {"env_id": "Puck-v0", "task": Puck, "xml_file": xml, "max_episode_steps": 40, **wrong}
    before = dict(envs.TASKS), set(gymnasium.registry)
    with pytest.raises(InputError, match=message) as caught:
        envs.register_task(**given)
    assert "\n" not in str(caught.value)
    assert (dict(envs.TASKS), set(gymnasium.registry)) == before


def test_numbers_of_a_task_that_are_none_are_named_as_that(xml: Path) -> None:
    def transition(self: Puck, xp: Any, before: Any, f: Any, action: Any) -> Any:
        return xp.where(f.qpos[:, 0] > 0, np.nan, 1.0), f.qpos[:, 0] > 99, {}

    kind = shrunk(
        transition=transition, observation=lambda self, xp, f: xp.where(f.qpos > 0, f.qpos, np.inf)
    )
    envs.register_task("Changed-v0", kind, xml, max_episode_steps=9)
    env = envs.make("Changed-v0", 8, "cpu")
    env.reset()
    _, reward, *_, info = env.step(np.zeros((8, 1), np.float32))
    rewards = int(reward.isnan().sum())
    observations = int(info["final_obs"].isinf().any(-1).sum())
    assert 0 < rewards < 8
    with pytest.warns(RuntimeWarning) as caught:
        env.check()
    assert [str(each.message) for each in caught] == [
        f"Changed-v0: the task's rewards were not finite ({rewards})",
        f"Changed-v0: the task's observations were not finite ({observations})",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.check()  # once is enough


def test_controls_that_mujoco_drops_are_named_as_that(puck: str) -> None:
    unlimited = MODEL.replace('ctrlrange="-1 1"', "")
    batch = MjBatch(mujoco.MjModel.from_xml_string(unlimited), 4)
    batch.field("ctrl")[:, 0] = 0.0, 1e12, 1.0, 1e12
    batch.step(1)
    assert batch.diverged == 0
    assert batch.warned == {"huge controls, which it set to zero": 2}
    env = envs.make(puck, 4, "cpu")
    assert isinstance(env, CpuEnv)
    env._batch.warned = batch.warned
    with pytest.warns(RuntimeWarning) as caught:
        env.check()
    said = "Puck-v0: MuJoCo warned of huge controls, which it set to zero (2)"
    assert [str(each.message) for each in caught] == [said]


def test_arguments_that_it_does_not_have_are_one_line(puck: str) -> None:
    with pytest.raises(InputError, match="unexpected keyword argument 'gravity'") as caught:
        envs.make(puck, 2, "cpu", gravity=3)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="perhaps you meant 'Puck-v0'"):
        envs.make("Puk-v0", 2, "cpu")


def test_a_module_that_is_not_there_is_one_line() -> None:
    with pytest.raises(InputError, match=r"module 'no_such_task' cannot be imported .*PYTHONPATH"):
        envs.make("no_such_task:Puck-v0", 2, "cpu")


def test_an_actuator_without_a_range_is_named_as_that(tmp_path: Path) -> None:
    path = tmp_path / "unlimited.xml"
    path.write_text(MODEL.replace(' ctrlrange="-1 1"', ""))
    env_id = "Unlimited-v0"
    envs.register_task(env_id, Puck, str(path), max_episode_steps=20)
    try:
        with pytest.raises(InputError, match="actuator 0 of the model can only be 0: give it a ra"):
            envs.make(env_id, 2, "cpu")
    finally:
        del gymnasium.registry[env_id]
