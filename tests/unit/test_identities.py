"""How an identifier is spelled, and what only looks like one."""

from __future__ import annotations

import pytest

from ctcohort.identities import (
    ACCESSION,
    BIRTH_DATE,
    DATE,
    MRN,
    NAME,
    UID,
    WINDOW,
    Identities,
    redacted,
)


def kinds(identities: Identities, text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [hit.kind for hit in identities.hits(data)]


def of(kind: str, *values: str, **more: object) -> Identities:
    identities = Identities(**more)  # type: ignore[arg-type]
    for value in values:
        identities.add(kind, value)
    return identities


@pytest.mark.parametrize(
    "text",
    [
        "0012345",
        "12345",
        "000000012345",
        "patient 12345: done",
        "raw/12345/a.dcm",
        "12345.npz",
        "scan_12345_left",
        '{"id": "12345"}',
        "(12345)",
        "12345.",
    ],
)
def test_an_mrn_is_found_with_and_without_its_zeros(text: str) -> None:
    assert kinds(of(MRN, "0012345"), text) == [MRN]


@pytest.mark.parametrize(
    "text", ["123456", "112345", "12345.67", "0.12345", "A12345", "12345B", "1.2.840.12345.7"]
)
def test_part_of_another_token_is_no_mrn(text: str) -> None:
    assert kinds(of(MRN, "12345"), text) == []


@pytest.mark.parametrize("text", ["12-34-567", "12 34 567", "1234567", "12/34/567", "0012-34-567"])
def test_an_mrn_is_found_with_other_marks_between_its_parts(text: str) -> None:
    assert kinds(of(MRN, "12-34-567"), text) == [MRN]


@pytest.mark.parametrize("text", ["mrn77131", "MRN77131", "Mrn77131;"])
def test_upper_and_lower_case_are_one(text: str) -> None:
    assert kinds(of(MRN, "MRN77131"), text) == [MRN]


def test_what_is_too_short_is_counted_not_searched_for() -> None:
    identities = of(MRN, "1234", "A1")
    assert kinds(identities, "1234 A1") == []
    assert identities.too_short == 2
    assert "2 identifiers have fewer than 5" in identities.limits()[0]


@pytest.mark.parametrize(
    "text",
    [
        "19570723",
        "1957-07-23",
        "23.07.1957",
        "23.7.1957",
        "07/23/1957",
        "7/23/1957",
        "23/07/1957",
        "1957/07/23",
        "born 1957-07-23T00:00",
    ],
)
@pytest.mark.parametrize("told", ["19570723", "1957-07-23", "07/23/1957"])
def test_a_birth_date_is_found_as_people_write_it(text: str, told: str) -> None:
    assert kinds(of(BIRTH_DATE, told), text) == [BIRTH_DATE]


@pytest.mark.parametrize("text", ["119570723", "195707231", "1957-07-24", "0.19570723", "1957"])
def test_another_number_is_no_birth_date(text: str) -> None:
    assert kinds(of(BIRTH_DATE, "19570723"), text) == []


@pytest.mark.parametrize(
    "text", ["Quasimodo", "QUASIMODO", "quasimodo.txt", "Esmeralda Q.", "Mr Quasimodo"]
)
def test_each_part_of_a_name_is_found(text: str) -> None:
    assert kinds(of(NAME, "Quasimodo^Esmeralda"), text) == [NAME]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Müller^Jürgen", "müller"),
        ("Müller^Jürgen", "MÜLLER"),
        ("Müller^Jürgen", '{"who": "M\\u00fcller"}'),
        ("Müller^Jürgen", "M%C3%BCller"),
        ("Müller^Jürgen", "M&uuml;ller"),
        ("O'Brien^Ann", "OBrien"),
        ("O'Brien^Ann", "o'brien"),
        ("Lang-Kurz^A", "lang kurz"),
        ("Yamada^Tarou=山田^太郎", "患者 山田 "),
    ],
)
def test_a_name_is_found_in_every_spelling(name: str, text: str) -> None:
    assert kinds(of(NAME, name), text) == [NAME]


def test_a_name_in_latin_1_is_found() -> None:
    assert kinds(of(NAME, "Müller"), "name Müller,".encode("latin-1")) == [NAME]


def test_a_name_that_is_a_common_word_is_found_beside_the_other_part_only() -> None:
    identities = of(NAME, "Page^Jonathan", "Li^Xiu", common={"PAGE", "XIU"})
    assert kinds(identities, "the page says li") == []
    assert kinds(identities, "Page^Jonathan") == [NAME, NAME]  # the pair, and the rare part
    assert kinds(identities, "xiu, li") == [NAME]
    assert identities.common_names == 3
    assert any("beside" in line for line in identities.limits())


def test_accessions_dates_and_uids_where_none_may_be() -> None:
    identities = of(ACCESSION, "DEMO 08/B", any_date=True, any_uid=True)
    assert kinds(identities, "DEMO%2008%2FB") == [ACCESSION]
    assert kinds(identities, "demo 08/b") == [ACCESSION]
    assert kinds(identities, "on 2024-03-05") == [DATE]
    assert kinds(identities, "20240305") == [DATE]
    assert kinds(identities, "1.2.840.113619.2.5.1") == [UID]
    assert kinds(identities, "version 0.1.0, 3.14, 20249999, [1.25, 2.5, 12.11]") == []


def test_a_place_can_be_named_without_the_value() -> None:
    identities = of(MRN, "MRN77131")
    assert redacted("qc/MRN77131.png", identities) == "qc/********.png"
    assert redacted("qc/A0001.png", identities) == "qc/A0001.png"


def test_nothing_is_lost_where_windows_meet() -> None:
    """Large files are searched in pieces."""
    identities = of(MRN, "MRN77131")
    for offset in (-9, -4, 0, 3):
        for filler in (b"x", b" ", b"\n"):
            data = filler * (WINDOW + offset) + b" MRN77131 " + filler * 70000
            places = {hit.start for hit in identities.hits(data)}
            assert places == {WINDOW + offset + 1}
