"""Jobs in processes: results, failures, signals, and a child that dies in the middle of a word."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from multiprocessing import util as spawning
from pathlib import Path
from typing import Any

import pytest

from l2l_gail import stopping
from l2l_gail.errors import InputError
from l2l_gail.jobs import processes, run, run_jobs, settle_jobs, share_cores
from l2l_gail.progress import Display, Message, Tell
from l2l_gail.stopping import Interrupted, Killed, raise_on_sigterm, signals_deferred


@pytest.fixture(autouse=True)
def _a_terminal_that_may_be_closed() -> Iterator[None]:
    """Whatever the tests run under: `nohup` has what some of them send ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


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


def _length(job: bytes, tell: Tell) -> int:
    return len(job)


def test_a_child_that_is_ended_before_it_has_read_its_job_ends_the_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spawn: Any = spawning.spawnv_passfds

    def spawn_and_end(*args: Any) -> int:
        pid = spawn(*args)
        if "spawn_main" in str(args):
            os.kill(pid, signal.SIGTERM)
        return pid

    monkeypatch.setattr(spawning, "spawnv_passfds", spawn_and_end)
    job = b"x" * 1_000_000  # more than a pipe holds
    with pytest.raises(Interrupted):
        run_jobs(_length, {"a": job, "b": job}, workers=2, threads=1)


