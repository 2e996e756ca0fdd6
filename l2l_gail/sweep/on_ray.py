"""A sweep on a Ray cluster, or on a Ray of this machine's own."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from l2l_gail.errors import InputError, one_line
from l2l_gail.jobs import Outcome
from l2l_gail.progress import Display, Message
from l2l_gail.stopping import Interrupted, raise_on_sigterm, signals_deferred
from l2l_gail.sweep.rows import Row, run_row

__all__ = ["run_on_ray"]

_POLL_SECONDS = 0.5
_FAREWELL_SECONDS = 120.0
_STORE_BYTES = 100 << 20  # next to nothing travels through it


def run_on_ray(rows: Sequence[Row], *, workers: int, retries: int) -> Outcome:
    """Run rows as tasks of Ray, which begins those anew whose worker was lost.

    With ``RAY_ADDRESS`` set, on that cluster, whose machines have the clone and the runs' folder
    under the same paths; otherwise on a Ray that is started here and stopped again.

    Args:
        rows: What to run, in this order; all with the same number of threads.
        workers: How many at a time; 0 for as many as the cluster holds.
        retries: How often a row whose worker was lost goes on in another.

    Returns:
        What :func:`~l2l_gail.sweep.rows.run_row` says of each row, by its title, or how it failed.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
        Interrupted: After Ctrl-C or SIGTERM, when all rows that ran have saved where they were.
    """
    ray = _import_ray()
    threads = rows[0].threads
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    outcome = Outcome(Display(row.title for row in rows))
    own: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        own = {"num_cpus": workers * threads or None, "include_dashboard": False}
        own["object_store_memory"] = _STORE_BYTES
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(**own, runtime_env={"env_vars": limits}, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"Ray does not start: {error}") from None
    task = ray.remote(num_cpus=threads, max_retries=retries, retry_exceptions=False)(_carry_out)
    waiting = list(rows)
    running: dict[Any, Row] = {}
    asked = 0
    try:
        with signals_deferred() as stop:
            while running or waiting:
                while waiting and len(running) < (workers or len(rows)):
                    row = waiting.pop(0)
                    running[task.remote(row, os.getcwd(), list(sys.path))] = row
                done, _ = ray.wait(list(running), num_returns=1, timeout=_POLL_SECONDS)
                for reference in done:
                    _take(ray, outcome, running.pop(reference).title, reference)
                if stop():
                    asked = stop()
                    break
            if asked:
                for reference in running:
                    ray.cancel(reference)  # as Ctrl-C there: between two steps, with a checkpoint
                ray.wait(list(running), num_returns=len(running), timeout=_FAREWELL_SECONDS)
    finally:
        outcome.display.close()
        ray.shutdown()
    if asked:
        raise Interrupted(asked)
    return outcome


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError(
            "--launcher ray needs Ray: pip install 'l2l_gail[cluster]', or take --launcher local"
        ) from None
    return ray


def _carry_out(row: Row, folder: str, path: list[str]) -> tuple[str, Any]:
    """Run a row in a worker of Ray; what goes wrong comes back as text, which travels safely."""
    os.chdir(folder)
    sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]

    def tell(message: Message) -> None:
        if message.kind == "line":
            print(f"{row.title}: {message.text}", flush=True)  # Ray brings it to the driver

    try:
        with raise_on_sigterm():
            return "result", run_row(row, tell)
    except InputError as error:
        return "wrong input", str(error)
    except Interrupted as error:
        return "interrupted", str(error.number)
    except Exception:
        return "failure", traceback.format_exc()


def _take(ray: Any, outcome: Outcome, title: str, reference: Any) -> None:
    try:
        kind, content = ray.get(reference)
    except ray.exceptions.RayError as error:  # lost more often than it was to be begun again
        kind, content = "failure", one_line(error)
    if kind == "interrupted":  # by somebody else
        kind, content = "failure", f"ended on signal {content}"
    outcome.take(title, kind, content)
