"""Real scans through the whole workflow, against SimpleITK's own reading and resampling."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from .conftest import DATA, Hospital

CHEST = "lidc0001_ge_chest_dups-1"
HEAD = "dcm_qa_ct-1"
ABDOMEN = "siemens_abd-1"


def reasons(hospital: Hospital, accession: str) -> dict[str, str]:
    return {
        row["series_description"] or row["image_type"]: row["reason"]
        for row in hospital.rows("series.csv")
        if row["accession"].startswith(accession)
    }


def test_exactly_the_scans_that_make_a_volume_are_included(hospital: Hospital) -> None:
    included = {
        row["accession"] for row in hospital.rows("manifest.csv") if row["status"] == "included"
    }
    assert included == {CHEST, HEAD, ABDOMEN}


def test_scouts_and_reslices_lose_with_the_right_reason(hospital: Hospital) -> None:
    assert reasons(hospital, "nysbu") == {
        "CHEST SAG": "derived",
        "CHEST COR": "derived",
        "CHEST AX": "derived",
        "CHEST SAGITTAL": "derived",
        "CHEST CORONAL": "derived",
        "Body 3.000 CE": "derived",
        "5 MM STANDARD": "too_few_slices",
        "Body 3.0": "too_few_slices",
        "Body 1.0 CE": "too_few_slices",
    }
    assert set(reasons(hospital, "tcga_d1a0zp").values()) == {"localizer"}
    assert reasons(hospital, "pydicom_testfiles_ct-3")["Scout"] == "localizer"


def test_raw_units_and_lossy_copies_are_refused(hospital: Hospital) -> None:
    assert set(reasons(hospital, "vtk_headsq").values()) == {"not_hounsfield"}
    assert set(reasons(hospital, "ts_cornerstone").values()) == {"derived_lossy"}


def test_identical_duplicate_files_are_dropped_and_recorded(hospital: Hospital) -> None:
    received = json.loads((hospital.path / "received" / f"{CHEST}.json").read_text())
    assert received["duplicate_files"] == 2
    assert len(received["instances"]) == 133
    (row,) = (r for r in hospital.rows("manifest.csv") if r["accession"] == CHEST)
    assert (row["orig_numslices"], row["dropped_slices"]) == ("133", "2")


def test_the_tilted_irregular_head_is_recorded_as_what_it_is(hospital: Hospital) -> None:
    (row,) = (r for r in hospital.rows("manifest.csv") if r["accession"] == HEAD)
    assert float(row["tilt_degrees"]) == pytest.approx(18.5, abs=0.01)
    assert {"tilt_corrected", "spacing_irregular"} <= set(row["flags"].split())
    assert float(row["z_error_mm"]) > 40


@pytest.mark.parametrize("accession", [CHEST, ABDOMEN])
def test_volume_equals_simpleitk_within_1_hu(hospital: Hospital, accession: str) -> None:
    """SimpleITK reads the slices, orders them and interpolates at the places we say we have."""
    arrays = np.load(hospital.path / "processed" / f"{accession}.npz")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(hospital.path / "raw" / accession))
    source = sitk.Clamp(sitk.ReadImage(names), sitk.sitkFloat32, -1000, 1000)
    inside = _inside(arrays, source)
    expected = _resampled(source, arrays)
    assert inside.mean() > 0.9
    assert np.abs(expected - arrays["ct"])[inside].max() <= 1


def test_tilted_volume_equals_simpleitk_within_1_hu(hospital: Hospital) -> None:
    """The head's slices stacked by SimpleITK, sheared by their own positions."""
    arrays = np.load(hospital.path / "processed" / f"{HEAD}.npz")
    record = json.loads((hospital.path / "processed" / f"{HEAD}.json").read_text())
    slices = [sitk.ReadImage(str(p)) for p in (hospital.path / "raw" / HEAD).glob("*.dcm")]
    slices.sort(key=lambda image: -image.GetOrigin()[2])
    first, last = (np.array(image.GetOrigin()) for image in (slices[0], slices[-1]))
    direction = np.array(slices[0].GetDirection()).reshape(3, 3)
    step = record["source"]["slice_spacing"] * (last - first) / np.linalg.norm(last - first)
    index_to_lps = np.column_stack([direction[:, :2] * slices[0].GetSpacing()[:2], step])
    stack = sitk.JoinSeries([image[:, :, 0] for image in slices])
    stack = sitk.Clamp(stack, sitk.sitkFloat32, -1000, 1000)
    for setter, value in ((stack.SetOrigin, (0, 0, 0)), (stack.SetSpacing, (1, 1, 1))):
        setter(value)
    stack.SetDirection(np.eye(3).ravel())
    to_index = sitk.AffineTransform(3)
    to_index.SetMatrix(np.linalg.inv(index_to_lps).ravel())
    to_index.SetTranslation(-np.linalg.inv(index_to_lps) @ first)
    expected = _resampled(stack, arrays, to_index)
    ct = arrays["ct"]
    assert np.abs(expected - ct).max() <= 1
    assert (ct > -500).mean() > 0.1


