"""Order, spacing and fitness of a stack (docs/method.md, rules 1 to 10), on headers alone.

For every named limit there is a case on each side of it.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ctcohort.dicom.headers import ENHANCED_CT, LEGACY_CONVERTED_CT, Header
from ctcohort.series import geometry
from ctcohort.series.geometry import Assessment, Stack, assess

from .built import AXIAL, VOLUME, at, heights, last, only, series

MIDDLE = 20
"""Index of the slice in the middle of 41."""

ODD = heights(41)


def verdict_of(headers: list[Header], *, min_slices: int = 2, **rules: Any) -> Assessment:
    return assess(headers, replace(VOLUME, **rules), min_slices=min_slices)


def reason(headers: list[Header], **options: Any) -> str:
    return verdict_of(headers, **options).reason


def stack_of(headers: list[Header], **options: Any) -> Stack:
    assessment = verdict_of(headers, **options)
    assert assessment.reason == ""
    assert assessment.stack is not None
    return assessment.stack


def numbers(stack: Stack) -> list[int | None]:
    """InstanceNumber of each slice, from the head."""
    return [s.header.instance_number for s in stack.slices]


def drops(headers: list[Header], **options: Any) -> dict[str, int]:
    """How many slices are left out of a usable series, by reason."""
    assessment = verdict_of(headers, **options)
    assert assessment.reason == ""
    return dict(Counter(drop.why for drop in assessment.dropped))


# A plain series


def test_a_plain_series_is_measured_and_nothing_is_left_out() -> None:
    assessment = verdict_of(series())
    assert (assessment.reason, assessment.dropped) == ("", [])
    assert assessment.measures == geometry.Measures(
        slices=40,
        rows=512,
        columns=512,
        row_spacing=0.7,
        column_spacing=0.7,
        slice_spacing=2.0,
        spacing_regular=True,
        z_error_mm=0.0,
        gap_mm=2.0,
        missing_slices=0,
        duplicate_positions=0,
        tilt_degrees=0.0,
        obliquity_degrees=0.0,
        fov_mm=pytest.approx(358.4),  # type: ignore[arg-type]
        scan_length_mm=80.0,
    )


def test_a_plain_stack_lies_from_head_to_feet() -> None:
    stack = stack_of(series())
    assert numbers(stack) == list(range(1, 41))
    assert stack.row_direction.tolist() == [1, 0, 0]
    assert stack.column_direction.tolist() == [0, 1, 0]
    assert stack.stack_direction.tolist() == [0, 0, -1]
    assert stack.distances.tolist() == [2.0 * i for i in range(40)]
    assert stack.origin.tolist() == [-100, -100, 0]
    assert (stack.step, stack.row_spacing, stack.column_spacing) == (2.0, 0.7, 0.7)
    assert (stack.regular, stack.tilted) == (True, False)
    assert stack.rivals == ((),) * 40


def test_row_and_column_spacing_are_not_confused() -> None:
    assessment = verdict_of(series(pixel_spacing=(0.5, 0.8), rows=400, columns=300))
    assert assessment.stack is not None
    assert (assessment.stack.row_spacing, assessment.stack.column_spacing) == (0.5, 0.8)
    assert (assessment.measures.rows, assessment.measures.columns) == (400, 300)
    assert (assessment.measures.row_spacing, assessment.measures.column_spacing) == (0.5, 0.8)
    assert assessment.measures.fov_mm == pytest.approx(200.0)
    narrow = verdict_of(series(pixel_spacing=(0.8, 0.5), rows=300, columns=400))
    assert narrow.measures.fov_mm == pytest.approx(200.0)


# Rule 1: only the position orders slices


def test_neither_the_order_of_files_nor_instance_numbers_matter() -> None:
    headers = series(instance_number=lambda i: (i * 17) % 40)
    shuffled = random.Random(1).sample(headers, 40)
    for each in (headers, shuffled):
        assert [s.header.sop_instance_uid for s in stack_of(each).slices] == [
            f"1.3.{1000 + i}" for i in range(40)
        ]


def test_slices_written_from_the_feet_are_turned_round() -> None:
    stack = stack_of(series(heights()[::-1]))
    assert numbers(stack) == list(range(40, 0, -1))
    assert stack.distances.tolist() == [2.0 * i for i in range(40)]
    assert stack.origin.tolist() == [-100, -100, 0]
    assert stack.stack_direction.tolist() == [0, 0, -1]


def test_slices_seen_from_the_head_still_run_to_the_feet() -> None:
    stack = stack_of(series(orientation=(-1.0, 0, 0, 0, 1, 0)))
    assert stack.row_direction.tolist() == [-1, 0, 0]
    assert stack.stack_direction.tolist() == [0, 0, -1]
    assert numbers(stack) == list(range(1, 41))


@pytest.mark.parametrize("component", range(6))
def test_an_orientation_at_the_tolerance_is_the_series_own(component: int) -> None:
    def off(by: float) -> list[Header]:
        turned = list(AXIAL)
        turned[component] += by
        return series(orientation=only(39, tuple(turned), AXIAL))

    for sign in (1, -1):
        assert drops(off(sign * geometry.ORIENTATION_TOLERANCE)) == {}
        assert drops(off(sign * 0.00099)) == {}
        assert drops(off(sign * 0.00101)) == {"minority": 1}


def test_the_axes_are_the_median_of_noisy_orientations_at_right_angles() -> None:
    noise = np.random.default_rng(1).uniform(-4e-4, 4e-4, (41, 6))
    stack = stack_of(series(ODD, orientation=lambda i: tuple(np.array(AXIAL) + noise[i])))
    row, column = stack.row_direction, stack.column_direction
    median = np.array(AXIAL) + np.median(noise, axis=0)
    assert np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-12)
    assert np.allclose(row, median[:3] / np.linalg.norm(median[:3]), atol=1e-12)
    assert np.allclose(stack.stack_direction, -np.cross(row, column), atol=1e-12)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        ((0.91, 0, 0, 0, 1, 0), ""),
        ((0.89, 0, 0, 0, 1, 0), "no_geometry"),
        ((1, 0, 0, 0, 0.91, 0), ""),
        ((1, 0, 0, 0, 0.89, 0), "no_geometry"),
        ((1.09, 0, 0, 0, 1, 0), ""),
        ((1.11, 0, 0, 0, 1, 0), "no_geometry"),
        ((1, 0, 0, 0, 1.09, 0), ""),
        ((1, 0, 0, 0, 1.11, 0), "no_geometry"),
        ((1, 0, 0, 0.049, 1, 0), ""),
        ((1, 0, 0, 0.051, 1, 0), "no_geometry"),
        ((1, 0, 0, -0.051, 1, 0), "no_geometry"),
    ],
)
def test_directions_that_are_nearly_unit_vectors_at_right_angles_are_made_so(
    orientation: tuple[float, ...], expected: str
) -> None:
    assert reason(series(orientation=orientation)) == expected


def test_directions_of_two_kinds_that_make_no_axes_are_mixed_geometry() -> None:
    crossed = (0.0, 1, 0, 1, 0, 0)
    assert reason(series(orientation=lambda i: (AXIAL, crossed)[i % 2])) == "mixed_geometry"


def test_directions_that_most_slices_lack_are_mixed_geometry() -> None:
    short = (0.5, 0.0, 0, 0, 1, 0)
    assert reason(series(orientation=lambda i: (short, AXIAL)[i % 5 < 2])) == "mixed_geometry"


# Rule 2: what can be a slice at all


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"}, "not_ct"),
        ({"sop_class_uid": ENHANCED_CT}, None),
        ({"sop_class_uid": LEGACY_CONVERTED_CT}, None),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "localizer"),
        ({"image_type": ("ORIGINAL", "localizer")}, "localizer"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZERS")}, None),
        ({"position": None}, "no_geometry"),
        ({"orientation": None}, "no_geometry"),
        ({"orientation": (0.0,) * 6}, "no_geometry"),
        ({"pixel_spacing": None}, "no_geometry"),
        ({"pixel_spacing": (0.0, 0.7)}, "no_geometry"),
        ({"pixel_spacing": (0.7, -0.7)}, "no_geometry"),
        ({"rows": None}, "no_geometry"),
        ({"rows": 0}, "no_geometry"),
        ({"columns": None}, "no_geometry"),
        ({"columns": 0}, "no_geometry"),
    ],
)
def test_an_ineligible_slice_is_left_out_with_its_reason(
    changes: dict[str, Any], why: str | None
) -> None:
    whole = series()
    (name, value) = next(iter(changes.items()))
    odd = series(**{name: value})[39]
    headers = [*whole[:39], odd]
    assert drops(headers) == ({} if why is None else {why: 1})
    assert verdict_of(headers).measures.slices == (40 if why is None else 39)


def test_a_series_of_nothing_eligible_has_the_commonest_reason() -> None:
    headers = series(position=None, image_type=lambda i: ("ORIGINAL", "", "LOCALIZER")[: 2 + i % 2])
    headers = [*headers, *series(heights(3), position=None)]
    assert reason(headers) == "no_geometry"
    assert reason(headers[1:40:2]) == "localizer"
    assert len(verdict_of(headers).dropped) == 43


def test_frames_are_slices() -> None:
    (frames,) = zip(*(h.frames for h in series(heights(20))), strict=True)
    more = [h.frames[0] for h in series(heights(40)[20:])]
    one = series([0], frames=tuple(frames))[0]
    two = replace(one, sop_instance_uid="1.3.2000", frames=tuple(more))
    stack = stack_of([two, one])
    assert [(s.header.sop_instance_uid[-4:], s.index) for s in stack.slices] == [
        *(("1000", i) for i in range(20)),
        *(("2000", i) for i in range(20)),
    ]


def test_a_frame_that_is_left_out_is_named_by_its_index() -> None:
    frames = [h.frames[0] for h in series()]
    frames[39] = replace(frames[39], position=None)
    (drop,) = verdict_of(series([0], frames=tuple(frames))).dropped
    assert drop == geometry.Dropped("1.3.1000", 39, "no_geometry")


def test_the_type_of_a_frame_counts_not_only_that_of_the_instance() -> None:
    frames = [h.frames[0] for h in series()]
    frames[39] = replace(frames[39], image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    assert drops(series([0], frames=tuple(frames))) == {"localizer": 1}
    frames[0] = replace(frames[0], image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))
    assert reason(series([0], frames=tuple(frames))) == "localizer"


# Rule 3: one geometry


@pytest.mark.parametrize(
    ("name", "usual", "other"),
    [
        ("rows", 512, 256),
        ("columns", 512, 256),
        ("pixel_spacing", (0.7, 0.7), (0.6, 0.7)),
        ("pixel_spacing", (0.7, 0.7), (0.7, 0.8)),
        ("orientation", AXIAL, (0.0, 1, 0, -1, 0, 0)),
        ("image_type", ("ORIGINAL", "PRIMARY"), ("DERIVED", "PRIMARY")),
    ],
)
class TestAMinority:
    """Slices of another kind among 40."""

    def test_of_a_tenth_at_an_end_is_left_out(self, name: str, usual: Any, other: Any) -> None:
        headers = series(**{name: last(4, 40, other, usual)})
        assert drops(headers) == {"minority": 4}
        assert numbers(stack_of(headers)) == list(range(1, 37))

    def test_of_a_tenth_at_the_head_is_left_out(self, name: str, usual: Any, other: Any) -> None:
        headers = series(**{name: last(36, 40, usual, other)})
        assert numbers(stack_of(headers)) == list(range(5, 41))

    def test_of_more_than_a_tenth_is_another_geometry(
        self, name: str, usual: Any, other: Any
    ) -> None:
        assert reason(series(**{name: last(5, 40, other, usual)})) == "mixed_geometry"

    def test_that_would_leave_a_gap_is_another_geometry(
        self, name: str, usual: Any, other: Any
    ) -> None:
        for index in (1, 20, 38):
            assert reason(series(**{name: only(index, other, usual)})) == "mixed_geometry"

    def test_between_slices_that_stay_is_left_out(self, name: str, usual: Any, other: Any) -> None:
        """Slices 2 mm apart, and one more of another kind half way between two of them."""
        z = [*heights(40), -37.0]
        headers = series(z, **{name: only(40, other, usual)})
        assert drops(headers) == {"minority": 1}


@pytest.mark.parametrize(("apart", "expected"), [(3.0, ""), (3.01, "mixed_geometry")])
def test_a_gap_is_more_than_one_and_a_half_intervals(apart: float, expected: str) -> None:
    """The slice of another matrix lies between two that are `apart` mm from each other."""
    z = [*(2.0 * i for i in range(20)), 39.0, *(38 + apart + 2.0 * i for i in range(20))]
    headers = series(z, rows=only(20, 256, 512))
    assert reason(headers, irregular_spacing="positions") == expected


def test_a_slice_beyond_an_end_leaves_no_gap_whatever_the_other_end_is_like() -> None:
    z = [*heights(40), -200.0]
    headers = series(z, rows=only(0, 256, 512))
    assert drops(headers, max_z_error_mm=None) == {"minority": 1}


def test_one_position_of_which_a_slice_must_go_is_no_gap() -> None:
    headers = series([0.0] * 12, rows=only(0, 256, 512))
    assert reason(headers) == "too_few_slices"


def test_two_slices_of_which_one_must_go_are_no_gap() -> None:
    headers = series(heights(11), rows=only(0, 256, 512))
    assert reason([h for h in headers if h.rows == 512][:1] + headers[:1]) == "mixed_geometry"
    assert verdict_of(headers).measures.slices == 10


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_pixel_spacing_may_differ_by_the_rounding_of_its_text(axis: int, sign: int) -> None:
    def off(share: float) -> list[Header]:
        spacing = [0.7, 0.7]
        spacing[axis] *= 1 + sign * share
        return series(pixel_spacing=only(39, tuple(spacing), (0.7, 0.7)))

    assert drops(off(0.00099)) == {}
    assert drops(off(0.00101)) == {"minority": 1}
    assert stack_of(off(0.00099)).row_spacing == 0.7


@pytest.mark.parametrize(
    ("shift", "limit"), [((1.0, 0.0), 1.5), ((0.0, 1.0), 0.5)], ids=["columns", "rows"]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_slice_half_a_pixel_off_the_line_is_no_table_jump(
    shift: tuple[float, float], limit: float, sign: int
) -> None:
    """Rows 1 mm apart, columns 3 mm; the fit takes a 41st of the displacement."""

    def off(residual: float) -> list[Header]:
        by = sign * residual * 41 / 40
        positions = [
            (by * shift[0] * (i == MIDDLE), by * shift[1] * (i == MIDDLE), z)
            for i, z in enumerate(ODD)
        ]
        return at(positions, pixel_spacing=(1.0, 3.0))

    assert reason(off(0.99 * limit)) == ""
    assert reason(off(1.01 * limit)) == "mixed_geometry"


def test_a_table_jump_is_not_a_tilt() -> None:
    positions = [(-100, 3.0 * (i >= 20), z) for i, z in enumerate(ODD)]
    assert reason(at(positions)) == "mixed_geometry"


# Rule 4: several slices at one position


def test_slices_nearer_than_the_finest_increment_are_at_one_position() -> None:
    z = [*heights(40), -40.05 + 1e-9]
    assessment = verdict_of(series(z))
    assert (assessment.measures.slices, assessment.measures.duplicate_positions) == (40, 1)
    assert sum(map(len, assessment.stack.rivals)) == 1  # type: ignore[union-attr]
    apart = verdict_of(series([*heights(40), -40.051]))
    assert (apart.measures.slices, apart.measures.duplicate_positions) == (41, 0)


@pytest.mark.parametrize(("number", "distance"), [(99, 20.0), (0, 20.04)])
def test_the_position_of_rivals_is_that_of_the_first(number: int, distance: float) -> None:
    headers = series([*heights(40), -20.04], instance_number=only(40, number, 1))
    assert stack_of(headers).distances[10] == pytest.approx(distance)


def test_of_rivals_the_first_by_acquisition_then_instance_number_is_kept() -> None:
    z = [*heights(40), -20.0, -20.0]
    by_acquisition = series(
        z, acquisition_number=lambda i: 3 if i == 10 else None, instance_number=lambda i: 100 - i
    )
    stack = stack_of(by_acquisition)
    assert stack.slices[10].header.sop_instance_uid == "1.3.1041"
    assert [s.header.sop_instance_uid for s in stack.rivals[10]] == ["1.3.1040", "1.3.1010"]
    assert [len(rivals) for rivals in stack.rivals] == [2 * (i == 10) for i in range(40)]
    by_uid = stack_of(series(z, instance_number=None, acquisition_number=None))
    assert by_uid.slices[10].header.sop_instance_uid == "1.3.1010"
    assert [s.header.sop_instance_uid for s in by_uid.rivals[10]] == ["1.3.1040", "1.3.1041"]


def test_a_missing_instance_number_comes_before_1() -> None:
    headers = series([*heights(40), -20.0], instance_number=only(40, None, 1))
    assert stack_of(headers).slices[10].header.sop_instance_uid == "1.3.1040"


def test_a_missing_acquisition_number_comes_before_1() -> None:
    headers = series(
        [*heights(40), -20.0, -20.0],
        acquisition_number=only(10, 1, None),
        instance_number=lambda i: 0 if i == 10 else 9 + i,
    )
    assert stack_of(headers).slices[10].header.sop_instance_uid == "1.3.1040"


def two_passes(offset: float = 0.0, second: int = 40, **changes: Any) -> list[Header]:
    """40 slices, then `second` over the same range from its head on, told apart by `changes`."""
    z = [*heights(40), *(h - offset for h in heights(second))]
    told = {name: (lambda i, v=values: v[i >= 40]) for name, values in changes.items()}
    return series(z, **told)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("acquisition_number", (1, 2)),
        ("acquisition_number", (2, 10)),
        ("acquisition_number", (1, None)),
        ("acquisition_time", ("101500", "101530")),
        ("kernel", ("B30f", "B70f")),
        ("diameter", (300.0, 350.0)),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_of_two_equal_passes_the_first_is_kept(
    name: str, values: tuple[Any, Any], offset: float
) -> None:
    headers = two_passes(offset, **{name: values})
    assert drops(headers) == {"other_pass": 40}
    assert numbers(stack_of(headers)) == list(range(1, 41))
    turned = two_passes(offset, **{name: values[::-1]})
    assert numbers(stack_of(turned)) == list(range(41, 81))


def test_the_pass_with_the_most_slices_is_kept() -> None:
    z = [*heights(40), *heights(79, 1.0)]
    headers = series(z, acquisition_number=lambda i: 1 + (i >= 40))
    assert numbers(stack_of(headers)) == list(range(41, 120))
    assert verdict_of(headers).measures.duplicate_positions == 40


def test_passes_that_nothing_tells_apart_are_duplicate_positions() -> None:
    assessment = verdict_of(two_passes())
    assert assessment.reason == "duplicate_positions"
    assert (assessment.measures.slices, assessment.measures.duplicate_positions) == (40, 40)
    assert assessment.stack is None


@pytest.mark.parametrize(("again", "expected"), [(35, ""), (36, "duplicate_positions")])
def test_repeats_of_nine_tenths_of_the_positions_are_a_full_pass(again: int, expected: str) -> None:
    assert reason(two_passes(second=again)) == expected


def test_a_pass_told_apart_only_by_three_facts_together_is_found() -> None:
    """Two kernels times two acquisitions, each combination a full pass; neither fact suffices."""
    z = heights(40) * 4
    headers = series(
        z,
        acquisition_number=lambda i: (1, 1, 2, 2)[i // 40],
        acquisition_time="",
        kernel=lambda i: ("B30f", "B70f")[i // 40 % 2],
    )
    assert drops(headers) == {"other_pass": 120}
    assert numbers(stack_of(headers)) == list(range(1, 41))


@pytest.mark.parametrize(
    ("length", "kept"),
    [(36, 36), (37, 36)],
)
def test_a_pass_that_spans_nine_tenths_of_the_range_is_full(length: int, kept: int) -> None:
    """41 positions, 40 intervals; the second pass is denser but spans only a part of it."""
    dense = heights(2 * length + 1, 1.0)
    headers = series([*ODD, *dense], acquisition_number=lambda i: 1 + (i >= 41))
    assert numbers(stack_of(headers)) == list(range(42, 42 + len(dense)))
    short = heights(2 * 35 + 1, 1.0)
    headers = series([*ODD, *short], acquisition_number=lambda i: 1 + (i >= 41))
    assert numbers(stack_of(headers)) == list(range(1, 42))
    assert kept == 36


def test_a_slice_acquired_again_gives_way_to_the_full_pass() -> None:
    headers = series([*heights(40), -20.0], acquisition_number=only(40, 2, 1))
    assert drops(headers) == {"other_pass": 1}
    assert numbers(stack_of(headers)) == list(range(1, 41))


def test_two_slices_can_be_a_full_pass() -> None:
    headers = series([0.0, -2.0] * 2, acquisition_number=lambda i: 1 + i // 2)
    assert drops(headers) == {"other_pass": 2}


def test_a_pass_with_an_interval_of_one_and_a_half_is_full() -> None:
    longer = [0.0, *(-1.5 - i for i in range(78))]
    headers = series([*heights(40), *longer], acquisition_number=lambda i: 1 + (i >= 40))
    assert verdict_of(headers).measures.slices == 79


def test_a_pass_with_a_gap_is_not_full() -> None:
    whole, gappy = heights(40), [z for z in heights(79, 1.0) if z not in (-30.0, -31.0)]
    headers = series([*whole, *gappy], acquisition_number=lambda i: 1 + (i >= 40))
    assert numbers(stack_of(headers)) == list(range(1, 41))


def test_a_pass_that_repeats_a_position_is_not_full() -> None:
    twice = [*heights(79, 1.0), -30.0]
    headers = series([*heights(40), *twice], acquisition_number=lambda i: 1 + (i >= 40))
    assert numbers(stack_of(headers)) == list(range(1, 41))


@pytest.mark.parametrize(("strays", "dropped"), [(2, {}), (3, {"other_pass": 3})])
def test_a_full_pass_leaves_out_more_than_two_slices_between_its_own(
    strays: int, dropped: dict[str, int]
) -> None:
    z = [*heights(40), *(-11.0 - 20 * i for i in range(strays))]
    headers = series(z, acquisition_number=lambda i: 1 + (i >= 40))
    assessment = verdict_of(headers)
    assert dict(Counter(drop.why for drop in assessment.dropped)) == dropped
    assert assessment.measures.slices == 40 + strays * (not dropped)


def test_a_part_beyond_the_ends_of_a_full_pass_belongs_to_the_scan() -> None:
    """A scan in two acquisitions, one after the other: nothing lies between the other's slices."""
    headers = series(heights(44), acquisition_number=lambda i: 1 + (i >= 40))
    assert drops(headers) == {}
    assert verdict_of(headers).measures.slices == 44


