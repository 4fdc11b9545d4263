"""Export a volume as NIfTI: the same voxels at the same positions.

NIfTI's world is RAS where DICOM's is LPS. The quaternion form can hold rotations only; where the
line of slices is off the slices' normal by a hair (up to 0.8 mm over a scan is not resampled as a
tilt) it gets the nearest rotation, and the matrix form, which nibabel takes first, stays exact.
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ctcohort.base.files import replacing
from ctcohort.volume import npz

SROW = 280
"""Offset of srow_x, srow_y and srow_z, 12 float32 (nifti1.h)."""

LEVEL = 3
"""Of gzip: level 6 takes twice the time for 3 % fewer bytes."""


def affine(
    spacing: NDArray[np.float64], origin: NDArray[np.float64], direction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(4, 4): NIfTI's index (x, y, z, 1) -> RAS in mm, from the npz's arrays."""
    matrix = np.eye(4)
    matrix[:3, :3] = (direction * spacing)[:, ::-1]
    matrix[:3, 3] = origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def export(volume: Path, target: Path) -> None:
    """Write ``<name>.npz`` to `target`, ``.nii.gz`` or ``.nii``.

    Index (x, y, z) of the NIfTI is index (z, y, x) of the npz: nothing is flipped.

    Raises
    ------
    InputError
        Not a volume of this workflow.
    """
    ct, spacing, origin, direction = npz.read(volume).values()
    image = sitk.GetImageFromArray(ct)
    image.SetSpacing([float(mm) for mm in spacing[::-1]])
    image.SetOrigin([float(mm) for mm in origin])
    left, _, right = np.linalg.svd(direction[:, ::-1])
    image.SetDirection((left @ right).ravel().tolist())
    exact = affine(spacing, origin, direction)[:3].astype("<f4").tobytes()
    with replacing(target) as part:
        plain = part.with_name(f"{part.name}.nii")
        try:
            sitk.WriteImage(image, str(plain), useCompression=False)
            with open(plain, "r+b") as written:
                written.seek(SROW)
                written.write(exact)
            if target.suffix == ".gz":
                _compress(plain, part)
            else:
                plain.replace(part)
        finally:
            plain.unlink(missing_ok=True)


def _compress(plain: Path, part: Path) -> None:
    """Without name and time: the same volume gives the same bytes."""
    with (
        open(plain, "rb") as source,
        open(part, "wb") as stream,
        gzip.GzipFile("", "wb", LEVEL, stream, mtime=0) as packed,
    ):
        shutil.copyfileobj(source, packed, 1 << 20)
