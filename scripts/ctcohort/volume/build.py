"""A raw directory of one series -> its volume and its record."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.tag import Tag

from ctcohort import ALGORITHM_VERSION
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.reasons import SERIES_REASONS
from ctcohort.config.settings import VolumeSettings
from ctcohort.dicom.encapsulation import is_compressed
from ctcohort.dicom.headers import KEYWORDS, Header, has_lossy_stream, header_of, text_of
from ctcohort.dicom.pixels import PIXEL_KEYWORDS, check_decoder, padding_of, stored_values
from ctcohort.dicom.reading import check_surplus, open_file, pixel_bytes
from ctcohort.dicom.regions import regions
from ctcohort.series.facts import facts_of
from ctcohort.series.geometry import Assessment, Dropped, Slice, Stack, assess
from ctcohort.series.received import Received, received_bytes
from ctcohort.volume import npz, resampling
from ctcohort.volume.certificate import Certificate, measure
from ctcohort.volume.faces import face_possible
from ctcohort.volume.lungs import Lung, Lungs
from ctcohort.volume.padding import is_padding
from ctcohort.volume.record import DroppedSlice, ScanRecord

Array = NDArray[np.float64]
Image = NDArray[Any]
"""HU (rows, columns) of a slice: int32 where `_whole` says so, as mostly, else float64."""

_Store = Callable[[int, Image], None]
_Arrive = Callable[[range, _Store], None]
"""Gives the slices of a range of indices to a function."""

PATIENT = ("PatientAge", "PatientSex", "PatientBirthDate", "StudyDate")
"""Read for age and sex; neither date is kept."""

BURNED_IN = "BurnedInAnnotation"
"""Read of every file (PS3.3 C.7.6.1): no archive is asked for it."""

TAGS = [int(Tag(word)) for word in {*KEYWORDS, *PIXEL_KEYWORDS, *PATIENT, BURNED_IN}]

WHOLE_LIMIT = 1 << 14
"""Rescale slope, intercept and clip beyond this are not worked with as whole numbers."""

SHEAR_MM = 0.002
"""Over the whole slice: what is sheared by less along an axis is not, whatever it borders on
(2 HU at an edge of 1000 HU/mm)."""

YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
"""Units of PatientAge (PS3.5 6.2, AS)."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A finished volume.

    Attributes
    ----------
    ct : (z, y, x) int16 HU; z descends from head to feet, y runs to posterior, x to the left
    spacing : (3,) mm, order (z, y, x)
    origin : (3,) centre of voxel (0, 0, 0), mm, patient LPS (x, y, z)
    direction : (3, 3) whose columns are the unit vectors of the z, y and x axes in patient LPS
    """

    ct: NDArray[np.int16]
    spacing: Array
    origin: Array
    direction: Array

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The members of the npz, in their order."""
        return {
            "ct": self.ct,
            "spacing": self.spacing,
            "origin": self.origin + 0.0,  # no negative zeros
            "direction": self.direction + 0.0,
        }

    def transform(self) -> list[list[float]]:
        """4 x 4: voxel index (z, y, x, 1) -> patient LPS (x, y, z, 1) in mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.direction * self.spacing
        matrix[:3, 3] = self.origin
        return [[float(value) + 0.0 for value in row] for row in matrix]


@dataclass(frozen=True, slots=True)
class _CanonicalOrder:
    """The array axes of a stack, put in canonical order.

    `transpose` says that rows run along x; `flips` reverse the (y, x) axes after that. `y` and `x`
    are unit vectors of the canonical axes, to posterior and to the left; `corner` is the centre of
    the first voxel of the first slice after it was put in order.
    """

    transpose: bool
    flips: tuple[bool, bool]
    y: Array
    x: Array
    y_spacing: float
    x_spacing: float
    corner: Array

    def apply(self, image: Image) -> Image:
        """An image (rows, columns) in canonical order (y, x)."""
        ordered = image.T if self.transpose else image
        return ordered[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]


def make_volume(
    raw: Path, received: Path, settings: VolumeSettings, *, threads: int = 1
) -> tuple[Volume, ScanRecord]:
    """Make the volume of one downloaded series (rules 7 to 16).

    Parameters
    ----------
    raw : Path
        ``raw/<name>/``; every file is compared with its checksum in `received`.
    threads : int
        Slices are read and resampled by this many threads; the result does not depend on it.

    Returns
    -------
    volume : Volume
    record : ScanRecord
        What was measured and done; the fields with a default are not filled in.

    Raises
    ------
    Fault
        With the reason of the first thing that is wrong.
    """
    try:
        files = Received.read(received)
    except InputError as error:
        raise Fault("checksum_mismatch", str(error)) from None
    files.assert_all_in(raw)
    reader = _Reader(raw, files.checksums())
    for syntax, path in reader.transfer_syntaxes.items():
        try:
            check_decoder(syntax)
        except Fault as fault:
            raise Fault(fault.reason, f"{path}: {fault}") from None
    assessment = assess(reader.headers, settings)
    stack = assessment.stack
    if stack is None:
        raise Fault(
            assessment.reason,
            f"{raw}: the files do not make a volume: {SERIES_REASONS[assessment.reason]}",
        )
    certificate, lungs = Certificate(), _lungs(stack)
    posterior = (
        stack.column_direction[1] * stack.row_spacing,
        stack.row_direction[1] * stack.column_spacing,
    )

    def slice_of(index: int) -> tuple[Certificate, Image]:
        """Counts and clipped HU (rows, columns) of one slice."""
        hu, mask, unapplied = reader.hu(stack.slices[index], settings.clip_hu)
        for rival in stack.rivals[index]:
            if not np.array_equal(hu, reader.hu(rival, settings.clip_hu)[0]):
                raise Fault(
                    "unequal_duplicates",
                    f"{raw}: instances {stack.slices[index].header.sop_instance_uid} and"
                    f" {rival.header.sop_instance_uid} are at one position with different pixels",
                )
        counts = measure(hu, mask, unapplied, posterior=posterior, clip=settings.clip_hu)
        lungs.add_slice(index, hu, mask)
        return counts, _clipped(hu, mask, settings.clip_hu)

    def arrive(indices: range, store: _Store) -> None:
        """Read slices, count them and store them where they are wanted."""

        def work(index: int) -> Certificate:
            counts, hu = slice_of(index)
            store(index, hu)
            return counts

        for counts in share(work, indices):
            certificate.add(counts)

    with _sharing(threads) as share:
        if stack.tilted:
            volume, extrapolated = _upright(arrive, stack, settings, threads, share)
        else:
            volume, extrapolated = _straight(arrive, stack, settings, share)
    dropped = assessment.dropped + [
        Dropped(rival.header.sop_instance_uid, rival.index, "duplicate")
        for rivals in stack.rivals
        for rival in rivals
    ]
    lung = lungs.measures()
    record = _record(volume, assessment, stack, dropped, certificate, lung, reader, extrapolated)
    return volume, record


@dataclass(frozen=True, slots=True)
class _File:
    """One file: its header, and where in it the pixels are; `start` is None if it is deflated."""

    path: Path
    sha256: str
    dataset: Any
    start: int | None
    length: int
    lossy: bool


class _Reader:
    """Headers of all files, then pixels of one slice at a time, in any order of slices."""

    def __init__(self, raw: Path, hashes: dict[str, str]) -> None:
        self.headers: list[Header] = []
        self.transfer_syntaxes: dict[str, Path] = {}
        """Each transfer syntax, and the first file that has it."""
        self._files: dict[str, _File] = {}
        self._multi: dict[str, NDArray[Any]] = {}
        self._reading = Lock()
        self.burned_in = False
        self.patient: dict[str, str] = {}
        for uid in sorted(hashes):
            path = raw / f"{uid}.dcm"
            file = _opened(path, hashes[uid])
            with _naming(path):
                syntax = str(file.dataset.file_meta.TransferSyntaxUID)
                header = header_of(
                    file.dataset, key=b"", transfer_syntax=syntax, lossy_stream=file.lossy
                )
                self.headers.append(header)
                self.burned_in |= text_of(file.dataset, BURNED_IN).upper() == "YES"
                if not self.patient:
                    self.patient = {w: text_of(file.dataset, w) for w in PATIENT}
            self.transfer_syntaxes.setdefault(syntax, path)
            self._files[uid] = file

    def hu(
        self, piece: Slice, clip: tuple[float, float]
    ) -> tuple[Image, NDArray[np.bool_] | None, int]:
        """HU (rows, columns) of a slice, its padding mask, and padding left as tissue."""
        file = self._files[piece.header.sop_instance_uid]
        slope, intercept = piece.frame.slope, piece.frame.intercept
        assert slope is not None and intercept is not None
        image = self._stored(piece.header, file)[piece.index]
        with _naming(file.path):
            padding = padding_of(file.dataset)
        mask, unapplied = is_padding(image, padding, slope=slope, intercept=intercept)
        kind = np.int32 if _whole(image, slope, intercept, *clip) else np.float64
        if slope == 1:
            return np.add(image, kind(intercept), dtype=kind), mask, unapplied
        hu = np.multiply(image, kind(slope), dtype=kind)
        hu += kind(intercept)
        return hu, mask, unapplied

    def _stored(self, header: Header, file: _File) -> NDArray[Any]:
        """Stored values (frames, rows, columns) of an instance; of several frames, kept."""
        if len(header.frames) == 1:
            return self._read(header, file)
        with self._reading:  # not once per thread
            if header.sop_instance_uid not in self._multi:
                self._multi[header.sop_instance_uid] = self._read(header, file)
        return self._multi[header.sop_instance_uid]

    def _read(self, header: Header, file: _File) -> NDArray[Any]:
        """Stored values (frames, rows, columns) of an instance, if it is what was received."""
        content = received_bytes(file.path, file.sha256)  # anew: it may have changed since
        with _naming(file.path):
            if file.start is None:
                inflated = open_file(io.BytesIO(content), TAGS)
                pixels = memoryview(inflated.value(pixel_bytes(file.dataset)))
            else:
                pixels = memoryview(content)[file.start : file.start + file.length]
            values = stored_values(file.dataset, pixels)
        if values.shape != (len(header.frames), header.rows, header.columns):
            raise Fault(
                "undecodable_pixels",
                f"{file.path}: decodes to {values.shape}, the header says"
                f" {(len(header.frames), header.rows, header.columns)}",
            )
        return values


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in what is raised; pydicom raises anything for a value it cannot convert."""
    try:
        yield
    except Fault as fault:
        raise Fault(fault.reason, f"{path}: {fault}") from None
    except (MemoryError, OSError):
        raise
    except Exception as error:
        raise Fault(
            "undecodable_pixels",
            f"{path}: a value of its header cannot be read ({type(error).__name__})",
        ) from None


