"""Estimate the memory that a volume takes, from the row of its series in the series table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

START_MB = 110
"""Python, its libraries and what reading slices needs."""

THREAD_MB = 16
"""What every thread but the first adds: it holds some slices of its own."""

CLUSTER_MB = 400
"""What a job on a cluster adds: Snakemake runs twice in it, with the series table of a cohort."""


def peak_mb(row: Mapping[str, str], spacing_mm: float | Sequence[float] | None) -> int:
    """Memory to ask for, in MB: above the peak of ``preprocess_volume.py``, not far above.

    Fitted to whole processes; `tests/machine/test_memory.py` holds it to what they take.

    Parameters
    ----------
    row : mapping
        A row of ``series.csv``.
    spacing_mm : float, (z, y, x) or None
        The config's `volume.spacing_mm`; None keeps the scan's own.
    """
    rows, columns, slices = (float(row[key]) for key in ("rows", "columns", "slices"))
    own = [float(row[key]) for key in ("slice_spacing", "row_spacing", "column_spacing")]
    z, y, x = own if spacing_mm is None else _three(spacing_mm)
    plane = rows * own[1] / y * columns * own[2] / x / 1e6
    voxels = plane * (float(row["scan_length_mm"]) / z + 1)
    source = slices * rows * columns / 1e6
    peak = float(START_MB)
    if float(row["instances"]) < slices:  # multi-frame: the file and its frames are held whole
        peak += 3.5 * source
    tilt = math.radians(float(row["tilt_degrees"] or 0))
    if tilt > 0:
        # every slice in its plane's new grid, under a volume that is taller by the slices' lean;
        # one that leans both ways, which the table does not tell, takes more: a retry has double
        voxels += plane * rows * own[1] * math.sin(tilt) / z
        return int(peak + 2 * voxels + max(4 * plane * slices, 1.3 * voxels))
    # the volume, which is deflated where it lies; with the slices under a block of it, then with
    # its compressed form
    ring = 8 * plane * min(slices, 16 * z / own[0] + 21)
    return int(peak + 2 * voxels + max(ring, 1.3 * voxels))


def _three(spacing: float | Sequence[float]) -> tuple[float, float, float]:
    z, y, x = spacing if isinstance(spacing, Sequence) else (spacing,) * 3
    return z, y, x
