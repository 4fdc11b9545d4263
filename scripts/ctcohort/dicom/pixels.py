"""Decode the stored values of an instance, and find its padding (rules 10, 11 and 15).

`volume.build` rescales them to Hounsfield units.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.multival import MultiValue
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from ctcohort.base.faults import Fault
from ctcohort.dicom.codestreams import jpeg, jpeg2000, jpeg_ls, rle
from ctcohort.dicom.encapsulation import frames, is_compressed
from ctcohort.dicom.reading import pixel_bytes


class Codec(StrEnum):
    """The decoder of a frame; the values are names of imagecodecs."""

    NONE = ""
    RLE = "packbits"
    JPEG = "jpeg8"
    JPEG_LS = "jpegls"
    JPEG_2000 = "jpeg2k"


CODECS = {
    "1.2.840.10008.1.2.1.98": Codec.NONE,  # encapsulated uncompressed
    "1.2.840.10008.1.2.5": Codec.RLE,
    "1.2.840.10008.1.2.4.50": Codec.JPEG,  # baseline, 8 bits
    "1.2.840.10008.1.2.4.51": Codec.JPEG,  # extended, 12 bits
    "1.2.840.10008.1.2.4.57": Codec.JPEG,  # lossless
    "1.2.840.10008.1.2.4.70": Codec.JPEG,  # lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": Codec.JPEG_LS,  # lossless
    "1.2.840.10008.1.2.4.81": Codec.JPEG_LS,  # near-lossless
    "1.2.840.10008.1.2.4.90": Codec.JPEG_2000,  # lossless
    "1.2.840.10008.1.2.4.91": Codec.JPEG_2000,
    "1.2.840.10008.1.2.4.201": Codec.JPEG_2000,  # high-throughput, lossless
    "1.2.840.10008.1.2.4.202": Codec.JPEG_2000,  # high-throughput, lossless, by resolution
    "1.2.840.10008.1.2.4.203": Codec.JPEG_2000,  # high-throughput
}
"""Codec per compressed transfer syntax: always the same one, so that lossy pixels come out the same
everywhere. While imagecodecs decodes, other threads run."""

GE_BIG_ENDIAN = UID("1.2.840.113619.5.2")
"""A private transfer syntax of GE: an implicit little-endian data set, big-endian pixels."""

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


@dataclass(frozen=True, slots=True)
class Padding:
    """Stored values, first to last, that stand for no measurement (PS3.3 C.7.5.1.1.2)."""

    first: int
    last: int


def check_decoder(transfer_syntax: str) -> None:
    """Raise `undecodable_pixels`, naming what is missing, unless pixels can be decoded."""
    syntax = UID(transfer_syntax)
    if not is_compressed(syntax):
        return
    codec = CODECS.get(transfer_syntax)
    if codec is None:
        raise Fault("undecodable_pixels", f"no decoder exists for {syntax.name} ({syntax})")
    if codec and not getattr(imagecodecs, codec.upper()).available:
        raise Fault(
            "undecodable_pixels",
            f"{syntax.name} ({syntax}) needs the codec {codec}, which the installed imagecodecs"
            f" {imagecodecs.__version__} lacks",
        )


def stored_values(dataset: Any, pixel_data: memoryview | None = None) -> NDArray[np.integer[Any]]:
    """Decoded pixels of an instance, (frames, rows, columns), in the pixels' own signedness.

    Of each value the lowest BitsStored bits count, as the others may hold an overlay (PS3.5 8.1.1);
    but padding that does not fit into them stays what the header says it is.

    Parameters
    ----------
    dataset : Dataset
        Has the image pixel module (PS3.3 C.7.6.3), `PIXEL_KEYWORDS`.
    pixel_data : memoryview, optional
        Value of its PixelData; None where the dataset itself has it.

    Raises
    ------
    Fault
        `undecodable_pixels` or `private_compression`.
    """
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    check_decoder(syntax)
    if dataset.get("SamplesPerPixel", 1) != 1:
        raise Fault("undecodable_pixels", "more than one sample per pixel: not a CT image")
    bits = dataset.get("BitsStored") or dataset.BitsAllocated
    compressed = is_compressed(syntax)
    high = dataset.get("HighBit")
    if not compressed and high and high >= bits:
        raise Fault(
            "undecodable_pixels",
            f"HighBit is {high} with BitsStored {bits}, expected {bits - 1} (PS3.5 8.1.1): values"
            " that do not begin at bit 0 are not read",
        )
    data = memoryview(dataset.PixelData) if pixel_data is None else pixel_data
    if syntax.is_private:
        syntax = _plain_syntax(syntax, dataset, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deviations that the decoders repair
            if compressed:
                values, bits = _decoded(dataset, data, bits)
            else:
                values, _ = get_decoder(syntax).as_array(data, raw=True, **_options(dataset))
    except Exception as error:
        raise Fault("undecodable_pixels", f"{type(error).__name__}: {error}") from None
    if "PixelRepresentation" not in dataset and (values >> 8 * values.itemsize - 1).any():
        raise Fault(
            "undecodable_pixels",
            "PixelRepresentation is missing (PS3.3 C.7.6.3), and its values mean one thing with a"
            " sign and another without",
        )
    return _lowest_bits(values.reshape(-1, *values.shape[-2:]), bits, padding_of(dataset))


def _plain_syntax(private: UID, dataset: Any, data: memoryview) -> UID:
    """The transfer syntax by which pixels are read that are plain under a private one."""
    expected = pixel_bytes(dataset)
    if not expected <= len(data) <= expected + 1:  # an odd length is padded
        raise Fault(
            "private_compression",
            f"its pixels have {len(data)} bytes instead of {expected}, under the private transfer"
            f" syntax {private}: only its vendor can read them",
        )
    return ExplicitVRBigEndian if private == GE_BIG_ENDIAN else ExplicitVRLittleEndian


def _decoded(dataset: Any, data: memoryview, bits: int) -> tuple[NDArray[np.integer[Any]], int]:
    """Decompressed frames in the header's signedness, and how many bits of them count.

    A codestream's own precision counts where it is less than the header's BitsStored, and its own
    signedness does not: encoders that know no sign write negative values as large ones.
    """
    kind = "i" if dataset.get("PixelRepresentation", 0) else "u"
    decoded = []
    for frame in frames(data, int(dataset.get("NumberOfFrames", 1) or 1)):
        pixels, precision = _frame(dataset, frame)
        if CODECS[dataset.file_meta.TransferSyntaxUID] is Codec.JPEG:
            _check_range(pixels, precision, padding_of(dataset))
        bits = min(bits, precision)
        decoded.append(pixels.view(f"{kind}{pixels.itemsize}"))
    return np.stack(decoded), bits


def _frame(dataset: Any, frame: bytes) -> tuple[NDArray[Any], int]:
    """Pixels (rows, columns) of one frame, and how many bits of them its codestream says count."""
    rows, columns, bits = dataset.Rows, dataset.Columns, dataset.BitsAllocated
    match CODECS[dataset.file_meta.TransferSyntaxUID]:
        case Codec.JPEG:
            return jpeg.decode(frame)
        case Codec.JPEG_LS:
            return jpeg_ls.decode(frame)
        case Codec.JPEG_2000:
            return jpeg2000.decode(frame)
        case Codec.RLE:
            return rle.decode(frame, rows, columns, bits // 8), bits
    size = rows * columns * bits // 8
    if not size <= len(frame) <= size + 1:  # an odd length is padded
        raise ValueError(f"a frame has {len(frame)} bytes, expected {size}")
    return np.frombuffer(frame[:size], f"<u{bits // 8}").reshape(rows, columns), bits


def _check_range(pixels: NDArray[Any], precision: int, padding: Padding | None) -> None:
    """Raise if samples have more bits than their stream says, as damaged differences add up to.

    Bits above the precision may be those of a sign, and padding need not fit.
    """
    signed = pixels.view(f"i{pixels.itemsize}")
    low, high = -(1 << precision - 1), (1 << precision) - 1
    if precision >= 8 * pixels.itemsize or (low <= signed.min() and signed.max() <= high):
        return
    beyond = (signed < low) | (signed > high)
    if padding is not None:
        mask = (1 << 8 * pixels.itemsize) - 1
        first, last = padding.first & mask, padding.last & mask
        beyond &= (pixels < first) | (pixels > last)
    if beyond.any():
        raise ValueError(f"{beyond.sum()} samples have more than the stream's {precision} bits")


def _lowest_bits(
    values: NDArray[np.integer[Any]], bits: int, padding: Padding | None
) -> NDArray[np.integer[Any]]:
    """Values whose bits above the lowest `bits` are those of their sign, padding excepted."""
    shift = max(0, 8 * values.itemsize - bits)
    low, high = (limit >> shift for limit in _limits(values.dtype))
    if low <= values.min(initial=0) and values.max(initial=0) <= high:
        return values
    lowest = (values << shift) >> shift
    if padding is not None and not low <= padding.first <= padding.last <= high:
        kept = (values >= padding.first) & (values <= padding.last)
        lowest[kept] = values[kept]
    return lowest


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _options(dataset: Any) -> dict[str, Any]:
    """Return the options of pydicom's decoders for pixels that come without their dataset."""
    return {
        "rows": dataset.Rows,
        "columns": dataset.Columns,
        "number_of_frames": int(dataset.get("NumberOfFrames", 1) or 1),
        "samples_per_pixel": 1,
        "photometric_interpretation": dataset.get("PhotometricInterpretation", "MONOCHROME2"),
        "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.BitsAllocated,  # all: see _lowest_bits
        "pixel_representation": dataset.get("PixelRepresentation", 0),
        "pixel_keyword": "PixelData",
        "view_only": True,
    }


