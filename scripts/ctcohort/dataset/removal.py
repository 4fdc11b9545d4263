"""Taking scans out of a working directory: those that left the cohort, and withdrawn patients.

Both list first. `leftovers` are results that the last run's tables no longer ask for; a patient who
has withdrawn consent is taken out of side stores, tables, logs and Snakemake's own records too.
"""

from __future__ import annotations

import base64
import binascii
import csv
import gzip
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path

from ctcohort.archives.manners import FAILED, LOG
from ctcohort.base.faults import InputError
from ctcohort.base.files import ASK_AGAIN, read_table, replacing
from ctcohort.base.naming import name_of
from ctcohort.base.reasons import SELECTED
from ctcohort.cohort.merged_mrns import surviving
from ctcohort.dataset import manifest
from ctcohort.dataset.merging import PATH as PARTITION
from ctcohort.series import series_table

RESULTS = {
    "raw": ("",),
    "raw/.partial": ("",),
    "received": (".json",),
    "processed": (".npz", ".json"),
    "qc": (".png",),
    "qc/thumbnails": (".webp",),
    "qc/scrolls": (".webp",),
    "nifti": (".nii.gz",),
}
"""Folders with something per selected scan, and what follows its name there."""

NOTES = {"failures": (".json",), "index/answers": (".json.gz",)}
"""Folders with something per accession; beside them every folder of logs."""

PASSING = ("no_answer", "not_found", "still_arriving", "offline")
"""Reasons that the next run may take back: their results are kept."""

TABLES = (
    "cohort.csv",
    "series.csv",
    "splits.csv",
    "manifest.csv",
    "status.csv",
    "exclusions.proposed.csv",
    "release.left_out.csv",
)
"""What the workflow writes with a line per accession; the user's own tables are the user's."""

LINES = (Path("accessions.txt"), LOG, FAILED, ASK_AGAIN, PARTITION)
"""What has a line per accession: alone, or in the second of the fields between tabs."""

PAGES = ("report.html",)
"""Made of everything: taken away whole, and made anew when asked for."""


def leftovers(directory: Path) -> Iterator[Path]:
    """Results and notes of scans that ``cohort.csv`` and ``series.csv`` no longer ask for, and what
    killed jobs left half-written; no run may be under way.

    Raises
    ------
    InputError
        One of the two tables is not there.
    """
    for name in ("cohort.csv", str(series_table.PATH)):
        if not (directory / name).exists():
            raise InputError(f"{directory / name}: is not there, so what is wanted is not known")
    cohort = {name_of(row["accession"]) for row in read_table(directory / "cohort.csv")}
    wanted = {
        name_of(row["accession"])
        for row in read_table(directory / series_table.PATH)
        if row["reason"] in (SELECTED, *PASSING)
    }
    yield from _entries(directory, RESULTS, lambda name: name not in wanted & cohort)
    yield from _entries(directory, _notes(directory), lambda name: name not in cohort)
    yield from (path for path, _ in _halves(directory))


def accessions_of(directory: Path, mrn: str, merged: Mapping[str, str]) -> list[str]:
    """The accessions of a patient in ``cohort.csv``."""
    patient = surviving(mrn, merged)
    rows = manifest.read(directory).cohort
    return [row["accession"] for row in rows if patient and row["patient_mrn"] == patient]


def files_of(directory: Path, accessions: Iterable[str]) -> list[Path]:
    """Everything that is about these accessions alone, Snakemake's records of it included."""
    names = set(map(name_of, accessions))
    own = _entries(directory, {**RESULTS, **_notes(directory)}, names.__contains__)
    halves = (path for path, name in _halves(directory) if name in names)
    pages = (directory / page for page in PAGES if (directory / page).exists())
    return [*own, *halves, *pages, *_records(directory, names)]


def forget(directory: Path, accessions: Set[str], studies: Set[str]) -> list[str]:
    """Take the lines about these accessions out of tables, stores and logs.

    Time stamps stay, so that nothing is made again for it.

    Parameters
    ----------
    studies : set of str
        What `studies_of` says, before `files_of` are deleted.

    Returns
    -------
    list of str
        The files that were changed, relative to the directory.
    """
    words = _whole({*accessions, *map(name_of, accessions)})
    index = directory / "index" / "folder.sqlite"
    logs = [*directory.glob("logs/*.log"), *directory.glob(".snakemake/log/*.log")]
    changed = [index] if _unindex(index, accessions, studies) else []
    changed += [
        path
        for path in (directory / name for name in TABLES)
        if _drop(path, lambda row: row[:1] and row[0] in accessions, table=True)
    ]
    changed += [
        path
        for path in (directory / name for name in LINES)
        if _drop(path, lambda fields: fields[min(1, len(fields) - 1)] in accessions)
    ]
    changed += [path for path in logs if _drop(path, lambda fields: any(map(words.search, fields)))]
    return [str(path.relative_to(directory)) for path in changed]


