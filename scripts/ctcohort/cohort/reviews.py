"""The reviews: which scans a person has looked at, and what they found.

The table is the person's own: saved by the page, or written by hand. A note is free text, so it is
treated as private: it reaches neither the manifest nor the page nor a release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.base.text import some
from ctcohort.cohort.report_table import Table

VERDICTS = ("good", "bad")


@dataclass(frozen=True, slots=True)
class Review:
    """One row of the reviews: `verdict` is one of `VERDICTS`, `note` may be empty."""

    verdict: str
    note: str = ""


def read_reviews(path: Path) -> dict[str, Review]:
    """The reviews by accession; none where the file does not exist.

    Parameters
    ----------
    path : Path
        A table with the columns ``accession``, ``verdict`` and, if wanted, ``note``; read like the
        report table, so that a spreadsheet's semicolons and byte order mark do no harm.

    Raises
    ------
    InputError
        Column missing, accession missing or twice, verdict unknown. No note or verdict is quoted.
    """
    if not path.exists():
        return {}
    table = Table(path)
    missing = [name for name in ("accession", "verdict") if name not in table.header]
    if missing:
        raise InputError(
            f"{path}: has no column {' and no column '.join(missing)}; expected accession, verdict"
            " (good or bad) and, if wanted, note"
        )
    reviews: dict[str, Review] = {}
    columns = [name for name in ("accession", "verdict", "note") if name in table.header]
    for accession, word, *note in table.rows(columns, identifiers=["accession"]):
        verdict = word.strip().lower()
        if not accession:
            raise InputError(f"{path}: a row has no accession; expected one in every row")
        if verdict not in VERDICTS:
            raise InputError(
                f"{path}: the verdict of accession {accession} is neither good nor bad; write one"
                " of the two, or remove the row of a scan that nobody has looked at"
            )
        if accession in reviews:
            raise InputError(f"{path}: accession {accession} has two rows; keep the one that holds")
        reviews[accession] = Review(verdict, "".join(note).strip())
    return reviews


def strangers(reviews: Mapping[str, Review], accessions: Iterable[str], path: Path) -> str:
    """One line of warning about reviews of accessions that are not in the cohort, or nothing."""
    unknown = sorted(reviews.keys() - set(accessions))
    if not unknown:
        return ""
    rows = "1 row names" if len(unknown) == 1 else f"{len(unknown)} rows name"
    return f"warning: {path}: {rows} no accession of the cohort ({some(unknown)}); not used"
