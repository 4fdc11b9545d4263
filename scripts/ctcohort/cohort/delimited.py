"""Read CSV in its dialects: find encoding and delimiter, check every record, parse with pandas.

`pandas.read_csv` fills short rows, ignores surplus fields where some columns are asked for, and
takes a stray quote as text (pandas issues 9729, 22374, 40049): an unquoted delimiter in free text
would move an accession to another column unnoticed. So every record passes `_Records` first, which
counts its fields, closes its quotes, knows its line and leaves out comments.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import logging
import re
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import IO, BinaryIO, cast

from ctcohort.base.faults import InputError

GZIP = b"\x1f\x8b"
DELIMITERS = (",", "|", "\t", ";")
ROWS = 2000
"""Rows that pandas holds at once, free text included."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECLARED = re.compile(r'"?sep=([,|;\t])"?\s*', re.IGNORECASE)
_BLOCK = 2**20

_log = logging.getLogger(__name__)


class Delimited:
    """A delimited text: its header, then its records by line number."""

    unit = "line"
    typed = exact = shows_zeros = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._encoding = _encoding(path)
        with _opened(path, self._encoding) as stream:
            records = _Records(path, stream)
            self.header = records.header
            self.decimal_commas = records.delimiter != ","
            """Whether ``0,5`` is a number: where the delimiter is a comma, it may be a list."""

    def records(self, positions: Sequence[int]) -> Iterator[tuple[int, Sequence[str]]]:
        """Yield each record's line number and its fields at `positions`."""
        import pandas as pd

        with _opened(self.path, self._encoding) as stream:
            records = _Records(self.path, stream)
            if not records.fill():
                return
            chunks = pd.read_csv(
                records,
                sep=records.delimiter,
                header=None,
                names=range(len(self.header)),
                usecols=sorted(set(positions)),
                index_col=False,
                dtype=str,
                na_filter=False,
                skip_blank_lines=False,
                chunksize=ROWS,
            )
            for chunk in chunks:
                columns = [chunk[position].tolist() for position in positions]
                for fields in zip(*columns, strict=True):
                    yield records.lines.popleft(), fields


