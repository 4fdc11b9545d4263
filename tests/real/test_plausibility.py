"""`slice_implausible` on real scans: head, chest and abdomen, 1.5 to 7 mm apart."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from ctcohort.dicom.pixels import stored_values
from ctcohort.dicom.reading import open_file
from tests.damage.plausibility import detected, implausible

from .conftest import DATA

FOLDERS = (
    "lidc0001_ge_chest_dups",
    "dcm_qa_ct/In/GE",
    "kits00072_siemens_abd",
    "vtk_headsq_ct8800",
)
CHEST = FOLDERS[0]


def stack(folder: Path) -> np.ndarray:
    """The largest series of a folder in HU (z, y, x), ordered along its normal."""
    series: dict[tuple[str, int], dict[float, np.ndarray]] = defaultdict(dict)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as stream:
            file = open_file(stream)
            ds = file.dataset
            stream.seek(file.start or 0)
            values = stored_values(ds, memoryview(stream.read(file.length)))[0]
        axes = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        place = float(np.cross(*axes) @ np.array(ds.ImagePositionPatient, float))
        hu = values * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        series[ds.SeriesInstanceUID, ds.Rows][round(place, 2)] = hu.astype(np.int32)
    largest = max(series.values(), key=len)
    return np.stack([largest[place] for place in sorted(largest, reverse=True)])


@pytest.mark.parametrize("name", FOLDERS)
def test_no_false_alarm(name: str) -> None:
    assert implausible(stack(DATA / name)) == []


@pytest.mark.parametrize("every", [2, 3, 4])
def test_no_false_alarm_on_thicker_slices(every: int) -> None:
    assert implausible(stack(DATA / CHEST)[::every]) == []


def test_nine_of_ten_damaged_slices_are_found() -> None:
    shares = {name: detected(stack(DATA / name), 40 if name == CHEST else 100) for name in FOLDERS}
    assert shares[CHEST][0] >= 0.9
    assert min(judged for _, judged in shares.values()) >= 0.9