def test_copies_of_a_file_count_as_duplicates_and_change_nothing() -> None:
    headers = series(copies=only(3, 3, 1))
    assessment = verdict_of(headers)
    assert (assessment.reason, assessment.measures.duplicate_positions) == ("", 2)


def test_one_uid_with_different_contents_is_never_used() -> None:
    assert reason(series(conflicting=only(3, True, False))) == "conflicting_instances"
    assert reason(series(sop_instance_uid=only(3, "1.3.1004", "1.3.1004"))) != ""
    twice = [*series(), series()[7]]
    assert reason(twice) == "conflicting_instances"


def test_a_conflict_among_rivals_counts_too() -> None:
    headers = series([*heights(40), -20.0], conflicting=only(40, True, False))
    assert reason(headers) == "conflicting_instances"


# Rule 5: orientation


AXES = {
    "x": (1, 0, 0),
    "y": (0, 1, 0),
    "z": (0, 0, 1),
    "x and z": (1, 0, 1),
    "y and z": (0, 1, 1),
    "x and y": (1, 1, 0),
}


def rotation(degrees: float, axis: str) -> np.ndarray:
    """Rotation about an axis, by Rodrigues' formula."""
    x, y, z = np.array(AXES[axis]) / np.linalg.norm(AXES[axis])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def turned(degrees: float, axis: str, count: int = 41, row: Any = (1, 0, 0)) -> list[Header]:
    """Slices turned together with their stack; their rows ran along `row` before."""
    matrix = rotation(degrees, axis)
    orientation = (*(matrix @ row), *(matrix @ np.cross([0, 0, 1], row)))
    positions = [matrix @ [-100, -100, z] for z in heights(count)]
    return at(positions, orientation=orientation)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("row", [(1, 0, 0), (0, 1, 0), (-1, 0, 0)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("degrees", "expected"), [(9.99, ""), (10.01, "not_axial")])
def test_an_axis_may_be_ten_degrees_off_its_patient_axis(
    axis: str, row: tuple[int, int, int], sign: int, degrees: float, expected: str
) -> None:
    assessment = verdict_of(turned(sign * degrees, axis, row=row))
    assert assessment.reason == expected
    assert assessment.measures.obliquity_degrees == pytest.approx(degrees, abs=1e-6)
    assert assessment.measures.tilt_degrees == 0.0


def test_an_oblique_stack_seen_from_the_head_runs_to_the_feet() -> None:
    matrix = rotation(5, "x")
    orientation = (*(matrix @ [-1, 0, 0]), *(matrix @ [0, 1, 0]))
    mirrored = at([matrix @ [-100, -100, z] for z in ODD], orientation=orientation)
    assert numbers(stack_of(mirrored)) == list(range(1, 42))
    assert stack_of(mirrored).stack_direction[2] < -0.99


@pytest.mark.parametrize("quarter", [90, 180, 270])
def test_quarter_turns_in_the_plane_are_axial(quarter: int) -> None:
    assert reason(turned(quarter, "z")) == ""
    assert verdict_of(turned(quarter + 4, "z")).measures.obliquity_degrees == pytest.approx(4)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_coronal_and_sagittal_stacks_are_not_axial_whatever_they_are_called(axis: str) -> None:
    assessment = verdict_of(turned(90, axis))
    assert assessment.reason == "not_axial"
    assert assessment.measures.obliquity_degrees == pytest.approx(90)


# Rule 7: spacing


def displaced(residual: float, step: float) -> list[Header]:
    """41 slices of which the middle one is off the fitted line by `residual`."""
    z = heights(41, step)
    z[MIDDLE] -= residual * 41 / 40
    return series(z)


@pytest.mark.parametrize(
    ("step", "limit"), [(2.0, 0.1), (4.9, 0.1), (10.0, 0.2)], ids=["mm", "both", "steps"]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_residual_up_to_the_limit_is_regular(step: float, limit: float, sign: int) -> None:
    assert stack_of(displaced(sign * 0.99 * limit, step)).regular
    assert not stack_of(displaced(sign * 1.01 * limit, step)).regular


def test_a_regular_step_is_the_mean_of_all_intervals() -> None:
    """0.625 mm stored with one decimal is 0.6 and 0.7; the bins would say 0.6 or 0.7."""
    stack = stack_of(series([round(z, 1) for z in heights(241, 0.625)]))
    assert stack.regular
    assert stack.step == pytest.approx(0.625, abs=1e-9)


def test_intervals_of_just_half_and_one_and_a_half_steps_are_steps() -> None:
    assert verdict_of(series([0.0, -0.0625, -0.25])).measures.spacing_regular is True


@pytest.mark.parametrize(
    ("interval", "regular"), [(0.299, True), (0.301, False), (0.101, True), (0.099, False)]
)
def test_an_interval_of_half_to_one_and_a_half_steps_is_a_step(
    interval: float, regular: bool
) -> None:
    """Steps of 0.2 mm: the residual stays below 0.1 mm, so that the interval alone decides."""
    rest = (8.0 - interval) / 39
    z = -np.concatenate([[0.0], np.cumsum([rest] * 20 + [interval] + [rest] * 19)])
    assert verdict_of(series(z)).measures.spacing_regular is regular


def intervals(*lengths: float) -> list[Header]:
    """A series with these intervals, from the head."""
    return series(-np.concatenate([[0.0], np.cumsum(lengths)]))


LIMITLESS = {"max_z_error_mm": None}


def test_an_irregular_step_is_the_mean_near_the_commonest_interval() -> None:
    """2.29 mm is within 15 % of 2 mm, 2.31 mm is not; the same below."""
    near = verdict_of(intervals(*[2.0] * 20, *[2.29] * 5, *[1.71] * 3, *[9.0] * 3), **LIMITLESS)
    assert near.measures.slice_spacing == pytest.approx((20 * 2 + 5 * 2.29 + 3 * 1.71) / 28)
    far = verdict_of(intervals(*[2.0] * 20, *[2.31] * 5, *[1.69] * 3, *[9.0] * 3), **LIMITLESS)
    assert far.measures.slice_spacing == pytest.approx(2.0)


def test_intervals_are_counted_in_bins_of_a_hundredth() -> None:
    together = intervals(*[2.0] * 10, *[3.0] * 4, *[3.004] * 4, *[2.996] * 4)
    assert verdict_of(together, **LIMITLESS).measures.slice_spacing == pytest.approx(3.0, abs=0.01)
    apart = intervals(*[2.0] * 10, *[3.0] * 6, *[3.006] * 6)
    assert verdict_of(apart, **LIMITLESS).measures.slice_spacing == pytest.approx(2.0)


def test_of_equally_common_intervals_the_first_from_the_head_counts() -> None:
    assert verdict_of(intervals(*[2.0] * 9, *[3.0] * 9), **LIMITLESS).measures.slice_spacing == 2.0
    assert verdict_of(intervals(*[3.0] * 9, *[2.0] * 9), **LIMITLESS).measures.slice_spacing == 3.0


@pytest.mark.parametrize("missing", [1, 2])
def test_missing_slices_are_counted_and_measured(missing: int) -> None:
    z = [h for i, h in enumerate(heights(60)) if not 20 <= i < 20 + missing]
    assessment = verdict_of(series(z))
    assert assessment.reason == ""
    measures = assessment.measures
    assert measures.missing_slices == missing
    assert measures.spacing_regular is False
    assert measures.slice_spacing == pytest.approx(2.0)
    assert measures.gap_mm == pytest.approx(2.0 * (missing + 1))
    assert measures.z_error_mm == pytest.approx(2.0 * missing)
    assert measures.scan_length_mm == pytest.approx(120.0)


def test_slices_too_near_are_not_fewer_than_none_missing() -> None:
    assert verdict_of(intervals(*[2.0] * 20, 0.8, 0.8, *[2.0] * 20)).measures.missing_slices == 0


@pytest.mark.parametrize(
    ("interval", "missing"), [(2.99, 0), (3.0, 1), (4.9, 1), (5.1, 2), (7.1, 3)]
)
def test_an_interval_counts_as_so_many_missing_slices(interval: float, missing: int) -> None:
    headers = intervals(*[2.0] * 20, interval, *[2.0] * 20)
    assert verdict_of(headers, **LIMITLESS).measures.missing_slices == missing


def test_two_slices_are_a_stack() -> None:
    assessment = assess(series([0.0, -3.0]), VOLUME)
    assert assessment.reason == ""
    assert (assessment.measures.slice_spacing, assessment.measures.scan_length_mm) == (3.0, 6.0)


def test_a_single_slice_has_no_spacing() -> None:
    assessment = verdict_of(series([5.0]))
    assert assessment.reason == "too_few_slices"
    assert assessment.measures.slice_spacing is None
    assert (assessment.measures.gap_mm, assessment.measures.scan_length_mm) == (None, 0.0)
    assert assessment.measures.spacing_regular is True


def test_one_tilted_slice_is_too_few_rather_than_not_axial() -> None:
    tilted = (1.0, 0, 0, 0, 0.94, 0.342)
    assert reason(series([0.0] * 5, orientation=tilted)) == "too_few_slices"


@pytest.mark.parametrize(("count", "expected"), [(30, "too_few_slices"), (31, "")])
def test_distinct_positions_are_counted_against_the_least_number(count: int, expected: str) -> None:
    assert reason(series([*heights(count), *[0.0] * 9]), min_slices=31) == expected


def test_an_oblique_series_of_few_slices_is_not_axial() -> None:
    assert reason(turned(15, "x", count=10), min_slices=31) == "not_axial"


def test_a_displaced_series_of_few_slices_is_too_few() -> None:
    positions = [(-100 + 50.0 * (i == 5), -100, z) for i, z in enumerate(heights(11))]
    assert reason(at(positions), min_slices=31) == "too_few_slices"


# Rule 8: irregular scans


def gapped(missing: int) -> list[Header]:
    return series([h for i, h in enumerate(heights(60)) if not 20 <= i < 20 + missing])


@pytest.mark.parametrize(
    ("rules", "missing", "expected"),
    [
        ({"irregular_spacing": "mode"}, 2, ""),
        ({"irregular_spacing": "mode"}, 3, "too_irregular"),
        ({"irregular_spacing": "mode", "max_z_error_mm": 4.0}, 2, ""),
        ({"irregular_spacing": "mode", "max_z_error_mm": 3.9}, 2, "too_irregular"),
        ({"irregular_spacing": "mode", "max_z_error_mm": None}, 20, ""),
        ({"irregular_spacing": "mode", "max_gap_mm": 1.0}, 2, ""),
        ({"irregular_spacing": "positions"}, 4, ""),
        ({"irregular_spacing": "positions"}, 5, "too_irregular"),
        ({"irregular_spacing": "positions", "max_gap_mm": None}, 20, ""),
        ({"irregular_spacing": "positions", "max_z_error_mm": 0.1}, 4, ""),
        ({"irregular_spacing": "exclude"}, 1, "too_irregular"),
        ({"irregular_spacing": "exclude"}, 0, ""),
        ({"irregular_spacing": "positions", "max_gap_mm": 0.5}, 0, ""),
        ({"irregular_spacing": "mode", "max_z_error_mm": 0.0}, 0, ""),
    ],
)
def test_a_policy_refuses_what_is_beyond_its_own_limit(
    rules: dict[str, Any], missing: int, expected: str
) -> None:
    assert reason(gapped(missing), **rules) == expected


def test_true_positions_displace_nothing() -> None:
    assert verdict_of(gapped(2), irregular_spacing="positions").measures.z_error_mm == 0.0
    assert verdict_of(gapped(2), irregular_spacing="mode").measures.z_error_mm == pytest.approx(4.0)
    shaken = displaced(0.09, 2.0)
    error = verdict_of(shaken, irregular_spacing="positions").measures.z_error_mm
    assert error == pytest.approx(0.09 * 41 / 40)


# Rule 9: gantry tilt


def tilted(drift: float, along: str = "y", **changes: Any) -> list[Header]:
    """41 upright slices over 80 mm whose positions drift sideways by `drift` mm in all."""
    lateral = np.linspace(0, drift, 41)
    x, y = (lateral, 0 * lateral) if along == "x" else (0 * lateral, lateral)
    return at(np.stack([x, y, ODD], axis=1), **changes)


@pytest.mark.parametrize("along", ["x", "y"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("drift", "is_tilted"), [(0.79, False), (0.81, True)])
def test_a_drift_of_less_than_a_voxel_is_no_tilt(
    along: str, sign: int, drift: float, is_tilted: bool
) -> None:
    stack = stack_of(tilted(sign * drift, along))
    assert stack.tilted is is_tilted
    assert (stack.stack_direction.tolist() == [0, 0, -1]) is not is_tilted


@pytest.mark.parametrize("degrees", [-9, -4, 4, 9])
@pytest.mark.parametrize("along", ["x", "y"])
def test_a_tilt_is_measured_along_the_line_of_positions(degrees: int, along: str) -> None:
    drift = 80 * np.tan(np.radians(degrees))
    assessment = verdict_of(tilted(drift, along))
    stack = assessment.stack
    assert stack is not None
    assert assessment.measures.tilt_degrees == pytest.approx(abs(degrees))
    length = float(np.hypot(80, drift))
    assert stack.distances[-1] == pytest.approx(length)
    assert stack.step == pytest.approx(length / 40)
    towards = np.array([drift * (along == "x"), drift * (along == "y"), -80.0]) / length
    assert np.allclose(stack.stack_direction, towards)
    assert np.allclose(stack.origin, [0, 0, 0])


@pytest.mark.parametrize("tag", [None, 0.0, 20.0])
def test_the_tilt_tag_decides_nothing(tag: float | None) -> None:
    headers = series(tilt_tag=tag)
    assert verdict_of(headers, gantry_tilt="exclude").measures.tilt_degrees == 0.0
    assert reason(headers, gantry_tilt="exclude") == ""


def test_a_tilted_gantry_can_be_excluded() -> None:
    assert reason(tilted(10), gantry_tilt="exclude") == "tilted"
    assert reason(tilted(10), gantry_tilt="correct") == ""


def gantry(degrees: float, axis: str) -> list[Header]:
    """Slices turned about an axis, on a table that moves along z."""
    matrix = rotation(degrees, axis)
    orientation = (*(matrix @ [1, 0, 0]), *(matrix @ [0, 1, 0]))
    return at([(-100, -100, z) for z in ODD], orientation=orientation)


@pytest.mark.parametrize("degrees", [-25, 25])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_tilt_is_not_obliquity(degrees: float, axis: str) -> None:
    assessment = verdict_of(gantry(degrees, axis))
    assert assessment.reason == ""
    assert assessment.measures.tilt_degrees == pytest.approx(25)
    assert assessment.measures.obliquity_degrees == pytest.approx(0, abs=1e-5)
    assert assessment.stack is not None
    assert np.allclose(assessment.stack.stack_direction, [0, 0, -1])
    assert assessment.measures.slice_spacing == pytest.approx(2.0)


def test_a_gantry_turned_in_the_plane_too_is_oblique_by_that() -> None:
    matrix = rotation(20, "x") @ rotation(6, "z")
    orientation = (*(matrix @ [1, 0, 0]), *(matrix @ [0, 1, 0]))
    assessment = verdict_of(at([(-100, -100, z) for z in ODD], orientation=orientation))
    assert assessment.measures.tilt_degrees == pytest.approx(20)
    assert 5 < (assessment.measures.obliquity_degrees or 0) < 7


def test_a_tilted_stack_off_the_z_axis_is_not_axial() -> None:
    assert verdict_of(tilted(80 * np.tan(np.radians(9.9)))).reason == ""
    assert verdict_of(tilted(80 * np.tan(np.radians(10.1)))).reason == "not_axial"


# Rule 10: Hounsfield units


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("", ""),
        ("HU", ""),
        ("hu", ""),
        ("Hounsfield Unit", ""),
        ("HOUNSFIELD UNITS", ""),
        ("Houndsfield Unit", ""),
        ("houndsfield units", ""),
        ("US", "not_hounsfield"),
        ("HU2", "not_hounsfield"),
        ("MODALITY LUT", "not_hounsfield"),
    ],
)
@pytest.mark.parametrize("where", ["everywhere", "in one slice"])
def test_a_rescale_type_must_mean_hounsfield(word: str, expected: str, where: str) -> None:
    change = word if where == "everywhere" else only(20, word, "HU")
    assert reason(series(rescale_type=change)) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("slope", None, "no_rescale"),
        ("slope", 0.0, "no_rescale"),
        ("slope", -1.0, ""),
        ("intercept", None, "no_rescale"),
        ("intercept", 0.0, ""),
    ],
)
def test_a_rescale_is_never_assumed(name: str, value: float | None, expected: str) -> None:
    assert reason(series(**{name: only(20, value, 1.0)})) == expected


