"""Make a report table of what a tree of DICOM files holds."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydicom.tag import Tag

from ctcohort.base.naming import is_uid, is_valid_accession
from ctcohort.dicom.reading import open_file

COLUMNS = ("StudyInstanceUID", "AccessionNumber", "MRN", "Protocol")
"""Of the table, under the config's default names. A UID is first, so that no row is a comment."""

KEYWORDS = ("AccessionNumber", "PatientID", "StudyInstanceUID", "StudyDescription")
_TAGS = [Tag(keyword) for keyword in (*KEYWORDS, "Modality", "SpecificCharacterSet")]
_BATCH = 256

Facts = tuple[str, ...]
"""The values of `KEYWORDS` in one file."""


@dataclass(frozen=True)
class StarterTable:
    """Rows of `COLUMNS`, and how many of them need a person's eye.

    `named_by_uid` rows have no accession that is theirs alone, so that the StudyInstanceUID stands
    for it; `without_patient` rows have no PatientID.
    """

    rows: list[dict[str, str]]
    named_by_uid: int
    without_patient: int


def studies_in(root: Path, *, threads: int) -> dict[str, Facts]:
    """Return the facts of each study that has CT images, by StudyInstanceUID.

    Where the files of a study disagree, the commonest value that is not empty is taken. What is not
    DICOM, or cannot be read, is passed over.
    """
    values: dict[str, list[Counter[str]]] = defaultdict(lambda: [Counter() for _ in KEYWORDS])
    paths = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    with ProcessPoolExecutor(threads) as pool:
        for batch in pool.map(_read, iter(lambda: list(islice(paths, _BATCH)), [])):
            for facts in batch:
                for counts, text in zip(values[facts[2]], facts, strict=True):
                    counts[text] += bool(text)
    return {
        study: tuple(max(counts, key=lambda text: (counts[text], text)) for counts in counters)
        for study, counters in sorted(values.items())
    }


def starter_table(studies: Mapping[str, Facts]) -> StarterTable:
    """Return one row per study, ordered by patient and accession."""
    accessions = Counter(accession for accession, *_ in studies.values())
    rows, named_by_uid = [], 0
    for accession, patient, study, description in studies.values():
        is_own = is_valid_accession(accession) and accessions[accession] == 1
        named_by_uid += not is_own
        values = (study, accession if is_own else study, patient, description)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    rows.sort(key=lambda row: (row["MRN"], row["AccessionNumber"]))
    return StarterTable(rows, named_by_uid, sum(not row["MRN"] for row in rows))


def _read(paths: list[str]) -> list[Facts]:
    return [facts for path in paths for facts in _facts(path)]


def _facts(path: str) -> Iterator[Facts]:
    try:
        with open(path, "rb") as stream:
            dataset = open_file(stream, _TAGS).dataset
        texts = {keyword: _text(dataset.get(keyword)) for keyword in (*KEYWORDS, "Modality")}
    except Exception:  # whatever pydicom makes of other files and of damaged bytes
        return
    if texts.pop("Modality") == "CT" and is_uid(texts["StudyInstanceUID"]):
        yield tuple(texts.values())


def _text(value: object) -> str:
    return " ".join(str("" if value is None else value).replace("\0", " ").split())
