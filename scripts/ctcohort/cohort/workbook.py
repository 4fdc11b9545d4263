"""Read Excel (pandas) and Parquet (pyarrow), whose cells have types."""

from __future__ import annotations

import itertools
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ctcohort.base.faults import InputError
from ctcohort.cohort.identifiers import text_of_cell

ZIP, OLE, PARQUET = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PAR1"
"""First bytes of .xlsx (and other zipped workbooks), of .xls, and of Parquet."""


class Workbook:
    """A sheet of an Excel workbook; it is held in memory as a whole."""

    unit = "row"
    typed = True
    exact = decimal_commas = False

    def __init__(self, path: Path, sheet: str | None) -> None:
        import pandas as pd
        from python_calamine import CalamineError, PasswordError

        try:
            with pd.ExcelFile(path, engine="calamine") as book:
                cells = pd.read_excel(
                    book,
                    sheet_name=_sheet(path, book, sheet),
                    header=None,
                    dtype=object,
                    na_filter=False,
                )
        except PasswordError:
            raise InputError(
                f"{path}: is protected by a password; save it without one, or as CSV UTF-8"
            ) from None
        except CalamineError:
            raise InputError(
                f"{path}: starts like an Excel workbook or a ZIP archive but cannot be read as a"
                " workbook; unpack it, or save it again as .xlsx or CSV UTF-8"
            ) from None
        self.path = path
        self.shows_zeros = _shows_zeros(path)
        self._cells = cells
        _, first = next(self._filled(), (0, ()))
        self.header = [text_of_cell(name).strip() for name in first]
        while self.header and not self.header[-1]:
            self.header.pop()

    def records(self, positions: Sequence[int]) -> Iterator[tuple[int, Sequence[object]]]:
        """Yield each row's number in the sheet and its cells at `positions`."""
        width = len(self.header)
        for number, row in itertools.islice(self._filled(), 1, None):
            if any(map(_is_filled, row[width:])):
                raise InputError(
                    f"{self.path}: row {number} has a value beyond the header's {width} columns;"
                    " give its column a name, or empty it"
                )
            yield number, [row[position] for position in positions]

    def _filled(self) -> Iterator[tuple[int, tuple[object, ...]]]:
        """Rows that are neither blank nor comments, with their number in the sheet."""
        for number, row in enumerate(self._cells.itertuples(index=False, name=None), 1):
            if any(map(_is_filled, row)) and not str(row[0]).startswith("#"):
                yield number, row


class Parquet:
    """A Parquet file; only the columns that are asked for are read, some rows at a time."""

    unit = "row"
    typed = exact = True
    decimal_commas = shows_zeros = False

    def __init__(self, path: Path) -> None:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            self._file = ParquetFile(path)
        except (ArrowException, OSError):
            raise InputError(
                f"{path}: starts like a Parquet file but cannot be read as one; it is damaged or"
                " cut off, copy it again"
            ) from None
        self.header = list(self._file.schema_arrow.names)

    def records(self, positions: Sequence[int]) -> Iterator[tuple[int, Sequence[object]]]:
        """Yield each row's number, from 1, and its values at `positions`."""
        names = [self.header[position] for position in positions]
        number = 0
        for batch in self._file.iter_batches(columns=names):
            columns = [batch.column(name).to_pylist() for name in names]
            for number, values in enumerate(zip(*columns, strict=True), number + 1):  # noqa: B020
                yield number, values


def _sheet(path: Path, book: Any, sheet: str | None) -> str:
    names = [str(name) for name in book.sheet_names]
    if sheet is None:
        filled = [name for name in names if book.book.get_sheet_by_name(name).height]
        if len(filled) > 1:
            raise InputError(
                f"{path}: has the sheets {', '.join(filled)}; expected one, or for the report table"
                " its name in reports_sheet of your config.yaml"
            )
        return (filled or names)[0]
    if sheet not in names:
        raise InputError(f"{path}: has no sheet {sheet}; reports_sheet can be {', '.join(names)}")
    return sheet


def _shows_zeros(path: Path) -> bool:
    """Return whether a cell format of an .xlsx, such as ``000000``, adds leading zeros."""
    if not zipfile.is_zipfile(path):
        return False  # .xls: its formats are not looked at
    with zipfile.ZipFile(path) as parts:
        styles = parts.read("xl/styles.xml") if "xl/styles.xml" in parts.namelist() else b""
    return re.search(rb'formatCode="0{2,}["&;]', styles) is not None


def _is_filled(value: object) -> bool:
    return bool(text_of_cell(value).strip())