def test_rivals_need_a_rescale_too() -> None:
    z = [*heights(40), -20.0]
    assert reason(series(z, slope=only(40, None, 1.0))) == "no_rescale"
    assert reason(series(z, rescale_type=only(40, "US", "HU"))) == "not_hounsfield"


# Which of several reasons is given


def test_the_first_that_is_wrong_is_the_reason() -> None:
    wrong = {"rescale_type": "US", "slope": None, "conflicting": True}
    assert reason(series(**wrong)) == "conflicting_instances"
    del wrong["conflicting"]
    assert reason(series(**wrong)) == "not_hounsfield"
    assert reason(two_passes(slope=(None, None))) == "no_rescale"
    assert reason(series(rows=lambda i: 256 + i % 2, **wrong)) == "mixed_geometry"
    jump = [(-100 + 50.0 * (i == 20), -100, z) for i, z in enumerate(ODD)]
    assert reason(at(jump, slope=None)) == "mixed_geometry"
    gap = [h for i, h in enumerate(heights(90)) if not 40 <= i < 60]
    assert reason(series(gap, slope=None)) == "no_rescale"
    assert reason(series(gap)) == "too_irregular"


# What no scanner makes


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"rows": 4096, "columns": 4096, "pixel_spacing": (0.1, 0.1)}, ""),
        ({"rows": 4097}, "too_large"),
        ({"columns": 65535}, "too_large"),
        ({"frame_count": 250}, ""),
        ({"frame_count": 251}, "too_large"),
        ({"rows": 512, "columns": 512, "pixel_spacing": (5.85, 5.85)}, ""),
        ({"rows": 512, "columns": 512, "pixel_spacing": (5.86, 0.7)}, "too_large"),
        ({"rows": 512, "columns": 512, "pixel_spacing": (0.7, 5.86)}, "too_large"),
    ],
)
def test_a_matrix_and_a_field_of_view_have_a_limit(facts: dict[str, Any], expected: str) -> None:
    assert reason(series(heights(40), **facts)) == expected


