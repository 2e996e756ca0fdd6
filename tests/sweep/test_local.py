"""Sweeps in processes of this machine: killed, resumed, one row alone."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from l2l_gail.errors import InputError
from l2l_gail.jobs import settle_jobs
from l2l_gail.progress import Tell, silent
from l2l_gail.runs import RunFolder
from l2l_gail.sweep.__main__ import main
from l2l_gail.sweep.local import run_local
from l2l_gail.sweep.rows import Row, prepare, run_row, state_of
from tests.sweep.support import Killer, assert_same_runs, small_sweep, write_spec


def process_of(title: str) -> int | None:
    return next((p.pid for p in multiprocessing.active_children() if p.name == title), None)


@pytest.mark.slow
def test_a_sweep_whose_worker_is_killed_equals_runs_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_sweep(tmp_path)
    rows, row = spec.rows[:3], spec.rows[1]
    assert row.title == "1 synthetic grad_l2l seed 0"
    folder = spec.out / row.group / row.folder / "seed0"
    with Killer(folder, lambda: process_of(row.title)) as killer:
        outcome = run_local(rows, workers=2, retries=2)
    assert killer.killed is not None
    assert not outcome.failures
    assert set(outcome.results) == {row.title for row in rows}
    told = capsys.readouterr().err
    assert f"{row.title}  the process ended with status -9; begun again, 1 more" in told
    assert f"{row.title}  goes on after step" in told
    assert_same_runs(rows, spec.out, tmp_path / "by hand")


@pytest.mark.slow
def test_a_row_that_is_killed_too_often_fails_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_sweep(tmp_path)
    row = spec.rows[0]
    folder = spec.out / row.group / row.folder / "seed0"
    command = [str(spec.path), "--index", "0-1", "--workers", "2", "--retries", "0"]
    with Killer(folder, lambda: process_of(row.title)) as killer:
        with pytest.raises(SystemExit) as caught:
            main(command)
    assert killer.killed is not None
    assert caught.value.code == 1
    captured = capsys.readouterr()
    assert "1 of 2 rows are finished" in captured.out
    assert f"failed: {row.title}: the process ended with status -9" in captured.err
    assert [state_of(row, spec.out) for row in spec.rows] == ["begun", "finished", "new", "new"]

    main([str(spec.path), "--index", "0"])  # in this process
    captured = capsys.readouterr()
    assert "goes on after step" in captured.err
    assert "1 of 1 rows are finished" in captured.out
    main([str(spec.path), "--index", "0-1"])
    assert "2 rows, 2 finished already" in capsys.readouterr().out
    assert sorted(path.name for path in folder.parent.iterdir()) == ["seed0"]


def test_a_dry_run_lists_the_rows_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_sweep(tmp_path)
    main([str(spec.path), "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:6]] == [
        ["0", "train_cifar", "synthetic", "-", "pgd", "0", "new"],
        ["1", "train_cifar", "synthetic", "-", "grad_l2l", "0", "new"],
        ["2", "train_cifar", "synthetic", "-", "pgd", "1", "new"],
        ["3", "train_cifar", "synthetic", "-", "grad_l2l", "1", "new"],
    ]
    assert lines[-1] == "4 rows: 4 new, 0 begun, 0 finished"
    assert not spec.out.exists()


def test_a_row_in_which_another_process_trains_is_left_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_sweep(tmp_path)
    row = spec.rows[0]
    folder = RunFolder.create(spec.out, row.group, row.folder, row.seed)
    with folder.owned():
        assert state_of(row, spec.out) == "running"
        main([str(spec.path), "--dry-run"])
        assert "4 rows: 3 new, 0 begun, 1 running, 0 finished" in capsys.readouterr().out
        with pytest.raises(SystemExit) as ended:
            main([str(spec.path), "--index", "0"])
    assert ended.value.code == os.EX_TEMPFAIL
    told = capsys.readouterr()
    assert "0 of 1 rows are finished" in told.out
    assert f"being trained by another process: {row.title}\n" in told.out
    assert "failed" not in told.err
    assert state_of(row, spec.out) == "begun"


def test_rows_that_another_process_had_are_looked_at_again_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_sweep(tmp_path)
    places = [spec.out / row.group / row.folder / f"seed{row.seed}" for row in spec.rows]
    turns: list[list[int]] = []

    def launch(rows: Sequence[Row], **_: int) -> Done:
        turns.append([row.index for row in rows])

        def train(row: Row, tell: Tell) -> bool:
            places[row.index].mkdir(parents=True, exist_ok=True)
            if row.index == 3 and len(turns) == 1:
                (places[2] / "summary.json").write_text("{}")  # by who had row 2
            if row.index in (0, 3) or len(turns) == 2:
                (places[row.index] / "summary.json").write_text("{}")
                return True
            return False

        return Done(rows, train)

    monkeypatch.setattr("l2l_gail.sweep.__main__.run_local", launch)
    main([str(spec.path)])
    assert turns == [[0, 1, 2, 3], [1]]
    assert "4 of 4 rows are finished" in capsys.readouterr().out


def test_a_damaged_summary_is_its_own_row_s_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_sweep(tmp_path)
    row = spec.rows[1]
    folder = RunFolder.create(spec.out, row.group, row.folder, row.seed)
    folder.summary.write_text("{")
    main([str(spec.path), "--dry-run"])
    assert "3 new, 0 begun, 0 finished, 1 damaged" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"summary\.json is damaged: move the folder of that run"):
        run_row(row, silent)
    started: list[Row] = []
    monkeypatch.setattr(
        "l2l_gail.sweep.__main__.run_local",
        lambda rows, **_: Done(rows, lambda row, tell: started.append(row)),
    )
    main([str(spec.path)])
    assert started == list(spec.rows)


def test_a_row_whose_checkpoint_is_gone_fails_by_that_line(tmp_path: Path) -> None:
    spec = small_sweep(tmp_path)
    row = spec.rows[0]
    folder = RunFolder.create(spec.out, row.group, row.folder, row.seed)
    (plan,) = prepare(row.script, row.arguments)[1].plans
    folder.write_config(plan.record)
    (folder.path / "model.pt").touch()
    outcome = settle_jobs(run_row, {row.title: row}, workers=1, threads=1)
    (why,) = outcome.failures.values()
    assert "holds model.pt and its checkpoint is gone: bring it back" in str(why)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--index", "4"], "--index 4: .*sweep.toml has 4 rows, from 0 on"),
        (["--index", "x"], "--index 'x': give numbers and ranges"),
        (["--workers", "-1"], "--workers must be 0 or more"),
        (["--launcher", "slurm"], "launcher"),
    ],
)
def test_wrong_flags_are_one_line(tmp_path: Path, flags: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        main([str(write_spec(tmp_path)), *flags])
    assert not (tmp_path / "runs").exists()


def test_a_longer_gail_run_goes_on_and_one_of_full_length_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(steps: int) -> str:
        main([str(write_spec(tmp_path, GAIL.replace("STEPS", str(steps))))])
        return capsys.readouterr().out.splitlines()[0]

    trained = []

    def train(row: Row, tell: Tell) -> None:
        (folder,) = (tmp_path / "runs/Hopper-v5").rglob("seed0")
        trained.append(row.steps)
        (folder / "summary.json").write_text(f'{{"steps": {row.steps + 100}}}')

    monkeypatch.setattr("l2l_gail.sweep.__main__.run_local", lambda rows, **_: Done(rows, train))
    RunFolder.create(tmp_path / "runs", "Hopper-v5", "gail", 0)
    assert [run(1000), run(1050), run(1150)] == [
        "1 rows, 0 finished already",
        "1 rows, 1 finished already",
        "1 rows, 0 finished already",
    ]
    assert trained == [1000, 1150]


def test_a_method_that_takes_no_steps_is_finished_with_its_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(row: Row, tell: Tell) -> None:
        (folder,) = (tmp_path / "runs/Hopper-v5").rglob("seed0")
        (folder / "summary.json").write_text('{"steps": 0, "gradient_steps": 5000}')

    monkeypatch.setattr("l2l_gail.sweep.__main__.run_local", lambda rows, **_: Done(rows, train))
    RunFolder.create(tmp_path / "runs", "Hopper-v5", "bc", 0)
    spec = write_spec(tmp_path, GAIL.replace("STEPS", "1000").replace('"gail"', '"bc"'))
    said = []
    for _ in range(2):
        main([str(spec)])
        said.append(capsys.readouterr().out.splitlines()[0])
    assert said == ["1 rows, 0 finished already", "1 rows, 1 finished already"]


GAIL = """
out = "{out}"
[train_gail]
methods = ["gail"]
flags = {{ total_timesteps = STEPS }}
"""


class Done:
    """A launcher's word that all rows are done."""

    def __init__(self, rows: Sequence[Row], train: Callable[[Row, Tell], bool | None]) -> None:
        self.failures: dict[str, str] = {}
        self.results = {row.title: train(row, silent) for row in rows}
