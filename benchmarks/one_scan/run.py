"""`preprocess_volume` against the article's method and against the limit, on scans of many kinds.

    python -m benchmarks.one_scan.run [--runs 3] [--real FOLDER ...]

Whole processes take turns on the same files. The reference has a virtual environment of its own
(``.venv-reference``, made when it is not there), as its decoders are not the product's. The limit
reads the files, takes their checksums and deflates the finished volume at the level that was chosen
for it, and nothing else. Writes `benchmarks/one_scan/results.md`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from tests.services.hospital import DEFAULTS, SCRIPTS

from benchmarks.measuring import Cost, measured, median
from ctcohort.archives.folder import FolderArchive
from ctcohort.archives.protocol import Query
from ctcohort.config.settings import volume_parameters
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series, set_pixels, write_files
from ctcohort.series.download import fetch_series
from ctcohort.volume import npz

HERE = Path(__file__).parent

COMPRESSED = {
    "JPEG lossless": uid.JPEGLosslessSV1,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG 2000": uid.JPEG2000Lossless,
}

CPU, LIMIT, MEMORY, BYTES, CODEC = 12, 2.0, 0.25, 1.02, 1.15
"""Goals: times less CPU than the reference, times the limit, of its memory, of the bytes of
`savez_compressed`, and of the decoder's CPU plus that of the scan when it is not compressed."""

HEAD = """\
Made by `run.py`: {runs}. Whole processes in turn, one thread each, start-up and imports included.
The machine is shared: CPU seconds differ by a third between runs, and only ratios within a row
count. Goals: {CPU} times less CPU than the reference on straight scans that are not compressed, at
most {LIMIT:.1f} times the limit, {MEMORY:.2f} of the memory, {BYTES} of the bytes of
`savez_compressed`. What misses its goal is in bold. The largest difference is that of a voxel
between the first and the last slice; where the reference knows no tilt or makes gaps even, it makes
another volume.

| scan | CPU s | 2 threads | reference | times less | limit | times the limit | peak MB |\
 of the reference | bits / voxel | of the bytes | largest difference, HU |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""

CODECS = """
Compressed scans, against the decoder alone and the same scan when it is not compressed:

| scan | CPU s | decoder alone | not compressed | of their sum |
|---|---|---|---|---|
"""


def _size(matrix: int, fov: float, count: int, step: float) -> dict[str, float]:
    return {"rows": matrix, "columns": matrix, "fov": fov, "count": count, "step": step}


@dataclass(frozen=True)
class Scan:
    """A phantom scan that the product was not tuned on.

    `noise` is its standard deviation in HU, `finest` the frequency in 1/mm beyond which the kernel
    passes little of it. `missing` slices make it irregular, and then nothing is displaced.
    """

    size: dict[str, float]
    noise: float
    finest: float
    tilt: float = 0
    missing: range = range(0)

    @property
    def straight(self) -> bool:
        return not self.tilt and not self.missing


SOFT, SHARP = 0.5, 1.2

SCANS = {
    "1 mm chest, 512 x 512 x 275": Scan(_size(512, 360, 275, 1.0), 40, SHARP),
    "0.6 mm chest, 512 x 512 x 600": Scan(_size(512, 350, 600, 0.6), 90, SHARP),
    "5 mm abdomen, 512 x 512 x 90": Scan(_size(512, 420, 90, 5.0), 12, SOFT),
    "2 mm chest, 768 x 768 x 150": Scan(_size(768, 360, 150, 2.0), 50, SHARP),
    "2.5 mm head, tilted 18 degrees, 512 x 512 x 60": Scan(
        _size(512, 240, 60, 2.5), 6, SOFT, tilt=18
    ),
    "1.5 mm chest, 5 slices missing, positions, 512 x 512 x 200": Scan(
        _size(512, 360, 200, 1.5), 30, SOFT, missing=range(90, 95)
    ),
}

SMALL = Scan(_size(512, 360, 100, 0.7), 25, SOFT)
"""The scan that is compressed."""


def parameters(irregular: str) -> str:
    return volume_parameters({**DEFAULTS["volume"], "irregular_spacing": irregular})


def reference_python() -> str:
    """The interpreter of the reference's own environment."""
    place = HERE / ".venv-reference"
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "-r", HERE / "reference.txt"]
        subprocess.run(install, check=True)
    return str(python)


