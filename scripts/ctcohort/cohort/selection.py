"""Select the wanted accessions from the report table."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctcohort.base.faults import InputError
from ctcohort.base.hashing import rank
from ctcohort.base.naming import is_uid, is_valid_accession
from ctcohort.cohort.merged_mrns import surviving
from ctcohort.cohort.report_table import Table
from ctcohort.config.settings import SelectSettings

NAMED = ("accession", "mrn", "protocol", "study_uid", "modality", "split")
"""The keys of `columns` that name one column each."""

THE_ARTICLES = frozenset(
    {
        "ct chest wo contrast w 3d mips protocol",
        "ct chest without contrast w 3d mips protocol",
    }
)
"""The defaults of `select.protocols`: nobody wonders if a hospital has but one of the two."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Imaging:
    """One accession of the table.

    `patient_mrn` is the normal form of the MRN under which the patient goes on, where several were
    merged. `problem` is a word of `reasons.ACCESSION_REASONS`, or empty.
    `carried` holds the values of `columns.carry`, in its order.
    """

    accession: str
    mrn: str
    patient_mrn: str
    study_uid: str
    split: str
    protocols: frozenset[str]
    carried: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Selection:
    """The wanted accessions in table order, and every protocol's count.

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
    columns: Mapping[str, Any],
    settings: SelectSettings,
    *,
    merged: Mapping[str, str] | None = None,
    partition: tuple[int, int] = (1, 1),
) -> Selection:
    """Read the report table and take the accessions whose protocol is wanted.

    Parameters
    ----------
    path : Path
        The table, in any form that `report_table.Table` reads.
    columns : mapping
        The config's `columns`, and `reports_sheet` as `sheet`.
    settings : SelectSettings
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
    names = {key: str(columns[key]) for key in NAMED if columns.get(key)}
    carry = list(columns.get("carry") or ())
    known_protocols = _Protocols(settings)
    found: dict[str, Imaging] = {}
    wanted: set[str] = set()
    table = _opened(path, columns.get("sheet"), [*names.values(), *carry])
    identifiers = [names["accession"], names["mrn"]]
    for values in table.rows([*names.values(), *carry], identifiers=identifiers):
        row = dict(zip(names, values, strict=False))
        protocols, is_wanted = known_protocols.count(row["protocol"])
        if "modality" in names and row["modality"].strip().upper() != "CT":
            continue
        mrn = row["mrn"].strip()
        normal = surviving(mrn, merged or {})
        event = Imaging(
            accession=row["accession"],
            mrn=mrn,
            patient_mrn=mrn if normal == mrn else normal,
            study_uid=row.get("study_uid", "").strip(),
            split=row.get("split", "").strip(),
            protocols=protocols,
            carried=tuple(map(str.strip, values[len(names) :])),
        )
        known = found.setdefault(event.accession, event)
        if known is not event:
            _merge(known, event)
        if is_wanted:
            known_protocols.selected |= protocols
            wanted.add(event.accession)
    if not wanted - {""}:
        raise InputError(_nothing_selected(path, known_protocols.counts, settings))
    for pattern in known_protocols.unmatched(settings):
        _log.warning(
            "warning: %s: no row has the protocol that select asks for by %r; protocols.csv lists"
            " those that occur",
            path,
            pattern,
        )
    _point_decimals(table, carry, found.values())
    events = [event for accession, event in found.items() if accession in wanted and accession]
    for event in events:
        event.problem = event.problem or _problem(event, by_study="study_uid" in names)
    events = _sample(events, settings.sample)
    whole = [event.accession for event in events]
    return Selection(
        _share(events, partition), whole, known_protocols.counts, set(known_protocols.selected)
    )


