"""Open a DICOM file's header, whatever its writer left out (PS3.10 7.1, PS3.5 7.1).

Real writers leave out the preamble, the File Meta Information or the transfer syntax in it, declare
explicit VR and write implicit VR or the reverse, and put the pixel data before the elements that
describe it. How the data set is encoded is therefore taken from its first element, not from what
the file declares, and a deflated data set is inflated only as far as it is read.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, cast

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import ENCODED_VR, read_dataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from ctcohort.base.faults import Fault

HEADER_LIMIT = 1 << 26
"""Bytes to which a deflated header may inflate: more than the groups of 10,000 frames take."""

CHUNK = 1 << 16
"""Bytes that are inflated at once, at most."""

AHEAD = 1 << 14
"""Bytes of a header that are read at once: pydicom asks after each element where it is, which of a
file is a system call. Longer headers are read from the file itself."""

UNDEFINED = 0xFFFFFFFF
"""Length of encapsulated pixel data (PS3.5 A.4)."""

PIXEL_DATA = 0x7FE00010
_ANY_PIXELS = frozenset({PIXEL_DATA, 0x7FE00008, 0x7FE00009})
"""Pixel data, and its float kinds, which no CT image has."""

_FIRST_GROUPS = frozenset({0x0002, 0x0008})
"""Groups with which a file without preamble may begin: File Meta, else the data set."""

_PLAIN = frozenset(
    {
        "",
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    }
)
"""Transfer syntaxes whose data sets differ in nothing but their encoding."""

_DESCRIBES = tuple(map(Tag, ("Rows", "Columns", "SOPInstanceUID", "SeriesInstanceUID")))
"""Where one of these is missing, elements may follow the pixel data."""


class NotDicom(ValueError):
    """A file without a sign that it is DICOM."""


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file whose header has been read.

    Attributes
    ----------
    dataset : the header; its `file_meta` always has a TransferSyntaxUID, and where that is one of
        the uncompressed standard ones, it is the one in which the data set is encoded
    declared : the TransferSyntaxUID that the file declares; empty where it declares none
    stream : the data set's bytes; of a deflated file, inflated as they are read
    start : offset in `stream` of the pixel data's value; None where there is no pixel data
    length : of that value in bytes; `UNDEFINED` where it is encapsulated
    implicit_vr, little_endian : how the data set is encoded, whatever the file declares
    """

    dataset: Dataset
    declared: str
    stream: BinaryIO
    start: int | None
    length: int
    implicit_vr: bool
    little_endian: bool

    @property
    def transfer_syntax(self) -> str:
        """Return the transfer syntax by which the pixels are read."""
        return str(self.dataset.file_meta.TransferSyntaxUID)

    def value(self, most: int) -> bytes:
        """The first bytes of the pixel data's value, `most` at most; inflated no further.

        Raises
        ------
        EOFError
            The deflated data is cut off, even if only its end is missing.
        """
        assert self.start is not None
        raw = getattr(self.stream, "raw", None)
        most = min(self.length, most)
        if isinstance(raw, _Inflated):
            raw.limit = self.start + most + 2 * CHUNK
        else:
            most = min(most, self.stream.seek(0, os.SEEK_END) - self.start)
        self.stream.seek(self.start)
        content = self.stream.read(most)
        self.stream.read(1)
        return content


