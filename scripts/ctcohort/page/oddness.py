"""Order scans by how far they are from the others and by their flags: what to look at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from ctcohort.base.reasons import FLAGS


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that every volume has.

    Attributes
    ----------
    column : of the manifest
    unit : of what is shown, which is the manifest's value times `factor`, to `digits` decimals
    least : the smallest distance from the median that counts as one, in `unit`: where most scans
        are equal the interquartile range is no scale. None: the measure makes no scan odd
    """

    column: str
    title: str
    unit: str
    digits: int
    least: float | None = None
    factor: float = 1.0


MEASURES = (
    Measure("orig_zdiff", "Slice spacing", "mm", 3, 0.5),
    Measure("orig_numslices", "Slices", "", 0, 20),
    Measure("slice_thickness", "Slice thickness", "mm", 3, 0.5),
    Measure("row_spacing", "Pixel spacing", "mm", 3, 0.05),
    Measure("z_error_mm", "z error", "mm", 2, 0.5),
    Measure("gap_mm", "Largest interval", "mm", 2, 1),
    Measure("missing_slices", "Missing slices", "", 0, 1),
    Measure("dropped_slices", "Dropped slices", "", 0, 5),
    Measure("fov_mm", "Field of view", "mm", 0, 30),
    Measure("scan_length_mm", "Scan length", "mm", 0, 30),
    Measure("lung_ml", "Lung volume", "mL", 0, 500),
    Measure("air_peak_hu", "Air peak", "HU", 0, 10),
    Measure("clipped_low", "Clipped low", "%", 2, 5, 100),
    Measure("clipped_high", "Clipped high", "%", 3, 0.1, 100),
    Measure("padded", "Padding", "%", 2, 5, 100),
    Measure("tilt_degrees", "Gantry tilt", "°", 1, 2),
    Measure("raw_bytes", "DICOM files", "MB", 1, None, 1e-6),
    Measure("npz_bytes", "Volume file", "MB", 1, None, 1e-6),
)

SAID = frozenset({"tilt_corrected", "derived_is_larger", "spacing_irregular"})
"""Flags that say what was done rather than that something may be wrong."""

WEIGHT, WEIGHT_SAID = 10.0, 1.0
"""What a flag, and one of `SAID`, adds."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Quartiles of a measure over all volumes, in its unit."""

    low: float
    median: float
    high: float


def spread(values: Sequence[float | None]) -> Spread | None:
    """None where no volume has the measure."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if len(known) == 1:
        return Spread(known[0], known[0], known[0])
    return Spread(*quantiles(known, n=4, method="inclusive"))


def oddness(
    values: Mapping[str, float | None], spreads: Mapping[str, Spread | None], flags: Sequence[str]
) -> tuple[float, str]:
    """Return how far a volume is from the others, and the measure that is farthest (empty: none).

    The largest distance from the median in interquartile ranges, or in `Measure.least` where that
    is more, plus the weights of the flags.
    """
    farthest, by = 0.0, ""
    for measure in MEASURES:
        value, about = values.get(measure.column), spreads.get(measure.column)
        if value is None or about is None or measure.least is None:
            continue
        distance = abs(value - about.median) / max(about.high - about.low, measure.least)
        if distance > farthest:
            farthest, by = distance, measure.column
    added = sum(WEIGHT_SAID if flag in SAID else WEIGHT for flag in flags if flag in FLAGS)
    return round(farthest + added, 2), by
