"""CPU seconds per scan of the two ways over many nodes, on a real Slurm of one machine.

    sudo .venv/bin/python -m benchmarks.scale.slurm

Tiny scans, as in overhead.py: what is left is what each way costs beside the pixels. The daemons
leave their jobs' processes to be adopted; this process adopts them (prctl(2), subreaper), so that
their CPU time becomes that of its children.
"""

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.services import slurm

from . import overhead

COUNT, PARTS = 12, 3
DOWNLOADS = 24
PR_SET_CHILD_SUBREAPER = 36
PROFILE = overhead.REPOSITORY / "profiles" / "slurm"


def main() -> None:
    if slurm.why_not():
        sys.exit(slurm.why_not())
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as name, slurm.cluster(Path(name) / "slurm") as cluster:
        print("| way | CPU s | CPU s per scan | wall s |\n|---|---|---|---|", flush=True)
        for way, run in (("profiles/slurm", by_profile), ("slurm/partitions.sbatch", in_parts)):
            folder = Path(name) / run.__name__
            overhead.make_scans(folder, COUNT)
            begun, before = time.monotonic(), ended()
            run(folder, cluster)
            while cluster.jobs(states="running,completing,pending"):
                time.sleep(0.5)
            cpu, wall = ended() - before, time.monotonic() - begun
            made = len(list(folder.glob("**/processed/*.npz")))
            assert made == COUNT, f"{made} of {COUNT} scans are made"
            print(f"| {way} | {cpu:.1f} | {cpu / COUNT:.2f} | {wall:.0f} |", flush=True)
        print("| downloads | wall s |\n|---|---|", flush=True)
        for place, way, options in (
            ("each", "a Slurm job each", ("--workflow-profile", PROFILE)),
            ("one", "the target `downloads` in one job", ("--cores", "4")),
        ):
            folder = Path(name) / place
            overhead.make_scans(folder, DOWNLOADS)
            overhead.snakemake(folder, "--cores", "2", "series.csv")
            begun = time.monotonic()
            overhead.snakemake(folder, *options, "downloads")
            print(f"| {way} | {time.monotonic() - begun:.0f} |", flush=True)


def by_profile(folder: Path, _cluster: slurm.Cluster) -> None:
    overhead.snakemake(folder, "--workflow-profile", PROFILE)


def in_parts(folder: Path, _cluster: slurm.Cluster) -> None:
    script = overhead.REPOSITORY / "slurm" / "partitions.sbatch"
    command = ["sbatch", f"--array=1-{PARTS}", "--cpus-per-task=2", "--mem-per-cpu=1000M", script]
    subprocess.run([*command, overhead.REPOSITORY, str(PARTS)], cwd=folder, check=True)


def ended() -> float:
    """CPU seconds of every process that was started here, or adopted, and has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
