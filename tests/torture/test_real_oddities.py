"""Real odd series: the verdict that a person who looks at their headers would give.

`min_slices` is 2, so that cuts of a few slices are judged by their geometry. The table says what
the person saw. Source and licence of each folder are in the README of the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from ctcohort.archives.folder import FolderArchive
from ctcohort.archives.protocol import FoundSeries
from ctcohort.base.reasons import SELECTED
from ctcohort.series.choice import Candidate, choose_series

from .flow import Judged, series_rules, volume_of, volume_rules

DATA = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"{DATA} (the development set of real CT) is not there"
)


@dataclass(frozen=True)
class Odd:
    """The one series below a folder (or of one file), and what a person says of it."""

    path: str
    verdict: str
    seen: str
    measures: Mapping[str, Any] = field(default_factory=dict)
    volume: Mapping[str, Any] = field(default_factory=dict)
    series: Mapping[str, Any] = field(default_factory=dict)
    flags: frozenset[str] | None = None


POSITIONS = {"irregular_spacing": "positions"}
TILT_AND_STEP = {"tilt_degrees": 18.5, "slices": 28, "gap_mm": 7.38, "missing_slices": 0}
REFORMAT = "a coronal, sagittal or axial reformat, and ImageType says so"
ONE = "one slice"

ODD = [
    Odd(
        "dcm_qa_ct/In/GE",
        "too_irregular",
        "a head, gantry tilted 18.5 degrees; 13 steps of 4.22 mm, one of 1.14, 13 of 7.38",
        TILT_AND_STEP,
    ),
    Odd(
        "dcm_qa_ct/In/GE",
        SELECTED,
        "the same, where slices may stay where they are",
        {**TILT_AND_STEP, "z_error_mm": 0.0},
        POSITIONS,
        flags=frozenset({"tilt_corrected", "spacing_irregular"}),
    ),
    Odd(
        "dcm_qa_ct/In/GE", "tilted", "the same, tilt not wanted", volume={"gantry_tilt": "exclude"}
    ),
    Odd(
        "dicom2nifti_failing/failing/gantrytilting",
        SELECTED,
        "four slices 5 mm apart along the table, tilted 14 degrees by IOP, no tilt tag",
        {"tilt_degrees": 14.0, "slice_spacing": 5.0, "slices": 4},
    ),
    Odd(
        "dicom2nifti_failing/failing/sliceincrement",
        "secondary",
        "ORIGINAL\\SECONDARY; steps 5, 10 and 5 mm: a slice is missing",
        {"slices": 4, "missing_slices": 1, "gap_mm": 10.0, "z_error_mm": 5.0},
    ),
    Odd(
        "rtutils_ct/oriented_data/1.dcm",
        "secondary",
        "DERIVED\\SECONDARY, oblique by 28 degrees, pixels of 3.5 x 2.5 mm, one slice per series",
        {"row_spacing": 3.5, "column_spacing": 2.5, "slices": 1},
    ),
    Odd("rtutils_ct/one_slice_data", "secondary", "DERIVED\\SECONDARY", {"slices": 1}),
    Odd("pydicom_testfiles_ct/CT_small.dcm", "too_few_slices", ONE, {"slices": 1}),
    Odd(
        "pydicom_testfiles_ct/J2K_pixelrep_mismatch.dcm",
        "too_few_slices",
        "one slice, tilted 22 degrees",
        {"slices": 1},
    ),
    Odd("pydicom_testfiles_ct/dicomdirtests/98892001/CT2N", "localizer", "two scouts"),
    Odd(
        "pydicom_testfiles_ct/dicomdirtests/98892001/CT5N",
        SELECTED,
        "five axial slices of two acquisitions, 2.5 mm apart all the way",
        {"slices": 5, "slice_spacing": 2.5, "spacing_regular": True, "missing_slices": 0},
    ),
    Odd("pydicom_data_ct/eCT_Supplemental.dcm", "derived", "a perfusion map, two frames"),
    Odd(
        "pydicom_data_ct/explicit_VR-UN.dcm",
        "too_few_slices",
        "one slice, columns towards anterior",
        {"slices": 1},
    ),
    Odd(
        "dcmqi_ct/data/segmentations/24x38x3/image",
        "not_hounsfield",
        "three slices 2.5 mm apart, RescaleType US",
        {"slices": 3, "slice_spacing": 2.5, "rows": 38, "columns": 24},
    ),
    Odd(
        "dcmqi_ct/data/segmentations/24x38x3/multiframe",
        "not_hounsfield",
        "the same as one legacy converted instance of three frames",
        {"slices": 3, "slice_spacing": 2.5, "rows": 38, "columns": 24},
    ),
    Odd(
        "dcmqi_ct/data/segmentations/ct-3slice",
        SELECTED,
        "three GE chest slices, 1 mm apart",
        {"slices": 3, "slice_spacing": 1.0, "tilt_degrees": 0.0},
        flags=frozenset({"odd_scan_length"}),
    ),
    Odd(
        "lidc0001_ge_chest_dups",
        SELECTED,
        "a whole chest of 133 slices, two of them also filed in another folder",
        {"slices": 133, "duplicate_positions": 2, "slice_spacing": 2.5, "scan_length_mm": 332.5},
    ),
    Odd(
        "kits00072_siemens_abd",
        SELECTED,
        "12 neighbouring slices 2.5 mm apart, feet first",
        {"slices": 12, "slice_spacing": 2.5},
    ),
    Odd(
        "nysbu_multiseries_ge_toshiba/data-sample/A067967/axial/19001006-028.dcm",
        "too_few_slices",
        ONE,
    ),
    Odd(
        "nysbu_multiseries_ge_toshiba/data-sample/A067967/coronal/19001006-064.dcm",
        "derived",
        REFORMAT,
    ),
    Odd(
        "nysbu_multiseries_ge_toshiba/data-sample/A067967/sagittal/19001231-076.dcm",
        "derived",
        REFORMAT,
    ),
    Odd(
        "nysbu_multiseries_ge_toshiba/data-sample/A072894/axial/19001203-066.dcm",
        "derived",
        REFORMAT,
    ),
    Odd("tcga_d1a0zp_topogram_ffp", "localizer", "a scout of a patient feet first, prone"),
    Odd("siim_tcga_single_slices/ID_0052_AGE_0072_CONTRAST_0_CT.dcm", "too_few_slices", ONE),
    Odd("ts_nema_wg04/WG04/RLE/CT1_RLE", "secondary", "DERIVED\\SECONDARY\\AXIAL"),
    Odd(
        "vtk_headsq_ct8800",
        "unreadable_header",
        "93 slices of a head, ImageType empty",
        {"slices": 93},
    ),
    Odd(
        "vtk_headsq_ct8800",
        "not_hounsfield",
        "the same, ImageType not asked for: RescaleType US",
        {"slices": 93, "slice_spacing": 1.5},
        series={"kinds": ["ORIGINAL", "MISSING"]},
    ),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: f"{odd.path}-{odd.verdict}")
def test_verdict(odd: Odd, tmp_path: Path) -> None:
    rules = volume_rules(**odd.volume)
    choice = _judged(odd, tmp_path, series_rules(min_slices=2, **odd.series), rules)
    (candidate,) = choice.candidates
    assert candidate.reason == odd.verdict
    for measure, truth in odd.measures.items():
        value = getattr(candidate.assessment.measures, measure)
        assert value == pytest.approx(truth, abs=0.01), measure
    if odd.flags is not None:
        volume, record = volume_of(choice, tmp_path, rules)
        assert odd.flags <= set(record.flags)
        assert volume.direction[2, 0] < -0.98
        assert volume.direction[1, 1] > 0.98
        assert volume.direction[0, 2] > 0.98


def _judged(odd: Odd, folder: Path, series: Any, volume: Any) -> Judged:
    """The choice among the series below a path: the folder archive reads it in place."""
    path = DATA / odd.path
    archive = FolderArchive(
        path if path.is_dir() else path.parent, link=False, store=folder / "index", key=b"torture"
    )
    archive.prepare(threads=1)
    found = {}
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            dataset = dcmread(file, stop_before_pixels=True)
            uids = str(dataset.SeriesInstanceUID), str(dataset.StudyInstanceUID)
            found[uids] = FoundSeries(*uids, "", dataset.Modality, 0, None)
    candidates = []
    for one in found.values():
        headers = archive.headers(one)
        candidates.append(Candidate(one.series_uid, one.study_uid, len(headers), headers))
    return Judged(archive, candidates, choose_series(candidates, series, volume))
