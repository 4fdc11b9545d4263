"""How much memory a volume takes, from the ledger's row of its series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

START_MB = 180
"""Python, its libraries and what reading slices needs."""


def peak_mb(row: Mapping[str, str], spacing_mm: float | Sequence[float] | None) -> int:
    """Memory to ask for, in MB: above the peak of ``preprocess_volume.py``, not far above.

    Fitted to whole processes; `tests/unit/test_memory.py` holds it to what they take.

    Parameters
    ----------
    row : mapping
        A row of ``series.csv``.
    spacing_mm : float, (z, y, x) or None
        The config's `volume.spacing_mm`; None keeps the scan's own.
    """
    rows, columns = float(row["rows"]), float(row["columns"])
    own = [float(row[key]) for key in ("slice_spacing", "row_spacing", "column_spacing")]
    z, y, x = own if spacing_mm is None else _three(spacing_mm)
    plane = rows * own[1] / y * columns * own[2] / x
    voxels = plane * (float(row["scan_length_mm"]) / z + 1)
    if float(row["tilt_degrees"] or 0) > 0:
        # ITK holds the source, its coefficients and the result whole
        source = float(row["slices"]) * rows * columns
        return int(START_MB + (voxels * 13.5 + source * 10) / 1e6)
    # the volume, which is deflated where it lies, and its compressed form; some planes; headers
    slices = float(row["slices"])
    return int(START_MB + slices / 4 + (voxels * 3.3 + plane * 150) / 1e6)


def _three(spacing: float | Sequence[float]) -> tuple[float, float, float]:
    z, y, x = spacing if isinstance(spacing, Sequence) else (spacing,) * 3
    return z, y, x