def test_pictures_are_drawn(hospital: Hospital) -> None:
    for accession in (CHEST, HEAD, ABDOMEN):
        assert (hospital.path / "qc" / f"{accession}.png").stat().st_size > 50_000


def test_a_second_run_has_nothing_to_do_and_the_archive_is_untouched(hospital: Hospital) -> None:
    before = {path: path.stat().st_mtime_ns for path in DATA.rglob("*")}
    assert "Nothing to be done" in hospital.run("all")
    assert {path: path.stat().st_mtime_ns for path in DATA.rglob("*")} == before
    raw = next((hospital.path / "raw" / CHEST).glob("*.dcm"))
    assert raw.read_bytes() in {
        path.read_bytes()
        for path in (DATA / "lidc0001_ge_chest_dups").rglob("*.dcm")
        if path.stat().st_size == raw.stat().st_size
    }


def _grid(arrays: dict[str, NDArray[np.generic]]) -> sitk.Image:
    """An empty image on our volume's grid, made from what the npz says of itself."""
    grid = sitk.Image(*map(int, arrays["ct"].shape[::-1]), sitk.sitkFloat32)
    grid.SetSpacing(arrays["spacing"][::-1].tolist())
    grid.SetOrigin(arrays["origin"].tolist())
    grid.SetDirection(arrays["direction"][:, ::-1].ravel().tolist())
    return grid


def _resampled(
    source: sitk.Image,
    arrays: dict[str, NDArray[np.generic]],
    transform: sitk.Transform | None = None,
) -> NDArray[np.float32]:
    image = sitk.Resample(
        source, _grid(arrays), transform or sitk.Transform(), sitk.sitkBSpline, -1000.0
    )
    return np.rint(np.clip(sitk.GetArrayFromImage(image), -1000, 1000))


def _inside(arrays: dict[str, NDArray[np.generic]], source: sitk.Image) -> NDArray[np.bool_]:
    """Voxels of ours that lie between the first and the last source voxel centre on every axis."""
    grid = _grid(arrays)
    lines = []
    for axis, size in enumerate(grid.GetSize()):
        index = [0, 0, 0]
        places = []
        for index[axis] in range(size):
            point = grid.TransformIndexToPhysicalPoint(index)
            places.append(source.TransformPhysicalPointToContinuousIndex(point))
        moving = int(np.argmax(np.ptp(places, axis=0)))
        along = np.array(places)[:, moving]
        lines.append((along > -1e-4) & (along < source.GetSize()[moving] - 1 + 1e-4))
    x, y, z = lines
    return z[:, None, None] & y[:, None] & x


def test_data_folder_is_where_it_is_looked_for() -> None:
    assert (Path(DATA) / "SHA256SUMS").exists()


def test_the_guard_raises_no_alarm(hospital: Hospital) -> None:
    hospital.run("all", "pictures", "scrolls", "report.html")
    hospital.run("guard")
    assert "nothing else was found" in (hospital.path / "logs" / "guard.log").read_text()
