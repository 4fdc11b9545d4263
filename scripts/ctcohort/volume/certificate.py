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
"""Share of the body's voxels that must be bone for its place to mean anything."""

EVERY = 4
"""The histogram, body and bone are taken from every fourth row and column; clipped and padded
voxels are counted on all."""

SMALL_FOV_MM = 250.0
SCAN_LENGTH_MM = (150.0, 1000.0)


@dataclass(slots=True)
class Certificate:
    """Counts over slices: of one (`measure`), of a whole scan (`add` one after the other).

    `body` and `bone` are voxel count and summed distance to the back, of sparse voxels.
    """

    voxels: int = 0
    padded: int = 0
    unapplied: int = 0
    low: int = 0
    high: int = 0
    bins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS + 2, np.int64))
    body: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    bone: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def add(self, other: Certificate) -> None:
        """Take in the counts of another slice."""
        self.voxels += other.voxels
        self.padded += other.padded
        self.unapplied += other.unapplied
        self.low += other.low
        self.high += other.high
        self.bins += other.bins
        self.body += other.body
        self.bone += other.bone

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
        )

    def flags(self, *, fov_mm: float, scan_length_mm: float) -> list[str]:
        """Words of `vocabulary.FLAGS` that the measurements raise."""
        raised = {
            "small_fov": fov_mm < SMALL_FOV_MM,
            "odd_scan_length": not SCAN_LENGTH_MM[0] <= scan_length_mm <= SCAN_LENGTH_MM[1],
            "no_air_peak": self._air_peak() is None,
            "hu_implausible": self._share(*TISSUE_HU) < TISSUE_SHARE,
            "padding_unapplied": self.unapplied > 0,
            "orientation_suspect": self._bone_behind_body() is False,
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
    places = sparse * (1 / BIN_HU)
    places += 1 - MEASURED_FROM_HU / BIN_HU
    np.clip(places, 0, BINS + 1, out=places)
    return Certificate(
        voxels=hu.size,
        padded=hu.size - kept.size,
        unapplied=unapplied,
        low=int(np.count_nonzero(kept < low)),
        high=int(np.count_nonzero(kept > high)),
        bins=np.bincount(places.astype(np.intp).ravel(), minlength=BINS + 2),
        body=_located(sparse > BODY_HU, posterior),
        bone=_located(sparse > BONE_HU, posterior),
    )


def _located(chosen: NDArray[np.bool_], posterior: tuple[float, float]) -> NDArray[np.float64]:
    """Number of chosen voxels, and the sum of how far to the back they lie."""
    rows, columns = chosen.sum(axis=1), chosen.sum(axis=0)
    back = (
        rows @ np.arange(len(rows)) * posterior[0]
        + columns @ np.arange(len(columns)) * posterior[1]
    )
    return np.array([rows.sum(), back])
