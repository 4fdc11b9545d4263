"""The key table: the name under which each accession is released.

``name, accession, seal``, mode 600, outside the release. It is only ever added to: a name that was
given is never given again, also when its scan is withdrawn. The seal is an HMAC of the row under
`privacy.key_file`, so that a table that belongs to another key, or was edited, is noticed. A row
whose accession and seal were blanked keeps its number taken and names nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.base.files import read_table, write_table
from ctcohort.base.privacy import must_be_private, pseudonym

COLUMNS = ("name", "accession", "seal")

PREFIXES = {"train": "trn", "val": "val", "test": "tst"}
"""As RAD-ChestCT's volumes are called."""

NAME = re.compile(r"(trn|val|tst)([0-9]{5,})")


def location(path: str | None, release: Path) -> Path:
    """The key table's path, if it is a place where it may be.

    Raises
    ------
    InputError
        None is configured, it is inside `release`, or others can read it.
    """
    if not path:
        raise InputError(
            "release.key_table: is not set; name a file outside release/ that will say which"
            " accession is which volume, e.g. {key_table: /a/safe/place/names.csv}"
        )
    table = Path(path).resolve()
    if table.is_relative_to(release.resolve()):
        raise InputError(
            f"release.key_table: {path} is inside the release, which it would undo; name a file"
            " elsewhere"
        )
    if table.exists():
        must_be_private(path, "release.key_table")
    return table


def read(table: Path, key: bytes) -> dict[str, str]:
    """Accession by name, as the table has them; empty where there is no table.

    Raises
    ------
    InputError
        Not such a table, a name or an accession occurs twice, or a row is not sealed by `key`.
    """
    if not table.exists():
        return {}
    names: dict[str, str] = {}
    accessions: set[str] = set()
    for number, row in enumerate(read_table(table), 2):
        name, accession, seal = (row.get(column) or "" for column in COLUMNS)
        if not NAME.fullmatch(name) or name in names or accession in accessions - {""}:
            raise InputError(
                f"release.key_table: {table}: row {number} is not what this command wrote, or its"
                " name or accession occurs twice; put the table back from a copy"
            )
        if accession and seal != _seal(name, accession, key):
            raise InputError(
                f"release.key_table: {table}: row {number} does not belong to privacy.key_file;"
                " put back the key that the names were made with, or the table as it was"
            )
        names[name] = accession
        accessions.add(accession)
    return names


def extended(
    names: Mapping[str, str], wanted: Iterable[tuple[str, str]], key: bytes
) -> dict[str, str]:
    """`names` and those of the accessions that had none, after the highest numbers ever given.

    Parameters
    ----------
    wanted : iterable of (accession, split)
        New ones are numbered in the order of a keyed hash, which tells nothing of the table's.

    Raises
    ------
    InputError
        A scan was released in one split and is in another now.
    """
    known = {accession: name for name, accession in names.items() if accession}
    numbers = dict.fromkeys(PREFIXES.values(), 0)
    for name in names:
        numbers[name[:3]] = max(numbers[name[:3]], int(name[3:]))
    result = dict(names)
    for accession, split in sorted(wanted, key=lambda scan: pseudonym(scan[0], key)):
        prefix = PREFIXES[split]
        given = known.get(accession)
        if given is None:
            numbers[prefix] += 1
            result[f"{prefix}{numbers[prefix]:05d}"] = accession
        elif not given.startswith(prefix):
            raise InputError(
                f"accession {accession} was released as {given} and is in {split} now; a released"
                " scan keeps its split: put splits (or columns.split) back, or begin a new release"
                " with a new release.key_table"
            )
    return result


def write(table: Path, names: Mapping[str, str], key: bytes) -> None:
    """Write the whole table, by name."""
    rows = (
        {"name": name, "accession": accession, "seal": _seal(name, accession, key)}
        for name, accession in sorted(names.items())
    )
    write_table(table, COLUMNS, rows)
    table.chmod(0o600)


def _seal(name: str, accession: str, key: bytes) -> str:
    return pseudonym(f"{name} {accession}", key) if accession else ""
