"""Several runs at once, each in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import re
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

from l2l_gail.cores import available_cores
from l2l_gail.errors import InputError
from l2l_gail.progress import Display, Message, Tell
from l2l_gail.stopping import Interrupted, Killed, raise_on_sigterm, signals_deferred

__all__ = ["Outcome", "run_jobs", "settle_jobs", "share_cores"]

Work: TypeAlias = Callable[[Any, Tell], Any]
"""Does one job, telling its news, and returns its result; picklable where processes are used."""

_POLL_SECONDS = 0.2


def share_cores(jobs: int, workers: int) -> tuple[int, int]:
    """Return how many jobs to do at a time, and how many cores each has.

    Args:
        jobs: Number of jobs.
        workers: How many at a time, at most; 0 for as many as there are cores.
    """
    cores = available_cores()
    workers = min(jobs, workers or cores)
    return workers, max(1, cores // workers)


def run_jobs(work: Work, jobs: Mapping[str, Any], *, workers: int, threads: int) -> dict[str, Any]:
    """Do all jobs, at most ``workers`` at a time, and show how they go.

    With one worker everything happens in this process, one job after the other.

    Args:
        work: Does one job.
        jobs: Argument of each job by its label, in the order to start them.
        workers: Processes at a time.
        threads: Threads of each process.

    Returns:
        The results by label, in the order of ``jobs``.

    Raises:
        InputError: If a job ended with one; the others are finished first.
        Killed: If the process of a job was killed or crashed; the others are finished first.
        RuntimeError: If a job failed otherwise; the others are finished first.
        Interrupted: After Ctrl-C or SIGTERM, once every job that ran has ended in its own way.
        ValueError: If ``workers`` or ``threads`` is below 1.
    """
    outcome = settle_jobs(work, jobs, workers=workers, threads=threads)
    for label in jobs:
        if label in outcome.failures:
            failure = outcome.failures[label]
            last_line = f"{label}: {failure.last_line}"
            if failure.kind == "lost":
                raise Killed(f"{last_line}; if memory ran short, give fewer --workers")
            raise InputError(last_line) if failure.wrong_input else RuntimeError(last_line)
    return {label: outcome.results[label] for label in jobs}


def settle_jobs(
    work: Work, jobs: Mapping[str, Any], *, workers: int, threads: int, retries: int = 0
) -> Outcome:
    """Do all jobs as :func:`run_jobs` does, and return what has become of each.

    Args:
        work: Does one job; with ``retries`` it goes on where the job was left.
        jobs: Argument of each job by its label, in the order to start them.
        workers: Processes at a time.
        threads: Threads of each process.
        retries: How often a job is begun again whose process was killed or crashed. With any, each
            job has a process of its own, even with one worker. A job that ends with an exception
            would do so again: it is not repeated.

    Raises:
        Interrupted: After Ctrl-C or SIGTERM, once every job that ran has ended in its own way.
        ValueError: If ``workers`` or ``threads`` is below 1, or ``retries`` below 0.
    """
    if workers < 1 or threads < 1:
        raise ValueError(f"workers and threads must be at least 1, not {workers} and {threads}")
    if retries < 0:
        raise ValueError(f"retries must be at least 0, not {retries}")
    display = Display(jobs)
    outcome = Outcome(display)
    try:
        if not retries and (workers == 1 or len(jobs) == 1):
            _run_in_turn(work, jobs, outcome)
        else:
            with _thread_limit(threads):
                _run_parallel(work, jobs, workers, outcome, retries)
    except KeyboardInterrupt as error:
        number = Interrupted.of(error).number
        raise Interrupted(number, resumable=True) from None
    finally:
        display.close()
    return outcome


@dataclass(frozen=True)
class Failure:
    """How a job failed.

    Attributes:
        kind: By an ``InputError`` ("wrong input"), by another exception ("failure"), or with its
            process, without a last word ("lost").
        text: The message, a traceback, or how the process ended.
    """

    kind: str
    text: str

    @property
    def wrong_input(self) -> bool:
        """Whether it was the input's fault."""
        return self.kind == "wrong input"

    @property
    def last_line(self) -> str:
        """The last line of the text."""
        return self.text.strip().splitlines()[-1]


