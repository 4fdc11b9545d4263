"""CPU seconds per scan of the two ways over many nodes, on a real Slurm of one machine.

    sudo .venv/bin/python -m benchmarks.scale.slurm

Tiny scans, as in overhead.py: what is left is what each way costs beside the pixels. The nodes' CPU
time is that of slurmd's descendants, which proc(5) adds up as they end.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.services import slurm

from . import overhead

COUNT, PARTS = 12, 3


def main() -> None:
    if slurm.why_not():
        sys.exit(slurm.why_not())
    with tempfile.TemporaryDirectory() as name, slurm.cluster(Path(name) / "slurm") as cluster:
        print("| way | CPU s on nodes | CPU s where it was started | CPU s per scan | wall s |")
        print("|---|---|---|---|---|")
        for way, run in (("profiles/slurm", by_profile), ("slurm/partitions.sbatch", in_parts)):
            folder = Path(name) / run.__name__
            overhead.make_scans(folder, COUNT)
            begun, before = time.monotonic(), on_nodes(cluster)
            own = run(folder, cluster)
            nodes, wall = on_nodes(cluster) - before, time.monotonic() - begun
            made = len(list(folder.glob("**/processed/*.npz")))
            assert made == COUNT, f"{made} of {COUNT} scans are made"
            each = (nodes + own) / COUNT
            print(f"| {way} | {nodes:.1f} | {own:.1f} | {each:.2f} | {wall:.0f} |", flush=True)


def by_profile(folder: Path, _cluster: slurm.Cluster) -> float:
    profile = overhead.REPOSITORY / "profiles" / "slurm"
    few = ("--set-threads", "index_series=2")  # a node has no more
    return overhead.snakemake(folder, "--workflow-profile", profile, *few)


def in_parts(folder: Path, cluster: slurm.Cluster) -> float:
    script = overhead.REPOSITORY / "slurm" / "partitions.sbatch"
    command = ["sbatch", f"--array=1-{PARTS}", "--cpus-per-task=2", "--mem-per-cpu=1000M", script]
    subprocess.run([*command, overhead.REPOSITORY, str(PARTS)], cwd=folder, check=True)
    while cluster.jobs(states="running,completing,pending"):
        time.sleep(0.5)
    return 0.0


def on_nodes(cluster: slurm.Cluster) -> float:
    """CPU seconds of everything that the nodes' daemons ever started and that has ended."""
    total = 0.0
    for pid_file in (cluster.folder / "run").glob("n*.pid"):
        stat = Path(f"/proc/{pid_file.read_text().strip()}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")  # cutime, cstime
    return total


if __name__ == "__main__":
    main()
