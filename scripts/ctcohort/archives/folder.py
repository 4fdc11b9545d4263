"""A folder tree of DICOM files as an archive.

Headers are read once: an SQLite file in the store remembers each file's size, modification time
and facts, so that a later run reads only what is new or changed. The tree is never written to.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydicom import dcmread

from ctcohort.archives.protocol import Arrived, FoundSeries, Query, nobody
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.files import copy
from ctcohort.dicom.headers import KEYWORDS, Header, header_of, pack, unpack
from ctcohort.dicom.integrity import is_uid

BATCH = 512
"""Files per task of the reading processes, and per commit."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    folder TEXT, name TEXT, size INTEGER, modified INTEGER,
    instance TEXT, series TEXT, study TEXT, accession TEXT, patient TEXT, modality TEXT,
    header BLOB,
    PRIMARY KEY (folder, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_study ON files (study);
CREATE INDEX IF NOT EXISTS by_series ON files (series);
CREATE INDEX IF NOT EXISTS by_accession ON files (accession);
"""

_File = tuple[str, str, int, int]
"""Folder relative to the root, name, size in bytes, modification time in ns."""


class FolderArchive:
    """See `archives.Archive`.

    Parameters
    ----------
    root : Path
        Any tree; files that are not DICOM (PS3.10 7.1) and DICOMDIRs are passed over.
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
        return nullcontext()

    def prepare(self, *, threads: int) -> None:
        """Read the headers of files that are new or changed since the last run."""
        if not self.root.is_dir():
            raise InputError(
                f"archive.folder.path: {self.root} is not a folder; expected a tree of DICOM files"
            )
        self.store.mkdir(parents=True, exist_ok=True)
        path = self.store / "folder.sqlite"
        self.index = sqlite3.connect(path)
        self.index.executescript(_SCHEMA)
        changed = self._forget_what_is_gone()
        read = known = 0
        for rows in self._read(changed, threads):
            self.index.executemany(
                "INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows
            )
            self.index.commit()
            read += len(rows)
            if read % (BATCH * 20) < BATCH:
                print(f"folder index: {read} of {len(changed)} files read", file=sys.stderr)
        known, images = self.index.execute("SELECT count(*), count(instance) FROM files").fetchone()
        print(
            f"folder index: {known} files, {images} of them DICOM instances; {read} read now",
            file=sys.stderr,
        )
        if not images:
            raise InputError(
                f"archive.folder.path: {self.root} holds no DICOM instance; expected the tree with"
                " the hospital's DICOM files"
            )

    def find(self, query: Query) -> list[FoundSeries]:
        if query.study_uid:
            where, values = "study = ?", [query.study_uid]
        else:
            where = f"accession IN ({','.join('?' * len(query.accession_numbers))})"
            values = list(query.accession_numbers)
        rows = self.index.execute(
            f"SELECT series, study, patient, max(modality), count(DISTINCT instance) FROM files"
            f" WHERE {where} GROUP BY series, study, patient",
            values,
        )
        return [
            FoundSeries(series, study, patient, modality, count, None)
            for series, study, patient, modality, count in rows
        ]

    def headers(self, series: FoundSeries) -> list[Header]:
        """Headers of a series; copies of a file count as one, different contents as conflicting."""
        rows = self.index.execute(
            "SELECT folder, name, header FROM files WHERE series = ? AND study = ?"
            " ORDER BY instance, folder, name",
            (series.series_uid, series.study_uid),
        )
        by_uid: dict[str, list[Header]] = {}
        for folder, name, packed in rows:
            header = replace(_facts(packed), location=os.path.join(folder, name))
            by_uid.setdefault(header.sop_instance_uid, []).append(header)
        return [self._one(copies) for copies in by_uid.values()]

    def fetch(self, instances: Sequence[Header], into: Path, arrived: Arrived = nobody) -> None:
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

    def _forget_what_is_gone(self) -> list[_File]:
        """Walk the tree; drop vanished files from the index; return what must be read."""
        changed: list[_File] = []
        self.index.execute("CREATE TEMP TABLE seen (folder TEXT PRIMARY KEY)")
        for folder, files in _walk(self.root):
            self.index.execute("INSERT OR IGNORE INTO seen VALUES (?)", (folder,))
            known = {
                name: (size, modified)
                for name, size, modified in self.index.execute(
                    "SELECT name, size, modified FROM files WHERE folder = ?", (folder,)
                )
            }
            changed += [file for file in files if known.pop(file[1], None) != file[2:]]
            gone = [(folder, name) for name in known]
            self.index.executemany("DELETE FROM files WHERE folder = ? AND name = ?", gone)
        self.index.execute("DELETE FROM files WHERE folder NOT IN (SELECT folder FROM seen)")
        self.index.commit()
        return changed

    def _read(self, files: list[_File], threads: int) -> Iterator[list[tuple[object, ...]]]:
        batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
        work = partial(_read_batch, self.root, self.key)
        if threads == 1 or len(batches) < 2:
            yield from map(work, batches)
            return
        with ProcessPoolExecutor(threads) as pool:
            yield from pool.map(work, batches)

    def _one(self, copies: list[Header]) -> Header:
        first = copies[0]
        if len(copies) == 1:
            return first
        alike = [replace(copy, location="") == replace(first, location="") for copy in copies]
        same = all(alike) and len({self._pixels(copy) for copy in copies}) == 1
        return replace(first, copies=len(copies), conflicting=not same)

    def _pixels(self, header: Header) -> bytes:
        try:
            return bytes(dcmread(self.root / header.location).get("PixelData", b""))
        except OSError as error:
            raise _unreadable(header, error) from None


def _unreadable(header: Header, error: OSError) -> Fault:
    """Why an instance cannot be read: without its path, which may name a patient."""
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
        folders[:] = sorted(filter(_is_text, folders))
        relative = os.path.relpath(folder, root)
        yield relative, [file for name in sorted(names) for file in _file(folder, relative, name)]
    if closed:
        print(
            f"warning: {len(closed)} folders of archive.folder.path cannot be read, and what they"
            " hold is not found; check their permissions",
            file=sys.stderr,
        )


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8: the index cannot hold another."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _file(folder: str, relative: str, name: str) -> Iterable[_File]:
    try:
        status = os.stat(os.path.join(folder, name))
    except OSError:
        return ()  # a dangling link
    if not stat.S_ISREG(status.st_mode) or not _is_text(name):
        return ()  # a pipe would be waited for
    return ((relative, name, status.st_size, status.st_mtime_ns),)


def _read_batch(root: Path, key: bytes, files: list[_File]) -> list[tuple[object, ...]]:
    return [(*file, *_read_file(root / file[0] / file[1], file[2], key)) for file in files]


def _read_file(path: Path, size: int, key: bytes) -> tuple[object, ...]:
    """What the index knows of a file; all None for what is not an instance."""
    nothing = (None,) * 7
    try:
        with open(path, "rb") as stream:
            if size < 132 or stream.read(132)[128:] != b"DICM":
                return nothing
            stream.seek(0)
            dataset = dcmread(stream, stop_before_pixels=True, specific_tags=list(KEYWORDS))
    except Exception:
        return nothing  # whatever pydicom cannot read is not an instance that can be chosen
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    header = header_of(dataset, key=key, transfer_syntax=syntax)
    uids = (header.sop_instance_uid, header.series_uid, header.study_uid)
    if not all(map(is_uid, uids)):
        return nothing
    packed = zlib.compress(json.dumps(pack([header])).encode(), 1)
    return (*uids, header.accession, header.patient, header.modality, packed)


def _facts(packed: bytes) -> Header:
    return unpack(json.loads(zlib.decompress(packed)))[0]


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
