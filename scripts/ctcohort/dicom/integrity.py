"""One DICOM file: whether it is whole (rule 15)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

from ctcohort.base.faults import Fault
from ctcohort.dicom.encapsulation import is_compressed
from ctcohort.dicom.headers import CT_CLASSES, private_compression_of
from ctcohort.dicom.reading import DicomFile, check_surplus, open_file, pixel_bytes

_SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def check_whole(path: Path) -> Any:
    """Raise unless the file holds all of its pixel data; return its header's dataset.

    pydicom reads a truncated file without an exception, so the lengths are compared here. Native
    pixel data must have Rows x Columns x SamplesPerPixel x NumberOfFrames x BitsAllocated / 8 bytes
    (PS3.5 8.1.1) that lie within the file, and little more. Encapsulated pixel data must end with a
    sequence delimiter (PS3.5 A.4), or every frame must decode; otherwise no pixel is decoded.

    Raises
    ------
    Fault
        `truncated_file`, `undecodable_pixels`, `no_pixel_data` or `private_compression`, naming
        the file.
    """
    try:
        with open(path, "rb") as stream:
            file = open_file(stream)
            problem = _problem(file, stream)
    except OSError:
        raise
    except Fault as fault:
        raise Fault(fault.reason, f"{path}: {fault}") from None
    except Exception as error:  # whatever pydicom and zlib make of half an element
        raise Fault("truncated_file", f"{path}: not readable as DICOM ({error})") from None
    if problem:
        raise Fault("truncated_file", f"{path}: {problem}; the archive's copy may be damaged")
    return file.dataset


def _problem(file: DicomFile, stream: BinaryIO) -> str:
    dataset: Any = file.dataset
    if "SOPInstanceUID" not in dataset:
        return "its header is cut off"
    if "Rows" not in dataset and dataset.get("SOPClassUID") not in CT_CLASSES:
        return ""  # not an image: nothing to compare
    if any(word not in dataset for word in ("Rows", "Columns", "BitsAllocated")):
        return "its header is cut off"
    size = os.fstat(stream.fileno()).st_size
    expected = pixel_bytes(dataset)
    private = private_compression_of(file)
    if private:
        raise Fault("private_compression", f"its pixels are compressed and not readable: {private}")
    if file.start is None:
        raise Fault("no_pixel_data", "it has no pixel data, or ends before it")
    if not is_compressed(file.transfer_syntax):
        check_surplus(dataset, file.length)
    if file.stream is not stream:  # deflated
        return "" if len(file.value(expected)) >= expected else "pixel data is cut off"
    stream.seek(file.start)
    if is_compressed(file.transfer_syntax):
        return "" if _ends(stream, size) else _decoding_problem(file)
    if file.length < expected or file.start + file.length > size:
        there = min(file.length, size - file.start)
        if there < file.length:
            return f"the file ends {file.length - there} bytes before its pixel data does"
        return (
            f"its pixel data has {there} bytes, and Rows, Columns, BitsAllocated and NumberOfFrames"
            f" describe {expected}"
        )
    return ""


def _decoding_problem(file: DicomFile) -> str:
    """Say what is wrong with encapsulated pixel data that no sequence delimiter ends."""
    from ctcohort.dicom.pixels import stored_values  # codecs and numpy, for few files

    assert file.start is not None
    file.stream.seek(file.start)
    try:
        stored_values(file.dataset, memoryview(file.stream.read(file.length)))
    except Fault as fault:
        return f"its compressed pixel data has no end, and does not decode ({fault})"
    return ""


def _ends(stream: BinaryIO, size: int) -> bool:
    """Return whether a sequence delimiter follows the fragments (PS3.5 A.4)."""
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
