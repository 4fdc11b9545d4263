"""Real files in many transfer syntaxes decode to the pixels of their uncompressed twin."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from ctcohort.base.faults import Fault
from ctcohort.dicom.pixels import stored_values

from .conftest import DATA

CHEST = DATA / "ts_cornerstone_wadoloader" / "testImages"
CHEST_TWIN = "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm"
LOSSLESS = (
    "BigEndian",
    "Deflated",
    "Implicit",
    "RLE",
    "JPEGLSLossless",
    "Process14",
    "2000Lossless",
)
NEAR = {"JPEG2000Transfer": 10, "JPEGLSLossy": 10, "JPEGProcess2_4": 40, "JPEGProcess1Transfer": 70}
"""Lossy copies, and how far HU may be off; those of 8 and 12 bits have a rescale of their own."""
NO_DECODER = ("JPEGProcess10_12", "JPEGProcess6_8")


def files(*parts: str) -> list[Path]:
    found = sorted(CHEST.glob("*.dcm")) if CHEST.is_dir() else []
    return [path for path in found if any(part in path.name for part in parts)]


def decoded(path: Path) -> np.ndarray:
    return stored_values(pydicom.dcmread(path))


def hounsfield(path: Path) -> np.ndarray:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    return decoded(path) * float(header.RescaleSlope) + float(header.RescaleIntercept)


def test_every_file_is_expected_to_do_something() -> None:
    known = files(*LOSSLESS, *NEAR, *NO_DECODER, CHEST_TWIN)
    assert set(known) == set(CHEST.glob("*.dcm"))


@pytest.mark.parametrize("path", files(*LOSSLESS), ids=lambda path: path.name)
def test_lossless_copies_are_equal(path: Path) -> None:
    assert np.array_equal(decoded(path), decoded(CHEST / CHEST_TWIN))


@pytest.mark.parametrize("part", NEAR)
def test_lossy_copies_are_near(part: str) -> None:
    (path,) = files(part)
    difference = hounsfield(path) - hounsfield(CHEST / CHEST_TWIN)
    assert 0 < np.abs(difference).max() <= NEAR[part]


@pytest.mark.parametrize("part", NO_DECODER)
def test_a_syntax_without_a_decoder_is_named(part: str) -> None:
    (path,) = files(part)
    with pytest.raises(Fault, match=r"JPEG .*1\.2\.840\.10008\.1\.2\.4\.5\d") as caught:
        decoded(path)
    assert caught.value.reason == "undecodable_pixels"


@pytest.mark.parametrize("kind", ["J2KR", "JLSL", "JPLL", "RLE"])
@pytest.mark.parametrize("number", ["CT1", "CT2"])
def test_the_standard_committees_samples_agree_with_each_other(kind: str, number: str) -> None:
    """CT1 and CT2 come losslessly compressed in four ways, without an uncompressed twin."""
    folder = DATA / "ts_nema_wg04" / "WG04"
    first, other = (decoded(next((folder / name).glob(f"{number}_*"))) for name in ("RLE", kind))
    assert np.array_equal(first, other)


def test_fragmented_and_big_endian_copies_agree() -> None:
    """CT1 again: explicit big endian, and JPEG-LS in fragments with an offset table."""
    folder = DATA / "ts_dicomparser" / "testImages"
    reference = decoded(next((DATA / "ts_nema_wg04" / "WG04" / "RLE").glob("CT1_*")))
    ct1 = [path for path in folder.rglob("CT1*") if path.is_file()]
    assert len(ct1) == 2
    for path in ct1:
        assert np.array_equal(decoded(path), reference)


def test_sign_mismatch_of_jpeg_2000_comes_out_right() -> None:
    """The header says signed, the codestream unsigned: air must not become a large number."""
    path = DATA / "pydicom_testfiles_ct" / "J2K_pixelrep_mismatch.dcm"
    values = decoded(path)
    assert (values.min(), values.max()) == (-2000, 1896)
