"""Spare runs what Snakemake 9.27 does for nothing: timers that multiply, and pandas for strings.

Both reach into Snakemake, and leave it alone where it has no such method; a test fails once it does
neither any more. `benchmarks/scale/upstream.md` has the figures.
"""

from __future__ import annotations

import time
from typing import Any


def one_timer(scheduler: Any) -> None:
    """Let one timer at a time wake the scheduler; the limit of jobs per time span stays as it is.

    The scheduler looks for jobs to start when a job ends and, because ``--max-jobs-per-timespan``
    is always set, a second later again. It begins a timer after every look, so that each job that
    ended adds a look per second for as long as others wait: after some hundred jobs it does nothing
    but look, on a core of its own, with a thread per timer (snakemake/snakemake#3744, #3804).

    Parameters
    ----------
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler
    """
    if not hasattr(scheduler, "_schedule_reevalutation"):
        return
    begin = scheduler._schedule_reevalutation
    due = 0.0

    def begin_unless_under_way(seconds: float) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + seconds
            begin(seconds)

    scheduler._schedule_reevalutation = begin_unless_under_way


def no_pandas(persistence: Any) -> None:
    """Compare parameters without pandas: every rule's are strings.

    Where pandas is installed, Snakemake imports it to ask of each parameter whether it is a table:
    70 MB and 0.4 CPU s.

    Parameters
    ----------
    persistence : type[snakemake.persistence.PersistenceBase] or None
    """
    builtin = getattr(persistence, "_serialize_param_builtin", None)
    if builtin and hasattr(persistence, "_serialize_param"):
        persistence._serialize_param = builtin
