"""Measure the lungs of a scan, and whether its first or last slice cuts through them (rule 16).

Measured on the slices before clipping, on a grid of about 4 mm. A voxel may be lung where it has
the density of aerated lung and the wall of a body on all four sides in its slice: the foam of a
table has not. Air in the bowel, in the sinuses and under an arm is emptier than lung, but its rim
is not: that is why a voxel is lung only where much of a cube around it may be. Vessels inside the
lungs then count as lung; consolidated lung, which has no air, does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

GRID_MM = 4.0
"""About this far apart are the voxels that are looked at."""

BODY_HU = -300
LUNG_HU = (-960, -500)
"""Below is air outside and in the bowel; above are voxels that are only partly lung."""

WALL_MM = 12.0
"""Body on every side of a lung, not counting what is thinner than this either way: the wall
of a chest is thicker, except an infant's; the shells of a table are thinner."""

CUBE_MM = 20.0
"""Edge of the cube around a voxel: wider than the rims of air, narrower than a lung."""

CUBE_SHARE = 0.4
"""Of the cube's voxels, so many have the density of lung. A cube on the pleura is half filled with
lung, of which a tenth or two are vessels: with this share the surface stays where it is."""

LEAST_ML = 20.0
"""Less is no lung: a newborn's lungs hold 100 mL, what looks like lung in a head a few."""

CUT_MM2 = 800.0
"""So much lung in the first or last slice is a lung that goes on outside the scan. The tips of both
lungs together have 600 mm² 1 cm below their ends, stool in a bowel has been seen with 500."""


ENDS = ("head", "feet")
"""Where the first and the last slice lie."""


@dataclass(frozen=True, slots=True)
class Lung:
    """The lungs of a scan; `cut` names the ends of the scan that cut them: head, feet.

    `volume_ml` is that between the middles of the first and the last slice.
    """

    volume_ml: float
    cut: list[str]

    def flags(self) -> list[str]:
        """Words of `reasons.FLAGS` that this raises."""
        return ["no_lung"] * (self.volume_ml < LEAST_ML) + ["lungs_cut"] * bool(self.cut)


class Lungs:
    """Takes the slices of a stack as they come, and measures when all have come.

    Parameters
    ----------
    depths : (slices,) mm from the first slice, at right angles to it; the first is at the head
    spacing : mm between rows, between columns
    """

    def __init__(self, depths: Array, spacing: tuple[float, float]) -> None:
        wanted = np.linspace(0, len(depths) - 1, 1 + round(float(depths[-1]) / GRID_MM))
        indices = np.unique(wanted.round().astype(int))
        self._order = {int(index): number for number, index in enumerate(indices)}
        self._depths = depths[indices]
        self._every = [max(1, round(GRID_MM / mm)) for mm in spacing]
        self._mm = [mm * every for mm, every in zip(spacing, self._every, strict=True)]
        self._body: list[NDArray[np.bool_]] = [np.zeros((0, 0), bool)] * len(indices)
        self._lung = list(self._body)

    def add_slice(self, index: int, hu: NDArray[Any], mask: NDArray[np.bool_] | None) -> None:
        """Take in slice `index`, HU (rows, columns) and where it is padded; several threads may."""
        if index not in self._order:
            return
        every = slice(None, None, self._every[0]), slice(None, None, self._every[1])
        sparse = hu[every]
        body, lung = sparse > BODY_HU, (sparse >= LUNG_HU[0]) & (sparse <= LUNG_HU[1])
        if mask is not None:
            body &= ~mask[every]
            lung &= ~mask[every]
        self._body[self._order[index]], self._lung[self._order[index]] = body, lung

    def measures(self) -> Lung:
        """Return what the slices that were taken in hold."""
        within = _within(np.stack(self._body), self._mm)
        lung = np.stack(self._lung) & within
        dz = self._depths[-1] / max(1, len(self._depths) - 1)
        reach = [round(CUBE_MM / 2 / mm - 0.5) if mm else 0 for mm in (dz, *self._mm)]
        region = within & _is_amid(lung, reach)
        areas = region.sum(axis=(1, 2)) * self._mm[0] * self._mm[1]
        middles = (self._depths[1:] + self._depths[:-1]) / 2
        thick = np.diff(np.r_[self._depths[0], middles, self._depths[-1]])
        # not the region's: at an end it follows from the slices on one side alone
        seen = (region & lung)[[0, -1]].sum(axis=(1, 2)) * self._mm[0] * self._mm[1]
        return Lung(
            volume_ml=round(float(areas @ thick) / 1000, 1),
            cut=[end for end, area in zip(ENDS, seen, strict=True) if area >= CUT_MM2],
        )


def _within(body: NDArray[np.bool_], mm: Sequence[float]) -> NDArray[np.bool_]:
    """Voxels (z, y, x) with `WALL_MM` of thick body on all four sides in their slice."""
    thick = _thick(body)
    within = np.ones_like(body)
    for axis, step in zip((1, 2), mm, strict=True):
        for turn in (slice(None), slice(None, None, -1)):
            where = (*[slice(None)] * axis, turn)
            within[where] &= np.cumsum(thick[where], axis=axis, dtype=np.uint16) * step >= WALL_MM
    return within


def _thick(body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels (z, y, x) in a square of 3 x 3 voxels of body in their slice (an opening)."""
    middles = np.zeros_like(body)
    inner = middles[:, 1:-1, 1:-1]
    rows = body[:, :-2] & body[:, 1:-1] & body[:, 2:]
    inner[...] = rows[:, :, :-2] & rows[:, :, 1:-1] & rows[:, :, 2:]
    thick = middles.copy()
    thick[:, 1:] |= middles[:, :-1]
    thick[:, :-1] |= middles[:, 1:]
    wide = thick.copy()
    wide[:, :, 1:] |= thick[:, :, :-1]
    wide[:, :, :-1] |= thick[:, :, 1:]
    return wide


def _is_amid(chosen: NDArray[np.bool_], reach: Sequence[int]) -> NDArray[np.bool_]:
    """Voxels (z, y, x) with at least `CUBE_SHARE` of the box around them chosen.

    The box ends `reach` voxels from its middle along each axis. What lies beyond the first and the
    last slice is not known and does not count; what lies beside a slice is not chosen.
    """
    sums = chosen.astype(np.uint16)  # overflows, but the differences are small and right
    for axis, far in enumerate(reach):
        ends = [(far + 1, far) if each == axis else (0, 0) for each in range(3)]
        sums = np.moveaxis(np.cumsum(np.pad(sums, ends), axis=axis, dtype=np.uint16), axis, 0)
        sums = np.moveaxis(sums[2 * far + 1 :] - sums[: -2 * far - 1], 0, axis)
    z = np.arange(len(chosen))
    slices = np.minimum(z + reach[0], len(z) - 1) - np.maximum(z - reach[0], 0) + 1
    size = slices * (2 * reach[1] + 1) * (2 * reach[2] + 1)
    enough: NDArray[np.bool_] = sums >= np.ceil(CUBE_SHARE * size).astype(np.uint16)[:, None, None]
    return enough
