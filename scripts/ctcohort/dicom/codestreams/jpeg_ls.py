"""JPEG-LS frames: CharLS decodes only streams that it consumes exactly (ITU-T T.87)."""

from __future__ import annotations

import re
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ctcohort.dicom.codestreams.jpeg import END_OF_IMAGE, JPEG_LS, Stream

_LAST_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xff]")


def decode(frame: bytes) -> tuple[NDArray[Any], int]:
    """Return the pixels (rows, columns) of a JPEG-LS frame, and its precision in bits.

    Raises
    ------
    ValueError
        If the entropy-coded data are not exactly those of the image.
    """
    stream = Stream.read(frame)
    if stream.process != JPEG_LS:
        raise ValueError("the frame holds another JPEG process than JPEG-LS")
    match = _LAST_MARKER.search(frame, stream.start)
    coded = frame[: match.start()] if match else frame.removesuffix(b"\xff")
    try:
        pixels = imagecodecs.jpegls_decode(coded + END_OF_IMAGE)
    except imagecodecs.JpeglsError as error:
        if not coded.endswith(b"\0"):
            raise ValueError(f"CharLS: {error}") from None
        # a byte that some encoders write before the end marker, or that pads where it is missing
        pixels = imagecodecs.jpegls_decode(coded[:-1] + END_OF_IMAGE)
    return np.asarray(pixels), stream.precision
