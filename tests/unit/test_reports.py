"""The report table: what may stand in it, and which accessions come out."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctcohort.base.faults import InputError
from ctcohort.cohort.exclusions import read_exclusions
from ctcohort.cohort.merged_mrns import read_merged_mrns
from ctcohort.cohort.selection import THE_ARTICLES, Imaging, Selection, select
from ctcohort.config.settings import SelectSettings

from .opened import REPOSITORY

CHEST = "CT Chest WO Contrast"
COLUMNS: dict[str, Any] = {"accession": "AccessionNumber", "mrn": "MRN", "protocol": "Protocol"}
HEADER = ("AccessionNumber", "MRN", "Protocol", "Report")
WANTED = SelectSettings(protocols=("ct chest wo contrast",))


def write(
    path: Path,
    rows: Iterable[Sequence[str]],
    *,
    header: Sequence[str] = HEADER,
    delimiter: str = ",",
    end: str = "\n",
    quoting: Any = csv.QUOTE_MINIMAL,
) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(header)
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode())
    return path


def take(path: Path, rules: SelectSettings = WANTED, **more: Any) -> list[Imaging]:
    columns = {**COLUMNS, **more.pop("columns", {})}
    return select(path, columns, rules, **more).wanted


def names(events: Iterable[Imaging]) -> list[str]:
    return [event.accession for event in events]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "reports.csv"


# Forms of the table


@pytest.mark.parametrize("delimiter", [",", "|", "\t", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_every_delimiter_line_ending_mark_and_quoting_is_read(
    table: Path, delimiter: str, end: str, mark: bytes, quoting: int
) -> None:
    rows = [("007", "042", CHEST, "a, b; c | d\te"), ("A2", "43", "CT Abdomen", "")]
    write(table, rows, delimiter=delimiter, end=end, quoting=quoting)
    table.write_bytes(mark + table.read_bytes())
    (event,) = take(table)
    assert (event.accession, event.mrn) == ("007", "042")


def test_leading_zeros_survive_and_surrounding_blanks_do_not(table: Path) -> None:
    write(table, [("  000123 ", " 0042\t", f"  {CHEST}  ", "")])
    (event,) = take(table)
    assert (event.accession, event.mrn, event.protocols) == ("000123", "0042", {CHEST.lower()})


def test_protocols_are_compared_in_lower_case_with_white_space_collapsed(table: Path) -> None:
    write(table, [("A1", "1", "ct  CHEST\two\ncontrast ", ""), ("A2", "2", CHEST + " x", "")])
    assert names(take(table)) == ["A1"]


def test_header_names_may_be_quoted_and_surrounded_by_blanks(table: Path) -> None:
    table.write_text(f'"AccessionNumber" , MRN,"Protocol"\nA1,1,{CHEST}\n'.replace('" ,', '",'))
    assert names(take(table)) == ["A1"]
    table.write_text(f" AccessionNumber , MRN ,Protocol \nA1,1,{CHEST}\n")
    assert names(take(table)) == ["A1"]


def test_a_delimiter_inside_a_quoted_header_does_not_decide(table: Path) -> None:
    header = ("AccessionNumber", "MRN", "Protocol", "a;b;c;d;e;f;g")
    write(table, [("A1", "1", CHEST, "")], header=header, quoting=csv.QUOTE_ALL)
    assert names(take(table)) == ["A1"]


@pytest.mark.parametrize("before", ["", "\n", "# made by\n", "\n# made by\n", "#\n\n  \n#\n\n"])
def test_comments_and_blank_lines_may_stand_anywhere_between_rows(table: Path, before: str) -> None:
    table.write_text(
        f"{before}AccessionNumber,MRN,Protocol\n# first\n\nA1,1,{CHEST}\n\n#A9,9,{CHEST}\n"
        f'   \n# an odd " quote\n,,\nA2,2,{CHEST}\n# last'
    )
    assert names(take(table)) == ["A1", "A2"]


def test_a_line_that_starts_with_a_number_sign_inside_a_quoted_field_is_text(table: Path) -> None:
    text = "CT Chest\n# 2 of 3\nWO Contrast"
    write(table, [("A1", "1", text, ""), ("A2", "2", CHEST, "x\n#A7,7,y\nz"), ("A3", "3", "", "")])
    found = select(table, COLUMNS, SelectSettings(protocols_regex=("# 2 of 3", "^ct chest wo")))
    assert names(found.wanted) == ["A1", "A2"]
    assert found.protocols["ct chest # 2 of 3 wo contrast"] == 1


def test_a_number_sign_in_the_middle_of_text_is_kept(table: Path) -> None:
    write(table, [("A#1", "1", "CT Chest # 3", "")])
    assert names(take(table, SelectSettings(protocols=("ct chest # 3",)))) == ["A#1"]


def test_long_free_text_with_line_breaks_quotes_and_delimiters_stays_one_field(table: Path) -> None:
    text = 'He said "no nodule", twice;\r\n|\n\n# and a tab\t' * 20_000
    write(table, [("A1", "1", CHEST, text), ("A2", "2", CHEST, text + '"')])
    columns = {"carry": ["Report"]}
    events = take(table, columns=columns)
    assert names(events) == ["A1", "A2"]
    assert events[0].carried[0] == text.strip()


# Rows that repeat or disagree


def test_a_row_that_occurs_twice_is_one_accession_in_its_first_place(table: Path) -> None:
    rows = [("A2", "2", CHEST, "x"), ("A1", "1", CHEST, "y"), ("A2", "2", CHEST, "another text")]
    events = take(write(table, rows))
    assert names(events) == ["A2", "A1"]
    assert [event.problem for event in events] == ["", ""]


@pytest.mark.parametrize(
    ("column", "first", "second"),
    [
        ("MRN", "1", "2"),
        ("Protocol", CHEST, "CT Abdomen"),
        ("Study", "1.2.3", "1.2.4"),
        ("Split", "train", "test"),
        ("nodule", "0", "1"),
    ],
)
def test_rows_that_disagree_are_conflicting(
    table: Path, column: str, first: str, second: str
) -> None:
    row = {"AccessionNumber": "A1", "MRN": "1", "Protocol": CHEST, "Study": "1.2"}
    row |= {"Split": "val", "nodule": "0"}
    pair = [row | {column: first}, row | {column: second}, row | {"AccessionNumber": "A2"}]
    columns = {"study_uid": "Study", "split": "Split", "carry": ["nodule"]}
    for rows in (pair, pair[1::-1] + pair[2:]):
        write(table, [list(each.values()) for each in rows], header=list(row))
        events = take(table, columns=columns)
        assert {e.accession: e.problem for e in events} == {"A1": "conflicting_rows", "A2": ""}


def test_one_mrn_written_in_two_ways_does_not_conflict(table: Path) -> None:
    rows = [("A1", "0042", CHEST, ""), ("A1", " 42", CHEST, ""), ("A1", "4 2", CHEST, "")]
    (event,) = take(write(table, rows))
    assert event.problem == ""


@pytest.mark.parametrize(
    "accession",
    [
        "A*1",
        "A?1",
        "A\\1",
        "A\n1",
        "A\x001",
        "A\x7f1",
        "A\x851",
        "A\u20281",
        "A" * 65,
        "\U0001d538" * 40,
    ],
    ids=ascii,
)
def test_an_accession_that_no_archive_can_be_asked_for_is_invalid(
    table: Path, accession: str
) -> None:
    rows = [(accession, "1", CHEST, ""), ("A" * 64, "1", CHEST, ""), ("A /%:..é", "1", CHEST, "")]
    events = take(write(table, rows, quoting=csv.QUOTE_ALL))
    assert [event.problem for event in events] == ["invalid_accession", "", ""]


def test_an_accession_without_mrn_cannot_be_put_in_a_split(table: Path) -> None:
    events = take(write(table, [("A1", " ", CHEST, ""), ("A2", "0", CHEST, "")]))
    assert [event.problem for event in events] == ["no_mrn", ""]


def test_a_row_without_accession_is_passed_over(table: Path) -> None:
    assert names(take(write(table, [("", "1", CHEST, ""), ("A1", "1", CHEST, "")]))) == ["A1"]


@pytest.mark.parametrize("study", ["", "1.2.*", "1.2/3", "1" * 129])
def test_a_study_uid_that_names_no_study_is_ambiguous(table: Path, study: str) -> None:
    header = ("AccessionNumber", "MRN", "Protocol", "Study")
    write(table, [("A1", "1", CHEST, study), ("A2", "1", CHEST, "1.2.3")], header=header)
    events = take(table, columns={"study_uid": "Study"})
    assert [event.problem for event in events] == ["ambiguous_study", ""]


def test_a_study_uid_with_letters_names_a_study(table: Path) -> None:
    """De-identifiers write them."""
    header = ("AccessionNumber", "MRN", "Protocol", "Study")
    write(table, [("A1", "1", CHEST, "1.3.6.1.4.1.45037.9fA0C")], header=header)
    assert [event.problem for event in take(table, columns={"study_uid": "Study"})] == [""]


def test_only_rows_that_say_ct_are_taken_where_the_modality_is_known(table: Path) -> None:
    header = ("AccessionNumber", "MRN", "Protocol", "Modality")
    rows = [(f"A{n}", "1", CHEST, word) for n, word in enumerate(["CT", "MR", " ct ", "", "CT/PT"])]
    write(table, rows, header=header)
    assert names(take(table, columns={"modality": "Modality"})) == ["A0", "A2"]


# Which are wanted


def test_a_regular_expression_matches_the_normalised_protocol_anywhere(table: Path) -> None:
    rows = [("A1", "1", "CT  Chest HR", ""), ("A2", "2", "Low dose CT Chest", "")]
    write(table, [*rows, ("A3", "3", "MR Chest", "")])
    assert names(take(table, SelectSettings(protocols_regex=("ct chest",)))) == ["A1", "A2"]
    assert names(take(table, SelectSettings(protocols_regex=("^ct chest", "^mr")))) == ["A1", "A3"]


def test_every_protocol_is_counted_and_the_selected_ones_are_named(table: Path) -> None:
    rows = [("A1", "1", CHEST, ""), ("A2", "2", CHEST.upper(), ""), ("A3", "3", "CT Head", "")]
    found: Selection = select(write(table, rows), COLUMNS, WANTED)
    assert found.protocols == {"ct chest wo contrast": 2, "ct head": 1}
    assert found.selected_protocols == {"ct chest wo contrast"}


def test_a_protocol_that_no_row_has_is_a_warning_unless_it_is_a_default(
    table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(table, [("A1", "1", CHEST, "")])
    take(table, SelectSettings(protocols=(CHEST, *THE_ARTICLES), protocols_regex=("^ct",)))
    assert not caplog.records
    take(table, SelectSettings(protocols=(CHEST, "CT  Chset"), protocols_regex=("^mr",)))
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        f"warning: {table}: no row has the protocol that select asks for by 'CT  Chset'",
        f"warning: {table}: no row has the protocol that select asks for by '^mr'",
    ]


def test_the_articles_protocols_are_the_defaults() -> None:
    defaults = yaml.safe_load((REPOSITORY / "config.yaml").read_text())["select"]["protocols"]
    assert set(defaults) == THE_ARTICLES


@pytest.fixture
def thousand(table: Path) -> Path:
    return write(table, [(f"A{n:04d}", str(n), CHEST, "") for n in range(1000)])


def sampled(table: Path, count: int) -> list[str]:
    return names(take(table, SelectSettings(protocols=WANTED.protocols, sample=count)))


def test_a_sample_has_the_size_asked_for_and_is_in_table_order(thousand: Path) -> None:
    for count in (1, 5, 10, 999, 1000, 5000):
        taken = sampled(thousand, count)
        assert len(taken) == min(count, 1000)
        assert taken == sorted(taken)


def test_a_sample_is_part_of_every_larger_one_and_does_not_depend_on_row_order(
    thousand: Path, tmp_path: Path
) -> None:
    five, ten, many = (set(sampled(thousand, count)) for count in (5, 10, 100))
    assert five < ten < many
    lines = thousand.read_text().splitlines(keepends=True)
    shuffled = lines[1:]
    random.Random(1).shuffle(shuffled)
    other = tmp_path / "shuffled.csv"
    other.write_text(lines[0] + "".join(shuffled))
    assert set(sampled(other, 10)) == ten


def test_a_sample_is_the_same_on_every_machine(thousand: Path) -> None:
    assert sampled(thousand, 5) == ["A0022", "A0119", "A0416", "A0719", "A0815"]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_partitions_are_disjoint_and_cover_everything(thousand: Path, count: int) -> None:
    shares = [names(take(thousand, partition=(part, count))) for part in range(1, count + 1)]
    assert sorted(name for share in shares for name in share) == names(take(thousand))
    assert all(len(share) > 1000 / count * 0.7 for share in shares)


def test_a_row_more_moves_no_accession_to_another_partition(thousand: Path) -> None:
    before = [set(names(take(thousand, partition=(part, 3)))) for part in (1, 2, 3)]
    with open(thousand, "a") as stream:
        stream.write(f"B1,1,{CHEST},\n")
    after = [set(names(take(thousand, partition=(part, 3)))) for part in (1, 2, 3)]
    assert [new - {"B1"} for new in after] == before


# What is said when the table is not one


def refused(table: Path, rules: SelectSettings = WANTED, **more: Any) -> str:
    with pytest.raises(InputError) as caught:
        take(table, rules, **more)
    assert str(table) in str(caught.value)
    return str(caught.value)


def test_a_missing_table_is_named(table: Path) -> None:
    assert "No such file" in refused(table)


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n"])
def test_an_empty_table_is_refused(table: Path, content: str) -> None:
    table.write_text(content)
    assert "is empty" in refused(table)


def test_a_missing_column_is_named_beside_those_that_are_there(table: Path) -> None:
    message = refused(write(table, [("A1", "1", CHEST, "")]), columns={"mrn": "PatientMRN"})
    assert "no column PatientMRN" in message
    assert "AccessionNumber, MRN, Protocol, Report" in message


def test_a_column_that_occurs_twice_is_named(table: Path) -> None:
    write(table, [("A1", "1", CHEST, "2")], header=("AccessionNumber", "MRN", "Protocol", "MRN"))
    assert "column MRN occurs twice" in refused(table)


@pytest.mark.parametrize(
    ("row", "fields"), [("A1,1", 2), ("A1,1,x,y,z", 5), (f"A1,1,{CHEST},one, two", 5)]
)
def test_a_row_of_another_width_is_named_by_its_line(table: Path, row: str, fields: int) -> None:
    table.write_text(f'{",".join(HEADER)}\n# a comment\nA0,0,{CHEST},"a\nb"\n#\n\n{row}\n')
    message = refused(table)
    assert "line 7 " in message
    assert f"has {fields} fields, the header has 4" in message


def test_empty_fields_at_the_end_of_a_row_do_no_harm(table: Path) -> None:
    table.write_text(f"{','.join(HEADER)}\nA1,1,{CHEST},text,,,\n")
    assert names(take(table)) == ["A1"]


def test_a_quote_that_is_never_closed_is_named_by_its_line(table: Path) -> None:
    table.write_text(f'{",".join(HEADER)}\nA1,1,{CHEST},"open\nA2,2,{CHEST},x\n')
    assert re.search(r"near line \d", refused(table))


def test_when_nothing_is_selected_the_ten_commonest_protocols_are_shown(table: Path) -> None:
    rows = [(f"A{n}-{k}", "1", f"CT {n:02d}", "") for n in range(12) for k in range(20 - n)]
    message = refused(write(table, rows), SelectSettings(protocols=("ct chest",)))
    assert "(ct chest)" in message
    shown = re.findall(r"^ +(\d+)  (.+)$", message, re.MULTILINE)
    assert shown == [(str(20 - n), f"ct {n:02d}") for n in range(10)]
    assert "12 protocols" in message
    assert "select.protocols" in message


def test_no_message_quotes_free_text_or_an_mrn(table: Path) -> None:
    secret = ("A1", "MRN-SECRET", "CT Head", "TEXT-SECRET")
    message = refused(write(table, [secret]))
    message += refused(write(table, [secret, (*secret, "more")]))
    table.write_text(",".join(HEADER) + '\nA1,MRN-SECRET,CT,"TEXT-SECRET" open"\n')
    message += refused(table)
    assert "SECRET" not in message


# Exclusions


def test_exclusions_name_accessions_or_patients(tmp_path: Path) -> None:
    path = tmp_path / "exclusions.csv"
    path.write_text("# by hand\naccession;mrn;reason\nA1;;metal\n;0042;withdrew\n")
    assert read_exclusions(path, {}) == ({"A1"}, {"42"})
    assert read_exclusions(path, {"42": "43"}) == ({"A1"}, {"43"})
    assert read_exclusions(None, {}) == (set(), set())


@pytest.mark.parametrize("header", ["accession,why", "reason,note", "Accession,reason"])
def test_an_exclusions_table_of_another_form_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "exclusions.csv"
    path.write_text(f"{header}\nA1,x\n")
    with pytest.raises(InputError, match=r"accession \(or mrn\) and reason; found") as caught:
        read_exclusions(path, {})
    assert str(path) in str(caught.value)


# Merged MRNs


def merged(path: Path, *pairs: tuple[str, str], header: str = "mrn,merged_into") -> dict[str, str]:
    path.write_text("\n".join([header, *map(",".join, pairs)]) + "\n")
    return read_merged_mrns(path)


def test_chains_of_merged_mrns_end_at_the_one_that_survives(tmp_path: Path) -> None:
    pairs = [("001", "2"), ("2", "003"), ("a 9", "3")]
    assert merged(tmp_path / "m.csv", *pairs) == {"1": "3", "2": "3", "A9": "3"}
    assert read_merged_mrns(None) == {}


@pytest.mark.parametrize(
    ("pairs", "line"),
    [
        ([("7001", "7001")], 2),
        ([("7001", "7002"), ("7002", "7001")], 2),
        ([("7001", "7002"), ("7002", "7003"), ("7003", "7002")], 2),
        ([("7009", "7008"), ("7009", "7008"), ("7001", "7001")], 4),
        ([("7001", "7002"), ("07001", "7003")], 3),
        ([("7001", "")], 2),
        ([("", "7002")], 2),
    ],
)
def test_merged_mrns_that_lead_nowhere_are_refused_by_line(
    tmp_path: Path, pairs: list[tuple[str, str]], line: int
) -> None:
    with pytest.raises(InputError, match=rf"m\.csv: line {line}: ") as caught:
        merged(tmp_path / "m.csv", *pairs)
    assert "700" not in str(caught.value)


def test_a_table_of_merged_mrns_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mrn and merged_into; found old, new"):
        merged(tmp_path / "m.csv", ("1", "2"), header="old,new")


def test_two_mrns_of_one_patient_do_not_conflict(table: Path) -> None:
    rows = [("A1", "0041", CHEST, ""), ("A1", "42", CHEST, ""), ("A2", "41", CHEST, "")]
    one, two = take(write(table, rows), merged={"41": "42"})
    assert (one.problem, one.mrn, one.patient_mrn) == ("", "0041", "42")
    assert two.patient_mrn == "42"
    assert take(write(table, rows))[0].problem == "conflicting_rows"