def _opened(path: Path, sha256: str) -> _File:
    """Read a file's header, from the bytes that were compared with its checksum."""
    stream = io.BytesIO(received_bytes(path, sha256))
    file = open_file(stream, TAGS)
    if file.start is None:
        raise Fault("no_pixel_data", f"{path}: has no pixel data")
    if not is_compressed(file.transfer_syntax):
        with _naming(path):
            check_surplus(file.dataset, file.length)
    deflated = file.stream is not stream
    start, lossy = None if deflated else file.start, has_lossy_stream(file)
    return _File(path, sha256, file.dataset, start, file.length, lossy)


@contextmanager
def _sharing(threads: int) -> Iterator[resampling.Share]:
    """`map`, by as many threads."""
    if threads == 1:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool.map


def _whole(image: NDArray[np.integer[Any]], *numbers: float) -> bool:
    """Return True if HU made of 16-bit values and these numbers are whole and fit into 32 bits."""
    small = image.itemsize <= 2
    return small and all(float(n).is_integer() and abs(n) <= WHOLE_LIMIT for n in numbers)


def _clipped(hu: Image, mask: NDArray[np.bool_] | None, clip: tuple[float, float]) -> Image:
    """Padding to the lower clip, then clip, then exact multiples of the HU unit (rule 12)."""
    low, high = map(hu.dtype.type, clip)
    if mask is not None:
        hu[mask] = low
    np.clip(hu, low, high, out=hu)
    if hu.dtype == np.float64:
        resampling.round_hu(hu)
    return hu


