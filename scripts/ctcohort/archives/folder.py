"""A folder tree of DICOM files as an archive.

Headers are read once: an SQLite file in the store remembers each file's size, modification time
and facts, so that a later run reads only what is new or changed. It also remembers every file that
was passed over, and why. The tree is never written to.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import sqlite3
import stat
import sys
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import fields, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ctcohort.archives.protocol import Arrived, FoundSeries, Query, nobody
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.files import copy, delete, seal
from ctcohort.base.naming import is_uid
from ctcohort.base.seals import assert_unchanged, seal_of
from ctcohort.dicom.headers import (
    TAGS,
    Frame,
    Header,
    header_of_file,
    patient_mark,
    text_of,
)
from ctcohort.dicom.reading import UNDEFINED, NotDicom, open_file

BATCH = 512
"""Files per task of the reading processes, and per commit."""

AHEAD = 3
"""Batches per reading process that are found before one is waited for."""

_COLUMNS = ("sop_instance_uid", "series_uid", "study_uid", "accession", "patient", "modality")
"""Facts that have a column of their own."""

_PACKED = [one.name for one in fields(Header) if one.name not in (*_COLUMNS, "frames", "location")]
_OF_FRAME = [one.name for one in fields(Frame)]
"""Facts that are packed, in their order."""

VERSION = zlib.crc32(repr((3, _PACKED, _OF_FRAME)).encode()) >> 1
"""Of the index; one of another version, or with other facts, is read anew."""

PASSED_OVER = {
    "not_dicom": "text, or another kind of file",
    "dicomdir": "a DICOMDIR",
    "empty": "no bytes",
    "unrecognised": "no DICOM at its beginning, nor another known kind of file",
    "unreadable": "begins as DICOM, but its header cannot be read",
    "no_uid": "no SOPInstanceUID or SeriesInstanceUID, or one that cannot name a file",
    "forbidden": "may not be read, or the file system fails",
    "unnamable": "a file or folder whose name is not UTF-8",
}
"""Why a file is no instance of the index."""

_LOST = ("unreadable", "no_uid", "forbidden", "empty", "unrecognised")
"""What a slice that was damaged looks like; the last two only beside files of the same ending."""

_OTHER_KINDS = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"RIFF",
    b"%PDF",
    b"PK",
    b"\x1f\x8b",
    b"Rar!",
    b"7z\xbc\xaf",
    b"\xd0\xcf\x11\xe0",
    b"SQLite format",
    b"MZ",
    b"\0\0\0\1Bud1",
    b"\0\5\x16\7",
    b"\x7fELF",
    b"\x93NUMPY",
)
"""First bytes of pictures, documents, archives, programs and what desktops leave behind."""

_NUMBERED = re.compile(
    r"([A-Za-z]{1,3}[-_]?)?\d{1,8}(\.[A-Za-z]{1,4})?|\d+(\.\d+){3,}(\.[A-Za-z]+)?"
)
_WORDS = frozenset({"ct", "dicom", "dicomdir", "image", "images", "readme", "series", "study"})
"""Names of files and folders that name nobody."""

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR (PS3.4 I.4)."""

