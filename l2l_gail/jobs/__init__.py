"""Several runs at once, each in a process of its own."""

from l2l_gail.jobs.outcome import Outcome
from l2l_gail.jobs.run import run_jobs, settle_jobs, share_cores

__all__ = ["Outcome", "run_jobs", "settle_jobs", "share_cores"]
