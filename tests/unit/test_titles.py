"""What a data set is called, and which regions of the body a header names."""

from __future__ import annotations

import pytest

from ctcohort.dataset.title import lungs, title
from ctcohort.dicom.regions import regions

WHOLE = {"flags": "small_fov", "lung_ml": "4200.0"}
CUT = {"flags": "lungs_cut odd_scan_length", "lung_ml": "640.0"}
NONE = {"flags": "no_lung", "lung_ml": "0.0"}
OLD = {"flags": "", "lung_ml": ""}


def test_lungs_are_counted() -> None:
    counts = lungs([WHOLE, WHOLE, CUT, NONE, OLD, {"flags": ""}])
    assert counts == {"whole": 2, "cut": 1, "none": 1, "unknown": 2}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([WHOLE] * 9 + [CUT], "Chest CT volumes"),
        ([WHOLE] * 8 + [CUT] * 2, "CT volumes"),
        ([CUT] * 10, "CT volumes"),  # an abdomen under a chest's protocol
        ([NONE] * 10, "CT volumes"),
        ([OLD] * 10, "CT volumes"),  # nobody has measured
        ([], "CT volumes"),
    ],
)
def test_only_what_holds_whole_lungs_is_called_a_chest(
    rows: list[dict[str, str]], expected: str
) -> None:
    assert title(lungs(rows)) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("CHEST", "Thorax 1.0 B30f"), ["chest"]),
        (("CHESTABDPELVIS", ""), ["chest", "pelvis"]),
        (("CHEST_TO_PELVIS", ""), ["chest", "pelvis"]),
        (("ABDOMENPELVIS", "Becken"), ["abdomen", "pelvis"]),
        (("", "TÓRAX s/c"), ["chest"]),
        (("", "Schädel nativ"), ["head"]),
        (("", "Smith 2.5 STD"), []),
        ((), []),
    ],
)
def test_regions_are_named_and_nothing_else_is(texts: tuple[str, ...], expected: list[str]) -> None:
    assert regions(*texts) == expected