@pytest.mark.parametrize("status", [0, 3])
def test_a_child_that_dies_before_it_has_read_its_job_hangs_nobody(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    spawn: Any = spawning.spawnv_passfds

    def spawn_another(path: Any, args: Any, passfds: Any) -> int:
        if "spawn_main" in str(args):
            args = [args[0], "-c", f"raise SystemExit({status})"]
        return spawn(path, args, passfds)

    monkeypatch.setattr(spawning, "spawnv_passfds", spawn_another)
    job = b"x" * 1_000_000  # more than a pipe holds
    with pytest.raises(Killed, match=f"the process ended with status {status}"):
        run_jobs(_length, {"a": job, "b": job}, workers=2, threads=1)


def _warned(job: str, tell: Tell) -> None:
    warnings.warn(f"lasts about {job} times as long", stacklevel=1)
    warnings.warn(f"{job} of it", RuntimeWarning, stacklevel=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_all_jobs_would_warn_of_is_shown_once(
    workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: print(message, file=sys.stderr)
        run_jobs(_warned, {"a": "1.9", "b": "2.1", "c": "2"}, workers=workers, threads=1)
    shown = capsys.readouterr().err
    assert shown.count("lasts about") == 1
    assert shown.count("of it") == 3


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


def test_an_interrupt_ends_the_children(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(pipes: Any, timeout: float) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "wait", interrupted)
    with pytest.raises(Interrupted):
        run_jobs(_sleep, {"a": "a", "b": "b"}, workers=2, threads=1)
    assert multiprocessing.active_children() == []


def _sleep(job: str, tell: Tell) -> None:
    time.sleep(60)


def _long_word(job: str, tell: Tell) -> str:
    if job == "killed":
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        while True:  # news longer than a pipe takes at once
            tell(Message("line", "x" * 1_000_000))
    return job


def test_a_job_that_is_killed_while_it_tells_its_news_hangs_nobody() -> None:
    with pytest.raises(Killed, match=r"^killed: the process ended with status -9; if memory ran"):
        run_jobs(_long_word, {"killed": "killed", "b": "b", "c": "c"}, workers=2, threads=1)


def _killed_twice(folder: Path, tell: Tell) -> int:
    lives = len(list(folder.iterdir()))
    (folder / str(lives)).touch()
    if lives < 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return lives


def test_a_job_whose_process_is_killed_is_begun_again_so_many_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    outcome = settle_jobs(_killed_twice, {"job": folders[0]}, workers=1, threads=1, retries=2)
    assert outcome.results == {"job": 2}
    assert not outcome.failures
    assert capsys.readouterr().err.count("the process ended with status -9; begun again") == 2
    outcome = settle_jobs(_killed_twice, {"job": folders[1]}, workers=1, threads=1, retries=1)
    assert not outcome.results
    assert outcome.failures["job"].last_line == "the process ended with status -9"


def test_a_job_that_fails_by_itself_is_not_repeated() -> None:
    jobs = {"wrong": "wrong", "broken": "broken"}
    outcome = settle_jobs(_job, jobs, workers=2, threads=1, retries=5)
    assert outcome.failures["wrong"].wrong_input
    assert outcome.failures["broken"].last_line == "ZeroDivisionError: of this job"
    with pytest.raises(ValueError, match="retries must be at least 0"):
        settle_jobs(_job, jobs, workers=2, threads=1, retries=-1)


def _save_when_asked(folder: Path, tell: Tell) -> None:
    with signals_deferred() as stop:
        (folder / "begun").touch()
        while not stop():
            time.sleep(0.05)
        (folder / "saved").write_text(str(stop()))
        raise Interrupted(stop())


def _save_slowly_when_asked(folder: Path, tell: Tell) -> None:
    with signals_deferred() as stop:
        (folder / "begun").touch()
        while not stop():
            time.sleep(0.05)
        (folder / "asked").touch()
        while not (folder / "asked again").exists():
            time.sleep(0.05)
        (folder / "saved").touch()
        raise Interrupted(stop())


def test_a_job_that_is_saving_is_not_disturbed_by_the_parents_word(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()

    def all_have(name: str) -> None:
        while not all((folder / name).exists() for folder in folders):
            time.sleep(0.05)

    def send_to_all() -> None:
        all_have("begun")
        children = multiprocessing.active_children()
        for child in children:
            child.terminate()
        all_have("asked")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(3 * processes._POLL_SECONDS)
        for child in children:
            child.terminate()
        for folder in folders:
            (folder / "asked again").touch()

    threading.Thread(target=send_to_all).start()
    with pytest.raises(Interrupted):
        run_jobs(_save_slowly_when_asked, {f.name: f for f in folders}, workers=2, threads=1)
    assert all((folder / "saved").exists() for folder in folders)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_has_every_job_that_runs_save_and_none_begin(tmp_path: Path, number: int) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()

    def send() -> None:
        while not all((folder / "begun").exists() for folder in folders[:2]):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    with pytest.raises(Interrupted) as caught:
        run_jobs(_save_when_asked, {f.name: f for f in folders}, workers=2, threads=1)
    assert (caught.value.number, caught.value.resumable) == (number, True)
    assert [sorted(path.name for path in folder.iterdir()) for folder in folders] == [
        ["begun", "saved"],
        ["begun", "saved"],
        [],
    ]
    assert multiprocessing.active_children() == []


def test_the_first_signal_is_noted_and_the_second_ends_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals_deferred() as stop:
        assert stop() == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop() == signal.SIGTERM
        assert "once more to end at once" in capsys.readouterr().err
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_batch_system_sends_to_all_and_parents_pass_on_counts_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now)
    with signals_deferred() as stop:
        signal.raise_signal(signal.SIGINT)
        now = 100.9
        signal.raise_signal(signal.SIGTERM)
        assert stop() == signal.SIGINT
        now = 101.1
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
    assert capsys.readouterr().err.count("once more") == 1


def test_a_closed_terminal_is_noted_in_silence_however_often_it_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGHUP)
    with signals_deferred() as stop:
        for _ in range(3):  # by the shell, as it ends, and by the system
            signal.raise_signal(signal.SIGHUP)
        assert stop() == signal.SIGHUP
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGHUP) is before


def test_a_terminal_that_may_be_closed_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with signals_deferred() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop() == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("at_once", [False, True])
def test_sigterm_counts_where_python_drops_what_it_raises(times: int, at_once: bool) -> None:
    class Thing:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                pass

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]
    hook = sys.unraisablehook
    left_by_itself = []

    @raise_on_sigterm()
    def work() -> None:
        for _ in range(times):
            thing = Thing()
            del thing
        if not at_once:
            time.sleep(5.0)
        left_by_itself.append(True)

    with pytest.raises(Interrupted) as caught:
        work()
    assert caught.value.number == signal.SIGTERM
    assert bool(left_by_itself) == at_once
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == before
    assert sys.unraisablehook is hook
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_in_another_thread_signals_are_left_alone() -> None:
    found = []

    def ask() -> None:
        with signals_deferred() as stop:
            found.append((stop(), signal.getsignal(signal.SIGINT)))

    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [(0, handler)]


def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "available_cores", lambda: 8)
    assert share_cores(4, 0) == (4, 2)
    assert share_cores(20, 0) == (8, 1)
    assert share_cores(20, 3) == (3, 2)
    assert share_cores(1, 0) == (1, 8)
    assert share_cores(20, 16) == (16, 1)


def test_without_a_terminal_each_tenth_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(["gail", "l2l"])
    tell = display.tell("l2l")
    tell(Message("total", amount=50, total=200))  # gone on with
    for text in ("", "true return 7", "true return 8"):
        tell(Message("advance", text, amount=15))
    display.close()
    assert capsys.readouterr().err.splitlines() == [
        "l2l   30 %",
        "l2l   40 %, true return 7",
    ]


def test_a_rollout_past_the_end_is_all_of_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    tell = Display(["gail"]).tell("gail")
    tell(Message("total", total=100))
    for _ in range(2):
        tell(Message("advance", amount=2048))
    assert capsys.readouterr().err.splitlines() == ["gail  100 %"]
