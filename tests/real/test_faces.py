"""Whose face may be visible in real scans, and where NIfTI puts their voxels."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from ctcohort.volume.faces import face_possible
from ctcohort.volume.nifti import export

from .conftest import DATA, Hospital
from .test_hospital import ABDOMEN, CHEST, HEAD

SLAB_MM = 20.0


def volume(hospital: Hospital, accession: str) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    with np.load(hospital.path / "processed" / f"{accession}.npz") as arrays:
        return arrays["ct"], arrays["spacing"]


def test_the_record_says_so_of_the_head_alone(hospital: Hospital) -> None:
    said = {
        accession: json.loads((hospital.path / "processed" / f"{accession}.json").read_text())
        for accession in (HEAD, CHEST, ABDOMEN)
    }
    assert {name: record["face_possible"] for name, record in said.items()} == {
        HEAD: True,
        CHEST: False,
        ABDOMEN: False,
    }
    assert not any(record["burned_in_annotation"] for record in said.values())


def test_a_slab_of_any_part_of_a_head_above_a_chest_is_enough(hospital: Hospital) -> None:
    """As if the scan had begun there; from the crown to where the head's scan ends."""
    (head, mm), (chest, same) = volume(hospital, HEAD), volume(hospital, CHEST)
    assert np.array_equal(mm, same)
    body_mm2 = (head > -300).sum(axis=(1, 2)) * mm[1] * mm[2]
    thick = round(SLAB_MM / mm[0])
    tops = [z for z in range(0, len(head) - thick, 10) if body_mm2[z : z + thick].min() > 7000]
    assert len(tops) > 20
    for z in tops:
        slab = np.full((thick, *chest.shape[1:]), -1000, np.int16)
        y, x = ((slab.shape[axis] - head.shape[axis]) // 2 for axis in (1, 2))
        slab[:, y : y + head.shape[1], x : x + head.shape[2]] = head[z : z + thick]
        assert face_possible(np.concatenate([slab, chest]), mm), z * mm[0]


def test_another_head_on_another_scanner(hospital: Hospital) -> None:  # noqa: ARG001
    """Its stored values have no rescale, so that the workflow refuses it; water lies near 1000."""
    slices = []
    for path in sorted((DATA / "vtk_headsq_ct8800").rglob("*")):
        if path.is_file() and path.stat().st_size > 8192:
            dataset = pydicom.dcmread(path, force=True)
            slices.append((float(dataset.ImagePositionPatient[2]), dataset))
    slices.sort(key=lambda placed: -placed[0])
    stored = np.stack([dataset.pixel_array for _, dataset in slices]).astype(np.int16)
    mm = np.array([slices[0][0] - slices[1][0], *map(float, slices[0][1].PixelSpacing)])
    ct = np.clip(stored - 1000, -1000, 1000).astype(np.int16)
    for part in (ct, ct[::-1], ct[: len(ct) // 2], ct[len(ct) // 2 :]):
        assert face_possible(part, mm)


@pytest.mark.parametrize("accession", [CHEST, HEAD, ABDOMEN])
def test_nibabel_puts_every_voxel_where_the_npz_has_it(
    accession: str, hospital: Hospital, tmp_path: Path
) -> None:
    path = hospital.path / "processed" / f"{accession}.npz"
    export(path, tmp_path / "scan.nii.gz")
    image = nibabel.load(tmp_path / "scan.nii.gz")
    with np.load(path) as scan:
        ct, mm, origin, direction = (scan[key] for key in scan.files)
    assert np.array_equal(np.asanyarray(image.dataobj), ct.transpose(2, 1, 0))
    ends = np.stack(np.meshgrid(*[[0, n // 2, n - 1] for n in ct.shape], indexing="ij"), axis=-1)
    lps = origin + (mm * ends) @ direction.T
    ras = nibabel.affines.apply_affine(image.affine, ends[..., ::-1])
    assert np.abs(ras - lps * [-1, -1, 1]).max() < 1e-4
