"""Train, validation and test by patient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ctcohort.base.faults import InputError
from ctcohort.base.hashing import RANGE, rank
from ctcohort.base.privacy import pseudonym

NAMES = ("train", "val", "test")


def split_of(patient_mrn: str, shares: Mapping[str, float], seed: int) -> str:
    """The set of a patient: a hash of seed and MRN, so that it never changes and is the same
    everywhere, whatever other patients there are."""
    return _set_at(_unit_hash(f"{seed} {patient_mrn}"), shares)


def stratified(strata: Mapping[str, str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The set of each patient, with each stratum's shares exact to less than one patient.

    The patients of a stratum are ranked by their hash and the ranks are divided; where the
    divisions fall is the stratum's own hash, so that many small strata keep the shares on average.
    A patient who is added can move others of the stratum from one set to another.

    Parameters
    ----------
    strata : mapping
        Each patient's stratum.
    """
    members: dict[str, list[str]] = {}
    for patient, stratum in strata.items():
        members.setdefault(stratum, []).append(patient)
    sets = {}
    for stratum, patients in members.items():
        patients.sort(key=lambda patient: (_unit_hash(f"{seed} {patient}"), patient))
        start = _unit_hash(f"{seed} stratum {stratum}")
        for index, patient in enumerate(patients):
            sets[patient] = _set_at((index + start) / len(patients), shares)
    return sets


def assign(
    cohort: Iterable[Mapping[str, str]],
    shares: Mapping[str, float],
    *,
    seed: int,
    key: bytes | None,
    given: bool,
    stratify: str = "",
) -> list[dict[str, str]]:
    """Rows of `splits.csv` for the rows of the cohort that have an MRN.

    Parameters
    ----------
    given : bool
        The table's own assignment is used instead of the hash.
    stratify : str
        A carried column within each of whose values the shares are exact. A patient with several
        values belongs to the stratum of just these.

    Raises
    ------
    InputError
        A patient would be in two sets, or a given set is not a known one.
    """
    events = [
        event for event in cohort if event["patient_mrn"] and event["problem"] != "conflicting_rows"
    ]
    if given:
        sets = _given(events)
    elif stratify:
        sets = stratified(_strata(events, stratify), shares, seed)
    else:
        sets = {mrn: split_of(mrn, shares, seed) for mrn in {e["patient_mrn"] for e in events}}
    return [
        {
            "accession": event["accession"],
            "patient": pseudonym(event["patient_mrn"], key),
            "split": sets[event["patient_mrn"]],
        }
        for event in events
    ]


def _unit_hash(text: str) -> float:
    """A hash as a number in [0, 1)."""
    return rank(text) / RANGE


def _set_at(share: float, shares: Mapping[str, float]) -> str:
    for name in NAMES:
        share -= shares[name]
        if share < 0:
            return name
    return max(NAMES, key=lambda name: shares[name])


def _given(events: Sequence[Mapping[str, str]]) -> dict[str, str]:
    sets: dict[str, str] = {}
    for event in events:
        split = event["split"].lower()
        if split not in NAMES:
            raise InputError(
                f"columns.split: accession {event['accession']} has {event['split']!r};"
                f" expected one of {', '.join(NAMES)}"
            )
        known = sets.setdefault(event["patient_mrn"], split)
        if known != split:
            raise InputError(
                f"columns.split: the patient of accession {event['accession']} is in {split} and in"
                f" {known}; a patient must be in one set"
            )
    return sets


def _strata(events: Sequence[Mapping[str, str]], column: str) -> dict[str, str]:
    values: dict[str, set[str]] = {}
    for event in events:
        values.setdefault(event["patient_mrn"], set()).add(event[column])
    return {patient: "\n".join(sorted(found)) for patient, found in values.items()}
