"""`series.csv`: every candidate series of every accession, and why it was chosen or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ctcohort.base.files import read_table
from ctcohort.base.reasons import SELECTED

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


def selected(path: Path) -> Iterator[dict[str, str]]:
    """The selected row of each accession that has one."""
    return (row for row in read_table(path, COLUMNS) if row["reason"] == SELECTED)


def accessions(path: Path) -> dict[str, list[dict[str, str]]]:
    """All rows, by accession."""
    rows: dict[str, list[dict[str, str]]] = {}
    for row in read_table(path, COLUMNS):
        rows.setdefault(row["accession"], []).append(row)
    return rows
