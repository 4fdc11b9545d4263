"""Resampling a stack of slices onto the volume's grid (rules 8, 9, 13 and 14).

Where the slices are not sheared, B-spline and linear interpolation are separable, and along one
axis "fit the spline, then evaluate it" is one linear map. The spline through evenly spaced samples
that mirror at both ends is the cubic spline with slope zero there, so that one construction serves
even and uneven spacing alike. Its weights fall by 0.27 per sample: a block of output samples needs
few input samples, and the work is small dense matrix products.

The arithmetic is exact, so that the bytes do not depend on the processor, the BLAS or the number of
threads: weights are multiples of 2**-18 and Hounsfield units of 2**-3, and no sum of their products
needs more than a double's 53 bits (as long as clip_hu lies within about 4500 HU).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctcohort.volume import npz

Array = NDArray[np.float64]

Share = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""`map`, or that of threads."""

WEIGHT_UNIT = 2.0**-18
HU_UNIT = 2.0**-3
BETWEEN_UNIT = 2.0**-10
"""HU after the in-plane passes are rounded to this before the pass along z."""

LONG_INTERVAL_STEPS = 2.0
"""Intervals of more steps are bridged linearly (rule 8)."""

BLOCK = 16
"""Output samples per dense block."""

PART = 1 << 13
"""Voxels of a plane that the pass along z works on at a time, so that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Block:
    """Output samples ``first:last`` are ``weights @ samples[low:high]``."""

    first: int
    last: int
    low: int
    high: int
    weights: Array


@dataclass(frozen=True, slots=True)
class Axis:
    """The linear map along one axis: `size` output samples from `count` input samples."""

    size: int
    count: int
    blocks: tuple[Block, ...]


def output_size(count: int, spacing: float, target: float) -> int:
    """Samples along an axis, by the article's own expression (rule 13)."""
    return int(np.round(count * (spacing / target)))


def axis(knots: Array, targets: Array, *, step: float, interpolator: str) -> Axis:
    """The map that takes samples at `knots` to values at `targets`, both in mm and ascending.

    Targets beyond the last knot take its value. Intervals longer than `LONG_INTERVAL_STEPS` times
    `step` are bridged linearly.
    """
    return Line(knots, step, interpolator).axis(np.clip(targets, knots[0], knots[-1]))


class Line:
    """Samples at `knots` (mm, ascending), between which values are asked for several times.

    Parameters
    ----------
    step : mm; longer intervals than `LONG_INTERVAL_STEPS` of it are bridged linearly
    """

    def __init__(self, knots: Array, step: float, interpolator: str) -> None:
        self.knots, self._step, self._interpolator = knots, step, interpolator
        many = interpolator == "bspline" and len(knots) > 1
        self._slopes = _slopes(np.diff(knots), step) if many else None

    def axis(self, targets: Array) -> Axis:
        """Return the map to values at `targets`, none of which lies beyond the knots."""
        weights = _weights(self.knots, targets, self._step, self._slopes)
        return Axis(len(targets), len(self.knots), tuple(_blocks(_fixed_point(weights))))

    def covered(self, targets: Array) -> NDArray[np.bool_]:
        """Mark the targets at most half a step beyond the knots, which ITK calls inside."""
        half = self._step / 2 + 1e-6
        covered: NDArray[np.bool_] = (targets >= self.knots[0] - half) & (
            targets <= self.knots[-1] + half
        )
        return covered

    def reflected(self, targets: Array) -> Array:
        """Bring targets that lie beyond the ends between them, as ITK does: a spline is mirrored
        there, and a line keeps its last value."""
        low, high = self.knots[0], self.knots[-1]
        if self._slopes is not None:
            targets = np.where(targets < low, 2 * low - targets, targets)
            targets = np.where(targets > high, 2 * high - targets, targets)
        return np.clip(targets, low, high)


