"""A thorax in patient coordinates whose truth is known by construction.

Coordinates are DICOM patient coordinates in mm: x to the patient's left, y to posterior, z to the
head (LPS, PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Vector = Sequence[float] | Float
Side = Literal["posterior", "anterior", "left", "right"]
EDGE_MM = 1.5
"""Distance over which an edge rises from 10 to 90 per cent."""
_LOGISTIC_MM = EDGE_MM / (2.0 * math.log(9.0))
_MARGIN_MM = 12.0 * _LOGISTIC_MM
_BODY = (170.0, 115.0)
_METAL_CENTRE = (-50.0, 85.0, 0.0)
_SIDES: dict[Side, tuple[float, float]] = {
    "posterior": (0, 1),
    "anterior": (0, -1),
    "left": (1, 0),
    "right": (-1, 0),
}


def vector(values: Vector) -> Float:
    """Return numbers as an array of float64."""
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
        x, y, z = vector(axis) / np.linalg.norm(axis)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        angle = math.radians(degrees)
        turn = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
        return cls(turn, vector(centre) - turn @ vector(centre) + vector(shift))

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
        local = np.atleast_2d((vector(points) - self.pose.translation) @ self.pose.rotation)
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
        start = (vector(origin) - self.pose.translation) @ turn
        down, right = (
            np.round(vector(row_step) @ turn, 12),
            np.round(vector(column_step) @ turn, 12),
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

        Parameters
        ----------
        shape : (z, y, x)
        origin : LPS of voxel (0, 0, 0), mm
        spacing : along the array axes (z, y, x), mm
        direction : (3, 3); columns are the LPS unit vectors of the array axes, by default those of
            the patient

        Returns
        -------
        (z, y, x) float32
        """
        axes = np.eye(3)[:, ::-1] if direction is None else direction
        steps = (axes * vector(spacing)).T
        planes = [
            self.plane(vector(origin) + k * steps[0], steps[1], steps[2], shape[1], shape[2])
            for k in range(shape[0])
        ]
        return np.stack(planes)
