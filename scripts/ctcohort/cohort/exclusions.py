"""Read which accessions and patients a person has decided to leave out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.cohort.merged_mrns import surviving
from ctcohort.cohort.report_table import table


def read_exclusions(path: Path | None, merged: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Accessions that a person has decided to leave out, and patients by their surviving MRN."""
    if path is None:
        return set(), set()
    header, rows = table(path)
    keys = [name for name in ("accession", "mrn") if name in header]
    if not keys or "reason" not in header:
        raise InputError(
            f"{path}: expected the columns accession (or mrn) and reason; found {', '.join(header)}"
        )
    accessions: set[str] = set()
    mrns: set[str] = set()
    for row in rows:
        values = dict(zip(header, row, strict=True))
        accessions.update(filter(None, [values.get("accession", "").strip()]))
        mrns.update(filter(None, [surviving(values.get("mrn", ""), merged)]))
    return accessions, mrns
