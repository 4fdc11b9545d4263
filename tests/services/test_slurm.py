"""The demo hospital on a real Slurm of three nodes, both ways, and what may happen meanwhile."""

import os
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
LONG = 150
"""Seconds after which waiting is a failure."""

pytestmark = [
    pytest.mark.skipif(bool(slurm.why_not()), reason=f"Slurm: {slurm.why_not()}"),
    pytest.mark.xdist_group("slurm"),
]

CONFIG = """\
reports: {demo}/reports.csv
columns: {{carry: [nodule]}}
select: {{sample: {sample}}}
archive: {{connections: {connections}, folder: {{path: {demo}/archive}}}}
volume: {{spacing_mm: 4}}
"""

FEW = 4
"""Of the demo's accessions, where not all are needed."""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    with slurm.cluster(folder, nodes=3) as running:
        yield running


@pytest.fixture
def nodes(cluster: slurm.Cluster) -> Iterator[slurm.Cluster]:
    """The cluster, idle before and after."""
    yield cluster
    cluster.drain()


@dataclass(frozen=True)
class Hospital:
    """The demo's archive and table, and what local runs make of them."""

    demo: Path
    scratch: Path

    def directory(self, name: str, sample: int | None = None) -> Path:
        """A new working directory."""
        path = self.scratch / name
        path.mkdir()
        text = CONFIG.format(demo=self.demo, sample=sample or "null", connections=CONNECTIONS)
        (path / "config.yaml").write_text(text)
        return path

    def locally(self, sample: int | None = None) -> dict[str, bytes]:
        name = f"local-{sample}"
        if not (self.scratch / name).exists():
            snakemake(self.directory(name, sample), "--cores", "2").done(0)
        return made(self.scratch / name)


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    scratch = tmp_path_factory.mktemp("hospital")
    script = REPOSITORY / "scripts" / "make_demo.py"
    subprocess.run([sys.executable, script, scratch / "demo"], check=True)
    return Hospital(scratch / "demo", scratch)


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
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile"]
    command += ["--directory", directory, *options]
    log = directory / f"run-{len(list(directory.glob('run-*')))}.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
    return Run(process, log)


def with_profile(directory: Path) -> Run:
    """Snakemake with profiles/slurm; only what saves a test's time is changed."""
    return snakemake(
        directory,
        *("--workflow-profile", REPOSITORY / "profiles" / "slurm"),
        *("--slurm-init-seconds-before-status-checks", "5"),
        *("--set-threads", "index_series=2"),
    )


def in_parts(dataset: Path, array: str, count: int) -> int:
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
        env={**os.environ, "CT_COHORT_SCRATCH": f"{dataset}/scratch"},
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


def test_profile_a_cancelled_job_runs_again_and_downloads_keep_to_connections(
    nodes: slurm.Cluster, hospital: Hospital
) -> None:
    before = {job["id"] for job in nodes.jobs()}
    directory = hospital.directory("profile")
    run = with_profile(directory)
    victim = wait_for(lambda: running(nodes, "preprocess_volume"))[0]
    nodes.run("scancel", victim["id"])
    text = run.done(0)
    jobs = [job for job in nodes.jobs() if job["id"] not in before]
    downloads = [job for job in jobs if job["comment"].startswith("rule_download_series")]
    assert "CANCELLED" in text
    assert len(downloads) == len(list((directory / "received").iterdir()))
    assert at_once(downloads) == CONNECTIONS
    assert len({job["node"] for job in jobs}) == nodes.nodes
    assert made(directory) == hospital.locally()
    assert "Nothing to be done" in with_profile(directory).done(0)


def test_profile_a_lost_node(nodes: slurm.Cluster, hospital: Hospital) -> None:
    """Slurm queues the node's jobs again; Snakemake waits for them."""
    directory = hospital.directory("lost-node", FEW)
    run = with_profile(directory)
    victim = wait_for(lambda: running(nodes, "preprocess_volume"))[0]
    nodes.lose_node(victim["node"])
    run.done(0)
    assert made(directory) == hospital.locally(FEW)


def test_profile_snakemake_is_killed_and_restarted(
    nodes: slurm.Cluster, hospital: Hospital
) -> None:
    """Its Slurm jobs go on, and are submitted again beside themselves: that does no harm."""
    directory = hospital.directory("killed", FEW)
    run = with_profile(directory)
    wait_for(lambda: running(nodes, "download_series"))
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    assert "LockException" in with_profile(directory).done(1)
    snakemake(directory, "--unlock").done(0)
    with_profile(directory).done(0)
    assert made(directory) == hospital.locally(FEW)


def test_parts_stopped_in_every_way_go_on_and_merge_to_what_one_run_makes(
    nodes: slurm.Cluster, hospital: Hospital
) -> None:
    dataset = hospital.directory("parts")
    parts = [dataset / f"part-{number}" for number in (1, 2, 3)]
    job = in_parts(dataset, "1-3", 3)
    logs = [dataset / f"part-{number}.log" for number in (1, 2, 3)]
    wait_for(lambda: all(log.exists() and "download_series" in log.read_text() for log in logs))
    # the time limit is near; the whole task is cancelled; its node is lost
    nodes.run("scancel", "--batch", "--signal=TERM", f"{job}_1")
    nodes.run("scancel", f"{job}_2")
    (third,) = (j for j in nodes.jobs(states="running") if j["id"] == f"{job}_3")
    nodes.lose_node(third["node"])
    wait_for(lambda: not nodes.jobs(states="running,completing,pending"))
    assert "Will exit after finishing currently running jobs" in logs[0].read_text()
    assert (parts[2] / "manifest.csv").exists()  # Slurm queued it again by itself
    again = in_parts(dataset, "1-3", 3)
    wait_for(lambda: not nodes.jobs(states="running,completing,pending"))
    ended = {j["id"]: j["state"] for j in nodes.jobs() if j["id"].startswith(f"{again}_")}
    assert set(ended.values()) == {"COMPLETED"}, [log.read_text() for log in logs]
    merge = REPOSITORY / "scripts" / "merge_manifests.py"
    subprocess.run([sys.executable, merge, dataset / "merged", *parts], check=True)
    assert made(dataset / "merged") == hospital.locally()
    assert all("archive_share=1000000" in log.read_text() for log in logs)  # one at a time each
    assert all((part / "raw").readlink() == dataset / "scratch" / part.name for part in parts)


def test_a_part_is_made_by_one_job_at_a_time(nodes: slurm.Cluster, hospital: Hospital) -> None:
    dataset = hospital.directory("twice", FEW)
    in_parts(dataset, "1", 1)
    log = dataset / "part-1.log"
    wait_for(lambda: log.exists() and "index_series" in log.read_text())
    second = in_parts(dataset, "1", 1)
    wait_for(lambda: not nodes.jobs(states="running,completing,pending"))
    ended = {job["id"]: job["state"] for job in nodes.jobs()}
    assert ended[f"{second}_1"] == "FAILED"
    assert "is being made by another job" in log.read_text()
    assert made(dataset / "part-1") == hospital.locally(FEW)
