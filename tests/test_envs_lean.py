"""The lean model: the same bits as Gymnasium's, and less work."""

from __future__ import annotations

import ctypes
import warnings
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from envs import lean as lean_module
from envs import mjbatch
from envs.definition import define
from envs.lean import lean
from envs.mjbatch import MjBatch
from envs.tasks import TASKS

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")

HOPPER = Path(gymnasium.__file__).parent / "envs/mujoco/assets/hopper.xml"
LISTED = {  # pairs of geoms that may touch, counted by hand in the models' files
    "Ant": 13,
    "HalfCheetah": 8,
    "Hopper": 7,
    "Humanoid": 126,
    "Walker2d": 7,
}
END = "</worldbody>"
FOOT = 'name="foot_geom"'
AWAY = {  # edits of Hopper's file after which its contacts follow other rules
    "an excluded pair": (END, END + '<contact><exclude body1="torso" body2="foot"/></contact>'),
    "a pair of its own": (
        END,
        END + '<contact><pair geom1="torso_geom" geom2="foot_geom"/></contact>',
    ),
    "a gap": (FOOT, FOOT + ' gap="0.01"'),
    "a priority": (FOOT, FOOT + ' priority="1"'),
    "a softer contact": (FOOT, FOOT + ' solref=".05 1"'),
    "a box": (
        END,
        '<body pos="1 0 1"><freejoint/><geom type="box" size=".2 .2 .2"/></body>' + END,
    ),
    "no filter of parents": (
        "<option ",
        '<option><flag filterparent="disable"/></option><option ',
    ),
}


def equal_steps(
    one: mujoco.MjModel, other: mujoco.MjModel, scenes: int = 12, steps: int = 8, n: int = 32
) -> set[tuple[int, int]]:
    """Step both from random, often entangled, states; return the pairs of geoms that touched."""
    batches = [MjBatch(model, n, 1) for model in (one, other)]
    rng = np.random.default_rng(0)
    touched = set()
    ids = np.arange(n, dtype=np.int32)
    for scene in range(scenes):
        spread = 3.0 * scene / scenes + 0.01
        qpos = one.qpos0 + rng.uniform(-spread, spread, (n, one.nq))
        qvel = rng.uniform(-spread, spread, (n, one.nv))
        for batch in batches:
            batch.reset(ids, qpos, qvel)
        touched |= contacts(one, batches[0].state)
        for _ in range(steps):
            control = rng.uniform(-1.0, 1.0, (n, one.nu))
            for batch in batches:
                batch.field("ctrl")[:] = control
                batch.step(4)
            np.testing.assert_array_equal(batches[0].state, batches[1].state)
        touched |= contacts(one, batches[0].state)
    return touched


def contacts(model: mujoco.MjModel, states: np.ndarray) -> set[tuple[int, int]]:
    """Return the pairs of geoms that touch in some of the states."""
    data = mujoco.MjData(model)
    found = set()
    for state in states:
        mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(model, data)
        found |= {(int(contact.geom1), int(contact.geom2)) for contact in data.contact}
    return found


@pytest.mark.parametrize("env_id", [env_id for env_id in TASKS if env_id != "Pusher-v4"])
def test_it_steps_to_the_same_bits(env_id: str) -> None:
    definition = define(env_id, {})
    own = lean(definition.model, definition.xml)
    assert own.npair == LISTED.get(env_id.split("-")[0], 0)
    touched = equal_steps(definition.model, own)
    assert len(touched) >= 0.8 * own.npair, "the states did not try most pairs"


def test_the_model_itself_stays_as_it_is() -> None:
    definition = define("Walker2d-v5", {})
    before = {
        name: np.copy(value)
        for name in dir(definition.model)
        if isinstance(value := getattr(definition.model, name), np.ndarray)
    }
    own = lean(definition.model, definition.xml)
    assert own.opt.disableflags
    assert not definition.model.opt.disableflags
    for name, value in before.items():
        np.testing.assert_array_equal(value, getattr(definition.model, name), err_msg=name)


