"""The same sweep on a Ray that is started for it, one of its workers killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from l2l_gail.sweep.on_ray import run_on_ray
from l2l_gail.sweep.rows import state_of
from tests.sweep.support import Killer, assert_same_runs, small_sweep

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'l2l_gail[cluster]'")


def worker_in(folder: Path) -> int | None:
    """The process that holds the lock of a run's folder."""
    lock = folder / ".lock"
    if not lock.exists():
        return None
    inode = lock.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        _, kind, _, _, process, place, *_ = line.split()
        if kind == "FLOCK" and int(place.rpartition(":")[2]) == inode and int(process) > 0:
            return int(process)
    return None


def test_a_sweep_on_ray_whose_worker_is_killed_equals_runs_by_hand(tmp_path: Path) -> None:
    spec = small_sweep(tmp_path)
    rows, row = spec.rows[:3], spec.rows[1]
    folder = spec.out / row.group / row.folder / "seed0"
    with Killer(folder, lambda: worker_in(folder)) as killer:
        outcome = run_on_ray(rows, workers=2, retries=2)
    assert killer.killed not in (None, os.getpid())
    assert not outcome.failures
    assert set(outcome.results) == {row.title for row in rows}
    assert_same_runs(rows, spec.out, tmp_path / "by hand")


def test_a_worker_of_ray_that_is_killed_too_often_is_said(tmp_path: Path) -> None:
    spec = small_sweep(tmp_path)
    row = spec.rows[0]
    folder = spec.out / row.group / row.folder / "seed0"
    with Killer(folder, lambda: worker_in(folder)) as killer:
        outcome = run_on_ray(spec.rows[:2], workers=2, retries=0)
    assert killer.killed is not None
    assert list(outcome.failures) == [row.title]
    assert state_of(row, spec.out) == "begun"
    assert state_of(spec.rows[1], spec.out) == "finished"
    assert not run_on_ray(spec.rows[:1], workers=0, retries=0).failures
    assert state_of(row, spec.out) == "finished"