_PLACES = ",".join("?" * len(_LOST))

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    folder TEXT, name TEXT, size INTEGER, modified INTEGER,
    instance TEXT, series TEXT, study TEXT, accession TEXT, patient TEXT, modality TEXT,
    header BLOB, cause TEXT,
    PRIMARY KEY (folder, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_study ON files (study);
CREATE INDEX IF NOT EXISTS by_series ON files (series);
CREATE INDEX IF NOT EXISTS by_accession ON files (accession);
CREATE INDEX IF NOT EXISTS by_patient ON files (patient);
CREATE INDEX IF NOT EXISTS passed_over ON files (folder, cause) WHERE cause IS NOT NULL;
"""

UNNAMABLE = -1
"""In the place of the size of what is named so that the index cannot open it."""

_File = tuple[str, str, int, int]
"""Folder relative to the root, name, size in bytes, modification time in ns."""


class FolderArchive:
    """See `archives.Archive`.

    Parameters
    ----------
    root : Path
        Any tree; a file that is no instance is passed over, counted, and kept with its cause.
    link : bool
        Hard links instead of copies; falls back to copies across file systems.
    store : Path
        Where the index is kept.
    key : bytes
        Key of `headers.patient_mark`.
    """

    answers_are_free = True

    def __init__(self, root: Path, *, link: bool, store: Path, key: bytes) -> None:
        self.root = root
        self.link = link
        self.store = store
        self.key = key

    def serving(self, accession: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """See `protocol.Archive.serving`: a folder has no limits to keep to."""
        return nullcontext()

    def prepare(self, *, threads: int) -> None:
        """Read the headers of files that are new or changed since the last run."""
        if not self.root.is_dir():
            raise InputError(
                f"archive.folder.path: {self.root} is not a folder; expected a tree of DICOM files"
            )
        self.store.mkdir(parents=True, exist_ok=True)
        path = self.store / "folder.sqlite"
        try:
            assert_unchanged(path)
            read = self._update(path, threads)
        except (InputError, sqlite3.DatabaseError):
            print(f"warning: {path}: is damaged; every header is read anew", file=sys.stderr)
            delete(path)
            read = self._update(path, threads)
        seal(path)
        known, images = self.index.execute("SELECT count(*), count(instance) FROM files").fetchone()
        print(
            f"folder index: {known} files, {images} of them DICOM instances; {read} read now",
            file=sys.stderr,
        )
        for line in told(self.index, self.key):
            print(f"folder index: {line}", file=sys.stderr)
        if not images:
            raise InputError(
                f"archive.folder.path: {self.root} holds no DICOM instance; expected the tree with"
                " the hospital's DICOM files"
            )

    def _update(self, path: Path, threads: int) -> int:
        """Open the index and read what is new or changed; return how many files that were.

        Without its seal the index is believed while it is written to, and after a process was
        killed at that: SQLite's own journal then puts it right.
        """
        seal_of(path).unlink(missing_ok=True)
        self.index = sqlite3.connect(path)
        if self.index.execute("PRAGMA user_version").fetchone() != (VERSION,):
            self.index.execute("DROP TABLE IF EXISTS files")
            self.index.execute(f"PRAGMA user_version = {VERSION}")
        self.index.executescript(_SCHEMA)
        self.index.execute("DELETE FROM files WHERE cause = 'forbidden'")  # it may be allowed now
        read = 0
        for rows in self._read(threads):
            self.index.executemany(
                "INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows
            )
            self.index.commit()
            read += len(rows)
            if read % (BATCH * 20) < BATCH:
                print(f"folder index: {read} files read", file=sys.stderr)
        self.index.execute("DELETE FROM files WHERE folder NOT IN (SELECT folder FROM seen)")
        self.index.commit()
        return read

    def find(self, query: Query) -> list[FoundSeries]:
        """See `protocol.Archive.find`."""
        if query.study_uid:
            where, values = "study = ?", [query.study_uid]
        else:
            where = f"accession IN ({','.join('?' * len(query.accession_numbers))})"
            values = list(query.accession_numbers)
        rows = self.index.execute(
            f"SELECT series, study, patient, max(modality), count(DISTINCT instance) FROM files"  # noqa: S608
            f" WHERE {where} AND cause IS NULL GROUP BY series, study, patient",
            values,
        )
        return [
            FoundSeries(
                series,
                study,
                patient,
                modality,
                count,
                None,
                unreadable=len(lost_beside(self.index, series, study)),
            )
            for series, study, patient, modality, count in rows.fetchall()
        ]

    def headers(self, series: FoundSeries) -> list[Header]:
        """Headers of a series; copies of a file count as one, different contents as conflicting."""
        rows = self.index.execute(
            "SELECT folder, name, instance, series, study, accession, patient, modality, header"
            " FROM files WHERE series = ? AND study = ?"
            " AND cause IS NULL ORDER BY instance, folder, name",
            (series.series_uid, series.study_uid),
        )
        by_uid: dict[str, list[Header]] = {}
        for folder, name, *columns, packed in rows:
            header = _unpacked(columns, packed, os.path.join(folder, name))
            by_uid.setdefault(header.sop_instance_uid, []).append(header)
        return [self._one(copies) for copies in by_uid.values()]

    def fetch(self, instances: Sequence[Header], into: Path, arrived: Arrived = nobody) -> None:
        """See `protocol.Archive.fetch`."""
        for header in instances:
            source = self.root / header.location
            part = into / f".{header.sop_instance_uid}.{os.getpid()}"
            try:
                _copy(source, part, link=self.link)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise _unreadable(header, error) from None
            part.replace(into / f"{header.sop_instance_uid}.dcm")
            part.unlink(missing_ok=True)  # two links to one file are not renamed onto each other
            arrived(into / f"{header.sop_instance_uid}.dcm")

    def _changed(self) -> Iterator[_File]:
        """Walk the tree: what must be read. Drops from the index what a folder no longer has, and
        notes the folders that it has seen."""
        self.index.execute("CREATE TEMP TABLE seen (folder TEXT PRIMARY KEY)")
        for folder, files in _walk(self.root):
            self.index.execute("INSERT OR IGNORE INTO seen VALUES (?)", (folder,))
            known = {
                name: (size, modified)
                for name, size, modified in self.index.execute(
                    "SELECT name, size, modified FROM files WHERE folder = ?", (folder,)
                )
            }
            changed = [file for file in files if known.pop(file[1], None) != file[2:]]
            gone = [(folder, name) for name in known]
            self.index.executemany("DELETE FROM files WHERE folder = ? AND name = ?", gone)
            yield from changed

    def _read(self, threads: int) -> Iterator[list[tuple[object, ...]]]:
        """Rows of what must be read, a batch at a time: memory does not grow with the tree."""
        changed = self._changed()
        batches = iter(lambda: list(islice(changed, BATCH)), [])
        work = partial(_read_batch, self.root, self.key)
        first = list(islice(batches, 2))
        if threads == 1 or len(first) < 2:
            yield from map(work, chain(first, batches))
            return
        with ProcessPoolExecutor(threads) as pool:
            reading: deque[Future[list[tuple[object, ...]]]] = deque()
            for batch in chain(first, batches):
                reading.append(pool.submit(work, batch))
                if len(reading) > AHEAD * threads:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()

    def _one(self, copies: list[Header]) -> Header:
        first = copies[0]
        if len(copies) == 1:
            return first
        alike = [replace(copy, location="") == replace(first, location="") for copy in copies]
        same = all(alike) and len({self._pixels(copy) for copy in copies}) == 1
        return replace(first, copies=len(copies), conflicting=not same)

    def _pixels(self, header: Header) -> bytes:
        """A digest of an instance's pixel data, whatever transfer syntax it is in."""
        try:
            with open(self.root / header.location, "rb") as stream:
                file = open_file(stream)
                if file.start is None:
                    return b""
                return hashlib.sha256(file.value(_most(header, file.length))).digest()
        except OSError as error:
            raise _unreadable(header, error) from None
        except Exception:
            return header.location.encode()  # a deflated file that is cut off equals no other


def _most(header: Header, length: int) -> int:
    """Return the length of the pixel data to compare: no more than the header describes."""
    if length == UNDEFINED:
        return length
    bits = header.bits_allocated or 16
    return (header.rows or 0) * (header.columns or 0) * header.frame_count * bits // 8


def told(index: sqlite3.Connection, key: bytes) -> Iterator[str]:
    """Lines on the files that were passed over: how many for which cause, and one of them."""
    causes = index.execute(
        "SELECT cause, count(*) FROM files WHERE cause IS NOT NULL GROUP BY cause ORDER BY 2 DESC"
    )
    for cause, count in causes.fetchall():
        folder, name = index.execute(
            "SELECT folder, name FROM files WHERE cause = ? ORDER BY folder, name", (cause,)
        ).fetchone()
        example = shown(index, os.path.normpath(os.path.join(folder, name)), key)
        yield f"{count} passed over: {PASSED_OVER[cause]}, e.g. {example}"


def passed_over(path: Path, key: bytes, found: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Lines on the files that were passed over beside series, or, without any, in all.

    Parameters
    ----------
    path : Path
        The index; nothing is said where there is none of this version.
    key : bytes
        Key of `headers.patient_mark`.
    found : sequence of (series UID, study UID)
    """
    if not path.exists():
        return
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as index:
        if index.execute("PRAGMA user_version").fetchone() != (VERSION,):
            return
        if not found:
            yield from told(index, key)
        lost = dict(file for pair in found for file in lost_beside(index, *pair))
        for cause, count in Counter(lost.values()).most_common():
            example = min(name for name, why in lost.items() if why == cause)
            yield (
                f"{count} beside its instances: {PASSED_OVER[cause]}, e.g."
                f" {shown(index, os.path.normpath(example), key)}"
            )


def shown(index: sqlite3.Connection, path: str, key: bytes) -> str:
    """A path relative to the archive for a log: what could name a patient becomes ``...``.

    Shown are UIDs and accessions of the index, numbers with at most three letters before them, and
    words such as ``images``; never what is the PatientID of an instance.
    """
    return "/".join(part if _names_nobody(index, part, key) else "..." for part in path.split("/"))


def _names_nobody(index: sqlite3.Connection, part: str, key: bytes) -> bool:
    stem = os.path.splitext(part)[0]
    mark = patient_mark(stem, key)
    if index.execute("SELECT 1 FROM files WHERE patient = ? LIMIT 1", (mark,)).fetchone():
        return False
    if _NUMBERED.fullmatch(part) or stem.lower() in _WORDS:
        return True
    known = "SELECT 1 FROM files WHERE {} = ? LIMIT 1"
    return any(
        index.execute(known.format(column), (name,)).fetchone()
        for column in ("accession", "study", "series")
        for name in (part, stem)
    )


def lost_beside(index: sqlite3.Connection, series: str, study: str) -> list[tuple[str, str]]:
    """Path and cause of the files that may be lost slices of a series.

    They lie in its folder and could not be read. Where a folder holds several studies, only those
    count whose neighbour in the order of names is an instance of the series.
    """
    lost = []
    folders = index.execute(
        "SELECT DISTINCT folder FROM files WHERE series = ? AND study = ? AND cause IS NULL"
        " ORDER BY folder",
        (series, study),
    )
    for (folder,) in folders.fetchall():
        suspects = index.execute(
            f"SELECT name, cause FROM files WHERE folder = ? AND cause IN ({_PLACES})",  # noqa: S608
            (folder, *_LOST),
        ).fetchall()
        if not suspects:
            continue
        names = index.execute(
            "SELECT name FROM files WHERE folder = ? AND series = ? AND cause IS NULL",
            (folder, series),
        )
        known = {os.path.splitext(name)[1] for (name,) in names}
        alone = not index.execute(
            "SELECT 1 FROM files WHERE folder = ? AND study != ? AND cause IS NULL LIMIT 1",
            (folder, study),
        ).fetchone()
        lost += [
            (os.path.join(folder, name), cause)
            for name, cause in suspects
            if cause in _LOST[:3]
            or (os.path.splitext(name)[1] in known and not name.startswith("."))
            if alone or series in _neighbours(index, folder, name)
        ]
    return lost


def _neighbours(index: sqlite3.Connection, folder: str, name: str) -> set[str]:
    """Series of the instances before and after a name in a folder."""
    found = set()
    for comparison, order in (("<", "DESC"), (">", "ASC")):
        row = index.execute(
            f"SELECT series FROM files WHERE folder = ? AND name {comparison} ?"  # noqa: S608
            f" AND cause IS NULL ORDER BY name {order} LIMIT 1",
            (folder, name),
        ).fetchone()
        found |= set(row or ())
    return found


def _unreadable(header: Header, error: OSError) -> Fault:
    """Return why an instance cannot be read, without its path, which may name a patient."""
    instance = f"instance {header.sop_instance_uid}"
    if isinstance(error, FileNotFoundError):
        return Fault(
            "archive_refused",
            f"{instance} is no longer where the folder index saw it; run"
            " `snakemake --forcerun index_series` to look again",
        )
    if isinstance(error, PermissionError):
        return Fault(
            "archive_refused",
            f"{instance} may not be read; check the permissions of archive.folder.path",
        )
    return Fault(
        "archive_unreachable",
        f"{instance} cannot be read ({error.strerror}); check the file system of"
        " archive.folder.path",
        transient=True,
    )


def _walk(root: Path) -> Iterator[tuple[str, list[_File]]]:
    """Folders below `root` and their files; links are followed, each real folder once."""
    visited: set[tuple[int, int]] = set()
    closed: list[OSError] = []
    for folder, folders, names in os.walk(root, followlinks=True, onerror=closed.append):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        relative = os.path.relpath(folder, root)
        unnamable = [
            (relative, _escaped(name), UNNAMABLE, 0) for name in folders if not _is_text(name)
        ]
        folders[:] = sorted(filter(_is_text, folders))
        yield (
            relative,
            [file for name in sorted(names) for file in _file(folder, relative, name)] + unnamable,
        )
    if closed:
        print(
            f"warning: {len(closed)} folders of archive.folder.path cannot be read, and what they"
            " hold is not found; check their permissions",
            file=sys.stderr,
        )


def _is_text(name: str) -> bool:
    """Return True if a name is UTF-8, as the index needs."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _escaped(name: str) -> str:
    """A name that is not UTF-8 as text, its other bytes as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _file(folder: str, relative: str, name: str) -> Iterable[_File]:
    try:
        status = os.stat(os.path.join(folder, name))
    except OSError:
        return ()  # a dangling link
    if not stat.S_ISREG(status.st_mode):
        return ()  # a pipe would be waited for
    if not _is_text(name):
        return ((relative, _escaped(name), UNNAMABLE, 0),)
    return ((relative, name, status.st_size, status.st_mtime_ns),)


def _read_batch(root: Path, key: bytes, files: list[_File]) -> list[tuple[object, ...]]:
    return [(*file, *_read_file(root / file[0] / file[1], file[2], key)) for file in files]


def _read_file(path: Path, size: int, key: bytes) -> tuple[object, ...]:
    """Read what the index keeps of a file: its facts, or the cause for which it is passed over."""
    try:
        return _instance(path, size, key)
    except _PassedOver as passed:
        return (*(None,) * 7, passed.cause)
    except (MemoryError, OSError):
        raise
    except Exception:  # pydicom raises anything for a value it cannot convert
        return (*(None,) * 7, "unreadable")


class _PassedOver(Exception):
    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def _instance(path: Path, size: int, key: bytes) -> tuple[object, ...]:
    if size == UNNAMABLE:
        raise _PassedOver("unnamable")
    if size == 0:
        raise _PassedOver("empty")
    first = b""
    try:
        with open(path, "rb") as stream:
            first = stream.read(132)
            file = open_file(stream, TAGS)
            header = header_of_file(file, key=key)
    except OSError:
        raise _PassedOver("forbidden") from None
    except NotDicom:
        raise _PassedOver("not_dicom" if _is_other_kind(first) else "unrecognised") from None
    except Exception:  # whatever pydicom and zlib make of damaged bytes
        raise _PassedOver("unreadable") from None
    if text_of(file.dataset.file_meta, "MediaStorageSOPClassUID") == MEDIA_DIRECTORY:
        raise _PassedOver("dicomdir")
    uids = (header.sop_instance_uid, header.series_uid)
    if not all(map(is_uid, uids)) or not (header.study_uid == "" or is_uid(header.study_uid)):
        raise _PassedOver("no_uid")
    return (*(getattr(header, name) for name in _COLUMNS), _packed(header), None)


def _is_other_kind(first: bytes) -> bool:
    """Return True if a file begins as text, or as a known kind of file that is not DICOM."""
    return first.startswith(_OTHER_KINDS) or not any(
        letter < 32 and letter not in b"\t\n\f\r\x1b" for letter in first
    )


def _packed(header: Header) -> bytes:
    """Facts that have no column."""
    frames = [[getattr(frame, name) for name in _OF_FRAME] for frame in header.frames]
    facts = [getattr(header, name) for name in _PACKED]
    return zlib.compress(json.dumps([facts, frames]).encode(), 1)


def _unpacked(columns: Sequence[str], packed: bytes, location: str) -> Header:
    """The inverse of `_packed`, with the facts of `_COLUMNS`."""
    facts, frames = json.loads(zlib.decompress(packed))
    named: dict[str, Any] = dict(zip((*_COLUMNS, *_PACKED), (*columns, *facts), strict=True))
    return Header(**named, frames=tuple(map(_frame, frames)), location=location)


def _frame(facts: list[Any]) -> Frame:
    values: list[Any] = [tuple(fact) if isinstance(fact, list) else fact for fact in facts]
    return Frame(*values)


def _copy(source: Path, target: Path, *, link: bool) -> None:
    """Hard link if asked for, else reflink where the file system can, else copy."""
    target.unlink(missing_ok=True)
    if link:
        try:
            os.link(source, target)
            return
        except OSError:
            pass  # another file system, or links not allowed
    copy(source, target)
