"""The peak memory of a whole preprocessing process, start-up included."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ctcohort import phantoms
from ctcohort.archives import Query
from ctcohort.archives.folder import FolderArchive
from ctcohort.downloads import fetch_series
from ctcohort.memory import peak_mb
from ctcohort.settings import volume_parameters

SCRIPT = Path(__file__).parents[2] / "scripts" / "preprocess_volume.py"
LIMIT_MB = 800
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


def measured(folder: Path, stack: phantoms.SliceStack) -> tuple[float, int]:
    """Peak in MB of preprocessing a phantom scan, and what was asked for."""
    phantoms.write_files(phantoms.make_series(phantoms.Phantom(), stack), folder / "archive")
    archive = FolderArchive(folder / "archive", link=True, store=folder / "index", key=b"key")
    archive.prepare(threads=1)
    (series,) = archive.find(Query(("A0000001",)))
    raw, received = folder / "raw" / "A", folder / "received" / "A.json"
    fetch_series(archive, archive.headers(series), target=raw, received=received)
    command = [sys.executable, str(SCRIPT), "A", "--raw", str(raw), "--received", str(received)]
    command += ["--parameters", PARAMETERS]
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
    row = {**record["source"], "rows": rows, "columns": columns}
    asked = peak_mb({key: str(value) for key, value in row.items()}, 0.8)
    return int(done.stdout) / 1024, asked


def test_400_slices_of_512_by_512_take_at_most_800_mb(tmp_path: Path) -> None:
    stack = phantoms.SliceStack.oriented(count=400, step=0.7, rows=512, columns=512, fov=360)
    peak, asked = measured(tmp_path, stack)
    assert peak < LIMIT_MB
    assert peak <= asked <= 1.6 * peak


@pytest.mark.parametrize(
    ("tilt", "count", "step", "matrix", "fov"),
    [(0, 60, 5, 128, 360), (0, 60, 5, 512, 500), (15, 50, 5, 256, 250), (8, 100, 2, 512, 250)],
)
def test_the_memory_asked_for_is_enough_and_not_much_more(
    tmp_path: Path, tilt: float, count: int, step: float, matrix: int, fov: float
) -> None:
    size = {"count": count, "step": step, "rows": matrix, "columns": matrix, "fov": fov}
    make = phantoms.SliceStack
    stack = make.tilted(tilt, **size) if tilt else make.oriented(**size)
    peak, asked = measured(tmp_path, stack)
    assert peak <= asked <= 1.6 * peak
