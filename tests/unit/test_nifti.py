"""NIfTI as nibabel and ITK read it: every voxel is where the npz says, RAS instead of LPS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ctcohort.base.faults import InputError
from ctcohort.phantoms.anatomy import Rigid
from ctcohort.volume import npz
from ctcohort.volume.nifti import export

UPRIGHT = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
SPACING = np.array([2.5, 0.7, 0.6])
ORIGIN = np.array([-123.456, 77.7, 1234.5])

DIRECTIONS = {
    "upright": UPRIGHT,
    "oblique": Rigid.about((1, 1, 0.3), 8).rotation @ UPRIGHT,
    "corrected tilt": Rigid.about((1, 0, 0), -17.5).rotation @ UPRIGHT,
    "half a turn": Rigid.about((0, 0, 1), 180).rotation @ UPRIGHT,
}


def sheared(direction: np.ndarray, drift: float) -> np.ndarray:
    """The line of slices a little off their normal, as where a slight tilt is not resampled."""
    along = direction[:, 0] + drift * direction[:, 1]
    return np.column_stack([along / np.linalg.norm(along), direction[:, 1:]])


DIRECTIONS["sheared by a hair"] = sheared(UPRIGHT, 0.0027)
DIRECTIONS["oblique and sheared"] = sheared(DIRECTIONS["oblique"], -0.0027)


def write_volume(path: Path, direction: np.ndarray, seed: int = 0) -> np.ndarray:
    ct = np.random.default_rng(seed).integers(-1000, 1001, (9, 11, 13)).astype(np.int16)
    arrays = {"ct": ct, "spacing": SPACING, "origin": ORIGIN, "direction": direction}
    npz.write(path, arrays)
    return ct


def places(shape: tuple[int, ...], direction: np.ndarray) -> np.ndarray:
    """LPS in mm of every voxel (z, y, x, 3), by the words of the README."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return ORIGIN + (SPACING * index) @ direction.T


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
@pytest.mark.parametrize("name", DIRECTIONS)
def test_nibabel_sees_every_voxel_where_the_npz_has_it(
    name: str, ending: str, tmp_path: Path
) -> None:
    direction = DIRECTIONS[name]
    ct = write_volume(tmp_path / "A1.npz", direction)
    export(tmp_path / "A1.npz", tmp_path / f"A1{ending}")
    image = nibabel.load(tmp_path / f"A1{ending}")
    assert image.get_data_dtype() == np.int16
    assert np.array_equal(np.asanyarray(image.dataobj), ct.transpose(2, 1, 0))
    assert np.array_equal(image.get_fdata(), ct.transpose(2, 1, 0))
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1)
    world = nibabel.affines.apply_affine(image.affine, index).transpose(2, 1, 0, 3)
    expected = places(ct.shape, direction) * [-1, -1, 1]
    assert np.abs(world - expected).max() < 2e-4  # float32 in the header
    assert image.header.get_xyzt_units()[0] == "mm"
    quaternion = nibabel.affines.apply_affine(image.get_qform(), index).transpose(2, 1, 0, 3)
    limit = 0.05 if "sheared" in name else 5e-4
    assert np.abs(quaternion - expected).max() < limit


@pytest.mark.parametrize("name", DIRECTIONS)
def test_itk_and_so_itk_snap_see_the_same(name: str, tmp_path: Path) -> None:
    direction = DIRECTIONS[name]
    ct = write_volume(tmp_path / "A1.npz", direction)
    export(tmp_path / "A1.npz", tmp_path / "A1.nii.gz")
    image = sitk.ReadImage(tmp_path / "A1.nii.gz")
    assert np.array_equal(sitk.GetArrayFromImage(image), ct)
    expected = places(ct.shape, direction)
    limit = 0.05 if "sheared" in name else 5e-4
    for z, y, x in [(0, 0, 0), (8, 10, 12), (8, 0, 12), (3, 7, 5)]:
        place = image.TransformIndexToPhysicalPoint((x, y, z))
        assert np.abs(np.array(place) - expected[z, y, x]).max() < limit


def test_the_axes_are_named_as_they_run(tmp_path: Path) -> None:
    write_volume(tmp_path / "A1.npz", UPRIGHT)
    export(tmp_path / "A1.npz", tmp_path / "A1.nii.gz")
    assert nibabel.aff2axcodes(nibabel.load(tmp_path / "A1.nii.gz").affine) == ("L", "P", "I")


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    write_volume(tmp_path / "A1.npz", UPRIGHT)
    for name in ("one.nii.gz", "two.nii.gz"):
        export(tmp_path / "A1.npz", tmp_path / name)
    one, two = (tmp_path / name for name in ("one.nii.gz", "two.nii.gz"))
    assert one.read_bytes() == two.read_bytes()
    assert b"A1" not in one.read_bytes()[:64]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "A1.npz",
        "one.nii.gz",
        "two.nii.gz",
    ]


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "A1.npz", ct=np.zeros(3))
    with pytest.raises(InputError, match=r"A1.npz: expected an npz with ct, direction, origin"):
        export(tmp_path / "A1.npz", tmp_path / "A1.nii.gz")
    (tmp_path / "A2.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match=r"A2.npz: expected an npz"):
        export(tmp_path / "A2.npz", tmp_path / "A2.nii.gz")


def test_the_command_says_what_is_wrong(tmp_path: Path, repository: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, repository / "scripts" / "export_nifti.py", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        return done.returncode, done.stderr

    write_volume(tmp_path / "trn00001.npz", UPRIGHT)
    assert run("trn00001.npz", "trn00001.nii.gz")[0] == 0
    assert run("trn00001.npz", "trn00001.nrrd") == (
        1,
        "error: trn00001.nrrd: expected a name that ends in .nii.gz or .nii\n",
    )
    assert "trn00002.npz is not there" in run("trn00002.npz", "x.nii")[1]
