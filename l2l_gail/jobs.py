"""Several runs at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import queue
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

from l2l_gail.errors import InputError
from l2l_gail.progress import Display, Message, Tell

__all__ = ["available_cores", "run_jobs"]

Work: TypeAlias = Callable[[Any, Tell], Any]
"""Does one job, telling its news, and returns its result; picklable where processes are used."""

_POLL_SECONDS = 0.2


def available_cores() -> int:
    """Return how many CPU cores this process may use (its affinity, where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
        RuntimeError: If a job failed otherwise; the others are finished first.
        ValueError: If ``workers`` or ``threads`` is below 1.
    """
    if workers < 1 or threads < 1:
        raise ValueError(f"workers and threads must be at least 1, not {workers} and {threads}")
    display = Display(jobs)
    try:
        if workers == 1 or len(jobs) == 1:
            return _run_in_turn(work, jobs, display)
        with _thread_limit(threads):
            return _run_parallel(work, jobs, workers, display)
    finally:
        display.close()


def _run_in_turn(work: Work, jobs: Mapping[str, Any], display: Display) -> dict[str, Any]:
    results: dict[str, Any] = {}
    failures: dict[str, tuple[bool, str]] = {}
    for label, job in jobs.items():
        try:
            results[label] = work(job, display.tell(label))
        except InputError as error:
            failures[label] = (True, str(error))
        except Exception:  # as in a process of its own: the others go on
            failures[label] = (False, traceback.format_exc())
        if label in failures:
            display.show(label, Message("line", f"failed: {failures[label][1].strip()}"))
    _raise_first(jobs, failures)
    return results


def _raise_first(jobs: Mapping[str, Any], failures: Mapping[str, tuple[bool, str]]) -> None:
    for label in jobs:
        if label in failures:
            wrong_input, text = failures[label]
            last_line = f"{label}: {text.strip().splitlines()[-1]}"
            raise InputError(last_line) if wrong_input else RuntimeError(last_line)


def _run_parallel(
    work: Work, jobs: Mapping[str, Any], workers: int, display: Display
) -> dict[str, Any]:
    # Spawned, not forked: a forked child would inherit torch's threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    news = context.Queue()
    waiting = list(jobs.items())
    running: dict[str, BaseProcess] = {}
    results: dict[str, Any] = {}
    failures: dict[str, tuple[bool, str]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                label, job = waiting.pop(0)
                running[label] = context.Process(
                    target=_child, args=(work, label, job, news), name=label, daemon=True
                )
                running[label].start()
            gone = [label for label, process in running.items() if not process.is_alive()]
            for label, kind, content in _drain(news):
                if kind == "news":
                    display.show(label, content)
                elif kind == "result":
                    results[label] = content
                else:
                    failures[label] = (kind == "wrong input", content)
                    display.show(label, Message("line", f"failed: {content.strip()}"))
            # Judged after the queue was emptied, so that a last word still counts.
            for label in gone:
                process = running.pop(label)
                process.join()
                if label not in results and label not in failures:
                    text = f"the process ended with status {process.exitcode}"
                    failures[label] = (False, text)
                    display.show(label, Message("line", f"failed: {text}"))
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()
    _raise_first(jobs, failures)
    return {label: results[label] for label in jobs}


def _child(work: Work, label: str, job: Any, news: Any) -> None:
    """Do one job in a process of its own, and bring news, result or failure to the parent."""
    parent = multiprocessing.parent_process()

    def tell(message: Message) -> None:
        if parent is not None and not parent.is_alive():
            os._exit(1)  # nobody is left to report to: a killed parent leaves no worker behind
        news.put((label, "news", message))

    try:
        news.put((label, "result", work(job, tell)))
    except InputError as error:
        news.put((label, "wrong input", str(error)))
    except KeyboardInterrupt:
        return  # the parent got the same signal, and speaks for all
    except Exception:  # the parent decides; it must hear of any failure
        news.put((label, "failure", traceback.format_exc()))


def _drain(news: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield what is in the queue, waiting a moment for the first."""
    try:
        yield news.get(timeout=_POLL_SECONDS)
        while True:
            yield news.get_nowait()
    except queue.Empty:
        return


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
