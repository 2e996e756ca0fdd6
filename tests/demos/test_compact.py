"""Compact files of demonstrations: no observation twice, and nothing lost by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from l2l_gail.demos import Demonstrations
from tests.demos.test_demos import make_arrays, refusal, write


def test_a_compact_file_is_read_as_what_was_saved_and_is_smaller(tmp_path: Path) -> None:
    arrays = make_arrays(300, 1, 500)
    inside = np.setdiff1d(np.arange(801), [299, 300, 800])
    arrays["next_obs"][inside] = arrays["obs"][inside + 1]
    demos = Demonstrations(**arrays)
    demos.save(tmp_path / "whole.npz")
    demos.save(tmp_path / "compact.npz", compact=True)
    again = Demonstrations.load(tmp_path / "compact.npz")
    assert again.digest == demos.digest
    np.testing.assert_array_equal(again.next_obs, demos.next_obs)
    sizes = [(tmp_path / name).stat().st_size for name in ("compact.npz", "whole.npz")]
    assert sizes[0] < 0.7 * sizes[1]
    with np.load(tmp_path / "compact.npz") as file:
        assert file["final_obs"].shape == (3, 4)
        assert "next_obs" not in file.files


def test_observations_that_do_not_follow_one_another_are_kept(tmp_path: Path) -> None:
    demos = Demonstrations(**make_arrays(3, 5))  # all rows are drawn by themselves
    demos.save(tmp_path / "a.npz", compact=True)
    assert Demonstrations.load(tmp_path / "a.npz").digest == demos.digest
    with np.load(tmp_path / "a.npz") as file:
        assert "next_obs" in file.files


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a | {"final_obs": a["final_obs"][:1]},
        lambda a: a | {"final_obs": a["final_obs"][:, :2]},
        lambda a: a | {"final_obs": a["final_obs"].astype(np.float16)},
        lambda a: a | {"episode_lengths": np.array([3, 4])},
        lambda a: a | {"episode_lengths": np.array([2**63, 2**63], dtype=np.uint64)},
        lambda a: a | {"episode_lengths": np.array([3.0, 5.0])},
        lambda a: a | {"episode_lengths": np.array([-1, 9])},
        lambda a: a | {"obs": a["obs"][:, 0]},
    ],
)
def test_final_observations_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[dict], dict]
) -> None:
    arrays = make_arrays(3, 5)
    arrays["final_obs"] = arrays.pop("next_obs")[[2, 7]]
    assert "'final_obs' has shape" in refusal(write(tmp_path / "a.npz", change(arrays)))
