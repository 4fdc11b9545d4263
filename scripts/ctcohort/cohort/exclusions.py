"""Read which accessions and patients a person has decided to leave out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.cohort.merged_mrns import surviving
from ctcohort.cohort.report_table import Table

KEYS = ("accession", "mrn")


def read_exclusions(path: Path | None, merged: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Return the accessions that a person has left out, and patients by their surviving MRN.

    Raises
    ------
    InputError
        A column is missing or misspelt, or a row leaves nobody out.
    """
    if path is None:
        return set(), set()
    table = Table(path)
    keys = [name for name in KEYS if name in table.header]
    if not keys or "reason" not in table.header:
        raise InputError(
            f"{path}: expected the columns accession (or mrn) and reason; found"
            f" {', '.join(table.header)}"
        )
    unread = [name for name in table.header if name.lower() in KEYS and name not in keys]
    if unread:
        raise InputError(
            f"{path}: the column {unread[0]} would not be read; call it {unread[0].lower()}"
        )
    found: dict[str, set[str]] = {name: set() for name in KEYS}
    for where, values in table.located_rows(keys, identifiers=keys):
        if not any(values):
            raise InputError(
                f"{path}: {where} names neither an accession nor an mrn, so that it leaves"
                " nobody out; fill in one, or remove the row"
            )
        for name, value in zip(keys, values, strict=True):
            found[name].update(filter(None, [value]))
    return found["accession"], {surviving(mrn, merged) for mrn in found["mrn"]}
