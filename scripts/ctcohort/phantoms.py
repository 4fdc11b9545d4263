"""Synthetic CT objects whose truth is known by construction.

A :class:`Phantom` is a thorax described in patient coordinates, a :class:`SliceStack` says where
the pixels of a series lie, and the ``make_*`` functions write what a scanner would store of the one
seen through the other. Coordinates are DICOM patient coordinates in mm: x to the patient's left, y
to posterior, z to the head (LPS, PS3.3 section C.7.6.2.1.1).
"""

from __future__ import annotations

import copy
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.valuerep import format_number_as_ds

Float = npt.NDArray[np.float64]
Vector = Sequence[float] | Float
Side = Literal["posterior", "anterior", "left", "right"]
Override = Mapping[str, object | Callable[[int], object]]

EDGE_MM = 1.5
"""Distance over which an edge rises from 10 to 90 per cent."""
MARKER_FLOOR_HU = 850.0
"""Only markers and metal are above this value: bone is 700 HU."""
MARKER_BAND_HU = 85.0
"""Half width of the band of HU by which a marker is told from the other markers."""
METAL_HU = 3071.0

_LOGISTIC_MM = EDGE_MM / (2.0 * math.log(9.0))
_MARGIN_MM = 12.0 * _LOGISTIC_MM
_BODY = (170.0, 115.0)
_METAL_CENTRE = (-50.0, 85.0, 0.0)
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
_FRAME_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth"),
    "CTReconstructionSequence": ("ConvolutionKernel", "ReconstructionDiameter"),
    "CTXRayDetailsSequence": ("KVP",),
    "CTAcquisitionDetailsSequence": ("GantryDetectorTilt",),
}
_SIDES: dict[Side, tuple[float, float]] = {
    "posterior": (0, 1),
    "anterior": (0, -1),
    "left": (1, 0),
    "right": (-1, 0),
}


def _vector(values: Vector) -> Float:
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Rigid:
    """Rotation followed by a translation, ``q = rotation @ p + translation``.

    Attributes
    ----------
    rotation : (3, 3) array
    translation : (3,) array
        In mm.
    """

    rotation: Float = field(default_factory=lambda: np.eye(3))
    translation: Float = field(default_factory=lambda: np.zeros(3))

    @classmethod
    def about(
        cls, axis: Vector, degrees: float, *, centre: Vector = (0, 0, 0), shift: Vector = (0, 0, 0)
    ) -> Rigid:
        """Right-handed rotation about `axis` through `centre` (mm), then a `shift` (mm)."""
        x, y, z = _vector(axis) / np.linalg.norm(axis)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        angle = math.radians(degrees)
        turn = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
        return cls(turn, _vector(centre) - turn @ _vector(centre) + _vector(shift))

    def points(self, points: Float) -> Float:
        """Map points, shape (..., 3), in mm."""
        return points @ self.rotation.T + self.translation

    def vectors(self, vectors: Float) -> Float:
        """Map displacements or directions, shape (..., 3)."""
        return vectors @ self.rotation.T

    def after(self, first: Rigid) -> Rigid:
        """Return the transform that applies `first` and then this one."""
        return Rigid(self.rotation @ first.rotation, self.points(first.translation))


@dataclass(frozen=True)
class Marker:
    """Sphere with a HU value of its own, 180 HU from the next, by which it is known.

    `centre` is LPS; it and `radius` are in mm.
    """

    name: str
    centre: tuple[float, float, float]
    radius: float
    hu: float


_MARKERS = (
    Marker("right_anterior_head", (-80.0, -20.0, 72.0), 9.0, 1000.0),
    Marker("left_posterior_head", (88.0, 35.0, 60.0), 9.0, 1180.0),
    Marker("heart", (40.0, -40.0, -15.0), 9.0, 1360.0),
    Marker("sternum", (-12.0, -75.0, 35.0), 9.0, 1540.0),
    Marker("left_anterior_feet", (70.0, -60.0, -74.0), 9.0, 1720.0),
    Marker("liver", (-85.0, 20.0, -78.0), 9.0, 1900.0),
)


