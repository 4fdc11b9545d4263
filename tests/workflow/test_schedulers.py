"""profiles/lsf, sge and pbs, with stubs of the schedulers' commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import scheduler
from .conftest import ONE, TWO, Site

pytest.importorskip("snakemake_executor_plugin_cluster_generic", reason="needs `make slurm`")

KINDS = ("lsf", "pbs", "sge")
FEW = ("--seconds-between-status-checks", "1", "--latency-wait", "5", "--retries", "0")
"""What only saves a test's time, or another attempt's."""


def run(site: Site, kind: str, *arguments: str, ok: bool = True) -> str:
    """As `site.run`, with the scheduler's profile instead of the default one."""
    command = site.command(*arguments)
    at = command.index("--workflow-profile") + 1
    command[at] = str(site.workflow / "profiles" / kind)
    cores = command.index("--cores")
    del command[cores : cores + 2]
    return site.done(command, ok=ok).output


def results(folder: Path) -> dict[str, bytes]:
    names = ("series.csv", "splits.csv", "manifest.csv")
    paths = [folder / name for name in names] + sorted((folder / "processed").glob("[!.]*"))
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_makes_what_a_local_run_makes(kind: str, site: Site, tmp_path: Path) -> None:
    before = results(site.folder)
    for made in ("series.csv", "splits.csv", "manifest.csv"):
        (site.folder / made).unlink()
    for folder in ("raw", "received", "processed", ".snakemake"):
        shutil.rmtree(site.folder / folder)
    state = tmp_path / "scheduler"
    site.environment = scheduler.install(state, kind)
    run(site, kind, *FEW)
    assert results(site.folder) == before
    asked = [path.read_text().split("\n") for path in sorted(state.glob("*.asked"))]
    assert len(asked) == 5  # the index, two downloads, two volumes
    index = " ".join(asked[0])
    for words in {
        "lsf": ("-W 120", "-M 2000MB", "-n 2"),
        "pbs": ("select=1:ncpus=2:mem=2000mb", "walltime=7200"),
        "sge": ("-pe smp 2", "h_rt=7200,mem_free=1000M"),
    }[kind]:
        assert words in index


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_the_scheduler_ended_is_a_failure_with_its_cause(
    kind: str, site: Site, tmp_path: Path
) -> None:
    for name in (ONE, TWO):
        (site.folder / "processed" / f"{name}.npz").unlink()
    state = tmp_path / "scheduler"
    site.environment = scheduler.install(state, kind)
    (state / "kill").write_text(f"processed/{TWO}.npz")
    run(site, kind, *FEW, ok=False)
    assert (site.folder / "processed" / f"{ONE}.npz").exists()
    reason = "killed" if kind == "sge" else "out_of_time"  # Grid Engine writes nothing into the log
    told = site.script("status.py")
    assert f"1 failed: {reason} (" in told
    assert f"{TWO}: preprocess_volume: ended" in told


def test_what_schedulers_keep_of_a_withdrawn_patient_is_purged(site: Site, tmp_path: Path) -> None:
    """Grid Engine's logs and job scripts; the same as Slurm's profile and executor name them."""
    for name in (ONE, TWO):
        (site.folder / "processed" / f"{name}.npz").unlink()
    site.environment = scheduler.install(tmp_path / "scheduler", "sge")
    run(site, "sge", *FEW)
    kept = site.folder / ".snakemake"
    logs = list((kept / "job_logs").iterdir())
    about = {
        name: [log for log in logs if f"processed/{name}.npz" in log.read_text()]
        for name in (ONE, TWO)
    }
    for name in (ONE, TWO):
        (log,) = about[name]
        slurm = kept / "slurm_logs"
        (slurm / "rule_preprocess_volume" / name).mkdir(parents=True)
        shutil.copyfile(log, slurm / log.name)
        (kept / f"tmp.{name.lower()}").mkdir()  # what a killed run leaves
        shutil.copyfile(log, kept / f"tmp.{name.lower()}" / "snakejob.sh")
    site.write("exclusions.csv", f"accession,reason\n{TWO},withdrawn\n")
    site.configure({"exclusions": "exclusions.csv"})
    site.environment = {"ACCESSION": TWO, "DELETE": "yes"}
    site.run("--nolock", "--quiet", "all", "--", "purge")

    def files_naming(name: str) -> list[str]:
        folders = [path for kind in ("job_logs", "slurm_logs", "tmp.*") for path in kept.glob(kind)]
        files = [path for folder in folders for path in folder.rglob("*")]
        return [
            str(path.relative_to(kept))
            for path in files
            if name in path.parts or (path.is_file() and name in path.read_text())
        ]

    assert files_naming(TWO) == []
    assert len(files_naming(ONE)) == 4