@pytest.mark.parametrize(
    ("step", "expected"), [(75.0, ""), (75.1, "too_large"), (9e4, "too_large")]
)
def test_a_scan_length_has_a_limit(step: float, expected: str) -> None:
    assert reason(series(heights(10, step)), max_z_error_mm=None) == (
        "" if step * 10 <= 3000 else "too_large"
    )
    assert reason(series(heights(40, step))) == expected


def test_the_number_of_slices_has_a_limit() -> None:
    assert geometry.MAX_SLICES == 10_000
    some = series(heights(3, 0.1))
    frames = some[0].frames * 9_998
    assert reason([replace(some[0], frames=frames), *some[1:]]) != "too_large"
    assert reason([replace(some[0], frames=(*frames, frames[0])), *some[1:]]) == "too_large"
    reports = series(range(5), sop_class_uid="1.2.840.10008.5.1.4.1.1.88.67", rows=9999)
    assert reason([*series(), *reports]) == ""


def test_the_voxels_of_a_volume_have_a_limit() -> None:
    wide = series(heights(200, 10.0), rows=512, columns=512, pixel_spacing=(1.9, 1.9))
    assert reason(wide, spacing_mm=(0.8, 0.8, 0.8)) == ""
    assert reason(wide, spacing_mm=(0.7, 0.7, 0.7)) == "too_large"
    assert reason(wide, spacing_mm=None) == ""