@dataclass(frozen=True)
class _Solid:
    """Ellipsoid, box or tapered body: centre (3,), half sizes (3,) in mm (inf along a cylinder)."""

    centre: tuple[float, ...]
    half: tuple[float, ...]
    hu: float
    shape: Literal["ellipsoid", "box", "body"] = "ellipsoid"

    def inside(self, local: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Logistic membership (0 to 1) of points given relative to the centre."""
        x, y, z = local
        width: npt.NDArray[np.float32] | float = 1.0
        if self.shape == "box":
            a, b, _ = self.half
            distance = np.maximum(np.abs(x) - np.float32(a), np.abs(y) - np.float32(b))
        else:
            if self.shape == "body":
                start, length = 0.12 * self.half[0], 1.06 * self.half[0]
                t = np.clip((z - start) / length, 0.0, 1.0)
                width = (1.0 - 0.4 * t * t * (3.0 - 2.0 * t)).astype(np.float32)
                x, y = x / width, y / width
            inverse = [np.float32(1.0 / h) for h in self.half]
            x, y, z = x * inverse[0], y * inverse[1], z * inverse[2]
            radius = np.maximum(np.sqrt(x * x + y * y + z * z), np.float32(1e-4))
            x, y, z = x * inverse[0], y * inverse[1], z * inverse[2]
            slope = np.sqrt(x * x + y * y + z * z) + np.float32(1e-9)
            distance = radius * (radius - np.float32(1.0)) / slope * width
        steepness = np.clip(distance * np.float32(1.0 / _LOGISTIC_MM), -60.0, 60.0)
        member: npt.NDArray[np.float32] = np.float32(1.0) / (np.float32(1.0) + np.exp(steepness))
        return member


@dataclass(frozen=True)
class Phantom:
    """Thorax of known anatomy: no two of its six sides look alike.

    Soft tissue (40 HU) narrows towards the head and has no end towards head or feet; lungs -850,
    heart 50 (left), liver 110 (right, towards the feet), spine 700 (posterior, midline), table
    -200, air -1000 HU. For a scale of 1 the markers lie within 78 mm of the centre in z.

    Attributes
    ----------
    scale : float
        Factor on sizes and places; 0.6 to 1.6 (1.0 is a chest 340 mm wide). Markers keep a radius
        of 9 mm.
    table : {"posterior", "anterior", "left", "right"} or None
        Side of the patient that faces the table.
    metal : float or None
        HU of a sphere of 6 mm radius in the tissue of the right posterior chest wall.
    pose : Rigid
        Place of the patient within the frame of reference.
    """

    scale: float = 1.0
    table: Side | None = "posterior"
    metal: float | None = None
    pose: Rigid = field(default_factory=Rigid)

    def __post_init__(self) -> None:
        """Refuse a scale at which markers would leave their surroundings."""
        if not 0.6 <= self.scale <= 1.6:
            raise ValueError(f"scale must be 0.6 to 1.6, not {self.scale}")

    def moved(self, transform: Rigid) -> Phantom:
        """Return the patient moved by a rigid transform."""
        return replace(self, pose=transform.after(self.pose))

    @functools.cached_property
    def markers(self) -> tuple[Marker, ...]:
        """The markers where they lie, scale and pose included."""
        centres = self.pose.points(np.array([m.centre for m in _MARKERS]) * self.scale).tolist()
        return tuple(
            replace(m, centre=(x, y, z)) for m, (x, y, z) in zip(_MARKERS, centres, strict=True)
        )

    @functools.cached_property
    def _solids(self) -> tuple[_Solid, ...]:
        """Solids in the order in which they are painted, without the pose."""
        solids = []
        if self.table is not None:
            x, y = _SIDES[self.table]
            reach = (_BODY[0] if x else _BODY[1]) + 8.0
            half = (7.0, 190.0, math.inf) if x else (190.0, 7.0, math.inf)
            solids.append(_Solid((x * reach, y * reach, 0.0), half, -200.0, "box"))
        solids += [
            _Solid((0.0, 0.0, 0.0), (*_BODY, math.inf), 40.0, "body"),
            _Solid((-80.0, -5.0, 25.0), (55.0, 78.0, 110.0), -850.0),
            _Solid((85.0, -5.0, 30.0), (50.0, 75.0, 105.0), -850.0),
            _Solid((-70.0, -10.0, -105.0), (78.0, 80.0, 65.0), 110.0),
            _Solid((35.0, -35.0, -20.0), (48.0, 42.0, 50.0), 50.0),
            _Solid((0.0, 45.0, 0.0), (17.0, 16.0, math.inf), 700.0),
        ]
        s = self.scale
        organs = [
            replace(o, centre=tuple(s * v for v in o.centre), half=tuple(s * v for v in o.half))
            for o in solids
        ]
        balls = [(m.centre, m.radius, m.hu) for m in _MARKERS]
        if self.metal is not None:
            balls.append((_METAL_CENTRE, 6.0, self.metal))
        return (*organs, *(_Solid(tuple(s * v for v in c), (r, r, r), hu) for c, r, hu in balls))

    def _paint(
        self, coordinates: list[npt.NDArray[np.float32]], shape: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        """HU on patient coordinates (three arrays that broadcast to `shape`), pose removed."""
        out = np.full(shape, -1000.0, dtype=np.float32)
        for solid in self._solids:
            near = np.ones((1,) * len(shape), dtype=np.bool_)
            for values, centre, half in zip(coordinates, solid.centre, solid.half, strict=True):
                if math.isfinite(half):
                    near = near & (np.abs(values - np.float32(centre)) <= half + _MARGIN_MM)
            near = np.broadcast_to(near, shape)
            window = []
            for axis in range(len(shape)):
                others = tuple(k for k in range(len(shape)) if k != axis)
                hits = np.flatnonzero(near.any(axis=others))
                window.append(slice(int(hits[0]), int(hits[-1]) + 1) if hits.size else slice(0))
            if any(w.stop == 0 for w in window):
                continue
            local = [
                values[
                    tuple(
                        w if n > 1 else slice(None)
                        for w, n in zip(window, values.shape, strict=True)
                    )
                ]
                - np.float32(centre)
                for values, centre in zip(coordinates, solid.centre, strict=True)
            ]
            region = out[tuple(window)]
            region += solid.inside(local) * (np.float32(solid.hu) - region)
        return out

    def hu(self, points: Float) -> npt.NDArray[np.float32]:
        """HU at points of the frame of reference: (..., 3) LPS in mm -> (...) float32."""
        local = np.atleast_2d((_vector(points) - self.pose.translation) @ self.pose.rotation)
        axes = [local[..., k].astype(np.float32) for k in range(3)]
        return self._paint(axes, local.shape[:-1]).reshape(np.shape(points)[:-1])

    def plane(
        self, origin: Vector, row_step: Vector, column_step: Vector, rows: int, columns: int
    ) -> npt.NDArray[np.float32]:
        """HU on a plane of regular points, fastest along the patient's axes.

        `origin` is the LPS of element (0, 0), `row_step` and `column_step` are the displacements to
        the next row and to the next column, all (3,) in mm. Returns (rows, columns) float32.
        """
        turn = self.pose.rotation
        start = (_vector(origin) - self.pose.translation) @ turn
        down, right = (
            np.round(_vector(row_step) @ turn, 12),
            np.round(_vector(column_step) @ turn, 12),
        )
        axes = []
        for k in range(3):
            values = np.full((1, 1), start[k])
            if down[k]:
                values = values + down[k] * np.arange(rows)[:, None]
            if right[k]:
                values = values + right[k] * np.arange(columns)[None, :]
            axes.append(values.astype(np.float32))
        return self._paint(axes, (rows, columns))

    def volume(
        self,
        shape: tuple[int, int, int],
        origin: Vector,
        spacing: Vector,
        direction: Float | None = None,
    ) -> npt.NDArray[np.float32]:
        """HU on the grid of a resampled volume, the truth to compare it with.

        `origin`, `spacing` and `direction` are those of :func:`find_marker`; the default direction
        is z, y, x of the patient. Returns an array of `shape`, (z, y, x), float32.
        """
        axes = np.eye(3)[:, ::-1] if direction is None else direction
        steps = (axes * _vector(spacing)).T
        planes = [
            self.plane(_vector(origin) + k * steps[0], steps[1], steps[2], shape[1], shape[2])
            for k in range(shape[0])
        ]
        return np.stack(planes)


@dataclass(frozen=True, eq=False)
class SliceStack:
    """Where the pixels of a series lie (Image Plane Module, PS3.3 section C.7.6.2).

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
        cosines = _vector(_POSITIONS[position])
        row, column = cosines[:3], cosines[3:]
        if viewed_from_feet and position.startswith("FF"):
            row = -row
        spacing = pixel_spacing if isinstance(pixel_spacing, tuple) else (pixel_spacing,) * 2
        if fov is not None:
            spacing = (fov / columns,) * 2
        along = (np.arange(count) - (count - 1) / 2) * step * (1 if towards == "head" else -1)
        corner = (columns - 1) / 2 * spacing[1] * row + (rows - 1) / 2 * spacing[0] * column
        offsets = along[:, None] * np.array([0.0, 0.0, 1.0])
        return cls(_vector(centre) - corner, row, column, spacing, rows, columns, offsets, position)

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
        centre = _vector(options.get("centre", (0, 0, 0)))
        stack = cls.oriented(**options)
        turned = stack.moved(Rigid.about((1, 0, 0), degrees, centre=centre))
        return replace(turned, offsets=stack.offsets, gantry_tilt=degrees)

    @classmethod
    def oblique(cls, degrees: float, *, axis: Vector = (1, 1, 0), **options: Any) -> SliceStack:
        """Transverse stack turned as a whole about `axis`; options as :meth:`oriented`."""
        centre = _vector(options.get("centre", (0, 0, 0)))
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
        return _vector(np.cross(self.row_direction, self.column_direction))

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
        return _vector(self.positions[index] + down + right)

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
        return replace(self, offsets=self.offsets + _vector(displacements))


@dataclass(frozen=True)
class Identity:
    """Patient and study. Equal identities are one study: the UIDs are made from them."""

    patient_id: str = "PHANTOM01"
    patient_name: str = "Phantom^Thorax"
    birth_date: str = "19600214"
    sex: str = "F"
    accession: str = "A0000001"
    study_date: str = "20240305"
    study_time: str = "101500"
    study_description: str = "CT THORAX"

    @property
    def age(self) -> str:
        """PatientAge in years at the study (AS), empty if a date is."""
        if not (self.birth_date and self.study_date):
            return ""
        return f"{(int(self.study_date) - int(self.birth_date)) // 10000:03d}Y"

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return _uid("study", self.patient_id, self.accession, self.study_date, self.study_time)


def _uid(*parts: object) -> str:
    return str(uid.generate_uid(entropy_srcs=["ct-cohort phantom", *map(str, parts)]))


def _ds(values: Vector, decimals: int | None = None) -> list[str]:
    """Decimal strings of at most 16 characters (PS3.5 section 6.2)."""
    exact = [float(v) if decimals is None else round(float(v), decimals) for v in values]
    return [format_number_as_ds(v + 0.0) for v in exact]


def _item(**elements: object) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    return [_item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def _pick(value: Any, index: int) -> Any:
    return value if isinstance(value, int | float) else value[index]


def _override(ds: Dataset, extra: Override | None, index: int = 0) -> Dataset:
    for keyword, value in (extra or {}).items():
        if tag_for_keyword(keyword) is None:
            raise ValueError(f"not a DICOM keyword: {keyword}")
        chosen = value(index) if callable(value) else value
        if chosen is not None:
            setattr(ds, keyword, chosen)
        elif keyword in ds:
            delattr(ds, keyword)
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "")
    return ds


def _instance(
    who: Identity, sop_class: str, modality: str, seed: str, number: int, name: str, index: int = 0
) -> Dataset:
    """Patient, study, series, equipment and SOP common modules of one instance."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = who.patient_name, who.patient_id
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = who.birth_date, who.sex, who.age
    ds.StudyInstanceUID, ds.StudyID = who.study_uid, who.accession
    ds.AccessionNumber, ds.StudyDescription = who.accession, who.study_description
    ds.ReferringPhysicianName = ""
    for event in ("Study", "Series", "Content", "InstanceCreation"):
        setattr(ds, f"{event}Date", who.study_date)
        setattr(ds, f"{event}Time", who.study_time)
    ds.SeriesInstanceUID = _uid("series", who.study_uid, seed, number)
    ds.SeriesNumber, ds.SeriesDescription, ds.Modality = number, name, modality
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = _uid("instance", ds.SeriesInstanceUID, index)
    ds.InstanceNumber = index + 1
    ds.Manufacturer, ds.ManufacturerModelName = "ct-cohort", "Thorax phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    return ds


def _noise(seed: str, index: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    entropy = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    return np.random.default_rng([entropy, index]).standard_normal(shape, dtype=np.float32)


def _put_pixels(
    ds: Dataset, stored: npt.NDArray[Any], bits_stored: int, pixel_representation: int
) -> None:
    """Set the Image Pixel Module (PS3.3 section C.7.6.3) from values that fit `bits_stored`."""
    dtype = np.dtype(f"<{'ui'[pixel_representation]}{1 if bits_stored <= 8 else 2}")
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * dtype.itemsize, bits_stored, bits_stored - 1
    ds.PixelRepresentation = pixel_representation
    _put_bytes(ds, stored.astype(dtype).tobytes())


def _put_bytes(ds: Dataset, data: bytes) -> None:
    ds.PixelData = data + b"\0" * (len(data) % 2)


def make_series(
    phantom: Phantom,
    stack: SliceStack,
    *,
    identity: Identity | None = None,
    seed: str = "phantom",
    series_number: int = 2,
    description: str = "Thorax",
    kernel: str = "B30f",
    image_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    acquisition_number: int | Sequence[int] = 1,
    instance_numbers: Sequence[int] | None = None,
    slice_thickness: float | None = None,
    slope: float | Sequence[float] = 1.0,
    intercept: float | Sequence[float] = -1024.0,
    bits_stored: int = 12,
    pixel_representation: int = 0,
    padding: int | None = None,
    noise: float = 8.0,
    metal: float | None = None,
    decimals: int | None = 6,
    extra: Override | None = None,
) -> list[Dataset]:
    """Write a phantom as CT Image Storage instances (PS3.3 section A.3).

    Parameters
    ----------
    phantom : Phantom
    stack : SliceStack
        One instance per slice, in its order.
    identity : Identity, optional
    seed : str
        Source of the noise and, with identity and series number, of the UIDs.
    series_number, description, kernel, image_type
        SeriesNumber, SeriesDescription, ConvolutionKernel, ImageType.
    acquisition_number : int or sequence of int
        For all slices, or one for each.
    instance_numbers : sequence of int, optional
        Default: 1 to n in the order of the stack.
    slice_thickness : float, optional
        In mm; default: the median distance between successive slices.
    slope, intercept : float or sequence of float
        Rescale (PS3.3 section C.11.1) of all slices, or of each.
    bits_stored : int
        Up to 8 bits are allocated 8 bits, more are allocated 16.
    pixel_representation : {0, 1}
        Unsigned or signed; values outside the stored range are clipped to it.
    padding : int, optional
        Stored value (PixelPaddingValue) outside the circle of reconstruction.
    noise : float
        Standard deviation, HU.
    metal : float, optional
        HU of the metal sphere, e.g. `METAL_HU`; default: as the phantom says.
    decimals : int or None
        Decimals of positions and orientations; None: all that 16 characters hold.
    extra : mapping, optional
        Element by DICOM keyword: a value, None to delete the element, or a function of the index of
        the slice that returns either.
    """
    who = identity or Identity()
    body = phantom if metal is None else replace(phantom, metal=metal)
    low = -(1 << (bits_stored - 1)) if pixel_representation else 0
    high = low + (1 << bits_stored) - 1
    if padding is not None and not low <= padding <= high:
        raise ValueError(f"padding {padding} is outside {low}..{high}")
    thickness = stack.spacing if slice_thickness is None else slice_thickness
    down, right = (s * d for s, d in zip(stack.pixel_spacing, stack.directions[::-1], strict=True))
    y, x = (np.arange(n) - (n - 1) / 2 for n in (stack.rows, stack.columns))
    outside = np.hypot(y[:, None], x[None, :]) > min(stack.rows, stack.columns) / 2
    series = []
    for index, position in enumerate(stack.positions):
        ds = _instance(who, uid.CTImageStorage, "CT", seed, series_number, description, index)
        if instance_numbers is not None:
            ds.InstanceNumber = instance_numbers[index]
        ds.FrameOfReferenceUID = _uid("frame of reference", who.study_uid)
        ds.PositionReferenceIndicator = ""
        ds.PatientPosition, ds.BodyPartExamined = stack.patient_position, "CHEST"
        ds.ImageType = list(image_type)
        ds.AcquisitionNumber = _pick(acquisition_number, index)
        ds.AcquisitionDate, ds.AcquisitionTime = who.study_date, who.study_time
        ds.KVP, ds.ConvolutionKernel = "120", kernel
        ds.GantryDetectorTilt, ds.SliceThickness = _ds([stack.gantry_tilt, thickness], 4)
        ds.ReconstructionDiameter = _ds([stack.columns * stack.pixel_spacing[1]], 4)[0]
        ds.ImagePositionPatient = _ds(position, decimals)
        ds.ImageOrientationPatient = _ds(np.ravel(stack.directions), decimals)
        ds.SliceLocation = _ds(position[2:], 3)[0]
        ds.PixelSpacing = _ds(stack.pixel_spacing)
        rescale = float(_pick(slope, index)), float(_pick(intercept, index))
        ds.RescaleSlope, ds.RescaleIntercept = _ds(rescale)
        ds.RescaleType, ds.WindowCenter, ds.WindowWidth = "HU", "40", "400"
        hu = body.plane(position, down, right, stack.rows, stack.columns)
        if noise:
            hu += np.float32(noise) * _noise(seed, index, hu.shape)
        stored = np.clip(np.rint((hu - rescale[1]) / rescale[0]), low, high)
        if padding is not None:
            stored[outside] = ds.PixelPaddingValue = padding
        _put_pixels(ds, stored, bits_stored, pixel_representation)
        series.append(_override(ds, extra, index))
    return series


def make_enhanced(
    phantom: Phantom,
    stack: SliceStack,
    *,
    frame_order: Sequence[int] | None = None,
    stacks: Sequence[SliceStack] = (),
    legacy: bool = False,
    seed: str = "phantom",
    frame_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
    extra: Override | None = None,
    **options: Any,
) -> Dataset:
    """Write a phantom as one multi-frame instance (PS3.3 sections A.38 and A.70).

    Functional groups that are equal in all frames are shared, positions are always per frame.

    Parameters
    ----------
    phantom : Phantom
    stack : SliceStack
        Frames of StackID 1.
    frame_order : sequence of int, optional
        Frames as indices into the slices of `stack` followed by those of `stacks`.
    stacks : sequence of SliceStack
        Frames of StackID 2 and on; rows and columns must be those of `stack`.
    legacy : bool
        Legacy Converted Enhanced CT instead of Enhanced CT.
    frame_type : sequence of str
        ImageType and FrameType.
    seed, extra, **options
        As :func:`make_series`; sequences have an element for each slice of every stack.
    """
    every = (stack, *stacks)
    if any((s.rows, s.columns) != (stack.rows, stack.columns) for s in every):
        raise ValueError("stacks of one instance must have the same rows and columns")
    frames, groups = [], []
    for number, one in enumerate(every, start=1):
        source = seed if number == 1 else f"{seed}/{number}"
        series = make_series(phantom, one, seed=source, image_type=frame_type, **options)
        ranks = np.argsort(np.argsort(one.offsets @ one.normal, kind="stable")) + 1
        for single, rank in zip(series, ranks.tolist(), strict=True):
            moment = single.AcquisitionDate + single.AcquisitionTime
            content = _item(StackID=str(number), InStackPositionNumber=rank)
            content.DimensionIndexValues = [number, rank]
            content.FrameAcquisitionNumber = single.AcquisitionNumber
            content.FrameReferenceDateTime = content.FrameAcquisitionDateTime = moment
            content.FrameAcquisitionDuration = 500.0
            group = _item(FrameContentSequence=[content])
            for name, keywords in _FRAME_GROUPS.items():
                setattr(group, name, [_item(**{k: single[k].value for k in keywords})])
            if legacy:
                group.ConversionSourceAttributesSequence = [
                    _item(
                        ReferencedSOPClassUID=single.SOPClassUID,
                        ReferencedSOPInstanceUID=single.SOPInstanceUID,
                    )
                ]
                rest = _item(
                    SliceLocation=single.SliceLocation, InstanceNumber=single.InstanceNumber
                )
                group.UnassignedPerFrameConvertedAttributesSequence = [rest]
            frames.append(single)
            groups.append(group)
    order = list(range(len(frames)) if frame_order is None else frame_order)
    ds = copy.deepcopy(frames[0])
    volume = {
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
    }
    region = _code("51185008", "SCT", "Thoracic structure")
    shared = _item(
        CTImageFrameTypeSequence=[_item(FrameType=list(frame_type), **volume)],
        FrameAnatomySequence=[_item(FrameLaterality="U", AnatomicRegionSequence=region)],
    )
    if legacy:
        shared.UnassignedSharedConvertedAttributesSequence = [Dataset()]
    for name, keywords in _FRAME_GROUPS.items():
        for keyword in keywords:
            delattr(ds, keyword)
        if name != "PlanePositionSequence" and all(g[name] == groups[0][name] for g in groups):
            setattr(shared, name, groups[0][name].value)
            for group in groups:
                delattr(group, name)
    del ds.SliceLocation
    ds.SOPClassUID = (
        uid.LegacyConvertedEnhancedCTImageStorage if legacy else uid.EnhancedCTImageStorage
    )
    ds.SOPInstanceUID = _uid("enhanced", ds.SeriesInstanceUID)
    ds.InstanceNumber, ds.AcquisitionContextSequence = 1, []
    ds.AcquisitionDateTime = moment
    ds.ContentQualification, ds.PresentationLUTShape = "RESEARCH", "IDENTITY"
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    for keyword, value in volume.items():
        setattr(ds, keyword, value)
    organization = _uid("dimensions", ds.SOPInstanceUID)
    ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    ds.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=tag_for_keyword(keyword),
            FunctionalGroupPointer=tag_for_keyword("FrameContentSequence"),
        )
        for keyword in ("StackID", "InStackPositionNumber")
    ]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [groups[k] for k in order]
    ds.NumberOfFrames = len(order)
    size = ds.Rows * ds.Columns * ds.BitsAllocated // 8
    _put_bytes(ds, b"".join(frames[k].PixelData[:size] for k in order))
    return _override(ds, extra)


class _Projection(Phantom):
    """Phantom of which a plane shows the mean from anterior to posterior."""

    def plane(
        self, origin: Vector, row_step: Vector, column_step: Vector, rows: int, columns: int
    ) -> npt.NDArray[np.float32]:
        depths = np.arange(-150.0, 151.0, 6.0) * self.scale
        views = [
            super(_Projection, self).plane(
                _vector(origin) + np.array([0.0, depth, 0.0]), row_step, column_step, rows, columns
            )
            for depth in depths
        ]
        mean: npt.NDArray[np.float32] = np.mean(views, axis=0, dtype=np.float32)
        return mean


def make_localizer(
    phantom: Phantom, stack: SliceStack | None = None, *, series_number: int = 1, **options: Any
) -> Dataset:
    """Write a scout view, one CT image of type ORIGINAL, PRIMARY, LOCALIZER: mean HU along y.

    The plane is that of the first slice of `stack`; default: coronal, 128 x 128 pixels of 3 mm. The
    options are those of :func:`make_series`.
    """
    plane = stack or SliceStack.coronal(count=1, rows=128, columns=128, pixel_spacing=3.0)
    chosen: dict[str, Any] = {
        "image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER"),
        "description": "Topogram",
        "kernel": "T20f",
        **options,
    }
    body = _Projection(phantom.scale, phantom.table, phantom.metal, phantom.pose)
    return make_series(body, plane.take([0]), series_number=series_number, **chosen)[0]


def make_reformat(
    phantom: Phantom, stack: SliceStack | None = None, *, series_number: int = 602, **options: Any
) -> list[Dataset]:
    """Write reformats: CT images of type DERIVED, SECONDARY, REFORMATTED.

    The default stack is 24 coronal slices, 5 mm apart; options as :func:`make_series`.
    """
    chosen: dict[str, Any] = {
        "image_type": ("DERIVED", "SECONDARY", "REFORMATTED"),
        "description": "Coronal",
        **options,
    }
    plane = stack or SliceStack.coronal(count=24, step=5.0)
    return make_series(phantom, plane, series_number=series_number, **chosen)


def make_dose_report(
    *,
    identity: Identity | None = None,
    seed: str = "phantom",
    series_number: int = 501,
    extra: Override | None = None,
) -> Dataset:
    """Write a minimal X-Ray Radiation Dose SR without pixels (PS3.16, TID 10011).

    The options are those of :func:`make_series`.
    """
    who, sop_class = identity or Identity(), uid.XRayRadiationDoseSRStorage
    ds = _instance(who, sop_class, "SR", seed, series_number, "Dose Report")
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.PerformedProcedureCodeSequence = []
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = _code("113701", "DCM", "X-Ray Radiation Dose Report")
    ds.ContentTemplateSequence = [_item(MappingResource="DCMR", TemplateIdentifier="10011")]
    modality = _item(RelationshipType="HAS CONCEPT MOD", ValueType="CODE")
    modality.ConceptNameCodeSequence = _code("121058", "DCM", "Procedure reported")
    modality.ConceptCodeSequence = _code("77477000", "SCT", "Computed Tomography X-Ray")
    total = _item(RelationshipType="CONTAINS", ValueType="NUM")
    total.ConceptNameCodeSequence = _code("113813", "DCM", "CT Dose Length Product Total")
    unit = _code("mGy.cm", "UCUM", "mGy.cm")
    total.MeasuredValueSequence = [_item(NumericValue="250", MeasurementUnitsCodeSequence=unit)]
    dose = _item(RelationshipType="CONTAINS", ValueType="CONTAINER", ContentSequence=[total])
    dose.ContinuityOfContent = "SEPARATE"
    dose.ConceptNameCodeSequence = _code("113811", "DCM", "CT Accumulated Dose Data")
    ds.ContentSequence = [modality, dose]
    return _override(ds, extra)


def make_secondary_capture(
    *,
    identity: Identity | None = None,
    seed: str = "phantom",
    series_number: int = 999,
    extra: Override | None = None,
) -> Dataset:
    """Write an 8-bit Secondary Capture image of modality CT, without any geometry.

    The options are those of :func:`make_series`.
    """
    who, sop_class = identity or Identity(), uid.SecondaryCaptureImageStorage
    ds = _instance(who, sop_class, "CT", seed, series_number, "Patient Protocol")
    ds.ConversionType, ds.ImageType = "WSD", ["DERIVED", "SECONDARY", "OTHER"]
    ds.BurnedInAnnotation, ds.PatientOrientation = "YES", ""
    lines = (np.arange(128)[:, None] // 6 % 2) * (np.arange(128)[None, :] * 37 // 5 % 7 > 2)
    _put_pixels(ds, lines * 255, 8, 0)
    return _override(ds, extra)


def write_files(
    datasets: Sequence[Dataset],
    folder: Path,
    *,
    names: Sequence[str] | None = None,
    transfer_syntax: str | None = None,
) -> list[Path]:
    """Write datasets as DICOM files (PS3.10) and return their paths in the order of `datasets`.

    Parameters
    ----------
    datasets : sequence of pydicom.Dataset
        Left as they are.
    folder : Path
        Made if it does not exist.
    names : sequence of str, optional
        Paths below `folder`; default: names without a meaning, an order or an extension.
    transfer_syntax : str, optional
        UID; default: Explicit VR Little Endian. Of the compressed ones RLE, JPEG lossless, JPEG-LS
        lossless and JPEG 2000 lossless. Datasets without pixels are not compressed.
    """
    syntax = uid.UID(transfer_syntax or uid.ExplicitVRLittleEndian)
    if names is None:
        keys = [f"{k}:{ds.get('SOPInstanceUID', '')}" for k, ds in enumerate(datasets)]
        names = [hashlib.sha256(key.encode()).hexdigest()[:16].upper() for key in keys]
    paths = []
    for source, name in zip(datasets, names, strict=True):
        ds = copy.deepcopy(source)
        if not syntax.is_encapsulated:
            ds.file_meta.TransferSyntaxUID = syntax
            if not syntax.is_little_endian and ds.get("BitsAllocated") == 16:
                ds.PixelData = np.frombuffer(ds.PixelData, dtype="<u2").astype(">u2").tobytes()
        elif "PixelData" in ds:
            compress(ds, syntax)
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def compress(ds: Dataset, syntax: str) -> None:
    """Compress the pixels of an instance in place, without a loss."""
    if syntax == uid.RLELossless:
        ds.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
        return
    encoders: dict[str, Callable[..., bytes | bytearray]] = {
        uid.JPEGLosslessSV1: functools.partial(
            imagecodecs.jpeg8_encode, lossless=True, predictor=1, bitspersample=ds.BitsStored
        ),
        uid.JPEGLSLossless: imagecodecs.jpegls_encode,
        uid.JPEG2000Lossless: functools.partial(
            imagecodecs.jpeg2k_encode, level=0, codecformat="j2k", bitspersample=ds.BitsStored
        ),
    }
    signed = ds.PixelRepresentation and syntax == uid.JPEG2000Lossless  # the others know no sign
    dtype = f"<{'i' if signed else 'u'}{ds.BitsAllocated // 8}"
    shape = int(ds.get("NumberOfFrames", 1)), ds.Rows, ds.Columns
    count = math.prod(shape)
    frames = np.frombuffer(ds.PixelData, dtype, count).reshape(shape)
    ds.PixelData = encapsulate([bytes(encoders[syntax](frame)) for frame in frames])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)


def find_marker(
    volume: npt.NDArray[Any],
    origin: Vector,
    spacing: Vector,
    direction: Float,
    marker: Marker,
    *,
    search: Literal["near", "global"] = "near",
    reach: float = 25.0,
) -> Float:
    """Find a marker in a volume.

    Parameters
    ----------
    volume : (z, y, x) array
        HU.
    origin : (3,) array
        LPS of voxel (0, 0, 0), mm.
    spacing : (3,) array
        Along the array axes (z, y, x), mm.
    direction : (3, 3) array
        Columns are the LPS unit vectors of the array axes (z, y, x).
    marker : Marker
    search : {"near", "global"}
        "near" looks within `reach` of where the marker should be. "global" does not know the
        place: it groups all voxels above `MARKER_FLOOR_HU` and takes the one group whose core has
        the HU of the marker, within `MARKER_BAND_HU`. That holds for slices up to 5 mm apart: in
        thicker ones interpolation blurs the core, and a marker may pass for another.
    reach : float
        In mm.

    Returns
    -------
    (3,) array
        LPS of the centroid weighted by HU, mm.

    Raises
    ------
    ValueError
        If the marker, or more than one group like it, is found.
    """
    step = direction * _vector(spacing)

    def ball(centre: Float, radius: float) -> tuple[Float, Float]:
        """LPS (n, 3) and HU (n,) of the voxels within `radius` of `centre`."""
        middle = np.linalg.solve(step, centre - _vector(origin))
        extent = radius * np.linalg.norm(np.linalg.inv(step), axis=1)
        low = np.maximum(np.ceil(middle - extent), 0).astype(int)
        high = np.maximum(np.minimum(np.floor(middle + extent) + 1, volume.shape), low).astype(int)
        part = volume[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
        places = (grid @ step.T + _vector(origin)).reshape(-1, 3)
        within = np.linalg.norm(places - centre, axis=1) <= radius
        return places[within], part.reshape(-1)[within].astype(np.float64)

    def core(group: Float) -> float:
        places, values = ball(group.mean(axis=0), marker.radius)
        order = np.argsort(np.linalg.norm(places - group.mean(axis=0), axis=1))
        return float(np.median(values[order[: max(3, len(order) // 20)]]))

    truth = _vector(marker.centre)
    if search == "near":
        places, values = ball(truth, reach)
        groups = [places[values > MARKER_FLOOR_HU]]
    else:
        rest = np.argwhere(volume > MARKER_FLOOR_HU) @ step.T + _vector(origin)
        groups = []
        while len(rest):
            joined = np.linalg.norm(rest - rest[0], axis=1) <= 2.0 * marker.radius + 4.0
            groups.append(rest[joined])
            rest = rest[~joined]
        groups = [g for g in groups if abs(core(g) - marker.hu) <= MARKER_BAND_HU]
    groups = [g for g in groups if len(g)]
    if len(groups) != 1:
        raise ValueError(f"marker {marker.name}: {len(groups)} places found by {search} search")
    centre = groups[0].mean(axis=0)
    floor = MARKER_FLOOR_HU / 2
    for _ in range(3):
        places, values = ball(centre, marker.radius + 2.0 + float(np.max(spacing)) / 2)
        weights = np.clip(values - floor, 0.0, marker.hu - floor)
        centre = weights @ places / weights.sum()
    return _vector(centre)
