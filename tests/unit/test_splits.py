"""Train, validation and test by patient."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest

from ctcohort.base.faults import InputError
from ctcohort.base.naming import normal_mrn
from ctcohort.base.privacy import pseudonym
from ctcohort.cohort.splits import NAMES, assign, split_of, stratified

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
KEY = b"0123456789abcdef" * 4


def event(accession: str, mrn: str, split: str = "", problem: str = "") -> dict[str, str]:
    patient = normal_mrn(mrn)
    return {"accession": accession, "patient_mrn": patient, "split": split, "problem": problem}


def assigned(cohort: list[dict[str, str]], **more: Any) -> dict[str, str]:
    options = {"seed": 0, "key": None, "given": False, **more}
    return {row["accession"]: row["split"] for row in assign(cohort, SHARES, **options)}


def test_a_patient_is_always_in_the_same_set() -> None:
    assert [split_of(str(mrn), SHARES, 0) for mrn in range(8)] == [
        "train",
        "train",
        "train",
        "test",
        "train",
        "train",
        "train",
        "train",
    ]


def test_the_order_and_the_company_of_patients_do_not_matter() -> None:
    cohort = [event(f"A{n}", str(n // 2)) for n in range(400)]
    shuffled = random.Random(1).sample(cohort, 200)
    everything = assigned(cohort)
    assert assigned(shuffled) == {e["accession"]: everything[e["accession"]] for e in shuffled}


def test_all_scans_of_a_patient_are_in_one_set() -> None:
    cohort = [event(f"A{n}", ["0042", "42", " 42"][n % 3]) for n in range(9)]
    assert len(set(assigned(cohort).values())) == 1


def test_shares_are_met_within_the_binomial_error() -> None:
    patients = 20_000
    counts = Counter(split_of(f"{mrn}", SHARES, 0) for mrn in range(patients))
    assert set(counts) == set(NAMES)
    for name, share in SHARES.items():
        error = math.sqrt(patients * share * (1 - share))
        assert abs(counts[name] - patients * share) < 4 * error


def test_another_seed_gives_other_sets() -> None:
    moved = sum(split_of(str(n), SHARES, 0) != split_of(str(n), SHARES, 1) for n in range(1000))
    expected = 1000 * (1 - sum(share**2 for share in SHARES.values()))
    assert abs(moved - expected) < 100


@pytest.mark.parametrize("only", NAMES)
def test_a_share_of_one_takes_everybody(only: str) -> None:
    shares = {name: float(name == only) for name in NAMES}
    assert {split_of(str(n), shares, 0) for n in range(1000)} == {only}


@pytest.mark.parametrize("only", NAMES)
def test_shares_that_sum_to_a_little_less_than_one_leave_nobody_out(only: str) -> None:
    shares = {name: 1e-12 * (name == only) for name in NAMES}
    assert {split_of(str(n), shares, 0) for n in range(100)} == {only}


LABELS = [("yes", 30), ("no", 900), ("unknown", 7)]


def labelled(**changes: str) -> dict[str, str]:
    """Patients and their strata."""
    strata = {f"{label}{n}": label for label, count in LABELS for n in range(count)}
    return strata | changes


@pytest.mark.parametrize("seed", range(20))
def test_strata_have_their_shares_to_less_than_one_patient(seed: int) -> None:
    sets = stratified(labelled(), SHARES, seed)
    for label, count in LABELS:
        found = Counter(split for patient, split in sets.items() if patient.startswith(label))
        for name, share in SHARES.items():
            assert abs(found[name] - share * count) < 1


def test_the_names_of_patients_do_not_decide_within_a_stratum() -> None:
    sets = stratified({f"{n:03d}": "all" for n in range(100)}, SHARES, 0)
    changes = sum(sets[f"{n:03d}"] != sets[f"{n + 1:03d}"] for n in range(99))
    assert changes > 20


def test_a_column_to_stratify_by_is_used() -> None:
    cohort = [event(f"A{n}", f"{n}") | {"label": "yes"} for n in range(30)]
    counts = Counter(assigned(cohort, stratify="label").values())
    assert all(abs(counts[name] - share * 30) < 1 for name, share in SHARES.items())
    assert Counter(assigned(cohort).values()) != counts


def test_strata_of_one_patient_keep_the_shares_on_average() -> None:
    patients = 20_000
    counts = Counter(stratified({f"{n}": f"{n}" for n in range(patients)}, SHARES, 0).values())
    for name, share in SHARES.items():
        error = math.sqrt(patients * share * (1 - share))
        assert abs(counts[name] - patients * share) < 4 * error


def test_the_order_of_patients_does_not_matter_within_strata() -> None:
    strata = labelled()
    turned = dict(reversed(strata.items()))
    assert stratified(strata, SHARES, 0) == stratified(turned, SHARES, 0)


def test_a_new_patient_of_another_stratum_moves_nobody() -> None:
    before = stratified(labelled(), SHARES, 0)
    after = stratified(labelled(new="maybe"), SHARES, 0)
    assert {patient: after[patient] for patient in before} == before


def test_a_patient_with_several_values_is_in_one_set() -> None:
    cohort = [event(f"A{n}", f"{n // 2}") | {"label": f"{n % 3}"} for n in range(300)]
    sets = assigned(cohort, stratify="label")
    assert all(sets[f"A{n}"] == sets[f"A{n + 1}"] for n in range(0, 300, 2))


def test_given_sets_are_taken_as_they_are() -> None:
    cohort = [event("A1", "1", "Train"), event("A2", "2", "test"), event("A3", "2", "TEST")]
    assert assigned(cohort, given=True) == {"A1": "train", "A2": "test", "A3": "test"}


def test_a_patient_in_two_given_sets_stops_everything() -> None:
    cohort = [event("A1", "0042", "train"), event("A2", "42", "test")]
    with pytest.raises(InputError, match=r"columns\.split.*A2 is in test and in train") as caught:
        assigned(cohort, given=True)
    assert "42" not in str(caught.value)


@pytest.mark.parametrize("word", ["", "training", "valid", "tests"])
def test_a_given_set_of_another_name_stops_everything(word: str) -> None:
    with pytest.raises(InputError, match=r"columns\.split: accession A1.*train, val, test"):
        assigned([event("A1", "1", word)], given=True)


def test_who_has_no_mrn_or_conflicting_rows_is_in_no_set() -> None:
    cohort = [event("A1", " "), event("A2", "2", problem="conflicting_rows"), event("A3", "3")]
    assert list(assigned(cohort)) == ["A3"]


def test_a_pseudonym_needs_the_key_and_is_one_per_patient() -> None:
    cohort = [event("A1", "0042"), event("A2", "42"), event("A3", "43")]
    one, again, other = assign(cohort, SHARES, seed=0, key=KEY, given=False)
    assert one["patient"] == again["patient"] != other["patient"]
    assert len(one["patient"]) == 20
    assert set(one["patient"]) <= set("0123456789abcdef")
    assert pseudonym(normal_mrn("42"), KEY) == one["patient"]
    assert pseudonym("42", KEY[::-1]) != one["patient"]
    assert [row["patient"] for row in assign(cohort, SHARES, seed=0, key=None, given=False)] == [
        "",
        "",
        "",
    ]
    assert pseudonym("", KEY) == ""
