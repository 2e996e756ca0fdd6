"""MuJoCo's warnings: told once with their number, whoever simulates, and never in a file."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from l2l_gail.mujoco_warnings import (
    counted_mujoco_warnings,
    handle_mujoco_warnings,
    without_mujoco_warnings,
)
from tests.marks import slow

ROOT = Path(__file__).parent.parent
UNSTABLE = "Nan, Inf or huge value in QVEL at DOF 0. The simulation is unstable."


@pytest.fixture(autouse=True)
def _own_handler() -> Iterator[None]:
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(None)
    yield
    mujoco.set_mju_user_warning(previous)


def broken_steps(n: int) -> None:
    """Begin so many episodes of Gymnasium's Hopper with a huge velocity; each is warned of once."""
    env = gymnasium.make("Hopper-v5", disable_env_checker=True)
    for _ in range(n):
        env.reset(seed=0)
        env.unwrapped.data.qvel[:] = 1e12  # type: ignore[attr-defined]
        env.step(np.zeros(3, np.float32))
    env.close()


def test_the_first_tenth_and_hundredth_warning_of_a_kind_are_told() -> None:
    handle_mujoco_warnings()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        broken_steps(120)
    assert [str(each.message) for each in caught if each.category is RuntimeWarning] == [
        f"MuJoCo: {UNSTABLE}",
        f"MuJoCo: {UNSTABLE} (10 times)",
        f"MuJoCo: {UNSTABLE} (100 times)",
    ]


def test_a_handler_of_the_users_own_stays() -> None:
    heard: list[str] = []
    mujoco.set_mju_user_warning(heard.append)
    handle_mujoco_warnings()
    broken_steps(3)
    assert len(heard) == 3


def test_a_block_tells_of_each_kind_once_with_its_number() -> None:
    with (
        pytest.warns(RuntimeWarning) as caught,
        counted_mujoco_warnings("Hopper-v5"),
    ):
        broken_steps(12)
    assert [str(each.message) for each in caught] == [f"Hopper-v5: MuJoCo: {UNSTABLE} (12 times)"]
    assert caught[0].filename == __file__
    assert mujoco.get_mju_user_warning() is None


def test_warnings_that_are_errors_do_not_end_the_process() -> None:
    """An exception in C would: the test run itself is at stake."""
    handle_mujoco_warnings()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        broken_steps(2)
        with (
            pytest.raises(RuntimeWarning, match="2 times"),
            counted_mujoco_warnings("Hopper-v5"),
        ):
            broken_steps(2)


def test_a_model_is_compiled_without_a_word_on_gymnasiums_old_attributes_but_on_others() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with counted_mujoco_warnings("HalfCheetah-v5"):
            gymnasium.make("HalfCheetah-v5")
    with (
        pytest.warns(RuntimeWarning, match="^Puck-v0: MuJoCo: a word$") as caught,
        counted_mujoco_warnings("Puck-v0"),
    ):
        mujoco.get_mju_user_warning()("a word")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with without_mujoco_warnings():
            mujoco.get_mju_user_warning()("a word")


WAYS = {
    "batch": """
        import envs
        env = envs.make("HalfCheetah-v5", 32, "cpu", num_threads=2)
        env.reset()
        env._batch.field("qvel")[:] = 1e12
        env.step(np.zeros((32, 6), np.float32))
        env.check()
    """,
    "one by one": """
        import envs
        vec = envs.make_vec("HalfCheetah-v5", 2, 0, {"render_mode": "rgb_array"})
        vec.reset()
        for env in vec.envs:
            env.unwrapped.data.qvel[:] = 1e12
        vec.step(np.zeros((2, 6), np.float32))
    """,
    "evaluation": """
        from l2l_gail import evaluation
        def breaking(env):
            step = env.step
            def broken(action):
                env.unwrapped.data.qvel[:] = 1e12
                return step(action)
            env.step = broken
            return env
        made = evaluation.make_env
        evaluation.make_env = lambda *arguments: breaking(made(*arguments))
        evaluation.evaluate_policy_return(
            lambda obs: np.zeros((len(obs), 6)), "HalfCheetah-v5", [0], {"max_episode_steps": 5}
        )
    """,
}


@pytest.mark.parametrize("way", [way if way == "batch" else slow(way) for way in WAYS])
def test_no_file_is_written_and_one_line_said_whichever_way_a_simulation_breaks(
    way: str, tmp_path: Path
) -> None:
    script = "import numpy as np\n" + textwrap.dedent(WAYS[way])
    environment: dict[str, Any] = {"PYTHONPATH": str(ROOT), "MUJOCO_GL": "disabled"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if "RuntimeWarning" in line]
    assert len(said) == 1, done.stderr
    assert "huge" in said[0]
