"""The demo hospital on a real Slurm of three nodes, both ways, through all that may happen."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import slurm

REPOSITORY = Path(__file__).parents[2]
CONNECTIONS = 3
LONG = 600
"""Seconds after which waiting is a failure; nothing else depends on time."""

pytestmark = [
    pytest.mark.skipif(bool(slurm.why_not()), reason=f"Slurm: {slurm.why_not()}"),
    pytest.mark.xdist_group("slurm"),
]

CONFIG = """\
reports: {demo}/reports.csv
columns: {{carry: [nodule]}}
archive: {{connections: {connections}, folder: {{path: {demo}/archive}}}}
volume: {{spacing_mm: 4}}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Cluster]:
    with slurm.cluster(tmp_path_factory.mktemp("slurm"), nodes=3) as running:
        yield running


@dataclass(frozen=True)
class Hospital:
    """The demo's archive and table, and what a local run makes of them."""

    demo: Path
    scratch: Path
    results: dict[str, bytes]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    scratch = tmp_path_factory.mktemp("hospital")
    demo = scratch / "demo"
    subprocess.run([sys.executable, REPOSITORY / "scripts" / "make_demo.py", demo], check=True)
    local = new_directory(scratch / "local", demo)
    snakemake(local, "--cores", "2").done(0)
    return Hospital(demo, scratch, made(local))


def new_directory(path: Path, demo: Path) -> Path:
    path.mkdir()
    (path / "config.yaml").write_text(CONFIG.format(demo=demo, connections=CONNECTIONS))
    return path


def made(directory: Path) -> dict[str, bytes]:
    """Everything that is a result, by name."""
    names = ("accessions.txt", "cohort.csv", "series.csv", "splits.csv", "manifest.csv")
    paths = [directory / name for name in names] + sorted((directory / "processed").glob("[!.]*"))
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


@dataclass(frozen=True)
class Run:
    """A Snakemake that runs beside the test."""

    process: subprocess.Popen[bytes]
    log: Path

    def done(self, status: int) -> str:
        found = self.process.wait(LONG)
        text = self.log.read_text()
        assert found == status, text
        return text


def snakemake(directory: Path, *options: str | Path) -> Run:
    command = ["env", "--default-signal=INT"]  # what starts the tests may have it ignored
    command += [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile"]
    command += ["--directory", directory, *options]
    log = directory / f"run-{len(list(directory.glob('run-*')))}.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
    return Run(process, log)


def with_profile(directory: Path, *options: str) -> Run:
    """Snakemake with profiles/slurm; only what saves a test's time is changed."""
    return snakemake(
        directory,
        *("--workflow-profile", REPOSITORY / "profiles" / "slurm"),
        *("--slurm-init-seconds-before-status-checks", "5"),
        *options,
    )


def status(directory: Path) -> str:
    """What `make status` prints."""
    command = [sys.executable, REPOSITORY / "scripts" / "status.py", "--directory", directory]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def in_parts(dataset: Path, array: str, count: int, **variables: str) -> int:
    """Submit slurm/partitions.sbatch as its head says, on two processors per part."""
    text = subprocess.run(
        [
            *("sbatch", "--parsable", f"--array={array}", "--cpus-per-task=2"),
            *("--mem-per-cpu=1000M", "--time=30", REPOSITORY / "slurm" / "partitions.sbatch"),
            *(workflow(dataset), str(count)),
        ],
        cwd=dataset,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "CT_COHORT_SCRATCH": f"{dataset}/scratch", **variables},
    ).stdout
    return int(text)


def workflow(dataset: Path) -> Path:
    """The repository, with this test's environment as its .venv."""
    place = dataset.parent / "workflow"
    if not place.exists():
        place.mkdir()
        for entry in REPOSITORY.iterdir():
            if entry.name != ".venv":
                (place / entry.name).symlink_to(entry)
        (place / ".venv").symlink_to(sys.prefix)
    return place


