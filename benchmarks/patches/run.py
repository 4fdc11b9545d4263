"""Patches and whole volumes from five formats, side by side.

    python -m benchmarks.patches.run VOLUME.npz [VOLUME.npz ...]

Needs zarr beside the project's own packages. Each volume is written as npz, as ``.npy`` for a
memory map, as NIfTI, zarr and ``.b2nd``. Measured are its size, the CPU seconds to write it, to
read it whole and to read a random cube of 64 voxels: on one thread, files in the page cache,
every cube compared with the npz. Writes `benchmarks/patches/results.md`.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("BLOSC_NTHREADS", "OMP_NUM_THREADS", "ZARR_THREADING__MAX_WORKERS"):
    os.environ[variable] = "1"

import blosc2  # noqa: E402
import nibabel  # noqa: E402
import numpy as np  # noqa: E402
import zarr  # noqa: E402

HERE = Path(__file__).parent
from ctcohort.volume import chunked, npz  # noqa: E402
from ctcohort.volume.nifti import export  # noqa: E402

CUBE = 64
PATCHES = {"npz": 3, "NIfTI": 3}
"""Of the others `MANY`."""

MANY = 200
WHOLE = 3


def cpu(action: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of an action, all threads, and what it returns."""
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def write_zarr(volume: Path, target: Path) -> None:
    """As zarr's users do: its own default codec, Zstandard, in cubes."""
    ct = npz.read(volume)["ct"]
    array = zarr.create_array(target, shape=ct.shape, chunks=(CUBE,) * 3, dtype=ct.dtype)
    array[:] = ct


def read_npz(path: Path) -> Any:
    with np.load(path) as arrays:
        return arrays["ct"]


FORMATS: dict[str, tuple[str, Callable[[Path, Path], object], Callable[[Path], Any]]] = {
    "npz": ("npz", lambda volume, target: npz.write(target, npz.read(volume)), read_npz),
    ".npy, memory map": (
        "npy",
        lambda volume, target: np.save(target, npz.read(volume)["ct"]),
        lambda path: np.load(path, mmap_mode="r"),
    ),
    "NIfTI": ("nii.gz", export, lambda path: nibabel.load(path).dataobj),
    "zarr": ("zarr", write_zarr, lambda path: zarr.open_array(path, mode="r")),
    ".b2nd": ("b2nd", chunked.write, lambda path: blosc2.open(path, mode="r")),
}
"""Ending, writer and opener; what is opened is sliced (z, y, x), NIfTI (x, y, z)."""


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def rows_of(volume: Path, folder: Path) -> list[tuple[str, float, float, float, float]]:
    """Format, bytes per byte of the npz, CPU s to write, to read whole, to read a cube."""
    ct = npz.read(volume)["ct"]
    random = np.random.default_rng(0)
    found = []
    for name, (ending, write, _) in FORMATS.items():
        path = folder / f"volume.{ending}"
        seconds, _ = cpu(lambda write=write, path=path: write(volume, path))

        def cut(where: tuple[slice, ...], name: str = name, path: Path = path) -> Any:
            scan = FORMATS[name][2](path)
            return np.array(scan[where[::-1]]).T if name == "NIfTI" else np.array(scan[where])

        whole = [cpu(lambda cut=cut: cut((slice(None),) * 3)) for _ in range(WHOLE)]
        assert np.array_equal(whole[0][1], ct)
        patches = []
        for _ in range(PATCHES.get(name, MANY)):
            starts = [int(random.integers(max(0, n - CUBE) + 1)) for n in ct.shape]
            where = tuple(slice(start, start + CUBE) for start in starts)
            taken, patch = cpu(lambda cut=cut, where=where: cut(where))
            assert np.array_equal(patch, ct[where])
            patches.append(taken)
        found.append(
            (
                name,
                size_of(path) / volume.stat().st_size,
                seconds,
                statistics.median(taken for taken, _ in whole),
                statistics.mean(patches),
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("volumes", type=Path, nargs="+")
    options = parser.parse_args()
    lines = [
        "One thread, CPU seconds, files in the page cache. Writing includes reading the npz.",
        f"Patches are random cubes of {CUBE} voxels, each from a file that is opened for it; all",
        "are compared with the npz.",
        "",
        "| volume | format | bytes / npz | write s | whole s | times faster | patch ms |"
        " patches/s | times faster |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for number, volume in enumerate(options.volumes, 1):
        shape = " x ".join(map(str, npz.read(volume)["ct"].shape))
        with tempfile.TemporaryDirectory() as folder:
            rows = rows_of(volume, Path(folder))
        _, _, _, whole, patch = rows[0]
        lines += [
            f"| {number}: {shape} | {name} | {share:.2f} | {write:.2f} | {all_:.3f} |"
            f" {whole / all_:.1f} | {one * 1e3:.2f} | {1 / one:.0f} | {patch / one:.0f} |"
            for name, share, write, all_, one in rows
        ]
    (HERE / "results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
