"""All jobs done, at most so many at a time, in this process or in processes of their own."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping
from typing import Any

from l2l_gail.cores import available_cores
from l2l_gail.errors import InputError
from l2l_gail.jobs.outcome import Outcome, warnings_to
from l2l_gail.jobs.processes import Children, Work, thread_limit
from l2l_gail.progress import Display
from l2l_gail.stopping import Interrupted, Killed, signals_deferred

__all__ = ["run_jobs", "settle_jobs", "share_cores"]


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
            with thread_limit(threads):
                _run_parallel(work, jobs, workers, outcome, retries)
    except KeyboardInterrupt as error:
        number = Interrupted.of(error).number
        raise Interrupted(number, resumable=True) from None
    finally:
        display.close()
    return outcome


def _run_in_turn(work: Work, jobs: Mapping[str, Any], outcome: Outcome) -> None:
    usual = warnings.showwarning

    def show(message: Any, category: type[Warning], filename: str, lineno: int) -> None:
        if outcome.is_new(category.__name__, str(message)):
            usual(message, category, filename, lineno)

    for label, job in jobs.items():
        try:
            with warnings_to(show):
                result = work(job, outcome.display.tell(label))
            outcome.take(label, "result", result)
        except InputError as error:
            outcome.take(label, "wrong input", str(error))
        except Exception:  # as in a process of its own: the others go on
            outcome.take(label, "failure", traceback.format_exc())


def _run_parallel(
    work: Work, jobs: Mapping[str, Any], workers: int, outcome: Outcome, retries: int
) -> None:
    children = Children(work, jobs, outcome, retries)
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