class _Protocols:
    """The protocol descriptions of a table: how often each occurs, and which are selected."""

    def __init__(self, settings: SelectSettings) -> None:
        self.counts: Counter[str] = Counter()
        self.selected: frozenset[str] = frozenset()
        self._wanted = {normal_protocol(text) for text in settings.protocols}
        self._patterns = [re.compile(pattern) for pattern in settings.protocols_regex]
        self._known: dict[str, tuple[frozenset[str], bool]] = {}

    def count(self, text: str) -> tuple[frozenset[str], bool]:
        """Return a row's protocol, normalised, as a set of one, and whether it is wanted."""
        if text not in self._known:
            protocol = normal_protocol(text)
            matched = any(pattern.search(protocol) for pattern in self._patterns)
            self._known[text] = frozenset([protocol]), protocol in self._wanted or matched
        protocols, is_wanted = self._known[text]
        self.counts.update(protocols)
        return protocols, is_wanted

    def unmatched(self, settings: SelectSettings) -> list[str]:
        """Return what `select` asks for and no row has; the defaults are not among it."""
        texts = [
            text
            for text in settings.protocols
            if normal_protocol(text) not in {*self.counts, *THE_ARTICLES}
        ]
        return texts + [
            pattern.pattern
            for pattern in self._patterns
            if not any(map(pattern.search, self.counts))
        ]


def _opened(path: Path, sheet: Any, needed: Sequence[str]) -> Table:
    table = Table(path, sheet)
    missing = [name for name in needed if name not in table.header]
    if missing:
        raise InputError(
            f"{path}: has no column {', '.join(missing)}; it has: {', '.join(table.header)}.\n"
            "Set columns in your config.yaml to the table's own names."
        )
    return table


def _point_decimals(table: Table, carry: Sequence[str], events: Collection[Imaging]) -> None:
    """Give carried numbers a decimal point, ``0,5`` as ``0.5``, where it can mean nothing else.

    Elsewhere the log says that they are left: in a table whose delimiter is a comma or that has
    typed cells, and in a column of more than numbers, ``1,2`` may be a list.
    """
    for position, name in enumerate(carry):
        texts = [event.carried[position] for event in events]
        commas = sum(map(_is_decimal, texts))
        if not commas:
            continue
        if table.decimal_commas and all(map(_is_number, filter(None, texts))):
            for event in events:
                event.carried = tuple(
                    text.replace(",", ".") if each == position else text
                    for each, text in enumerate(event.carried)
                )
            _log.warning(
                "note: %s: the column %s has decimal commas; carried with points", table.path, name
            )
        else:
            _log.warning(
                "warning: %s: the column %s has %d values like 0,5, which are carried as they are:"
                " they may be lists or stand beside other text, and are no numbers to a program",
                table.path,
                name,
                commas,
            )


def _is_decimal(text: str) -> bool:
    return "," in text and re.fullmatch(r"[+-]?\d+,\d+", text) is not None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+([.,]\d+)?", text) is not None


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
    if by_study and not is_uid(event.study_uid):
        return "ambiguous_study"
    if not event.mrn:
        return "no_mrn"
    return ""


def _sample(events: list[Imaging], count: int | None) -> list[Imaging]:
    if count is None or count >= len(events):
        return events
    ranks = sorted(rank(f"sample {event.accession}") for event in events)[:count]
    return [event for event in events if rank(f"sample {event.accession}") <= ranks[-1]]


def _share(events: list[Imaging], partition: tuple[int, int]) -> list[Imaging]:
    part, count = partition
    return [event for event in events if rank(f"part {event.accession}") % count == part - 1]


def _nothing_selected(path: Path, counts: Counter[str], settings: SelectSettings) -> str:
    found = "\n".join(f"  {count:7d}  {protocol}" for protocol, count in counts.most_common(10))
    asked = [*settings.protocols, *settings.protocols_regex]
    return (
        f"{path}: no row with an accession has a protocol named in select.protocols or matched by"
        f" select.protocols_regex ({'; '.join(asked) or 'both are empty'}).\n"
        f"The commonest of its {len(counts)} protocols, normalised as they are compared:\n{found}\n"
        "Copy the ones you want into select.protocols of your config.yaml."
    )