def _lungs(stack: Stack) -> Lungs:
    normal = np.cross(stack.row_direction, stack.column_direction)
    depths = stack.distances * abs(normal @ stack.stack_direction)
    return Lungs(depths, (stack.row_spacing, stack.column_spacing))


def _shape(stack: Stack) -> tuple[int, int]:
    header = stack.slices[0].header
    assert header.rows and header.columns
    return header.rows, header.columns


def _canonical_order(stack: Stack) -> _CanonicalOrder:
    """Canonical order of an upright stack's axes: flips and transpositions only (rule 5)."""
    rows, columns = _shape(stack)
    row, column = stack.row_direction, stack.column_direction
    transpose = abs(row[0]) < abs(row[1])
    y, x = (row, column) if transpose else (column, row)
    spacings = [stack.row_spacing, stack.column_spacing]
    counts = [rows, columns]
    if transpose:
        spacings, counts = spacings[::-1], counts[::-1]
    flips = bool(y[1] < 0), bool(x[0] < 0)
    corner = stack.origin + (
        flips[0] * (counts[0] - 1) * spacings[0] * y + flips[1] * (counts[1] - 1) * spacings[1] * x
    )
    return _CanonicalOrder(
        transpose=transpose,
        flips=flips,
        y=-y if flips[0] else y,
        x=-x if flips[1] else x,
        y_spacing=spacings[0],
        x_spacing=spacings[1],
        corner=corner,
    )


