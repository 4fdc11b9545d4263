"""Lungs in real scans, as a person who looked at every slice judges them."""

import json

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from ctcohort.volume.lungs import Lungs

from .conftest import DATA, Hospital
from .test_hospital import ABDOMEN, CHEST, HEAD

SCANS = {
    # from the lower neck to the kidneys, both lungs whole
    CHEST: ("CHEST", ["chest"], []),
    # 27 mm of the upper abdomen with the bases of both lungs
    ABDOMEN: ("ABDOMEN", ["abdomen"], ["head", "feet"]),
    # from the crown to the palate: sinuses and mastoid cells
    HEAD: ("HEAD", ["head"], []),
}

LUNG = (
    "dcmqi_ct/data/segmentations/ct-3slice/01.dcm",  # the bases, and a stomach with gas
    "dcmqi_ct/data/segmentations/ct-3slice/02.dcm",
    "dcmqi_ct/data/segmentations/ct-3slice/03.dcm",
    "nysbu_multiseries_ge_toshiba/data-sample/A067967/axial/19001006-028.dcm",
    "nysbu_multiseries_ge_toshiba/data-sample/A067967/axial/19001231-270.dcm",
    "nysbu_multiseries_ge_toshiba/data-sample/A072894/axial/19001203-066.dcm",
    "nysbu_multiseries_ge_toshiba/data-sample/A072894/axial/19010103-40.dcm",  # pneumonia
    "siim_tcga_single_slices/ID_0044_AGE_0072_CONTRAST_1_CT.dcm",
    "siim_tcga_single_slices/ID_0046_AGE_0072_CONTRAST_1_CT.dcm",  # prone
    "siim_tcga_single_slices/ID_0052_AGE_0072_CONTRAST_0_CT.dcm",  # decubitus, part of the lungs
    "siim_tcga_single_slices/ID_0057_AGE_0049_CONTRAST_0_CT.dcm",
    "siim_tcga_single_slices/ID_0089_AGE_0071_CONTRAST_0_CT.dcm",  # upside down
    "ts_dicomparser/testImages/CT1_UNC.explicit_big_endian.dcm",
    "ts_nema_wg04/WG04/RLE/CT1_RLE",
)
NO_LUNG = (
    *(f"dcm_qa_ct/In/GE/{number:02}.dcm" for number in range(1, 29)),  # a head and its rest
    "pydicom_data_ct/explicit_VR-UN.dcm",  # abdomen with stool, prone on a mat
    "pydicom_testfiles_ct/CT_small.dcm",  # part of a spine
    "pydicom_testfiles_ct/J2K_pixelrep_mismatch.dcm",  # a head
    "siim_tcga_single_slices/ID_0051_AGE_0063_CONTRAST_0_CT.dcm",  # shoulders on a hollow table
    "ts_nema_wg04/WG04/RLE/CT2_RLE",  # a head
)
"""Every axial slice of which there is no more of the scan, once; of other codecs' copies one."""


@pytest.mark.parametrize("accession", SCANS)
def test_scans(accession: str, hospital: Hospital) -> None:
    record = json.loads((hospital.path / "processed" / f"{accession}.json").read_text())
    body_part, named, cut = SCANS[accession]
    assert (record["body_part"], record["regions"], record["lungs_cut"]) == (body_part, named, cut)
    assert ("no_lung" in record["flags"]) == (accession == HEAD)
    assert ("lungs_cut" in record["flags"]) == (accession == ABDOMEN)
    (row,) = (row for row in hospital.rows("manifest.csv") if row["accession"] == accession)
    assert (row["body_part"], row["regions"]) == (body_part, " ".join(named))
    assert (float(row["lung_ml"]), row["lungs_cut"]) == (record["lung_ml"], " ".join(cut))


def test_the_chest_s_lungs_have_the_volume_that_a_region_grower_finds(hospital: Hospital) -> None:
    """From a seed in each lung through everything below -500 HU, airways and vessels filled in."""
    record = json.loads((hospital.path / "processed" / f"{CHEST}.json").read_text())
    with np.load(hospital.path / "processed" / f"{CHEST}.npz") as scan:
        ct, mm = scan["ct"], scan["spacing"]
    half = len(ct) * 2 // 5
    lung = (ct[half] > -950) & (ct[half] < -800)
    seeds = []
    for left in (0, ct.shape[2] // 2):
        columns = slice(left, left + ct.shape[2] // 2)
        y, x = (int(np.median(each)) for each in np.nonzero(lung[60:-100, columns]))
        seeds.append((left + x, 60 + y, half))
    image = sitk.GetImageFromArray(ct)
    grown = sitk.ConnectedThreshold(sitk.Cast(image, sitk.sitkInt32), seeds, -1000, -500)
    filled = sitk.BinaryMorphologicalClosing(grown, [4, 4, 4])
    volume_ml = sitk.GetArrayViewFromImage(filled).sum() * np.prod(mm) / 1000
    assert record["lung_ml"] == pytest.approx(volume_ml, rel=0.08)  # hila are closed half


@pytest.mark.parametrize("path", [*LUNG, *NO_LUNG])
def test_slices(path: str) -> None:
    dataset = pydicom.dcmread(DATA / path)
    hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    lungs = Lungs(np.zeros(1), tuple(map(float, dataset.PixelSpacing)))
    lungs.add_slice(0, hu, None)
    assert bool(lungs.measures().cut) == (path in LUNG)
