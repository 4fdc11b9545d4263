"""The cases: how each series is made, and what is true of it.

A case is one accession. The patient is always the same phantom in patient coordinates (LPS, mm);
only the way it was scanned, stored or labelled is odd.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from ctcohort.phantoms.anatomy import Phantom, Rigid
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import (
    Identity,
    compress,
    make_dose_report,
    make_localizer,
    make_reformat,
    make_series,
)
from tests.objects import METAL_HU, make_enhanced, make_secondary_capture

PHANTOM = Phantom(scale=0.75)
"""A small chest: it fits 269 mm with all of its markers."""

SIZE: dict[str, Any] = {"rows": 96, "columns": 96, "pixel_spacing": 2.8}

INTERIOR: dict[str, tuple[tuple[float, float, float], float]] = {
    "heart": ((20.0, -20.0, -30.0), 50.0),
    "liver": ((-50.0, -20.0, -85.0), 110.0),
    "left lung": ((115.0, -20.0, 20.0), -850.0),
    "right lung": ((-85.0, 10.0, 30.0), -850.0),
    "tissue": ((5.0, -10.0, 60.0), 40.0),
    "bone": ((0.0, 45.0, -30.0), 700.0),
    "air": ((0.0, -150.0, 0.0), -1000.0),
}
"""Points deep inside known tissue (LPS at scale 1) and the HU there."""


@dataclass(frozen=True)
class Case:
    """One odd accession and the truth about it.

    Attributes
    ----------
    make : the instances, before they become files
    verdict : reason of series 2 (the one that a case is about), or of the accession, or of the job
    extent_mm : from the first to the last slice centre, along the line of the slices
    moved_mm : how far a marker is moved along z at most, by a policy that moves slices
    volume, series : what differs from the config
    flags : exactly these rise
    measures : what the verdict must say of the geometry
    others : reasons of the other series, by SeriesNumber
    padded : share of the pixels that is recognised as padding
    hu_tolerance : HU may be off by this, where the pixels themselves are coarse
    """

    make: Callable[[], list[Dataset]]
    verdict: str = "selected"
    extent_mm: float | None = 176.0
    moved_mm: float = 0.0
    volume: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, Any] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    measures: Mapping[str, Any] = field(default_factory=dict)
    dropped: int = 0
    padded: float = 0.0
    others: Mapping[int, str] = field(default_factory=dict)
    hu_tolerance: float = 3.0
    phantom: Phantom = PHANTOM
    syntax: str | None = None
    names: Callable[[int], str] | None = None
    damage: Callable[[list[Path]], None] | None = None

    @property
    def usable(self) -> bool:
        """Whether a volume must come out."""
        return self.verdict == "selected"


def stack(count: int = 45, step: float = 4.0, **options: Any) -> SliceStack:
    """The stack of most cases: 45 slices, 176 mm."""
    return SliceStack.oriented(**{**SIZE, "count": count, "step": step, **options})


def chest(plane: SliceStack | None = None, **options: Any) -> list[Dataset]:
    """A series without noise, so that HU can be compared."""
    return make_series(
        options.pop("phantom", PHANTOM), plane or stack(), **{"noise": 0.0, **options}
    )


def at(z: Sequence[float] | np.ndarray, **options: Any) -> SliceStack:
    """A stack with slices at these heights, mm, from the head."""
    heights = np.sort(np.asarray(z, dtype=float))[::-1]
    plane = stack(count=len(heights), **options)
    return replace(plane, offsets=heights[:, None] * np.array([0.0, 0.0, 1.0]))


def without(total: int, gone: Sequence[int], step: float) -> SliceStack:
    """A stack of `total` slices of which some never arrived."""
    return stack(total, step).take([i for i in range(total) if i not in gone])


def right_angled(row: str, column: str, towards: int) -> SliceStack:
    """A stack whose rows and columns run along these patient axes, e.g. ``+x`` and ``-y``."""
    axes = [
        np.eye(3)["xyz".index(name[1])] * (1 if name[0] == "+" else -1) for name in (row, column)
    ]
    plane = stack()
    corner = sum((96 - 1) / 2 * 2.8 * axis for axis in axes)
    along = (np.arange(45) - 22) * 4.0 * towards
    return replace(
        plane,
        origin=-np.asarray(corner),
        row_direction=axes[0],
        column_direction=axes[1],
        offsets=along[:, None] * np.cross(*axes),
    )


def _noisy_orientation(spread: float) -> list[Dataset]:
    """Orientations that differ by at most `spread` inside the series."""
    draw = np.random.default_rng(3)
    noise = draw.uniform(-spread / 2, spread / 2, (45, 6))
    ideal = np.array([1, 0, 0, 0, 1, 0])
    texts = [[f"{value:.8f}" for value in ideal + row] for row in noise]
    return chest(extra={"ImageOrientationPatient": lambda i: texts[i]})


def _jittered(amplitude: float) -> list[Dataset]:
    """Positions that are stored wrong by up to `amplitude`; the slices lie where they should."""
    draw = np.random.default_rng(4)
    plane = stack()
    stored = plane.positions + draw.uniform(-amplitude, amplitude, (45, 3))
    return chest(plane, extra={"ImagePositionPatient": lambda i: [f"{v:.5f}" for v in stored[i]]})


def _stored_positions(plane: SliceStack, decimals: int) -> list[Dataset]:
    return chest(
        plane,
        extra={"ImagePositionPatient": lambda i: [f"{v:.{decimals}f}" for v in plane.positions[i]]},
    )


def _passes(offset: float, *, told_apart: bool, **options: Any) -> list[Dataset]:
    """Two passes of 45 slices over one range, `offset` mm apart, under one series UID."""
    first, second = stack(), stack().shifted(np.array([0.0, 0.0, offset]))
    both = replace(first, offsets=np.concatenate([first.offsets, second.offsets]))
    numbers: int | list[int] = [1] * 45 + [2] * 45 if told_apart else 1
    return chest(both, acquisition_number=numbers, **options)


def _phases(count: int, slices: int, step: float, **options: Any) -> list[Dataset]:
    one = stack(slices, step)
    return chest(replace(one, offsets=np.tile(one.offsets, (count, 1))), **options)


def _again(series: list[Dataset], index: int, *, uid: bool, pixels: bool) -> list[Dataset]:
    """One more instance at the position of `index`, with its UID and its pixels or with others."""
    copy = replace_elements(series[index])
    if not uid:
        copy.SOPInstanceUID = generate_uid(entropy_srcs=["torture", copy.SOPInstanceUID])
        copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    if not pixels:
        values = np.frombuffer(copy.PixelData, "<u2") + 5
        copy.PixelData = values.astype("<u2").tobytes()
    return [*series, copy]


def replace_elements(dataset: Dataset, **elements: Any) -> Dataset:
    """A copy of an instance with other elements."""
    import copy

    new = copy.deepcopy(dataset)
    for keyword, value in elements.items():
        setattr(new, keyword, value)
    return new


def _scout(**options: Any) -> Dataset:
    return make_localizer(PHANTOM, **{"noise": 0.0, "series_number": 1, **options})


def _in_series(series: list[Dataset], *more: Dataset) -> list[Dataset]:
    """Other instances filed under the UID of a series."""
    uid, number = series[0].SeriesInstanceUID, series[0].SeriesNumber
    changed = {"SeriesInstanceUID": uid, "SeriesNumber": number}
    return [*series, *(replace_elements(dataset, **changed) for dataset in more)]


def _phases_of_other_lengths() -> list[Dataset]:
    """A short phase, two whole ones and a capture under one series UID."""
    short, whole = stack(40, centre=(0.0, 0.0, 10.0)), stack()
    offsets = [short.offsets + (short.origin - whole.origin), whole.offsets, whole.offsets]
    numbers = [2] * 40 + [3] * 45 + [4] * 45
    phases = chest(replace(whole, offsets=np.concatenate(offsets)), acquisition_number=numbers)
    return _in_series(phases, make_secondary_capture())


def _askew() -> list[Dataset]:
    """A coronal scan whose axes are 8 degrees off those of the patient, as one was reported."""
    row = np.array([0.991124, -0.130252, 0.0265963])
    column = np.array([0.00839617, -0.138332, -0.99035])
    extent = np.array([22.2893, 164.94, -22.8497])
    plane = replace(
        stack(57),
        row_direction=row,
        column_direction=column,
        origin=-(row + column) * (96 - 1) / 2 * 2.8 - extent / 2,
        offsets=np.outer(np.linspace(0, 1, 57), extent),
    )
    return chest(plane)


def _slightly_tilted(*, again: bool) -> list[Dataset]:
    """A gantry tilted by 6.8 degrees, which the tag denies; the last slice is there twice."""
    plane = SliceStack.tilted(-6.7842, **SIZE, count=61, step=4.0)
    return _again(chest(plane, extra={"GantryDetectorTilt": "0"}), 60, uid=False, pixels=again)


def _encoded(
    encode: Callable[[np.ndarray], bytes], syntax: UID, series: list[Dataset]
) -> list[Dataset]:
    """Instances (16 bits) whose pixels an encoder has compressed; it sees no sign."""
    for dataset in series:
        pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
        dataset.PixelData = encapsulate([encode(pixels)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = syntax
    return series


def _jpeg_lossless(bits: int = 12, more: bytes = b"") -> Callable[[np.ndarray], bytes]:
    return lambda pixels: (
        bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits))
        + more
    )


def _jpeg_2000(pixels: np.ndarray, *, irreversible: bool = False) -> bytes:
    options = {"level": 60, "reversible": False} if irreversible else {"level": 0}
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", bitspersample=12, **options))


def _signed_12() -> list[Dataset]:
    """Signed values of 12 bits, their sign extended to 16."""
    return chest(pixel_representation=1, bits_stored=12, intercept=0.0, slope=2.0)


def _surplus(count: int) -> list[Dataset]:
    """Pixel data that is longer than the header describes."""
    series = chest()
    for dataset in series:
        dataset.PixelData += bytes(count)
    return series


def _private_pixels() -> list[Dataset]:
    """Pixels where a scanner of Philips puts what it has compressed by itself."""
    series = chest()
    for dataset in series:
        dataset.add_new(0x07A10010, "LO", "ELSCINT1")
        dataset.add_new(0x07A1100A, "OB", dataset.PixelData)
        dataset.add_new(0x07A11011, "CS", "PMSCT_RLE1")
        del dataset.PixelData
    return series


def _masks() -> list[Dataset]:
    """Where bone is: 8 bits, 0 or 255, filed as an original CT."""
    series = chest()
    for dataset in series:
        bone = np.frombuffer(dataset.PixelData, "<u2") > 1324
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = (255 * bone).astype(np.uint8).tobytes()
    return series


def _as_us(series: list[Dataset], keyword: str, value: int) -> list[Dataset]:
    """An element that is US or SS written as US, whatever the pixels are."""
    from pydicom.datadict import tag_for_keyword

    for dataset in series:
        tag = tag_for_keyword(keyword)
        assert tag is not None
        if keyword in dataset:
            del dataset[tag]
        dataset.add_new(tag, "US", value)
    return series


def _padding_as_us() -> list[Dataset]:
    """Signed pixels whose padding, -2000, is written as if it were not signed."""
    series = chest(pixel_representation=1, bits_stored=16, intercept=-24.0, padding=-2000)
    return _as_us(series, "PixelPaddingValue", 63536)


def _as_bytes(series: list[Dataset], keyword: str) -> list[Dataset]:
    """An element written as OW."""
    for dataset in series:
        value = int(dataset[keyword].value) & 0xFFFF
        dataset[keyword].VR = "OW"
        dataset[keyword].value = value.to_bytes(2, "little")
    return series


def _stored(series: list[Dataset], change: Callable[[np.ndarray], np.ndarray]) -> list[Dataset]:
    """Other stored values (16 bits)."""
    for dataset in series:
        values = change(np.frombuffer(dataset.PixelData, "<u2").copy())
        dataset.PixelData = values.astype("<u2").tobytes()
    return series


def _ringed(series: list[Dataset], value: int) -> list[Dataset]:
    """The outermost three pixels hold a stored value that stands for nothing."""

    def ring(values: np.ndarray) -> np.ndarray:
        image = values.reshape(96, 96)
        image[:3] = image[-3:] = value & 0xFFFF
        image[:, :3] = image[:, -3:] = value & 0xFFFF
        return image

    return _stored(series, ring)


def _thousandths() -> list[Dataset]:
    """HU stored in thousandths, in 32 bits."""
    series = chest()
    for dataset in series:
        values = np.frombuffer(dataset.PixelData, "<u2").astype(np.int64) - 1024
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.001", "0"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 32, 32, 31
        dataset.PixelRepresentation = 1
        dataset.PixelData = (values * 1000).astype("<i4").tobytes()
    return series


def _sign_mismatch() -> list[Dataset]:
    """Signed pixels whose JPEG 2000 code stream says unsigned, as some archives compress."""
    series = []
    for dataset in chest(pixel_representation=1, bits_stored=16, intercept=0.0):
        unsigned = replace_elements(dataset, PixelRepresentation=0)
        compress(unsigned, JPEG2000Lossless)
        unsigned.PixelRepresentation = 1
        series.append(unsigned)
    return series


def _lookup_table(**extra: object) -> list[Dataset]:
    """A modality LUT (PS3.3 C.11.1), with what else the header says."""
    series = chest(extra=extra)
    for dataset in series:
        item = Dataset()
        item.add_new(0x00283002, "US", [4096, 0, 16])
        item.ModalityLUTType = "HU"
        item.add_new(0x00283006, "OW", np.arange(4096, dtype="<u2").tobytes())
        dataset.ModalityLUTSequence = [item]
    return series


def _frames(**options: Any) -> list[Dataset]:
    return [make_enhanced(PHANTOM, options.pop("plane", stack()), noise=0.0, **options)]


def _bare_frame(index: int | None) -> list[Dataset]:
    """A multi-frame instance with a frame without position, or without the last frame's groups."""
    (dataset,) = _frames()
    groups = dataset.PerFrameFunctionalGroupsSequence
    if index is None:
        dataset.PerFrameFunctionalGroupsSequence = list(groups)[:-1]
    else:
        del groups[index].PlanePositionSequence
    return [dataset]