def open_file(stream: BinaryIO, tags: Sequence[int] | None = None) -> DicomFile:
    """Read the header of a DICOM file.

    Parameters
    ----------
    stream : binary stream
        The whole file, seekable.
    tags : sequence of int, optional
        Read only these elements.

    Raises
    ------
    NotDicom
        No preamble, and the first bytes are not an element of group 0002 or 0008.
    Exception
        Whatever pydicom and zlib raise on a damaged header.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    mark = stream.read(132)
    bare = mark[128:] != b"DICM"
    stream.seek(0 if bare else 132)
    if bare and not _is_element(mark[:8], size):
        raise NotDicom("no preamble, and no data set at its beginning")
    meta = _file_meta(stream)
    said = _transfer_syntax(meta)
    declared = said.strip(" \0")
    first = _peek(stream)
    deflated = declared == DeflatedExplicitVRLittleEndian and not _is_element(first, size)
    if deflated:
        stream = cast(BinaryIO, io.BufferedReader(_Inflated(stream, HEADER_LIMIT), AHEAD))
        first = _peek(stream)
    implicit, little = not _has_vr(first), _is_little(first)
    if bare and not meta and not _is_element(first, size):
        raise NotDicom("no preamble, and no data set at its beginning")
    if declared in _PLAIN and not deflated and said != _encoding(implicit, little):
        meta.TransferSyntaxUID = _encoding(implicit, little)
    dataset = _elements(stream, implicit, little, tags)
    start, length = _enter_pixels(stream, implicit, little)
    if not length:
        start = None  # an empty element is none
    if start is not None and any(tag not in dataset for tag in _DESCRIBES):
        _skip(stream, length, little)
        if not deflated and stream.tell() > size:
            raise EOFError("ends inside its pixel data")
        dataset.update(_elements(stream, implicit, little, tags))
        stream.seek(start)
    dataset.set_original_encoding(implicit, little, dataset.original_character_set)
    dataset.file_meta = meta
    return DicomFile(dataset, declared, stream, start, length, implicit, little)


def pixel_bytes(dataset: Any) -> int:
    """Length of native pixel data in bytes, as the header says (PS3.5 8.1.1)."""
    bits: int = (
        dataset.Rows
        * dataset.Columns
        * int(dataset.get("SamplesPerPixel", 1) or 1)
        * int(dataset.get("NumberOfFrames", 1) or 1)
        * dataset.BitsAllocated
    )
    return (bits + 7) // 8


def check_surplus(dataset: Any, length: int) -> None:
    """Raise if native pixel data is too long to be what Rows and Columns describe.

    Old writers pad it (PS3.5 8.1.1). A surplus as long as a row or a column is what a wrong Rows,
    Columns or NumberOfFrames leaves over, and with a wrong Columns every row would be displaced.

    Raises
    ------
    Fault
        `undecodable_pixels`.
    """
    expected = pixel_bytes(dataset)
    shortest = min(dataset.Rows, dataset.Columns) * dataset.BitsAllocated // 8
    if length - expected >= max(shortest, 2):  # an odd length is padded
        raise Fault(
            "undecodable_pixels",
            f"its pixel data has {length} bytes, and Rows, Columns, BitsAllocated and"
            f" NumberOfFrames describe only {expected}: nobody knows which",
        )


def header_in(content: bytes, keywords: Iterable[str]) -> Dataset:
    """Return the named elements of the header in a file's content; raises as `open_file` does."""
    return open_file(io.BytesIO(content), [int(Tag(word)) for word in keywords]).dataset


def _file_meta(stream: BinaryIO) -> FileMetaDataset:
    """The File Meta Information at the stream's position; empty where there is none."""
    first = _peek(stream)
    if first[:2] != b"\x02\x00":
        return FileMetaDataset()
    return FileMetaDataset(
        _until(lambda tag, *_: tag >> 16 != 2, stream, not _has_vr(first), little=True)
    )


def _transfer_syntax(meta: FileMetaDataset) -> str:
    """TransferSyntaxUID as it stands there; empty where there is none."""
    try:
        return str(meta.get("TransferSyntaxUID") or "")
    except Exception:
        return ""  # an element that pydicom cannot convert declares nothing


def _peek(stream: BinaryIO) -> bytes:
    first = stream.read(8)
    stream.seek(-len(first), os.SEEK_CUR)
    return first


def _is_little(first: bytes) -> bool:
    """Return True if an element's group is little endian; read the other way, low groups are
    large."""
    return int.from_bytes(first[:2], "little") <= int.from_bytes(first[:2], "big")


def _order(little: bool) -> Literal["little", "big"]:
    return "little" if little else "big"


def _is_element(first: bytes, size: int) -> bool:
    """Return True if 8 bytes begin a data set: a low group, and a VR or a length that fits the
    file."""
    order = _order(_is_little(first))
    if len(first) < 8 or int.from_bytes(first[:2], order) not in _FIRST_GROUPS:
        return False
    return first[4:6] in ENCODED_VR or int.from_bytes(first[4:], order) <= size


def _has_vr(first: bytes) -> bool:
    """Return True if an element names its VR. An implicit length with these bytes is above 16
    kB."""
    return all(ord("A") <= letter <= ord("Z") for letter in first[4:6])


