"""The report table: which accessions are wanted, and what later stages need to know of them.

Only the columns named in the config are kept in memory; the reports' free text is read past.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ctcohort.base.faults import InputError

DELIMITERS = (",", "|", "\t", ";")


def chosen_columns(path: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    header, rows = table(path)
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(
            f"{path}: has no column {', '.join(missing)}; it has: {', '.join(header)}.\n"
            "Set columns in your config.yaml to the table's own names."
        )
    places = {name: header.index(name) for name in needed}
    for row in rows:
        yield {name: row[place] for name, place in places.items()}


def table(path: Path) -> tuple[list[str], Iterator[list[str]]]:
    """Header and rows of a table; every row has as many fields as the header."""
    csv.field_size_limit(2**31 - 1)
    records = _records(path)
    header = next(records, None)
    if header is None:
        raise InputError(f"{path}: is empty; expected a header line and one row per imaging event")
    names = [name.strip() for name in header[1]]
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise InputError(f"{path}: the column {repeated[0]} occurs twice; rename one")
    return names, _fitted(path, len(names), records)


class _Lines:
    """Lines for csv.reader without comments and blank lines between two records.

    `began` is the number of the line on which the record that is being read begins.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.number = self.began = 0
        self.between_records = True

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        for line in self.stream:
            self.number += 1
            if self.between_records:
                if line.startswith("#") or not line.strip():
                    continue
                self.began = self.number
            self.between_records = False
            return line
        raise StopIteration


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each record that is not blank."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            yield from _parsed(path, _Lines(stream))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a table") from None


def _parsed(path: Path, lines: _Lines) -> Iterator[tuple[int, list[str]]]:
    try:
        first = next(lines, "")
        delimiter = max(DELIMITERS, key=_outside_quotes(first).count)
        start = [first]

        def rest() -> Iterator[str]:
            yield from start
            yield from lines

        reader = csv.reader(rest(), delimiter=delimiter, strict=True)
        while True:
            lines.between_records = not start or reader.line_num > 0
            fields = next(reader, None)
            if fields is None:
                return
            if any(text.strip() for text in fields):
                yield lines.began, fields
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is not UTF-8 (near line {lines.number + 1}, byte {error.start} of the block);"
            " save it as UTF-8, e.g. iconv -f latin1 -t utf-8"
        ) from None
    except csv.Error as error:
        raise InputError(
            f"{path}: near line {lines.number}: {error}; expected every quoted field to be closed"
            " and a quote inside one to be doubled"
        ) from None
    finally:
        lines.stream.close()


def _outside_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _fitted(
    path: Path, width: int, records: Iterator[tuple[int, list[str]]]
) -> Iterator[list[str]]:
    for line, row in records:
        if len(row) > width and not any(text.strip() for text in row[width:]):
            row = row[:width]
        if len(row) != width:
            raise InputError(
                f"{path}: the row at line {line} has {len(row)} fields, the header has {width};"
                " a field that holds the delimiter or a line break must be quoted"
            )
        yield row
