"""Select the wanted accessions from the report table."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.base.naming import is_valid_accession
from ctcohort.cohort.merged_mrns import surviving
from ctcohort.cohort.report_table import chosen_columns
from ctcohort.config.settings import SelectSettings


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
    rules: SelectSettings,
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
    rules : SelectSettings
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
    for row in chosen_columns(path, [*names.values(), *carry]):
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


def _nothing_selected(path: Path, counts: Counter[str], rules: SelectSettings) -> str:
    found = "\n".join(f"  {count:7d}  {protocol}" for protocol, count in counts.most_common(10))
    asked = [*rules.protocols, *rules.protocols_regex]
    return (
        f"{path}: no row with an accession has a protocol named in select.protocols or matched by"
        f" select.protocols_regex ({'; '.join(asked) or 'both are empty'}).\n"
        f"The commonest of its {len(counts)} protocols, normalised as they are compared:\n{found}\n"
        "Copy the ones you want into select.protocols of your config.yaml."
    )
