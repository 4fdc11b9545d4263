"""How an identifier is spelled, and what only looks like one."""

from __future__ import annotations

import pytest

from ctcohort.release.guard.identities import (
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
        ("M\u00fcller-L\u00fcdenscheidt^A", "L\u00fcdenscheidt"),
        ("M\u00fcller-L\u00fcdenscheidt^A", "Luedenscheidt"),
        ("O'Brien^Ann", "Brien"),
        ("M\u00fcller^J\u00fcrgen", "Muller"),
        ("M\u00fcller^J\u00fcrgen", "MUELLER"),
        ("M\u00fcller^J\u00fcrgen", "Mu\u0308ller"),
        ("Mu\u0308ller^J", "M\u00fcller"),
        ("Zo\u00eb^A", "Zoe"),
        ("Garc\u00eda^A", "GARCIA"),
        ("Gro\u00df^A", "Gross"),
        ("Yamada^Tarou=山田^太郎", "患者 山田 "),
    ],
)
def test_a_name_is_found_in_every_spelling(name: str, text: str) -> None:
    assert set(kinds(of(NAME, name), text)) == {NAME}


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


@pytest.mark.parametrize(
    ("mrn", "text"),
    [
        ("10001", "10001.0"),
        ("0010001", "A1,10001.0,x"),
        ("10001", "10-001"),
        ("10004", "10 004"),
        ("10004", "A1,10 004,x"),
        ("10003", "MRN10003"),
        ("10003", "mrn0010003"),
        ("10003", "ID10003.log"),
        ("MRN10003", "MRN-10003"),
        ("MRN10003", "mrn 10003"),
    ],
)
def test_an_mrn_is_found_in_pieces_and_glued_to_its_name(mrn: str, text: str) -> None:
    assert set(kinds(of(MRN, mrn), text)) == {MRN}


@pytest.mark.parametrize(
    "text",
    [
        *("10001.01", "10001.0.2", "10,001", "1.10-001", "5 10 001", "10 001 5", "at 10:00 10 001"),
        *("10-001-7", "X10001", "10 001:2", "1 0 0 0 1"),
    ],
)
def test_other_numbers_in_groups_are_no_mrn(text: str) -> None:
    assert kinds(of(MRN, "10001"), text) == []


def test_a_date_is_no_mrn_in_groups() -> None:
    assert kinds(of(MRN, "20240305"), "2024-03-05") == []


@pytest.mark.parametrize(
    ("accession", "text"),
    [("DEMO0005", "DEMO-0005"), ("DEMO0005", "demo_0005"), ("000709", "000 709")],
)
def test_an_accession_is_found_in_pieces(accession: str, text: str) -> None:
    assert set(kinds(of(ACCESSION, accession), text)) == {ACCESSION}


@pytest.mark.parametrize(
    "text",
    [
        *("20190102103000.5", "20190102103000", "2-Jan-2019", "Jan 2, 2019", "2 January 2019"),
        *("2-Jan-19", "Jan 2019", "02.01.19", "02-01-19", "1/2/19", "2019-01", "x,2019-01,y"),
    ],
)
def test_no_date_is_overlooked_where_none_may_be(text: str) -> None:
    assert set(kinds(of(MRN, any_date=True), text)) == {DATE}


@pytest.mark.parametrize(
    "text",
    [
        *("3.11.7", "1.2.19", "0.8/0.8/0.8", "[0.8, 0.8, 1.25]", "2019-13", "May 12"),
        *("20199999103000", "1/2/3", "512/512/133", "67, 101-12", "12.5.10", "on 45-Jan", "10.5.2"),
        "https://doi.org/10.1016/j.media.2020.101857",
    ],
)
def test_other_numbers_are_no_dates(text: str) -> None:
    assert kinds(of(MRN, any_date=True), text) == []


@pytest.mark.parametrize("text", ["23-Jul-1957", "July 23, 1957", "23rd July 1957", "23-JUL-57"])
def test_a_birth_date_is_found_with_its_month_s_name(text: str) -> None:
    assert kinds(of(BIRTH_DATE, "19570723"), text) == [BIRTH_DATE]
    assert kinds(of(BIRTH_DATE, "19570724"), text) == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_text_in_utf_16_is_found(encoding: str) -> None:
    identities = of(NAME, "M\u00fcller^J\u00fcrgen")
    assert set(kinds(identities, "patient M\u00fcller,".encode(encoding))) == {NAME}