class _Records:
    """The records of a text as a stream for pandas: checked, without comments and blank ones.

    `lines` holds the number of the line on which each record begins that has been read.
    """

    def __init__(self, path: Path, stream: IO[str]) -> None:
        self.path, self.stream = path, stream
        self._physical = self._lines()
        self.number = 0
        self.lines: deque[int] = deque()
        self.delimiter, self.width = "", 0
        self._ready = ""
        first = self._header_record()
        names = next(csv.reader([first], delimiter=self.delimiter)) if first else []
        self.header = [name.strip() for name in names]
        self.width = len(self.header)

    def _header_record(self) -> str:
        csv.field_size_limit(2**31 - 1)
        for line in self._physical:
            if _is_between(line):
                continue
            if declared := _DECLARED.fullmatch(line):
                self.delimiter = declared[1]
                continue
            bare = re.sub(r'"[^"]*"', "", line)
            self.delimiter = self.delimiter or max(DELIMITERS, key=bare.count)
            self._opening = re.compile(rf'(?:^|{re.escape(self.delimiter)})"')
            return self._completed(line)[0]
        return ""

    def __iter__(self) -> Iterator[str]:
        return iter(lambda: self.read(_BLOCK), "")

    def fill(self) -> bool:
        """Read ahead; return whether there is a record."""
        self._ready = self._ready or self.read(1)
        return bool(self._ready)

    def read(self, size: int) -> str:
        """Return whole records, of `size` characters together or a little more; none at the end."""
        parts, length = [self._ready], len(self._ready)
        self._ready = ""
        while length < size and (record := self._record()):
            parts.append(record)
            length += len(record)
        return "".join(parts)

    def _record(self) -> str:
        for line in self._physical:
            if _is_between(line):
                continue
            began = self.number
            record, fields = self._completed(line)
            if not record.strip(f' \t\r\n"{self.delimiter}'):
                continue
            if fields != self.width and not self._fits(record):
                raise InputError(
                    f"{self.path}: the row at line {began} has {fields} fields, the header has"
                    f" {self.width}; a field that holds the delimiter or a line break must be"
                    " quoted"
                )
            self.lines.append(began)
            # pandas ends a field at a NUL; it ends no line at the end of a file
            return record.replace("\0", "\x1a") + ("" if record.endswith(("\n", "\r")) else "\n")
        return ""

    def _lines(self) -> Iterator[str]:
        try:
            for line in self.stream:
                self.number += 1
                yield line
        except UnicodeDecodeError:
            raise InputError(
                f"{self.path}: near line {self.number + 1}: is not {self._encoding_name()} as its"
                " first bytes say; save it as UTF-8"
            ) from None
        except (OSError, EOFError, zlib.error):
            raise InputError(
                f"{self.path}: near line {self.number + 1}: cannot be read on; it is damaged or cut"
                " off, copy it again"
            ) from None

    def _encoding_name(self) -> str:
        return str(getattr(self.stream, "encoding", "")).upper()

    def _completed(self, line: str) -> tuple[str, int]:
        """Return the record that begins with `line`, and how many fields it has."""
        began = self.number
        delimiters, inside = self._scanned(line, inside=False)
        if not inside:
            return line, delimiters + 1
        parts = [line]
        for more in self._physical:
            parts.append(more)
            count, inside = self._scanned(more, inside=True)
            delimiters += count
            if not inside:
                return "".join(parts), delimiters + 1
        raise self._bad_quote(began, "a quoted field that begins here is never closed")

    def _scanned(self, line: str, *, inside: bool) -> tuple[int, bool]:
        """Return the delimiters of a line outside quotes, and whether a quoted field goes on."""
        if '"' not in line:
            return (0, True) if inside else (line.count(self.delimiter), False)
        count = position = 0
        while True:
            if inside:
                quote = line.find('"', position)
                if quote < 0:
                    return count, True
                position = quote + 1
                after = line[position : position + 1]
                if after == '"':
                    position += 1
                    continue
                if after not in ("", self.delimiter, "\r", "\n"):
                    raise self._bad_quote(self.number, "text follows the quote that closes a field")
                inside = False
            opening = self._opening.search(line, position)
            if opening is None:
                return count + line.count(self.delimiter, position), False
            count += line.count(self.delimiter, position, opening.end())
            position, inside = opening.end(), True

    def _fits(self, record: str) -> bool:
        """Return whether a record has only empty fields more than the header."""
        fields = next(csv.reader([record], delimiter=self.delimiter))
        return len(fields) > self.width and not any(map(str.strip, fields[self.width :]))

    def _bad_quote(self, line: int, what: str) -> InputError:
        return InputError(
            f"{self.path}: near line {line}: {what}; expected every quoted field to be closed and a"
            " quote inside one to be doubled"
        )


def _is_between(line: str) -> bool:
    """Return whether a line between two records is a comment or blank."""
    return line.startswith("#") or line.isspace()


def _opened(path: Path, encoding: str) -> TextIOWrapper:
    return TextIOWrapper(_bytes(path), encoding=encoding, newline="")


def _bytes(path: Path) -> BinaryIO:
    with open(path, "rb") as stream:
        is_gzip = stream.read(len(GZIP)) == GZIP
    return cast(BinaryIO, gzip.open(path)) if is_gzip else open(path, "rb")


def _encoding(path: Path) -> str:
    """Return the encoding by byte order mark or content; log it where it is Windows-1252.

    Raises
    ------
    InputError
        It is none of these, or cannot be read to its end.
    """
    try:
        with _bytes(path) as stream:
            start = stream.read(4)
        for mark, encoding in _MARKS.items():
            if start.startswith(mark):
                return encoding
        if len(start) > 1 and 0 in start[:2]:
            return "utf-16-le" if start[1] == 0 else "utf-16-be"
        problem = ""
        for encoding in ("utf-8", "windows-1252"):
            line = _undecodable(path, encoding)
            if not line:
                if problem:
                    _log.warning(
                        "note: %s: is not UTF-8 (line %s); read as Windows-1252", path, problem
                    )
                return encoding
            problem = str(line)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is damaged or cut off; copy it again"
        raise InputError(f"{path}: cannot be read ({reason}); expected a table") from None
    raise InputError(
        f"{path}: is neither UTF-8 nor Windows-1252 (line {problem}); save it as UTF-8, e.g. with"
        " iconv -f ... -t utf-8"
    )


def _undecodable(path: Path, encoding: str) -> int:
    """Return the number of the first line that `encoding` does not decode; 0 if there is none."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with _bytes(path) as stream:
        while True:
            block = stream.read(_BLOCK)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            if not block:
                return 0
            line += block.count(b"\n")
