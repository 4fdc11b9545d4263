"""Say at the end of a run what became of each accession, where to look and what to do next."""

from __future__ import annotations

import shlex
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

from ctcohort.base.naming import name_of
from ctcohort.base.reasons import MEANINGS, SELECTED
from ctcohort.base.workdir import Workdir
from ctcohort.dataset.manifest import exclusion_reason, failure_of
from ctcohort.series import series_table
from ctcohort.series.forecast import forecast

STAGES = ("select_accessions", "index_series", "assign_splits", "write_manifest")
"""Rules that work on the whole cohort, whose logs may hold warnings."""

KINDS = ("included", "excluded", "failed", "to do")

SHOWN = 3


def summary(
    here: Workdir, config: Mapping[str, Any], *, again: str, index: str = "index_series"
) -> list[str]:
    """Return the lines that end a run; none before anything was selected and asked for.

    Parameters
    ----------
    config : mapping
        The whole config.
    again : str
        The command that goes on with the data set.
    index : str
        The name that the rule `index_series` has there.
    """
    if not here.accessions.exists() or not here.series.exists():
        return list(_warnings(here))
    fates = _fates(here)
    kinds = Counter(kind for kind, _ in fates.values())
    lines = [
        f"{len(fates):,} accession{'s' * (len(fates) != 1)}: "
        + ", ".join(f"{kinds[kind]:,} {kind}" for kind in KINDS if kinds[kind])
    ]
    for kind in ("excluded", "failed"):
        reasons = Counter(reason for each, reason in fates.values() if each == kind)
        lines += [f"{count:9,} {kind}: {reason}" for reason, count in reasons.most_common()]
    lines += [*_causes(here, fates), *_warnings(here)]
    if fates and all(reason == "not_found" for _, reason in fates.values()):
        return [*lines, *_why_not_found(here, config), f"then: {again} --forcerun {index}"]
    return [*lines, *_next(here, kinds, again)]


def told_forecast(here: Workdir, config: Mapping[str, Any]) -> list[str]:
    """Return what fetching the series in ``series.csv`` will take."""
    if not here.series.exists():
        return []
    rows = list(series_table.rows(here.series))
    return forecast(rows, config["archive"], keep_raw=config["raw"] == "keep", here=here)


def _fates(here: Workdir) -> dict[str, tuple[str, str]]:
    """Return by accession what became of it and, where it is not included, why."""
    series = series_table.accessions(here.series)
    fates = {}
    for accession in here.accessions.read_text(encoding="utf-8").splitlines():
        name, candidates = name_of(accession), series.get(accession, [])
        if not any(row["reason"] == SELECTED for row in candidates):
            reason = exclusion_reason(candidates) if candidates else "not indexed"
            fates[accession] = ("excluded" if candidates else "to do", reason)
        elif failure := failure_of(here, name):
            fates[accession] = ("failed", failure["reason"])
        else:
            made = here.volume(name).exists() and here.record(name).exists()
            fates[accession] = ("included" if made else "to do", "")
    return fates


def _causes(here: Workdir, fates: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Yield what each kind of failure means, with the words of the first."""
    first: dict[str, str] = {}
    for accession, (kind, reason) in fates.items():
        if kind == "failed":
            first.setdefault(reason, accession)
    for reason, accession in list(first.items())[:SHOWN]:
        failure = failure_of(here, name_of(accession))
        yield f"{reason} means: {MEANINGS.get(reason, reason)}"
        if failure:
            yield f"  {accession}: {failure['message']}"


def _warnings(here: Workdir) -> Iterator[str]:
    for stage in STAGES:
        with suppress(OSError):
            lines = here.log(stage).read_text(errors="replace").splitlines()
            yield from (f"{stage}: {line}" for line in lines if line.startswith("warning: "))


def _next(here: Workdir, kinds: Counter[str], again: str) -> Iterator[str]:
    table = "manifest.csv, a row" if here.manifest.exists() else "series.csv, every series"
    yield f"where to look: {table} per accession; docs/reasons.md, each reason; logs/"
    if kinds["failed"]:
        yield f"next: make status DIR={here.root.absolute()} says what to do about each failure"
    elif kinds["to do"]:
        yield f"next: {again}"
    elif kinds["included"] and not here.page.exists():
        yield f"next: {again} {shlex.quote(str(here.page))}"


def _why_not_found(here: Workdir, config: Mapping[str, Any]) -> Iterator[str]:
    by_study = config["columns"]["study_uid"]
    if config["archive"]["kind"] != "folder":
        yield (
            "the archive answered, and has none of them: check columns and"
            " archive.accession_prefixes, or try one with make check-archive ACCESSION=..."
        )
        return
    instances, named, accessions = _indexed(here)
    told = f"{instances:,} instances are indexed below archive.folder.path, and none"
    if not instances:
        yield f"{told} is DICOM: archive.folder.path may be another folder"
    elif by_study:
        yield f"{told} is of a study in the column {by_study}: check columns.study_uid"
    elif not named:
        yield (
            f"{told} has an AccessionNumber: set columns.study_uid to the table's column of"
            " StudyInstanceUIDs (make table FROM=... makes a table that has it)"
        )
    else:
        yield (
            f"{told} of their {accessions:,} accessions is in the table: check columns.accession"
            " and archive.accession_prefixes, or find scans by study with columns.study_uid"
        )


def _indexed(here: Workdir) -> tuple[int, int, int]:
    """Return the instances in a folder's index, those with an accession, and their accessions."""
    counts = (
        "SELECT count(*), sum(accession != ''), count(DISTINCT nullif(accession, ''))"
        " FROM files WHERE instance IS NOT NULL"
    )
    read_only = f"{here.folder_index.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(read_only, uri=True)) as index:
        found = index.execute(counts).fetchone()
        return found[0], found[1] or 0, found[2]
    return 0, 0, 0
