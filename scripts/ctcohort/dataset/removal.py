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
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.base.files import from_spreadsheet, read_table, replacing, seal
from ctcohort.base.naming import accession_of, name_of
from ctcohort.base.reasons import REFUSED, SELECTED
from ctcohort.base.seals import seal_of
from ctcohort.base.workdir import NOTES, RESULTS, Workdir
from ctcohort.cohort.merged_mrns import surviving
from ctcohort.dataset import manifest

PASSING = ("no_answer", "not_found", "still_arriving", "offline", REFUSED)
"""Reasons that the next run may take back: their results are kept."""

JOB_FILES = ("slurm_logs", "job_logs", "tmp.*")
"""Folders in ``.snakemake`` with a file per job."""


def leftovers(here: Workdir) -> Iterator[Path]:
    """Results and notes of scans that ``cohort.csv`` and ``series.csv`` no longer ask for, and what
    killed jobs left half-written; no run may be under way.

    Raises
    ------
    InputError
        One of the two tables is not there.
    """
    for path in (here.cohort, here.series):
        if not path.exists():
            raise InputError(f"{path}: is missing, so what is wanted is not known")
    cohort = {name_of(row["accession"]) for row in read_table(here.cohort)}
    wanted = {
        name_of(row["accession"])
        for row in read_table(here.series)
        if row["reason"] in (SELECTED, *PASSING)
    }
    yield from _entries(here, RESULTS, lambda name: name not in wanted & cohort)
    yield from _entries(here, _notes(here), lambda name: name not in cohort)
    yield from (path for path, _ in _halves(here))


def accessions_of(here: Workdir, mrn: str, merged: Mapping[str, str]) -> list[str]:
    """The accessions of a patient in ``cohort.csv``."""
    patient = surviving(mrn, merged)
    rows = manifest.read(here).cohort
    return [row["accession"] for row in rows if patient and row["patient_mrn"] == patient]


def files_of(here: Workdir, accessions: Iterable[str]) -> list[Path]:
    """Everything that is about these accessions alone, Snakemake's records of it included."""
    names = set(map(name_of, accessions))
    own = _entries(here, (*RESULTS, *_notes(here)), names.__contains__)
    halves = (path for path, name in _halves(here) if name in names)
    page = [here.page] if here.page.exists() else []  # made of everything; made anew when asked for
    return [*own, *halves, *page, *_records(here, names)]


def forget(here: Workdir, accessions: Set[str], studies: Set[str]) -> list[str]:
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
    index = here.folder_index
    logs = [*here.logs.glob("*.log"), *here.snakemake.glob("log/*.log")]
    changed = [index] if _unindex(index, accessions, studies) else []
    changed += [
        path
        for path in _tables(here)
        if _drop(path, lambda row: row[:1] and from_spreadsheet(row[0]) in accessions, table=True)
    ]
    changed += [
        path
        for path in _lists(here)
        if _drop(path, lambda fields: fields[min(1, len(fields) - 1)] in accessions)
    ]
    changed += [path for path in logs if _drop(path, lambda fields: any(map(words.search, fields)))]
    return [os.path.relpath(path, here.root) for path in changed]


def studies_of(here: Workdir, accessions: Set[str]) -> set[str]:
    """Return the StudyInstanceUIDs of accessions, from the series table and the cached answers."""
    rows = read_table(here.series) if here.series.exists() else ()
    studies = {row["study_uid"] for row in rows if row["accession"] in accessions}
    for accession in accessions:
        answer = here.answer(name_of(accession))
        if answer.exists():
            series = json.loads(gzip.decompress(answer.read_bytes()))["series"]
            studies |= {each["study_uid"] for each in series}
    return studies - {""}


def is_known(here: Workdir, accessions: Set[str]) -> bool:
    """Return True if the working directory has anything about these accessions."""
    own = set(files_of(here, accessions)) - {here.page}
    rows = read_table(here.cohort) if here.cohort.exists() else ()
    return bool(own) or any(row["accession"] in accessions for row in rows)


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    if path.is_dir() and not path.is_symlink():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat(follow_symlinks=False).st_size


def _tables(here: Workdir) -> tuple[Path, ...]:
    """Return what the workflow writes with a row per accession; other tables are the user's."""
    return (
        here.cohort,
        here.series,
        here.splits,
        here.manifest,
        here.status,
        here.proposed_exclusions,
        here.left_out,
    )


def _lists(here: Workdir) -> tuple[Path, ...]:
    """Return what has a line per accession: alone, or in the second of the fields between tabs."""
    return (
        here.accessions,
        here.archive_log,
        here.failed_in_a_row,
        here.ask_again,
        here.partition,
    )


def _notes(here: Workdir) -> tuple[str, ...]:
    """Return the templates of what there is per accession, the logs included."""
    logs = (path for path in here.logs.glob("*/") if path.is_dir())
    return (*NOTES, *(f"{path.relative_to(here.root)}/{{}}.log" for path in logs))


def _entries(
    here: Workdir, templates: Iterable[str], goes: Callable[[str], bool]
) -> Iterator[Path]:
    """Yield the files and folders of scans whose name `goes`; hidden ones belong to no scan."""
    for template in templates:
        folder, ending = template.split("{}")
        parent = here.root / folder
        for entry in sorted(parent.iterdir()) if parent.is_dir() else ():
            name = entry.name.removesuffix(ending)
            whole = entry.is_dir() if not ending else entry.name.endswith(ending)
            if whole and not entry.name.startswith(".") and name and goes(name):
                yield entry


def _halves(here: Workdir) -> Iterator[tuple[Path, str]]:
    """Yield what `files.replacing` left under a temporary name, and the scan's name."""
    for template in (*RESULTS, *NOTES):
        folder, ending = template.split("{}")
        pattern = re.compile(rf"\.(.+){re.escape(ending)}\.\d+\.part")
        for path in (here.root / folder).glob(f".*{ending}.*.part"):
            if found := pattern.fullmatch(path.name):
                yield path, found[1]


def _records(here: Workdir, names: Set[str]) -> Iterator[Path]:
    """Snakemake's records that name a scan, in their own name or in what they say."""
    yield from _job_files(here, _whole({*names, *map(accession_of, names)}))
    words = _whole(names)
    for folder in ("metadata", "incomplete"):
        records = here.snakemake / folder
        for path in records.rglob("*"):
            if path.is_file() and words.search(
                f"{_output_of(path.relative_to(records))} {path.read_text(errors='replace')}"
            ):
                yield path


def _job_files(here: Workdir, words: re.Pattern[str]) -> Iterator[Path]:
    """What schedulers kept of a job's output, and scripts of jobs whose run was killed.

    Slurm's executor makes a folder for each scan's log, wherever the profile has the log written.
    """
    for folder in JOB_FILES:
        named: list[Path] = []
        for path in sorted(here.snakemake.glob(f"{folder}/**/*")):
            if not named or named[-1] not in path.parents:
                if words.search(path.name):
                    named.append(path)
                    yield path
                elif path.is_file() and words.search(path.read_text(errors="replace")):
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
        replacing(path, sealed=seal_of(path).exists()) as part,
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
            drop = f"DELETE FROM files WHERE {column} = ?"  # noqa: S608
            connection.executemany(drop, [(value,) for value in values])
        gone = connection.total_changes - gone
    connection.close()
    seal(index)
    return gone > 0
