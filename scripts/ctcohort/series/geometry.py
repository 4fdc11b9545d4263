"""Order slices into a stack, measure spacing, tilt and obliquity, and decide whether the stack can
become a volume (rules 1 to 10).

Everything here rests on headers, so the assessment is known before a pixel moves, and the same code
judges the files again before they become a volume. Vectors are patient LPS in mm. The order of a
stack is from the head to the feet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ctcohort.config.settings import VolumeSettings
from ctcohort.dicom.headers import CT_CLASSES, MAX_FRAMES, Frame, Header
from ctcohort.series.measures import Measures

Array = NDArray[np.float64]

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of an ImageOrientationPatient component from the series' median (rule 1)."""

UNIT_LENGTH = (0.9, 1.1)
"""Length of the median row and column direction that is still that of a unit vector (rule 1)."""

RIGHT_ANGLE = 0.05
"""Largest cosine between the median row and column direction (rule 1): 3 degrees off."""

SPACING_TOLERANCE = 1e-3
"""Largest relative difference of PixelSpacing inside a series: rounding of the DS text (rule 3)."""

SAME_POSITION_MM = 0.05
"""Slices nearer than this are at one position (rule 4); a quarter of the finest CT increment."""

MINORITY = 0.1
"""Share of slices that may differ from the others and be dropped (rule 3)."""

IN_PLANE_PIXELS = 0.5
"""Largest distance of a slice's in-plane position from the fitted line, in pixels (rule 3)."""

MAX_OBLIQUITY_DEGREES = 10.0
"""Largest angle between an array axis and its patient axis (rule 5)."""

REGULAR_MM, REGULAR_STEPS = 0.1, 0.02
"""Largest residual of evenly spaced positions, in mm and in steps, whichever is more (rule 7)."""

GAP_STEPS = 1.5
"""An interval of more steps than this is a gap; fewer than 1/2 step is no step (rule 7)."""

BIN_MM = 0.01
"""Width of the bins in which the commonest interval is sought (rule 7)."""

STEP_SPREAD = 0.15
"""Intervals within this share of the commonest one are averaged to the step (rule 7)."""

MIN_TILT_DRIFT_MM = 0.8
"""Total sideways drift below which a stack counts as upright (rule 9)."""

FULL_PASS = 0.9
"""Share of the extent, or of the positions, that makes a pass a full one (rule 4)."""

THICKNESS_RATIO = 1.2
"""Slices whose SliceThickness differs by more are of two reconstructions (rule 4)."""

MAX_RUNS = 4
"""Most runs of InstanceNumber that are taken for acquisitions (rule 4)."""

STRAY_SLICES = 2
"""So many slices may lie among those of a full pass and still belong to it (rule 4)."""

MAX_MATRIX = 4096
"""Most rows and columns: four times the largest matrix of CT scanners (rule 2)."""

MAX_SLICES = MAX_FRAMES
"""Most slices of a series: a whole body every 0.2 mm (rule 2)."""

MAX_EXTENT_MM = 3000.0
"""Longest side of a scan: longer than any table moves (rule 2)."""

MAX_VOXELS = 4_000_000_000
"""Most voxels of a volume: a whole body of 2 m by 1 m by 1 m every 0.8 mm (rule 2)."""

