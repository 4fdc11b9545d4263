"""Read which MRNs belong to one patient."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.base.naming import normal_mrn
from ctcohort.cohort.report_table import Table


def read_merged_mrns(path: Path | None) -> dict[str, str]:
    """MRNs that were merged into others: normal form -> normal form of the one that survives.

    A table with the columns `mrn` and `merged_into`; chains are followed to their end.

    Raises
    ------
    InputError
        A column or value is missing, an MRN is merged into two others, or a chain has no end. The
        line is named, the MRN is not.
    """
    if path is None:
        return {}
    table, columns = Table(path), ("mrn", "merged_into")
    if not set(columns) <= set(table.header):
        raise InputError(
            f"{path}: expected the columns mrn and merged_into; found {', '.join(table.header)}"
        )
    into: dict[str, str] = {}
    places: dict[str, str] = {}
    for where, values in table.located_rows(columns, identifiers=columns):
        old, new = map(normal_mrn, values)
        if not old or not new or into.setdefault(old, new) != new:
            raise InputError(
                f"{path}: {where}: expected one mrn, and one that it was merged into; a value"
                " is empty, or another row says otherwise"
            )
        places.setdefault(old, where)
    for old, where in places.items():
        seen = {old}
        while into[old] in into:
            into[old] = into[into[old]]
            if into[old] in seen:
                raise InputError(f"{path}: {where}: is merged, in the end, into itself")
            seen.add(into[old])
    return into


def surviving(mrn: str, merged: Mapping[str, str]) -> str:
    """Normal form of the MRN under which a patient goes on."""
    normal = normal_mrn(mrn)
    return merged.get(normal, normal)