def _encoding(implicit: bool, little: bool) -> UID:
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _elements(
    stream: BinaryIO, implicit: bool, little: bool, tags: Sequence[int] | None
) -> Dataset:
    """Elements from the stream's position to the pixel data, at which the stream then stands."""
    order = _order(little)
    mark = b"".join(part.to_bytes(2, order) for part in divmod(PIXEL_DATA, 1 << 16))
    return _until(lambda tag, *_: tag in _ANY_PIXELS, stream, implicit, little, tags, mark=mark)


def _until(
    stop: Callable[..., bool],
    stream: BinaryIO,
    implicit: bool,
    little: bool,
    tags: Sequence[int] | None = None,
    *,
    mark: bytes = b"",
) -> Dataset:
    """Elements from the stream's position to the first whose tag is to `stop` at, where the stream
    then stands. Without its `mark`, what lies ahead does not reach so far."""

    def read(source: BinaryIO) -> Dataset:
        return read_dataset(source, implicit, little, stop_when=stop, specific_tags=tags)

    begin = stream.tell()
    content = stream.read(AHEAD)
    if mark in content:
        ahead = io.BytesIO(content)
        with suppress(Exception):  # half an element
            found = read(ahead)
            end = ahead.tell()
            tag = _tag(ahead.read(4), little)
            if tag is not None and stop(tag):
                stream.seek(begin + end)
                return found
    stream.seek(begin)
    return read(stream)


def _enter_pixels(stream: BinaryIO, implicit: bool, little: bool) -> tuple[int | None, int]:
    """Go to the first byte of the pixel data's value; its offset and length."""
    order = _order(little)
    element = stream.read(8)
    if len(element) < 8 or _tag(element, little) != PIXEL_DATA:
        return None, 0
    if implicit:
        return stream.tell(), int.from_bytes(element[4:], order)
    if element[4:6].decode("latin-1") in EXPLICIT_VR_LENGTH_32:
        return stream.tell() + 4, int.from_bytes(stream.read(4), order)
    return stream.tell(), int.from_bytes(element[6:], order)


def _tag(element: bytes, little: bool) -> int | None:
    """Return the tag of an element, None where it is cut off."""
    if len(element) < 4:
        return None
    order = _order(little)
    return int.from_bytes(element[:2], order) << 16 | int.from_bytes(element[2:4], order)


def _skip(stream: BinaryIO, length: int, little: bool) -> None:
    """Go past a value: its length, or all items up to the sequence delimiter (PS3.5 A.4)."""
    if length != UNDEFINED:
        stream.seek(length, os.SEEK_CUR)
        return
    order = _order(little)
    while len(item := stream.read(8)) == 8 and item[:4] != b"\xfe\xff\xdd\xe0":
        stream.seek(int.from_bytes(item[4:], order), os.SEEK_CUR)


class _Inflated(io.RawIOBase):
    """The rest of a deflated stream (PS3.5 A.5), inflated as far as it has been read.

    Raises
    ------
    ValueError
        At the first read past `limit` bytes: a few kB can inflate to gigabytes.
    """

    def __init__(self, deflated: BinaryIO, limit: int) -> None:
        self._deflated = deflated
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._content = bytearray()
        self._position = 0
        self._rest = b""
        self.limit = limit

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            raise io.UnsupportedOperation("the end of a deflated stream is not known")
        self._position = offset + (self._position if whence == os.SEEK_CUR else 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._inflate_to(self._position + len(buffer))
        piece = self._content[self._position : self._position + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _inflate_to(self, end: int) -> None:
        while len(self._content) < end and not self._inflater.eof:
            if len(self._content) > self.limit:
                raise ValueError(f"inflates to more than {self.limit} bytes")
            self._rest = self._rest or self._deflated.read(CHUNK)
            most = min(CHUNK, end - len(self._content))
            piece = self._inflater.decompress(self._rest, most)
            self._rest = self._inflater.unconsumed_tail
            self._content += piece
            if not piece and not self._rest and not self._inflater.eof:
                self._rest = self._deflated.read(CHUNK)
                if not self._rest:
                    raise EOFError("the deflated data is cut off")
