"""Demonstrations of Minari, D4RL and imitation: what the real libraries wrote, and what is refused.

``data/`` holds files that Minari and imitation wrote, see ``data/make.py``. D4RL's were written by
calls of h5py alone, the ones below.
"""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from l2l_gail.demos import Demonstrations, apart
from l2l_gail.demos.__main__ import main
from l2l_gail.errors import InputError
from tests.demos.support import write_d4rl
from tests.demos.test_demos import refusal

DATA = Path(__file__).parent / "data"


@pytest.fixture
def minari(tmp_path: Path) -> Path:
    """The folder of a Minari dataset, as it lies in Minari's own folder."""
    pytest.importorskip("h5py")
    folder = tmp_path / "cart" / "small-v0" / "data"
    folder.mkdir(parents=True)
    content = gzip.decompress((DATA / "minari" / "main_data.hdf5.gz").read_bytes())
    (folder / "main_data.hdf5").write_bytes(content)
    shutil.copy(DATA / "minari" / "metadata.json", folder)
    return folder.parent


class TestMinari:
    def test_what_was_recorded_is_what_gymnasium_plays(self, minari: Path) -> None:
        demos = Demonstrations.load(minari)
        assert demos.env_id == "InvertedPendulum-v5"
        assert demos.env_kwargs == {"max_episode_steps": 4}
        env = gymnasium.make("InvertedPendulum-v5")
        obs, _ = env.reset(seed=3)
        for row, action in enumerate(demos.acts):
            np.testing.assert_allclose(demos.obs[row], obs, atol=1e-12)
            obs, reward, terminated, _, _ = env.step(action)
            np.testing.assert_allclose(demos.next_obs[row], obs, atol=1e-12)
            assert demos.rews[row] == reward
            assert demos.terminals[row] == terminated
        assert len(demos) == 4
        assert demos.truncated.tolist() == [False, False, False, True]
        env.close()

    def test_file_folder_and_id_are_one_dataset(
        self, minari: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        digest = Demonstrations.load(minari).digest
        assert Demonstrations.load(minari / "data").digest == digest
        assert Demonstrations.load(minari / "data" / "main_data.hdf5").digest == digest
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(minari.parents[1]))
        assert Demonstrations.load("cart/small-v0").digest == digest
        with pytest.raises(InputError, match="to get one: minari download cart/other-v1"):
            Demonstrations.load("cart/other-v1")

    def test_a_file_alone_does_not_say_its_environment(self, minari: Path) -> None:
        (minari / "data" / "metadata.json").unlink()
        assert Demonstrations.load(minari).env_id is None

    def test_an_older_file_says_its_environment_itself(self, minari: Path) -> None:
        import h5py

        (minari / "data" / "metadata.json").unlink()
        with h5py.File(minari / "data" / "main_data.hdf5", "a") as file:
            file.attrs["env_spec"] = json.dumps({"id": "Ant-v4", "kwargs": {"healthy_reward": 2}})
        demos = Demonstrations.load(minari)
        assert (demos.env_id, demos.env_kwargs) == ("Ant-v4", {"healthy_reward": 2})

    def test_episodes_are_in_the_order_of_their_numbers(self, minari: Path) -> None:
        import h5py

        with h5py.File(minari / "data" / "main_data.hdf5", "a") as file:
            for number in (10, 2):
                file.copy("episode_0", f"episode_{number}")
                file[f"episode_{number}/rewards"][:] = number
        assert Demonstrations.load(minari).returns.tolist() == [4, 8, 40]

    def test_info_describes_it(self, minari: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["info", str(minari)])
        assert "InvertedPendulum-v5" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("spec", "expected"),
        [("{", None), ("[" * 3000, None), ('{"id": 5}', None), ('{"id": "a"}', "a")],
    )
    def test_a_damaged_specification_is_passed_over(
        self, minari: Path, spec: str, expected: str | None
    ) -> None:
        (minari / "data" / "metadata.json").write_text(json.dumps({"env_spec": spec}))
        assert Demonstrations.load(minari).env_id == expected

    def test_an_id_that_is_none_is_refused(self, minari: Path) -> None:
        spec = json.dumps({"id": "\x1b[2J"})
        (minari / "data" / "metadata.json").write_text(json.dumps({"env_spec": spec}))
        with pytest.raises(InputError, match="no id of an environment"):
            Demonstrations.load(minari)


