"""The peak memory of a whole preprocessing process, start-up included."""

import json
import subprocess
import sys
from pathlib import Path

from ctcohort import phantoms
from ctcohort.archives import Query
from ctcohort.archives.folder import FolderArchive
from ctcohort.downloads import fetch_series

SCRIPT = Path(__file__).parents[2] / "scripts" / "preprocess_volume.py"
LIMIT_MB = 800
PARAMETERS = json.dumps(
    {
        "algorithm": "1",
        "volume": json.dumps(
            {
                "clip_hu": [-1000, 1000],
                "spacing_mm": [0.8, 0.8, 0.8],
                "interpolator": "bspline",
                "irregular_spacing": "mode",
                "gantry_tilt": "correct",
            }
        ),
    }
)
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_400_slices_of_512_by_512_take_at_most_800_mb(tmp_path: Path) -> None:
    stack = phantoms.SliceStack.oriented(count=400, step=0.7, rows=512, columns=512, fov=360)
    phantoms.write_files(phantoms.make_series(phantoms.Phantom(), stack), tmp_path / "archive")
    archive = FolderArchive(tmp_path / "archive", link=True, store=tmp_path / "index", key=b"key")
    archive.prepare(threads=1)
    (series,) = archive.find(Query(("A0000001",)))
    raw, received = tmp_path / "raw" / "A", tmp_path / "received" / "A.json"
    fetch_series(archive, archive.headers(series), target=raw, received=received)
    command = [sys.executable, str(SCRIPT), "A", "--raw", str(raw), "--received", str(received)]
    command += ["--parameters", PARAMETERS]
    command += ["--volume", str(tmp_path / "A.npz"), "--record", str(tmp_path / "A.json")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) / 1024 < LIMIT_MB