def _positions_z(stack: Stack, settings: VolumeSettings) -> Array:
    """Return the position that the volume gives each slice, mm from the first (rules 7 and 8)."""
    if stack.regular or settings.irregular_spacing != "positions":
        return stack.step * np.arange(len(stack.distances), dtype=np.float64)
    return stack.distances


def _targets(knots: Array, step: float, target: float) -> Array:
    """Output positions along an axis; `knots` that are evenly spaced give the article's size."""
    count = (knots[-1] + step) / step
    count = round(count) if np.isclose(count, round(count), atol=1e-6) else count
    return np.arange(resampling.output_size(count, step, target), dtype=np.float64) * target


def _straight(
    arrive: _Arrive, stack: Stack, settings: VolumeSettings, share: resampling.Share
) -> tuple[Volume, int]:
    """Resample along the array's own axes."""
    order = _canonical_order(stack)
    rows, columns = _shape(stack)
    counts = (columns, rows) if order.transpose else (rows, columns)
    steps = np.array([stack.step, order.y_spacing, order.x_spacing])
    spacing = steps if settings.spacing_mm is None else np.array(settings.spacing_mm, dtype=float)
    knots = [
        _positions_z(stack, settings),
        np.arange(counts[0], dtype=np.float64) * order.y_spacing,
        np.arange(counts[1], dtype=np.float64) * order.x_spacing,
    ]
    targets = [_targets(k, s, t) for k, s, t in zip(knots, steps, spacing, strict=True)]
    if not all(map(len, targets)):
        raise Fault(
            "no_geometry",
            f"series {stack.slices[0].header.series_uid} is smaller than half a voxel of"
            " volume.spacing_mm; its PixelSpacing or its positions are damaged",
        )
    z, y, x = (
        resampling.axis(k, t, step=s, interpolator=settings.interpolator)
        for k, t, s in zip(knots, targets, steps, strict=True)
    )
    straight = resampling.Straight(z, y, x)

    def store(index: int, hu: Image) -> None:
        straight.add_slice(index, order.apply(hu))

    ct = straight.volume(lambda indices: arrive(indices, store), settings.clip_hu, share)
    direction = np.stack([stack.stack_direction, order.y, order.x], axis=1)
    beyond = int((targets[0] > knots[0][-1] + 1e-6).sum())
    return Volume(ct, spacing, order.corner, direction), beyond


