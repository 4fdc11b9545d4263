"""`preprocess_volume` against the reference, whole processes in turn on the same scans.

    .venv/bin/python benchmarks/one_scan/run.py [--runs 3] [--real FOLDER]

The reference has a virtual environment of its own (``.venv-reference``, made when it is not there),
as its decoders are not the product's. Writes `benchmarks/one_scan/results.md`: medians of CPU, wall
and peak memory as ratios, the bytes written, and the largest difference of a voxel between the
first and the last slice. The limit is reading the files and deflating the finished volume at the
product's level, and nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from pydicom import uid  # noqa: E402

from ctcohort.archives.folder import FolderArchive  # noqa: E402
from ctcohort.archives.protocol import Query  # noqa: E402
from ctcohort.config.settings import volume_parameters  # noqa: E402
from ctcohort.phantoms.anatomy import Phantom  # noqa: E402
from ctcohort.phantoms.stack import SliceStack  # noqa: E402
from ctcohort.phantoms.writer import make_series, write_files  # noqa: E402
from ctcohort.series.download import fetch_series  # noqa: E402
from ctcohort.volume import npz  # noqa: E402

COMPRESSED = {
    "JPEG lossless": uid.JPEGLosslessSV1,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG 2000": uid.JPEG2000Lossless,
}

PARAMETERS = volume_parameters(
    {
        "clip_hu": [-1000, 1000],
        "spacing_mm": 0.8,
        "interpolator": "bspline",
        "irregular_spacing": "mode",
        "gantry_tilt": "correct",
    }
)


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    cpu: float
    wall: float
    megabytes: float


def measured(command: list[str], folder: Path) -> Cost:
    """Run a command and account for it and its children."""
    program = (
        "import json, resource, subprocess, sys, time\n"
        "start = time.perf_counter()\n"
        "subprocess.run(sys.argv[1:], check=True, capture_output=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([used.ru_utime + used.ru_stime, time.perf_counter() - start,"
        " used.ru_maxrss / 1024]))"
    )
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=folder,
        env=os.environ | one,
        check=True,
        capture_output=True,
        text=True,
    )
    return Cost(*json.loads(done.stdout))


def reference_python() -> str:
    """The interpreter of the reference's own environment."""
    place = HERE / ".venv-reference"
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "-r", HERE / "reference.txt"]
        subprocess.run(install, check=True)
    return str(python)


def phantom_archive(folder: Path, *, slices: int, syntax: str | None = None) -> Path:
    """A 512 x 512 phantom scan as files, compressed if asked for."""
    stack = SliceStack.oriented(count=slices, step=0.7, rows=512, columns=512, fov=360)
    series = make_series(Phantom(), stack)
    write_files(series, folder / "archive", transfer_syntax=syntax)
    return folder / "archive"


def download(source: Path, folder: Path) -> None:
    """The largest series of a folder as ``raw/A`` and ``received/A.json``."""
    archive = FolderArchive(source, link=False, store=folder / "index", key=b"benchmark")
    archive.prepare(threads=1)
    (accession,) = archive.index.execute(
        "SELECT accession FROM files GROUP BY accession ORDER BY count(*) DESC LIMIT 1"
    ).fetchone()
    series = max(archive.find(Query((accession,))), key=lambda found: found.instances)
    fetch_series(
        archive,
        archive.headers(series),
        target=folder / "raw" / "A",
        received=folder / "received" / "A.json",
    )


def compare(name: str, source: Path, folder: Path, runs: int) -> list[str]:
    """Rows of the table for one scan."""
    download(source, folder)
    python = sys.executable
    product = [python, str(SCRIPTS / "preprocess_volume.py"), "A", "--raw", "raw/A"]
    product += ["--received", "received/A.json", "--parameters", PARAMETERS]
    product += ["--volume", "product.npz", "--record", "product.json"]
    reference = [reference_python(), str(HERE / "reference.py"), "raw/A", "reference.npz"]
    costs: dict[str, list[Cost]] = {}
    for _ in range(runs):
        for label, command in (
            ("reference", reference),
            ("product", product),
            ("product, 2 threads", [*product, "--threads", "2"]),
        ):
            costs.setdefault(label, []).append(measured(command, folder))
    with np.load(folder / "product.npz") as made, np.load(folder / "reference.npz") as expected:
        ct, article = made["ct"], expected["ct"]
    np.save(folder / "ct.npy", ct)
    np.savez_compressed(folder / "zlib.npz", ct=ct)
    limit = [python, str(HERE / "limit.py"), "raw/A", "ct.npy", "limit.npz"]
    limit.append(str(npz.level((folder / "ct.npy").read_bytes())))
    costs["limit"] = [measured(limit, folder) for _ in range(runs)]
    record = json.loads((folder / "product.json").read_text())
    inside = ct.shape[0] - record["extrapolated_slices"], ct.shape[1] - 1, ct.shape[2] - 1
    within = tuple(slice(0, size) for size in inside)
    worst = np.abs(ct[within].astype(int) - article[within]).max()
    ratio = (folder / "product.npz").stat().st_size / (folder / "zlib.npz").stat().st_size
    base, least = _median(costs["reference"]), _median(costs["limit"])
    return [
        f"| {name} | {label} | {cost.cpu:.2f} | {base.cpu / cost.cpu:.1f} |"
        f" {cost.cpu / least.cpu:.1f} | {cost.wall:.2f} |"
        f" {cost.megabytes:.0f} | {base.megabytes / cost.megabytes:.1f} |"
        + (f" {ratio:.3f} | {worst} |" if label == "product" else " | |")
        for label, cost in ((label, _median(each)) for label, each in costs.items())
    ]


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.megabytes for cost in costs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--real", type=Path, help="a folder with one real scan")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "phantom"
        source = phantom_archive(folder, slices=400)
        rows += compare("phantom 512 x 512 x 400", source, folder, options.runs)
        for label, syntax in COMPRESSED.items():
            folder = Path(place) / label
            source = phantom_archive(folder, slices=100, syntax=syntax)
            rows += compare(f"phantom 512 x 512 x 100, {label}", source, folder, options.runs)
        if options.real:
            folder = Path(place) / "real"
            rows += compare("real chest", options.real.absolute(), folder, options.runs)
    lines = [
        f"Medians of {options.runs} runs in turn; CPU includes start-up and imports. The limit"
        " deflates at the\nlevel that `npz.level` chose for the scan.",
        "",
        "| scan | what | CPU s | times less CPU | times the limit | wall s | peak MB |"
        " times less memory | bytes / savez_compressed | largest difference, HU |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    (HERE / "results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