def wait_for(what: Callable[[], Any], seconds: float = LONG) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"waited {seconds:g} s in vain"
        time.sleep(0.2)
    return found


def running(cluster: slurm.Cluster, rule: str) -> list[dict[str, str]]:
    """Jobs of a rule that have just begun."""
    jobs = cluster.jobs(states="running")
    return [job for job in jobs if job["comment"].startswith(f"rule_{rule}") and job["node"]]


def at_once(jobs: list[dict[str, str]]) -> int:
    """Most jobs that ran at one moment."""
    events = [(job["start"], 1) for job in jobs] + [(job["end"], -1) for job in jobs]
    level = most = 0
    for _, step in sorted(events):  # an end sorts before a start of the same second
        level += step
        most = max(most, level)
    return most


# profiles/slurm


@dataclass(frozen=True)
class Survived:
    """A run with profiles/slurm to which everything happened: what it said, did and left."""

    directory: Path
    locked: str
    text: str
    jobs: list[dict[str, str]]
    cancelled: str
    lost: str
    restarts: int


@pytest.fixture(scope="module")
def survived(cluster: slurm.Cluster, hospital: Hospital) -> Survived:
    """Snakemake is killed and started again; then a job is cancelled, then a node goes away."""
    cluster.drain()
    directory = new_directory(hospital.scratch / "profile", hospital.demo)
    run = with_profile(directory)
    wait_for(lambda: running(cluster, "download_series"))
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    orphans = cluster.jobs(states="running,pending")
    assert len({job["name"] for job in orphans}) == 1  # a run's jobs bear one name
    locked = with_profile(directory).done(1)
    cluster.run("scancel", "--me", f"--name={orphans[0]['name']}")
    snakemake(directory, "--unlock").done(0)

    before = {job["id"] for job in cluster.jobs()}
    run = with_profile(directory)
    cancelled = wait_for(lambda: running(cluster, "preprocess_volume"))[0]
    cluster.run("scancel", cancelled["id"])
    lost = wait_for(lambda: [j for j in running(cluster, "preprocess_volume") if j != cancelled])[0]
    cluster.lose_node(lost["node"])
    text = run.done(0)
    jobs = [job for job in cluster.jobs() if job["id"] not in before]
    (restarts,) = re.findall(r"Restarts=(\d+)", cluster.run("scontrol", "show", "job", lost["id"]))
    return Survived(
        directory, locked, text, jobs, cancelled["id"], lost["id"], restarts=int(restarts)
    )


def test_a_killed_snakemake_leaves_a_lock(survived: Survived) -> None:
    assert "LockException" in survived.locked


def test_a_cancelled_job_is_submitted_again(survived: Survived) -> None:
    (victim,) = (job for job in survived.jobs if job["id"] == survived.cancelled)
    same = [job for job in survived.jobs if job["comment"] == victim["comment"]]
    assert sorted(job["state"] for job in same) == ["CANCELLED", "COMPLETED"]


def test_another_attempt_has_more_time_and_memory(survived: Survived) -> None:
    (victim,) = (job for job in survived.jobs if job["id"] == survived.cancelled)
    (again,) = (
        job
        for job in survived.jobs
        if job["comment"] == victim["comment"] and job["state"] == "COMPLETED"
    )
    assert (victim["limit"], again["limit"]) == ("30:00", "1:00:00")
    assert megabytes(again["memory"]) == 2 * megabytes(victim["memory"])


def megabytes(text: str) -> int:
    """MB of what Slurm writes as ``512M`` or ``1G``."""
    return int(text[:-1]) * {"M": 1, "G": 1024}[text[-1]]


def test_the_jobs_of_a_lost_node_are_queued_again_by_slurm(survived: Survived) -> None:
    (victim,) = (job for job in survived.jobs if job["id"] == survived.lost)
    assert (victim["state"], survived.restarts) == ("COMPLETED", 1)