HOUNSFIELD_NAMES = frozenset(
    {"", "HU", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS", "HOUNDSFIELD UNIT", "HOUNDSFIELD UNITS"}
)
"""RescaleType values that mean HU, in upper case (rule 10, PS3.3 C.11.1.1.2)."""


_LOST = frozenset({"no_geometry", "minority"})
"""Why a slice of the scan itself can be dropped."""

COPLANAR = 0.7
"""Cosine between normals above which a dropped slice may be one of the stack's (rule 3)."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: an instance, and which of its frames."""

    header: Header
    frame: Frame
    index: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """A slice that is not used, and why: `duplicate`, `other_pass`, `minority`, or a reason."""

    sop_instance_uid: str
    frame: int
    why: str


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices in order from head to feet, and where they lie.

    Attributes
    ----------
    slices : one per distinct position
    rivals : slices at the position of ``slices[i]`` that only their pixels can tell apart
    row_direction : unit vector of increasing column index
    column_direction : unit vector of increasing row index
    stack_direction : unit vector from the first slice to the last; not normal to the slices where
        the gantry was tilted
    distances : (n,) along `stack_direction` from the first slice, mm, ascending
    step : the slice spacing, mm
    origin : centre of the first voxel of the first slice
    row_spacing, column_spacing : distance between rows, between columns, mm
    """

    slices: tuple[Slice, ...]
    rivals: tuple[tuple[Slice, ...], ...]
    row_direction: Array
    column_direction: Array
    stack_direction: Array
    distances: Array
    step: float
    origin: Array
    row_spacing: float
    column_spacing: float
    regular: bool
    tilted: bool


@dataclass(slots=True)
class Assessment:
    """Whether a volume can be made, of which slices, and what was measured.

    `reason` is empty for a usable series, else a word of `reasons.SERIES_REASONS`. `kept` are the
    slices that were not dropped, usable or not, in the order of their UIDs.
    """

    reason: str = ""
    stack: Stack | None = None
    kept: list[Slice] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    measures: Measures = field(default_factory=Measures)


def assess(
    headers: Sequence[Header], settings: VolumeSettings, *, min_slices: int = 2
) -> Assessment:
    """Order the slices of one series and judge its geometry (rules 1 to 10).

    Parameters
    ----------
    headers : sequence of Header
        Every instance of the series, in any order: the result does not depend on it.
    settings : VolumeSettings
        `irregular_spacing`, `max_z_error_mm`, `max_gap_mm` and `gantry_tilt` decide here.
    min_slices : int
        Fewer distinct positions are `too_few_slices`.
    """
    assessment = Assessment()
    if _is_too_large(headers):
        assessment.reason = "too_large"
        return assessment
    slices = assessment.kept = _eligible(headers, assessment)
    if not slices:
        assessment.reason = Counter(drop.why for drop in assessment.dropped).most_common(1)[0][0]
        return assessment
    orientations = np.array([s.frame.orientation for s in slices])
    kinds = [_kind(s.frame) for s in slices]
    common = Counter(kinds).most_common(1)[0][0]
    median = np.median(orientations, axis=0)
    alike = np.abs(orientations - median).max(axis=1) <= ORIENTATION_TOLERANCE + 1e-9
    alike &= np.array([kind == common for kind in kinds])
    axes = _axes(median)
    if axes is None:
        assessment.reason = "mixed_geometry" if not alike.all() else "no_geometry"
        return assessment
    slices, agree = _majority(slices, alike, axes[2], assessment)
    passes = Counter(_places(_positions(slices) @ axes[2]))
    slices = _one_pass(slices, axes[2], assessment)
    overlap = _overlap(slices, axes[2])
    matrices = [(s.header.rows, s.header.columns) for s in slices]
    spacings = np.array([s.frame.pixel_spacing for s in slices])
    usual = np.median(spacings, axis=0)
    alike = (np.abs(spacings - usual) <= SPACING_TOLERANCE * usual).all(axis=1)
    matrix = Counter(matrices).most_common(1)[0][0]
    alike &= np.array([each == matrix for each in matrices])
    slices, agree_too = _majority(slices, alike, axes[2], assessment)
    assessment.kept = slices
    stack, measures, aligned = _stack(slices, axes, usual)
    extra = sum(passes.values()) - len(passes) + sum(h.copies - 1 for h in headers)
    lost = _lost_slices(headers, assessment, axes[2])
    assessment.measures = replace(_with(measures, matrix, extra, settings), lost_slices=lost)
    assessment.reason = (
        ("conflicting_instances" if _conflict(stack) else "")
        or ("" if agree and agree_too else "mixed_geometry")
        or ("too_few_slices" if measures.slices < 2 else "")  # tilted or oblique: nobody knows
        or ("not_axial" if (measures.obliquity_degrees or 0) > MAX_OBLIQUITY_DEGREES else "")
        or ("too_few_slices" if measures.slices < min_slices else "")
        or ("" if aligned else "mixed_geometry")
        or ("too_large" if _voxels(assessment.measures, settings) > MAX_VOXELS else "")
        or _unusable(stack, overlap=overlap)
        or _policy_reason(stack, assessment.measures, settings)
        or _interleaved(stack, slices, axes[2])
    )
    if not assessment.reason:
        assessment.stack = stack
    return assessment


def _eligible(headers: Sequence[Header], assessment: Assessment) -> list[Slice]:
    """Slices that can belong to a volume, in an order that does not depend on the input's."""
    slices = []
    for header in sorted(headers, key=lambda h: h.sop_instance_uid):
        for index, frame in enumerate(header.frames):
            why = _ineligible(header, frame)
            if why:
                assessment.dropped.append(Dropped(header.sop_instance_uid, index, why))
            else:
                slices.append(Slice(header, frame, index))
    return slices


def _is_too_large(headers: Sequence[Header]) -> bool:
    """Return True if a matrix or the number of slices is beyond what any scanner makes."""
    images = [header for header in headers if header.sop_class_uid in CT_CLASSES]
    sides = (side or 0 for header in images for side in (header.rows, header.columns))
    slices = sum(max(len(header.frames), header.frame_count) for header in images)
    return slices > MAX_SLICES or max(sides, default=0) > MAX_MATRIX


def _voxels(measures: Measures, settings: VolumeSettings) -> float:
    """Voxels of the volume, infinite where a side is too long.

    Without `spacing_mm`, which the index does not know, they are counted as the scan has them.
    """
    own = (
        measures.slice_spacing or 0.0,
        measures.row_spacing or 0.0,
        measures.column_spacing or 0.0,
    )
    sides = (
        measures.scan_length_mm or 0.0,
        (measures.rows or 0) * own[1],
        (measures.columns or 0) * own[2],
    )
    if max(sides) > MAX_EXTENT_MM:
        return math.inf
    spacing = settings.spacing_mm or own
    return math.prod(side / step for side, step in zip(sides, spacing, strict=True) if step)


def _kind(frame: Frame) -> tuple[str, ...]:
    """The first value of ImageType, in upper case."""
    return tuple(value.upper() for value in frame.image_type[:1])


def _lost_slices(headers: Sequence[Header], assessment: Assessment, normal: Array) -> int:
    """Count the dropped slices that are of the kept scan and outside its range."""
    kept = {(s.header.sop_instance_uid, s.index) for s in assessment.kept}
    common = Counter(_kind(s.frame) for s in assessment.kept).most_common(1)[0][0]
    t = _positions(assessment.kept) @ normal
    low, high = t.min() - SAME_POSITION_MM, t.max() + SAME_POSITION_MM
    whys = {(drop.sop_instance_uid, drop.frame): drop.why for drop in assessment.dropped}
    lost = 0
    for header in headers:
        for index, frame in enumerate(header.frames):
            why = whys.get((header.sop_instance_uid, index))
            if (header.sop_instance_uid, index) in kept or why not in _LOST:
                continue
            if why == "minority":
                assert frame.position is not None and frame.orientation is not None
                at = float(np.dot(frame.position, normal))
                axes = _axes(np.array(frame.orientation))
                along = axes is None or abs(axes[2] @ normal) > COPLANAR
                lost += bool(along and not low <= at <= high)
            else:
                lost += _kind(frame) in (common, ())
    return lost


def _ineligible(header: Header, frame: Frame) -> str:
    if header.sop_class_uid not in CT_CLASSES:
        return "not_ct"
    if "LOCALIZER" in (value.upper() for value in (*frame.image_type, *header.image_type)):
        return "localizer"
    spacing = frame.pixel_spacing
    if (
        frame.position is None
        or frame.orientation is None
        or not any(frame.orientation)
        or spacing is None
        or min(spacing) <= 0
        or not header.rows
        or not header.columns
    ):
        return "no_geometry"
    return ""


def _axes(orientation: Array) -> tuple[Array, Array, Array] | None:
    """Row direction, column direction and normal: orthonormal, from one median orientation."""
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    shortest, longest = UNIT_LENGTH
    if min(lengths) < shortest or max(lengths) > longest or abs(row @ column) > RIGHT_ANGLE:
        return None
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return row, column, np.cross(row, column)


def _positions(slices: Sequence[Slice]) -> Array:
    return np.array([s.frame.position for s in slices], dtype=np.float64)


def _places(t: Array) -> list[int]:
    """Number of the distinct position that each slice is at, counted along ascending `t`."""
    order = np.argsort(t, kind="stable")
    steps = np.diff(t[order]) > SAME_POSITION_MM
    places = np.empty(len(t), dtype=int)
    places[order] = np.concatenate([[0], np.cumsum(steps)])
    return [int(place) for place in places]


def _majority(
    slices: list[Slice], alike: NDArray[np.bool_], normal: Array, assessment: Assessment
) -> tuple[list[Slice], bool]:
    """Drop a small minority; False where it is not small, or where dropping it leaves a gap."""
    if alike.all():
        return slices, True
    if alike.sum() < (1 - MINORITY) * len(slices):
        return slices, False
    kept = [s for s, same in zip(slices, alike, strict=True) if same]
    others = [s for s, same in zip(slices, alike, strict=True) if not same]
    assessment.dropped += [Dropped(s.header.sop_instance_uid, s.index, "minority") for s in others]
    t = np.unique(_positions(kept) @ normal)
    intervals = np.diff(t)
    wide = GAP_STEPS * np.median(intervals) if len(intervals) else np.inf
    after = np.searchsorted(t, _positions(others) @ normal)
    inside = (after > 0) & (after < len(t))
    leaves_gap = any(intervals[i - 1] > wide for i in after[inside])
    return kept, not leaves_gap


def _one_pass(slices: list[Slice], normal: Array, assessment: Assessment) -> list[Slice]:
    """Where acquisitions overlap, keep the largest one that covers the whole range (rule 4)."""
    t = _positions(slices) @ normal
    repeats = len(set(_places(t))) < len(slices)
    for key in _keys(slices):
        values = [str(key(s)) for s in slices]
        parts = _parts(values)
        full = [part for part in parts if _is_full(t[part], t)]
        if len(parts) < 2 or not full:
            continue
        best = min(full, key=lambda part: (-len(part), _numeric(values[part[0]])))
        others = np.setdiff1d(np.arange(len(slices)), best)
        low, high = t[best].min(), t[best].max()
        between = int(((t[others] > low) & (t[others] < high)).sum())
        if repeats or between > STRAY_SLICES:
            assessment.dropped += [
                Dropped(slices[i].header.sop_instance_uid, slices[i].index, "other_pass")
                for i in others
            ]
            return [slices[i] for i in best]
    return slices


_PASSES: tuple[Callable[[Slice], object], ...] = (
    lambda s: s.header.acquisition_number,
    lambda s: s.header.acquisition_time,
    lambda s: s.header.kernel,
    lambda s: s.header.diameter,
    lambda s: (s.header.acquisition_number, s.header.kernel, s.header.diameter),
)
"""What tells the passes of a series apart, in the order in which it is asked (rule 4)."""


def _keys(slices: Sequence[Slice]) -> list[Callable[[Slice], object]]:
    """`_PASSES`, and SliceThickness where it differs by more than its rounding."""
    given = [s.header.slice_thickness for s in slices]
    known = [thickness for thickness in given if thickness]
    differ = len(known) == len(given) and max(known) > THICKNESS_RATIO * min(known)
    return [*_PASSES, *([lambda s: s.header.slice_thickness] if differ else [])]


def _parts(values: Sequence[str]) -> list[NDArray[np.intp]]:
    """Indices of equal values, in the order of the values."""
    _, group, counts = np.unique(np.array(values), return_inverse=True, return_counts=True)
    return np.split(np.argsort(group, kind="stable"), np.cumsum(counts)[:-1])


def _overlap(slices: list[Slice], normal: Array) -> bool:
    """Return True if acquisitions overlap in part, so that a stack would interleave them.

    Acquisitions one after the other are one scan, and so are a few slices acquired again.
    """
    t = _positions(slices) @ normal
    return any(
        _lie_over([t[part] for part in _parts([str(key(s)) for s in slices])])
        for key in _keys(slices)
    )


def _runs_overlap(slices: Sequence[Slice], normal: Array) -> bool:
    """Return True if InstanceNumber runs through the same range several times.

    Where nothing else tells acquisitions apart, their order does; more than `MAX_RUNS` runs are an
    order of another kind.
    """
    if any(s.header.instance_number is None for s in slices):
        return False
    order = sorted(slices, key=lambda s: (s.header.instance_number, s.index))
    t = _positions(order) @ normal
    steps = np.diff(t)
    backwards = np.flatnonzero(steps * np.median(steps) < 0)
    runs = np.split(t, backwards + 1)
    return 1 < len(runs) <= MAX_RUNS and _lie_over(runs)


def _lie_over(parts: Sequence[Array]) -> bool:
    """Return True if each of two parts has more than `STRAY_SLICES` positions in the other's
    range."""
    ordered = sorted(
        (np.sort(part) for part in parts if len(part) > STRAY_SLICES), key=lambda part: part[0]
    )
    furthest = ordered[:1]
    for part in ordered[1:]:
        low, high = part[0] - SAME_POSITION_MM, furthest[0][-1] + SAME_POSITION_MM
        others = len(furthest[0]) - np.searchsorted(furthest[0], low)
        if min(np.searchsorted(part, high), others) > STRAY_SLICES:
            return True
        if part[-1] > furthest[0][-1]:
            furthest = [part]
    return False


def _numeric(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return np.inf, text


def _is_full(t: Array, union: Array) -> bool:
    """Return True if a pass alone spans the union, one slice per position, without gaps."""
    if len(t) < 2 or np.ptp(t) < FULL_PASS * np.ptp(union):
        return False
    intervals = np.diff(np.sort(t))
    return bool(
        intervals.min() > SAME_POSITION_MM and intervals.max() <= GAP_STEPS * np.median(intervals)
    )


def _stack(
    slices: list[Slice], axes: tuple[Array, Array, Array], spacing: Array
) -> tuple[Stack, Measures, bool]:
    """Order slices along the line of their positions; False where they do not lie on a line."""
    row, column, normal = axes
    positions = _positions(slices)
    t = positions @ normal
    order = sorted(
        range(len(slices)),
        key=lambda i: (
            slices[i].header.acquisition_number or 0,
            slices[i].header.instance_number or 0,
            slices[i].header.sop_instance_uid,
            slices[i].index,
        ),
    )
    places = _places(t)
    groups: dict[int, list[int]] = {}
    for i in order:
        groups.setdefault(places[i], []).append(i)
    chosen = [groups[place] for place in sorted(groups)]
    first = [group[0] for group in chosen]
    t, positions = t[first], positions[first]
    drift, off_line = _line(t, positions @ np.stack([row, column], axis=1))
    extent = float(np.ptp(t))
    tilted = bool(np.linalg.norm(drift) * extent >= MIN_TILT_DRIFT_MM)
    line = normal + drift[0] * row + drift[1] * column if tilted else normal
    length = float(np.linalg.norm(line))
    line = line / length
    if line[2] > 0:  # towards the head: turn round, so that the first slice is the topmost
        line, chosen, positions, t = -line, chosen[::-1], positions[::-1], -t[::-1]
    distances = (t - t[0]) * length
    step, regular = _step(distances)
    in_plane = column - (column @ line) * line if tilted else column
    across = row - (row @ line) * line if tilted else row
    aligned = bool((off_line <= IN_PLANE_PIXELS * spacing[::-1] + 1e-6).all())
    stack = Stack(
        slices=tuple(slices[group[0]] for group in chosen),
        rivals=tuple(tuple(slices[i] for i in group[1:]) for group in chosen),
        row_direction=row,
        column_direction=column,
        stack_direction=line,
        distances=distances,
        step=step,
        origin=positions[0],
        row_spacing=float(spacing[0]),
        column_spacing=float(spacing[1]),
        regular=regular,
        tilted=tilted,
    )
    intervals = np.diff(distances)
    measures = Measures(
        slices=len(chosen),
        row_spacing=stack.row_spacing,
        column_spacing=stack.column_spacing,
        slice_spacing=step or None,
        spacing_regular=regular,
        z_error_mm=round(float(np.abs(distances - step * np.arange(len(distances))).max()), 6),
        gap_mm=float(intervals.max()) if len(intervals) else None,
        missing_slices=int(sum(round(n) - 1 for n in intervals / step if n >= GAP_STEPS)),
        tilt_degrees=float(np.degrees(np.arctan(np.linalg.norm(drift)))) if tilted else 0.0,
        obliquity_degrees=_obliquity(across, in_plane, line),
        scan_length_mm=float(distances[-1]) + step,
    )
    return stack, measures, aligned


def _line(t: Array, lateral: Array) -> tuple[Array, Array]:
    """Slope (2,) of the in-plane position over `t`, and its largest distance (2,) from the line."""
    design = np.stack([t - t.mean(), np.ones(len(t))], axis=1)
    fit = np.linalg.lstsq(design, lateral, rcond=None)[0]
    return fit[0], np.abs(lateral - design @ fit).max(axis=0)


def _step(distances: Array) -> tuple[float, bool]:
    """Slice spacing in mm, and whether the slices are evenly spaced (rule 7)."""
    count = len(distances)
    if count < 2:
        return 0.0, True
    intervals = np.diff(distances)
    step = float(distances[-1]) / (count - 1)
    index = np.arange(count)
    residual = np.abs(distances - np.polyval(np.polyfit(index, distances, 1), index)).max()
    in_range = ((intervals >= step / 2) & (intervals <= GAP_STEPS * step)).all()
    if in_range and residual <= max(REGULAR_MM, REGULAR_STEPS * step):
        return step, True
    bins = Counter(round(float(interval) / BIN_MM) for interval in intervals)
    mode = bins.most_common(1)[0][0] * BIN_MM
    return float(intervals[np.abs(intervals - mode) <= STEP_SPREAD * mode].mean()), False


def _obliquity(*array_axes: Array) -> float:
    """Largest angle in degrees between an array axis and a patient axis of its own.

    The stack comes last and must lie along z, the other two along x and y in either order.
    """
    x, y, z = (axis / np.linalg.norm(axis) for axis in array_axes)
    along = min(abs(x[0]), abs(y[1])), min(abs(x[1]), abs(y[0]))
    cosine = min(max(along), abs(z[2]))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _with(
    measures: Measures, matrix: tuple[int | None, int | None], extra: int, settings: VolumeSettings
) -> Measures:
    rows, columns = matrix
    still = settings.irregular_spacing == "positions" and measures.spacing_regular is False
    return replace(
        measures,
        rows=rows,
        columns=columns,
        duplicate_positions=extra,
        z_error_mm=0.0 if still else measures.z_error_mm,
        fov_mm=min(
            (rows or 0) * (measures.row_spacing or 0),
            (columns or 0) * (measures.column_spacing or 0),
        ),
    )


def _interleaved(stack: Stack, slices: Sequence[Slice], normal: Array) -> str:
    """Irregular slices that are the slices of several runs over one range."""
    irregular = not stack.regular and _runs_overlap(slices, normal)
    return "overlapping_acquisitions" if irregular else ""


def _conflict(stack: Stack) -> bool:
    """Return True if one UID stands for several contents."""
    everything = [*stack.slices, *(s for group in stack.rivals for s in group)]
    uids = Counter((s.header.sop_instance_uid, s.index) for s in everything)
    return any(s.header.conflicting for s in everything) or max(uids.values()) > 1


def _unusable(stack: Stack, *, overlap: bool) -> str:
    """Reject stacks whose headers make Hounsfield units or identity ambiguous; return the reason
    or ""."""
    everything = [*stack.slices, *(s for group in stack.rivals for s in group)]
    if any(s.header.private_pixels for s in everything):
        return "private_compression"
    if any(s.header.pixels is False for s in everything):
        return "no_pixel_data"
    if any(s.frame.rescale_type.upper() not in HOUNSFIELD_NAMES for s in everything):
        return "not_hounsfield"
    if any(
        s.frame.slope is None or not s.frame.slope or s.frame.intercept is None for s in everything
    ):
        return "no_rescale"
    if sum(map(bool, stack.rivals)) >= FULL_PASS * len(stack.slices):
        return "duplicate_positions"
    return "overlapping_acquisitions" if overlap else ""


def _policy_reason(stack: Stack, measures: Measures, settings: VolumeSettings) -> str:
    """Return why the config's tilt and spacing policies refuse a stack, or an empty string."""
    if stack.tilted and settings.gantry_tilt == "exclude":
        return "tilted"
    if stack.regular:
        return ""
    if settings.irregular_spacing == "exclude":
        return "too_irregular"
    if settings.irregular_spacing == "positions":
        limit, value = settings.max_gap_mm, measures.gap_mm
    else:
        limit, value = settings.max_z_error_mm, measures.z_error_mm
    return "too_irregular" if limit is not None and (value or 0) > limit else ""
