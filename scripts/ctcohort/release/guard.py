"""The guard: no identifier of a patient where none may be.

`search` reads every file below a folder once, unpacks what is packed (gzip, zip, SQLite, the text
of PNG and WebP, base64 inside text) and names file and place of what it finds, never the value.
`check_volume` proves that a volume's file holds its four arrays and not a byte more.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import csv
import hashlib
import io
import json
import os
import re
import sqlite3
import struct
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from ctcohort.base.faults import InputError
from ctcohort.base.project import ROOT
from ctcohort.base.workdir import Workdir
from ctcohort.release.identities import (
    ACCESSION,
    BIRTH_DATE,
    MRN,
    NAME,
    Hit,
    Identities,
    redacted,
    words_of,
)

MEMBERS = {
    "ct": ("<i2", (None, None, None)),
    "spacing": ("<f8", (3,)),
    "origin": ("<f8", (3,)),
    "direction": ("<f8", (3, 3)),
}
"""The members of a volume's npz in their order: dtype, and shape where it is fixed."""

_NO_TIME = 0, 0x21
"""The first day that a zip archive can name."""

NO_TEXT_HU = 8192
"""The high byte of no smaller number is a letter or digit: an array of them cannot hold text."""

NUMBERS = frozenset(
    {
        *("acquisition_number", "acquisition_time", "instance_number", "series_number"),
        *("bytes", "estimated_bytes", "npz_bytes", "raw_bytes", "size", "voxels"),
        *("modified", "starttime", "endtime", "job_hash"),
    }
)
"""Columns and keys whose numbers are counts and times; a number there is nobody's MRN."""

INSTALLED = (".snakemake/conda", ".snakemake/conda-archive", ".snakemake/singularity")
"""Folders of installed programs."""

NIFTI_INT16 = 4

STEP = 1 << 18
"""Bytes of compressed data that are unpacked at once."""

DEPTH = 6
"""Of packed things in packed things."""

BATCH = 64
"""Files per task of the searching processes."""