def studies_of(directory: Path, accessions: Set[str]) -> set[str]:
    """StudyInstanceUIDs of accessions, from the ledger and from what the archive answered."""
    path = directory / series_table.PATH
    rows = read_table(path) if path.exists() else ()
    studies = {row["study_uid"] for row in rows if row["accession"] in accessions}
    for accession in accessions:
        answer = directory / "index" / "answers" / f"{name_of(accession)}.json.gz"
        if answer.exists():
            series = json.loads(gzip.decompress(answer.read_bytes()))["series"]
            studies |= {each["study_uid"] for each in series}
    return studies - {""}


def is_known(directory: Path, accessions: Set[str]) -> bool:
    """Whether the working directory has anything that is about these accessions."""
    own = set(files_of(directory, accessions)) - {directory / page for page in PAGES}
    cohort = directory / "cohort.csv"
    rows = read_table(cohort) if cohort.exists() else ()
    return bool(own) or any(row["accession"] in accessions for row in rows)


def delete(path: Path) -> None:
    """Delete a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    if path.is_dir() and not path.is_symlink():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat(follow_symlinks=False).st_size


def _notes(directory: Path) -> dict[str, tuple[str, ...]]:
    logs = (path for path in (directory / "logs").glob("*/") if path.is_dir())
    return {**NOTES, **{str(path.relative_to(directory)): (".log",) for path in logs}}


def _entries(
    directory: Path, folders: Mapping[str, tuple[str, ...]], goes: Callable[[str], bool]
) -> Iterator[Path]:
    """Entries of the folders whose scan's name `goes`; hidden ones are nobody's."""
    for folder, endings in folders.items():
        place = directory / folder
        for entry in sorted(place.iterdir()) if place.is_dir() else ():
            for ending in endings:
                name = entry.name.removesuffix(ending)
                whole = entry.is_dir() if not ending else entry.name.endswith(ending)
                if whole and not entry.name.startswith(".") and name and goes(name):
                    yield entry


def _halves(directory: Path) -> Iterator[tuple[Path, str]]:
    """What `files.replacing` did not come to rename, and whose it is."""
    for folder, endings in {**RESULTS, **NOTES}.items():
        for ending in endings:
            pattern = re.compile(rf"\.(.+){re.escape(ending)}\.\d+\.part")
            for path in (directory / folder).glob(f".*{ending}.*.part"):
                if found := pattern.fullmatch(path.name):
                    yield path, found[1]


def _records(directory: Path, names: Set[str]) -> Iterator[Path]:
    """Snakemake's records that name a scan, in their own name or in what they say."""
    words = _whole(names)
    for folder in ("metadata", "incomplete"):
        place = directory / ".snakemake" / folder
        for path in place.rglob("*"):
            if path.is_file() and words.search(
                f"{_output_of(path.relative_to(place))} {path.read_text(errors='replace')}"
            ):
                yield path
    for path in (directory / ".snakemake" / "slurm_logs").glob("*/*"):
        if words.search(path.name):
            yield path


def _output_of(record: Path) -> str:
    """The output that a record is about: its name is the output's path in base 64, a long one cut
    into folders that begin with ``@``."""
    try:
        joined = "".join(part.removeprefix("@") for part in record.parts)
        return base64.urlsafe_b64decode(joined).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _whole(words: Iterable[str]) -> re.Pattern[str]:
    """Any of these, not inside a longer word."""
    return re.compile(rf"(?<![\w%.-])(?:{'|'.join(map(re.escape, sorted(words)))})(?![\w%-])")


def _drop(path: Path, goes: Callable[[list[str]], object], *, table: bool = False) -> bool:
    """Rewrite a file without the rows that go, under its old time stamp; whether any went.

    The rows of a table are those of a CSV; else each line is a row, its fields between tabs.
    """
    if not path.exists():
        return False
    times = path.stat()
    with (
        open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream,
        replacing(path) as part,
        open(part, "w", encoding="utf-8", errors="surrogateescape", newline="") as rest,
    ):
        if table:
            rows: list[list[str]] = list(csv.reader(stream))
            kept = [row for row in rows if not goes(row)]
            csv.writer(rest, lineterminator="\n").writerows(kept)
        else:
            rows = [line.split("\t") for line in stream.read().split("\n")]
            kept = [row for row in rows if not goes(row)]
            rest.write("\n".join("\t".join(row) for row in kept))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return len(kept) < len(rows)


def _unindex(index: Path, accessions: Set[str], studies: Set[str]) -> bool:
    """Drop studies from the index of a folder archive, and what is left of them in its file."""
    if not index.exists():
        return False
    with sqlite3.connect(index) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        gone = connection.total_changes
        for column, values in (("study", studies), ("accession", accessions)):
            connection.executemany(
                f"DELETE FROM files WHERE {column} = ?", [(value,) for value in values]
            )
        gone = connection.total_changes - gone
    connection.close()
    return gone > 0
