"""Measurements of every scan before clipping, and the flags that follow (rule 16)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctcohort.volume.record import CertificateMeasures

MEASURED_FROM_HU = -1100
"""Below this is padding by another name; left out of the histogram."""

BIN_HU = 10
BINS = 600
"""Bins of the histogram, from `MEASURED_FROM_HU` on; one more on either side takes the rest."""

AIR_HU = (-1100, -850)
AIR_SHARE = 0.005
"""Share of the measured voxels that the fullest 10 HU bin of air must hold."""

TISSUE_HU = (-200, 200)
TISSUE_SHARE = 0.02
"""Fat, water and muscle lie here; a body shows it, a scan rescaled twice does not."""

BODY_HU = -300
BONE_HU = 300
BONE_SHARE = 0.002
"""Share of the body's voxels that must be bone for its index to mean anything."""

EVERY = 4
"""The histogram, body and bone are taken from every fourth row and column; clipped and padded
voxels are counted on all."""

COMPARED_HU = (-1000, 1000)
COMPARED_PIXELS = 128
"""Slices are compared with their neighbours in this range, on as many rows or columns at least."""

STRAY_HU = 100
"""A pixel strays if it lies this much outside the range of its two neighbours along z."""

STRAY_SHARE = 0.02
STRAY_RATIO = 1.25
NEARBY = 4
"""A slice is implausible if its share of straying pixels is larger than this ratio of the largest
among as many slices on either side, plus this share of all pixels: noise, motion, thick slices and
metal let pixels stray in all slices nearby, damage does in one."""

SMALL_FOV_MM = 250.0
SCAN_LENGTH_MM = (150.0, 1000.0)


@dataclass(slots=True)
class Certificate:
    """Counts over slices: of one (`measure`), of a whole scan (`add` one after the other).

    `body` and `bone` are voxel count and summed distance to the back, of sparse voxels. `sparse`
    are sparse pixels of the last two slices, and `strays` the shares of straying pixels of all
    slices but the first and the last, which have one neighbour only.
    """

    voxels: int = 0
    padded: int = 0
    unapplied: int = 0
    low: int = 0
    high: int = 0
    bins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS + 2, np.int64))
    body: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    bone: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    sparse: list[NDArray[np.int16]] = field(default_factory=list)
    strays: list[float] = field(default_factory=list)

    def add(self, other: Certificate) -> None:
        """Take in the counts of the slice that is next along the stack."""
        self.voxels += other.voxels
        self.padded += other.padded
        self.unapplied += other.unapplied
        self.low += other.low
        self.high += other.high
        self.bins += other.bins
        self.body += other.body
        self.bone += other.bone
        self.sparse += other.sparse
        if len(self.sparse) > 2:
            self.strays.append(_stray_share(*self.sparse))
            del self.sparse[0]

    def measures(self) -> CertificateMeasures:
        """Return the shares of all voxels, and the air peak in HU (the middle of its bin)."""
        return CertificateMeasures(
            voxels=self.voxels,
            clipped_low=self.low / self.voxels,
            clipped_high=self.high / self.voxels,
            padded=self.padded / self.voxels,
            air_peak_hu=self._air_peak(),
            tissue_share=self._share(*TISSUE_HU),
            bone_behind_body=self._bone_behind_body(),
            implausible_slices=self.implausible(),
        )

    def implausible(self) -> list[int]:
        """Indices of the slices that differ from what their neighbours predict, from the head."""
        found = []
        for index, share in enumerate(self.strays):
            nearby = self.strays[max(0, index - NEARBY) : index]
            nearby = nearby + self.strays[index + 1 : index + 1 + NEARBY]
            if len(nearby) >= NEARBY and share > STRAY_RATIO * max(nearby) + STRAY_SHARE:
                found.append(index + 1)
        return found

    def flags(self, *, fov_mm: float, scan_length_mm: float) -> list[str]:
        """Words of `reasons.FLAGS` that the measurements raise."""
        raised = {
            "small_fov": fov_mm < SMALL_FOV_MM,
            "odd_scan_length": not SCAN_LENGTH_MM[0] <= scan_length_mm <= SCAN_LENGTH_MM[1],
            "no_air_peak": self._air_peak() is None,
            "hu_implausible": self._share(*TISSUE_HU) < TISSUE_SHARE,
            "padding_unapplied": self.unapplied > 0,
            "orientation_suspect": self._bone_behind_body() is False,
            "slice_implausible": bool(self.implausible()),
        }
        return [flag for flag, up in raised.items() if up]

    def _range(self, low: float, high: float) -> NDArray[np.int64]:
        first, last = (int((hu - MEASURED_FROM_HU) / BIN_HU) + 1 for hu in (low, high))
        return self.bins[first:last]

    def _measured(self) -> int:
        return max(1, int(self.bins[1:].sum()))

    def _share(self, low: float, high: float) -> float:
        return float(self._range(low, high).sum() / self._measured())

    def _air_peak(self) -> float | None:
        air = self._range(*AIR_HU)
        if air.max() < AIR_SHARE * self._measured():
            return None
        return float(AIR_HU[0] + BIN_HU * int(air.argmax()) + BIN_HU / 2)

    def _bone_behind_body(self) -> bool | None:
        """Return True if bone lies posterior to the body's centre; None where there is too little
        bone."""
        if not self.body[0] or self.bone[0] < BONE_SHARE * self.body[0]:
            return None
        return bool(self.bone[1] / self.bone[0] > self.body[1] / self.body[0])


