"""Every form in which a table arrives, written by the programs' own libraries; and what a
spreadsheet has mangled, which is refused."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import logging
import random
import string
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
import xlwt
from hypothesis import assume, given
from hypothesis import strategies as st

from ctcohort.base.faults import InputError
from ctcohort.base.files import write_table
from ctcohort.cohort.delimited import ROWS, Delimited
from ctcohort.cohort.exclusions import read_exclusions
from ctcohort.cohort.merged_mrns import read_merged_mrns
from ctcohort.cohort.report_table import Table
from ctcohort.cohort.reviews import Review, read_reviews
from ctcohort.cohort.selection import Imaging, select
from ctcohort.config.settings import SelectSettings

from .opened import REPOSITORY

CHEST = "CT Chest WO Contrast"
HEADER = ("AccessionNumber", "MRN", "Protocol", "Report")
TEXT = 'Keine Rundherde; "frei",\n# Zweite Zeile | é ü\r\n\nEnde'
ROW = ("007", "0042", CHEST, TEXT)
OTHER = ("A2", "43", "CT Abdomen", "")
COLUMNS: dict[str, Any] = {"accession": "AccessionNumber", "mrn": "MRN", "protocol": "Protocol"}
WANTED = SelectSettings(protocols=("ct chest wo contrast",))

Rows = Iterable[Sequence[Any]]


def delimited(rows: Rows, delimiter: str = ",", end: str = "\r\n") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    return text.getvalue()


def xlsx(path: Path, rows: Rows, *more: str) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Reports"
    for row in rows:
        sheet.append(list(row))
    for name in more:
        book.create_sheet(name)
    book.save(path.with_suffix(".xlsx"))
    return path.with_suffix(".xlsx").rename(path)


def xls(path: Path, rows: Rows) -> Path:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Reports")
    dated = xlwt.easyxf(num_format_str="YYYY-MM-DD")
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            style = [dated] if isinstance(value, datetime.date) else []
            sheet.write(number, column, value, *style)
    book.save(str(path))
    return path


def parquet(path: Path, rows: Rows) -> Path:
    header, *values = rows
    pd.DataFrame(values, columns=list(header)).to_parquet(path)
    return path


def take(path: Path, **columns: Any) -> list[Imaging]:
    return select(path, {**COLUMNS, **columns}, WANTED).wanted


def refused(path: Path, **columns: Any) -> str:
    with pytest.raises(InputError) as caught:
        take(path, **columns)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A name that says nothing about the content: the first bytes do."""
    return tmp_path / "reports.csv"


def is_the_row(events: list[Imaging], text: str = TEXT) -> bool:
    """XML, and so .xlsx, has one kind of line end."""
    read = [
        (e.accession, e.mrn, *(part.replace("\r\n", "\n") for part in e.carried)) for e in events
    ]
    return read == [("007", "0042", text.replace("\r\n", "\n"))]


