"""`series.csv`: every candidate series of every accession, and why it was chosen or not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from .files import read_table
from .vocabulary import SELECTED

PATH = Path("series.csv")

COLUMNS = (
    "accession",
    "study_uid",
    "series_uid",
    "series_number",
    "series_description",
    "modality",
    "body_part",
    "image_type",
    "manufacturer",
    "model",
    "convolution_kernel",
    "contrast_agent",
    "slice_thickness",
    "instances",
    "slices",
    "rows",
    "columns",
    "row_spacing",
    "column_spacing",
    "slice_spacing",
    "spacing_regular",
    "z_error_mm",
    "missing_slices",
    "duplicate_positions",
    "tilt_degrees",
    "obliquity_degrees",
    "fov_mm",
    "scan_length_mm",
    "transfer_syntax",
    "estimated_bytes",
    "selected",
    "reason",
)


def selected(path: Path = PATH) -> dict[str, dict[str, str]]:
    """The selected row of each accession that has one; read once per time stamp of the file."""
    return _selected(path, path.stat().st_mtime_ns)


def accessions(path: Path) -> dict[str, list[dict[str, str]]]:
    """All rows, by accession."""
    rows: dict[str, list[dict[str, str]]] = {}
    for row in _rows(path):
        rows.setdefault(row["accession"], []).append(row)
    return rows


def _rows(path: Path) -> Iterator[dict[str, str]]:
    yield from read_table(path)


@lru_cache(maxsize=1)
def _selected(path: Path, _stamp: int) -> dict[str, dict[str, str]]:
    return {row["accession"]: row for row in _rows(path) if row["reason"] == SELECTED}
