"""One DICOM file: whether it is whole (rule 15)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import dcmread

from ctcohort.base.faults import Fault
from ctcohort.dicom.headers import CT_CLASSES

UID = re.compile(r"[0-9]+(\.[0-9]+)*")
"""PS3.5 9.1; at most 64 characters. Nothing else becomes a file name."""

_PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def is_uid(text: str) -> bool:
    """Whether `text` is a UID."""
    return len(text) <= 64 and UID.fullmatch(text) is not None


def check_whole(path: Path) -> Any:
    """Raise unless the file holds all of its pixel data; return its header's dataset.

    pydicom reads a truncated file without an exception, so the lengths are compared here. Native
    pixel data must have Rows x Columns x SamplesPerPixel x NumberOfFrames x BitsAllocated / 8 bytes
    (PS3.5 8.1.1) that lie within the file; encapsulated pixel data must end with a sequence
    delimiter (PS3.5 A.4). No pixel is decoded.

    Raises
    ------
    Fault
        `truncated_file`, naming the file.
    """
    try:
        with open(path, "rb") as stream:
            dataset = dcmread(stream, stop_before_pixels=True)
            problem = _problem(dataset, stream)
    except OSError:
        raise
    except Exception as error:  # whatever pydicom and zlib make of half an element
        raise Fault("truncated_file", f"{path}: not readable as DICOM ({error})") from None
    if problem:
        raise Fault("truncated_file", f"{path}: {problem}; the archive's copy may be damaged")
    return dataset


def _problem(dataset: Any, stream: BinaryIO) -> str:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        return "its header names no transfer syntax"
    if "SOPInstanceUID" not in dataset:
        return "its header is cut off"
    if "Rows" not in dataset and dataset.SOPClassUID not in CT_CLASSES:
        return ""  # not an image: nothing to compare
    if any(word not in dataset for word in ("Rows", "Columns", "BitsAllocated")):
        return "its header is cut off"
    size = os.fstat(stream.fileno()).st_size
    expected = (
        dataset.Rows
        * dataset.Columns
        * int(dataset.get("SamplesPerPixel", 1) or 1)
        * int(dataset.get("NumberOfFrames", 1) or 1)
        * dataset.BitsAllocated
        + 7
    ) // 8
    if syntax.is_deflated:
        stream.seek(0)
        whole = dcmread(stream)
        return "" if len(whole.get("PixelData", b"")) >= expected else "pixel data is cut off"
    length = enter_pixel_data(stream, syntax)
    if length is None:
        return "it has no pixel data"
    if syntax.is_encapsulated:
        return "" if _ends(stream, size) else "its compressed pixel data has no end"
    if length < expected or stream.tell() + length > size:
        return f"pixel data has {min(length, size - stream.tell())} bytes of {expected}"
    return ""


def enter_pixel_data(stream: BinaryIO, syntax: Any) -> int | None:
    """Go from the PixelData element to the first byte of its value; return the value's length.

    `stream` stands where `dcmread(..., stop_before_pixels=True)` left it. None where another
    element, or the end, follows. Of encapsulated pixel data the length is undefined (PS3.5 7.1).
    """
    element = stream.read(8 if syntax.is_implicit_VR else 12)
    if element[:4] not in _PIXEL_DATA:
        return None
    return int.from_bytes(element[-4:], "little" if syntax.is_little_endian else "big")


def _ends(stream: BinaryIO, size: int) -> bool:
    """Whether encapsulated pixel data is closed: walk its fragments (PS3.5 A.4)."""
    while True:
        item = stream.read(8)
        if len(item) < 8:
            return False
        if item == _SEQUENCE_END:
            return True
        length = int.from_bytes(item[4:], "little")
        if item[:4] != b"\xfe\xff\x00\xe0" or stream.tell() + length > size:
            return False
        stream.seek(length, os.SEEK_CUR)