def padding_of(dataset: Any) -> Padding | None:
    """The padding of an instance, read with the pixels' own signedness (63536 is -2000).

    Values may be written as bytes (OW), and one value several times.
    """
    if "PixelPaddingValue" not in dataset:
        return None
    bits, signed = dataset.BitsAllocated, dataset.get("PixelRepresentation", 0) == 1
    try:
        first = _one_number(dataset, "PixelPaddingValue")
        if first is None:
            return None
        last = _one_number(dataset, "PixelPaddingRangeLimit")
        ends = [_as_stored(end, bits, signed) for end in (first, first if last is None else last)]
    except Exception:  # whatever pydicom makes of another VR
        raise Fault(
            "undecodable_pixels",
            "PixelPaddingValue or PixelPaddingRangeLimit is not one number (PS3.3 C.7.5.1.1.2), so"
            " nobody knows which pixels are padding",
        ) from None
    return Padding(min(ends), max(ends))


def _one_number(dataset: Any, keyword: str) -> int | None:
    """A stored value in an element, None where it is absent or empty; raises if there are more."""
    value = dataset.get(keyword)
    if value is None or value == b"" or value == "":
        return None
    if isinstance(value, bytes):
        little = dataset.original_encoding[1] is not False
        return int.from_bytes(value, "little" if little else "big")
    distinct = set(value) if isinstance(value, (MultiValue, list)) else {value}
    (one,) = distinct
    return int(one)


def _as_stored(value: int, bits: int, signed: bool) -> int:
    value = int(value) & ((1 << bits) - 1)
    return value - (1 << bits) if signed and value >> (bits - 1) else value