class Straight:
    """Resamples slices that are not sheared: in their plane as they come, then along z.

    Only the slices under the current block of z are kept.

    Parameters
    ----------
    z, y, x : Axis
    """

    def __init__(self, z: Axis, y: Axis, x: Axis) -> None:
        self._z, self._y, self._x = z, y, x
        self._tallest = max(block.high - block.low for block in z.blocks)
        self._ring = np.zeros((self._tallest, y.size * x.size))
        """Slice i is in row i % tallest."""
        self._first = 0
        """No slice before this is used any more."""
        self._room = _Room(y, x)

    def add_slice(self, index: int, hu: NDArray[Any]) -> None:
        """Take in slice `index`, HU (rows, columns); several threads may.

        What is kept is in multiples of `BETWEEN_UNIT`. A slice that lies between two blocks is not:
        it would take the row of one that is used, whichever thread came last.
        """
        if index < self._first:
            return
        wide = self._ring[index % self._tallest].reshape(self._y.size, self._x.size)
        self._room.resample(hu, wide)

    def volume(
        self, arrive: Callable[[range], None], clip: tuple[float, float], share: Share = map
    ) -> NDArray[np.int16]:
        """The resampled volume.

        Parameters
        ----------
        arrive : calls `add_slice` for each of the indices it is given, which come from the head
        clip : (low, high) HU, applied again because splines overshoot
        share : how work is shared out to threads

        Returns
        -------
        (z, y, x) int16, rounded to the nearest even
        """
        volume = npz.empty((self._z.size, self._y.size, self._x.size), np.int16)
        flat = volume.reshape(self._z.size, -1)
        parts = [slice(first, first + PART) for first in range(0, flat.shape[1], PART)]
        low, high = np.rint(clip).astype(np.int16)
        arrived = 0
        for block in self._z.blocks:
            self._first = block.low
            arrive(range(arrived, block.high))
            arrived = max(arrived, block.high)
            weights = np.zeros((block.last - block.first, self._tallest))
            weights[:, np.arange(block.low, block.high) % self._tallest] = block.weights
            rows = flat[block.first : block.last]

            def finish(part: slice, weights: Array = weights, rows: NDArray[Any] = rows) -> None:
                made = rows[:, part]
                hu = self._room.block[: made.size].reshape(made.shape)
                np.matmul(weights, self._ring[:, part], out=hu)
                made[...] = np.rint(hu, out=hu)
                np.clip(made, low, high, out=made)  # as if before rounding, which keeps order

            for _ in share(finish, parts):
                pass
        self._first = self._z.count
        arrive(range(arrived, self._z.count))  # beyond the last that is used: still to be checked
        return volume


class Sheared:
    """Resamples slices that a gantry's tilt about one of their axes has sheared.

    Where a voxel lies across the slices follows from the slice and from one of the two axes in
    it: the leaning one. So slices are resampled in their plane as they come, and then along z with
    weights of its own for every index on the leaning axis. That is the one three-dimensional
    spline of a one-step resampling, in another order. What no slice covers becomes air.

    Parameters
    ----------
    z, lean, kept : Line
        Where slices, and samples along the axes in them, lie: mm in the volume's axes.
    targets : output positions (z, lean, kept), mm in the volume's axes
    depths : for each output position along the leaning axis, how much deeper than `z` says slices
        lie there, mm
    """

    def __init__(
        self,
        z: Line,
        lean: Line,
        kept: Line,
        targets: tuple[Array, Array, Array],
        depths: Array,
    ) -> None:
        self._z, self._targets, self._depths = z, targets[0], depths
        self._outside = ~lean.covered(targets[1]), ~kept.covered(targets[2])
        axes = lean.axis(lean.reflected(targets[1])), kept.axis(kept.reflected(targets[2]))
        self._room = _Room(*axes)
        # multiples of BETWEEN_UNIT below 16384 HU, which float32 holds exactly
        self._planes = np.empty((len(z.knots), axes[0].size, axes[1].size), np.float32)

    def add_slice(self, index: int, hu: NDArray[Any]) -> None:
        """Take in slice `index`, HU (leaning axis, kept axis); several threads may."""
        wide = self._room.wide()
        self._room.resample(hu, wide)
        self._planes[index] = wide

    def fill(
        self, volume: NDArray[np.int16], clip: tuple[float, float], share: Share = map
    ) -> None:
        """Write HU to `volume` (z, leaning axis, kept axis), rounded to the nearest even."""
        low, high = np.rint(clip).astype(np.int16)

        def finish(row: int) -> None:
            made = volume[:, row]
            targets = self._targets - self._depths[row]
            covered = np.flatnonzero(self._z.covered(targets))
            made[...] = low
            if not covered.size or self._outside[0][row]:
                return
            first = int(covered[0])
            along = self._z.axis(self._z.reflected(targets[covered]))
            samples = self._planes[:, row].astype(np.float64)
            for block in along.blocks:
                part = made[first + block.first : first + block.last]
                part[...] = np.rint(block.weights @ samples[block.low : block.high])
                np.clip(part, low, high, out=part)

        for _ in share(finish, range(volume.shape[1])):
            pass
        volume[:, :, self._outside[1]] = low


class _Room(threading.local):
    """Memory of each thread, which the system would otherwise give and take with every slice."""

    def __init__(self, y: Axis, x: Axis) -> None:
        self._y, self._x = y, x
        self.hu = np.empty((y.count, x.count))
        self.tall = np.empty((y.size, x.count))
        self.block = np.empty(BLOCK * PART)

    def wide(self) -> Array:
        """Room for a resampled slice."""
        return np.empty((self._y.size, self._x.size))

    def resample(self, hu: NDArray[Any], wide: Array) -> None:
        """Resample a slice (rows, columns) in its plane, to multiples of `BETWEEN_UNIT`."""
        self.hu[...] = hu
        for block in self._y.blocks:
            part = self.tall[block.first : block.last]
            np.matmul(block.weights, self.hu[block.low : block.high], out=part)
        for block in self._x.blocks:
            part = wide[:, block.first : block.last]
            np.matmul(self.tall[:, block.low : block.high], block.weights.T, out=part)
        _round(wide, BETWEEN_UNIT)


