"""Where the pixels of a series lie in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ctcohort.phantoms.anatomy import Float, Rigid, Vector, vector

_POSITIONS: dict[str, tuple[float, ...]] = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "FFDR": (0, -1, 0, -1, 0, 0),
    "FFDL": (0, 1, 0, 1, 0, 0),
}


@dataclass(frozen=True, eq=False)
class SliceStack:
    """The positions of a series' pixels (Image Plane Module, PS3.3 C.7.6.2).

    Attributes
    ----------
    origin : (3,) array
        LPS of the centre of pixel (0, 0) of a slice without displacement, mm.
    row_direction, column_direction : (3,) array
        Unit vectors of increasing column and row index: the halves of ImageOrientationPatient.
    pixel_spacing : tuple of float
        Distance between rows, then between columns, mm (DICOM order).
    rows, columns : int
    offsets : (n, 3) array
        Displacement of each slice from `origin`, mm, in order of acquisition.
    patient_position, gantry_tilt
        PatientPosition (0018,5100); GantryDetectorTilt (0018,1120) in degrees.
    """

    origin: Float
    row_direction: Float
    column_direction: Float
    pixel_spacing: tuple[float, float]
    rows: int
    columns: int
    offsets: Float
    patient_position: str = "HFS"
    gantry_tilt: float = 0.0

    @classmethod
    def oriented(
        cls,
        position: str = "HFS",
        *,
        count: int = 48,
        step: float = 4.0,
        rows: int = 96,
        columns: int = 96,
        pixel_spacing: float | tuple[float, float] = 2.7,
        fov: float | None = None,
        centre: Vector = (0, 0, 0),
        towards: Literal["feet", "head"] = "feet",
        viewed_from_feet: bool = False,
    ) -> SliceStack:
        """Transverse stack as written for a patient lying in `position`.

        Parameters
        ----------
        position : str
            PatientPosition, PS3.3 section C.7.3.1.1.2: HFS, HFP, HFDR, HFDL, FFS, FFP, FFDR, FFDL.
        count : int
            Number of slices.
        step : float
            Distance between slices, mm.
        rows, columns : int
        pixel_spacing : float or tuple of float
            Between rows, then between columns, mm.
        fov : float, optional
            Width of a row of pixels, mm; replaces `pixel_spacing`.
        centre : (3,) array
            LPS of the middle of the stack, mm.
        towards : {"feet", "head"}
            Direction in which the slices follow each other.
        viewed_from_feet : bool
            The default is the geometry of a gantry seen from its front: columns run downwards, the
            slice normal points into the gantry, and so to the feet of a patient who lies feet
            first. Many scanners mirror those images to show every patient from the feet; True
            writes that: FFS then has the orientation of HFS.
        """
        cosines = vector(_POSITIONS[position])
        row, column = cosines[:3], cosines[3:]
        if viewed_from_feet and position.startswith("FF"):
            row = -row
        spacing = pixel_spacing if isinstance(pixel_spacing, tuple) else (pixel_spacing,) * 2
        if fov is not None:
            spacing = (fov / columns,) * 2
        along = (np.arange(count) - (count - 1) / 2) * step * (1 if towards == "head" else -1)
        corner = (columns - 1) / 2 * spacing[1] * row + (rows - 1) / 2 * spacing[0] * column
        offsets = along[:, None] * np.array([0.0, 0.0, 1.0])
        return cls(vector(centre) - corner, row, column, spacing, rows, columns, offsets, position)

    @classmethod
    def axial(cls, count: int = 48, step: float = 4.0, **options: Any) -> SliceStack:
        """Plain transverse stack of a patient lying HFS; options as :meth:`oriented`."""
        return cls.oriented("HFS", count=count, step=step, **options)

    @classmethod
    def tilted(cls, degrees: float, **options: Any) -> SliceStack:
        """Stack of a tilted gantry: turned image planes, table movement along the patient's z.

        The planes are turned about the patient's x axis, right-handed; `step` is the movement of
        the table, so the slices lie ``step * cos(degrees)`` apart along their normal and the
        stack is sheared. Options as :meth:`oriented`.
        """
        centre = vector(options.get("centre", (0, 0, 0)))
        stack = cls.oriented(**options)
        turned = stack.moved(Rigid.about((1, 0, 0), degrees, centre=centre))
        return replace(turned, offsets=stack.offsets, gantry_tilt=degrees)

    @classmethod
    def oblique(cls, degrees: float, *, axis: Vector = (1, 1, 0), **options: Any) -> SliceStack:
        """Transverse stack turned as a whole about `axis`; options as :meth:`oriented`."""
        centre = vector(options.get("centre", (0, 0, 0)))
        return cls.oriented(**options).moved(Rigid.about(axis, degrees, centre=centre))

    @classmethod
    def coronal(cls, **options: Any) -> SliceStack:
        """Coronal stack, rows to the patient's left, columns to the feet; options as `oriented`."""
        return cls.oblique(-90.0, axis=(1, 0, 0), **options)

    @property
    def count(self) -> int:
        """Number of slices."""
        return len(self.offsets)

    @property
    def directions(self) -> Float:
        """Row direction and column direction, shape (2, 3): ImageOrientationPatient."""
        return np.stack([self.row_direction, self.column_direction])

    @property
    def normal(self) -> Float:
        """Unit normal of the slices, row direction x column direction, shape (3,)."""
        return vector(np.cross(self.row_direction, self.column_direction))

    @property
    def spacing(self) -> float:
        """Median distance of successive slices along the normal in mm, 1 if there is none."""
        gaps = np.abs(np.diff(self.offsets @ self.normal))
        gaps = gaps[gaps > 1e-3]
        return float(np.median(gaps)) if gaps.size else 1.0

    @property
    def positions(self) -> Float:
        """LPS of pixel (0, 0) of each slice in mm, shape (n, 3): ImagePositionPatient."""
        return self.origin + self.offsets

    def points(self, index: int) -> Float:
        """LPS of the pixels of one slice in mm, shape (rows, columns, 3)."""
        down = np.arange(self.rows)[:, None, None] * self.pixel_spacing[0] * self.column_direction
        right = np.arange(self.columns)[None, :, None] * self.pixel_spacing[1] * self.row_direction
        return vector(self.positions[index] + down + right)

    def moved(self, transform: Rigid) -> SliceStack:
        """Return the stack moved by a rigid transform."""
        return replace(
            self,
            origin=transform.points(self.origin),
            row_direction=transform.vectors(self.row_direction),
            column_direction=transform.vectors(self.column_direction),
            offsets=transform.vectors(self.offsets),
        )

    def take(self, indices: Sequence[int]) -> SliceStack:
        """Return the slices of these indices: a choice, another order, repetitions."""
        return replace(self, offsets=self.offsets[list(indices)])

    def shifted(self, displacements: Float) -> SliceStack:
        """Return the stack with displacements, (3,) or (n, 3) in mm, added to its slices."""
        return replace(self, offsets=self.offsets + vector(displacements))
