"""Which series of an accession is chosen: one test for every branch, on headers alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ctcohort.base.reasons import SELECTED
from ctcohort.dicom.headers import CT_IMAGE, SECONDARY_CAPTURE, Header
from ctcohort.series.choice import Candidate, choose_series, has_images, judge
from ctcohort.series.facts import varying

from .built import AXIAL, SERIES, VOLUME, heights, last, only, series

DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"
LOCALIZER = ("ORIGINAL", "PRIMARY", "LOCALIZER")


def candidate(headers: Sequence[Header] | None, uid: str = "1.3", **facts: Any) -> Candidate:
    count = 0 if headers is None else len(headers)
    return Candidate(
        series_uid=uid, study_uid="1.2", headers=headers, **{"instances": count, **facts}
    )


def reason(
    headers: Sequence[Header] | None = None,
    *,
    instances: int | None = None,
    modality: str = "CT",
    **settings: Any,
) -> str:
    """Why a series cannot be used; empty if it can."""
    facts = {} if instances is None else {"instances": instances}
    one = candidate(headers, modality=modality, **facts)
    return judge(one, replace(SERIES, **settings), VOLUME)


def chosen(*candidates: Candidate, **settings: Any) -> tuple[str | None, list[str]]:
    """UID of the winner and every reason; the same in whatever order they come."""
    found = set()
    for order in itertools.permutations(candidates):
        winner = choose_series(order, replace(SERIES, **settings), VOLUME)
        reasons = tuple(each.reason for each in candidates)
        found.add((winner.series_uid if winner else None, reasons))
    ((uid, reasons),) = found
    return uid, list(reasons)


# A series that the archive was not asked about in full


def test_an_unread_series_of_another_modality_is_not_ct() -> None:
    assert reason(instances=100, modality="SR") == "not_ct"
    assert reason(instances=5, modality="SR") == "not_ct"


@pytest.mark.parametrize("modality", ["CT", ""])
def test_an_unread_series_of_ct_has_too_few_or_fewer_slices(modality: str) -> None:
    assert reason(instances=30, modality=modality) == "too_few_slices"
    assert reason(instances=31, modality=modality) == "fewer_slices"


# A series without CT images


def test_secondary_captures_are_secondary() -> None:
    assert reason(series(sop_class_uid=SECONDARY_CAPTURE)) == "secondary"
    assert reason(series(sop_class_uid=f"{SECONDARY_CAPTURE}.2")) == "secondary"


def test_a_dose_report_is_not_ct() -> None:
    assert reason(series([0], sop_class_uid=DOSE_REPORT)) == "not_ct"


def test_captures_beside_a_report_are_not_ct() -> None:
    mixed = series([0, 1], sop_class_uid=lambda i: (SECONDARY_CAPTURE, DOSE_REPORT)[i])
    assert reason(mixed) == "not_ct"


def test_a_report_among_ct_images_does_not_count() -> None:
    mixed = series(
        sop_class_uid=only(3, DOSE_REPORT, CT_IMAGE), image_type=only(3, (), ("ORIGINAL",))
    )
    assert reason([*mixed, *series([-6.0], sop_instance_uid="1.3.7")]) == ""


def test_whether_there_are_images_is_told_by_headers_else_by_modality() -> None:
    assert has_images(candidate(series()))
    assert has_images(candidate(series([0, 1], sop_class_uid=only(1, CT_IMAGE, DOSE_REPORT))))
    assert not has_images(candidate(series(sop_class_uid=DOSE_REPORT)))
    assert has_images(candidate(None, modality="CT"))
    assert has_images(candidate(None, modality=""))
    assert not has_images(candidate(None, modality="PR"))


# The image type


@pytest.mark.parametrize(
    ("image_type", "expected"),
    [
        (("ORIGINAL", "PRIMARY", "AXIAL"), ""),
        (("original", "primary"), ""),
        (("ORIGINAL",), ""),
        (LOCALIZER, "localizer"),
        (("ORIGINAL", "PRIMARY", "localizer"), "localizer"),
        (("DERIVED", "SECONDARY", "LOCALIZER"), "localizer"),
        (("DERIVED", "SECONDARY", "REFORMATTED"), "derived"),
        (("ORIGINAL", "PRIMARY", "REFORMATTED"), "derived"),
        (("ORIGINAL", "SECONDARY", "AXIAL"), "secondary"),
        (("DERIVED", "SECONDARY", "AXIAL"), "secondary"),
        (("DERIVED", "PRIMARY", "AXIAL"), "derived"),
        (("MIXED", "PRIMARY", "AXIAL"), "derived"),
        ((), "unreadable_header"),
        (("",), "unreadable_header"),
        (("", "PRIMARY", "AXIAL"), "unreadable_header"),
    ],
)
def test_the_image_type_says_whether_a_series_is_original(
    image_type: tuple[str, ...], expected: str
) -> None:
    assert reason(series(image_type=image_type)) == expected


def test_other_kinds_can_be_admitted() -> None:
    assert reason(series(image_type=("DERIVED", "PRIMARY")), kinds=("original", "derived")) == ""
    assert reason(series(image_type=()), kinds=("ORIGINAL", "missing")) == ""
    assert reason(series(image_type=("DERIVED", "SECONDARY")), kinds=("DERIVED",)) == "secondary"


@pytest.mark.parametrize("values", [("DERIVED", "PRIMARY"), ("DERIVED", "PRIMARY", "AXIAL")])
def test_derived_only_by_lossy_compression_is_a_reason_of_its_own(values: tuple[str, ...]) -> None:
    assert reason(series(image_type=values, lossy=True)) == "derived_lossy"
    assert reason(series(image_type=values, lossy=True), allow_lossy=True) == ""
    assert reason(series(image_type=values, lossy=False), allow_lossy=True) == "derived"


@pytest.mark.parametrize(
    "values",
    [
        ("DERIVED", "PRIMARY", "MPR"),
        ("DERIVED", "PRIMARY", "AXIAL", "MIP"),
        ("DERIVED",),
        ("MIXED", "PRIMARY", "AXIAL"),
    ],
)
def test_derived_for_another_cause_too_stays_derived(values: tuple[str, ...]) -> None:
    assert reason(series(image_type=values, lossy=True), allow_lossy=True) == "derived"


def test_the_commonest_reason_of_the_instances_is_that_of_the_series() -> None:
    kinds = (("ORIGINAL",), ("DERIVED",), LOCALIZER)
    assert reason(series(image_type=lambda i: kinds[0 if i < 20 else 1 + (i > 30)])) != "derived"
    assert reason(series(image_type=lambda i: kinds[1 if i < 30 else 0])) == "derived"
    assert reason(series(image_type=lambda i: kinds[2 if i < 30 else 1])) == "derived"
    assert reason(series(image_type=LOCALIZER)) == "localizer"


def test_a_frame_of_another_kind_is_left_out_where_that_leaves_no_gap() -> None:
    frames = [header.frames[0] for header in series()]
    other = ("DERIVED", "SECONDARY", "REFORMATTED")
    inside = [replace(f, image_type=other) if i == 20 else f for i, f in enumerate(frames)]
    assert reason(series([0], frames=tuple(inside))) == "mixed_geometry"
    at_the_end = [replace(f, image_type=other) if i == 39 else f for i, f in enumerate(frames)]
    assert reason(series([0], frames=tuple(at_the_end))) == ""


def test_a_few_slices_of_another_kind_are_left_out() -> None:
    types = last(4, 40, ("DERIVED", "SECONDARY"), ("ORIGINAL", "PRIMARY"))
    assert reason(series(image_type=types)) == ""


def test_a_kept_slice_that_is_secondary_condemns_the_series() -> None:
    """Geometry tells kinds apart by value 1; value 2 is looked at among the slices it kept."""
    types = only(20, ("ORIGINAL", "SECONDARY"), ("ORIGINAL", "PRIMARY"))
    assert reason(series(image_type=types)) == "secondary"


# Products that are no plain CT


@pytest.mark.parametrize(
    "term",
    [
        "VMI",
        "vmi",
        "MONO_E 70 KEV",
        "GSI MONO",
        "VIRTUAL MONO",
        "VNC",
        "DET_A VNC",
        "IODINE",
        "CM_IODINE_MAP",
        "MAT_SPECIFIC",
        "MAT_FRACTIONAL",
        "EFF_ATOMIC_NUM",
        "ELECTRON_DENSITY",
        "MATERIAL",
        "ZEFF",
        "Z_EFF",
    ],
)
def test_a_multi_energy_product_is_spectral(term: str) -> None:
    assert reason(series(image_type=("ORIGINAL", "PRIMARY", "AXIAL", term))) == "spectral"
    assert reason(series(image_type=("ORIGINAL", "PRIMARY", term))) == "spectral"


@pytest.mark.parametrize(
    "term", ["MONOCHROME2", "CT_SOM5 SPI", "NONE", "VMI2", "FORMAT_X", "MATRIX", "THE_VMI"]
)
def test_other_terms_are_not_spectral(term: str) -> None:
    assert reason(series(image_type=("ORIGINAL", "PRIMARY", "AXIAL", term))) == ""


def test_spectral_terms_are_sought_from_the_third_value_on() -> None:
    assert reason(series(image_type=("ORIGINAL", "VNC", "AXIAL"))) == ""
    assert reason(series(image_type=("ORIGINAL", "VNC"))) == ""


def test_a_multi_energy_acquisition_is_spectral() -> None:
    assert reason(series(multienergy=only(39, True, False))) == "spectral"


def test_a_frame_can_be_spectral() -> None:
    frames = [header.frames[0] for header in series()]
    frames[20] = replace(frames[20], image_type=("ORIGINAL", "PRIMARY", "VOLUME", "VMI"))
    assert reason(series([0], frames=tuple(frames))) == "spectral"


def test_contrast_matters_only_where_none_is_wanted() -> None:
    agent = series(contrast_agent=only(39, True, False))
    assert reason(agent, contrast="none") == "contrast"
    assert reason(agent, contrast="any") == ""
    assert reason(series(), contrast="none") == ""


def test_a_description_can_be_excluded() -> None:
    described = series(series_description="Chest LUNG sharp")
    assert reason(described, exclude_description_regex=("bone", "LUNG")) == "description_excluded"
    assert reason(described, exclude_description_regex=("^LUNG",)) == ""


def test_a_body_part_is_excluded_whole_and_whatever_its_case() -> None:
    abdomen = series(body_part="Abdomen ")
    assert reason(abdomen, body_part_exclude=("HEAD", "abdomen")) == "body_part_excluded"
    assert reason(abdomen, body_part_exclude=("ABDOMENPELVIS", "PELVIS")) == ""
    assert reason(series(body_part=""), body_part_exclude=("ABDOMEN",)) == ""


def test_spectral_is_told_before_contrast_and_contrast_before_the_description() -> None:
    both = series(multienergy=True, contrast_agent=True, series_description="x")
    strict = {"contrast": "none", "exclude_description_regex": ("x",)}
    assert reason(both, **strict) == "spectral"
    assert reason(series(contrast_agent=True, series_description="x"), **strict) == "contrast"


# Still arriving, geometry, field of view


def test_a_series_of_which_instances_are_still_expected_is_still_arriving() -> None:
    assert reason(series(), instances=41) == "still_arriving"
    assert reason(series(), instances=39) == "still_arriving"
    assert reason(series(), instances=40) == ""


def test_what_can_never_be_used_need_not_arrive() -> None:
    derived = series(image_type=("DERIVED", "PRIMARY"))
    assert reason(derived, instances=41) == "derived"
    assert reason(series(multienergy=True), instances=41) == "spectral"


def test_geometry_has_its_say_with_the_least_number_of_slices() -> None:
    assert reason(series(heights(30))) == "too_few_slices"
    assert reason(series(heights(31))) == ""
    assert reason(series(heights(31)), min_slices=32) == "too_few_slices"
    assert reason(series(slope=None)) == "no_rescale"


def test_the_assessment_is_kept_for_the_series_table() -> None:
    one = candidate(series(image_type=("DERIVED", "PRIMARY")))
    assert judge(one, SERIES, VOLUME) == "derived"
    assert one.assessment.measures.slices == 40


@pytest.mark.parametrize(("least", "expected"), [(None, ""), (358.4, ""), (358.5, "fov_too_small")])
def test_a_field_of_view_can_be_too_small(least: float | None, expected: str) -> None:
    assert reason(series(), min_fov_mm=least) == expected


# The winner


def of(count: int, uid: str, **changes: Any) -> Candidate:
    """A usable series of so many slices."""
    return candidate(series(heights(count), series_uid=uid, **changes), uid)


def test_the_series_with_the_most_positions_wins() -> None:
    bolus = candidate(series([*heights(35), *[0.0] * 30]), "bolus")
    uid, reasons = chosen(of(40, "short"), of(41, "long"), bolus)
    assert (uid, reasons) == ("long", ["fewer_slices", SELECTED, "fewer_slices"])


def test_nothing_usable_is_no_winner() -> None:
    assert chosen(of(30, "a"), candidate(None, "b", instances=9)) == (
        None,
        ["too_few_slices", "too_few_slices"],
    )
    assert choose_series([], SERIES, VOLUME) is None


def test_a_preferred_kernel_breaks_a_tie() -> None:
    soft, sharp = of(40, "a", kernel="B30f"), of(40, "b", kernel="B70f")
    assert chosen(soft, sharp) == ("a", [SELECTED, "tie_lost"])
    assert chosen(soft, sharp, prefer_kernels=("^B70",)) == ("b", ["tie_lost", SELECTED])
    assert chosen(soft, sharp, prefer_kernels=("0f", "^B70")) == ("a", [SELECTED, "tie_lost"])
    third = of(40, "c", kernel="Q")
    uid, _ = chosen(soft, sharp, third, prefer_kernels=("^B70", "^B30"))
    assert uid == "b"


def test_slices_count_before_kernels() -> None:
    assert chosen(
        of(41, "a", kernel="B30f"), of(40, "b", kernel="B70f"), prefer_kernels=("B70",)
    ) == ("a", [SELECTED, "fewer_slices"])


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("slice_thickness", 1.0, 2.0),
        ("slice_thickness", 2.0, None),
        ("slice_thickness", 0.0, 1.0),
        ("series_number", 2, 10),
        ("series_number", 900, None),
        ("series_number", 0, 1),
    ],
)
def test_a_tie_is_broken_by_the_smaller_value_and_missing_is_last(
    name: str, first: object, second: object
) -> None:
    other = of(40, "a", **{name: second})
    better = of(40, "b", **{name: first})
    assert chosen(other, better) == ("b", ["tie_lost", SELECTED])


def test_ties_are_broken_in_the_order_of_the_settings() -> None:
    thin = of(40, "b", slice_thickness=1.0, series_number=9)
    early = of(40, "a", slice_thickness=2.0, series_number=1)
    assert chosen(thin, early)[0] == "b"
    assert chosen(thin, early, tie_break=("series_number", "slice_thickness"))[0] == "a"
    assert chosen(thin, early, tie_break=("series_uid",))[0] == "a"


def test_the_last_tie_break_is_always_the_uid() -> None:
    assert chosen(of(40, "1.10"), of(40, "1.2"), tie_break=())[0] == "1.10"


# What a series says of itself


def test_the_facts_of_a_series_are_the_commonest_of_its_kept_slices() -> None:
    """The smallest UID has no more say than others; and a stray that geometry drops has none."""
    odd = series(
        [*heights(), 5.0],
        sop_instance_uid=lambda i: f"1.{i + 1 if i < 40 else 0}",
        kernel=only(40, "B70f", "B30f"),
        slice_thickness=only(40, 0.5, 2.0),
        orientation=only(40, (1.0, 0.0, 0.0, 0.0, 0.0, -1.0), AXIAL),
        image_type=only(40, ("DERIVED", "SECONDARY", "REFORMATTED"), ("ORIGINAL", "PRIMARY")),
        contrast_agent=only(40, True, False),
        multienergy=only(40, True, False),
        series_description=only(40, "MPR coronal", "Chest"),
    )
    one = candidate(odd[::-1], "b")
    strict = replace(SERIES, contrast="none", exclude_description_regex=("MPR",))
    assert judge(one, strict, VOLUME) == ""
    assert one.facts is not None
    assert (one.facts.kernel, one.facts.slice_thickness) == ("B30f", 2.0)
    assert one.facts.image_type == ("ORIGINAL", "PRIMARY")
    assert varying(one.kept) == []
    assert len(varying(odd)) == 5


def test_one_stray_does_not_decide_which_series_is_thinner() -> None:
    thin = series(
        [*heights(), 5.0],
        series_uid="thin",
        sop_instance_uid=lambda i: f"2.{i + 1 if i < 40 else 0}",
        slice_thickness=only(40, 5.0, 1.0),
        orientation=only(40, (1.0, 0.0, 0.0, 0.0, 0.0, -1.0), AXIAL),
    )
    assert chosen(candidate(thin, "thin"), of(40, "a"))[0] == "thin"


def test_a_fact_that_differs_among_kept_slices_is_named() -> None:
    one = candidate(series(kernel=lambda i: "B70f" if i < 15 else "B30f"))
    assert judge(one, SERIES, VOLUME) == ""
    assert one.facts is not None
    assert one.facts.kernel == "B30f"
    assert varying(one.kept) == ["kernel"]
    even = candidate(series(kernel=lambda i: "B70f" if i < 20 else "B30f"))
    assert even.facts is not None
    assert even.facts.kernel == "B70f"  # that of the smallest UID


def test_without_headers_there_are_no_facts() -> None:
    assert candidate(None).facts is None
    assert candidate([]).facts is None


# Bits


@pytest.mark.parametrize(("allocated", "stored"), [(8, 8), (16, 8), (16, 11), (8, None), (None, 1)])
def test_too_few_bits_are_no_hounsfield_units(allocated: int | None, stored: int | None) -> None:
    assert reason(series(bits_allocated=allocated, bits_stored=stored)) == "too_few_bits"


@pytest.mark.parametrize(
    ("allocated", "stored"), [(16, 12), (16, 16), (16, None), (None, None), (32, 32)]
)
def test_enough_bits_are_and_so_is_what_the_archive_does_not_say(
    allocated: int | None, stored: int | None
) -> None:
    assert reason(series(bits_allocated=allocated, bits_stored=stored)) == ""


def test_what_is_too_large_to_be_a_scan_is_not_looked_at_any_further() -> None:
    assert reason(series(rows=4097, image_type=("DERIVED", "SECONDARY"))) == "too_large"


@pytest.mark.parametrize(
    ("slope", "intercept", "signed", "expected"),
    [
        (8.0, -1024.0, False, ""),
        (7.0, -1024.0, False, "too_few_bits"),
        (8.0, -1000.0, False, ""),
        (8.0, -999.0, False, "too_few_bits"),
        (8.0, -1040.0, False, ""),  # up to 1000
        (8.0, -1041.0, False, "too_few_bits"),
        (-8.0, 1030.0, False, ""),
        (8.0, 0.0, True, ""),
        (1.0, 0.0, True, "too_few_bits"),
        (None, -1024.0, False, "too_few_bits"),
    ],
)
def test_few_bits_can_be_admitted_where_they_span_the_body(
    slope: float | None, intercept: float, signed: bool, expected: str
) -> None:
    facts = {"bits_allocated": 8, "bits_stored": 8, "signed": signed}
    few = series(slope=slope, intercept=intercept, **facts)
    assert reason(few) == "too_few_bits"
    assert reason(few, allow_few_bits=True) == expected


# Lossy pixels


def test_lossy_pixels_count_whatever_the_image_type_says() -> None:
    assert reason(series(lossy=True)) == "derived_lossy"
    assert reason(series(lossy=only(20, True, False))) == "derived_lossy"
    assert reason(series(lossy=True), allow_lossy=True) == ""
    assert reason(series(lossy=True, image_type=()), kinds=("MISSING",)) == "derived_lossy"
    assert reason(series(lossy=True, image_type=LOCALIZER), allow_lossy=True) == "localizer"


# A multi-energy scanner's standard image


@pytest.mark.parametrize("word", ["HU", "hu", "Hounsfield Units"])
def test_a_standard_image_of_a_multi_energy_scanner_can_be_admitted(word: str) -> None:
    standard = series(multienergy=True, rescale_type=word)
    assert reason(standard) == "spectral"
    assert reason(standard, allow_multienergy=True) == ""


@pytest.mark.parametrize(
    "term", ["VMI", "MONO_E", "70 KEV", "IODINE", "SPECTRAL", "BIN1", "VMI_70"]
)
def test_a_multi_energy_product_is_never_a_standard_image(term: str) -> None:
    product = series(multienergy=True, image_type=("ORIGINAL", "PRIMARY", "AXIAL", term))
    assert reason(product, allow_multienergy=True) == "spectral"


def test_a_multi_energy_image_must_name_its_unit() -> None:
    assert reason(series(multienergy=True, rescale_type=""), allow_multienergy=True) == "spectral"


# While something arrives, nothing is chosen


def test_nothing_is_chosen_while_a_series_may_still_become_the_winner() -> None:
    arriving = candidate(series(heights(35)), "b", instances=60)
    assert chosen(of(40, "a"), arriving) == (None, ["fewer_slices", "still_arriving"])


def test_a_series_that_arrives_in_vain_holds_nothing_up() -> None:
    derived = candidate(series(image_type=("DERIVED", "PRIMARY")), "b", instances=60)
    assert chosen(of(40, "a"), derived) == ("a", [SELECTED, "derived"])


def test_whether_a_series_is_arriving_is_told_by_the_archives_count() -> None:
    assert candidate(series(), instances=41).arriving
    assert candidate(series(), instances=39).arriving
    assert not candidate(series(), instances=40).arriving
    assert not candidate(None, instances=40).arriving
