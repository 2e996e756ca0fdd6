"""A sweep on this machine: processes of its own, as many as there are cores."""

from __future__ import annotations

from collections.abc import Sequence

from l2l_gail.cores import available_cores
from l2l_gail.jobs import Outcome, settle_jobs
from l2l_gail.sweep.rows import Row, run_row

__all__ = ["run_local"]


def run_local(rows: Sequence[Row], *, workers: int, retries: int) -> Outcome:
    """Run rows, each in a process of its own.

    Args:
        rows: What to run, in this order; all with the same number of threads.
        workers: How many at a time; 0 for as many as the cores hold.
        retries: How often a row whose process was killed goes on in another.

    Returns:
        What :func:`~l2l_gail.sweep.rows.run_row` says of each row, by its title, or how it failed.

    Raises:
        Interrupted: After Ctrl-C or SIGTERM, when all rows that ran have saved where they were.
    """
    threads = rows[0].threads
    workers = min(len(rows), workers or max(1, available_cores() // threads))
    jobs = {row.title: row for row in rows}
    return settle_jobs(run_row, jobs, workers=workers, threads=threads, retries=retries)
