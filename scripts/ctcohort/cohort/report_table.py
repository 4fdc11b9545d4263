"""Read the tables that people bring: the report table, exclusions, merged MRNs, reviews.

Its first bytes, not its name, say what a table is: delimited text, an Excel workbook or Parquet.
Every value comes out as text. Only the columns that are asked for are kept; the reports' free text
is read past. pandas and its engines are imported when a table is opened, so that a command that
reads none does not pay for them. Tables that the workflow itself writes have one form and are read
with the standard library (`base.files.read_table`), some of them while Snakefiles are parsed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ctcohort.base.faults import InputError
from ctcohort.base.files import from_spreadsheet
from ctcohort.cohort.delimited import Delimited
from ctcohort.cohort.identifiers import Mangled, identifier_of_cell, text_of_cell
from ctcohort.cohort.workbook import OLE, PARQUET, ZIP, Parquet, Workbook

_CURE = (
    "what it was before cannot be known. Export the table again with this column as text (in a"
    " spreadsheet: import the CSV with the column's type set to Text, before the file is opened"
    " any other way), or as Parquet"
)

_log = logging.getLogger(__name__)


class Source(Protocol):
    """A file that holds a table.

    `unit` is how its records are counted; `typed` says that values are more than text, `exact` that
    its integers are whole at any size, `decimal_commas` that ``0,5`` can only be a number, and
    `shows_zeros` that some cells are shown with leading zeros which their values lack.
    """

    unit: str
    typed: bool
    exact: bool
    decimal_commas: bool
    shows_zeros: bool
    header: list[str]

    def records(self, positions: Sequence[int]) -> Iterator[tuple[int, Sequence[object]]]:
        """Yield each record's number and its values at `positions`."""


class Table:
    """A table whose header has been read; `header` holds its column names."""

    def __init__(self, path: Path, sheet: str | None = None) -> None:
        """Open the table at `path`.

        Parameters
        ----------
        sheet : str, optional
            The sheet of a workbook that has several.

        Raises
        ------
        InputError
            It cannot be read, is empty, or names a column twice.
        """
        self.path = path
        self._source = _source(path, sheet)
        self.header = self._source.header
        self.decimal_commas = self._source.decimal_commas
        if not self.header:
            raise InputError(f"{path}: is empty; expected a header and one row for each entry")
        repeated = [name for name, count in Counter(self.header).items() if count > 1 and name]
        if repeated:
            raise InputError(f"{path}: the column {repeated[0]} occurs twice; rename one")

    def rows(
        self, columns: Sequence[str], *, identifiers: Sequence[str] = ()
    ) -> Iterator[tuple[str, ...]]:
        """Yield the values of `columns`, row by row; see `located_rows`."""
        return (values for _, values in self.located_rows(columns, identifiers=identifiers))

    def located_rows(
        self, columns: Sequence[str], *, identifiers: Sequence[str] = ()
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield where each row is (``line 3``, as an editor or spreadsheet counts) and its values.

        Parameters
        ----------
        columns : sequence of str
            Names of columns that the header has.
        identifiers : sequence of str
            Those of them that hold accessions or MRNs, which are read as `identifier` says.

        Raises
        ------
        InputError
            The table cannot be read to its end, or a spreadsheet has mangled an identifier. The
            line and the column are named, the value is not.
        """
        source = self._source
        marked = [name in identifiers for name in columns]
        lengths: dict[str, set[int]] = {name: set() for name in identifiers}
        positions = [self.header.index(name) for name in columns]
        for number, values in source.records(positions):
            texts = []
            for name, value, is_identifier in zip(columns, values, marked, strict=True):
                if not is_identifier:
                    text = text_of_cell(value) if source.typed else str(value)
                    texts.append(from_spreadsheet(text))
                    continue
                try:
                    text = identifier_of_cell(value, exact=source.exact)
                except Mangled as what:
                    raise InputError(
                        f"{self.path}: {source.unit} {number}: the {name} is {what}: {_CURE}"
                    ) from None
                if not isinstance(value, str) and text:
                    lengths[name].add(len(text))
                texts.append(text)
            yield f"{source.unit} {number}", tuple(texts)
        self._warn_of_zeros(lengths)

    def _warn_of_zeros(self, lengths: dict[str, set[int]]) -> None:
        for name, counts in lengths.items():
            if counts and self._source.shows_zeros:
                _log.warning(
                    "warning: %s: the column %s holds numbers, and a cell format of this workbook"
                    " shows numbers with leading zeros; they are read without: if it is this"
                    " column's, make it text",
                    self.path,
                    name,
                )
            elif len(counts) > 1:
                _log.warning(
                    "warning: %s: the column %s holds numbers of %d to %d digits: leading zeros may"
                    " be gone; if its values have a fixed length, export it again as text",
                    self.path,
                    name,
                    min(counts),
                    max(counts),
                )


def _source(path: Path, sheet: str | None) -> Source:
    try:
        with open(path, "rb") as stream:
            start = stream.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a table") from None
    if start.startswith((ZIP, OLE)):
        return Workbook(path, sheet)
    if sheet is not None:
        raise InputError(
            f"{path}: is no workbook, so reports_sheet has no effect; remove reports_sheet from"
            " the config"
        )
    if start.startswith(PARQUET):
        return Parquet(path)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise InputError(
            f"{path}: is HTML or XML, which some systems export under the name .xls; open it in a"
            " spreadsheet program with its identifiers as text, and save it as .xlsx or CSV UTF-8"
        )
    return Delimited(path)
