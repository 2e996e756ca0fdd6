"""Jobs in processes of their own: started, listened to, begun again, ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

from l2l_gail.errors import InputError
from l2l_gail.jobs.outcome import Outcome, warnings_to
from l2l_gail.progress import Message, Tell
from l2l_gail.stopping import Interrupted, raise_on_sigterm

__all__ = ["Children", "Work", "thread_limit"]

Work: TypeAlias = Callable[[Any, Tell], Any]
"""Does one job, telling its news, and returns its result; picklable where processes are used."""

_POLL_SECONDS = 0.2


class Children:
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
        with raise_on_sigterm(), warnings_to(show):
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
def thread_limit(threads: int) -> Iterator[None]:
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