def measure(
    hu: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    unapplied: int,
    *,
    posterior: tuple[float, float],
    clip: tuple[float, float],
) -> Certificate:
    """The counts of one slice before clipping.

    Parameters
    ----------
    hu, mask : (rows, columns); the mask is True where padded. Where HU are integers, so is `clip`
    unapplied : padding values that were left as tissue
    posterior : how many mm further to the patient's back a row, a column is than the one before
    clip : (low, high) HU
    """
    kept = hu if mask is None else hu[~mask]
    sparse = hu[::EVERY, ::EVERY].astype(np.float64)
    low, high = map(hu.dtype.type, clip)
    if mask is not None:
        sparse[mask[::EVERY, ::EVERY]] = -np.inf
    bins_of = sparse * (1 / BIN_HU)
    bins_of += 1 - MEASURED_FROM_HU / BIN_HU
    np.clip(bins_of, 0, BINS + 1, out=bins_of)
    return Certificate(
        voxels=hu.size,
        padded=hu.size - kept.size,
        unapplied=unapplied,
        low=int(np.count_nonzero(kept < low)),
        high=int(np.count_nonzero(kept > high)),
        bins=np.bincount(bins_of.astype(np.intp).ravel(), minlength=BINS + 2),
        body=_located(sparse > BODY_HU, posterior),
        bone=_located(sparse > BONE_HU, posterior),
        sparse=[_compared(hu, mask)],
    )


def _compared(hu: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[np.int16]:
    """Sparse pixels in the range in which slices are compared; padding is its lower end."""
    every = max(1, min(hu.shape) // COMPARED_PIXELS)
    sparse: NDArray[np.int16] = np.clip(
        hu[::every, ::every], *map(hu.dtype.type, COMPARED_HU)
    ).astype(np.int16)
    if mask is not None:
        sparse[mask[::every, ::every]] = COMPARED_HU[0]
    return sparse


def _stray_share(
    before: NDArray[np.int16], slice_: NDArray[np.int16], after: NDArray[np.int16]
) -> float:
    """Share of the pixels of a slice that lie far outside the range of their two neighbours."""
    above = slice_ > np.maximum(before, after) + np.int16(STRAY_HU)
    below = slice_ < np.minimum(before, after) - np.int16(STRAY_HU)
    return float(np.count_nonzero(above) + np.count_nonzero(below)) / slice_.size


def _located(chosen: NDArray[np.bool_], posterior: tuple[float, float]) -> NDArray[np.float64]:
    """Number of chosen voxels, and the sum of how far to the back they lie."""
    rows, columns = chosen.sum(axis=1), chosen.sum(axis=0)
    back = (
        rows @ np.arange(len(rows)) * posterior[0]
        + columns @ np.arange(len(columns)) * posterior[1]
    )
    return np.array([rows.sum(), back])
