"""Stored values to Hounsfield units, and padding (rules 10, 11 and 15)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from .faults import Fault

PLUGINS = {
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.50": "gdcm",  # JPEG baseline
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "gdcm",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "gdcm",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "gdcm",  # JPEG-LS near-lossless
}
"""pydicom's decoder plugin per compressed transfer syntax: always the same one, so that lossy
pixels come out the same everywhere."""

PIXEL_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)
"""What decoding and padding need of a header."""

PACKAGES = {
    "gdcm": "python-gdcm (conda: gdcm)",
    "pylibjpeg": "pylibjpeg and pylibjpeg-openjpeg",
    "pydicom": "pydicom",
}

HARMLESS_PADDING_HU = -900.0
"""Padding above this could be tissue, and is only applied where it touches the border (rule 11)."""


@dataclass(frozen=True, slots=True)
class Padding:
    """Stored values, first to last, that stand for no measurement (PS3.3 C.7.5.1.1.2)."""

    first: int
    last: int


def check_decoder(transfer_syntax: str) -> None:
    """Raise `undecodable_pixels`, naming what is missing, unless pixels can be decoded."""
    syntax = UID(transfer_syntax)
    if not syntax.is_transfer_syntax or not syntax.is_encapsulated:
        return
    plugin = PLUGINS.get(transfer_syntax)
    if plugin is None:
        raise Fault("undecodable_pixels", f"no decoder exists for {syntax.name} ({syntax})")
    if not get_decoder(syntax).is_available or plugin not in get_decoder(syntax).available_plugins:
        raise Fault(
            "undecodable_pixels",
            f"{syntax.name} ({syntax}) needs {PACKAGES[plugin]}, which is not installed",
        )


def stored_values(dataset: Any, pixel_data: bytes | None = None) -> NDArray[np.integer[Any]]:
    """Decoded pixels of an instance, (frames, rows, columns), in the pixels' own signedness.

    Parameters
    ----------
    dataset : Dataset
        Has the image pixel module (PS3.3 C.7.6.3), `PIXEL_KEYWORDS`.
    pixel_data : bytes, optional
        Value of its PixelData; None where the dataset itself has it.

    Raises
    ------
    Fault
        `undecodable_pixels`.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    check_decoder(syntax)
    if dataset.get("SamplesPerPixel", 1) != 1:
        raise Fault("undecodable_pixels", "more than one sample per pixel: not a CT image")
    high, bits = dataset.get("HighBit"), dataset.get("BitsStored")
    if not syntax.is_encapsulated and high and bits and high >= bits:
        raise Fault(
            "undecodable_pixels",
            f"HighBit is {high} with BitsStored {bits}, expected {bits - 1} (PS3.5 8.1.1): values"
            " that do not begin at bit 0 are not read",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deviations that the decoders repair
            values, _ = get_decoder(syntax).as_array(
                dataset if pixel_data is None else pixel_data,
                raw=True,
                decoding_plugin=PLUGINS.get(syntax, ""),
                **({} if pixel_data is None else _options(dataset)),
            )
    except Exception as error:
        raise Fault("undecodable_pixels", f"{type(error).__name__}: {error}") from None
    stored: NDArray[np.integer[Any]] = values.reshape(-1, *values.shape[-2:])
    return stored


def _options(dataset: Any) -> dict[str, Any]:
    """What pydicom's decoders must know of pixels that come without their dataset."""
    return {
        "rows": dataset.Rows,
        "columns": dataset.Columns,
        "number_of_frames": int(dataset.get("NumberOfFrames", 1) or 1),
        "samples_per_pixel": 1,
        "photometric_interpretation": dataset.get("PhotometricInterpretation", "MONOCHROME2"),
        "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.get("BitsStored", dataset.BitsAllocated),
        "pixel_representation": dataset.get("PixelRepresentation", 0),
        "pixel_keyword": "PixelData",
        "view_only": True,
    }


def padding_of(dataset: Any) -> Padding | None:
    """The padding of an instance, read with the pixels' own signedness (63536 is -2000)."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    bits, signed = dataset.BitsAllocated, dataset.get("PixelRepresentation", 0) == 1
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [_as_stored(end, bits, signed) for end in (value, value if limit is None else limit)]
    return Padding(min(ends), max(ends))


def is_padding(
    values: NDArray[np.integer[Any]], padding: Padding | None, *, slope: float, intercept: float
) -> tuple[NDArray[np.bool_] | None, int]:
    """Which pixels of one slice are padding, and how many padding values were left as tissue.

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


def _as_stored(value: int, bits: int, signed: bool) -> int:
    value = int(value) & ((1 << bits) - 1)
    return value - (1 << bits) if signed and value >> (bits - 1) else value


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
