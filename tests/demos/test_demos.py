"""Demonstrations: what a file means, and how a wrong one is refused."""

from __future__ import annotations

import dataclasses
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l2l_gail.cli import run_main
from l2l_gail.demos import Demonstrations
from l2l_gail.demos.__main__ import main
from l2l_gail.errors import InputError

OBS_DIM, ACT_DIM = 4, 2


def make_arrays(*lengths: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of a sound file with ``truncated``; every episode ends in a terminal state."""
    rng = np.random.default_rng(seed)
    steps = sum(lengths)
    terminals = np.zeros(steps, dtype=bool)
    terminals[np.cumsum(lengths) - 1] = True
    return {
        "obs": rng.normal(size=(steps, OBS_DIM)),
        "acts": rng.uniform(-1, 1, size=(steps, ACT_DIM)).astype(np.float32),
        "rews": rng.normal(size=steps).astype(np.float32),
        "next_obs": rng.normal(size=(steps, OBS_DIM)),
        "terminals": terminals,
        "truncated": np.zeros(steps, dtype=bool),
        "episode_starts": np.cumsum([0, *lengths[:-1]]),
        "episode_lengths": np.array(lengths),
    }


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


def refusal(source: str | Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        Demonstrations.load(source)
    message = str(caught.value)
    assert "\n" not in message
    assert str(source) in message
    return message


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    made = Demonstrations(
        **make_arrays(3, 5), env_id="Hopper-v5", random_return=1.5, expert_return=9.0
    )
    made.save(tmp_path / "d.npz")
    loaded = Demonstrations.load(tmp_path / "d.npz")
    for field in dataclasses.fields(Demonstrations):
        before, after = getattr(made, field.name), getattr(loaded, field.name)
        if isinstance(before, np.ndarray):
            assert before.dtype == after.dtype
            np.testing.assert_array_equal(before, after)
        else:
            assert before == after
    with np.load(tmp_path / "d.npz", allow_pickle=False) as file:
        assert all(not file[name].dtype.hasobject for name in file.files)


def test_saving_does_not_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="not overwritten"):
        Demonstrations(**make_arrays(3)).save(path)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["d.npz"]


def test_returns_and_statistics_by_hand() -> None:
    arrays = make_arrays(2, 3) | {"rews": np.array([1.0, 2.0, 10.0, 20.0, 30.0])}
    demos = Demonstrations(**arrays)
    np.testing.assert_allclose(demos.returns, [3.0, 60.0])
    assert (len(demos), demos.n_episodes) == (5, 2)
    np.testing.assert_allclose(demos.obs_mean, arrays["obs"].sum(axis=0) / 5)
    deviations = arrays["obs"] - arrays["obs"].sum(axis=0) / 5
    np.testing.assert_allclose(demos.obs_std**2, (deviations**2).sum(axis=0) / 5)


def test_head_is_the_first_episodes() -> None:
    demos = Demonstrations(**make_arrays(2, 3, 4), env_id="Hopper-v5", expert_return=7.0)
    head = demos.head(2)
    np.testing.assert_array_equal(head.obs, demos.obs[:5])
    np.testing.assert_array_equal(head.returns, demos.returns[:2])
    assert (head.env_id, head.expert_return) == ("Hopper-v5", 7.0)
    for wrong in (0, 4):
        with pytest.raises(InputError, match="the demonstrations have 3"):
            demos.head(wrong)


def test_repr_shows_shapes_and_returns() -> None:
    text = repr(Demonstrations(**make_arrays(2, 3), env_id="Hopper-v5"))
    assert "(5, 4)" in text
    assert "(5, 2)" in text
    assert "episodes=2" in text
    assert "Hopper-v5" in text


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_returns_of_any_partition_sum_to_all_rewards(lengths: list[int]) -> None:
    demos = Demonstrations(**make_arrays(*lengths))
    assert demos.n_episodes == len(lengths)
    np.testing.assert_allclose(demos.returns.sum(), demos.rews.sum(dtype=float), atol=1e-5)
    again = np.concatenate([demos.head(k).returns[-1:] for k in range(1, len(lengths) + 1)])
    np.testing.assert_array_equal(again, demos.returns)


class TestFileWithoutTruncated:
    """The layout of older recorders: float64 observations, every end a terminal, no id."""

    def arrays(self, *lengths: int) -> dict[str, np.ndarray]:
        arrays = make_arrays(*lengths)
        del arrays["truncated"]
        return arrays

    def test_terminal_at_step_1000_is_a_time_limit(self, tmp_path: Path) -> None:
        demos = Demonstrations.load(write(tmp_path / "d.npz", self.arrays(1000, 400, 1000)))
        np.testing.assert_array_equal(np.flatnonzero(demos.truncated), [999, 2399])
        np.testing.assert_array_equal(np.flatnonzero(demos.terminals), [1399])
        assert demos.env_id is None
        assert demos.obs.dtype == np.float64

    def test_limit_is_the_registered_one_where_the_environment_is_known(
        self, tmp_path: Path
    ) -> None:
        limit = gymnasium.registry["Reacher-v5"].max_episode_steps
        assert limit == 50
        arrays = self.arrays(50, 30) | {"env_id": np.array("Reacher-v5")}
        demos = Demonstrations.load(write(tmp_path / "d.npz", arrays))
        np.testing.assert_array_equal(np.flatnonzero(demos.truncated), [49])
        np.testing.assert_array_equal(np.flatnonzero(demos.terminals), [79])

    @pytest.mark.parametrize(
        ("kwargs", "limit"),
        [('{"max_episode_steps": 30}', 30), ('{"max_episode_steps": "30"}', 50),
         ('{"max_episode_steps": true}', 50), ('{"max_episode_steps": -1}', 50), ("{}", 50)],
    )  # fmt: skip
    def test_a_limit_of_the_file_s_own_comes_first(
        self, tmp_path: Path, kwargs: str, limit: int
    ) -> None:
        texts = {"env_id": np.array("Reacher-v5"), "env_kwargs": np.array(kwargs)}
        demos = Demonstrations.load(write(tmp_path / "d.npz", self.arrays(50, 30) | texts))
        assert demos.truncated[[49, 79]].tolist() == [limit == 50, limit == 30]

    def test_saving_states_both_kinds_of_end(self, tmp_path: Path) -> None:
        old = Demonstrations.load(write(tmp_path / "old.npz", self.arrays(1000, 400)))
        old.save(tmp_path / "new.npz")
        with np.load(tmp_path / "new.npz") as file:
            assert not file["terminals"][999]
            assert file["truncated"][999]
            assert file["terminals"][1399]


def _nan(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    obs = arrays["obs"].copy()
    obs[3, 1] = np.nan
    return arrays | {"obs": obs}


def _inf(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rews = arrays["rews"].copy()
    rews[0] = np.inf
    return arrays | {"rews": rews}


WRONG_ARRAYS = {
    "unequal lengths": (lambda a: a | {"acts": a["acts"][:-1]}, "unequal length.*acts 7"),
    "NaN": (_nan, "'obs' has 1 NaN or infinite.*step 3"),
    "infinite": (_inf, "'rews' has 1 NaN or infinite.*step 0"),
    "objects": (
        lambda a: a | {"obs": np.array([{}] * 8, dtype=object)},
        "'obs' holds Python objects",
    ),
    "text": (lambda a: a | {"rews": np.array(["x"] * 8)}, "'rews' has dtype"),
    "flat observations": (lambda a: a | {"obs": a["obs"][:, 0]}, r"'obs' has shape \(8,\)"),
    "no steps": (
        lambda a: {k: v[:0] for k, v in a.items()},
        "no steps",
    ),
    "missing array": (
        lambda a: {k: v for k, v in a.items() if k != "terminals"},
        "no array 'terminals'.*there are acts, episode_lengths",
    ),
    "next_obs of another width": (
        lambda a: a | {"next_obs": a["next_obs"][:, :3]},
        "'obs' is 4 wide and 'next_obs' 3",
    ),
    "table too short": (
        lambda a: a | {"episode_lengths": np.array([3, 4])},
        "do not cover the 8 steps",
    ),
    "starts and lengths disagree": (
        lambda a: a | {"episode_starts": np.array([0, 2])},
        "do not cover the 8 steps",
    ),
    "empty episode": (
        lambda a: a | {"episode_starts": [0, 3, 3], "episode_lengths": [3, 0, 5]},
        "do not cover",
    ),
    "fractional table": (
        lambda a: a | {"episode_starts": np.array([0.0, 3.0])},
        "whole numbers",
    ),
    "table of two sizes": (
        lambda a: a | {"episode_starts": np.array([0])},
        "1 episode_starts and 2 episode_lengths",
    ),
    "end inside an episode": (
        lambda a: a | {"truncated": np.arange(8) == 4},
        "step 4 is marked as an end",
    ),
    "both ends at once": (
        lambda a: a | {"truncated": np.arange(8) == 7},
        "step 7 is marked terminal and truncated",
    ),
    "enormous": (lambda a: a | {"obs": a["obs"] * 1e200}, "'obs' has a value of size"),
    "enormous action": (lambda a: a | {"acts": np.full((8, 2), 1e39)}, "'acts' has a value of"),
    "enormous return": (lambda a: a | {"random_return": np.array(1e300)}, "'random_return' is 1e"),
    "no width": (lambda a: a | {"acts": np.zeros((8, 0))}, "'acts' is 0 wide"),
    "half an end": (lambda a: a | {"terminals": np.full(8, 0.5)}, "other values than 0 and 1"),
    "table beyond the steps": (
        lambda a: a | {"episode_lengths": np.array([2**64 - 1, 9], dtype=np.uint64)},
        "number above the 8 steps",
    ),
    "id that is no id": (lambda a: a | {"env_id": np.array("a\x1b[2J")}, "no id of an env"),
    "id that is too long": (lambda a: a | {"env_id": np.array("a" * 201)}, "no id of an env"),
    "id that is no text": (lambda a: a | {"env_id": np.array(5)}, "'env_id' is no text"),
    "NaN return": (lambda a: a | {"expert_return": np.array(np.nan)}, "'expert_return' is nan"),
    "return of two": (lambda a: a | {"random_return": np.zeros(2)}, "no single number"),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_unsound_arrays_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    damage, pattern = WRONG_ARRAYS[case]
    path = write(tmp_path / "d.npz", damage(make_arrays(3, 5)))
    with pytest.raises(InputError, match=pattern):
        Demonstrations.load(path)
    refusal(path)


def test_unreadable_files_are_refused_in_one_line(tmp_path: Path) -> None:
    sound = write(tmp_path / "sound.npz", make_arrays(3, 5)).read_bytes()
    cases = {
        "empty.npz": (b"", "is empty"),
        "cut.npz": (sound[: len(sound) // 2], "damaged, cut off"),
        "text.npz": (b"obs,acts\n1,2\n", "damaged, cut off or of another format"),
    }
    for name, (content, expected) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert expected in refusal(path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    assert "of a format that is not known; what is read" in refusal(tmp_path / "single.npy")
    assert "does not exist" in refusal(tmp_path / "nowhere.npz")
    assert "is a folder" in refusal(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        for name in make_arrays(3):
            archive.writestr(name, b"no array")
    refusal(tmp_path / "other.npz")
    with pytest.raises(InputError, match="embedded set"):
        Demonstrations.load("no-such-name")


@given(position=st.integers(0, 10**6), flip=st.integers(1, 255))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_is_refused(tmp_path: Path, position: int, flip: int) -> None:
    path = tmp_path / "flipped.npz"
    path.unlink(missing_ok=True)
    Demonstrations(**make_arrays(3, 5), env_id="Hopper-v5").save(path)
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= flip
    path.write_bytes(content)
    refusal(path)


class _Bomb:
    """Unpickling this leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    bomb = np.array([_Bomb(trace)] * 8, dtype=object)
    path = write(tmp_path / "d.npz", make_arrays(3, 5) | {"obs": bomb})
    np.load(path, allow_pickle=True)["obs"]
    assert trace.is_dir()  # the file is dangerous to who unpickles it
    trace.rmdir()
    refusal(path)
    assert not trace.exists()


class TestCheckEnv:
    observations = Box(-np.inf, np.inf, (OBS_DIM,))
    actions = Box(-1, 1, (ACT_DIM,))

    def test_same_environment_is_silent(self) -> None:
        demos = Demonstrations(**make_arrays(3), env_id="Hopper-v5")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            demos.check_env("Hopper-v5", self.observations, self.actions)
            demos.check_env("some.module:Hopper-v5", self.observations, self.actions)
            demos.check_env(None, self.observations, self.actions)

    def test_another_id_is_refused_though_the_widths_agree(self) -> None:
        demos = Demonstrations(**make_arrays(3), env_id="HalfCheetah-v5")
        with pytest.raises(InputError, match="of HalfCheetah-v5, the environment is Walker2d-v5"):
            demos.check_env("Walker2d-v5", self.observations, self.actions)

    def test_missing_id_is_warned_about(self) -> None:
        demos = Demonstrations(**make_arrays(3))
        with pytest.warns(UserWarning, match="do not say of which environment"):
            demos.check_env("Hopper-v5", self.observations, self.actions)

    @pytest.mark.parametrize(
        ("obs_dim", "act_dim", "what"),
        [(OBS_DIM + 1, ACT_DIM, "observations of width 4"), (OBS_DIM, 3, "actions of width 2")],
    )
    def test_other_widths_are_refused(self, obs_dim: int, act_dim: int, what: str) -> None:
        demos = Demonstrations(**make_arrays(3), env_id="Ant-v5")
        with pytest.raises(InputError, match=what):
            demos.check_env("Ant-v5", Box(-1, 1, (obs_dim,)), Box(-1, 1, (act_dim,)))


def test_info_prints_the_share_of_clipped_actions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = make_arrays(3, 1)
    arrays["acts"] = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.5]], dtype=np.float32)
    main(["info", str(write(tmp_path / "d.npz", arrays))])
    printed = " ".join(capsys.readouterr().out.split())
    assert "at a bound 25.0%" in printed
    assert "beyond a bound 12.5%" in printed
    assert "steps with one at a bound 50.0%" in printed


@pytest.mark.parametrize(
    ("argv", "pattern"),
    [
        (["recrod"], "perhaps you meant record"),
        (["info", "nowhere.npz"], "does not exist"),
        (["info"], "FILE|file|STR"),
    ],
)
def test_wrong_commands_end_with_status_2(
    argv: list[str], pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_main(lambda: main(argv))
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    assert any(word in error for word in pattern.split("|"))


@pytest.mark.parametrize("env_id", ["", "Hop\nper", "x" * 300, "Hopper-v5\0", b"Hopper-v5"])
def test_an_id_that_no_file_would_be_read_with_is_refused_at_once(env_id: Any) -> None:
    with pytest.raises(InputError, match="'env_id' is no id of an environment"):
        Demonstrations.from_arrays(np.ones((3, 2)), episode_lengths=[3], env_id=env_id)