def _cut(keep: float) -> Callable[[list[Path]], None]:
    """Only this share of the 20th file is left."""

    def damage(paths: list[Path]) -> None:
        content = paths[20].read_bytes()
        paths[20].write_bytes(content[: int(len(content) * keep)])

    return damage


def _odd_decimals(series: list[Dataset]) -> list[Dataset]:
    """Decimal strings as one scanner writes them: three integer digits and an exponent."""
    for dataset in series:
        for keyword in ("PixelSpacing", "ImagePositionPatient"):
            dataset[keyword].value = [_padded(float(v)) for v in dataset[keyword].value]
        dataset["RescaleIntercept"].value = "-01.024000E+03"
    return series


def _padded(value: float) -> str:
    mantissa, exponent = f"{abs(value):.6E}".split("E")
    sign = "-" if value < 0 else "0"
    return f"{sign}0{mantissa}E{exponent}"


def _two_kernels() -> list[Dataset]:
    return [*chest(kernel="B30f"), *chest(series_number=3, kernel="B70f")]


def _half_and_half() -> list[Dataset]:
    """Two fields of view of one acquisition, filed as one series."""
    wide = chest()
    narrow = chest(stack(pixel_spacing=2.0), seed="narrow", series_number=4)
    return _in_series(wide, *narrow)


def _with_one(**elements: Any) -> list[Dataset]:
    """The 20th slice differs in these elements."""
    return chest(
        extra={k: (lambda i, k=k, v=v: v if i == 20 else _keep(k, i)) for k, v in elements.items()}
    )


def _keep(keyword: str, index: int) -> Any:
    return _PLAIN[index][keyword].value


_PLAIN = chest()

TABLE = (20 * [2.5], 11 * [5.0])
CHANGING_STEP = 52.5 - np.cumsum([0.0, *TABLE[0], *TABLE[1]])
"""20 x 2.5 mm, then 12 slices 5 mm apart: 105 mm."""

OUTSIDE, RING, EITHER = 0.2153, 0.1211, 0.2448
"""Shares of a 96 x 96 image: outside its circle, the outermost three pixels, either."""

CASES: dict[str, Case] = {}


