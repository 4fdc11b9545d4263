"""Which series of an accession is chosen: one test for every branch, on headers alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ctcohort.base.reasons import SELECTED
from ctcohort.dicom.headers import CT_IMAGE, SECONDARY_CAPTURE, Header
from ctcohort.series.choice import Candidate, choose, has_images, judge

from .built import SERIES, VOLUME, heights, last, only, series

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
        winner = choose(order, replace(SERIES, **settings), VOLUME)
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
    assert reason(series(image_type=lambda i: kinds[2 if i < 30 else 1])) == "localizer"


def test_a_frame_of_another_kind_condemns_its_instance() -> None:
    frames = [header.frames[0] for header in series()]
    frames[20] = replace(frames[20], image_type=("DERIVED", "SECONDARY", "REFORMATTED"))
    assert reason(series([0], frames=tuple(frames))) == "derived"


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
    assert one.verdict.measures.slices == 40


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
    assert choose([], SERIES, VOLUME) is None


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


def test_the_facts_of_a_series_are_those_of_its_smallest_uid() -> None:
    mixed = series(kernel=only(0, "B70f", "B30f"), series_uid="b")
    turned = candidate(mixed[::-1], "b")
    assert turned.first is not None and turned.first.kernel == "B70f"
    assert chosen(of(40, "a"), turned, prefer_kernels=("B70",))[0] == "b"
    assert candidate(None).first is None
    assert candidate([]).first is None


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
