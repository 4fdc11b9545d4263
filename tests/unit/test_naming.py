"""Accessions as file names, and MRNs as patients."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcohort.base.naming import (
    NAME_PATTERN,
    accession_of,
    is_valid_accession,
    name_of,
    normal_mrn,
    one_line,
)

SAFE = frozenset(string.ascii_letters + string.digits + "._-%")
accessions = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("./-_~% *?\\\"'$;&|<>\n#:")),
    min_size=1,
    max_size=64,
)


@given(accessions)
def test_a_name_gives_its_accession_back(accession: str) -> None:
    assert accession_of(name_of(accession)) == accession


@given(accessions, accessions)
def test_two_accessions_never_have_one_name(one: str, other: str) -> None:
    assert (name_of(one) == name_of(other)) == (one == other)


@given(accessions)
def test_a_name_is_safe_as_a_path_a_wildcard_and_an_argument(accession: str) -> None:
    name = name_of(accession)
    assert set(name) <= SAFE
    assert name[0] not in ".-"
    assert Path(name).name == name
    assert re.fullmatch(NAME_PATTERN, name)


@given(accessions.filter(is_valid_accession))
def test_the_name_of_a_valid_accession_leaves_room_for_endings(accession: str) -> None:
    assert len(f".{name_of(accession)}.json.gz.4194304.part".encode()) <= 255


@pytest.mark.parametrize(
    ("accession", "name"),
    [
        ("00123", "00123"),
        ("AA 12/B", "AA%2012%2FB"),
        ("..", "%2E."),
        ("-rf", "%2Drf"),
        ("A%2FB", "A%252FB"),
        ("~A", "%7EA"),
        ("é", "%C3%A9"),
        ("a.b-c_d", "a.b-c_d"),
    ],
)
def test_names_are_these(accession: str, name: str) -> None:
    assert name_of(accession) == name


@given(accessions)
def test_an_accession_in_a_list_stays_on_its_line(accession: str) -> None:
    assert len(f"{one_line(accession)}\n".splitlines()) == 1
    if is_valid_accession(accession):
        assert one_line(accession) == accession
    elif one_line(accession) != accession:
        assert not is_valid_accession(one_line(accession))  # it is no other accession's line


@pytest.mark.parametrize("mrn", ["42", "042", "00042", " 42 ", "4 2", "0 42", "\t0\u00a042"])
def test_zeros_and_blanks_do_not_make_another_patient(mrn: str) -> None:
    assert normal_mrn(mrn) == "42"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("ab1", "AB1", True), ("0", "000", True), ("0", "", False), ("10", "1", False)],
)
def test_which_mrns_are_one_patient(one: str, other: str, same: bool) -> None:
    assert (normal_mrn(one) == normal_mrn(other)) is same


@given(st.text())
def test_a_normal_mrn_stays_as_it_is(mrn: str) -> None:
    once = normal_mrn(mrn)
    assert normal_mrn(once) == once