def test_downloads_keep_to_the_connections_over_the_whole_cluster(survived: Survived) -> None:
    downloads = [job for job in survived.jobs if job["comment"].startswith("rule_download_series")]
    assert len({job["node"] for job in downloads}) > 1
    assert at_once(downloads) == CONNECTIONS


def test_the_profile_makes_what_a_local_run_makes(survived: Survived, hospital: Hospital) -> None:
    assert made(survived.directory) == hospital.results
    assert "Nothing to be done" in with_profile(survived.directory).done(0)


def test_status_tells_what_waits_and_what_will_wait_for_ever(
    cluster: slurm.Cluster, hospital: Hospital
) -> None:
    cluster.drain()
    directory = new_directory(hospital.scratch / "waiting", hospital.demo)
    asked = ("index_series:runtime=120", "index_series:slurm_partition=short")  # of 30 min at most
    run = with_profile(directory, "--set-resources", *asked)
    wait_for(lambda: cluster.jobs(states="pending"))
    told = wait_for(lambda: [line for line in status(directory).splitlines() if "ever" in line])
    # which of the two Slurm says depends on when its scheduler has looked at the job
    assert re.match(
        "  1 index_series will wait for ever, Partition(TimeLimit|Config): more ", told[0]
    )
    run.process.send_signal(signal.SIGINT)
    run.done(1)
    wait_for(lambda: not cluster.jobs(states="running,completing,pending"))  # as it says


def test_jobs_that_slurm_ended_are_failures_with_cause_and_remedy(
    cluster: slurm.Cluster, hospital: Hospital
) -> None:
    cluster.drain()
    archive = Path(shutil.copytree(hospital.demo, hospital.scratch / "hanging")) / "archive"
    directory = new_directory(hospital.scratch / "ended", archive.parent)
    snakemake(directory, "--cores", "2", "series.csv").done(0)
    slice_ = sorted((archive / "03").iterdir())[0]
    content = slice_.read_bytes()
    slice_.unlink()
    os.mkfifo(slice_)  # to open it waits for ever
    few = ("--set-resources", "download_series:runtime=1", "preprocess_volume:mem_mb=100")
    with_profile(directory, "--retries", "0", *few).done(1)
    told = status(directory)
    assert "1 failed: out_of_time (" in told
    assert "give it more: --set-resources download_series:runtime=2" in told
    assert "6 failed: out_of_memory (" in told
    assert "give it more: --set-resources preprocess_volume:mem_mb=200" in told

    slice_.unlink()
    slice_.write_bytes(content)
    with_profile(directory).done(0)
    assert made(directory) == hospital.results
    assert "failed" not in status(directory)


# slurm/partitions.sbatch


def end_in_time(cluster: slurm.Cluster, job: str) -> None:
    """Wait until a job has ended after TERM; after a minute end it as the time limit would.

    Snakemake 9.27 can wait for itself for ever: its handler of TERM takes a lock that its scheduler
    may hold. What the job leaves is the same.
    """
    end = time.monotonic() + 60
    while any(each["id"] == job for each in cluster.jobs(states="running,completing")):
        if time.monotonic() > end:
            cluster.run("scancel", "--full", "--signal=KILL", job)
            return
        time.sleep(0.5)


