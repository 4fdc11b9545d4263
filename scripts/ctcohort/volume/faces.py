"""Find out whether a face may be in the field of view of a volume.

Soft tissue of a face can be rendered and recognised, whatever the header says. This asks, from bone
and lung alone, whether a scan reaches high enough. It is made to raise too many, not too few, and
answers yes where there is

- a slice with as much bone as a skull has, anywhere (also where head and feet were mixed up);
- no lung, by which height could be told;
- more than `REACH_MM` of body above the lungs;
- bone right in front above the lungs: a lowered chin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID_MM = 3.0
"""About this far apart are the voxels that are looked at."""

BODY_HU = -300
BONE_HU = 300
LUNG_HU = (-960, -500)
"""Below is air outside and in the sinuses; above are voxels that are only partly lung."""

LUNG_MM2 = 2500.0
"""Lung of both sides in a slice, 15 to 20 mm below the tips. A head has up to 2000 (measured):
mastoid cells, hair and the pharynx look like lung."""

REACH_MM = 60.0
"""An upright adult's chin is at C3 or C4, 70 to 85 mm above the tips of the lungs at T1, that is
85 mm and more above a slice with `LUNG_MM2`."""

SKULL_SHARE = 0.12
SKULL_MM2 = (4000.0, 40000.0)
"""Bone's share of a slice, and the area of a slice that may be a head. Measured: a head up to 0.6
and 29000 mm²; a chest with contrast agent in the heart 0.10 and 60000 mm²."""

CHIN_MM2 = 150.0
CHIN_WIDTH_MM = 80.0
CHIN_DEPTH = 1 / 3
"""Bone in the front third of the middle 80 mm; larynx and hyoid have less, a jaw has ten times as
much."""

CHIN_BELOW_MM = 60.0
"""How far down a slice's front is looked for: in the corner of an image resampled out of a tilted
stack the body lacks its own."""


def face_possible(ct: NDArray[np.int16], spacing: NDArray[np.float64]) -> bool:
    """Return True if a face may be visible.

    Parameters
    ----------
    ct : (z, y, x) HU, z from head to feet, y to posterior
    spacing : (3,) mm, order (z, y, x)
    """
    steps = [max(1, round(GRID_MM / float(mm))) for mm in spacing]
    sparse = np.ascontiguousarray(ct[:: steps[0], :: steps[1], :: steps[2]])
    dz, dy, dx = (step * float(mm) for step, mm in zip(steps, spacing, strict=True))
    body, bone = sparse > BODY_HU, sparse > BONE_HU
    inside = body | _enclosed(body)
    area = inside.sum(axis=(1, 2)) * dy * dx
    headlike = (area >= SKULL_MM2[0]) & (area <= SKULL_MM2[1])
    if (headlike & (bone.sum(axis=(1, 2)) * dy * dx >= SKULL_SHARE * area)).any():
        return True
    lung = inside & (sparse >= LUNG_HU[0]) & (sparse <= LUNG_HU[1])
    lungs = np.flatnonzero(lung.sum(axis=(1, 2)) * dy * dx >= LUNG_MM2)
    if not lungs.size:
        return True
    above = int(lungs[0])
    if np.count_nonzero(area[:above] >= SKULL_MM2[0]) * dz > REACH_MM:
        return True
    below = round(CHIN_BELOW_MM / dz)
    return any(
        _bone_in_front(body[z : z + below], bone[z], dx) * dy * dx >= CHIN_MM2 for z in range(above)
    )


def _enclosed(body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels with body on all four sides in their slice."""
    inside = np.ones_like(body)
    for axis in (1, 2):
        for turn in (slice(None), slice(None, None, -1)):
            where = (*[slice(None)] * axis, turn)
            inside[where] &= np.logical_or.accumulate(body[where], axis=axis)
    return inside


def _bone_in_front(body: NDArray[np.bool_], bone: NDArray[np.bool_], dx: float) -> int:
    """Voxels of bone (y, x) in the front of the middle of `body` (z, y, x), whose first slice is
    the bone's."""
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    if not columns.size:
        return 0
    middle = (columns[0] + columns[-1]) / 2
    half = CHIN_WIDTH_MM / 2 / dx
    strip = slice(max(0, int(middle - half)), int(middle + half) + 1)
    first, last = _longest_run(body[:, :, strip].any(axis=(0, 2)))
    depth = int((last - first) * CHIN_DEPTH)
    return int(bone[first : first + depth, strip].sum())


def _longest_run(rows: Any) -> tuple[int, int]:
    """Return the ends of the longest run of True: the patient, not the table."""
    edges = np.flatnonzero(np.diff(np.r_[False, rows, False].astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not starts.size:
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])
