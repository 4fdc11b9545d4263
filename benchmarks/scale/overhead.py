"""CPU seconds per accession beyond its pixels: two processes' start-up, Snakemake, logs, records.

    python benchmarks/scale/overhead.py

The slope of a whole local run's CPU time between few and many scans of 32 x 32 x 32 voxels.
"""

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from ctcohort.phantoms.anatomy import Phantom  # noqa: E402
from ctcohort.phantoms.stack import SliceStack  # noqa: E402
from ctcohort.phantoms.writer import Identity, make_series, write_files  # noqa: E402

FEW, MANY = 4, 24
LIMIT = 1.0


def main() -> None:
    few, many = (cpu_seconds(count) for count in (FEW, MANY))
    each = (many - few) / (MANY - FEW)
    print(f"{few:.1f} CPU s for {FEW} scans, {many:.1f} for {MANY}: {each:.2f} per accession")
    sys.exit(each > LIMIT)


def cpu_seconds(count: int) -> float:
    """Of `snakemake --cores 2` and all of its jobs, for `count` tiny scans."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_scans(folder, count)
        return snakemake(folder, "--cores", "2")


def make_scans(folder: Path, count: int) -> None:
    """A working directory with an archive of `count` scans of 32 x 32 x 32 voxels."""
    folder.mkdir(exist_ok=True)
    stack = SliceStack.oriented(count=32, step=8, rows=32, columns=32, fov=320)
    with open(folder / "reports.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["AccessionNumber", "MRN", "Protocol"])
        for number in range(count):
            who = Identity(patient_id=f"P{number}", accession=f"A{number}")
            series = make_series(Phantom(scale=1 + number / 1000), stack, identity=who)
            write_files(series, folder / "archive" / str(number))
            writer.writerow([f"A{number}", f"P{number}", "tiny"])
    (folder / "config.yaml").write_text(
        f"reports: {folder}/reports.csv\n"
        "select: {protocols: [tiny]}\n"
        "volume: {spacing_mm: 10}\n"
        f"archive: {{connections: 4, folder: {{path: {folder}/archive}}}}\n"
    )


def snakemake(folder: Path, *options: str | Path) -> float:
    """CPU seconds of a run and of the processes that it started on this machine."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile"]
    process = subprocess.Popen([*command, "--directory", folder, "--quiet", "all", *options])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        sys.exit("the run failed")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