# Other scripts and their encodings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Wang^XiaoMing=王^小明", "患者王小明于今日检查"),
        ("Wang^XiaoMing=王^小明", "转诊 小明王医生"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "受診した山田太郎さんの画像"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田さん"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "名前はやまだたろうです"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "환자홍길동님"),
        ("สมชาย^ใจดี", "คนไข้สมชายมาแล้ว"),
    ],
)
def test_a_name_is_found_inside_running_text(name: str, text: str) -> None:
    assert NAME in kinds(of(NAME, name), text)


@pytest.mark.parametrize("text", ["患者王明于今日检查", "小红明天来", "山本次郎さん", "王"])
def test_another_name_in_running_text_is_none(text: str) -> None:
    assert kinds(of(NAME, "李^小明", "山田^太郎"), text) == []


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("王^小东", "gb18030"),
        ("王^小东", "gbk"),
        ("Иванов^Пётр", "iso8859_5"),
        ("Παπαδόπουλος^Νίκος", "iso8859_7"),
        ("Novák^Jiří", "iso8859_2"),
        ("Şahin^Gülşah", "iso8859_9"),
        ("كريم^سامي", "iso8859_6"),
        ("כהן^אברהם", "iso8859_8"),
        ("สมชาย^ใจดี", "tis_620"),
        ("홍^길동", "euc_kr"),
        ("山田^太郎", "iso2022_jp"),
        ("山田^太郎", "euc_jp"),
    ],
)
def test_a_name_in_each_character_set_of_dicom_is_found(name: str, encoding: str) -> None:
    text = name.replace("^", "") if encoding in ("gb18030", "gbk", "euc_kr") else name
    assert NAME in kinds(of(NAME, name), b"x " + text.replace("^", " ").encode(encoding) + b" y")


def test_a_count_in_a_name_is_not_searched_for_alone() -> None:
    """As data sets that were made public name their patients."""
    identities = of(NAME, "LUNGS_0001", "KiTS-00072", "007^Bond")
    assert kinds(identities, "0001 of 007 files") == []
    for text in ("LUNGS_0001", "lungs 0001", "Lungs", "kits", "00072", "Bond007", "bond"):
        assert set(kinds(identities, text)) == {NAME}, text


# Glued, hyphenated, reversed


@pytest.mark.parametrize(
    "text",
    [
        "EsmeraldaThorax.dcm",
        "ThoraxEsmeralda",
        "esmeralda2019",
        "quasimodoesmeralda",
        "EsmeraldaQuasimodo",
        "Quasimodo-Esmeralda",
        "Esmeralda, Quasimodo",
        "seen by Esme-\n  ralda today",
    ],
)
def test_a_name_is_found_glued_hyphenated_and_reversed(text: str) -> None:
    assert NAME in kinds(of(NAME, "Quasimodo^Esmeralda"), text)


@pytest.mark.parametrize("text", ["esmeraldas", "emeralda", "Esmeral-da", "B30f", "LightSpeed16"])
def test_other_words_are_no_name(text: str) -> None:
    assert kinds(of(NAME, "Quasimodo^Esmeralda"), text) == []


# Dates with blanks, and as numbers


@pytest.mark.parametrize(
    "text",
    [
        "1957 07 23",
        "23 07 1957",
        "23. 7. 1957",
        "07 / 23 / 1957",
        "1957 - 7 - 23",
        "born 23 07 1957 10:30",
        "-392688000",
        "-392688000.0",
        "-392688000000",
    ],
)
def test_a_birth_date_is_found_with_blanks_and_as_a_time_stamp(text: str) -> None:
    assert kinds(of(BIRTH_DATE, "19570723"), text) == [BIRTH_DATE]


@pytest.mark.parametrize("text", ["572400000", "572400000000", "x=572400000;"])
def test_a_birth_date_after_1970_is_found_as_a_time_stamp(text: str) -> None:
    assert kinds(of(BIRTH_DATE, "19880221"), text) == [BIRTH_DATE]


@pytest.mark.parametrize(
    "text",
    [
        "392688000",
        "-392688001",
        "4 23 07 1957",
        "23 07 1957 8",
        "1957 07 24",
        "23  1957",
        "0.5 7 1957",
    ],
)
def test_other_numbers_are_no_birth_date(text: str) -> None:
    assert kinds(of(BIRTH_DATE, "19570723"), text) == []
