"""Private, atomic writing: nothing half-written ever carries a final name."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.base.workdir import Workdir


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to `path` when the block ends well.

    The temporary name starts with a dot and ends in the thread's number, which a process's first
    thread shares with it, so that two that make the same file cannot mix. The file is flushed to
    disk before it is renamed.
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
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, *chunks: bytes | bytearray | memoryview) -> None:
    """Write `chunks` one after the other as the whole content of `path`."""
    with replacing(path) as part, open(part, "wb") as stream:
        for chunk in chunks:
            stream.write(chunk)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write text lines, UTF-8."""
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def write_json(path: Path, content: object) -> None:
    """Write `content` with the order of its keys kept."""
    write_lines(path, [json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)])


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV with header `columns`; a missing or None value is an empty field."""
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _field(row.get(key)) for key in columns} for row in rows)


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
        It is not such a table, or not whole.
    """
    made_again = "delete it and run snakemake again: it is made from what is there"
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            missing = [column for column in needed if column not in (rows.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: has no column {', '.join(missing)}; {made_again}")
            for row in rows:
                if None in row or None in row.values():
                    raise InputError(
                        f"{path}: line {rows.line_num} has not as many fields as the header;"
                        f" {made_again}"
                    )
                yield row
    except (UnicodeDecodeError, csv.Error, IsADirectoryError):
        raise InputError(f"{path}: is not a table of this workflow; {made_again}") from None


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
