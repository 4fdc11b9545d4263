"""Spare runs what Snakemake 9.27 does for nothing, and tell when one Snakemake is too few.

`one_timer` and `no_pandas` reach into Snakemake, and leave it alone where it has no such method; a
test fails once it does neither any more. `benchmarks/scale/upstream.md` has the figures.
"""

from __future__ import annotations

import time
from typing import Any

SCAN_MS = 2500
"""CPU of an ordinary scan's two jobs."""

START_MS, WAITING_MS = 7.0, 0.84
"""CPU that Snakemake itself takes for them where many cores are at work, and what every thousand
scans that wait add to it."""

FEW = 10
"""Scans per core that are made before parts would have begun to pay."""


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
    """Compare parameters without pandas: those of this workflow's rules are strings.

    Where pandas is installed, Snakemake imports it to ask of each parameter whether it is a table:
    70 MB and 0.4 CPU s.

    Parameters
    ----------
    persistence : type[snakemake.persistence.PersistenceBase] or None
    """
    builtin = getattr(persistence, "_serialize_param_builtin", None)
    if builtin and hasattr(persistence, "_serialize_param"):
        persistence._serialize_param = builtin


def cores_kept_busy(scans: int) -> int:
    """Return how many cores one Snakemake finds work for while so many scans wait."""
    return round(SCAN_MS / (START_MS + WAITING_MS * scans / 1000))


def advice(cores: int, scans: int) -> str:
    """Return when a run is better made in parts, for a person; empty where it is not."""
    busy = cores_kept_busy(scans)
    if cores <= busy or scans < FEW * cores:
        return ""
    return (
        f"{scans:,} scans to make on {cores} cores: while so many wait, one Snakemake finds work"
        f" for about {busy}; parts are faster (docs/hpc.md, Parts)."
    )