def _add(
    name: str, make: Callable[[], list[Dataset]], verdict: str = "selected", **truth: Any
) -> None:
    assert name not in CASES, name
    CASES[name] = Case(make, verdict, **truth)


# Order: nothing but the position says where a slice belongs (rule 1)
_add("plain", chest)
_add(
    "instance_number_shuffled",
    lambda: chest(instance_numbers=[(i * 17) % 45 + 1 for i in range(45)]),
)
_add("instance_number_reversed", lambda: chest(instance_numbers=list(range(45, 0, -1))))
_add("instance_number_constant", lambda: chest(instance_numbers=[1] * 45))
_add("instance_number_missing", lambda: chest(extra={"InstanceNumber": None}))
_add("file_names_backwards", chest, names=lambda i: f"IM{99 - i:04d}")
_add("file_names_in_folders", chest, names=lambda i: f"{i % 3}/{i * 29 % 45:03d}.dcm")
_add("slice_location_wrong", lambda: chest(extra={"SliceLocation": lambda i: f"{i * i}"}))
_add("written_from_feet_to_head", lambda: chest(stack(towards="head")))

# Positions and orientations (rule 5)
for position in ("HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"):
    side = {"S": "posterior", "P": "anterior", "R": "right", "L": "left"}[position[-1]]
    lying = replace(PHANTOM, table=side)
    for from_feet in (False, True) if position.startswith("FF") else (False,):
        _add(
            f"{position}{'_viewed_from_feet' if from_feet else ''}",
            lambda p=position, f=from_feet, b=lying: chest(
                stack(position=p, viewed_from_feet=f), phantom=b
            ),
            phantom=lying,
        )
for row, column in itertools.permutations(["+x", "-x", "+y", "-y", "+z", "-z"], 2):
    if row[1] == column[1]:
        continue
    transverse = "z" not in row + column
    for towards in (1, -1) if transverse else (1,):
        _add(
            f"rows_{row}_columns_{column}" + ("" if towards == 1 else "_backwards"),
            lambda r=row, c=column, t=towards: chest(right_angled(r, c, t)),
            "selected" if transverse else "not_axial",
        )
_add(
    "coronal_called_axial",
    lambda: chest(SliceStack.coronal(**SIZE, count=45, step=4.0)),
    "not_axial",
)
_add(
    "sagittal_called_axial",
    lambda: chest(SliceStack.coronal(**SIZE, count=45, step=4.0).moved(Rigid.about((0, 0, 1), 90))),
    "not_axial",
)
_add("coronal_askew", _askew, "not_axial", measures={"slices": 57, "slice_spacing": 3.0})
for degrees in (5, 15, 30):
    _add(
        f"oblique_{degrees}",
        lambda d=degrees: chest(SliceStack.oblique(d, **SIZE, count=45, step=4.0)),
        "selected" if degrees <= 10 else "not_axial",
        measures={"obliquity_degrees": float(degrees)},
    )
_add("patient_position_tag_wrong", lambda: chest(replace(stack(), patient_position="FFP")))
_add("patient_position_tag_missing", lambda: chest(extra={"PatientPosition": None}))
_add(
    "registered_in_the_wrong_position",
    lambda: chest(phantom=PHANTOM.moved(Rigid.about((0, 0, 1), 180))),
    phantom=PHANTOM.moved(Rigid.about((0, 0, 1), 180)),
    flags=frozenset({"orientation_suspect"}),
)
_add(
    "far_from_the_origin",
    lambda: chest(
        stack(centre=(35.5, -180.25, -1649.5)),
        phantom=PHANTOM.moved(Rigid(np.eye(3), np.array([35.5, -180.25, -1649.5]))),
    ),
    phantom=PHANTOM.moved(Rigid(np.eye(3), np.array([35.5, -180.25, -1649.5]))),
)

# Noise of what is stored (rules 1 and 7)
for spread in (1e-6, 1e-5, 1e-4, 1e-3):
    _add(f"orientation_noise_{spread:.0e}", lambda s=spread: _noisy_orientation(s))
for amplitude in (0.0005, 0.02):
    _add(f"position_jitter_{amplitude}", lambda a=amplitude: _jittered(a))
_add(
    "steps_of_0.625_stored_to_0.1",
    lambda: _stored_positions(stack(240, 0.625), 1),
    extent_mm=149.375,
    measures={"slice_spacing": 0.625, "spacing_regular": True},
)
_add(
    "one_orientation_differs",
    lambda: _with_one(ImageOrientationPatient=["0.98", "0.199", "0", "-0.199", "0.98", "0"]),
    "mixed_geometry",
)

# Missing slices and changing steps (rules 7 and 8)
_add(
    "1_inner_slice_missing",
    lambda: chest(without(90, [40], 2.0)),
    extent_mm=178.0,
    moved_mm=2.0,
    flags=frozenset({"spacing_irregular"}),
    measures={"missing_slices": 1, "z_error_mm": 2.0, "gap_mm": 4.0},
)
_add(
    "1_inner_slice_missing_by_positions",
    lambda: chest(without(90, [40], 2.0)),
    extent_mm=178.0,
    volume={"irregular_spacing": "positions"},
    flags=frozenset({"spacing_irregular"}),
    measures={"missing_slices": 1, "z_error_mm": 0.0, "gap_mm": 4.0},
)
_add(
    "1_inner_slice_missing_excluded",
    lambda: chest(without(90, [40], 2.0)),
    "too_irregular",
    volume={"irregular_spacing": "exclude"},
    measures={"missing_slices": 1},
)
for count in (5, 20):
    _add(
        f"{count}_inner_slices_missing",
        lambda n=count: chest(without(90, range(40, 40 + n), 2.0)),
        "too_irregular",
        measures={"missing_slices": count, "z_error_mm": 2.0 * count, "gap_mm": 2.0 * (count + 1)},
    )
_add(
    "5_inner_slices_missing_by_positions",
    lambda: chest(without(90, range(40, 45), 2.0)),
    extent_mm=178.0,
    volume={"irregular_spacing": "positions", "max_gap_mm": 12.5},
    flags=frozenset({"spacing_irregular"}),
    measures={"missing_slices": 5, "z_error_mm": 0.0},
)
_add(
    "20_inner_slices_missing_by_positions",
    lambda: chest(without(90, range(40, 60), 2.0)),
    "too_irregular",
    volume={"irregular_spacing": "positions"},
    measures={"missing_slices": 20, "gap_mm": 42.0},
)
_add(
    "20_thin_slices_missing",
    lambda: chest(without(300, range(140, 160), 0.6)),
    "too_irregular",
    measures={"missing_slices": 20, "z_error_mm": 12.0},
)
_add("end_slices_missing", lambda: chest(stack().take(range(2, 42))), extent_mm=156.0)
_add(
    "20_x_2.5_then_12_x_5",
    lambda: chest(at(CHANGING_STEP)),
    "too_irregular",
    measures={"slices": 32, "slice_spacing": 2.5},
)
_add(
    "20_x_2.5_then_12_x_5_by_positions",
    lambda: chest(at(CHANGING_STEP)),
    extent_mm=105.0,
    volume={"irregular_spacing": "positions"},
    flags=frozenset({"spacing_irregular", "odd_scan_length"}),
    measures={"slices": 32, "z_error_mm": 0.0},
)
_HERE_AND_THERE = (9, 20, 31, 45, 60, 71)
_add(
    "slices_missing_here_and_there",
    lambda: chest(without(80, _HERE_AND_THERE, 3.0)),
    "too_irregular",
    measures={"missing_slices": 6, "z_error_mm": 18.0, "gap_mm": 6.0},
)
_add(
    "slices_missing_here_and_there_by_positions",
    lambda: chest(without(80, _HERE_AND_THERE, 3.0)),
    extent_mm=237.0,
    volume={"irregular_spacing": "positions"},
    flags=frozenset({"spacing_irregular"}),
    measures={"missing_slices": 6, "z_error_mm": 0.0},
)
_add(
    "32_x_2.5_then_12_x_7.5_too_near",
    lambda: chest(at(80 - np.array([*2.5 * np.arange(32), *77.75 + 7.5 * np.arange(12)]))),
    "too_irregular",
    measures={"slices": 44, "gap_mm": 7.5},
)
_add(
    "table_jump_along_z",
    lambda: chest(at(np.concatenate([88 - 4.0 * np.arange(23), -10 - 4.0 * np.arange(22)]))),
    "too_irregular",
)
_add(
    "table_jump_across",
    lambda: chest(stack().shifted(np.outer(np.arange(45) >= 22, [0.0, 10.0, 0.0]))),
    "mixed_geometry",
)

