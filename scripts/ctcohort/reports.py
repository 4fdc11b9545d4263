"""The report table: which accessions are wanted, and what later stages need to know of them.

Only the columns named in the config are kept in memory; the reports' free text is read past.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from .faults import InputError
from .naming import is_valid_accession, normal_mrn
from .settings import SelectRules

DELIMITERS = (",", "|", "\t", ";")


@dataclass
class Imaging:
    """One accession of the table.

    `patient_mrn` is the normal form of the MRN under which the patient goes on, where several were
    merged. `problem` is a word of `vocabulary.ACCESSION_REASONS`, or empty.
    """

    accession: str
    mrn: str
    patient_mrn: str
    study_uid: str
    split: str
    protocols: set[str]
    carried: dict[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Selection:
    """What `select` found: the wanted accessions in table order, and every protocol's count.

    `whole` are the accessions of all parts, where this is one part of the cohort.
    """

    wanted: list[Imaging]
    whole: list[str]
    protocols: Counter[str]
    selected_protocols: set[str]


def normal_protocol(text: str) -> str:
    """Lower case, with white space collapsed (the article's comparison)."""
    return " ".join(text.lower().split())


def select(
    path: Path,
    columns: Mapping[str, str | Sequence[str] | None],
    rules: SelectRules,
    *,
    merged: Mapping[str, str] | None = None,
    partition: tuple[int, int] = (1, 1),
) -> Selection:
    """Read the report table and take the accessions whose protocol is wanted.

    Parameters
    ----------
    path : Path
        The table: UTF-8 (a BOM is tolerated), delimiter one of ``, | tab ;``, fields may be quoted
        and hold line breaks, lines that start with ``#`` between rows are ignored.
    columns : mapping
        The config's `columns`.
    rules : SelectRules
        The config's `select`.
    merged : mapping
        What `read_merged_mrns` says.
    partition : (int, int)
        Share K of N: a hash of the accession decides, so that it never moves.

    Raises
    ------
    InputError
        File missing or not readable as such a table; column missing; nothing selected.
    """
    names = {key: str(name) for key, name in columns.items() if name and key != "carry"}
    carry = list(columns.get("carry") or ())
    wanted_protocols = {normal_protocol(text) for text in rules.protocols}
    patterns = [re.compile(pattern) for pattern in rules.protocols_regex]
    counts: Counter[str] = Counter()
    selected_protocols: set[str] = set()
    found: dict[str, Imaging] = {}
    wanted: set[str] = set()
    for row in _rows(path, [*names.values(), *carry]):
        protocol = normal_protocol(row[names["protocol"]])
        counts[protocol] += 1
        if "modality" in names and row[names["modality"]].strip().upper() != "CT":
            continue
        accession = row[names["accession"]].strip(" \t")
        event = Imaging(
            accession=accession,
            mrn=row[names["mrn"]].strip(),
            patient_mrn=surviving(row[names["mrn"]], merged or {}),
            study_uid=row[names["study_uid"]].strip() if "study_uid" in names else "",
            split=row[names["split"]].strip() if "split" in names else "",
            protocols={protocol},
            carried={name: row[name].strip() for name in carry},
        )
        known = found.setdefault(accession, event)
        if known is not event:
            _merge(known, event)
        if protocol in wanted_protocols or any(p.search(protocol) for p in patterns):
            selected_protocols.add(protocol)
            wanted.add(accession)
    if not wanted - {""}:
        raise InputError(_nothing_selected(path, counts, rules))
    events = [event for accession, event in found.items() if accession in wanted and accession]
    for event in events:
        event.problem = event.problem or _problem(event, by_study="study_uid" in names)
    events = _sample(events, rules.sample)
    whole = [event.accession for event in events]
    return Selection(_share(events, partition), whole, counts, selected_protocols)


def read_merged_mrns(path: Path | None) -> dict[str, str]:
    """MRNs that were merged into others: normal form -> normal form of the one that survives.

    A CSV with the columns `mrn` and `merged_into`; chains are followed to their end.

    Raises
    ------
    InputError
        A column or value is missing, an MRN is merged into two others, or a chain has no end. The
        line is named, the MRN is not.
    """
    if path is None:
        return {}
    header, rows = table(path)
    if not {"mrn", "merged_into"} <= set(header):
        raise InputError(
            f"{path}: expected the columns mrn and merged_into; found {', '.join(header)}"
        )
    into: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        values = dict(zip(header, row, strict=True))
        old, new = normal_mrn(values["mrn"]), normal_mrn(values["merged_into"])
        if not old or not new or into.setdefault(old, new) != new:
            raise InputError(
                f"{path}: row {number}: expected one mrn, and one that it was merged into; a value"
                " is empty, or another row says otherwise"
            )
    for number, old in enumerate(into, 1):
        seen = {old}
        while into[old] in into:
            into[old] = into[into[old]]
            if into[old] in seen:
                raise InputError(f"{path}: row {number}: is merged, in the end, into itself")
            seen.add(into[old])
    return into


def surviving(mrn: str, merged: Mapping[str, str]) -> str:
    """Normal form of the MRN under which a patient goes on."""
    normal = normal_mrn(mrn)
    return merged.get(normal, normal)


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


def _merge(known: Imaging, again: Imaging) -> None:
    """Take another row of the same accession; rows that disagree make it `conflicting_rows`."""
    if (
        known.patient_mrn != again.patient_mrn
        or known.protocols != again.protocols
        or known.study_uid != again.study_uid
        or known.split != again.split
        or known.carried != again.carried
    ):
        known.protocols |= again.protocols
        known.problem = "conflicting_rows"


def _problem(event: Imaging, *, by_study: bool) -> str:
    if not is_valid_accession(event.accession):
        return "invalid_accession"
    if by_study and not re.fullmatch(r"[0-9.]{1,64}", event.study_uid):
        return "ambiguous_study"
    if not event.mrn:
        return "no_mrn"
    return ""


def _rank(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _sample(events: list[Imaging], count: int | None) -> list[Imaging]:
    if count is None or count >= len(events):
        return events
    ranks = sorted(_rank(f"sample {event.accession}") for event in events)[:count]
    return [event for event in events if _rank(f"sample {event.accession}") <= ranks[-1]]


def _share(events: list[Imaging], partition: tuple[int, int]) -> list[Imaging]:
    part, count = partition
    return [event for event in events if _rank(f"part {event.accession}") % count == part - 1]


def _nothing_selected(path: Path, counts: Counter[str], rules: SelectRules) -> str:
    found = "\n".join(f"  {count:7d}  {protocol}" for protocol, count in counts.most_common(10))
    asked = [*rules.protocols, *rules.protocols_regex]
    return (
        f"{path}: no row with an accession has a protocol named in select.protocols or matched by"
        f" select.protocols_regex ({'; '.join(asked) or 'both are empty'}).\n"
        f"The commonest of its {len(counts)} protocols, normalised as they are compared:\n{found}\n"
        "Copy the ones you want into select.protocols of your config.yaml."
    )


def _rows(path: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    header, rows = table(path)
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(
            f"{path}: has no column {', '.join(missing)}; it has: {', '.join(header)}.\n"
            "Set columns in your config.yaml to the table's own names."
        )
    places = {name: header.index(name) for name in needed}
    for row in rows:
        yield {name: row[place] for name, place in places.items()}


def table(path: Path) -> tuple[list[str], Iterator[list[str]]]:
    """Header and rows of a table; every row has as many fields as the header."""
    csv.field_size_limit(2**31 - 1)
    records = _records(path)
    header = next(records, None)
    if header is None:
        raise InputError(f"{path}: is empty; expected a header line and one row per imaging event")
    names = [name.strip() for name in header[1]]
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise InputError(f"{path}: the column {repeated[0]} occurs twice; rename one")
    return names, _fitted(path, len(names), records)


class _Lines:
    """Lines for csv.reader without comments and blank lines between two records.

    `began` is the number of the line on which the record that is being read begins.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.number = self.began = 0
        self.between_records = True

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        for line in self.stream:
            self.number += 1
            if self.between_records:
                if line.startswith("#") or not line.strip():
                    continue
                self.began = self.number
            self.between_records = False
            return line
        raise StopIteration


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each record that is not blank."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            yield from _parsed(path, _Lines(stream))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a table") from None


def _parsed(path: Path, lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    try:
        first = next(lines, "")
        delimiter = max(DELIMITERS, key=_outside_quotes(first).count)
        start = [first]

        def rest() -> Iterator[str]:
            yield from start
            yield from lines

        reader = csv.reader(rest(), delimiter=delimiter, strict=True)
        while True:
            lines.between_records = not start or reader.line_num > 0
            fields = next(reader, None)
            if fields is None:
                return
            if any(text.strip() for text in fields):
                yield lines.began, fields
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is not UTF-8 (near line {lines.number + 1}, byte {error.start} of the block);"
            " save it as UTF-8, e.g. iconv -f latin1 -t utf-8"
        ) from None
    except csv.Error as error:
        raise InputError(
            f"{path}: near line {lines.number}: {error}; expected every quoted field to be closed"
            " and a quote inside one to be doubled"
        ) from None
    finally:
        lines.stream.close()


def _outside_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _fitted(
    path: Path, width: int, records: Iterator[tuple[int, list[str]]]
) -> Iterator[list[str]]:
    for line, row in records:
        if len(row) > width and not any(text.strip() for text in row[width:]):
            row = row[:width]
        if len(row) != width:
            raise InputError(
                f"{path}: the row at line {line} has {len(row)} fields, the header has {width};"
                " a field that holds the delimiter or a line break must be quoted"
            )
        yield row