# Acquisitions that lie partly over each other


def two(first: int, second: int, shared: int, offset: float = 1.0, **facts: Any) -> list[Header]:
    """Acquisitions of so many slices every 2 mm, of which so many lie in the other's range."""
    z = heights(first)
    below = [z[-shared] - offset - 2.0 * i for i in range(second)] if shared else []
    below = below or [z[-1] - 2.0 * (i + 1) for i in range(second)]
    told = facts or {"acquisition_number": lambda i: 1 + (i >= first)}
    return series([*z, *below], **told)


@pytest.mark.parametrize("policy", ["mode", "positions"])
@pytest.mark.parametrize(
    "name", ["acquisition_number", "acquisition_time", "kernel", "diameter", "all three"]
)
def test_partly_overlapping_acquisitions_are_never_interleaved(policy: str, name: str) -> None:
    told = {name: lambda i: 1.0 + (i >= 30)} if name != "all three" else {}
    headers = two(30, 30, 10, **told)
    assert (
        reason(headers, irregular_spacing=policy, max_z_error_mm=None) == "overlapping_acquisitions"
    )
    assert reason(two(30, 30, 10, 0.0, **told), max_z_error_mm=None) == "overlapping_acquisitions"


def test_acquisitions_one_after_the_other_are_one_scan() -> None:
    assert reason(two(30, 30, 0)) == ""
    shots = series(heights(48), acquisition_number=lambda i: i // 4)
    assert reason(shots) == ""
    assert reason(series(acquisition_number=lambda i: i)) == ""


@pytest.mark.parametrize(("shared", "expected"), [(3, ""), (4, "overlapping_acquisitions")])
def test_a_few_slices_in_the_other_acquisitions_range_are_no_overlap(
    shared: int, expected: str
) -> None:
    assert reason(two(30, 30, shared), max_z_error_mm=None) == expected


def test_two_thicknesses_that_overlap_are_never_interleaved() -> None:
    thick = [-50.0 - 5.0 * i for i in range(30)]
    headers = series(
        [*heights(40), *thick],
        acquisition_number=lambda i: 1 + (i >= 40),
        slice_thickness=lambda i: 2.0 if i < 40 else 5.0,
    )
    for policy in ("mode", "positions"):
        limits = {"max_z_error_mm": None, "max_gap_mm": None}
        assert reason(headers, irregular_spacing=policy, **limits) == "overlapping_acquisitions"


def test_two_thicknesses_at_one_range_are_told_apart() -> None:
    thick = [-10.0 * i for i in range(9)]
    headers = series([*heights(40), *thick], slice_thickness=lambda i: 2.0 if i < 40 else 10.0)
    assert numbers(stack_of(headers)) == list(range(1, 41))


@pytest.mark.parametrize(("thickness", "rivals"), [(2.39, 5), (2.41, 0)])
def test_thicknesses_that_differ_by_more_than_rounding_are_two_reconstructions(
    thickness: float, rivals: int
) -> None:
    more = [-10.0 * i for i in range(5)]
    headers = series([*heights(40), *more], slice_thickness=lambda i: 2.0 if i < 40 else thickness)
    stack = stack_of(headers)
    assert (len(stack.slices), sum(map(len, stack.rivals))) == (40, rivals)


@pytest.mark.parametrize(
    ("policy", "expected"), [("mode", "too_irregular"), ("positions", "overlapping_acquisitions")]
)
def test_runs_of_instance_numbers_tell_what_nothing_else_does(policy: str, expected: str) -> None:
    z = [*heights(40), *(h - 0.7 for h in heights(40))]
    assert reason(series(z), irregular_spacing=policy) == expected
    turned = series(z[::-1])
    assert reason(turned, irregular_spacing=policy) == expected


def test_an_irregular_scan_in_one_run_or_in_no_order_is_taken() -> None:
    z = [h for i, h in enumerate(heights(60)) if i not in (20, 41)]
    shuffled = series(z, instance_number=lambda i: i * 17 % 58)
    for headers in (series(z), series(z[::-1]), shuffled, series(z, instance_number=None)):
        assert reason(headers, irregular_spacing="positions") == ""


# Slices that were lost


def lost(headers: list[Header]) -> tuple[int, int | None]:
    """Slices lost and gaps of a usable series."""
    assessment = verdict_of(headers, max_z_error_mm=None)
    assert assessment.reason == ""
    return assessment.measures.lost_slices, assessment.measures.missing_slices


def test_nothing_is_lost_of_a_plain_series() -> None:
    assert lost(series()) == (0, 0)
    passes = series([*heights(), *heights()], acquisition_number=lambda i: 1 + (i >= 40))
    assert lost(passes) == (0, 0)


@pytest.mark.parametrize("index", [0, 39, 20])
def test_a_slice_without_a_position_is_lost_wherever_it_was(index: int) -> None:
    where = [(-100.0, -100.0, z) for z in heights()]
    headers = series(position=lambda i: None if i == index else where[i])
    assert lost(headers) == (1, int(index == 20))


def test_a_minority_beyond_an_end_is_lost_and_one_inside_is_not() -> None:
    z = [*heights(), 2.0, -21.0]
    assert lost(series(z, rows=lambda i: 256 if i == 40 else 512)) == (1, 0)
    assert lost(series([*heights(), -21.0], rows=only(40, 256, 512))) == (0, 0)


@pytest.mark.parametrize("index", [0, 39])
def test_a_lost_frame_of_an_instance_is_counted_like_a_lost_slice(index: int) -> None:
    frames = [header.frames[0] for header in series()]
    frames[index] = replace(frames[index], position=None)
    assert lost([replace(series()[0], frames=tuple(frames))]) == (1, 0)


def test_a_scout_and_a_reformat_are_not_lost_slices() -> None:
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    z = [*heights(), 50.0]
    assert lost(series(z, orientation=only(40, coronal, AXIAL))) == (0, 0)
    scout = only(40, ("ORIGINAL", "PRIMARY", "LOCALIZER"), ("ORIGINAL", "PRIMARY"))
    assert lost(series(z, image_type=scout)) == (0, 0)
    capture = only(40, ("DERIVED", "SECONDARY", "SCREEN SAVE"), ("ORIGINAL", "PRIMARY"))
    where = [(-100.0, -100.0, h) for h in z]
    saved = series(z, image_type=capture, position=lambda i: None if i == 40 else where[i])
    assert lost(saved) == (0, 0)


def test_an_image_type_in_lower_case_is_the_same_kind() -> None:
    mixed = series(
        image_type=lambda i: ("original", "primary") if i % 2 else ("ORIGINAL", "PRIMARY")
    )
    assert drops(mixed) == {}


def test_one_uid_for_every_slice_is_a_conflict_however_few_are_left() -> None:
    assert (
        reason(series([0.0], conflicting=True, copies=40), min_slices=31) == "conflicting_instances"
    )
    assert reason(series(sop_instance_uid="1.2"), min_slices=31) == "conflicting_instances"
