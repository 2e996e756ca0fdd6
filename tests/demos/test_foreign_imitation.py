"""Demonstrations of imitation: what the real library wrote, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from tests.demos.test_demos import refusal

DATA = Path(__file__).parent / "data"


def save(folder: Path, **columns: Any) -> None:
    """Write a folder as imitation does, of columns that are not None."""
    pa = pytest.importorskip("pyarrow")
    table = pa.table({name: v for name, v in columns.items() if v is not None})
    with pa.OSFile(str(folder / "d.arrow"), "wb") as sink:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "d.arrow"}]}')


class TestImitation:
    def check(self, demos: Demonstrations) -> None:
        """What ``data/make.py`` gave to imitation."""
        assert demos.episode_lengths.tolist() == [4, 3, 5]
        for number, (start, length) in enumerate(
            zip(demos.episode_starts, demos.episode_lengths, strict=True)
        ):
            states = 100 * number + np.arange(3 * (length + 1)).reshape(-1, 3)
            steps = slice(start, start + length)
            np.testing.assert_array_equal(demos.obs[steps], states[:-1])
            np.testing.assert_array_equal(demos.next_obs[steps], states[1:])
            acts = (np.arange(2 * length).reshape(-1, 2) / 100 + number).astype(np.float32)
            np.testing.assert_array_equal(demos.acts[steps], acts)
            np.testing.assert_array_equal(demos.rews[steps], np.arange(length) + 0.5)
        assert np.flatnonzero(demos.terminals).tolist() == [3, 11]
        assert demos.obs.dtype == np.float32

    def test_the_folder_that_it_saved_is_read(self) -> None:
        pytest.importorskip("pyarrow")
        self.check(Demonstrations.load(DATA / "imitation"))

    def test_its_parquet_files_are_read_as_the_hub_has_them(self, tmp_path: Path) -> None:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        with pa.OSFile(str(DATA / "imitation" / "data-00000-of-00001.arrow")) as file:
            table = pa.ipc.open_stream(file).read_all()
        digest = Demonstrations.load(DATA / "imitation").digest
        folder = tmp_path / "clone" / "data"
        folder.mkdir(parents=True)
        for number in range(3):
            shard = folder / f"train-{number:05}-of-00003-0a9f.parquet"
            pq.write_table(table.slice(number, 1), shard)
        assert Demonstrations.load(folder.parent).digest == digest
        assert Demonstrations.load(shard).episode_lengths.tolist() == [5]
        shard.unlink()
        assert "data has 2 of its 3 files" in refusal(folder.parent)
        pq.write_table(table, folder / "test.parquet")
        assert "several splits, test, train: give a file, or" in refusal(folder)

    def test_parquet_files_are_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        for number in (10, 9, 0):
            table = pa.table({"obs": [[number, 1]], "acts": [[0]], "terminal": [False]})
            pq.write_table(table, tmp_path / f"part_{number}.parquet")
        assert Demonstrations.load(tmp_path).obs.tolist() == [0, 9, 10]

    @pytest.mark.parametrize(
        ("columns", "said"),
        [
            (
                {"state": [1.0]},
                "no column 'obs', so it is no set of imitation's trajectories; what",
            ),
            ({"obs": [[[[1.0]], [[2.0]]]], "acts": [[0]], "terminal": [True]}, "only flat 'obs'"),
        ],
    )
    def test_parquet_files_of_another_kind_are_one_line(
        self, tmp_path: Path, columns: dict[str, Any], said: str
    ) -> None:
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.table(columns), tmp_path / "d.parquet")
        assert said in refusal(tmp_path)

    def npz(self, path: Path, **changes: Any) -> Path:
        """As imitation wrote before it used `datasets`; ``infos`` is pickled in it."""
        lengths = (4, 3, 5)
        arrays = {
            "obs": np.concatenate(
                [(100 * k + np.arange(3 * (n + 1))).reshape(-1, 3) for k, n in enumerate(lengths)]
            ).astype(np.float32),
            "acts": np.concatenate(
                [np.arange(2 * n).reshape(-1, 2) / 100 + k for k, n in enumerate(lengths)]
            ).astype(np.float32),
            "rews": np.concatenate([np.arange(n) + 0.5 for n in lengths]),
            "infos": np.array([{}] * 12, dtype=object),
            "terminal": np.array([True, False, True]),
            "indices": np.array([4, 7]),
        } | changes
        np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
        return path

    def test_the_archive_that_it_wrote_is_read_without_its_pickles(self, tmp_path: Path) -> None:
        self.check(Demonstrations.load(self.npz(tmp_path / "d.npz")))

    def test_rewards_may_be_missing(self, tmp_path: Path) -> None:
        assert Demonstrations.load(self.npz(tmp_path / "d.npz", rews=None)).rews is None

    def test_an_end_after_1000_steps_is_the_time_limit(self, tmp_path: Path) -> None:
        path = self.npz(
            tmp_path / "d.npz", obs=np.zeros((1001, 3)), acts=np.zeros((1000, 1)), rews=None,
            terminal=np.array([True]), indices=np.array([], int),
        )  # fmt: skip
        demos = Demonstrations.load(path)
        assert demos.truncated[-1]
        assert not demos.terminals.any()

    def test_a_single_trajectory_begins_nowhere_else(self, tmp_path: Path) -> None:
        starts = np.cumsum([])  # floats, as imitation wrote them
        path = self.npz(tmp_path / "d.npz", terminal=np.array([True]), indices=starts, rews=None,
                        obs=np.arange(26.0).reshape(13, 2))  # fmt: skip
        demos = Demonstrations.load(path)
        assert demos.episode_lengths.tolist() == [12]
        np.testing.assert_array_equal(demos.next_obs[-1], [24, 25])
        with pytest.raises(InputError, match="each trajectory has a step at least"):
            Demonstrations.load(
                self.npz(path, terminal=np.array([True]), indices=starts, acts=np.zeros((0, 2)))
            )

    @pytest.mark.parametrize(
        ("changes", "pattern"),
        [
            ({"indices": np.array([7, 4])}, "'indices' do not rise"),
            ({"indices": np.array([4, 2**63], np.uint64)}, "'indices' are no steps"),
            ({"indices": np.array([4])}, r"'terminal' has shape \(3,\)"),
            ({"obs": np.zeros((14, 3))}, "'obs' has shape"),
            ({"rews": np.zeros(3)}, "'rews' has shape"),
        ],
    )
    def test_what_does_not_fit_is_one_line(
        self, tmp_path: Path, changes: dict[str, Any], pattern: str
    ) -> None:
        path = self.npz(tmp_path / "d.npz", **changes)
        with pytest.raises(InputError, match=pattern):
            Demonstrations.load(path)
        refusal(path)

    @pytest.mark.parametrize(
        ("state", "pattern"),
        [
            ({"_data_files": [{"filename": "../secret"}]}, "names no files of it"),
            ({"_data_files": [{"filename": "gone.arrow"}]}, "gone.arrow does not exist"),
            ({"_data_files": 3}, "names no files of it"),
            ({"_data_files": [{"filename": "d.arrow"}], "_indices_files": ["i"]}, "a selection"),
        ],
    )
    def test_a_folder_that_points_elsewhere_is_refused(
        self, tmp_path: Path, state: dict[str, Any], pattern: str
    ) -> None:
        (tmp_path / "state.json").write_text(json.dumps(state))
        with pytest.raises(InputError, match=pattern):
            Demonstrations.load(tmp_path)

    def test_steps_of_discrete_spaces_are_numbers(self, tmp_path: Path) -> None:
        save(
            tmp_path,
            obs=[[3, 1, 2], [0, 5]],
            acts=[[1, 0], [1]],
            terminal=[True, False],
        )
        demos = Demonstrations.load(tmp_path)
        assert (demos.acts.tolist(), demos.acts.dtype.kind) == ([1, 0, 1], "i")
        assert (demos.obs.tolist(), demos.next_obs.tolist()) == ([3, 1, 0], [1, 2, 5])

    @pytest.mark.parametrize(
        ("column", "values", "pattern"),
        [
            ("obs", [[[1.0, 2.0], [3.0]]], "rows of different widths"),
            ("obs", [[[[1.0]], [[2.0]]]], "'obs' is no list of numbers, nor of lists of numbers"),
            ("obs", [1.0], "'obs' is no list of numbers, nor"),
            ("rews", [[[1.0]]], "'rews' is no list of numbers; only"),
            ("obs", [[[None, 2.0], [3.0, 1.0]]], "'obs' has missing values"),
            ("acts", [[["a"]]], "'acts' holds 'string', no numbers"),
            ("terminal", [1.5], None),
            ("acts", [[[1.0], [1.0], [1.0]]], "'obs' has 2 rows and 'acts' 3"),
            ("terminal", None, "no column 'terminal'"),
        ],
    )
    def test_columns_that_do_not_fit_are_one_line(
        self, tmp_path: Path, column: str, values: Any, pattern: str | None
    ) -> None:
        columns = {"obs": [[[1.0, 2.0], [3.0, 4.0]]], "acts": [[[1.0]]], "terminal": [True]}
        save(tmp_path, **columns | {column: values})
        if pattern is None:
            assert Demonstrations.load(tmp_path).endings.terminal == 1
            return
        with pytest.raises(InputError, match=pattern):
            Demonstrations.load(tmp_path)
