"""Private, atomic writing: nothing half-written ever carries a final name."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ctcohort.base.faults import InputError
from ctcohort.base.seals import MADE_AGAIN, assert_sealed, kept_seals, seal_of
from ctcohort.base.workdir import Workdir

_FORMULA = re.compile(r"'*[=+\-@\t\r](?!\Z)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

CHECKSUM = "checksum"
"""Last key of sealed JSON: the SHA-256 of the bytes before it."""

LAST_OF_UNSEALED = ("npz_sha256", "instances")
"""Last keys of scan records and received files that were written before they had a checksum."""

_SEAL = f',\n "{CHECKSUM}": "'.encode()


@contextmanager
def replacing(path: Path, *, sealed: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to `path` when the block ends well.

    The temporary name starts with a dot and holds the thread's number, which a process's first
    thread shares with it, so that two that make the same file cannot mix. The file is flushed to
    disk before it is renamed.

    Parameters
    ----------
    sealed : bool
        Keep the checksum of what is written beside it, see `seals`.

    Raises
    ------
    InputError
        `path` is a directory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{threading.get_native_id()}.part")
    try:
        yield part
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path.is_dir():
            raise InputError(f"{path}: is a folder, expected a file; delete {path} and run again")
        if sealed:
            checksum = sha256(part)
            write_lines(seal_of(path), [checksum, *kept_seals(path)[:1]])
            part.replace(path)
            write_lines(seal_of(path), [checksum])
        else:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def seal(path: Path) -> None:
    """Keep the checksum of a file that was written in place."""
    kept_seals(path)
    write_lines(seal_of(path), [sha256(path)])


def delete(path: Path) -> None:
    """Delete a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: Path, *chunks: bytes | bytearray | memoryview, sealed: bool = False) -> None:
    """Write `chunks` one after the other as the whole content of `path`."""
    with replacing(path, sealed=sealed) as part, open(part, "wb") as stream:
        for chunk in chunks:
            stream.write(chunk)


def write_lines(path: Path, lines: Iterable[str], *, sealed: bool = False) -> None:
    """Write text lines, UTF-8."""
    with (
        replacing(path, sealed=sealed) as part,
        open(part, "w", encoding="utf-8", newline="\n") as stream,
    ):
        stream.writelines(f"{line}\n" for line in lines)


def read_lines(path: Path) -> list[str]:
    """Read what `write_lines` wrote; raise `InputError` where it is something else."""
    try:
        with open(path, "rb") as stream:
            assert_sealed(path, stream)
            return stream.read().decode().split("\n")[:-1]
    except (IsADirectoryError, UnicodeDecodeError):
        raise InputError(
            f"{path}: is not a list of this workflow; delete {path} and {MADE_AGAIN}"
        ) from None


def write_sealed_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON that ends in the checksum of all that stands before it."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    body = text.removesuffix("\n}").encode()
    write_bytes(path, body, _ending(body))


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Read what `write_sealed_json` wrote, without the checksum.

    Raises
    ------
    ValueError
        It is not JSON, or not as it was written.
    """
    written = path.read_bytes()
    body, mark, _ = written.rpartition(_SEAL)
    content = json.loads(written)
    if not isinstance(content, dict) or not content:
        raise ValueError("not an object")
    if mark and written != body + _ending(body):
        raise ValueError("not as it was written")
    if content.pop(CHECKSUM, None) is None and next(reversed(content)) not in LAST_OF_UNSEALED:
        raise ValueError("without its checksum")
    return content


def _ending(body: bytes) -> bytes:
    return _SEAL + f'{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, object]],
    *,
    sealed: bool = False,
) -> None:
    """Write a CSV as `write_rows` does."""
    with (
        replacing(path, sealed=sealed) as part,
        open(part, "w", encoding="utf-8", newline="") as stream,
    ):
        write_rows(stream, columns, rows)


def write_rows(
    stream: TextIO, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Write a CSV with header `columns`; a missing or None value is an empty field."""
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: in_spreadsheet(_field(row.get(key))) for key in columns} for row in rows)


def as_written(row: Mapping[str, object]) -> dict[str, str]:
    """A row as `read_table` gives it back after `write_table`."""
    fields = ((key, _field(value)) for key, value in row.items())
    return {key: "" if field is None else str(field) for key, field in fields}


def read_table(path: Path, needed: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """Rows of a CSV that this workflow wrote, every value as text.

    Parameters
    ----------
    needed : sequence of str
        Columns that must be there.

    Raises
    ------
    InputError
        It is not such a table, not whole, or not as it was written.
    """
    made_again = f"delete {path} and {MADE_AGAIN}"
    try:
        with open(path, "rb") as content:
            assert_sealed(path, content)
            rows = csv.DictReader(
                io.TextIOWrapper(content, encoding="utf-8", newline=""), strict=True
            )
            missing = [column for column in needed if column not in (rows.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: has no column {', '.join(missing)}; {made_again}")
            for row in rows:
                if None in row or None in row.values():
                    raise InputError(
                        f"{path}: line {rows.line_num} has another number of fields than the"
                        f" header; {made_again}"
                    )
                yield {key: from_spreadsheet(value) for key, value in row.items()}
    except (UnicodeDecodeError, csv.Error, IsADirectoryError):
        raise InputError(f"{path}: is not a table of this workflow; {made_again}") from None


def in_spreadsheet(field: object) -> object:
    """Put an apostrophe before text that a spreadsheet would take for a formula.

    That is text, no number, that begins with ``=``, ``+``, ``-``, ``@`` or a tab, and says more
    than this one character; apostrophes before it count as part of it, so that
    `from_spreadsheet` can undo it.
    """
    if isinstance(field, str) and _FORMULA.match(field) and not _NUMBER.fullmatch(field):
        return f"'{field}"
    return field


def from_spreadsheet(field: str) -> str:
    """Undo `in_spreadsheet`."""
    return field[1:] if field[:1] == "'" and _FORMULA.match(field) else field


def assert_no_run(here: Workdir) -> None:
    """Refuse to work while Snakemake runs in a working directory.

    Snakemake does not protect what no rule makes, and takes away every lock when it ends. So a
    command that changes things is called with ``--nolock``, and looks for locks here.

    Raises
    ------
    InputError
        A run is under way, or was killed.
    """
    if any(here.locks()):
        raise InputError(
            f"{here.root.absolute()}: a run of Snakemake is under way; wait until it has ended."
            " (If it was killed: snakemake --unlock. And call this by make, or with --nolock.)"
        )


def copy(source: Path, target: Path) -> None:
    """Copy the bytes: shared on disk until one of the two is written to, where it can do that."""
    with open(source, "rb") as original, open(target, "wb") as copied:
        try:
            while os.copy_file_range(original.fileno(), copied.fileno(), 2**30):
                pass
        except AttributeError:  # macOS has no such call
            shutil.copyfileobj(original, copied, 2**20)
        except OSError as error:
            if copied.tell() or error.errno == errno.ENOSPC:
                raise
            original.seek(0)
            shutil.copyfileobj(original, copied, 2**20)


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def head(path: Path | str, size: int = 256) -> str:
    """The first characters of a text file; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(size)
    except OSError:
        return ""


def _field(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value)
    if isinstance(value, str) and "\r" in value:
        return value.replace("\r\n", "\n").replace("\r", "\n")  # csv would not quote it
    return value
