"""The peak memory of a whole preprocessing process, start-up included."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless

from ctcohort.archives.folder import FolderArchive
from ctcohort.archives.protocol import Query
from ctcohort.config.settings import volume_parameters
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series, write_files
from ctcohort.series.download import fetch_series
from ctcohort.volume.memory import THREAD_MB, peak_mb
from tests.objects import make_enhanced

SCRIPT = Path(__file__).parents[2] / "scripts" / "preprocess_volume.py"
LIMIT_MB = 320
PARAMETERS = volume_parameters(
    {
        "clip_hu": [-1000, 1000],
        "spacing_mm": 0.8,
        "interpolator": "bspline",
        "irregular_spacing": "mode",
        "gantry_tilt": "correct",
    }
)
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def measured(
    folder: Path, datasets: Sequence[Dataset], *, syntax: str | None = None, threads: int = 1
) -> tuple[float, int]:
    """Peak in MB of preprocessing a phantom scan, and what was asked for."""
    write_files(datasets, folder / "archive", transfer_syntax=syntax)
    archive = FolderArchive(folder / "archive", link=True, store=folder / "index", key=b"key")
    archive.prepare(threads=1)
    (series,) = archive.find(Query(("A0000001",)))
    raw, received = folder / "raw" / "A", folder / "received" / "A.json"
    fetch_series(archive, archive.headers(series), target=raw, received=received)
    command = [sys.executable, str(SCRIPT), "A", "--raw", str(raw), "--received", str(received)]
    command += ["--parameters", PARAMETERS, "--threads", str(threads)]
    command += ["--volume", str(folder / "A.npz"), "--record", str(folder / "A.json")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    record = json.loads((folder / "A.json").read_text())
    rows, columns = record["matrix"]
    row = {**record["source"], "rows": rows, "columns": columns, "instances": len(datasets)}
    asked = peak_mb({key: str(value) for key, value in row.items()}, 0.8)
    return int(done.stdout) / 1024, asked + (threads - 1) * THREAD_MB


def series(*, tilt: float = 0, **size: float) -> list[Dataset]:
    """A phantom scan in single slices."""
    make = SliceStack.oriented if not tilt else functools.partial(SliceStack.tilted, tilt)
    return make_series(Phantom(), make(**size))


def multi_frame(**size: float) -> list[Dataset]:
    """A phantom scan in one file."""
    return [make_enhanced(Phantom(), SliceStack.oriented(**size))]


def square(size: int) -> dict[str, int]:
    return {"rows": size, "columns": size}


def test_400_slices_of_512_by_512_take_at_most_320_mb(tmp_path: Path) -> None:
    peak, asked = measured(tmp_path, series(count=400, step=0.7, **square(512), fov=360))
    assert peak < LIMIT_MB
    assert peak <= asked <= 1.6 * peak


SCANS: dict[str, Callable[[], list[Dataset]]] = {
    "small matrix": lambda: series(count=60, step=5, **square(128), fov=360),
    "large field": lambda: series(count=60, step=5, **square(512), fov=500),
    "thin slices": lambda: series(count=300, step=0.5, **square(512), fov=250),
    "tilted": lambda: series(tilt=15, count=50, step=5, **square(256), fov=250),
    "tilted, thin slices": lambda: series(tilt=8, count=100, step=2, **square(512), fov=250),
    "multi-frame": lambda: multi_frame(count=100, step=1.5, **square(512), fov=360),
}


@pytest.mark.parametrize("scan", SCANS)
def test_the_memory_asked_for_is_enough_and_not_much_more(tmp_path: Path, scan: str) -> None:
    peak, asked = measured(tmp_path, SCANS[scan]())
    assert peak <= asked <= 1.6 * peak


@pytest.mark.parametrize("scan", [series, multi_frame])
@pytest.mark.parametrize("threads", [1, 4])
def test_so_is_that_of_compressed_scans_and_of_several_threads(
    tmp_path: Path, scan: Callable[..., list[Dataset]], threads: int
) -> None:
    datasets = scan(count=100, step=0.7, **square(512), fov=360)
    peak, asked = measured(tmp_path, datasets, syntax=JPEGLSLossless, threads=threads)
    assert peak <= asked <= 1.6 * peak
