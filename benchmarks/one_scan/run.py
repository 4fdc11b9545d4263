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
import shutil
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


def parameters(irregular: str = "mode") -> str:
    return volume_parameters(
        {
            "clip_hu": [-1000, 1000],
            "spacing_mm": 0.8,
            "interpolator": "bspline",
            "irregular_spacing": irregular,
            "max_gap_mm": 10.0,
            "gantry_tilt": "correct",
        }
    )


def _size(matrix: int, fov: float, count: int, step: float) -> dict[str, float]:
    return {"rows": matrix, "columns": matrix, "fov": fov, "count": count, "step": step}


@dataclass(frozen=True)
class Scan:
    """A phantom scan that the product was not tuned on.

    `noise` is the standard deviation in HU of noise without texture, as a sharp kernel leaves it:
    deflate finds nothing in it. `missing` slices make it irregular, and then nothing is displaced.
    """

    size: dict[str, float]
    noise: float
    tilt: float = 0
    missing: range = range(0)


SCANS = {
    "1 mm chest, 512 x 512 x 275": Scan(_size(512, 360, 275, 1.0), 40),
    "0.6 mm chest, sharp kernel, 512 x 512 x 600": Scan(_size(512, 350, 600, 0.6), 90),
    "5 mm abdomen, 512 x 512 x 90": Scan(_size(512, 420, 90, 5.0), 12),
    "2 mm chest, 768 x 768 x 150": Scan(_size(768, 360, 150, 2.0), 50),
    "2.5 mm head, tilted 18 degrees, 512 x 512 x 60": Scan(_size(512, 240, 60, 2.5), 6, tilt=18),
    "1.5 mm chest, 5 slices missing, positions, 512 x 512 x 200": Scan(
        _size(512, 360, 200, 1.5), 30, missing=range(90, 95)
    ),
}

SMALL = Scan(_size(512, 360, 100, 0.7), 25)
"""The scan that is compressed."""


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


def phantom_archive(folder: Path, scan: Scan, syntax: str | None = None) -> Path:
    """A phantom scan as files, compressed if asked for."""
    stack = SliceStack.tilted(scan.tilt, **scan.size) if scan.tilt else None
    stack = stack or SliceStack.oriented(**scan.size)
    kept = [place for place in range(stack.count) if place not in scan.missing]
    series = make_series(Phantom(), stack.take(kept), noise=scan.noise)
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


def compare(
    name: str,
    source: Path,
    folder: Path,
    runs: int,
    *,
    scan: Scan = SMALL,
    plain: Path | None = None,
) -> list[str]:
    """Rows of the table for one scan.

    Parameters
    ----------
    plain : Path, optional
        The same scan without compression, downloaded: the decoder and it are measured too.
    """
    download(source, folder)
    python = sys.executable
    product = [python, str(SCRIPTS / "preprocess_volume.py"), "A", "--raw", "raw/A"]
    product += ["--received", "received/A.json"]
    product += ["--parameters", parameters("positions" if scan.missing else "mode")]
    product += ["--volume", "product.npz", "--record", "product.json"]
    commands = {
        "reference": [reference_python(), str(HERE / "reference.py"), "raw/A", "reference.npz"],
        "product": product,
        "product, 2 threads": [*product, "--threads", "2"],
    }
    if plain:
        commands["decoder alone"] = [python, str(HERE / "decoder.py"), "raw/A"]
    costs: dict[str, list[Cost]] = {}
    for _ in range(runs):
        for label, command in commands.items():
            costs.setdefault(label, []).append(measured(command, folder))
        if plain:
            costs.setdefault("product, not compressed", []).append(measured(product, plain))
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
    same = not scan.tilt and not scan.missing  # else the reference makes another volume
    worst = np.abs(ct[within].astype(int) - article[within]).max() if same else "another grid"
    ratio = (folder / "product.npz").stat().st_size / (folder / "zlib.npz").stat().st_size
    base, least = _median(costs["reference"]), _median(costs["limit"])
    rows = [
        f"| {name} | {label} | {cost.cpu:.2f} | {base.cpu / cost.cpu:.1f} |"
        f" {cost.cpu / least.cpu:.1f} | {1e9 * cost.cpu / ct.size:.0f} | {cost.wall:.2f} |"
        f" {cost.megabytes:.0f} | {base.megabytes / cost.megabytes:.1f} |"
        + (f" {ratio:.3f} | {worst} |" if label == "product" else " | |")
        for label, cost in ((label, _median(each)) for label, each in costs.items())
    ]
    if plain:
        parts = _median(costs["decoder alone"]).cpu + _median(costs["product, not compressed"]).cpu
        share = _median(costs["product"]).cpu / parts
        rows.append(
            f"| {name} | product / (decoder alone + not compressed) | {share:.2f} |{' |' * 8}"
        )
    return rows


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
        for name, scan in SCANS.items():
            folder = Path(place) / name
            rows += compare(name, phantom_archive(folder, scan), folder, options.runs, scan=scan)
            shutil.rmtree(folder)
        plain = Path(place) / "plain"
        download(phantom_archive(plain, SMALL), plain)
        for label, syntax in COMPRESSED.items():
            folder = Path(place) / label
            source = phantom_archive(folder, SMALL, syntax)
            name = f"0.7 mm chest, 512 x 512 x 100, {label}"
            rows += compare(name, source, folder, options.runs, plain=plain)
        if options.real:
            folder = Path(place) / "real"
            rows += compare("real chest", options.real.absolute(), folder, options.runs)
    lines = [
        f"Medians of {options.runs} runs in turn; CPU includes start-up and imports. The limit"
        " reads the files,\nproves their checksums and deflates at the level that `npz.level` chose"
        " for the scan.",
        "",
        "| scan | what | CPU s | times less CPU | times the limit | CPU ns / voxel | wall s |"
        " peak MB | times less memory | bytes / savez_compressed | largest difference, HU |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    (HERE / "results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
