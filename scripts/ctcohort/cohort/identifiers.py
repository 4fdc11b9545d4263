"""Take accessions and MRNs from a table's cells, and refuse what a spreadsheet has mangled.

A spreadsheet turns digits into numbers: it drops leading zeros, keeps 15 digits, shows long numbers
as ``2.81949768489413E+15``, adds ``.0`` or makes a date. What is lost cannot be restored.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time

from ctcohort.base.files import from_spreadsheet

EXACT = 10**15
"""A spreadsheet keeps 15 digits: a number from here on may have lost its last ones."""

MISSING = frozenset({"NULL", "NaN", "nan", "None", "<NA>", "#N/A"})
"""How SQL clients, pandas and Excel write that there is no value."""

_BLANKS = " \t\xa0"

_AS_TEXT = re.compile(r'="([^"]*)"')  # how exports keep a spreadsheet from reading a number

_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)\d\d"
_NAMES = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_MANGLED = re.compile(
    r"(?P<scientific>[+-]?\d(?:[.,]\d+)?E\+\d{2,3})"
    r"|(?P<decimal>[+-]?\d+[.,]0+)"
    rf"|(?P<date>(?:{_YEAR}-{_MONTH}-{_DAY}|{_MONTH}[/.]{_DAY}[/.]{_YEAR}"
    rf"|{_DAY}[/.]{_MONTH}[/.]{_YEAR})(?:[ T]\d{{1,2}}:\d\d.*)?"
    rf"|{_DAY}-{_NAMES}(?:-\d\d|-{_YEAR})?)",
    re.IGNORECASE,
)
_WHAT = {
    "scientific": "a number in scientific notation",
    "decimal": "a number with a decimal part",
    "date": "a date",
}


class Mangled(ValueError):
    """A cell does not hold the identifier that was entered; the text says what it looks like."""


def identifier(text: str) -> str:
    """Return an identifier as the department knows it, without the blanks around it.

    ``="00123"`` is ``00123``, and ``'-12``, as this workflow's own tables have it, ``-12``; a null
    of a database is empty.

    Raises
    ------
    Mangled
        It is a number in scientific notation or with a decimal part, or a date.
    """
    text = from_spreadsheet(text.strip(_BLANKS))
    if text[:1] == "=" and (quoted := _AS_TEXT.fullmatch(text)):
        text = quoted[1].strip(_BLANKS)
    if mangled := _MANGLED.fullmatch(text):
        raise Mangled(_WHAT[str(mangled.lastgroup)])
    return "" if text in MISSING else text


def identifier_of_cell(value: object, *, exact: bool) -> str:
    """Return the identifier in a typed cell; a number gives the digits of its integer.

    Parameters
    ----------
    exact : bool
        Whether integers of any size are whole, as in Parquet; a workbook keeps 15 digits.

    Raises
    ------
    Mangled
        As `identifier`, or the number has a fraction or more digits than are kept.
    """
    if isinstance(value, str):
        return identifier(value)
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, (date, time)):
        raise Mangled("a date" if isinstance(value, date) else "a time of day")
    if isinstance(value, bool):
        raise Mangled("true or false")
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)
    if not isinstance(value, int):
        raise Mangled("a number with a decimal part, or with more than 15 digits")
    if not exact and abs(value) >= EXACT:
        raise Mangled("a number of more than 15 digits, of which a spreadsheet keeps 15")
    return str(value)


def text_of_cell(value: object) -> str:
    """Return a typed cell as a spreadsheet shows it; dates as ISO 8601, no value as empty text."""
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    return value.decode() if isinstance(value, bytes) else str(value)