class TestD4RL:
    def test_episodes_end_at_terminals_and_timeouts(self, tmp_path: Path) -> None:
        demos = Demonstrations.load(write_d4rl(tmp_path / "hopper_expert-v2.hdf5"))
        assert demos.episode_lengths.tolist() == [4, 4, 2]
        assert np.flatnonzero(demos.terminals).tolist() == [3]
        assert np.flatnonzero(demos.truncated).tolist() == [7]
        assert demos.endings.cut_off == 1
        assert demos.returns.tolist() == [6, 22, 17]
        np.testing.assert_array_equal(demos.next_obs, demos.obs + 2)
        np.testing.assert_array_equal(demos.acts[:, 0], np.linspace(-1, 1, 10, dtype=np.float32))

    def test_files_without_next_observations_are_read(self, tmp_path: Path) -> None:
        demos = Demonstrations.load(write_d4rl(tmp_path / "d.hdf5", next_observations=None))
        assert demos.next_obs is None
        assert len(demos.state_pairs()[0]) == 7

    def test_columns_of_one_number_are_numbers(self, tmp_path: Path) -> None:
        import h5py

        flat = Demonstrations.load(write_d4rl(tmp_path / "flat.hdf5"))
        path = tmp_path / "columns.hdf5"
        write_d4rl(path)
        with h5py.File(path, "r+") as file:
            for name in ("terminals", "timeouts", "rewards"):
                values = file[name][:][:, None]
                del file[name]
                file[name] = values
        assert Demonstrations.load(path).digest == flat.digest

    def test_a_terminal_state_at_the_time_limit_is_terminal(self, tmp_path: Path) -> None:
        path = write_d4rl(tmp_path / "d.hdf5", terminals=np.arange(10) == 7)
        demos = Demonstrations.load(path)
        assert np.flatnonzero(demos.terminals).tolist() == [7]
        assert not demos.truncated.any()

    @pytest.mark.parametrize(
        ("changes", "pattern"),
        [
            ({"timeouts": None}, "no 'timeouts', so where its episodes end is not known"),
            ({"terminals": np.zeros(9, bool)}, r"'terminals' has shape \(9,\)"),
            ({"actions": np.zeros((9, 1))}, "'actions' has shape"),
            ({"rewards": np.full(10, np.nan)}, "'rews' has 10 NaN"),
            ({"observations": np.zeros((0, 2))}, "one flag per step"),
            ({"actions": np.array([b"a"] * 10)}, "'actions' holds no numbers"),
        ],
    )
    def test_what_does_not_fit_is_one_line(
        self, tmp_path: Path, changes: dict[str, Any], pattern: str
    ) -> None:
        path = write_d4rl(tmp_path / "d.hdf5", **changes)
        with pytest.raises(InputError, match=pattern):
            Demonstrations.load(path)
        refusal(path)


@pytest.mark.parametrize("signal", [9, 11])
def test_a_reader_that_crashes_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal: int
) -> None:
    crashing = tmp_path / "crashing.py"
    crashing.write_text(f"import os\nos.kill(os.getpid(), {signal})\n")
    monkeypatch.setattr(apart.foreign_arrays, "__file__", str(crashing))
    (tmp_path / "d.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    message = refusal(tmp_path / "d.hdf5")
    assert f"ended with status -{signal}" in message


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("h5py", "pyarrow"):
        (tmp_path / f"{package}.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "d.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "pip install h5py, or this package with the extra [minari]" in refusal(
        tmp_path / "d.hdf5"
    )
    assert "the extra [imitation]" in refusal(DATA / "imitation")


def test_hdf5_of_another_layout_is_named(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file.create_group("data/demo_0")
    message = refusal(tmp_path / "d.hdf5")
    assert "neither of Minari (episode_0, ...) nor of D4RL (observations, actions)" in message
    assert "it has 'data'" in message
    (tmp_path / "cut.hdf5").write_bytes((tmp_path / "d.hdf5").read_bytes()[:500])
    assert "damaged" in refusal(tmp_path / "cut.hdf5")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("d.pkl", b"\x80\x04N.", "a pickle, which runs code"),
        ("d.arrow", b"ARROW1\0\0", "a single Arrow file"),
        ("dataset_dict.json", b"{}", "a folder of several datasets"),
        ("metadata.json", b"{}", "a folder of Minari without episodes"),
        ("a.txt", b"", None),
    ],
)
def test_what_is_not_read_is_named_with_what_is(
    tmp_path: Path, name: str, content: bytes, what: str | None
) -> None:
    path = tmp_path / "given" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    given = path if path.name.startswith("d.") else tmp_path / "given"
    message = refusal(given)
    assert (what or "a folder of another kind") in message
    assert "what is read: .npz of this library and of imitation" in message
    assert "HDF5 of Minari and D4RL" in message


def test_trajectories_of_imitation_and_episodes_of_minari_are_understood_in_memory() -> None:
    types = pytest.importorskip("imitation.data.types")
    trajectory = types.TrajectoryWithRew(
        obs=np.zeros((4, 2)), acts=np.zeros((3, 1)), rews=np.ones(3), infos=None, terminal=True
    )
    demos = Demonstrations.from_episodes([trajectory])
    assert demos.returns.tolist() == [3]
    assert demos.endings.terminal == 1
    minari = pytest.importorskip("minari")
    episode = minari.EpisodeData(
        id=0, observations=np.zeros((4, 2)), actions=np.zeros((3, 1)), rewards=np.ones(3),
        terminations=np.zeros(3, bool), truncations=np.array([0, 0, 1], bool), infos={},
    )  # fmt: skip
    assert Demonstrations.from_episodes([episode]).endings.time_limit == 1


@pytest.mark.parametrize("flag", [np.nan, -1.0, 2.0])
def test_flags_of_d4rl_that_are_none_are_refused(flag: float, tmp_path: Path) -> None:
    path = write_d4rl(tmp_path / "odd.hdf5", terminals=np.full(10, flag))
    with pytest.raises(InputError, match="'terminals' holds other values than 0 and 1"):
        Demonstrations.load(path)