def texture(scan: Scan, spacing: float, index: int) -> NDArray[np.float32]:
    """Noise as filtered back-projection leaves it: a ramp in frequency, which the kernel ends
    (Riederer et al., Phys Med Biol 23 (1978) 446)."""
    rows, columns = int(scan.size["rows"]), int(scan.size["columns"])
    white = np.random.default_rng(index).standard_normal((rows, columns), dtype=np.float32)
    y, x = np.fft.fftfreq(rows, spacing), np.fft.rfftfreq(columns, spacing)
    frequency = np.hypot(y[:, None], x)
    power = frequency * np.exp(-((frequency / scan.finest) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(power), white.shape)
    return (scan.noise / noise.std() * noise).astype(np.float32)


def slices(scan: Scan) -> list[Dataset]:
    """A phantom scan with its noise; stored values as the phantom has them, from -1024 HU on."""
    stack = SliceStack.tilted(scan.tilt, **scan.size) if scan.tilt else None
    stack = stack or SliceStack.oriented(**scan.size)
    kept = [place for place in range(stack.count) if place not in scan.missing]
    series = make_series(Phantom(), stack.take(kept), noise=0)
    for index, dataset in enumerate(series):
        stored = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
        noisy = np.rint(stored + texture(scan, stack.pixel_spacing[0], index))
        set_pixels(dataset, np.clip(noisy, 0, 4095), 12, 0)
    return series


def download(source: Path, folder: Path) -> None:
    """The largest series of a folder as ``raw/A`` and ``received/A.json``."""
    archive = FolderArchive(source, link=True, store=folder / "index", key=b"benchmark")
    archive.prepare(threads=1)
    study, uid_ = archive.index.execute(
        "SELECT study, series FROM files GROUP BY study, series ORDER BY count(*) DESC LIMIT 1"
    ).fetchone()
    found = archive.find(Query((), study))
    (series,) = [one for one in found if one.series_uid == uid_]
    fetch_series(
        archive,
        archive.headers(series),
        target=folder / "raw" / "A",
        received=folder / "received" / "A.json",
    )


def product(irregular: str = "mode") -> list[str]:
    """The workflow's command."""
    return [
        *(sys.executable, str(SCRIPTS / "preprocess_volume.py"), "A", "--raw", "raw/A"),
        *("--received", "received/A.json", "--parameters", parameters(irregular)),
        *("--volume", "product.npz", "--record", "product.json"),
    ]


def bold(text: str, held: bool) -> str:
    return text if held else f"**{text}**"


def compare(
    name: str, folder: Path, runs: int, *, scan: Scan | None = None, compressed: bool = False
) -> tuple[str, Cost]:
    """Row of the table for the scan that was downloaded to a folder, and what ours took."""
    made = product("positions" if scan and scan.missing else "mode")
    commands = {
        "reference": [reference_python(), str(HERE / "reference.py"), "raw/A", "reference.npz"],
        "ours": made,
        "threads": [*made, "--threads", "2"],
    }
    costs: dict[str, list[Cost]] = {}
    for turn in range(runs):
        for label, command in commands.items():
            costs.setdefault(label, []).append(measured(command, folder))
        if not turn:
            with np.load(folder / "product.npz") as arrays:
                np.save(folder / "ct.npy", arrays["ct"])
            chosen = npz.level((folder / "ct.npy").read_bytes())
            limit = [sys.executable, str(HERE / "limit.py"), "raw/A", "ct.npy", "limit.npz"]
            commands["limit"] = [*limit, str(chosen)]
            costs["limit"] = [measured(commands["limit"], folder)]
    ct = np.load(folder / "ct.npy")
    with np.load(folder / "reference.npz") as arrays:
        article = arrays["ct"]
    np.savez_compressed(folder / "zlib.npz", ct=ct)
    record = json.loads((folder / "product.json").read_text())
    inside = ct.shape[0] - record["extrapolated_slices"], ct.shape[1] - 1, ct.shape[2] - 1
    within = tuple(slice(0, size) for size in inside)
    straight = not scan or scan.straight
    worst = str(np.abs(ct[within].astype(int) - article[within]).max()) if straight else "another"
    size = (folder / "product.npz").stat().st_size
    share = size / (folder / "zlib.npz").stat().st_size
    ours, base, least = (median(costs[label]) for label in ("ours", "reference", "limit"))
    cells = [
        name,
        f"{ours.cpu:.2f}",
        f"{median(costs['threads']).cpu:.2f}",
        f"{base.cpu:.2f}",
        bold(
            f"{base.cpu / ours.cpu:.1f}",
            held=base.cpu / ours.cpu >= CPU or not straight or compressed,
        ),
        f"{least.cpu:.2f}",
        bold(f"{ours.cpu / least.cpu:.2f}", held=ours.cpu / least.cpu <= LIMIT or compressed),
        f"{ours.megabytes:.0f}",
        bold(
            f"{ours.megabytes / base.megabytes:.2f}",
            held=ours.megabytes / base.megabytes <= MEMORY,
        ),
        f"{8 * size / ct.size:.1f}",
        bold(f"{share:.3f}", held=share <= BYTES),
        worst,
    ]
    return f"| {' | '.join(cells)} |", ours


def compare_codec(name: str, folder: Path, plain: Path, runs: int) -> tuple[str, str]:
    """Rows of both tables for a compressed scan."""
    row, _ = compare(name, folder, runs, scan=SMALL, compressed=True)
    commands = {
        "ours": (product(), folder),
        "decoder": ([sys.executable, str(HERE / "decoder.py"), "raw/A"], folder),
        "plain": (product(), plain),
    }
    costs: dict[str, list[Cost]] = {label: [] for label in commands}
    for _ in range(runs):
        for label, (command, place) in commands.items():
            costs[label].append(measured(command, place))
    ours, decoder, alone = (median(each).cpu for each in costs.values())
    share = ours / (decoder + alone)
    cells = [f"{ours:.2f}", f"{decoder:.2f}", f"{alone:.2f}", bold(f"{share:.2f}", share <= CODEC)]
    return row, f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of real scans")
    options = parser.parse_args()
    rows, codecs = [], []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for name, scan in SCANS.items():
            write_files(slices(scan), place / name / "archive")
            download(place / name / "archive", place / name)
            rows.append(compare(name, place / name, options.runs, scan=scan)[0])
            print(rows[-1], flush=True)
            shutil.rmtree(place / name)
        for source in options.real:
            download(source.absolute(), place / source.name)
            rows.append(compare(f"real: {source.name}", place / source.name, options.runs)[0])
            print(rows[-1], flush=True)
            shutil.rmtree(place / source.name)
        small = slices(SMALL)
        for label, syntax in {"plain": None, **COMPRESSED}.items():
            write_files(small, place / label / "archive", transfer_syntax=syntax)
            download(place / label / "archive", place / label)
            if not syntax:
                continue
            name = f"0.7 mm chest, 512 x 512 x 100, {label}"
            row, codec = compare_codec(name, place / label, place / "plain", options.runs)
            rows.append(row)
            codecs.append(codec)
            print(row, codec, sep="\n", flush=True)
    runs = f"medians of {options.runs} runs" if options.runs > 1 else "one run"
    text = HEAD.format(runs=runs, CPU=CPU, LIMIT=LIMIT, MEMORY=MEMORY, BYTES=BYTES)
    lines = [*rows, CODECS.rstrip("\n"), *codecs]
    (HERE / "results.md").write_text(text + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
