"""The script: its help, its mistakes, its data, and a short run of all methods."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import train_cifar
from adv_training.download import reachable
from l2l_gail import jobs
from l2l_gail.core import L2LTrainer
from l2l_gail.core import trainer as core_trainer
from l2l_gail.errors import InputError
from l2l_gail.jobs import run_jobs
from l2l_gail.progress import Message, Tell
from tests.adv_training.support import write_cifar10

ROOT = Path(__file__).resolve().parent.parent
TINY = ["--model", "tiny_cnn", "--epochs", "1", "--batch-size", "50", "--train-size", "300"]
SHORT = ["--data", "synthetic", *TINY, "--eval-size", "60"]


def script(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "train_cifar.py"), *args],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, no variable that names data, no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("L2L_GAIL_DATA", raising=False)
    monkeypatch.setattr("adv_training.download.urllib.request.urlopen", _refuse)
    assert not reachable()


def _refuse(*args: Any, **options: Any) -> Any:
    raise OSError("no network")


def test_help_fits_80_columns_and_explains_every_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        train_cifar.main(["--help"])
    assert not caught.value.code
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    for flag in (
        *("--data", "--data-dir", "--method", "--pgd-steps", "--model", "--epochs"),
        *("--batch-size", "--seed", "--device", "--out", "--resume"),
    ):
        assert f"{flag} " in text or f"{flag}," in text
    flowing = " ".join(text.replace("│", " ").split())
    assert flowing.count("(default: ") == len(train_cifar.Config.__dataclass_fields__)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--sed", "1"], "perhaps you meant --seed"),
        (["--method", "pdg"], "pdg"),
        (["--epochs", "many"], "epochs"),
        (["--epochs", "0"], "--epochs 0 must be at least 1"),
        ([*SHORT, "--batch-size", "1000"], "--batch-size 1000"),
        (["--data", "synthetic", "--device", "cuda:99"], "device cuda:99"),
        (["--data", "synthetic", "--device", "potato"], "device potato"),
        (["--data", "synthetic", "--train-size", "3"], "--train-size 3"),
    ],
)
def test_mistakes_are_one_line_before_any_run(tmp_path: Path, args: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        train_cifar.main([*args, "--out", str(tmp_path / "runs")])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_mistake_ends_the_process_with_status_2(tmp_path: Path) -> None:
    done = script("--sed", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["error: unknown flag --sed; perhaps you meant --seed"]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("args", [["--data", "cifar10"], ["--data-dir", "empty"]])
def test_cifar10_that_cannot_be_had_is_said(args: list[str]) -> None:
    Path("empty").mkdir()
    with pytest.raises(InputError, match=r"no CIFAR-10 in .* no network") as caught:
        train_cifar.main(args)
    assert "--data-dir" in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_without_data_and_network_the_first_line_names_both_ways_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    train_cifar.main([*TINY, "--eval-size", "60", "--method", "standard"])
    lines = capsys.readouterr().out.splitlines()
    for word in ("--data-dir", "network", "synthetic"):
        assert word in lines[0]
    assert lines[1].startswith("synthetic, seed 0")
    assert (tmp_path / "runs/synthetic/standard/seed0/summary.json").is_file()


def test_a_folder_with_altered_files_is_used_and_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_cifar10(tmp_path / "data", per_file=40)
    args = ["--data-dir", str(folder), "--out", str(tmp_path / "runs"), "--method", "standard"]
    train_cifar.main([*args, "--model", "tiny_cnn", "--epochs", "1", "--batch-size", "50"])
    captured = capsys.readouterr()
    assert captured.err.count("md5 differs") == 2  # training files, test file
    assert "cifar10, seed 0" in captured.out
    assert (tmp_path / "runs/cifar10/standard/seed0/summary.json").is_file()


def test_the_script_goes_through_the_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"step": 0, "unroll": 0}
    step, unroll = L2LTrainer.step, core_trainer.unroll

    def watched_step(self: L2LTrainer, *args: Any, **options: Any) -> Any:
        seen["step"] += 1
        return step(self, *args, **options)

    def watched_unroll(*args: Any, **options: Any) -> Any:
        seen["unroll"] += 1
        return unroll(*args, **options)

    monkeypatch.setattr(L2LTrainer, "step", watched_step)
    monkeypatch.setattr(core_trainer, "unroll", watched_unroll)
    train_cifar.main([*SHORT, "--workers", "1", "--out", str(tmp_path)])
    steps = 4 * (270 // 50)
    assert seen == {"step": steps, "unroll": steps}
    assert sorted(p.parent.parent.name for p in tmp_path.rglob("summary.json")) == [
        "fgsm_rs",
        "grad_l2l",
        "pgd",
        "standard",
    ]


def test_two_methods_side_by_side_and_resumed(tmp_path: Path) -> None:
    args = [*SHORT, "--out", str(tmp_path / "runs"), "--workers", "2", "--threads", "1"]
    done = script(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    methods = [line.split()[0] for line in lines[3:7]]
    assert methods == ["standard", "fgsm_rs", "pgd-2", "grad_l2l"]
    assert lines[-1] == f"python -m l2l_gail.compare {tmp_path / 'runs'} --board"
    assert "synthetic pgd-2" in done.stderr
    summaries = {p.parent.parent.name: p for p in tmp_path.rglob("summary.json")}
    assert len(summaries) == 4
    pgd = json.loads(summaries["pgd"].read_text())
    assert pgd["method"] == "pgd-2"
    before = {p: p.read_bytes() for p in summaries.values()}

    # The same in this process gives the same numbers: nothing hangs on being a process apart.
    alone = ["--method", "pgd", "--threads", "1", "--out", str(tmp_path / "again")]
    train_cifar.main([*SHORT, *alone])
    again = json.loads((tmp_path / "again/synthetic/pgd/seed0/summary.json").read_text())
    assert {k: again[k] for k in ("clean", "pgd20", "curve")} == {
        k: pgd[k] for k in ("clean", "pgd20", "curve")
    }
    train_cifar.main([*args[:-4], "--resume", "--workers", "1", "--threads", "1"])
    assert {p: p.read_bytes() for p in tmp_path.glob("runs/**/summary.json")} == before


def _job(job: str, tell: Tell) -> str:
    tell(Message("line", f"news of {job}"))
    if job == "wrong":
        raise InputError("this input is wrong")
    if job == "broken":
        raise ZeroDivisionError("of this job")
    if job == "killed":
        os.kill(os.getpid(), 9)
    return job.upper()


def test_jobs_in_processes_bring_results_news_and_failures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = run_jobs(_job, {"a": "one", "b": "two", "c": "three"}, workers=2, threads=1)
    assert found == {"a": "ONE", "b": "TWO", "c": "THREE"}
    assert "news of three" in capsys.readouterr().err


def test_failing_jobs_are_said_after_the_others_are_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(InputError, match=r"^first: this input is wrong$"):
        run_jobs(
            _job,
            {"first": "wrong", "second": "broken", "third": "killed", "good": "fine"},
            workers=2,
            threads=1,
        )
    shown = capsys.readouterr().err
    assert shown.count("failed: ") == 3
    assert "ZeroDivisionError: of this job" in shown
    assert "the process ended with status -9" in shown
    assert "news of fine" in shown


def test_in_one_process_too_the_others_are_done_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match=r"^first: ZeroDivisionError: of this job$"):
        run_jobs(_job, {"first": "broken", "good": "fine"}, workers=1, threads=1)
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: of this job" in shown
    assert "news of fine" in shown
    for limits in ({"workers": 0, "threads": 1}, {"workers": 1, "threads": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            run_jobs(_job, {"good": "fine"}, **limits)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("--workers -1", "--workers"),
        ("--threads -2", "--threads"),
        ("--seed 99999999999999999999", "--seed"),
        ("--device meta", "device meta"),
        ("--eval-size 0", "--eval-size"),
        ("--out /proc/nowhere", "--out"),
    ],
)
def test_wrong_flags_are_said_before_anything_starts(flags: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        train_cifar.main([*TINY, *flags.split()])


def test_other_settings_are_refused_before_any_method_is_trained(tmp_path: Path) -> None:
    train_cifar.main([*TINY, "--method", "standard", "--out", str(tmp_path)])
    with pytest.raises(InputError, match="was trained with lr"):
        train_cifar.main([*TINY, "--out", str(tmp_path), "--resume", "--lr", "0.07"])
    assert not list(tmp_path.glob("synthetic/pgd/*/summary.json"))


def test_an_interrupt_ends_the_children(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(news: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "_drain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(_sleep, {"a": "a", "b": "b"}, workers=2, threads=1)
    assert multiprocessing.active_children() == []


def _sleep(job: str, tell: Tell) -> None:
    time.sleep(60)
