"""The model without idle work: the same bits as Gymnasium's, and less to compute."""

from __future__ import annotations

import ctypes
import warnings
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from envs.cpu import idle_work, mjbatch
from envs.cpu.idle_work import without_idle_work
from envs.cpu.mjbatch import MjBatch
from envs.definition import define
from envs.tasks import GYMNASIUM_TASKS
from tests.marks import slow

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")

HOPPER = Path(gymnasium.__file__).parent / "envs/mujoco/assets/hopper.xml"
LISTED = {  # pairs of geoms: the floor with each other one, and Hopper's and Humanoid's own
    "Ant": 13,
    "HalfCheetah": 8,
    "Hopper": 7,
    "Humanoid": 126,
    "Walker2d": 7,
}
END = "</worldbody>"
FOOT = 'name="foot_geom"'
JOINT = 'name="foot_joint"'
OPTION = '<option integrator="RK4"'


def option(flag: str) -> str:
    return f"<option><flag {flag}/></option>{OPTION}"


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
    "no filter of parents": (OPTION, option('filterparent="disable"')),
    "no dampers, and weight taken away": (
        '<body name="torso"',
        '<body name="torso" gravcomp="1"',
        OPTION,
        option('damper="disable"'),
    ),
    "many bodies": (
        END,
        "".join(
            f'<body pos="{i % 5} {i // 5} 1"><freejoint/><geom size=".1"/></body>'
            for i in range(20)
        )
        + END,
    ),
}
NEAR = {  # edits after which its pairs can be listed all the same
    "a spring without a linear term": (JOINT, JOINT + ' stiffness="0 50"'),
    "a tendon that is such a spring": (
        END,
        END
        + '<tendon><fixed stiffness="0 500"><joint joint="foot_joint" coef="1"/></fixed></tendon>',
    ),
    "friction in a joint": (JOINT, JOINT + ' frictionloss=".5"'),
    "a default for pairs, and elliptic cones": (
        "</default>",
        '<pair solreffriction=".05 1" gap=".1"/></default>',
        OPTION,
        OPTION.replace("<option", '<option cone="elliptic"'),
    ),
    "a sensor that names a geom": (
        END,
        END + '<sensor><framepos objtype="geom" objname="foot_geom"/></sensor>',
    ),
    "a geom with the name of a number": (FOOT, 'name="geom 0"'),
    "geoms without names": (FOOT, "", 'name="leg_geom"', ""),
}


def edited(edit: tuple[str, ...], folder: Path) -> tuple[mujoco.MjModel, str]:
    """Return Hopper with pieces of its file replaced, and the path of the new file."""
    text = HOPPER.read_text()
    for old, new in zip(edit[::2], edit[1::2], strict=True):
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "own.xml"
    path.write_text(text)
    return mujoco.MjModel.from_xml_path(str(path)), str(path)


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


@pytest.mark.parametrize(
    "env_id", [slow(e) if e.endswith("-v4") else e for e in sorted(GYMNASIUM_TASKS)]
)
def test_it_steps_to_the_same_bits(env_id: str) -> None:
    definition = define(env_id, {})
    own = without_idle_work(definition.model, definition.xml)
    assert own.npair == LISTED.get(env_id.split("-")[0], 0)
    assert own.opt.disableflags  # none has friction in its joints
    touched = equal_steps(definition.model, own)
    assert len(touched) >= 0.8 * own.npair, "the states did not try most pairs"


def test_the_model_itself_stays_as_it_is() -> None:
    definition = define("Walker2d-v5", {})
    before = {
        name: np.copy(value)
        for name in dir(definition.model)
        if isinstance(value := getattr(definition.model, name), np.ndarray)
    }
    own = without_idle_work(definition.model, definition.xml)
    assert own.opt.disableflags
    assert not definition.model.opt.disableflags
    for name, value in before.items():
        np.testing.assert_array_equal(value, getattr(definition.model, name), err_msg=name)


@pytest.mark.parametrize("why", AWAY)
def test_contacts_of_other_rules_are_left_to_mujoco(why: str, tmp_path: Path) -> None:
    model, xml = edited(AWAY[why], tmp_path)
    own = without_idle_work(model, xml)
    assert own.npair == model.npair
    np.testing.assert_array_equal(own.geom_contype, model.geom_contype)
    equal_steps(model, own, scenes=3)


@pytest.mark.parametrize("why", NEAR)
def test_other_models_step_to_the_same_bits(why: str, tmp_path: Path) -> None:
    model, xml = edited(NEAR[why], tmp_path)
    own = without_idle_work(model, xml)
    assert own.npair == LISTED["Hopper"]
    equal_steps(model, own, scenes=6)


def test_geoms_in_another_order_than_the_files_are_left_to_mujoco(tmp_path: Path) -> None:
    """``fusestatic`` moves a geom to its parent's, before those of the bodies between."""
    path = tmp_path / "own.xml"
    path.write_text(
        """<mujoco><compiler fusestatic="true"/><worldbody><geom type="plane" size="5 5 1"/>
        <body pos="0 0 .5"><freejoint/><geom size=".1"/>
          <body pos=".3 0 0"><joint axis="0 1 0"/><geom size=".15"/>
            <body pos=".2 0 0"><joint axis="0 1 0"/><geom size=".25"/></body></body>
          <body pos="-.15 0 0"><geom size=".1"/></body></body></worldbody></mujoco>"""
    )
    model = mujoco.MjModel.from_xml_path(str(path))
    own = without_idle_work(model, str(path))
    assert own.npair == 0
    equal_steps(model, own)


def test_a_file_that_is_no_longer_the_models_is_left_to_mujoco(tmp_path: Path) -> None:
    model, xml = edited((FOOT, FOOT), tmp_path)
    Path(xml).write_text("<mujoco><worldbody/></mujoco>")
    assert without_idle_work(model, xml).npair == 0
    Path(xml).write_text("not a model")
    assert without_idle_work(model, xml).npair == 0


def test_a_filter_of_the_users_is_asked() -> None:
    definition = define("Hopper-v5", {})
    mujoco.set_mjcb_contactfilter(lambda model, data, one, other: 1)
    try:
        assert without_idle_work(definition.model, definition.xml) is definition.model
    finally:
        mujoco.set_mjcb_contactfilter(None)


def test_a_model_changed_after_compiling_is_left_to_mujoco() -> None:
    definition = define("Hopper-v5", {})
    definition.model.body_mass[2] *= 2.0  # what a file does not know
    own = without_idle_work(definition.model, definition.xml)
    assert own.npair == 0
    assert own.body_mass[2] == definition.model.body_mass[2]


def test_another_mujoco_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_work, "_TESTED", "99.")
    definition = define("Hopper-v5", {})
    assert without_idle_work(definition.model, definition.xml) is definition.model


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
    own = without_idle_work(model, str(tmp_path / "own.xml"))
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
    with mjbatch._without_clock_and_log():
        with mjbatch._without_clock_and_log():
            assert clock.value is None
        assert clock.value is None
    assert clock.value == before


def test_it_says_nothing_of_gymnasiums_old_attributes() -> None:
    definition = define("HalfCheetah-v5", {})  # its file has one
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        without_idle_work(definition.model, definition.xml)
