"""Gather the identifiers that may not be found: those of the report table, cohort.csv and raw/."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ctcohort.base.faults import InputError
from ctcohort.base.project import ROOT
from ctcohort.base.workdir import Workdir
from ctcohort.release.guard.identities import (
    ACCESSION,
    BIRTH_DATE,
    MRN,
    NAME,
    Identities,
    words_of,
)


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
    files += [
        path for path in (ROOT / "config.yaml", Workdir().root / "config.yaml") if path.exists()
    ]
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
    from ctcohort.dicom.headers import text_of
    from ctcohort.dicom.reading import header_at

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
        dataset = header_at(first, kinds)
        for keyword, kind in kinds.items():
            for value in text_of(dataset, keyword).split("\\"):
                yield kind, value