# Forms


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_delimited_text_in_every_encoding(
    path: Path, delimiter: str, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    path.write_bytes(pack(delimited([HEADER, ROW, OTHER], delimiter).encode(encoding)))
    assert is_the_row(take(path, carry=["Report"]))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("declared", ["sep=;", '"sep=;"', "SEP=;"])
def test_the_line_that_tells_excel_the_delimiter_is_skipped(
    path: Path, mark: str, declared: str
) -> None:
    content = delimited([("a,b,c,d,e", *HEADER), ("x", *ROW)], ";")
    path.write_text(f"{mark}{declared}\r\n{content}", encoding="utf-8", newline="")
    assert is_the_row(take(path, carry=["Report"]))


@pytest.mark.parametrize("write", [xlsx, xls, parquet])
def test_typed_tables(path: Path, write: Callable[[Path, Rows], Path]) -> None:
    assert is_the_row(take(write(path, [HEADER, ROW, OTHER]), carry=["Report"]))


@pytest.mark.parametrize("write", [xlsx, xls])
def test_comments_and_blank_rows_of_a_workbook_are_passed_over(
    path: Path, write: Callable[[Path, Rows], Path]
) -> None:
    blank, comment = ("", "", "", ""), ("# exported", "on Monday", "", "")
    write(path, [comment, blank, HEADER, comment, blank, ROW, blank])
    assert is_the_row(take(path, carry=["Report"]))


def test_a_comment_among_records_whose_text_holds_odd_quotes(path: Path) -> None:
    lines = [
        "AccessionNumber,MRN,Protocol,Report",
        f'A1,1,{CHEST},a 5" nodule',
        '# "odd, "open',
        f'A2,2,{CHEST},"one ""two"" ',
        '# text"',
        f'A3,3,{CHEST},""',
    ]
    path.write_text("\n".join(lines))
    assert [e.accession for e in take(path)] == ["A1", "A2", "A3"]


def test_as_many_rows_as_make_several_chunks_keep_their_order_and_line(path: Path) -> None:
    rows = [(f"A{n}", str(n), CHEST, "a\nb") for n in range(2 * ROWS + 5)]
    path.write_text(delimited([HEADER, *rows], end="\n"))
    assert [e.accession for e in take(path)] == [row[0] for row in rows]
    rows[-1] = ("100.0", "1", CHEST, "")
    path.write_text(delimited([HEADER, *rows], end="\n"))
    assert f"line {4 * ROWS + 10}:" in refused(path)


_FIELD = st.text(alphabet='ab,;"\n\r#\x00 =é', max_size=6)


@given(st.data())
def test_what_csv_writes_is_read_as_csv_reads_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    width = data.draw(st.integers(2, 4))
    rows = data.draw(st.lists(st.lists(_FIELD, min_size=width, max_size=width), max_size=8))
    delimiter = data.draw(st.sampled_from(",;"))
    quoting: Any = data.draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    quoted = quoting == csv.QUOTE_ALL
    assume(quoted or not any(row[0].startswith("#") for row in rows))  # it would be a comment
    path = tmp_path_factory.mktemp("csv") / "t"
    header = list(string.ascii_letters[:width])
    writer = io.StringIO()
    csv.writer(writer, delimiter=delimiter, quoting=quoting).writerows([header, *rows])
    path.write_bytes(writer.getvalue().encode())
    table = Table(path)
    read = [list(row) for row in table.rows(table.header)]
    kept = [row for row in rows if "".join(row).strip(f' \r\n"{delimiter}')]
    expected = [[field.replace("\0", "\x1a") for field in row] for row in kept]
    if quoted or not any("\r" in field for row in rows for field in row):
        assert [row for row in read if "".join(row).strip(f' \r\n"{delimiter}')] == expected


def test_a_workbook_with_several_sheets_needs_the_name_of_one(path: Path) -> None:
    xlsx(path, [HEADER, ROW], "Empty 1", "Empty 2")
    assert take(path)[0].accession == "007"
    book = openpyxl.load_workbook(path.rename(path.with_suffix(".xlsx")))
    for row in (HEADER, ("B1", "1", CHEST, "")):
        book["Empty 2"].append(row)
    book.save(path.with_suffix(".xlsx"))
    path.with_suffix(".xlsx").rename(path)
    assert "sheets Reports, Empty 2; expected one" in refused(path)
    assert take(path, sheet="Reports")[0].accession == "007"
    assert take(path, sheet="Empty 2")[0].accession == "B1"
    assert "no sheet reports; reports_sheet can be Reports, " in refused(path, sheet="reports")


def test_a_sheet_of_what_has_no_sheets_is_an_error(path: Path) -> None:
    path.write_text(delimited([HEADER, ROW]))
    assert "reports_sheet" in refused(path, sheet="Reports")


def test_an_index_that_pandas_keeps_in_parquet_is_a_column(path: Path) -> None:
    pd.DataFrame([ROW], columns=list(HEADER)).set_index("AccessionNumber").to_parquet(path)
    assert take(path)[0].accession == "007"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04 a zip of something else", "unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 an old document", "workbook"),
        (b"PAR1 cut off", "Parquet"),
        (b"\xef\xbb\xbf\n<html><table>", "HTML or XML"),
        (b'<?xml version="1.0"?><Workbook>', "HTML or XML"),
        (gzip.compress(b"AccessionNumber,MRN\n" * 99, mtime=0)[:-20], "cut off"),
        ("AccessionNumber,MRN,Protocol\nA1,1,x".encode("utf-16")[:-1], "UTF-16"),
        (
            b"AccessionNumber,MRN,Protocol\nA1,1,\x81\xff\n",
            "neither UTF-8 nor Windows-1252 (line 2",
        ),
    ],
)
def test_what_is_no_table_or_damaged_is_said(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    assert said in refused(path)


def test_windows_1252_is_said_in_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(delimited([HEADER, ROW]).encode("cp1252"))
    take(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"note: {path}: is not UTF-8 (line 3); read as Windows-1252"
    ]


# What a spreadsheet has mangled


MANGLED = [
    ("2,81949768489413E+15", "scientific"),
    ("2.81949768489413E+15", "scientific"),
    ("2.81949768489413e+15", "scientific"),
    ("1E+05", "scientific"),
    ("100.0", "decimal part"),
    ("100,0", "decimal part"),
    ("2819497684894126.00", "decimal part"),
    ("2024-01-05", "a date"),
    ("2024-01-05 00:00:00", "a date"),
    ("05.01.2024", "a date"),
    ("1/31/2024", "a date"),
    ("31/1/2024 10:30", "a date"),
    ("5-Jan-24", "a date"),
    ("5-Jan", "a date"),
]

SOUND = [
    "12E34", "1E5", "E+05", "219E01BE", "12-34-56", "12.345.678-9", "1.2", "2024-17-99", "24-1234",
    "MAR-1234", "12/3456", "20240105", "CT 5-Jan-24", "0", "00000", "1.2.840.113619", "99.01.2024",
]  # fmt: skip


@pytest.mark.parametrize(("value", "what"), MANGLED)
@pytest.mark.parametrize("column", ["AccessionNumber", "MRN"])
def test_a_mangled_identifier_is_refused_with_the_cure(
    path: Path, value: str, what: str, column: str
) -> None:
    row = {**dict(zip(HEADER, ROW, strict=True)), column: value}
    path.write_text(delimited([HEADER, OTHER, tuple(row.values())], ";"))
    message = refused(path)
    assert f"line 3: the {column} is" in message
    assert what in message
    assert "as text" in message
    assert value not in message


@pytest.mark.parametrize("value", SOUND)
def test_identifiers_that_only_look_a_little_like_it_are_taken(path: Path, value: str) -> None:
    path.write_text(delimited([HEADER, (value, value, CHEST, "")], "|"))
    (event,) = take(path)
    assert (event.accession, event.mrn) == (value, value)


def test_text_that_is_protected_from_excel_is_its_text(path: Path) -> None:
    path.write_text(delimited([HEADER, ('="00123"', '="0042"', CHEST, "")]))
    (event,) = take(path)
    assert (event.accession, event.mrn) == ("00123", "0042")


def test_what_the_workflow_guarded_from_a_spreadsheet_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "exclusions.proposed.csv"
    write_table(path, ("accession", "reason"), [{"accession": "-12A", "reason": "@x"}])
    assert path.read_text().splitlines()[1] == "'-12A,'@x"
    assert read_exclusions(path, {}) == ({"-12A"}, set())
    assert list(Table(path).rows(["accession", "reason"])) == [("-12A", "@x")]


@pytest.mark.parametrize("null", ["NULL", "nan", "<NA>", "None", "#N/A"])
def test_a_null_of_a_database_is_no_identifier(path: Path, null: str) -> None:
    path.write_text(delimited([HEADER, ("A1", null, CHEST, ""), (null, "1", CHEST, "")]))
    (event,) = take(path)
    assert (event.accession, event.mrn, event.problem) == ("A1", "", "no_mrn")


@pytest.mark.parametrize("write", [xlsx, xls, parquet])
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (100.5, "decimal part"),
        (datetime.datetime(2024, 1, 5), "a date"),
        (True, "true or false"),
        (1.5e16, "15 digits"),
        ("2,81949768489413E+15", "scientific"),
    ],
)
def test_a_mangled_cell_is_refused_with_its_row(
    path: Path, write: Callable[[Path, Rows], Path], value: object, what: str
) -> None:
    message = refused(write(path, [HEADER, (value, "1", CHEST, "")]))
    assert f"row {1 if write is parquet else 2}: the AccessionNumber is" in message
    assert what in message


