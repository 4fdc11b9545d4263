"""Find the padding of a slice that is no tissue (rule 11)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctcohort.dicom.pixels import Padding

HARMLESS_PADDING_HU = -900.0
"""Padding above this could be tissue, and is only applied where it touches the border (rule 11)."""


def is_padding(
    values: NDArray[np.integer[Any]], padding: Padding | None, *, slope: float, intercept: float
) -> tuple[NDArray[np.bool_] | None, int]:
    """Find the padding of one slice, and count the padding values that were left as tissue.

    Parameters
    ----------
    values : (rows, columns) stored values

    Returns
    -------
    mask : (rows, columns) of bool, or None where there is no padding
    unapplied : number of pixels that hold a padding value inside the body
    """
    if padding is None:
        return None, 0
    mask = (values >= padding.first) & (values <= padding.last)
    if not mask.any():
        return None, 0
    if max(padding.first * slope, padding.last * slope) + intercept <= HARMLESS_PADDING_HU:
        return mask, 0
    outside = _touching_border(mask)
    return outside, int(mask.sum() - outside.sum())


def _touching_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of a mask that is 4-connected to the image's border."""
    import SimpleITK as sitk  # a third of a second to import, and rarely needed

    seed = mask.copy()
    seed[1:-1, 1:-1] = False
    grown = sitk.BinaryReconstructionByDilation(
        sitk.GetImageFromArray(seed.astype(np.uint8)),
        sitk.GetImageFromArray(mask.astype(np.uint8)),
        foregroundValue=1.0,
    )
    return np.asarray(sitk.GetArrayFromImage(grown), dtype=np.bool_)
