"""Series of headers without files: a plain axial chest with what a test changes in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from ctcohort.config.settings import SeriesSettings, VolumeSettings
from ctcohort.dicom.headers import CT_IMAGE, Frame, Header

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""ImageOrientationPatient of an upright slice."""

VOLUME = VolumeSettings(
    irregular_spacing="mode", gantry_tilt="correct", max_z_error_mm=5.0, max_gap_mm=10.0
)
"""The default `volume` settings that decide on headers."""

SERIES = SeriesSettings(
    kinds=("ORIGINAL",),
    min_slices=31,
    tie_break=("slice_thickness", "series_number", "series_uid"),
)
"""The default `series` settings."""

FRAME: dict[str, Any] = {
    "position": (-100.0, -100.0, 0.0),
    "orientation": AXIAL,
    "pixel_spacing": (0.7, 0.7),
    "slope": 1.0,
    "intercept": -1024.0,
    "rescale_type": "HU",
    "image_type": ("ORIGINAL", "PRIMARY", "AXIAL"),
}

HEADER: dict[str, Any] = {
    "sop_class_uid": CT_IMAGE,
    "study_uid": "1.2",
    "series_uid": "1.3",
    "patient": "mark",
    "accession": "A1",
    "modality": "CT",
    "series_number": 2,
    "series_description": "Chest",
    "body_part": "CHEST",
    "manufacturer": "Maker",
    "model": "Model",
    "kernel": "B30f",
    "contrast_agent": False,
    "slice_thickness": 2.0,
    "kvp": 120.0,
    "tilt_tag": 0.0,
    "diameter": 358.4,
    "acquisition_number": 1,
    "acquisition_time": "101500",
    "rows": 512,
    "columns": 512,
    "bits_allocated": 16,
    "transfer_syntax": "1.2.840.10008.1.2.1",
    "lossy": False,
    "multienergy": False,
}


def heights(count: int = 40, step: float = 2.0) -> list[float]:
    """Evenly spaced heights in mm, from the head to the feet."""
    return [-step * index for index in range(count)]


def series(z: Iterable[float] | None = None, **changes: Any) -> list[Header]:
    """One header per height, with other facts where a test says so.

    Parameters
    ----------
    z : heights in mm, in any order; 40 slices of 2 mm if left out
    changes : facts of `Header` or `Frame`; a function is given the index of the slice
    """
    z = heights() if z is None else list(z)
    return [_header(i, height, changes) for i, height in enumerate(z)]


def _header(index: int, height: float, changes: dict[str, Any]) -> Header:
    facts = HEADER | {"sop_instance_uid": f"1.3.{1000 + index}", "instance_number": index + 1}
    frame = FRAME | {"position": (-100.0, -100.0, height)}
    names = {field.name for field in fields(Frame)}
    for name, value in changes.items():
        chosen = value(index) if callable(value) else value
        (frame if name in names else facts)[name] = chosen
    return Header(**({"frames": (Frame(**frame),)} | facts))


def at(positions: Sequence[Sequence[float]] | np.ndarray, **changes: Any) -> list[Header]:
    """One header per position (x, y, z) in mm of its first voxel."""
    where = [tuple(float(v) for v in position) for position in positions]
    return series(range(len(where)), position=lambda i: where[i], **changes)


def only(index: int, value: Any, otherwise: Any) -> Any:
    """A change of one slice."""
    return lambda i: value if i == index else otherwise


def last(count: int, total: int, value: Any, otherwise: Any) -> Any:
    """A change of the last `count` of `total` slices."""
    return lambda i: value if i >= total - count else otherwise