@pytest.mark.parametrize("write", [xlsx, xls])
def test_a_number_of_more_digits_than_a_spreadsheet_keeps_is_refused(
    path: Path, write: Callable[[Path, Rows], Path]
) -> None:
    assert take(write(path, [HEADER, (999_999_999_999_999, 1, CHEST, "")]))
    message = refused(write(path, [HEADER, (2_819_497_684_894_130, 1, CHEST, "")]))
    assert "15 digits" in message


@pytest.mark.parametrize("write", [xlsx, xls, parquet])
def test_a_numeric_cell_is_the_integer_that_is_shown(
    path: Path, write: Callable[[Path, Rows], Path], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [(1234567, 42, CHEST, 0.5), (7654321.0, 17, CHEST, 1)]
    events = take(write(path, [HEADER, *rows]), carry=["Report"])
    assert [(e.accession, e.mrn) for e in events] == [("1234567", "42"), ("7654321", "17")]
    assert [e.carried for e in events] == [("0.5",), ("1",)]
    assert not caplog.records


@pytest.mark.parametrize("write", [xlsx, xls, parquet])
def test_numbers_of_different_lengths_may_have_lost_zeros(
    path: Path, write: Callable[[Path, Rows], Path], caplog: pytest.LogCaptureFixture
) -> None:
    events = take(write(path, [HEADER, (1234567, "42", CHEST, ""), (123456, "9", CHEST, "")]))
    assert [e.accession for e in events] == ["1234567", "123456"]
    (record,) = caplog.records
    assert "column AccessionNumber holds numbers of 6 to 7 digits" in record.getMessage()
    assert record.getMessage().startswith("warning: ")


@pytest.mark.parametrize(("code", "warned"), [("000000", 1), ("0", 0), ("0.00", 0)])
def test_zeros_that_only_a_cell_format_shows_are_warned_of(
    path: Path, code: str, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    xlsx(path, [HEADER, (1234, "42", CHEST, "")])
    book = openpyxl.load_workbook(path.rename(path.with_suffix(".xlsx")))
    book["Reports"]["A2"].number_format = code
    book.save(path.with_suffix(".xlsx"))
    path.with_suffix(".xlsx").rename(path)
    assert take(path)[0].accession == "1234"
    assert len(caplog.records) == warned
    assert all("shows numbers with leading zeros" in r.getMessage() for r in caplog.records)


def test_integers_of_parquet_are_whole_at_any_size(path: Path) -> None:
    rows = [HEADER, (2_819_497_684_894_126, 1, CHEST, "")]
    assert take(parquet(path, rows))[0].accession == "2819497684894126"


def test_cells_of_other_kinds_are_carried_as_they_are_shown(path: Path) -> None:
    header = (*HEADER, "date", "moment", "yes", "text", "none")
    moment = datetime.datetime(2024, 1, 5, 13, 30)
    values = (datetime.datetime(2024, 1, 5), moment, True, "01", None)
    xlsx(path, [header, (*ROW, *values)])
    (event,) = take(path, carry=list(header[4:]))
    assert event.carried == ("2024-01-05", "2024-01-05 13:30:00", "TRUE", "01", "")


# Decimal commas


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_carried_column_with_decimal_commas_becomes_numbers(
    path: Path, delimiter: str, caplog: pytest.LogCaptureFixture
) -> None:
    values = ["0,5", "-12,25", "3", "", "1,000"]
    rows = [(f"A{n}", "1", CHEST, value) for n, value in enumerate(values)]
    path.write_text(delimited([HEADER, *rows], delimiter))
    carried = [event.carried[0] for event in take(path, carry=["Report"])]
    assert carried == ["0.5", "-12.25", "3", "", "1.000"]
    assert [float(text or 0) for text in carried] == [0.5, -12.25, 3, 0, 1]
    assert "Report has decimal commas" in caplog.text


@pytest.mark.parametrize(
    ("delimiter", "values"),
    [(",", ["1,2", "3"]), (";", ["0,5", "unclear"]), (";", ["1,2", "1,2,3"])],
)
def test_commas_that_may_mean_something_else_are_left_and_said(
    path: Path, delimiter: str, values: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [(f"A{n}", "1", CHEST, value) for n, value in enumerate(values)]
    path.write_text(delimited([HEADER, *rows], delimiter))
    assert [event.carried[0] for event in take(path, carry=["Report"])] == values
    assert "warning: " in caplog.text
    assert "column Report has 1 values like 0,5" in caplog.text


def test_columns_without_decimal_commas_are_carried_without_a_word(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(delimited([HEADER, ROW, ("A3", "1", CHEST, "0.5")], ";"))
    assert take(path, carry=["Report"])[1].carried == ("0.5",)
    assert not caplog.records


# The other tables


@pytest.mark.parametrize("write", [xlsx, xls, parquet])
def test_the_other_tables_are_read_by_the_same_rules(
    tmp_path: Path, write: Callable[[Path, Rows], Path]
) -> None:
    exclusions = write(tmp_path / "e", [("accession", "mrn", "reason"), ("007", "", "x")])
    assert read_exclusions(exclusions, {}) == ({"007"}, set())
    merged = write(tmp_path / "m", [("mrn", "merged_into"), ("007", "8")])
    assert read_merged_mrns(merged) == {"7": "8"}
    reviews = write(tmp_path / "r", [("accession", "verdict", "note"), ("007", "bad", "moved")])
    assert read_reviews(reviews) == {"007": Review("bad", "moved")}


@pytest.mark.parametrize(
    ("header", "row", "read"),
    [
        ("accession;reason", "100.0;x", lambda path: read_exclusions(path, {})),
        ("mrn;reason", "1,2E+10;x", lambda path: read_exclusions(path, {})),
        ("mrn;merged_into", "1;2,0", read_merged_mrns),
        ("accession;verdict", "2024-01-05;good", read_reviews),
    ],
)
def test_a_mangled_identifier_is_refused_in_them_too(
    path: Path, header: str, row: str, read: Callable[[Path], object]
) -> None:
    path.write_text(f"{header}\n{row}\n")
    with pytest.raises(InputError, match=r"line 2: the \w+ is a"):
        read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("accession;MRN;reason\nA1;7001;x\n", "the column MRN would not be read; call it mrn"),
        ("accession;reason\nA1;x\n;y\n", "line 3 names neither"),
    ],
)
def test_a_row_or_column_that_leaves_nobody_out_is_refused(
    path: Path, content: str, said: str
) -> None:
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        read_exclusions(path, {})


# What it costs


def test_of_a_parquet_table_only_the_named_columns_are_read(path: Path) -> None:
    text = "".join(random.Random(0).choices(string.printable, k=1000))
    rows = [(f"A{n}", "1", CHEST, text + str(n)) for n in range(20_000)]
    parquet(path, [HEADER, *rows])
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from ctcohort.cohort.report_table import Table\n"
        "import pandas, pyarrow.parquet\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "count = sum(1 for _ in Table(Path(sys.argv[1])).rows(sys.argv[2:]))\n"
        "print(count, (peak() - before) / 1e3)\n"
    )
    count, grown = _run(script, str(path), "AccessionNumber", "MRN").split()
    assert int(count) == 20_000
    assert float(grown) < 20, "MB; the text alone is 20"


def test_a_module_that_can_read_tables_imports_no_pandas_until_it_does() -> None:
    script = (
        "import sys, ctcohort.cohort.selection, ctcohort.dataset.manifest\n"
        "print(*{'pandas', 'pyarrow', 'python_calamine'} & set(sys.modules))\n"
    )
    assert _run(script).strip() == ""


def _run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={"PYTHONPATH": str(REPOSITORY / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_free_text_of_delimited_rows_is_not_kept(path: Path) -> None:
    path.write_text(delimited([HEADER, *[ROW] * 10]))
    source = Delimited(path)
    assert {fields for _, fields in source.records([0, 2])} == {("007", CHEST)}


def test_messages_hold_no_value(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = ("7000007", "7000123.0", CHEST, "TEXT-SECRET")
    message = refused(xlsx(path, [HEADER, secret, (*secret, "more")]))
    path.unlink()
    message += refused(xlsx(path, [HEADER, (*secret[:1], 70001.5, *secret[2:])]))
    path.unlink()
    path.write_bytes(delimited([HEADER, (*secret[:3], "TEXT-SECRET \x8f")]).encode("latin1"))
    message += refused(path) + caplog.text
    assert "SECRET" not in message
    assert "7000" not in message
