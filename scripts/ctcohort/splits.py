"""Train, validation and test by patient."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from .faults import InputError
from .naming import normal_mrn

NAMES = ("train", "val", "test")


def split_of(mrn: str, shares: Mapping[str, float], seed: int) -> str:
    """The set of a patient: a hash of seed and MRN, so that it never changes and is the same
    everywhere, whatever other patients there are."""
    digest = hashlib.sha256(f"{seed} {normal_mrn(mrn)}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name in NAMES:
        place -= shares[name]
        if place < 0:
            return name
    return max(NAMES, key=lambda name: shares[name])


def pseudonym(text: str, key: bytes | None) -> str:
    """HMAC-SHA256 of an identifier under the private key; empty without a key."""
    if key is None or not text:
        return ""
    return hmac.new(key, text.encode(), "sha256").hexdigest()[:20]


def assign(
    cohort: Iterable[Mapping[str, str]],
    shares: Mapping[str, float],
    *,
    seed: int,
    key: bytes | None,
    given: bool,
) -> list[dict[str, str]]:
    """Rows of `splits.csv` for the rows of the cohort that have an MRN.

    Parameters
    ----------
    given : bool
        The table's own assignment is used instead of the hash.

    Raises
    ------
    InputError
        A patient would be in two sets, or a given set is not a known one.
    """
    rows = []
    sets: dict[str, str] = {}
    for event in cohort:
        patient = normal_mrn(event["mrn"])
        if not patient or event["problem"] == "conflicting_rows":
            continue
        split = event["split"].lower() if given else split_of(patient, shares, seed)
        if split not in NAMES:
            raise InputError(
                f"columns.split: accession {event['accession']} has {event['split']!r};"
                f" expected one of {', '.join(NAMES)}"
            )
        if sets.setdefault(patient, split) != split:
            raise InputError(
                f"columns.split: the patient of accession {event['accession']} is in {split} and in"
                f" {sets[patient]}; a patient must be in one set"
            )
        rows.append(
            {
                "accession": event["accession"],
                "patient": pseudonym(patient, key),
                "split": split,
            }
        )
    return rows