# Several slices at one position (rule 4)
_add("two_passes_interleaved", lambda: _passes(2.0, told_apart=True), dropped=45)
_add(
    "two_passes_interleaved_nothing_tells_apart",
    lambda: _passes(1.2, told_apart=False),
    "too_irregular",
)
_add("two_passes_at_one_range", lambda: _passes(0.0, told_apart=True), dropped=45)
_add(
    "two_passes_at_one_range_nothing_tells_apart",
    lambda: _passes(0.0, told_apart=False),
    "duplicate_positions",
    measures={"slices": 45, "duplicate_positions": 45},
)
_add("duplicate_file", lambda: _again(chest(), 20, uid=True, pixels=True))
_add("duplicate_by_pixels", lambda: _again(chest(), 20, uid=False, pixels=True), dropped=1)
_add(
    "different_pixels_at_one_position",
    lambda: _again(chest(), 20, uid=False, pixels=False),
    "unequal_duplicates",
)
_add(
    "different_pixels_under_one_uid",
    lambda: _again(chest(), 20, uid=True, pixels=False),
    "conflicting_instances",
)
_add(
    "one_slice_acquired_again",
    lambda: [
        *chest(),
        replace_elements(_again(_PLAIN, 20, uid=False, pixels=False)[-1], AcquisitionNumber=2),
    ],
    dropped=1,
)
_add(
    "bolus_tracking",
    lambda: _phases(60, 1, 1.0, acquisition_number=list(range(1, 61))),
    "too_few_slices",
    measures={"slices": 1},
)
_add(
    "bolus_tracking_with_a_tilted_gantry",
    lambda: chest(SliceStack.tilted(20, **SIZE, count=1).take([0] * 60)),
    "too_few_slices",
    measures={"slices": 1},
)
_add(
    "4_phases",
    lambda: _phases(4, 45, 4.0, acquisition_number=[i // 45 + 1 for i in range(180)]),
    dropped=135,
    measures={"slices": 45, "duplicate_positions": 135},
)
_add(
    "4_phases_told_apart_by_time",
    lambda: _phases(4, 45, 4.0, extra={"AcquisitionTime": lambda i: f"1015{i // 45 * 10:02d}"}),
    dropped=135,
)
_add("4_phases_nothing_tells_apart", lambda: _phases(4, 45, 4.0), "duplicate_positions")
_add(
    "4_phases_of_10_slices", lambda: _phases(4, 10, 4.0), "too_few_slices", measures={"slices": 10}
)

_add(
    "phases_of_other_lengths_and_a_capture",
    _phases_of_other_lengths,
    dropped=86,
    measures={"slices": 45},
)

# What does not belong in the stack (rules 2 and 3)
_add("localizer_in_the_series", lambda: _in_series(chest(), _scout()), dropped=1)
_add(
    "two_localizers_in_the_series",
    lambda: _in_series(chest(), _scout(), _scout(seed="lateral")),
    dropped=2,
)
_add(
    "localizer_not_called_one",
    lambda: _in_series(
        chest(), replace_elements(_scout(), ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    ),
    dropped=1,
)
_add(
    "secondary_in_value_2",
    lambda: chest(image_type=("ORIGINAL", "SECONDARY", "AXIAL")),
    "secondary",
)
_add(
    "one_slice_without_position",
    lambda: _with_one(ImagePositionPatient=None),
    moved_mm=4.0,
    dropped=1,
    flags=frozenset({"spacing_irregular"}),
    measures={"missing_slices": 1},
)
_add("no_slice_has_a_position", lambda: chest(extra={"ImagePositionPatient": None}), "no_geometry")
_add(
    "orientation_of_zeros",
    lambda: chest(extra={"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}),
    "no_geometry",
)
_add(
    "one_position_is_absurd",
    lambda: _with_one(ImagePositionPatient=[0, 0, 1e300]),
    moved_mm=4.0,
    dropped=1,
    flags=frozenset({"spacing_irregular"}),
)
_add(
    "another_patient_under_another_accession_in_the_series",
    lambda: chest(
        extra={
            "PatientID": lambda i: "OTHER99" if i % 2 else "PHANTOM01",
            "AccessionNumber": lambda i: "ZZZ" if i % 2 else "A0000001",
        }
    ),
    "patient_mismatch",
)
_add(
    "a_frame_of_reference_per_slice",  # de-identification does that to real chests
    lambda: chest(extra={"FrameOfReferenceUID": lambda i: f"1.2.3.{i}"}),
)
_add(
    "two_pixel_spacings",
    lambda: _in_series(
        chest(stack(24, 4.0, centre=(0, 0, 42))),
        *chest(stack(24, 4.0, centre=(0, 0, -54), pixel_spacing=2.0), series_number=4),
    ),
    "mixed_geometry",
)
_add(
    "one_slice_displaced_across",
    lambda: chest(stack().shifted(np.outer(np.arange(45) == 20, [50.0, 0.0, 0.0]))),
    "mixed_geometry",
)
_add(
    "one_slice_at_the_position_of_the_next",
    lambda: _with_one(ImagePositionPatient=_PLAIN[21].ImagePositionPatient),
    "unequal_duplicates",
    measures={"missing_slices": 1, "duplicate_positions": 1},
)
_add(
    "one_smaller_matrix_at_the_end",
    lambda: _in_series(chest()[1:], *chest(stack(1, rows=64, centre=(0, 0, 88)), series_number=4)),
    extent_mm=172.0,
    dropped=1,
)
_add("two_fields_of_view_at_once", _half_and_half, dropped=45, flags=frozenset({"small_fov"}))
_add(
    "a_few_derived_slices",
    lambda: _in_series(
        chest(),
        *(
            replace_elements(d, ImageType=["DERIVED", "SECONDARY"])
            for d in chest(stack(3, 4.0, centre=(0, 0, 40)), seed="d", series_number=4)
        ),
    ),
    dropped=3,
)

# Gantry tilt comes from geometry (rule 9)
for degrees in (-20, -0.3, 7, 20):
    for tag in ("with", "without"):
        _add(
            f"tilt_{degrees}_{tag}_tag",
            lambda d=degrees, t=tag: chest(
                SliceStack.tilted(d, **SIZE, count=61, step=4.0),
                extra={} if t == "with" else {"GantryDetectorTilt": None},
            ),
            extent_mm=240.0,
            flags=frozenset({"tilt_corrected"}),
            measures={"tilt_degrees": abs(float(degrees)), "slice_spacing": 4.0},
        )
_add(
    "tilt_-6.8_tag_0_last_slice_twice",
    lambda: _slightly_tilted(again=True),
    extent_mm=240.0,
    dropped=1,
    flags=frozenset({"tilt_corrected"}),
    measures={"tilt_degrees": 6.7842, "duplicate_positions": 1},
)
_add(
    "tilt_-6.8_tag_0_two_last_slices",
    lambda: _slightly_tilted(again=False),
    "unequal_duplicates",
    measures={"tilt_degrees": 6.7842, "duplicate_positions": 1},
)
_add(
    "tilt_20_excluded",
    lambda: chest(SliceStack.tilted(20, **SIZE, count=61, step=4.0)),
    "tilted",
    volume={"gantry_tilt": "exclude"},
)
_add(
    "tilt_7_feet_first_prone",
    lambda: chest(SliceStack.tilted(7, position="FFP", **SIZE, count=61, step=4.0)),
    extent_mm=240.0,
    flags=frozenset({"tilt_corrected"}),
    measures={"tilt_degrees": 7.0},
)
_add(
    "tilt_7_decubitus",
    lambda: chest(SliceStack.tilted(7, position="HFDL", **SIZE, count=61, step=4.0)),
    extent_mm=240.0,
    flags=frozenset({"tilt_corrected"}),
    measures={"tilt_degrees": 7.0},
)
_add(
    "gantry_swivelled_7",
    lambda: chest(replace(stack(61).moved(Rigid.about((0, 1, 0), 7)), offsets=stack(61).offsets)),
    extent_mm=240.0,
    flags=frozenset({"tilt_corrected"}),
    measures={"tilt_degrees": 7.0},
)
_add(
    "gantry_turned_about_a_diagonal_7",
    lambda: chest(replace(stack(61).moved(Rigid.about((1, 1, 0), 7)), offsets=stack(61).offsets)),
    extent_mm=240.0,
    flags=frozenset({"tilt_corrected"}),
    measures={"tilt_degrees": 7.0},
)
_add(
    "table_rises_evenly",
    lambda: chest(stack().shifted(np.outer(np.arange(45), [0.0, 0.2, 0.0]))),
    extent_mm=float(np.hypot(176.0, 8.8)),
    flags=frozenset({"tilt_corrected"}),
    measures={"tilt_degrees": float(np.degrees(np.arctan(0.05)))},
)
_add(
    "tilt_7_and_a_slice_missing",
    lambda: chest(
        SliceStack.tilted(7, **SIZE, count=121, step=2.0).take([i for i in range(121) if i != 50])
    ),
    extent_mm=240.0,
    moved_mm=2.0,
    flags=frozenset({"tilt_corrected", "spacing_irregular"}),
    measures={"missing_slices": 1, "z_error_mm": 2.0},
)
_add(
    "tilt_7_and_a_slice_missing_by_positions",
    lambda: chest(
        SliceStack.tilted(7, **SIZE, count=121, step=2.0).take([i for i in range(121) if i != 50])
    ),
    extent_mm=240.0,
    volume={"irregular_spacing": "positions"},
    flags=frozenset({"tilt_corrected", "spacing_irregular"}),
)
_add(
    "tilt_corrected_by_the_scanner_tag_kept",
    lambda: chest(replace(stack(), gantry_tilt=20.0)),
    measures={"tilt_degrees": 0.0},
)
_add(
    "tag_says_tilted_excluded_only_by_geometry",
    lambda: chest(replace(stack(), gantry_tilt=20.0)),
    volume={"gantry_tilt": "exclude"},
)

# Pixels and matrix (rule 6)
_add("pixels_taller_than_wide", lambda: chest(stack(pixel_spacing=(3.2, 2.8), rows=84)))
_add("pixels_wider_than_tall", lambda: chest(stack(pixel_spacing=(2.8, 3.2), columns=84)))
_add("matrix_not_square", lambda: chest(stack(rows=96, columns=112)))
_add(
    "thickness_tag_wrong",
    lambda: chest(slice_thickness=1.25, extra={"SpacingBetweenSlices": "1.25"}),
)

# Hounsfield units (rule 10)
_add(
    "slope_and_intercept_vary",
    lambda: chest(
        slope=[1.0, 2.0, 0.5] * 15, intercept=[-1024.0, -1000.0, -1100.0] * 15, bits_stored=16
    ),
)
_add("slope_0.001", _thousandths)
_add("slope_1.0002441", lambda: chest(slope=1.0002441))
for intercept, signed in ((0.0, 1), (-1000.0, 0), (-1024.0, 0), (-8192.0, 0)):
    _add(
        f"intercept_{intercept:.0f}",
        lambda i=intercept, s=signed: chest(intercept=i, bits_stored=16, pixel_representation=s),
    )
_add("rescale_type_US", lambda: chest(extra={"RescaleType": "US"}), "not_hounsfield")
_add("rescale_type_US_in_one_slice", lambda: _with_one(RescaleType="US"), "not_hounsfield")
for words in ("Houndsfield Unit", "hounsfield units", "hu"):
    _add(f"rescale_type_{words.replace(' ', '_')}", lambda w=words: chest(extra={"RescaleType": w}))
_add("rescale_type_absent", lambda: chest(extra={"RescaleType": None}))
_add(
    "rescale_absent",
    lambda: chest(extra={"RescaleSlope": None, "RescaleIntercept": None}),
    "no_rescale",
)
_add("rescale_absent_in_one_slice", lambda: _with_one(RescaleSlope=None), "no_rescale")
_add("rescale_slope_0", lambda: chest(extra={"RescaleSlope": "0"}), "no_rescale")
_add(
    "modality_lut",
    lambda: _lookup_table(RescaleSlope=None, RescaleIntercept=None, RescaleType=None),
    "not_hounsfield",
)
_add("modality_lut_beside_slope_and_intercept", _lookup_table, "not_hounsfield")
_add("metal_beside_tissue", lambda: chest(metal=METAL_HU), volume={"clip_hu": (-1000, 1000)})

# Stored values and padding (rule 11)
_add(
    "signed_12_bits",
    lambda: chest(pixel_representation=1, bits_stored=12, intercept=0.0, slope=2.0),
    hu_tolerance=4.0,
)
_add(
    "signed_12_bits_not_extended",
    lambda: _stored(
        chest(pixel_representation=1, bits_stored=12, intercept=0.0, slope=2.0),
        lambda v: v & 0x0FFF,
    ),
    hu_tolerance=4.0,
)
_add(
    "overlay_in_unused_bits",
    lambda: _stored(
        chest(), lambda v: v | np.where(np.arange(v.size) % 7 == 0, 0x8000, 0).astype("u2")
    ),
)
_add(
    "12_bits_at_the_upper_end",
    lambda: _stored(chest(extra={"HighBit": 15}), lambda v: v << 4),
    "undecodable_pixels",
)
_add(
    "half_of_the_rows_in_the_header",
    lambda: chest(extra={"Rows": chest()[0].Rows // 2}),
    "undecodable_pixels",
)
for missing, word in ((1, "Columns"), (6, "Columns"), (1, "Rows")):
    _add(
        f"{missing}_of_the_{word.lower()}_not_in_the_header",
        lambda m=missing, w=word: chest(extra={w: 96 - m}),
        "undecodable_pixels",
    )
_add("pixel_data_with_surplus", lambda: _surplus(94))
_add(
    "pixel_data_with_surplus_deflated", lambda: _surplus(94), syntax=DeflatedExplicitVRLittleEndian
)
_add("pixel_data_with_a_row_of_surplus", lambda: _surplus(2 * 96), "undecodable_pixels")
_add(
    "enhanced_frames_beyond_the_header",
    lambda: [replace_elements(d, NumberOfFrames=40) for d in _frames()],
    "undecodable_pixels",
)
_add("slope_negative", lambda: chest(slope=-1.0, intercept=3000.0, bits_stored=16))
_add("unsigned_16_bits", lambda: chest(bits_stored=16, intercept=-8192.0))
_add("label_masks", _masks, "too_few_bits")
_add("8_bits", lambda: chest(bits_stored=8, slope=12.0), "too_few_bits")
_add(
    "8_bits_admitted",
    lambda: chest(bits_stored=8, slope=12.0),
    series={"allow_few_bits": True},
    hu_tolerance=8.0,
)
_add(
    "padding_-2000_signed",
    lambda: chest(pixel_representation=1, bits_stored=16, intercept=0.0, padding=-2000),
    padded=OUTSIDE,
)
_add(
    "padding_63536_for_signed_pixels",
    _padding_as_us,
    padded=OUTSIDE,
)
_add(
    "padding_63536_for_signed_pixels_implicit",
    _padding_as_us,
    syntax=ImplicitVRLittleEndian,
    padded=OUTSIDE,
)
_add(
    "padding_without_the_tag",
    lambda: chest(
        pixel_representation=1,
        bits_stored=16,
        intercept=0.0,
        padding=-2000,
        extra={"PixelPaddingValue": None},
    ),
)
_add(
    "padding_range",
    lambda: _as_us(
        _as_us(
            _ringed(
                chest(pixel_representation=1, bits_stored=16, intercept=-24.0, padding=-2000), -1900
            ),
            "PixelPaddingValue",
            63536,
        ),
        "PixelPaddingRangeLimit",
        63700,
    ),
    padded=EITHER,
)
_add(
    "padding_above_air_at_the_border",
    lambda: _ringed(chest(extra={"PixelPaddingValue": 3000}), 3000),
    padded=RING,
)
_add(
    "padding_above_the_bits_stored",
    lambda: _ringed(chest(extra={"PixelPaddingValue": 63536}), 63536),
    padded=RING,
)
_add(
    "padding_of_two_values",
    lambda: _ringed(chest(extra={"PixelPaddingValue": [0, 63536]}), 0),
    "undecodable_pixels",
)
_add(
    "padding_as_bytes",
    lambda: _as_bytes(
        chest(pixel_representation=1, bits_stored=16, intercept=-24.0, padding=-2000),
        "PixelPaddingValue",
    ),
    padded=OUTSIDE,
)
_add(
    "padding_of_one_value_twice",
    lambda: _ringed(chest(extra={"PixelPaddingValue": [63536, 63536]}), 63536),
    padded=RING,
)
_add(
    "padding_of_0_that_is_tissue",
    lambda: chest(
        pixel_representation=1, bits_stored=16, intercept=40.0, extra={"PixelPaddingValue": 0}
    ),
    flags=frozenset({"padding_unapplied"}),
)
_add("shown_inverted", lambda: chest(extra={"PhotometricInterpretation": "MONOCHROME1"}))
_add("transfer_rle", chest, syntax=RLELossless)
_add(
    "transfer_jpeg_2000",
    lambda: chest(pixel_representation=1, bits_stored=16, intercept=0.0),
    syntax=JPEG2000Lossless,
)
_add("transfer_jpeg_2000_sign_mismatch", _sign_mismatch, syntax="as it is")
_add(
    "transfer_jpeg_lossless_16_bits_of_signed_12",
    lambda: _encoded(_jpeg_lossless(16), JPEGLosslessSV1, _signed_12()),
    syntax="as it is",
    hu_tolerance=4.0,
)
_add(
    "transfer_jpeg_ls_16_bits_of_signed_12",
    lambda: _encoded(lambda p: bytes(imagecodecs.jpegls_encode(p)), JPEGLSLossless, _signed_12()),
    syntax="as it is",
    hu_tolerance=4.0,
)
_add(
    "transfer_jpeg_lossless_stale_bytes_after_the_end",
    lambda: _encoded(_jpeg_lossless(more=b"\x27\x3a\x00"), JPEGLosslessSV1, chest()),
    syntax="as it is",
)
_add("transfer_implicit", chest, syntax=ImplicitVRLittleEndian)
_add("transfer_big_endian", chest, syntax=ExplicitVRBigEndian)
_add("transfer_deflated", chest, syntax=DeflatedExplicitVRLittleEndian)

# Multi-frame
_add("enhanced", _frames)
_add(
    "enhanced_frames_in_any_order", lambda: _frames(frame_order=[(i * 17) % 45 for i in range(45)])
)
_add("enhanced_feet_first_prone", lambda: _frames(plane=stack(position="FFP")))
_add(
    "enhanced_tilted",
    lambda: _frames(plane=SliceStack.tilted(7, **SIZE, count=61, step=4.0)),
    extent_mm=240.0,
    flags=frozenset({"tilt_corrected"}),
)
_add("enhanced_two_stacks_at_one_range", lambda: _frames(stacks=[stack()]), "duplicate_positions")
_add(
    "enhanced_two_stacks_apart",
    lambda: _frames(
        plane=stack(22, 4.0, centre=(0, 0, 50)), stacks=[stack(22, 4.0, centre=(0, 0, -50))]
    ),
    "too_irregular",
)
_add(
    "enhanced_axial_and_coronal_stack",
    lambda: _frames(stacks=[SliceStack.coronal(**SIZE, count=30, step=4.0)]),
    "mixed_geometry",
)
_add(
    "enhanced_slope_and_intercept_vary",
    lambda: _frames(
        slope=[1.0, 2.0, 0.5] * 15, intercept=[-1024.0, -1000.0, -1100.0] * 15, bits_stored=16
    ),
)
_add(
    "enhanced_in_two_instances",
    lambda: _in_series(
        _frames(plane=stack().take(range(20))),
        *_frames(plane=stack().take(range(20, 45)), seed="second"),
    ),
)
_add(
    "enhanced_one_frame_without_position",
    lambda: _bare_frame(30),
    moved_mm=4.0,
    dropped=1,
    flags=frozenset({"spacing_irregular"}),
    measures={"missing_slices": 1},
)
_add(
    "enhanced_contradicted_by_the_instance",
    lambda: [replace_elements(d, RescaleSlope="1", RescaleIntercept="-1000") for d in _frames()],
)
_add(
    "enhanced_padded",
    lambda: _frames(pixel_representation=1, bits_stored=16, intercept=0.0, padding=-2000),
    padded=OUTSIDE,
)
_add(
    "enhanced_localizer_frames",
    lambda: _frames(frame_type=("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE")),
    "localizer",
)
_add("enhanced_with_a_group_too_few", lambda: _bare_frame(None), "undecodable_pixels")
_add(
    "legacy_converted",
    lambda: _frames(legacy=True, frame_type=("ORIGINAL", "PRIMARY", "AXIAL", "NONE")),
)

# Other grids and interpolators (rules 13 and 14)
_NOT_SQUARE = {"count": 61, "step": 4.0, "rows": 96, "columns": 108, "pixel_spacing": (3.0, 2.5)}
_add("native_spacing", chest, volume={"spacing_mm": None})
_add(
    "native_spacing_decubitus_pixels_not_square",
    lambda: chest(SliceStack.oriented("HFDL", **_NOT_SQUARE)),
    extent_mm=240.0,
    volume={"spacing_mm": None},
)
_add(
    "spacing_per_axis_decubitus_pixels_not_square",
    lambda: chest(SliceStack.oriented("FFDR", **_NOT_SQUARE)),
    extent_mm=240.0,
    volume={"spacing_mm": [3.0, 2.0, 1.0]},
)
_add(
    "spacing_per_axis_tilted_decubitus_pixels_not_square",
    lambda: chest(SliceStack.tilted(12, position="FFDR", **_NOT_SQUARE)),
    extent_mm=240.0,
    volume={"spacing_mm": [3.0, 2.0, 1.0]},
    flags=frozenset({"tilt_corrected"}),
)
_add("linear", chest, volume={"interpolator": "linear"})
_add(
    "linear_by_positions",
    lambda: chest(without(90, [40], 2.0)),
    extent_mm=178.0,
    volume={"interpolator": "linear", "irregular_spacing": "positions"},
    flags=frozenset({"spacing_irregular"}),
)
_add(
    "linear_tilted",
    lambda: chest(SliceStack.tilted(12, **SIZE, count=61, step=4.0)),
    extent_mm=240.0,
    volume={"interpolator": "linear"},
    flags=frozenset({"tilt_corrected"}),
)
_add(
    "oblique_5_by_positions",
    lambda: chest(
        SliceStack.oblique(5, **SIZE, count=90, step=2.0).take([i for i in range(90) if i != 40])
    ),
    extent_mm=178.0,
    volume={"irregular_spacing": "positions"},
    flags=frozenset({"spacing_irregular"}),
)
_add(
    "tilt_first_one_way_then_the_other",
    lambda: _in_series(
        chest(SliceStack.tilted(-7, **SIZE, count=40, step=4.0)),
        *chest(
            SliceStack.tilted(7, **SIZE, count=40, step=4.0, centre=(0, 0, -170)), series_number=4
        ),
    ),
    "mixed_geometry",
)

# Damaged files (rule 15)
_add("truncated_native", chest, "truncated_file", damage=_cut(0.7))
_add("truncated_encapsulated", chest, "truncated_file", syntax=RLELossless, damage=_cut(0.8))
for name, encoding, syntax in (
    ("jpeg_lossless", _jpeg_lossless(), JPEGLosslessSV1),
    ("jpeg_2000", _jpeg_2000, JPEG2000Lossless),
):
    for damage in ("zeroed", "lost", "put_in"):
        _add(
            f"{name}_512_bytes_{damage}",
            lambda e=encoding, s=syntax: _encoded(e, s, chest()),
            "undecodable_pixels",
            syntax="as it is",
            damage=lambda paths, d=damage: _damage(paths, d),
        )
_add("philips_pmsct_rle1", _private_pixels, "private_compression")
_add(
    "jpeg_called_uncompressed",
    lambda: _encoded(_jpeg_lossless(), JPEGLosslessSV1, chest()),
    "private_compression",
    syntax="as it is",
    damage=lambda paths: _call_uncompressed(paths),
)
_add("header_only", lambda: _with_one(PixelData=None), "no_pixel_data")
_add("no_pixel_data", lambda: chest(extra={"PixelData": None}), "no_pixel_data")
_add(
    "zero_length_file",
    chest,
    moved_mm=4.0,
    damage=_cut(0.0),
    flags=frozenset({"spacing_irregular"}),
    measures={"missing_slices": 1},
)
_add(
    "not_decodable",
    lambda: chest(),
    "undecodable_pixels",
    syntax=JPEG2000Lossless,
    damage=lambda paths: _garble(paths[20]),
)

# Text that is odd or absent
_add("decimals_with_exponents", lambda: _odd_decimals(chest()))
for keyword in (
    "SeriesDescription",
    "GantryDetectorTilt",
    "SliceThickness",
    "BodyPartExamined",
    "AcquisitionNumber",
):
    _add(f"{keyword}_missing", lambda k=keyword: chest(extra={k: None}))
_add("SeriesNumber_missing", lambda: chest(extra={"SeriesNumber": None}))
_add("ImageType_missing", lambda: chest(extra={"ImageType": None}), "unreadable_header")
_add(
    "ImageType_missing_admitted",
    lambda: chest(extra={"ImageType": None}),
    series={"kinds": ["ORIGINAL", "MISSING"]},
)
_add("ImageType_with_blanks", lambda: chest(image_type=("ORIGINAL ", "PRIMARY ", "AXIAL ")))

_add(
    "ImageType_in_lower_case",
    lambda: chest(image_type=("original", "primary", "axial")),
)
_add(
    "derived_admitted",
    lambda: chest(image_type=("DERIVED", "PRIMARY", "AXIAL")),
    series={"kinds": ["DERIVED"]},
)

# What writers leave out or write otherwise
for left in ("preamble", "preamble_and_file_meta", "file_meta"):
    for syntax in (None, ImplicitVRLittleEndian):
        _add(
            f"without_{left}{'_implicit' if syntax else ''}",
            chest,
            syntax=syntax,
            damage=lambda paths, what=left: _leave_out(paths, what),
        )
_add(
    "without_file_meta_compressed",
    chest,
    "private_compression",
    syntax=RLELossless,
    damage=lambda paths: _leave_out(paths, "file_meta"),
)
_add("end_slices_without_preamble", chest, damage=lambda paths: _leave_out(paths[-9:], "preamble"))
_add("implicit_called_explicit", chest, damage=lambda paths: _miscall(paths))
_add("sop_class_only_in_file_meta", chest, damage=lambda paths: _drop_class(paths))
_add("file_meta_within_the_data_set", chest, damage=lambda paths: _repeat_meta(paths))
_add("pixel_data_before_its_description", chest, damage=lambda paths: _pixels_first(paths))
_add("decimal_commas", chest, damage=lambda paths: _rewrite(paths, b".", b","))
_add("trailing_backslashes", lambda: _trailing(chest()))
_add("repeated_rescale", lambda: _repeated(chest()))
_add(
    "uids_with_letters",
    lambda: [
        _identified(d, f"1.3.6.1.4.1.A{i:02d}f", "022f82f4-e9df-4533-b237-6ab563dfaf56")
        for i, d in enumerate(chest())
    ],
)
_add("study_uid_empty", lambda: chest(extra={"StudyInstanceUID": ""}))
_add(
    "one_uid_for_all_slices",
    lambda: [_identified(d, "1.2.3.4", d.SeriesInstanceUID) for d in chest()],
    "conflicting_instances",
)

# Acquisitions that lie partly over each other (rule 4)
for name, told in (
    ("number", {"acquisition_number": [1] * 30 + [2] * 30}),
    ("time", {"extra": {"AcquisitionTime": lambda i: "101500" if i < 30 else "101530"}}),
):
    _add(
        f"two_breath_holds_told_apart_by_{name}",
        lambda told=told: chest(_breath_holds(30, 30, 12), **told),
        "overlapping_acquisitions",
        volume={"irregular_spacing": "positions"},
    )
_add(
    "two_breath_holds_at_the_config",
    lambda: chest(_breath_holds(30, 30, 12), acquisition_number=[1] * 30 + [2] * 30),
    "overlapping_acquisitions",
)
_add(
    "two_breath_holds_that_meet",
    lambda: chest(stack(), acquisition_number=[1] * 22 + [2] * 23),
)
_add(
    "a_breath_hold_repeated_at_the_base",
    lambda: chest(_breath_holds(45, 10, 9), acquisition_number=[1] * 45 + [2] * 10),
    dropped=10,
)

# What no scanner makes (rule 2)
_add("matrix_too_large", lambda: chest(extra={"Rows": 5000}), "too_large")
_add("step_of_1_m", lambda: chest(extra=_far_apart(1000.0)), "too_large")
_add("field_of_view_of_5_m", lambda: chest(extra={"PixelSpacing": ["60", "60"]}), "too_large")
_add("frames_beyond_count", lambda: chest(extra={"NumberOfFrames": 2_000_000}), "too_large")

# The choice
_add("kernel_pair", _two_kernels, others={3: "tie_lost"})
_add(
    "kernel_pair_preferred",
    _two_kernels,
    "tie_lost",
    series={"prefer_kernels": ["^B70"]},
    others={3: "selected"},
)
_add(
    "more_slices_wins",
    lambda: [*chest(), *chest(stack(60, 3.0), series_number=3)],
    "fewer_slices",
    others={3: "selected"},
)
_add(
    "a_derived_series_is_larger",
    lambda: [
        *chest(),
        *make_reformat(PHANTOM, SliceStack.coronal(**SIZE, count=64, step=4.0), noise=0.0),
    ],
    others={602: "derived"},
)
_add("derived_only", lambda: chest(image_type=("DERIVED", "PRIMARY", "AXIAL")), "derived")
_add(
    "scout_and_dose_report_beside",
    lambda: [
        *chest(),
        _scout(series_number=1),
        make_dose_report(),
        make_secondary_capture(),
    ],
    others={1: "localizer", 501: "not_ct", 999: "secondary"},
)
_add(
    "lossy_called_derived",
    lambda: chest(
        image_type=("DERIVED", "PRIMARY", "AXIAL"), extra={"LossyImageCompression": "01"}
    ),
    "derived_lossy",
)
_add(
    "lossy_called_derived_admitted",
    lambda: chest(
        image_type=("DERIVED", "PRIMARY", "AXIAL"), extra={"LossyImageCompression": "01"}
    ),
    series={"allow_lossy": True},
    flags=frozenset({"lossy_pixels"}),
)
_add("lossy_called_original", lambda: chest(extra={"LossyImageCompression": "01"}), "derived_lossy")
_add(
    "lossy_called_original_admitted",
    lambda: chest(extra={"LossyImageCompression": "01"}),
    series={"allow_lossy": True},
    flags=frozenset({"lossy_pixels"}),
)
for name, coder, syntax in (
    ("jpeg_2000", lambda p: _jpeg_2000(p, irreversible=True), JPEG2000),
    ("jpeg_2000_called_lossless", lambda p: _jpeg_2000(p, irreversible=True), JPEG2000Lossless),
    (
        "jpeg_ls_called_lossless",
        lambda p: bytes(imagecodecs.jpegls_encode(p, level=2)),
        JPEGLSLossless,
    ),
    (
        "jpeg_called_lossless",
        lambda p: bytes(imagecodecs.jpeg8_encode(p, level=95, bitspersample=12)),
        JPEGLosslessSV1,
    ),
):
    _add(
        f"lossy_{name}",
        lambda c=coder, s=syntax: _encoded(c, s, chest()),
        "derived_lossy",
        syntax="as it is",
    )
_add(
    "lossy_jpeg_2000_admitted",
    lambda: _encoded(lambda p: _jpeg_2000(p, irreversible=True), JPEG2000, chest()),
    syntax="as it is",
    series={"allow_lossy": True},
    flags=frozenset({"lossy_pixels"}),
)
_add(
    "reversible_jpeg_2000_called_lossy",
    lambda: _encoded(_jpeg_2000, JPEG2000, chest()),
    syntax="as it is",
)
_add(
    "monoenergetic_called_original",
    lambda: chest(image_type=("ORIGINAL", "PRIMARY", "AXIAL", "MONO_E 70 KEV")),
    "spectral",
)
_add(
    "monoenergetic_in_other_words",
    lambda: chest(image_type=("ORIGINAL", "PRIMARY", "AXIAL", "GSI MONO")),
    "spectral",
)
_add(
    "iodine_called_original",
    lambda: chest(image_type=("ORIGINAL", "PRIMARY", "AXIAL", "IODINE")),
    "spectral",
)
_add(
    "virtual_monoenergetic_frames",
    lambda: _frames(frame_type=("ORIGINAL", "PRIMARY", "VOLUME", "VMI")),
    "spectral",
)
_add(
    "multienergy_acquisition", lambda: chest(extra={"MultienergyCTAcquisition": "YES"}), "spectral"
)
_add(
    "multienergy_standard_image_admitted",
    lambda: chest(extra={"MultienergyCTAcquisition": "YES"}),
    series={"allow_multienergy": True},
)
_add(
    "multienergy_product_never_admitted",
    lambda: chest(
        image_type=("ORIGINAL", "PRIMARY", "AXIAL", "VMI"),
        extra={"MultienergyCTAcquisition": "YES"},
    ),
    "spectral",
    series={"allow_multienergy": True},
)
_add(
    "contrast_not_wanted",
    lambda: chest(extra={"ContrastBolusAgent": "Iomeron 350"}),
    "contrast",
    series={"contrast": "none"},
)
_add("too_few_slices", lambda: chest(stack(30, 6.0)), "too_few_slices", measures={"slices": 30})

_OTHER_DAY = Identity(study_date="20240306")
_OTHER_PATIENT = Identity(patient_id="PHANTOM02")
_add(
    "two_studies_under_one_accession",
    lambda: [*chest(), *chest(identity=_OTHER_DAY)],
    "ambiguous_study",
)
_add(
    "two_patients_under_one_accession",
    lambda: [*chest(), *chest(identity=_OTHER_PATIENT)],
    "patient_mismatch",
)
_add(
    "two_patients_in_one_series",
    lambda: [*chest()[:30], *(replace_elements(d, PatientID="PHANTOM02") for d in chest()[30:])],
    "patient_mismatch",
)
_add("only_reports", lambda: [make_dose_report()], "no_ct_series")


def _leave_out(paths: list[Path], what: str) -> None:
    """Files without preamble, or with it and no File Meta Information, or without both."""
    for path in paths:
        content = path.read_bytes()
        data_set = 144 + int.from_bytes(content[140:144], "little")
        path.write_bytes(
            {
                "preamble": content[132:],
                "preamble_and_file_meta": content[data_set:],
                "file_meta": content[:132] + content[data_set:],
            }[what]
        )


def _miscall(paths: list[Path]) -> None:
    """Data sets in implicit VR under a File Meta that says explicit."""
    from pydicom import dcmread

    for path in paths:
        content = path.read_bytes()
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.save_as(path)
        implicit = path.read_bytes()
        starts = [144 + int.from_bytes(c[140:144], "little") for c in (content, implicit)]
        path.write_bytes(content[: starts[0]] + implicit[starts[1] :])


def _damage(paths: list[Path], what: str) -> None:
    """512 bytes from the middle of the pixels of two slices are zeroed or lost, or more come in.

    The slices are those of the heart, where Hounsfield units are measured.
    """
    for path in paths[27:29]:
        content = path.read_bytes()
        at = (content.rindex(b"\xe0\x7f\x10\0OB") + len(content)) // 2
        after = {"zeroed": (bytes(512), 512), "lost": (b"", 512), "put_in": (b"\x5a" * 512, 0)}
        new, gone = after[what]
        changed = bytearray(content[:at] + new + content[at + gone :])
        first = changed.rindex(b"\xe0\x7f\x10\0OB") + 12
        table = 8 + int.from_bytes(changed[first + 4 : first + 8], "little")
        length = len(changed) - 8 - (first + table + 8)
        changed[first + table + 4 : first + table + 8] = length.to_bytes(4, "little")
        path.write_bytes(changed)


def _call_uncompressed(paths: list[Path]) -> None:
    """File Meta that says explicit little endian over compressed pixels, as one receiver wrote."""
    for path in paths:
        content = path.read_bytes()
        path.write_bytes(content.replace(JPEGLosslessSV1.encode(), b"1.2.840.10008.1.2.1\0\0\0", 1))


def _drop_class(paths: list[Path]) -> None:
    """Data sets without SOPClassUID and Modality, as a public collection has them."""
    from pydicom import dcmread

    for path in paths:
        dataset = dcmread(path)
        del dataset.SOPClassUID, dataset.Modality
        dataset.save_as(path)


def _repeat_meta(paths: list[Path]) -> None:
    """An element of group 0002 once more, at the beginning of the data set."""
    element = b"\x02\0\x10\0UI\x14\0" + b"1.2.840.10008.1.2.1\0"
    for path in paths:
        content = path.read_bytes()
        start = 144 + int.from_bytes(content[140:144], "little")
        path.write_bytes(content[:start] + element + content[start:])


def _pixels_first(paths: list[Path]) -> None:
    """The pixel data element stands before group 0028."""
    for path in paths:
        content = path.read_bytes()
        first, last = content.index(b"\x28\0\x02\0US"), content.rindex(b"\xe0\x7f\x10\0O")
        path.write_bytes(content[:first] + content[last:] + content[first:last])


def _rewrite(paths: list[Path], old: bytes, new: bytes) -> None:
    """Every point of a decimal string replaced."""
    from pydicom import dcmread

    for path in paths:
        content = path.read_bytes()
        dataset = dcmread(path)
        for keyword in (
            "PixelSpacing",
            "ImagePositionPatient",
            "RescaleIntercept",
            "SliceThickness",
        ):
            text = "\\".join(map(str, dataset[keyword])) if dataset[keyword].VM > 1 else ""
            text = text or str(dataset[keyword].value)
            assert text.encode() in content, keyword
            content = content.replace(text.encode(), text.encode().replace(old, new))
        path.write_bytes(content)


def _raw(dataset: Dataset, keyword: str, text: str) -> None:
    """An element with exactly these characters."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    content = text.encode() + b" " * (len(text) % 2)
    tag = Tag(keyword)
    dataset._dict[tag] = RawDataElement(tag, "DS", len(content), content, 0, False, True)


def _trailing(series: list[Dataset]) -> list[Dataset]:
    """A backslash after the last value."""
    for dataset in series:
        for keyword in ("PixelSpacing", "ImagePositionPatient", "RescaleIntercept"):
            value = dataset[keyword].value
            values = [value] if dataset[keyword].VM == 1 else value
            _raw(dataset, keyword, "\\".join(map(str, values)) + "\\")
    return series


def _repeated(series: list[Dataset]) -> list[Dataset]:
    """One value written twice, as converters of multi-frame images do."""
    for dataset in series:
        _raw(dataset, "RescaleIntercept", "-1024\\-1024")
        _raw(dataset, "RescaleSlope", "1\\1")
        dataset.RescaleType = ["HU", "HU"]
    return series


def _identified(dataset: Dataset, instance: str, series: str) -> Dataset:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = instance
    dataset.SeriesInstanceUID = series
    return dataset


def _breath_holds(first: int, second: int, shared: int) -> SliceStack:
    """Two acquisitions of so many slices, the second 1 mm lower over the range that they share."""
    one = stack()
    z = 88.0 - 4.0 * np.arange(first)
    below = z[-shared] - 1.0 - 4.0 * np.arange(second)
    return replace(one, offsets=np.concatenate([z, below])[:, None] * np.array([0.0, 0.0, 1.0]))


def _far_apart(step: float) -> dict[str, Any]:
    def position(index: int) -> list[str]:
        x, y, _ = _PLAIN[0].ImagePositionPatient
        return [str(x), str(y), f"{-step * index:.1f}"]

    return {"ImagePositionPatient": position}


def _garble(path: Path) -> None:
    """A compressed image that is whole by its lengths and holds nonsense."""
    from pydicom import dcmread

    dataset = dcmread(path)
    dataset.PixelData = encapsulate([b"nonsense" * 50])
    dataset.save_as(path)
