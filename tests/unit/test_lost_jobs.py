"""What Snakemake's log says of jobs that could not say themselves why they ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ctcohort.base.naming import name_of
from ctcohort.base.workdir import Workdir
from ctcohort.dataset.lost_jobs import lost_jobs, record_lost_jobs

BEGUN = """\
[Wed Nov 25 14:06:15 2026]
rule {rule}:
    input: series.csv
    output: raw/{name}, received/{name}.json
    log: logs/{rule}/{name}.log
    jobid: {number}
    reason: Missing output files: raw/{name}, received/{name}.json
    wildcards: acc={name}
    resources: tmpdir=<TBD>, mem_mb=500, mem=500 MB, disk_mb=1000, runtime=30, archive_share=333333
Job {number} has been submitted with SLURM jobid 3{number} (log: slurm_logs/3{number}.log).
"""
FAILED = """\
[Wed Nov 25 14:07:37 2026]
Error in rule {rule}:
    message: SLURM-job '3{number}' failed, SLURM status is: '{state}'. For further error details see
    jobid: {number}
    input: series.csv
    output: raw/{name}, received/{name}.json
    log: logs/{rule}/{name}.log (check log file(s) for error details)
    shell:
        python3 "$CT_COHORT"/{rule}.py {name} > logs/{rule}/{name}.log 2>&1
        (command exited with non-zero exit code)
    external_jobid: 3{number}
Logfile logs/{rule}/{name}.log:
error: terminated
"""
LOCAL = """\
[Wed Nov 25 14:07:37 2026]
Error in rule {rule}:
    message: None
    jobid: {number}
    output: raw/{name}, received/{name}.json
