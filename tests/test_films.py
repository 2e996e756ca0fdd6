"""Films show the policies that a run's folder holds, also after the run was gone on with."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from l2l_gail import rendering
from l2l_gail.comparison import compare
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.films import is_outdated, snapshot, video_file
from l2l_gail.snapshots import MOMENTS
from tests.comparison.support import events, gail_run

ENV = "Hopper-v5"


def keep_policies(run: Path, *moments: str, seed: int) -> None:
    """Write random policies as a training does, in place of those that are there."""
    generator = np.random.default_rng(seed)
    (run / "policies").mkdir(exist_ok=True)
    for moment in moments:
        path = snapshot(run, moment)
        path.unlink(missing_ok=True)
        weights = (generator.normal(size=(11, 3)).astype(np.float32),)
        MlpPolicy(np.zeros(11), np.ones(11), weights, (np.zeros(3, np.float32),)).save(path)


def shown(root: Path) -> list[str]:
    tags = events(root / "comparison" / ENV / "overview").Tags()["images"]
    return [tag.rpartition(" ")[2] for tag in tags if tag.startswith("8 policies")]


@pytest.mark.slow
def test_a_run_that_was_gone_on_with_is_filmed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "usable_backend", lambda: None)
    run = gail_run(tmp_path, "gail", 0, 200.0, config={"env": ENV}).path
    keep_policies(run, *MOMENTS, seed=0)
    compare(tmp_path, record_videos=True)
    films = {moment: video_file(run, moment) for moment in MOMENTS}
    before = {moment: path.read_bytes() for moment, path in films.items()}
    keep_policies(run, "last", seed=1)
    # Whatever the files' times say: a copy of a folder need not have kept them.
    os.utime(snapshot(run, "last"), (0, 0))
    os.utime(films["first"], (0, 0))
    compare(tmp_path)
    assert shown(tmp_path) == ["first", "middle"]
    summary = (tmp_path / "comparison" / "summary.md").read_text(encoding="utf-8")
    assert "last.gif shows the policy of before the run was gone on with" in summary
    compare(tmp_path, record_videos=True)
    assert shown(tmp_path) == list(MOMENTS)
    after = {moment: path.read_bytes() for moment, path in films.items()}
    assert [moment for moment in MOMENTS if after[moment] != before[moment]] == ["last"]


def test_of_a_film_without_the_digest_of_its_policy_the_times_decide(tmp_path: Path) -> None:
    keep_policies(tmp_path, "last", seed=0)
    film = video_file(tmp_path, "last")
    film.parent.mkdir()
    film.write_bytes(rendering.as_gif([np.zeros((20, 80, 3), np.uint8)] * 2, 0.1))
    assert not is_outdated(tmp_path, "last")
    os.utime(film, (0, 0))
    assert is_outdated(tmp_path, "last")
    snapshot(tmp_path, "last").unlink()
    assert not is_outdated(tmp_path, "last")


def test_a_film_that_is_no_picture_is_left_to_who_shows_it(tmp_path: Path) -> None:
    keep_policies(tmp_path, "last", seed=0)
    film = video_file(tmp_path, "last")
    film.parent.mkdir()
    film.write_bytes(b"GIF89a")
    assert not is_outdated(tmp_path, "last")