@dataclass
class Outcome:
    """What has become of the jobs.

    Attributes:
        display: Shows what is noted here.
        results: Of the jobs that were done, by label.
        failures: Of the others, by label.
        interrupted: The signal by which a job was ended; 0 if none was.
        warned: The warnings that were shown.
    """

    display: Display
    results: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    interrupted: int = 0
    warned: set[str] = field(default_factory=set)

    def __contains__(self, label: str) -> bool:
        return label in self.results or label in self.failures

    def take(self, label: str, kind: str, content: Any) -> None:
        """Note one word of a job: its news, its result, or how it failed."""
        if kind == "news":
            self.display.show(label, content)
        elif kind == "warning":
            category, text = content
            if self.is_new(category, text):
                self.display.show(label, Message("line", f"{category}: {text}"))
        elif kind == "result":
            self.results[label] = content
            self.display.done(label)
        elif kind == "interrupted":
            self.interrupted = content
        else:
            self.failures[label] = Failure(kind, content)
            self.display.show(label, Message("line", f"failed: {content.strip()}"))
            self.display.done(label)

    def is_new(self, category: str, text: str) -> bool:
        """Whether a warning is to be shown: one of an input, which all jobs share, only once.

        That is a ``UserWarning``, whatever numbers it names; others are of a job's own course.
        """
        if category != UserWarning.__name__:
            return True
        pattern = re.sub(r"\d[\d.,]*", "0", text)
        known = pattern in self.warned
        self.warned.add(pattern)
        return not known


@contextmanager
def _warnings_to(show: Callable[[Any, type[Warning], str, int], None]) -> Iterator[None]:
    """Have what Python shows of warnings go elsewhere inside."""

    def take(
        message: Any,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: Any = None,
    ) -> None:
        show(message, category, filename, lineno)

    before = warnings.showwarning
    warnings.showwarning = take
    try:
        yield
    finally:
        warnings.showwarning = before


def _run_in_turn(work: Work, jobs: Mapping[str, Any], outcome: Outcome) -> None:
    usual = warnings.showwarning

    def show(message: Any, category: type[Warning], filename: str, lineno: int) -> None:
        if outcome.is_new(category.__name__, str(message)):
            usual(message, category, filename, lineno)

    for label, job in jobs.items():
        try:
            with _warnings_to(show):
                result = work(job, outcome.display.tell(label))
            outcome.take(label, "result", result)
        except InputError as error:
            outcome.take(label, "wrong input", str(error))
        except Exception:  # as in a process of its own: the others go on
            outcome.take(label, "failure", traceback.format_exc())


def _run_parallel(
    work: Work, jobs: Mapping[str, Any], workers: int, outcome: Outcome, retries: int
) -> None:
    children = _Children(work, jobs, outcome, retries)
    asked = 0  # by which signal to end
    with signals_deferred() as stop:
        try:
            while children.running or (children.waiting and not asked):
                if not asked:
                    children.fill(workers)
                if stop() and not asked:
                    asked = stop()
                    children.terminate()
                children.listen(ending=bool(asked))
        finally:
            children.kill()
    if asked:
        raise Interrupted(asked)
    if outcome.interrupted:  # a child of its own, by somebody else
        raise Interrupted(outcome.interrupted)


