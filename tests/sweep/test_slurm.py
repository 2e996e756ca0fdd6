"""The array job of docs/scale.md, its shell run by hand: one task is asked to end, one killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l2l_gail.sweep import Row
from l2l_gail.sweep.rows import state_of
from tests.sweep.support import assert_same_runs, small_sweep

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def job_script(folder: Path) -> Path:
    (block,) = re.findall(r"(#!/bin/bash\n#SBATCH.*?)```", PAGE, re.S)
    path = folder / "job.sh"
    path.write_text(block)
    programs = {
        "python": f'exec {sys.executable} "$@"',
        "srun": 'echo $$ >"task$SLURM_ARRAY_TASK_ID.pid"; exec "$@"',
        "scontrol": 'echo "$@" >>requeued',
    }
    (folder / "bin").mkdir()
    for name, line in programs.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    return path


def submit(script: Path, task: int) -> subprocess.Popen[bytes]:
    folder = script.parent
    settings = {
        "SLURM_ARRAY_JOB_ID": "77",
        "SLURM_ARRAY_TASK_ID": str(task),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / f"task{task}.log").open("a") as log:
        return subprocess.Popen(
            ["bash", str(script)], cwd=folder, env=os.environ | settings, stdout=log, stderr=log
        )


def send_once_it_has_a_checkpoint(number: int, folder: Path, row: Row, out: Path) -> None:
    run = out / row.group / row.folder / f"seed{row.seed}"
    end = time.monotonic() + 120
    while not (run / "checkpoint.pt").exists():
        assert time.monotonic() < end, (folder / f"task{row.index}.log").read_text()
        time.sleep(0.005)
    os.kill(int((folder / f"task{row.index}.pid").read_text()), number)


@pytest.mark.slow
def test_array_tasks_that_are_ended_and_killed_are_gone_on_with(tmp_path: Path) -> None:
    spec = small_sweep(tmp_path)
    script = job_script(tmp_path)
    ended, killed = spec.rows[:2]
    tasks = []
    for number, row in ((signal.SIGTERM, ended), (signal.SIGKILL, killed)):
        tasks.append(submit(script, row.index))  # one by one: none is done before its signal
        send_once_it_has_a_checkpoint(number, tmp_path, row, spec.out)
    assert [task.wait(120) for task in tasks] == [128 + signal.SIGTERM, 128 + signal.SIGKILL]
    assert (tmp_path / "requeued").read_text() == "requeue 77_0\n"
    assert [state_of(row, spec.out) for row in (ended, killed)] == ["begun", "begun"]

    tasks = [submit(script, row.index) for row in (ended, killed)]  # as the scheduler does
    assert [task.wait(120) for task in tasks] == [0, 0]
    for row in (ended, killed):
        assert "goes on after step" in (tmp_path / f"task{row.index}.log").read_text()
    assert_same_runs((ended, killed), spec.out, tmp_path / "by hand")