@pytest.mark.parametrize("why", AWAY)
def test_contacts_of_other_rules_are_left_to_mujoco(why: str, tmp_path: Path) -> None:
    old, new = AWAY[why]
    text = HOPPER.read_text()
    assert old in text
    (tmp_path / "own.xml").write_text(text.replace(old, new, 1))
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "own.xml"))
    own = lean(model, str(tmp_path / "own.xml"))
    assert own.npair == model.npair
    np.testing.assert_array_equal(own.geom_contype, model.geom_contype)
    equal_steps(model, own, scenes=3)


def test_a_model_changed_after_compiling_is_left_to_mujoco() -> None:
    definition = define("Hopper-v5", {})
    definition.model.body_mass[2] *= 2.0  # what a file does not know
    own = lean(definition.model, definition.xml)
    assert own.npair == 0
    assert own.body_mass[2] == definition.model.body_mass[2]


def test_another_mujoco_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean_module, "_TESTED", "99.")
    definition = define("Hopper-v5", {})
    assert lean(definition.model, definition.xml).npair == 0


@pytest.mark.parametrize("seed", range(8))
def test_any_plain_model_steps_to_the_same_bits(seed: int, tmp_path: Path) -> None:
    """Random trees of bodies with several spheres and capsules each, of random filters."""
    rng = np.random.default_rng(seed)

    def geom() -> str:
        x, y, z = rng.uniform(-0.2, 0.2, 3)
        shape = rng.choice(
            [f'type="sphere" size="{rng.uniform(0.05, 0.1)}"', 'type="capsule" size=".04 .1"']
        )
        filters = f'contype="{rng.integers(4)}" conaffinity="{rng.integers(4)}"'
        friction = f'friction="{rng.uniform(0.5, 2)} .01 .001" condim="{rng.choice([1, 3, 4])}"'
        margin = f'margin="{rng.choice([0.0, 0.002, 0.01])}" euler="{rng.uniform(0, 90)} 0 0"'
        return f'<geom {shape} pos="{x} {y} {z}" {filters} {friction} {margin}/>'

    def body(depth: int) -> str:
        inside = "".join(geom() for _ in range(rng.integers(1, 4)))
        below = "".join(body(depth - 1) for _ in range(rng.integers(1, 3))) if depth else ""
        axis = rng.choice(["1 0 0", "0 1 0", "0 0 1"])
        joint = f'<joint type="hinge" axis="{axis}" damping=".5"/>' if rng.random() < 0.8 else ""
        return f'<body pos="{rng.uniform(-0.1, 0.1)} 0 .15">{joint}{inside}{below}</body>'

    trees = f'<body pos="0 0 .5"><freejoint/>{geom()}{body(2)}{body(1)}</body>{body(1)}'
    text = (
        '<mujoco><option timestep=".004"/><worldbody><geom type="plane" size="9 9 1" conaffinity='
        f'"3"/>{trees}</worldbody></mujoco>'
    )
    (tmp_path / "own.xml").write_text(text)
    model = mujoco.MjModel.from_xml_string(text)
    own = lean(model, str(tmp_path / "own.xml"))
    assert own.npair > 5
    assert len(equal_steps(model, own, scenes=4, n=16)) > 3


def test_the_clock_is_given_back() -> None:
    clock = ctypes.c_void_p.in_dll(mjbatch._library(), "mjcb_time")
    before = clock.value
    assert before
    model = mujoco.MjModel.from_xml_path(str(HOPPER))
    batch = MjBatch(model, 4, 2)
    batch.step(1)
    assert clock.value == before
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data)
    assert data.timer[mujoco.mjtTimer.mjTIMER_STEP].duration > 0.0


def test_a_clock_that_is_taken_away_already_stays_away() -> None:
    lib = mjbatch._library()
    clock = ctypes.c_void_p.in_dll(lib, "mjcb_time")
    before = clock.value
    with mjbatch._without_timers(lib):
        with mjbatch._without_timers(lib):
            assert clock.value is None
        assert clock.value is None
    assert clock.value == before


def test_it_says_nothing_of_gymnasiums_old_attributes() -> None:
    definition = define("HalfCheetah-v5", {})  # its file has one
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lean(definition.model, definition.xml)