class _Children:
    """Jobs in processes of their own, and those that wait for one.

    Args:
        work: Does one job.
        jobs: Argument of each job by its label, in the order to start them.
        outcome: Takes what they say.
        retries: How often a job is begun again whose process was killed or crashed.
    """

    def __init__(self, work: Work, jobs: Mapping[str, Any], outcome: Outcome, retries: int) -> None:
        self._work, self._jobs, self._outcome = work, jobs, outcome
        self._left = dict.fromkeys(jobs, retries)
        self.waiting = list(jobs)
        # A pipe for each: one that is killed in the middle of a word leaves the others theirs.
        self.running: dict[str, tuple[BaseProcess, Connection]] = {}

    def fill(self, workers: int) -> None:
        """Start jobs until as many run as may."""
        while self.waiting and len(self.running) < workers:
            label = self.waiting.pop(0)
            self.running[label] = _start(self._work, label, self._jobs[label])

    def listen(self, *, ending: bool) -> None:
        """Take what they say, for a moment, and let go of those that have ended.

        Args:
            ending: All are asked to end: none is begun again.
        """
        wait([pipe for _, pipe in self.running.values()], timeout=_POLL_SECONDS)
        for label, (process, pipe) in list(self.running.items()):
            ended = not process.is_alive()  # judged first, so that a last word counts
            for kind, content in _words(pipe):
                self._outcome.take(label, kind, content)
            if not ended:
                continue
            del self.running[label]
            fate = _bury(process, pipe)
            if label not in self._outcome and not ending and not self._outcome.interrupted:
                self._settle(label, fate)

    def _settle(self, label: str, fate: str) -> None:
        """Begin a job again whose process ended without a last word; or it has failed."""
        if not self._left[label]:
            self._outcome.take(label, "lost", fate)
            return
        self._left[label] -= 1
        again = f"{fate}; begun again, {self._left[label]} more times at most"
        self._outcome.take(label, "news", Message("line", again))
        self.waiting.insert(0, label)

    def terminate(self) -> None:
        """Ask all to end in their own way."""
        for process, _ in self.running.values():
            process.terminate()

    def kill(self) -> None:
        """End all that are left, at once."""
        for process, pipe in self.running.values():
            process.kill()
            process.join()
            pipe.close()


def _start(work: Work, label: str, job: Any) -> tuple[BaseProcess, Connection]:
    """Start a job in a process of its own, and return its end of the pipe to read from."""
    # Spawned, not forked: a forked child would inherit torch's threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    errand = pickle.dumps((work, job))
    news, own_end = context.Pipe(duplex=False)
    own_errand, errands = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(own_errand, own_end), name=label, daemon=True)
    # A terminal sends Ctrl-C and its own end to children too. They leave both to the parent, from
    # their first moment.
    # SIGTERM, which `timeout` and batch systems send to all, waits until they can answer it.
    resource_tracker.ensure_running()  # by itself it would start within, and unblock the signals
    answered = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, answered)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, answered)
        own_end.close()
        own_errand.close()
    # By a pipe whose other end the child alone holds: within its start it would be written for ever
    # where the child has died before it has read it. Here that is seen, and told by its burial.
    with errands, contextlib.suppress(BrokenPipeError):
        errands.send_bytes(errand)
    return process, news


def _words(pipe: Connection) -> Iterator[tuple[str, Any]]:
    """Yield what a child has said, without waiting for more."""
    try:
        while pipe.poll():
            yield pipe.recv()
    except (EOFError, OSError):  # ended, perhaps in the middle of a word
        return


def _bury(process: BaseProcess, pipe: Connection) -> str:
    """Give back what a process that has ended held, and say how it ended."""
    process.join()
    pipe.close()
    return f"the process ended with status {process.exitcode}"


def _child(errands: Connection, pipe: Connection) -> None:
    """Do one job in a process of its own, and bring news, result or failure to the parent.

    Args:
        errands: Brings the work and the job.
        pipe: Takes what there is to say.
    """
    try:
        with errands:
            errand = errands.recv_bytes()
    except EOFError:
        os._exit(1)  # the parent is gone
    one_at_a_time = threading.RLock()  # any thread may warn

    def say(kind: str, content: Any) -> None:
        try:
            with one_at_a_time:
                pipe.send((kind, content))
        except OSError:
            os._exit(1)  # nobody is left to report to: a killed parent leaves no worker behind

    def show(message: Any, category: type[Warning], filename: str, lineno: int) -> None:
        say("warning", (category.__name__, str(message)))

    try:
        with raise_on_sigterm(), _warnings_to(show):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            work, job = pickle.loads(errand)
            say("result", work(job, lambda message: say("news", message)))
    except InputError as error:
        say("wrong input", str(error))
    except Interrupted as error:
        say("interrupted", error.number)
    except Exception:  # the parent decides; it must hear of any failure
        say("failure", traceback.format_exc())


@contextmanager
def _thread_limit(threads: int) -> Iterator[None]:
    """Give child processes their number of threads before they load any numerical library."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    found = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        for name, value in found.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