"""
FINISHED = "[Wed Nov 25 14:07:37 2026]\nFinished jobid: {number} (Rule: {rule})\n"
NAME = name_of("ACC 1/2")


def log(*parts: str, rule: str = "download_series", state: str = "", number: int = 7) -> list[str]:
    text = "".join(parts).format(rule=rule, name=NAME, state=state, number=number)
    return text.splitlines()


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("TIMEOUT", "out_of_time", "with 30 min of run time (job 37); give it more: --set-resources"
         " download_series:runtime=60"),
        ("OUT_OF_MEMORY", "out_of_memory", "--set-resources download_series:mem_mb=1000"),
        ("NODE_FAIL", "node_lost", "its node went away (job 37)"),
        ("CANCELLED", "killed", "ended as CANCELLED before it could say why (job 37); see"
         f" logs/download_series/{NAME}.log"),
    ],
)  # fmt: skip
def test_the_scheduler_s_word_becomes_a_reason_and_a_remedy(
    state: str, reason: str, told: str
) -> None:
    (job,) = lost_jobs(log(BEGUN, FAILED, state=state))
    fault = job.fault()
    assert (job.rule, job.name, fault.reason) == ("download_series", NAME, reason)
    assert fault.transient
    assert told in str(fault)


def test_a_job_that_runs_again_or_has_finished_is_not_lost() -> None:
    assert lost_jobs(log(BEGUN, FAILED, BEGUN, state="TIMEOUT")) == []
    assert lost_jobs(log(BEGUN, FAILED, BEGUN, FINISHED, state="TIMEOUT")) == []
    (again,) = lost_jobs(log(BEGUN, FAILED, BEGUN, FAILED, state="TIMEOUT"))
    assert again.state == "TIMEOUT"


def test_a_group_s_lines_are_indented() -> None:
    parts = "".join((BEGUN, FAILED)).format(
        rule="preprocess_volume", name=NAME, state="TIMEOUT", number=1
    )
    (job,) = lost_jobs([f"    {line}" for line in parts.splitlines()])
    assert (job.rule, job.name) == ("preprocess_volume", NAME)


def working_directory(folder: Path, lines: list[str]) -> Path:
    logs = folder / ".snakemake" / "log"
    logs.mkdir(parents=True)
    (logs / "2026-11-25T140000.000000.snakemake.log").write_text("\n".join(lines))
    return folder


def failure(folder: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "failures" / f"{NAME}.json").read_text())
    return content


def test_what_a_job_recorded_itself_stays_unless_the_scheduler_knows_better(
    tmp_path: Path,
) -> None:
    site = working_directory(tmp_path / "a", log(BEGUN, FAILED, state="FAILED"))
    assert record_lost_jobs(Workdir(site)) == []
    assert failure(site)["reason"] == "killed"
    own = {"stage": "download_series", "reason": "no_space", "message": "full", "transient": True}
    (site / "failures" / f"{NAME}.json").write_text(json.dumps(own))
    record_lost_jobs(Workdir(site))
    assert failure(site) == own

    other = working_directory(tmp_path / "b", log(BEGUN, FAILED, state="OUT_OF_MEMORY"))
    (other / "failures").mkdir()
    (other / "failures" / f"{NAME}.json").write_text(json.dumps(own))
    record_lost_jobs(Workdir(other))
    assert failure(other)["reason"] == "out_of_memory"


def test_a_local_job_that_left_nothing_is_killed(tmp_path: Path) -> None:
    site = working_directory(tmp_path, log(BEGUN, LOCAL, rule="preprocess_volume"))
    record_lost_jobs(Workdir(site))
    assert failure(site)["reason"] == "killed"
    assert failure(site)["stage"] == "preprocess_volume"


def test_a_picture_that_was_not_drawn_says_nothing_of_the_scan(tmp_path: Path) -> None:
    site = working_directory(tmp_path, log(BEGUN, FAILED, rule="draw_scan", state="TIMEOUT"))
    assert record_lost_jobs(Workdir(site)) == []
    assert not (site / "failures").exists()


def test_the_index_is_no_scan_s(tmp_path: Path) -> None:
    lines = log(BEGUN, FAILED, rule="index_series", state="TIMEOUT")
    lines = [line for line in lines if "wildcards" not in line]
    lines = [line.replace("rule index", "checkpoint index") for line in lines]
    site = working_directory(tmp_path, lines)
    (job,) = record_lost_jobs(Workdir(site))
    assert (job.rule, job.name, job.fault().reason) == ("index_series", "", "out_of_time")
    assert not (site / "failures").exists()


def test_a_directory_in_which_nothing_ran_has_lost_nothing(tmp_path: Path) -> None:
    assert record_lost_jobs(Workdir(tmp_path)) == []


@pytest.mark.parametrize(
    ("folder", "name"), [("slurm_logs", "37.log"), ("job_logs", "37.server.OU")]
)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("slurmstepd-n1: error: Exceeded job memory limit", "out_of_memory"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=37.0. Some of the step tasks have"
         " been OOM Killed.", "out_of_memory"),
        ("slurmstepd: error: *** JOB 37 ON n1 CANCELLED AT 2026-11-25T14:07:36 DUE TO TIME LIMIT"
         " ***", "out_of_time"),
        ("TERM_MEMLIMIT: job killed after reaching LSF memory usage limit.", "out_of_memory"),
        ("TERM_RUNLIMIT: job killed after reaching LSF run time limit.", "out_of_time"),
        ("=>> PBS: job killed: walltime 86 exceeded limit 60", "out_of_time"),
        ("=>> PBS: job killed: mem 4195872kb exceeded limit 4194304kb", "out_of_memory"),
        ("error: the archive.stop file exists", "killed"),
    ],
)  # fmt: skip
def test_a_job_s_own_log_tells_what_its_state_does_not(
    tmp_path: Path, text: str, reason: str, folder: str, name: str
) -> None:
    site = working_directory(tmp_path, log(BEGUN, FAILED, state="FAILED"))
    (site / ".snakemake" / folder).mkdir()
    (site / ".snakemake" / folder / name).write_text(f"line\n{text}\n")
    record_lost_jobs(Workdir(site))
    assert failure(site)["reason"] == reason
    assert (f".snakemake/{folder}/{name}" in str(failure(site)["message"])) == (reason == "killed")