UNREADABLE = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, NotImplementedError, OSError),
    *(RuntimeError, SyntaxError, ValueError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What reading content raises that is damaged, or made to look like something else."""

_WIDE = "wide"

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")
_BASE64_URL = re.compile(rb"[A-Za-z0-9_-]{40,}={0,2}")
_HEXADECIMAL = re.compile(rb"[0-9a-fA-F]+|[0-9]+")
_ZLIB = frozenset({b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"})
_PNG = b"\x89PNG\r\n\x1a\n"
_IMAGE_DATA = frozenset({b"IDAT", b"fdAT", b"VP8 ", b"VP8L", b"ALPH", b"ANMF"})


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found of a volume's file.

    `faults` are places with what is wrong there. `wide` says that there are numbers from
    `NO_TEXT_HU` on, so that its voxels must be searched.
    """

    faults: list[str]
    wide: bool
    sha256: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that may not be there: which file, where in it, and what kind of thing."""

    file: str
    place: str
    kind: str

    def __str__(self) -> str:
        return f"{self.file}: {self.place}: {self.kind}"

    @property
    def is_archive_path(self) -> bool:
        """Whether it stands in the path of a file of the folder archive, as the index keeps it."""
        column = self.place.endswith(("column folder", "column name"))
        located = ".facts.location." in self.place
        return (self.file == "index/folder.sqlite" and column) or (
            self.file.startswith("index/answers/") and located
        )

    def below(self, folder: Path) -> Finding:
        """The same finding, with the file's name as seen from above `folder`."""
        return replace(self, file=str(folder / self.file))


def summary(findings: Iterable[Finding]) -> list[str]:
    """One line per file and kind: the first place, and how many more there are."""
    places: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        places.setdefault((finding.file, finding.kind), []).append(finding.place)
    return [
        f"{file}: {first}: {kind}" + (f" (and {len(more)} more places)" if more else "")
        for (file, kind), (first, *more) in places.items()
    ]


def search(
    folder: Path, identities: Identities, *, leave: Collection[Path] = (), threads: int = 1
) -> list[Finding]:
    """Search names and contents of all files below `folder`.

    Parameters
    ----------
    leave : collection of Path
        Files and folders that may hold identifiers.
    threads : int
        Processes that read.
    """
    left = {path.resolve() for path in leave} | {(folder / name).resolve() for name in INSTALLED}
    files = list(_files(folder, left))
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    work = partial(_search_batch, folder)
    findings: list[Finding] = []
    if threads == 1 or len(batches) < 2:
        _begin(identities)
        for found in map(work, batches):
            findings += found
        return findings
    with ProcessPoolExecutor(threads, initializer=_begin, initargs=(identities,)) as pool:
        for found in pool.map(work, batches):
            findings += found
    return findings


def check_volume(path: Path) -> Proof:
    """Prove that a file is a volume and nothing else.

    Every byte is accounted for: the local entries follow each other, the directory follows them,
    and the file ends with it; no time stamp, comment or extra field; each member is the npy header
    that NumPy writes and exactly its array.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        faults = list(_volume_faults(content))
    except (struct.error, zlib.error, ValueError, IndexError, SyntaxError) as error:
        faults = [f"is not a volume's npz ({type(error).__name__})"]
    return Proof([fault for fault in faults if fault != _WIDE], _WIDE in faults, digest)


def identities_here(
    reports: Path,
    columns: Mapping[str, Any],
    common: Iterable[str] = (),
    *,
    programs: Iterable[Path] = (),
    accessions: bool,
) -> Identities:
    """Every patient that a working directory knows: by its tables and by the headers in ``raw/``.

    Parameters
    ----------
    reports : Path
        The report table. Beside the columns that the config names, those that are called like a
        patient's name or birth date are read.
    columns : mapping
        The config's `columns`, and `reports_sheet` as `sheet`.
    common : iterable of str
        Words that may be found, in upper case, beside those of the workflow's own files.
    programs : iterable of Path
        Folders of other programs that write here; their words are common too.
    accessions : bool
        Whether accessions may not be found either.

    Raises
    ------
    InputError
        No patient is known.
    """
    folders = [ROOT / "scripts", ROOT / "rules", *programs]
    files = [path for folder in folders for path in _texts(folder)]
    files += [path for path in (ROOT / "config.yaml", Path("config.yaml")) if path.exists()]
    here = re.findall(r"[^\W\d_]+", str(Path().absolute()).upper())
    identities = Identities(common={*words_of(files), *common, *here})
    kinds = {columns["accession"]: ACCESSION, "accession": ACCESSION}
    kinds |= {columns["mrn"]: MRN, "mrn": MRN, "patient_mrn": MRN}
    for table, its_sheet in ((reports, columns.get("sheet")), (Workdir().cohort, None)):
        for kind, value in _named_in_table(table, its_sheet, kinds) if table.exists() else ():
            if accessions or kind != ACCESSION:
                identities.add(kind, value)
    for kind, value in _named_in_headers(Workdir().raws):
        if accessions or kind != ACCESSION:
            identities.add(kind, value)
    if not identities.knows_a_patient:
        raise InputError(
            f"no patient is known in {Path().absolute()}: neither {reports} nor cohort.csv nor raw/"
            " names one, so there is nothing to search for; is this the working directory?"
        )
    return identities


def _texts(folder: Path) -> list[Path]:
    """The text files of a program."""
    endings = {".py", ".smk", ".yaml", ".html", ".css", ".js"}
    return sorted(path for path in folder.rglob("*") if path.suffix in endings)


_IDENTITIES = Identities()


def _begin(identities: Identities) -> None:
    global _IDENTITIES
    _IDENTITIES = identities


def _files(folder: Path, left: Set[Path]) -> Iterator[Path]:
    """Every file below `folder` and below what is linked from there; each real folder once, by
    its own name rather than a link's."""
    links = deque([folder])
    seen: set[Path] = set()
    while links:
        for where, folders, names in os.walk(links.popleft()):
            here = Path(where)
            real = _real(here)
            if real in seen or real in left or not left.isdisjoint(real.parents):
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            links.extend(here / name for name in folders if (here / name).is_symlink())
            for name in sorted(names):
                if _real(here / name) not in left and (here / name).is_file():
                    yield here / name


def _real(path: Path) -> Path:
    """As `Path.resolve`, which raises for a link to itself."""
    return Path(os.path.realpath(path))


def _search_batch(folder: Path, files: list[Path]) -> list[Finding]:
    findings = []
    for path in files:
        try:
            findings += list(_search_file(folder, path))
        except FileNotFoundError:
            continue  # gone meanwhile
        except PermissionError:
            findings.append(Finding(_shown(folder, path), "the file", "cannot be read"))
    return findings


def _shown(folder: Path, path: Path) -> str:
    """The file's name in a message: with stars for what may not be told."""
    relative = str(path.relative_to(folder))
    plain = unquote(relative)
    shown = redacted(plain, _IDENTITIES)
    return relative if shown == plain else shown


def _search_file(folder: Path, path: Path) -> Iterator[Finding]:
    shown = _shown(folder, path)
    for name in {str(path.relative_to(folder)), _decoded_name(path.name)}:
        for hit in _IDENTITIES.hits(name.encode("utf-8", "surrogateescape")):
            yield Finding(shown, "its name", hit.kind)
    if path.suffix == ".npz":
        proof = check_volume(path)
        yield from (Finding(shown, fault, "structure") for fault in proof.faults)
        if not proof.faults and not proof.wide:
            return
    for place, kind in dict.fromkeys(_in_file(path)):
        yield Finding(shown, redacted(place, _IDENTITIES), kind)


def _decoded_name(name: str) -> str:
    """Snakemake names its metadata files after the base64 of a path."""
    try:
        return base64.urlsafe_b64decode(name.encode()).decode()
    except (ValueError, UnicodeError):
        return name


def _in_file(path: Path) -> Iterator[tuple[str, str]]:
    with open(path, "rb") as stream:
        start = stream.read(16)
    if start == b"SQLite format 3\0":
        yield from _in_sqlite(path)
        return
    yield from _in_bytes(path.read_bytes(), path.suffix)


def _in_bytes(data: bytes, suffix: str = "", place: str = "", depth: int = 0) -> Iterator[Any]:
    """Place and kind of what is found in a file's, a member's or a field's content.

    What is not what its first bytes say, or cannot be read to its end, is searched as it is.
    """
    try:
        yield from _in_content(data, suffix, place, depth)
    except UNREADABLE:
        yield from _in_text(data, "", f"{place}, " if place else "", depth)


def _in_content(data: bytes, suffix: str, place: str, depth: int) -> Iterator[tuple[str, str]]:
    inside = f"{place}, " if place else ""
    if depth > DEPTH:
        yield f"{place or 'the content'}", "packed too deep to be searched"
    elif data[:2] == b"\x1f\x8b":
        yield from _in_gzip(data, suffix, place, depth)
    elif data[:3] == b"BZh":
        yield from _in_stream(data, bz2.BZ2Decompressor(), place, depth)
    elif data[:2] in _ZLIB:
        yield from _in_stream(data, zlib.decompressobj(), place, depth)
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
    hits = list(_IDENTITIES.hits(data))
    if hits and suffix == ".csv" and not inside:
        yield from _in_csv(data, hits)
    else:
        for hit in hits:
            yield f"{inside}byte {hit.start}", hit.kind
    for match in _base64_in(data):
        yield from _in_base64(match[0], f"{inside}base64 at byte {match.start()}", depth)


def _base64_in(data: bytes) -> Iterator[re.Match[bytes]]:
    """What may be base64; not checksums, which are not."""
    for found in _BASE64.finditer(data):
        if not _HEXADECIMAL.fullmatch(found[0]):
            yield found
    for found in _BASE64_URL.finditer(data):
        if b"-" in found[0] or b"_" in found[0]:
            yield found


def _in_base64(text: bytes, place: str, depth: int) -> Iterator[tuple[str, str]]:
    try:
        data = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return
    yield from _in_bytes(data, "", place, depth + 1)
    for bits in (15, -15):  # with zlib's header, and without any
        unpacker = zlib.decompressobj(bits)
        with suppress(zlib.error):
            unpacked = unpacker.decompress(data)
            if unpacker.eof:
                yield from _in_bytes(unpacked, "", place, depth + 1)


def _in_csv(data: bytes, hits: list[Hit]) -> Iterator[tuple[str, str]]:
    """Row and column of hits, or the byte where no field holds what was hit.

    Only the lines that have a hit are looked at again. Lines end with a line feed alone here, for
    the reader as for the counting.
    """
    csv.field_size_limit(2**31 - 1)
    spans: list[tuple[int, int, Hit]] = []
    line, place = 1, 0
    for hit in sorted(hits, key=lambda hit: hit.start):
        line, place = line + data.count(b"\n", place, hit.start), hit.start
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
    content = json.loads(data)
    if not any(_base64_in(data)) and not any(_IDENTITIES.hits(data)):
        return
    for place, value in _scalars(content, "", number=False):
        where = f"{inside}{place}"
        if isinstance(value, str):
            yield from ((where, kind) for _, kind in _in_text(value.encode(), "", "", depth))
        else:
            yield from ((where, hit.kind) for hit in _IDENTITIES.hits(str(value).encode()))


def _scalars(content: Any, place: str, *, number: bool) -> Iterator[tuple[str, Any]]:
    """Every key and value with its place, but no number where numbers are counts."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield f"a key of {place or 'the top'}", key
            below = f"{place}.{key}" if place else key
            yield from _scalars(value, below, number=number or key in NUMBERS)
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _scalars(value, f"{place}[{index}]", number=number)
    elif content is not None and not (number and _is_number(content)):
        yield place or "the top", content


def _in_gzip(data: bytes, suffix: str, place: str, depth: int) -> Iterator[tuple[str, str]]:
    unpacker = zlib.decompressobj(31)
    content = unpacker.decompress(data)
    if data[3]:  # a file name, a comment or an extra field
        yield from _in_text(data[: 1 << 16], "", "gzip header, ", depth)
    inner = place or "unpacked"
    yield from _in_bytes(content, "" if suffix == ".gz" else suffix, inner, depth + 1)
    if unpacker.unused_data:
        yield from _in_bytes(unpacker.unused_data, "", "after the gzip stream", depth + 1)


def _in_stream(data: bytes, unpacker: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    """A bzip2 or zlib stream."""
    inside = f"{place}, " if place else ""
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
    for place, content in enumerate(contents, 1):
        yield from _in_bytes(content, "", f"{inside}member {place}", depth + 1)
    yield from _in_text(bytes(rest), "", f"{inside}between the members, ", depth)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """PNG (W3C) 5.3: length, type, data, checksum."""
    place = len(_PNG)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        yield kind, data[place + 8 : place + 8 + length]
        place += 12 + length
        if kind == b"IEND":
            break
    yield b"after", data[place:]


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """WebP container: type, length, data, padded to an even length."""
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    place = 12
    while place + 8 <= end:
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        yield data[place : place + 4], data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
    yield b"after", data[max(place, end) if place < end else end :]


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
            cursor = connection.execute(f'SELECT * FROM "{quoted}"')
            columns = [str(column[0]) for column in cursor.description]
            for number, row in enumerate(cursor, 1):
                for column, value in zip(columns, row, strict=True):
                    if value is None or (column in NUMBERS and _is_number(value)):
                        continue
                    place = f"table {table}, row {number}, column {column}"
                    yield from ((place, kind) for _, kind in _in_field(value))
    except (sqlite3.Error, *UNREADABLE):
        yield from _in_text(path.read_bytes(), "", "", 0)
    finally:
        connection.close()


def _free_pages(path: Path, size: int) -> Iterator[bytes]:
    """What was deleted and not yet written over (sqlite.org/fileformat2, 1.5), some pages at a
    time: the index of a large archive is larger than memory."""
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


def _in_field(value: object) -> Iterator[tuple[str, str]]:
    data = value if isinstance(value, bytes) else str(value).encode()
    if data[:1] == b"\x78":
        with suppress(zlib.error):  # text that begins with an x
            data = zlib.decompress(data)
    yield from _in_bytes(data)


def _volume_faults(content: bytes) -> Iterator[str]:
    place = 0
    directory = b""
    for name, (dtype, shape) in MEMBERS.items():
        member = f"{name}.npy".encode()
        fixed = content[place : place + 30]
        if fixed[:4] != b"PK\x03\x04" or len(fixed) < 30:
            yield f"byte {place}: expected the member {name}.npy"
            return
        version, flags, method, time, day, checksum, packed, size, length, extra = struct.unpack(
            "<HHHHHIIIHH", fixed[4:]
        )
        if content[place + 30 : place + 30 + length] != member:
            yield f"byte {place + 30}: expected the member {name}.npy"
            return
        if (version, flags, method, time, day, extra) != (20, 0, 8, *_NO_TIME, 0):
            yield f"{name}.npy: its entry has a time stamp, an extra field or another version"
            return
        start = place + 30 + length
        yield from _member_faults(
            name, content[start : start + packed], dtype, shape, size, checksum
        )
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + fixed[4:]
        directory += struct.pack("<HHHII", 0, 0, 0, 0o600 << 16, place) + member
        place = start + packed
    counts = len(MEMBERS), len(MEMBERS), len(directory), place, 0
    end = directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, *counts)
    if content[place : place + len(end)] != end:
        yield f"byte {place}: expected the directory of {len(MEMBERS)} members and no comment"
    elif len(content) != place + len(end):
        yield f"byte {place + len(end)}: {len(content) - place - len(end)} bytes after the end"


def _member_faults(
    name: str, packed: bytes, dtype: str, shape: tuple[int | None, ...], size: int, checksum: int
) -> Iterator[str]:
    unpacker = zlib.decompressobj(-15)
    blocks = (
        unpacker.decompress(packed[start : start + STEP]) for start in range(0, len(packed), STEP)
    )
    start = next(blocks, b"")
    header_size = 10 + int.from_bytes(start[8:10], "little")
    stream = io.BytesIO(start[:header_size])
    if np.lib.format.read_magic(stream) != (1, 0):
        yield f"{name}.npy: is not an npy file of version 1.0"
        return
    there, fortran, kind = np.lib.format.read_array_header_1_0(stream)
    fits = len(there) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, there, strict=True)
    )
    if fortran or kind.str != dtype or not fits:
        yield f"{name}.npy: is {kind.str} of {len(there)} axes; expected {dtype} of {len(shape)}"
        return
    if start[:header_size] != _npy_header(there, dtype):
        yield f"{name}.npy: its header is not the one that NumPy writes"
    total, crc, low, high = len(start), zlib.crc32(start), 0, 0
    rest = start[header_size:]
    while rest or total < size:
        if dtype == "<i2":
            values = np.frombuffer(rest, dtype, len(rest) // 2)
            low, high = (
                min(low, int(values.min(initial=0))),
                max(high, int(values.max(initial=0))),
            )
        block = next(blocks, b"")
        if not block:
            break
        total += len(block)
        crc = zlib.crc32(block, crc)
        rest = rest[len(rest) // 2 * 2 :] + block
    if total != size or size != header_size + int(np.prod(there)) * kind.itemsize:
        yield f"{name}.npy: has {total} bytes; expected those of its array"
    if not unpacker.eof or unpacker.unused_data or any(blocks) or crc != checksum:
        yield f"{name}.npy: its compressed data is longer, shorter or other than its entry says"
    if max(-low, high + 1) > NO_TEXT_HU:
        yield _WIDE


def _npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    stream = io.BytesIO()
    facts = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue()


def _named_in_table(
    table: Path, sheet: str | None, columns: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    from ctcohort.cohort.report_table import Table

    opened = Table(table, sheet)
    kinds = {name: kind for name in opened.header if (kind := _kind(name, columns))}
    for values in opened.rows(list(kinds)):
        yield from zip(kinds.values(), values, strict=True)


def _kind(column: str, columns: Mapping[str, str]) -> str:
    if column in columns:
        return columns[column]
    plain = re.sub(r"[^a-z]", "", column.lower())
    if plain in ("dob", "birthdate", "patientbirthdate", "dateofbirth", "birthday"):
        return BIRTH_DATE
    if plain.endswith(("patientname", "lastname", "firstname", "surname", "familyname")) or (
        plain in ("name", "patname", "givenname")
    ):
        return NAME
    return ""


def _named_in_headers(raw: Path) -> Iterator[tuple[str, str]]:
    from pydicom import dcmread

    kinds = {
        "PatientID": MRN,
        "OtherPatientIDs": MRN,
        "PatientName": NAME,
        "OtherPatientNames": NAME,
        "PatientBirthDate": BIRTH_DATE,
        "AccessionNumber": ACCESSION,
    }
    folders = sorted(path for path in raw.iterdir() if path.is_dir()) if raw.is_dir() else []
    for folder in folders:
        first = next(iter(sorted(folder.glob("*.dcm"))), None)
        if first is None:
            continue
        dataset = dcmread(first, stop_before_pixels=True, specific_tags=list(kinds))
        for keyword, kind in kinds.items():
            value = dataset.get(keyword) or ""
            values = value if isinstance(value, (list, tuple)) else [value]
            for each in values:
                yield kind, str(each)
