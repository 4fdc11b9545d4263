"""Find jobs that the scheduler ended before they could record why, in Snakemake's log.

A job that runs out of time or memory, or whose node goes away, cannot write its own failure record.
The scheduler knows the cause, and Snakemake logs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ctcohort.base.faults import Fault, keep_failure
from ctcohort.base.workdir import Workdir

REASONS = {"TIMEOUT": "out_of_time", "OUT_OF_MEMORY": "out_of_memory", "NODE_FAIL": "node_lost"}
"""Slurm's state of a job that ended -> our reason; with any other state it is `killed`."""

SIGNS = {
    "TIMEOUT": re.compile(r"DUE TO TIME LIMIT|TERM_RUNLIMIT|walltime \S+ exceeded limit"),
    "OUT_OF_MEMORY": re.compile(
        r"oom.kill|[Ee]xceeded (?:job )?memory limit|TERM_MEMLIMIT|p?v?mem \S+ exceeded limit"
    ),
    "NODE_FAIL": re.compile(r"DUE TO NODE FAILURE"),
}
"""What Slurm, LSF and PBS leave in a job's own log, whatever the state that they tell of it."""

LOGS = (".snakemake/slurm_logs/{}.log", ".snakemake/job_logs/{}.*")
"""Where the profiles keep a job's own log, by its number: Slurm's, the other schedulers'."""

STAGES = ("download_series", "preprocess_volume")
"""Rules whose failure is that of a scan."""

_HEAD = re.compile(r"(Error in )?(?:local)?(?:rule|checkpoint) (\w+):$")
_STATE = re.compile(r"SLURM status is: '(\w+)'")
_RESOURCE = re.compile(r"\b(mem_mb|runtime)=(\d+)")


@dataclass
class LostJob:
    """A job whose last attempt failed.

    Attributes
    ----------
    name : str
        The accession as a file name; empty for a job on the whole cohort.
    state : str
        What the scheduler said of it; empty if it was not asked, or said nothing.
    job : str
        The scheduler's number of the job, if there is one.
    given : dict
        `mem_mb` and `runtime` (minutes) of the last attempt, if they were set.
    own_log : str
        What the scheduler kept of the job's output, below the working directory.
    """

    rule: str
    name: str = ""
    state: str = ""
    job: str = ""
    given: dict[str, int] = field(default_factory=dict)
    own_log: str = ""

    def fault(self) -> Fault:
        """Return the fault to record: the reason, and what to do."""
        reason = REASONS.get(self.state, "killed")
        job = f" (job {self.job})" if self.job else ""
        more = {"out_of_time": "runtime", "out_of_memory": "mem_mb"}.get(reason, "")
        if more:
            units = {"runtime": "min of run time", "mem_mb": "MB of memory"}[more]
            had = self.given.get(more)
            of = f", with {had} {units}" if had else ""
            ask = f"--set-resources {self.rule}:{more}={2 * had if had else 'MORE'}"
            message = f"ended by the scheduler{of}{job}; give it more: {ask}, or in the profile"
        elif reason == "node_lost":
            message = f"its node went away{job}; nothing is wrong with the scan"
        else:
            state = f" as {self.state}" if self.state else ""
            where = Workdir().log(self.rule, self.name)
            message = f"ended{state} before it could say why{job}; see {where}"
            if self.own_log:
                message += f" and {self.own_log}"
        return Fault(reason, f"{self.rule}: {message}", transient=True)


def lost_jobs(log: Iterable[str]) -> list[LostJob]:
    """Return the jobs whose last attempt failed, from the lines of one run's log of Snakemake."""
    jobs: dict[str, LostJob] = {}
    failed: dict[str, LostJob] = {}
    rule, is_error, number, message = "", False, "", ""
    for line in map(str.strip, log):
        if head := _HEAD.match(line):
            is_error, rule, number, message = bool(head[1]), head[2], "", ""
        elif line.startswith("Finished jobid: "):
            failed.pop(line.split()[2], None)
            rule = ""
        elif not rule:
            continue
        elif line.startswith("message: "):
            message = line
        elif line.startswith("jobid: "):
            number = line.split()[1]
            if is_error:
                job = jobs.get(number) or LostJob(rule)
                state = _STATE.search(message)
                job.state = state[1] if state else ""
                failed[number] = job
            else:
                jobs[number] = LostJob(rule)
                failed.pop(number, None)
        elif is_error and line.startswith("external_jobid: ") and number:
            failed[number].job = line.split()[1]
        elif not is_error and number and line.startswith("wildcards: acc="):
            jobs[number].name = line.removeprefix("wildcards: acc=")
        elif not is_error and number and line.startswith("resources: "):
            jobs[number].given = {key: int(value) for key, value in _RESOURCE.findall(line)}
    return list(failed.values())


def latest_log(directory: Path) -> Path | None:
    """The log of the newest run of Snakemake in a working directory."""
    logs = (directory / ".snakemake" / "log").glob("*.snakemake.log")
    return max(logs, key=lambda path: path.stat().st_mtime, default=None)


def record_lost_jobs(here: Workdir) -> list[LostJob]:
    """Keep in ``failures/`` why the newest run's lost jobs ended; return those on the whole cohort.

    What a job has recorded itself stays, unless the scheduler knows better.
    """
    log = latest_log(here.root)
    if log is None:
        return []
    with open(log, encoding="utf-8", errors="replace") as lines:
        lost = lost_jobs(lines)
    for job in lost:
        if job.state not in REASONS:
            _look_into_own_log(job, here.root)
        known = job.name and here.failure(job.name).exists()
        if job.name and job.rule in STAGES and (job.state in REASONS or not known):
            keep_failure(here.failure(job.name), job.rule, job.fault())
    return [job for job in lost if not job.name]


def _look_into_own_log(job: LostJob, root: Path) -> None:
    """Set `own_log`, and the state that it tells of, if it is there."""
    patterns = [pattern.format(job.job) for pattern in LOGS] if job.job else []
    for path in (path for pattern in patterns for path in root.glob(pattern)):
        job.own_log = str(path.relative_to(root))
        text = path.read_text(errors="replace")
        told = (state for state, sign in SIGNS.items() if sign.search(text))
        job.state = next(told, job.state)
