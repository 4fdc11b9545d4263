"""Gather the identifiers that may not be found: those of the report table, cohort.csv and raw/."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydicom.sr.codedict import codes

from ctcohort.base.faults import Fault, InputError
from ctcohort.base.project import ROOT
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.report_table import Table
from ctcohort.dicom.headers import text_of
from ctcohort.dicom.reading import header_in
from ctcohort.release.guard.identities import (
    ACCESSION,
    BIRTH_DATE,
    MRN,
    NAME,
    Identities,
    words_of,
)
from ctcohort.series.received import Received, received_bytes

HEADER = {
    "PatientID": MRN,
    "OtherPatientIDs": MRN,
    "PatientName": NAME,
    "OtherPatientNames": NAME,
    "PatientBirthDate": BIRTH_DATE,
    "AccessionNumber": ACCESSION,
}
"""Elements that identify a patient."""

IMAGE_TYPES = frozenset(
    {
        *("ANGIO", "ATTENUATION", "BODY", "CARDIAC", "CARDRESP", "CASCORE", "CONTRAST", "CTA"),
        *("DYNAMIC", "FLUOROSCOPY", "GATED", "LOCALIZER", "MOTION", "NON", "PARALLEL", "PERFUSION"),
        *("POST", "PRE", "REFERENCE", "RESP", "REST", "STATIC", "STRESS", "VOLUME", "WHOLE"),
    }
)
"""Words of ImageType (PS3.3 C.8.16.1.3)."""

_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def known_here(reports: Path, columns: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a working directory knows of its patients: by its tables and by the headers in
    ``raw/``.

    Parameters
    ----------
    reports : Path
        The report table. Beside the columns that the config names, those that are called like a
        patient's name or birth date are read.
    columns : mapping
        The config's `columns`, and `reports_sheet` as `sheet`.

    Returns
    -------
    list of (str, str)
        A kind of `identities` and a value, each once.

    Raises
    ------
    InputError
        No patient is known, so that a search would prove nothing; or what would tell is damaged.
    """
    here = Workdir()
    kinds = {columns["accession"]: ACCESSION, "accession": ACCESSION}
    kinds |= {columns["mrn"]: MRN, "mrn": MRN, "patient_mrn": MRN}
    tables = ((reports, columns.get("sheet")), (here.cohort, None))
    found = dict.fromkeys(
        (kind, value)
        for table, sheet in tables
        for kind, value in (_named_in_table(table, sheet, kinds) if table.exists() else ())
    )
    found |= dict.fromkeys(_named_in_headers(here))
    if not any(kind != ACCESSION and value.strip(" \0") for kind, value in found):
        raise InputError(
            f"no patient is known in {Path().absolute()}: neither {reports} nor cohort.csv nor raw/"
            " names one, so there is nothing to search for; is this the working directory?"
        )
    return list(found)


def identities_of(
    known: Iterable[tuple[str, str]],
    common: Iterable[str] = (),
    *,
    programs: Iterable[Path] = (),
    accessions: bool,
) -> Identities:
    """Return what to search for.

    Parameters
    ----------
    known : iterable of (str, str)
        What `known_here` returns.
    common : iterable of str
        Words that may be found, in upper case, beside those of the workflow's own files, of anatomy
        and of kinds of images, which say nothing of whose a scan is.
    programs : iterable of Path
        Folders of other programs that write here; their words are common too.
    accessions : bool
        Whether accessions may not be found either.
    """
    folders = [ROOT / "scripts", ROOT / "rules", *programs]
    files = [path for folder in folders for path in _texts(folder)]
    files += [
        path for path in (ROOT / "config.yaml", Workdir().root / "config.yaml") if path.exists()
    ]
    here = re.findall(r"[^\W\d_]+", str(Path().absolute()).upper())
    words = {*words_of(files), *anatomy(), *IMAGE_TYPES}
    identities = Identities(common={*words, *common, *here})
    for kind, value in known:
        if accessions or kind != ACCESSION:
            identities.add(kind, value)
    return identities


def anatomy() -> set[str]:
    """Return the words of regions of the body (PS3.16, CID 4031), in upper case."""
    return {word.upper() for name in codes.CID4031.dir() for word in _CAMEL.findall(name)}


def _texts(folder: Path) -> list[Path]:
    """The text files of a program."""
    endings = {".py", ".smk", ".yaml", ".html", ".css", ".js"}
    return sorted(path for path in folder.rglob("*") if path.suffix in endings)


def _named_in_table(
    table: Path, sheet: str | None, columns: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
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


def _named_in_headers(here: Workdir) -> Iterator[tuple[str, str]]:
    raw = here.raws
    for folder in sorted(path for path in raw.iterdir() if path.is_dir()) if raw.is_dir() else ():
        content = _a_file_of(folder, here.received(folder.name))
        if not content:
            continue
        try:
            dataset = header_in(content, HEADER)
            values = {keyword: text_of(dataset, keyword) for keyword in HEADER}
        except Exception as error:  # pydicom raises anything for a damaged header
            raise InputError(
                f"{folder}: a header cannot be read ({type(error).__name__}); delete {folder} and"
                " run snakemake again"
            ) from None
        for keyword, kind in HEADER.items():
            for value in values[keyword].split("\\"):
                yield kind, value


def _a_file_of(folder: Path, received: Path) -> bytes:
    """Return the content of a scan's first file that is as it was received, because a damaged
    header hides whom it names; empty where there is no file.

    A killed download can leave files without a record; they are taken as they are.
    """
    files = sorted(folder.glob("*.dcm"))
    if not files:
        return b""
    try:
        checksums = Received.read(received).checksums()
    except FileNotFoundError:
        return files[0].read_bytes()
    for path in files:
        with suppress(Fault):
            return received_bytes(path, checksums.get(path.stem, ""))
    raise InputError(
        f"{folder}: no file in it is as it was received; delete {folder} and run snakemake again"
    )
