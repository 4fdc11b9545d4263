"""Search the content of one file, and what is packed in it.

Read are gzip, bzip2, zlib, zip, SQLite, the text of PNG and WebP, NIfTI headers, and base64 inside
text.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import csv
import io
import json
import re
import sqlite3
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ctcohort.release.guard.identities import (
    Hit,
    Identities,
)
from ctcohort.release.guard.volume_file import NO_TEXT_HU

NUMBERS = frozenset(
    {
        *("acquisition_number", "acquisition_time", "instance_number", "series_number"),
        *("bytes", "contentSize", "estimated_bytes", "npz_bytes", "raw_bytes", "size", "voxels"),
        *("modified", "starttime", "endtime", "job_hash"),
    }
)
"""Columns and keys whose numbers are counts and times; a number there is nobody's MRN."""

NIFTI_INT16 = 4

DEPTH = 6
"""Of packed things in packed things."""

UNREADABLE = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, NotImplementedError, OSError),
    *(RuntimeError, SyntaxError, ValueError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What reading content raises that is damaged, or made to look like something else."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")

_BASE64_URL = re.compile(rb"[A-Za-z0-9_-]{40,}={0,2}")

_HEXADECIMAL = re.compile(rb"[0-9a-fA-F]+|[0-9]+")

_ZLIB = frozenset({b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"})

_PNG = b"\x89PNG\r\n\x1a\n"

_IMAGE_DATA = frozenset({b"IDAT", b"fdAT", b"VP8 ", b"VP8L", b"ALPH", b"ANMF"})

_IDENTITIES = Identities()


def look_for(identities: Identities) -> None:
    """Set what this process searches for."""
    global _IDENTITIES
    _IDENTITIES = identities


def sought() -> Identities:
    """Return what this process searches for."""
    return _IDENTITIES


def in_file(path: Path) -> Iterator[tuple[str, str]]:
    """Yield where in a file something sought was found, and its kind."""
    with open(path, "rb") as stream:
        start = stream.read(16)
    if start == b"SQLite format 3\0":
        yield from _in_sqlite(path)
        return
    yield from _in_bytes(path.read_bytes(), path.suffix)


def _in_bytes(data: bytes, suffix: str = "", location: str = "", depth: int = 0) -> Iterator[Any]:
    """Place and kind of what is found in a file's, a member's or a field's content.

    What is not what its first bytes say, or cannot be read to its end, is searched as it is.
    """
    try:
        yield from _in_content(data, suffix, location, depth)
    except UNREADABLE:
        yield from _in_text(data, "", f"{location}, " if location else "", depth)


def _in_content(data: bytes, suffix: str, location: str, depth: int) -> Iterator[tuple[str, str]]:
    inside = f"{location}, " if location else ""
    if depth > DEPTH:
        yield f"{location or 'the content'}", "packed too deep to be searched"
    elif data[:2] == b"\x1f\x8b":
        yield from _in_gzip(data, suffix, location, depth)
    elif data[:3] == b"BZh":
        yield from _in_stream(data, bz2.BZ2Decompressor(), location, depth)
    elif data[:2] in _ZLIB:
        yield from _in_stream(data, zlib.decompressobj(), location, depth)
    elif data[:4] == b"PK\x03\x04":
        yield from _in_zip(data, inside, depth)
    elif data[:8] == _PNG:
        yield from _in_chunks(_png_chunks(data), inside, depth)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield from _in_chunks(_riff_chunks(data), inside, depth)
    elif data[344:348] == b"n+1\0":
        yield from _in_nifti(data, inside)
    elif _is_json(data):
        yield from _in_json(data, inside, depth)
    else:
        yield from _in_text(data, suffix, inside, depth)


def _in_text(data: bytes, suffix: str, inside: str, depth: int) -> Iterator[tuple[str, str]]:
    text = bytearray(data)
    coded = []
    for match in _base64_in(data):
        content = _decoded(match[0])
        inflated = list(_inflated(content))
        if _is_packed(content, inflated):  # a short name stands somewhere among so many letters
            start, end = match.span()
            text[start:end] = b" " * (end - start)
        coded.append((match.start(), content, inflated))
    hits = list(_IDENTITIES.hits(bytes(text)))
    if hits and suffix == ".csv" and not inside:
        yield from _in_csv(data, hits)
    else:
        for hit in hits:
            yield f"{inside}byte {hit.start}", hit.kind
    for start, content, inflated in coded:
        location = f"{inside}base64 at byte {start}"
        yield from _in_bytes(content, "", location, depth + 1)
        for unpacked, _ in inflated:
            yield from _in_bytes(unpacked, "", location, depth + 1)


def _base64_in(data: bytes) -> Iterator[re.Match[bytes]]:
    """Yield runs of characters that may be base64; checksums in hexadecimal are left out."""
    for found in _BASE64.finditer(data):
        if not _HEXADECIMAL.fullmatch(found[0]):
            yield found
    for found in _BASE64_URL.finditer(data):
        if b"-" in found[0] or b"_" in found[0]:
            yield found


def _decoded(text: bytes) -> bytes:
    """Decode base64; empty where it is none."""
    try:
        return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return b""


def _inflated(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield what a deflated stream holds and what follows it, with zlib's header and without."""
    for bits in (15, -15):
        unpacker = zlib.decompressobj(bits)
        with suppress(zlib.error):
            unpacked = unpacker.decompress(data)
            if unpacker.eof:
                yield unpacked, unpacker.unused_data


def _is_packed(data: bytes, inflated: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether data are a picture, or packed, so that their base64 is no text; a long path is.

    Parameters
    ----------
    inflated : what `_inflated` yields of them
    """
    picture = data[:8] == _PNG or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
    gzipped = data[:3] == b"\x1f\x8b\x08"
    return picture or gzipped or any(not rest for _, rest in inflated)


def _in_csv(data: bytes, hits: list[Hit]) -> Iterator[tuple[str, str]]:
    """Row and column of hits, or the byte where no field holds what was hit.

    Only the lines that have a hit are looked at again. Lines end with a line feed alone here, for
    the reader as for the counting.
    """
    csv.field_size_limit(2**31 - 1)
    spans: list[tuple[int, int, Hit]] = []
    line, location = 1, 0
    for hit in sorted(hits, key=lambda hit: hit.start):
        line, location = line + data.count(b"\n", location, hit.start), hit.start
        spans.append((line, line + data.count(b"\n", hit.start, hit.end), hit))
    lines = {number for first, last, _ in spans for number in range(first, last + 1)}
    in_fields: dict[int, Counter[str]] = {}
    text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="\n")
    rows = csv.reader(text)
    header: list[str] = []
    last = 0
    row_of: dict[int, int] = {}
    with suppress(csv.Error):  # a carriage return outside quotes: what follows is told by byte
        for number, row in enumerate(rows, 1):
            first, last = last + 1, rows.line_num
            header = header or row
            here = lines.intersection(range(first, last + 1))
            if not here:
                continue
            row_of |= dict.fromkeys(here, number)
            kinds = in_fields.setdefault(number, Counter())
            for index, value in enumerate(row):
                column = header[index] if index < len(header) else f"number {index + 1}"
                found = [hit.kind for hit in _IDENTITIES.hits(_coded(value))]
                kinds.update(found)
                if column in NUMBERS and _is_number(value):
                    continue
                where = f"row {number}, column {column}" if number > 1 else "the header"
                yield from ((where, kind) for kind in found)
    wanted = Counter((first, last, hit.kind) for first, last, hit in spans)
    for first, last, hit in spans:
        touched = {row_of.get(number, 0) for number in range(first, last + 1)}
        there = sum(in_fields[row][hit.kind] for row in touched if row in in_fields)
        if there < (wanted[first, last, hit.kind] if len(touched) == 1 else 1):
            yield f"byte {hit.start}", hit.kind


def _coded(text: str) -> bytes:
    """The bytes that were there, whatever their encoding was."""
    return text.encode("utf-8", "surrogateescape")


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _is_json(data: bytes) -> bool:
    return data[:1] in (b"{", b"[") and data.rstrip()[-1:] in (b"}", b"]")


def _in_json(data: bytes, inside: str, depth: int) -> Iterator[tuple[str, str]]:
    if not any(_base64_in(data)) and not any(_IDENTITIES.hits(data)):
        return
    content = json.loads(data)
    for location, value in _scalars(content, "", number=False):
        where = f"{inside}{location}"
        if isinstance(value, str):
            yield from ((where, kind) for _, kind in _in_text(value.encode(), "", "", depth))
        else:
            yield from ((where, hit.kind) for hit in _IDENTITIES.hits(str(value).encode()))


def _scalars(content: Any, location: str, *, number: bool) -> Iterator[tuple[str, Any]]:
    """Every key and value with its location, but no number where numbers are counts."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield f"a key of {location or 'the top'}", key
            below = f"{location}.{key}" if location else key
            yield from _scalars(value, below, number=number or key in NUMBERS)
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _scalars(value, f"{location}[{index}]", number=number)
    elif content is not None and not (number and _is_number(content)):
        yield location or "the top", content


def _in_gzip(data: bytes, suffix: str, location: str, depth: int) -> Iterator[tuple[str, str]]:
    unpacker = zlib.decompressobj(31)
    content = unpacker.decompress(data)
    if data[3]:  # a file name, a comment or an extra field
        yield from _in_text(data[: 1 << 16], "", "gzip header, ", depth)
    inner = location or "unpacked"
    yield from _in_bytes(content, "" if suffix == ".gz" else suffix, inner, depth + 1)
    if unpacker.unused_data:
        yield from _in_bytes(unpacker.unused_data, "", "after the gzip stream", depth + 1)


def _in_stream(data: bytes, unpacker: Any, location: str, depth: int) -> Iterator[tuple[str, str]]:
    """A bzip2 or zlib stream."""
    inside = f"{location}, " if location else ""
    content = unpacker.decompress(data)
    yield from _in_bytes(content, "", f"{inside}unpacked", depth + 1)
    if unpacker.unused_data:
        yield from _in_bytes(unpacker.unused_data, "", f"{inside}after the stream", depth + 1)


def _in_zip(data: bytes, inside: str, depth: int) -> Iterator[tuple[str, str]]:
    """Members, and whatever stands before, between and after them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        contents = [archive.read(member) for member in members]
    rest = bytearray(data)
    for member in members:
        name, extra = struct.unpack_from("<HH", data, member.header_offset + 26)
        start = member.header_offset + 30 + name + extra
        rest[start : start + member.compress_size] = b" " * member.compress_size
    for location, content in enumerate(contents, 1):
        yield from _in_bytes(content, "", f"{inside}member {location}", depth + 1)
    yield from _in_text(bytes(rest), "", f"{inside}between the members, ", depth)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """PNG (W3C) 5.3: length, type, data, checksum."""
    location = len(_PNG)
    while location + 12 <= len(data):
        length = int.from_bytes(data[location : location + 4], "big")
        kind = data[location + 4 : location + 8]
        yield kind, data[location + 8 : location + 8 + length]
        location += 12 + length
        if kind == b"IEND":
            break
    yield b"after", data[location:]


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """WebP container: type, length, data, padded to an even length."""
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    location = 12
    while location + 8 <= end:
        length = int.from_bytes(data[location + 4 : location + 8], "little")
        yield data[location : location + 4], data[location + 8 : location + 8 + length]
        location += 8 + length + length % 2
    yield b"after", data[max(location, end) if location < end else end :]


def _in_chunks(
    chunks: Iterable[tuple[bytes, bytes]], inside: str, depth: int
) -> Iterator[tuple[str, str]]:
    """Text of an image's file; its compressed pixels hold none."""
    for kind, data in chunks:
        if kind in _IMAGE_DATA or not data:
            continue
        name = "after the image" if kind == b"after" else f"chunk {kind.decode('latin-1')}"
        yield from _in_text(data, "", f"{inside}{name}, ", depth)
        for start in re.finditer(rb"\0", data[:512]):
            try:
                text = zlib.decompressobj().decompress(data[start.end() :].lstrip(b"\0\x01"))
            except zlib.error:
                try:
                    text = zlib.decompressobj().decompress(data[start.end() :])
                except zlib.error:
                    continue
            yield from _in_bytes(text, "", f"{inside}{name}, unpacked", depth + 1)


def _in_nifti(data: bytes, inside: str) -> Iterator[tuple[str, str]]:
    """Header and extensions, and what follows the voxels (nifti1.h); voxels of int16 that are too
    small to be letters hold no text."""
    count = int(np.prod(struct.unpack_from("<3h", data, 42), dtype=np.int64))
    start = int(struct.unpack_from("<f", data, 108)[0])
    voxels = np.frombuffer(data, "<i2", min(count, max(0, len(data) - start) // 2), start)
    short = struct.unpack_from("<h", data, 70)[0] == NIFTI_INT16
    low, high = int(voxels.min(initial=0)), int(voxels.max(initial=0))
    if not short or max(-low, high + 1) > NO_TEXT_HU:
        yield from _in_text(data, "", inside, 0)
        return
    yield from _in_text(data[:start], "", f"{inside}NIfTI header, ", 0)
    yield from _in_text(data[start + voxels.nbytes :], "", f"{inside}after the voxels, ", 0)


def _in_sqlite(path: Path) -> Iterator[tuple[str, str]]:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.text_factory = bytes
    try:
        pages, size = (connection.execute(f"PRAGMA {word}").fetchone()[0] for word in _PAGES)
        with open(path, "rb") as stream:
            stream.seek(pages * size)
            yield from _in_text(stream.read(), "", "after the last page, ", 0)
        for content in _free_pages(path, size):
            yield from _in_text(content, "", "free pages, ", 0)
        tables = connection.execute("SELECT name, sql, type FROM sqlite_master")
        for name, schema, kind in tables.fetchall():
            table = name.decode()
            yield from _in_text(schema or b"", "", "the schema, ", 0)
            if kind != b"table":
                continue
            quoted = table.replace('"', '""')
            cursor = connection.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608
            columns = [str(column[0]) for column in cursor.description]
            for number, row in enumerate(cursor, 1):
                for column, value in zip(columns, row, strict=True):
                    if value is None or (column in NUMBERS and _is_number(value)):
                        continue
                    location = f"table {table}, row {number}, column {column}"
                    content = value if isinstance(value, bytes) else str(value).encode()
                    yield from ((location, kind) for _, kind in _in_bytes(content))
    except (sqlite3.Error, *UNREADABLE):
        yield from _in_text(path.read_bytes(), "", "", 0)
    finally:
        connection.close()


def _free_pages(path: Path, size: int) -> Iterator[bytes]:
    """Yield what was deleted and not yet written over (sqlite.org/fileformat2, 1.5), some pages at
    a time: the index of a large archive is larger than memory."""
    with open(path, "rb") as stream:

        def page(number: int) -> bytes:
            stream.seek((number - 1) * size)
            return stream.read(size)

        trunk, seen = int.from_bytes(page(1)[32:36], "big"), set()
        while trunk and trunk not in seen:
            seen.add(trunk)
            content = page(trunk)
            count = min(int.from_bytes(content[4:8], "big"), size // 4 - 2)
            leaves = struct.unpack_from(f">{count}I", content, 8)
            yield b"\n".join([content[8 + 4 * count :], *map(page, leaves)])
            trunk = int.from_bytes(content[:4], "big")


_PAGES = ("page_count", "page_size")
