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
    "lost_slices",
    "unreadable_files",
    "tilt_degrees",
    "obliquity_degrees",
    "fov_mm",
    "scan_length_mm",
    "transfer_syntax",
    "varying",
    "estimated_bytes",
    "selected",
    "reason",
)

ADDED = frozenset({"lost_slices", "unreadable_files", "varying"})
"""Columns that a table of an earlier release lacks; it is not made again for them."""

_NEEDED = tuple(column for column in COLUMNS if column not in ADDED)


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield every row; a table of an earlier release lacks the columns in `ADDED`."""
    return read_table(path, _NEEDED)


def selected(path: Path) -> Iterator[dict[str, str]]:
    """Yield the selected row of each accession that has one."""
    return (row for row in rows(path) if row["reason"] == SELECTED)


def accessions(path: Path) -> dict[str, list[dict[str, str]]]:
    """Return all rows, by accession."""
    candidates: dict[str, list[dict[str, str]]] = {}
    for row in rows(path):
        candidates.setdefault(row["accession"], []).append(row)
    return candidates