def sheared(
    volume: NDArray[np.float32],
    matrix: Array,
    offset: Array,
    *,
    size: tuple[int, int, int],
    interpolator: str,
    clip: tuple[float, float],
    threads: int,
) -> NDArray[np.int16]:
    """Resample a tilted stack by SimpleITK, in one step; what no slice covers becomes air.

    Parameters
    ----------
    volume : (slices, rows, columns) HU, clipped
    matrix, offset : an output voxel (x, y, z) is at input index ``matrix @ voxel + offset``, in
        the order (column, row, slice)
    size : output voxels, (z, y, x)
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix.ravel().tolist())
    transform.SetTranslation(offset.tolist())
    resample = sitk.ResampleImageFilter()
    resample.SetSize(size[::-1])
    resample.SetTransform(transform)
    resample.SetDefaultPixelValue(float(clip[0]))
    resample.SetInterpolator(sitk.sitkBSpline if interpolator == "bspline" else sitk.sitkLinear)
    resample.SetOutputPixelType(sitk.sitkFloat32)
    resampled = resample.Execute(sitk.GetImageFromArray(volume))
    made = npz.empty(size, np.int16)
    for index, plane in enumerate(sitk.GetArrayViewFromImage(resampled)):
        made[index] = np.rint(np.clip(plane, *clip))
    return made


def round_hu(hu: Array) -> None:
    """Round HU to `HU_UNIT`, in place."""
    _round(hu, HU_UNIT)


def _round(values: Array, unit: float) -> None:
    """Round to multiples of `unit`, a power of two, in place."""
    values *= 1 / unit
    np.rint(values, out=values)
    values *= unit


def _weights(knots: Array, targets: Array, step: float, slopes: Array | None) -> Array:
    """(targets, knots) weights of the interpolation: linear where there are no `slopes`."""
    count = len(knots)
    if count == 1:
        return np.ones((len(targets), 1))
    interval = np.minimum(np.searchsorted(knots, targets, side="right") - 1, count - 2)
    lengths = np.diff(knots)
    u = (targets - knots[interval]) / lengths[interval]
    linear = np.zeros((len(targets), count))
    rows = np.arange(len(targets))
    linear[rows, interval] = 1 - u
    linear[rows, interval + 1] = u
    if slopes is None:
        return linear
    before, after = slopes[interval], slopes[interval + 1]
    length = lengths[interval]
    weights = ((u * (1 - u) ** 2) * length)[:, None] * before
    weights -= ((u**2 * (1 - u)) * length)[:, None] * after
    weights[rows, interval] += (1 + 2 * u) * (1 - u) ** 2
    weights[rows, interval + 1] += (3 - 2 * u) * u**2
    bridged = lengths[interval] > LONG_INTERVAL_STEPS * step
    weights[bridged] = linear[bridged]
    return weights


def _slopes(lengths: Array, step: float) -> Array:
    """(knots, knots): the cubic spline's slope at each knot, as weights of the samples.

    The second derivative is continuous at inner knots; at the ends and beside a bridged interval
    the slope is zero, which is the mirror boundary. Solved by elimination along the knots.
    """
    count = len(lengths) + 1
    long = np.concatenate([[True], lengths > LONG_INTERVAL_STEPS * step, [True]])
    free = ~(long[:-1] | long[1:])
    lower, diagonal, upper = np.zeros(count), np.ones(count), np.zeros(count)
    right = np.zeros((count, count))
    for i in np.flatnonzero(free).tolist():
        before, after = lengths[i - 1], lengths[i]
        lower[i], diagonal[i], upper[i] = after, 2 * (before + after), before
        right[i, i - 1] = -3 * after / before
        right[i, i + 1] = 3 * before / after
        right[i, i] = -right[i, i - 1] - right[i, i + 1]
    for i in range(1, count):
        factor = lower[i] / diagonal[i - 1]
        diagonal[i] -= factor * upper[i - 1]
        right[i] -= factor * right[i - 1]
    for i in range(count - 2, -1, -1):
        right[i] = (right[i] - upper[i] * right[i + 1]) / diagonal[i]
    return right


def _fixed_point(weights: Array) -> Array:
    """Weights as multiples of `WEIGHT_UNIT` whose rows still sum to 1: flat regions stay flat."""
    units = np.rint(weights / WEIGHT_UNIT)
    largest = np.abs(units).argmax(axis=1)
    units[np.arange(len(units)), largest] += 1 / WEIGHT_UNIT - units.sum(axis=1)
    return units * WEIGHT_UNIT


def _blocks(weights: Array) -> Iterator[Block]:
    """Blocks whose ends never run backwards, so that slices can be read once, in order."""
    starts = range(0, len(weights), BLOCK)
    used = [np.flatnonzero(weights[first : first + BLOCK].any(axis=0)) for first in starts]
    lows = np.minimum.accumulate([columns[0] for columns in used][::-1])[::-1].tolist()
    highs = np.maximum.accumulate([columns[-1] + 1 for columns in used]).tolist()
    for first, low, high in zip(starts, lows, highs, strict=True):
        rows = weights[first : first + BLOCK]
        yield Block(first, first + len(rows), low, high, np.ascontiguousarray(rows[:, low:high]))