def _upright(
    arrive: _Arrive, stack: Stack, settings: VolumeSettings, threads: int, share: resampling.Share
) -> tuple[Volume, int]:
    """Resample a tilted stack onto a grid along the table and across it (rule 9)."""
    y, x = _upright_axes(stack)
    axes = np.stack([stack.stack_direction, y, x], axis=1)
    order = _canonical_order(stack)
    rows, columns = _shape(stack)
    counts = (columns, rows) if order.transpose else (rows, columns)
    spacings = order.y_spacing, order.x_spacing
    knots_z = _positions_z(stack, settings)
    # in the volume's axes (z, y, x): the first voxel, and a step along each axis of the slices
    corner = axes.T @ (order.corner - stack.origin)
    steps = [axes.T @ (axis * mm) for axis, mm in zip((order.y, order.x), spacings, strict=True)]
    edges = [step * (count - 1) for step, count in zip(steps, counts, strict=True)]
    reach = np.array([knots_z[-1], 0.0, 0.0])
    corners = corner + np.array(
        [a * edges[0] + b * edges[1] + c * reach for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    spacing = np.array(
        settings.spacing_mm or (stack.step, stack.row_spacing, stack.column_spacing), dtype=float
    )
    size = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
    shape = int(size[0]), int(size[1]), int(size[2])
    leaning = int(abs(edges[1][0]) > abs(edges[0][0]))
    if abs(edges[1 - leaning][0]) > SHEAR_MM:
        ct = _twice_sheared(arrive, stack, settings, threads, axes, low, spacing, shape)
    else:
        lines = [
            resampling.Line(
                corner[axis] + steps[axis - 1][axis] * np.arange(counts[axis - 1]),
                steps[axis - 1][axis],
                settings.interpolator,
            )
            for axis in (1, 2)
        ]
        targets = [
            first + mm * np.arange(n) for first, mm, n in zip(low, spacing, shape, strict=True)
        ]
        lean, kept = (1, 2) if leaning == 0 else (2, 1)
        step = steps[leaning]
        along = (targets[lean] - corner[lean]) / step[lean]
        sheared = resampling.Sheared(
            resampling.Line(knots_z, stack.step, settings.interpolator),
            lines[lean - 1],
            lines[kept - 1],
            (targets[0], targets[lean], targets[kept]),
            corner[0] + along * step[0],
        )

        def store(index: int, hu: Image) -> None:
            image = order.apply(hu)
            sheared.add_slice(index, image if leaning == 0 else image.T)

        arrive(range(len(stack.slices)), store)
        ct = npz.empty(shape, np.int16)
        sheared.fill(ct.transpose(0, lean, kept), settings.clip_hu, share)
    return Volume(ct, spacing, stack.origin + axes @ low, axes), 0


def _twice_sheared(
    arrive: _Arrive,
    stack: Stack,
    settings: VolumeSettings,
    threads: int,
    axes: Array,
    low: Array,
    spacing: Array,
    size: tuple[int, int, int],
) -> NDArray[np.int16]:
    """Resample a stack whose slices lean both ways: no order of passes along axes does that."""
    slices = np.empty((len(stack.slices), *_shape(stack)), np.float32)
    arrive(range(len(slices)), slices.__setitem__)
    positions = _positions_z(stack, settings)
    if not np.allclose(np.diff(positions), stack.step):
        count = int(np.ceil(positions[-1] / stack.step - 1e-6)) + 1
        even = stack.step * np.arange(count, dtype=np.float64)
        along = resampling.axis(
            positions, even, step=stack.step, interpolator=settings.interpolator
        )
        whole = np.empty((along.size, *slices.shape[1:]), np.float32)
        for block in along.blocks:
            part = slices[block.low : block.high].reshape(block.high - block.low, -1)
            whole[block.first : block.last] = (block.weights @ part).reshape(-1, *slices.shape[1:])
        slices = whole
    index_to_mm = np.stack(
        [
            stack.column_spacing * stack.row_direction,
            stack.row_spacing * stack.column_direction,
            stack.step * stack.stack_direction,
        ],
        axis=1,
    )
    to_index = np.linalg.inv(index_to_mm)
    return resampling.sheared(
        slices,
        to_index @ (axes * spacing)[:, ::-1],
        to_index @ (axes @ low),
        size=size,
        interpolator=settings.interpolator,
        clip=settings.clip_hu,
        threads=threads,
    )


def _upright_axes(stack: Stack) -> tuple[Array, Array]:
    """Unit vectors to posterior and to the left, at right angles to the line of positions.

    The in-plane axis about which the gantry was tilted is kept; the other follows from it.
    """
    head = -stack.stack_direction
    kept = min(stack.row_direction, stack.column_direction, key=lambda axis: abs(axis @ head))
    kept = kept - (kept @ head) * head
    kept = kept / np.linalg.norm(kept)
    if abs(kept[0]) > abs(kept[1]):
        x = kept if kept[0] > 0 else -kept
        return np.cross(head, x), x
    y = kept if kept[1] > 0 else -kept
    return y, np.cross(y, head)


def _record(
    volume: Volume,
    assessment: Assessment,
    stack: Stack,
    dropped: list[Dropped],
    certificate: Certificate,
    lung: Lung,
    reader: _Reader,
    extrapolated: int,
) -> ScanRecord:
    first = facts_of([piece.header for piece in stack.slices])
    measures = assessment.measures
    flags = certificate.flags(
        fov_mm=measures.fov_mm or 0.0, scan_length_mm=measures.scan_length_mm or 0.0
    )
    flags += lung.flags()
    flags += ["tilt_corrected"] if stack.tilted else []
    flags += [] if stack.regular else ["spacing_irregular"]
    flags += ["lossy_pixels"] if any(s.header.lossy for s in stack.slices) else []
    slopes = sorted({s.frame.slope for s in stack.slices if s.frame.slope is not None})
    intercepts = sorted({s.frame.intercept for s in stack.slices if s.frame.intercept is not None})
    rows, columns = _shape(stack)
    towards_head = (stack.origin @ -stack.stack_direction) - stack.distances
    height = {
        (header.sop_instance_uid, index): round(
            float(np.dot(frame.position, -stack.stack_direction)), 4
        )
        for header in reader.headers
        for index, frame in enumerate(header.frames)
        if frame.position is not None
    }
    return ScanRecord(
        algorithm_version=ALGORITHM_VERSION,
        series_uid=first.series_uid,
        body_part=first.body_part,
        regions=regions(first.body_part, first.series_description),
        manufacturer=first.manufacturer,
        model=first.model,
        convolution_kernel=first.kernel,
        kvp=first.kvp,
        slice_thickness=first.slice_thickness,
        gantry_tilt_tag=first.tilt_tag,
        age_years=_age(reader.patient),
        sex=reader.patient["PatientSex"],
        burned_in_annotation=reader.burned_in,
        face_possible=face_possible(volume.ct, volume.spacing),
        transfer_syntaxes=sorted(reader.transfer_syntaxes),
        source=measures,
        slopes=slopes,
        intercepts=intercepts,
        orientation=[round(float(v), 6) for v in (*stack.row_direction, *stack.column_direction)],
        z_positions=[round(float(v), 4) for v in towards_head],
        matrix=[rows, columns],
        dropped=[
            DroppedSlice(**asdict(drop), z=height.get((drop.sop_instance_uid, drop.frame)))
            for drop in dropped
        ],
        extrapolated_slices=extrapolated,
        certificate=certificate.measures(),
        lung_ml=lung.volume_ml,
        lungs_cut=lung.cut,
        flags=sorted(flags),
        shape=list(volume.ct.shape),
        spacing=[float(v) for v in volume.spacing],
        transform=volume.transform(),
    )


def _age(patient: dict[str, str]) -> float | None:
    """Age at the study in years: PatientAge, else from the two dates."""
    text = patient["PatientAge"].strip()
    if len(text) == 4 and text[:3].isdigit() and text[3] in YEARS:
        return round(int(text[:3]) * YEARS[text[3]], 2)
    birth, study = patient["PatientBirthDate"], patient["StudyDate"]
    if len(birth) == len(study) == 8 and (birth + study).isdigit():
        years = int(study[:4]) - int(birth[:4]) - (study[4:] < birth[4:])
        return float(years) if 0 <= years <= 130 else None
    return None
