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

    @pytest.mark.parametrize(
        ("column", "values", "pattern"),
        [
            ("obs", [[[1.0, 2.0], [3.0]]], "rows of different widths"),
            ("obs", [[1.0, 2.0]], "'obs' is not 2 lists deep"),
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
        pa = pytest.importorskip("pyarrow")
        columns = {"obs": [[[1.0, 2.0], [3.0, 4.0]]], "acts": [[[1.0]]], "terminal": [True]}
        columns[column] = values
        table = pa.table({name: v for name, v in columns.items() if v is not None})
        with pa.OSFile(str(tmp_path / "d.arrow"), "wb") as sink:
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "d.arrow"}]}')
        if pattern is None:
            assert Demonstrations.load(tmp_path).endings.terminal == 1
            return
        with pytest.raises(InputError, match=pattern):
            Demonstrations.load(tmp_path)