def test_parts_stopped_in_every_way_go_on_and_merge_to_what_one_run_makes(
    cluster: slurm.Cluster, hospital: Hospital
) -> None:
    cluster.drain()
    dataset = new_directory(hospital.scratch / "parts", hospital.demo)
    parts = [dataset / f"part-{number}" for number in (1, 2, 3)]
    logs = [dataset / f"part-{number}.log" for number in (1, 2, 3)]
    job = in_parts(dataset, "1-3", 3)

    def begun(number: int) -> bool:
        own = (parts[number - 1] / ".snakemake" / "log").glob("*.snakemake.log")
        return any("rule download_series" in log.read_text() for log in own)

    # the time limit is near; the whole task is cancelled; its node is lost
    wait_for(lambda: begun(1))
    cluster.run("scancel", "--batch", "--signal=TERM", f"{job}_1")
    end_in_time(cluster, f"{job}_1")
    wait_for(lambda: begun(2))
    cluster.run("scancel", f"{job}_2")
    wait_for(lambda: begun(3))
    (third,) = (j for j in cluster.jobs(states="running") if j["id"] == f"{job}_3")
    cluster.lose_node(third["node"])
    wait_for(lambda: not cluster.jobs(states="running,completing,pending"))
    assert (parts[2] / "manifest.csv").exists()  # Slurm queued it again by itself

    temporary = dataset / "tmp"
    temporary.mkdir()
    another = {"TMPDIR": str(temporary), "CT_COHORT_ENV": sys.prefix}
    again = in_parts(dataset, "1-3", 3, **another)
    wait_for(lambda: not cluster.jobs(states="running,completing,pending"))
    ended = {j["id"]: j["state"] for j in cluster.jobs()}
    assert [ended[f"{again}_{number}"] for number in (1, 2, 3)] == ["COMPLETED"] * 3, [
        log.read_text() for log in logs
    ]
    assert not list(temporary.iterdir())
    merge = REPOSITORY / "scripts" / "merge_manifests.py"
    subprocess.run([sys.executable, merge, dataset / "merged", *parts], check=True)
    assert made(dataset / "merged") == hospital.results
    assert all("archive_share=1000000" in log.read_text() for log in logs)  # one at a time each
    assert all((part / "raw").readlink() == dataset / "scratch" / part.name for part in parts)


def test_a_part_is_made_by_one_job_at_a_time(cluster: slurm.Cluster, hospital: Hospital) -> None:
    cluster.drain()
    dataset = new_directory(hospital.scratch / "twice", hospital.demo)
    (dataset / "part-1").mkdir()
    with open(dataset / "part-1" / ".running", "w") as another_job:
        fcntl.flock(another_job, fcntl.LOCK_EX)
        job = in_parts(dataset, "1", 1)
        wait_for(lambda: not cluster.jobs(states="running,completing,pending"))
    assert {j["id"]: j["state"] for j in cluster.jobs()}[f"{job}_1"] == "FAILED"
    assert "is being made by another job" in (dataset / "part-1.log").read_text()
    assert not (dataset / "part-1" / "config.yaml").exists()


def only_line(dataset: Path) -> str:
    (line,) = (dataset / "part-1.log").read_text().splitlines()
    return line


def test_a_full_tmpdir_is_named_in_one_line(cluster: slurm.Cluster, hospital: Hospital) -> None:
    cluster.drain()
    dataset = new_directory(hospital.scratch / "full", hospital.demo)
    place = dataset / "tmp"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        (place / "filling").write_bytes(bytes(4096))
        job = in_parts(dataset, "1", 1, TMPDIR=str(place))
        wait_for(lambda: not cluster.jobs(states="running,completing,pending"))
        assert not list(place.glob("ct-cohort-*"))
    finally:
        subprocess.run(["umount", place], check=True)
    assert {j["id"]: j["state"] for j in cluster.jobs()}[f"{job}_1"] == "FAILED"
    assert only_line(dataset).startswith(f"error: TMPDIR: {place} on ")


def test_a_missing_tmpdir_is_named_in_one_line(hospital: Hospital) -> None:
    """Without Slurm, which makes a TMPDIR that is not there where it can."""
    dataset = new_directory(hospital.scratch / "missing", hospital.demo)
    missing = {"TMPDIR": f"{dataset}/nowhere", "SLURM_ARRAY_TASK_ID": "1"}
    with open(dataset / "part-1.log", "wb") as log:
        done = subprocess.run(
            ["bash", REPOSITORY / "slurm" / "partitions.sbatch", workflow(dataset), "1"],
            cwd=dataset,
            env={**os.environ, **missing},
            stdout=log,
            stderr=log,
            check=False,
        )
    assert done.returncode == 1
    assert only_line(dataset).startswith(f"error: TMPDIR: {dataset}/nowhere on ")
