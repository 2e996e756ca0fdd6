"""Demonstrations in tables, Arrow and Parquet: Minari's and LeRobot's, and what is refused.

``data/`` holds what the two libraries wrote, see ``data/make.py``.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from l2l_gail.demos import Demonstrations
from tests.demos.test_demos import refusal
from tests.demos.test_foreign import DATA

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

KINDS = ("arrow", "parquet")


def copied(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(DATA / name, folder / name))


def rewrite(path: Path, **changes: Any) -> None:
    """Change columns of a Parquet file; None takes one out."""
    columns = {name: column for name, column in pq.read_table(path).to_pydict().items()} | changes
    pq.write_table(pa.table({n: c for n, c in columns.items() if c is not None}), path)


class TestMinari:
    @pytest.mark.parametrize("kind", KINDS)
    def test_what_was_recorded_is_what_gymnasium_plays(self, kind: str) -> None:
        demos = Demonstrations.load(DATA / f"minari_{kind}")
        assert demos.env_id == "InvertedPendulum-v5"
        assert demos.env_kwargs == {"max_episode_steps": 4}
        assert demos.episode_lengths.tolist() == [4, 4]
        assert demos.next_obs is not None
        env = gymnasium.make("InvertedPendulum-v5")
        for seed, start in zip((3, 4), demos.episode_starts, strict=True):
            obs, _ = env.reset(seed=seed)
            for row in range(start, start + 4):
                np.testing.assert_allclose(demos.obs[row], obs, atol=1e-12)
                obs, reward, terminated, _, _ = env.step(demos.acts[row])
                np.testing.assert_allclose(demos.next_obs[row], obs, atol=1e-12)
                assert demos.rews[row] == reward
                assert demos.terminals[row] == terminated
        assert np.flatnonzero(demos.truncated).tolist() == [3, 7]
        env.close()

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_formats_hold_the_same_as_a_folder_and_by_id(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = tmp_path / "cart" / "small-v0"
        shutil.copytree(DATA / f"minari_{kind}", root / "data")
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
        found = {Demonstrations.load(each).digest for each in (root, root / "data")}
        found |= {Demonstrations.load("cart/small-v0").digest}
        assert found == {Demonstrations.load(DATA / "minari_arrow").digest}

    def test_episodes_are_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        folder = copied("minari_parquet", tmp_path)
        metadata = json.loads((folder / "metadata.json").read_text())
        (folder / "metadata.json").write_text(json.dumps(metadata | {"total_episodes": 4}))
        for number in (2, 10):
            shutil.copytree(folder / "0", folder / str(number))
        for number in (0, 1, 2, 10):
            rewrite(folder / str(number) / "part-0.parquet", rewards=[number] * 5)
        assert Demonstrations.load(folder).returns.tolist() == [0, 4, 8, 40]

    def test_arrays_have_the_shape_of_their_space(self, tmp_path: Path) -> None:
        folder = copied("minari_arrow", tmp_path)
        metadata = json.loads((folder / "metadata.json").read_text())
        space = metadata["observation_space"].replace('"shape": [4]', '"shape": [2, 2]')
        (folder / "metadata.json").write_text(json.dumps(metadata | {"observation_space": space}))
        assert Demonstrations.load(folder).obs.shape == (8, 2, 2)

    def test_classes_stay_whole_numbers(self, tmp_path: Path) -> None:
        folder = copied("minari_parquet", tmp_path)
        for number in "01":
            rewrite(folder / number / "part-0.parquet", actions=[1, 0, 2, 1, 0])
        demos = Demonstrations.load(folder)
        assert demos.acts.tolist() == [1, 0, 2, 1] * 2
        assert demos.acts.dtype == np.int64

    @pytest.mark.parametrize("space", ["{", "[" * 3000, "3", '{"shape": ["a"]}', '{"shape": [9]}'])
    def test_a_damaged_space_is_passed_over(self, tmp_path: Path, space: str) -> None:
        folder = copied("minari_arrow", tmp_path)
        (folder / "metadata.json").write_text(json.dumps({"observation_space": space}))
        assert Demonstrations.load(folder).obs.shape == (8, 4)

    def test_a_dataset_that_lacks_an_episode_is_refused(self, tmp_path: Path) -> None:
        folder = copied("minari_arrow", tmp_path)
        (folder / "1" / "part-0.arrow").unlink()
        assert "1 tables in 2 episodes" in refusal(folder)
        shutil.rmtree(folder / "1")
        assert "1 of its 2 episodes" in refusal(folder)

    @pytest.mark.parametrize(
        ("changes", "pattern"),
        [
            ({"rewards": None}, "no column 'rewards'"),
            ({"observations": [b"\xff\xd8"] * 5}, "'observations' holds 'binary'"),
            ({"observations": [{"a": 1.0}] * 5}, "'observations' holds 'struct"),
            ({"observations": [[1.0], [1.0, 2.0], [1.0], [1.0], [1.0]]}, "different widths"),
            ({"actions": [[0.0], [0.0], None, [0.0], [0.0]]}, "'actions' has missing values"),
            ({"actions": [[[0.0]]] * 5}, "'actions' has lists in lists"),
            ({"rewards": [1.0, float("nan"), 1.0, 1.0, 0.0]}, "'rews' has 1 NaN"),
        ],
    )
    def test_columns_that_do_not_fit_are_one_line(
        self, tmp_path: Path, changes: dict[str, Any], pattern: str
    ) -> None:
        folder = copied("minari_parquet", tmp_path)
        shutil.rmtree(folder / "1")
        (folder / "metadata.json").write_text("{}")
        rewrite(folder / "0" / "part-0.parquet", **changes)
        assert pattern in refusal(folder)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_file_that_is_cut_off_is_one_line(self, tmp_path: Path, kind: str) -> None:
        folder = copied(f"minari_{kind}", tmp_path)
        path = folder / "0" / f"part-0.{kind}"
        path.write_bytes(path.read_bytes()[:700])
        assert "damaged" in refusal(folder)


class TestLeRobot:
    def test_what_was_recorded_is_read(self) -> None:
        demos = Demonstrations.load(DATA / "lerobot")
        assert demos.episode_lengths.tolist() == [4, 3, 5]
        for number, (start, length) in enumerate(
            zip(demos.episode_starts, demos.episode_lengths, strict=True)
        ):
            steps = slice(start, start + length)
            states = 100 * number + np.arange(3 * length).reshape(-1, 3)
            np.testing.assert_array_equal(demos.obs[steps], states)
            acts = (np.arange(2 * length).reshape(-1, 2) / 100 + number).astype(np.float32)
            np.testing.assert_array_equal(demos.acts[steps], acts)
            np.testing.assert_array_equal(demos.rews[steps], np.arange(length) + 0.5)

    def test_ends_are_not_known(self) -> None:
        demos = Demonstrations.load(DATA / "lerobot")
        assert demos.endings.cut_off == 3
        assert demos.next_obs is None

    def test_frames_are_in_their_order_whatever_file_they_lie_in(self, tmp_path: Path) -> None:
        folder = copied("lerobot", tmp_path)
        path = folder / "data" / "chunk-000" / "file-000.parquet"
        table = pq.read_table(path)
        pq.write_table(table.slice(5), path)
        (folder / "data" / "chunk-001").mkdir()
        later = folder / "data" / "chunk-001" / "episode_000000.parquet"  # as version 2 names them
        pq.write_table(table.slice(0, 5), later)
        assert Demonstrations.load(folder).digest == Demonstrations.load(DATA / "lerobot").digest

    def test_a_single_number_is_a_row_of_one(self, tmp_path: Path) -> None:
        folder = copied("lerobot", tmp_path)
        rewrite(folder / "data" / "chunk-000" / "file-000.parquet", action=[0.5] * 12)
        assert Demonstrations.load(folder).acts.shape == (12, 1)

    @pytest.mark.slow
    def test_numbers_that_are_left_out_are_named(self, tmp_path: Path) -> None:
        folder = copied("lerobot", tmp_path)
        info = json.loads((folder / "meta" / "info.json").read_text())
        for name, dtype in (
            ("observation.environment_state", "float32"),
            ("observation.images.top", "video"),
            ("next.success", "bool"),
        ):
            info["features"][name] = {"dtype": dtype, "shape": [1]}
        (folder / "meta" / "info.json").write_text(json.dumps(info))
        named = "left out are next.success, observation.environment_state: to learn from them"
        with pytest.warns(UserWarning, match=named) as caught:
            demos = Demonstrations.load(folder)
        assert [one.filename for one in caught] == [__file__]
        assert demos.endings.cut_off == 3
        for features in (None, [], {"observation.a": 3}):
            (folder / "meta" / "info.json").write_text(json.dumps(info | {"features": features}))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                Demonstrations.load(folder)

    def test_rewards_may_be_missing(self, tmp_path: Path) -> None:
        folder = copied("lerobot", tmp_path)
        rewrite(folder / "data" / "chunk-000" / "file-000.parquet", **{"next.reward": None})
        assert Demonstrations.load(folder).rews is None

    @pytest.mark.parametrize(
        ("changes", "pattern"),
        [
            ({"observation.state": None}, "no column 'observation.state'"),
            ({"index": [0.5] * 12}, "'index' holds no whole numbers"),
            ({"index": [0] * 12}, "'index' has frames twice"),
            ({"episode_index": [[0]] * 12}, "'episode_index' holds no whole numbers"),
        ],
    )
    def test_columns_that_do_not_fit_are_one_line(
        self, tmp_path: Path, changes: dict[str, Any], pattern: str
    ) -> None:
        folder = copied("lerobot", tmp_path)
        rewrite(folder / "data" / "chunk-000" / "file-000.parquet", **changes)
        assert pattern in refusal(folder)

    def test_a_dataset_that_lacks_frames_is_refused(self, tmp_path: Path) -> None:
        folder = copied("lerobot", tmp_path)
        path = folder / "data" / "chunk-000" / "file-000.parquet"
        pq.write_table(pq.read_table(path).slice(0, 9), path)
        assert "9 of its 12 frames" in refusal(folder)
        path.unlink()
        assert "no data/chunk-*/*.parquet" in refusal(folder)


def test_a_table_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    folder = copied("minari_parquet", tmp_path)
    path = folder / "0" / "part-0.parquet"
    pq.write_table(pa.table({"observations": np.zeros(40_000_000, np.int8)}), path)
    assert path.stat().st_size < 200_000
    assert "would take the arrays beyond" in refusal(folder)
