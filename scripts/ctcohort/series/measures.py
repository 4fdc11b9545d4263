"""Measurements of a series' geometry, as the series table and the scan record hold them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measures:
    """Measurements of a series' geometry; None where it could not be measured.

    Spacings, errors and lengths are in mm, angles in degrees. `lost_slices` counts the slices that
    were dropped although they are of this scan: without a position, or beyond an end of what was
    kept.
    """

    slices: int = 0
    rows: int | None = None
    columns: int | None = None
    row_spacing: float | None = None
    column_spacing: float | None = None
    slice_spacing: float | None = None
    spacing_regular: bool | None = None
    z_error_mm: float | None = None
    gap_mm: float | None = None
    missing_slices: int | None = None
    duplicate_positions: int | None = None
    tilt_degrees: float | None = None
    obliquity_degrees: float | None = None
    fov_mm: float | None = None
    scan_length_mm: float | None = None
    lost_slices: int = 0
