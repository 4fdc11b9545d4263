"""No table of the workflow holds what a spreadsheet would take for a formula."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcohort.base.files import from_spreadsheet, in_spreadsheet, read_table, write_table

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "-rf", "'=1", "''@x", "+a"]
HARMLESS = ["A1", "-1000", "+5", "-0.5", "1e-05", "-1.5e+20", "-", "+", "=", "'", "it's", "a=b", ""]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text(text: str) -> None:
    assert in_spreadsheet(text) == f"'{text}"


@pytest.mark.parametrize("value", [*HARMLESS, 5, -3.5, True, None])
def test_what_is_no_formula_is_left_alone(value: object) -> None:
    assert in_spreadsheet(value) == value


@given(st.text(alphabet="'=+-@\t\r1.eA ", max_size=6))
def test_it_is_undone_exactly(text: str) -> None:
    assert from_spreadsheet(str(in_spreadsheet(text))) == text


def test_tables_hold_no_formula_and_are_read_as_they_were(tmp_path: Path) -> None:
    rows = [{"accession": text} for text in (*FORMULAS, *HARMLESS)]
    write_table(tmp_path / "x.csv", ("accession",), rows)
    with open(tmp_path / "x.csv", newline="") as stream:
        written = [row["accession"] for row in csv.DictReader(stream)]
    assert not [text for text in written if text in FORMULAS]
    assert list(read_table(tmp_path / "x.csv")) == rows
