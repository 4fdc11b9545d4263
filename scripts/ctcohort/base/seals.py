"""Checksums that prove that a table is still what the workflow wrote.

``.seals/<file name>`` beside a table holds the SHA-256 of its content; while the table is replaced,
that of the new content and that of the old, so that a process may be killed at any moment. A table
without a seal is believed: it may come from another directory or from an older release.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from ctcohort.base.faults import InputError

FOLDER = ".seals"

MADE_AGAIN = "run snakemake again: it is made from what is there"
MISSING = f"is missing; {MADE_AGAIN}"


def seal_of(path: Path) -> Path:
    """Return where the seal of a table is kept."""
    return path.parent / FOLDER / path.name


def seals_in(text: str) -> list[str]:
    """Return the checksums that a seal holds, newest first; none where it is damaged."""
    lines = text.splitlines()
    return lines if all(re.fullmatch("[0-9a-f]{64}", line) for line in lines) else []


def kept_seals(path: Path) -> list[str]:
    """Return the checksums of a table's seal; a folder in its place is taken away."""
    seal = seal_of(path)
    if seal.is_dir():
        shutil.rmtree(seal)
    return seals_in(seal.read_text(errors="replace")) if seal.exists() else []


def assert_sealed(path: Path, stream: BufferedReader) -> None:
    """Raise `InputError` where a table is not as it was written; leave `stream` at its start.

    Parameters
    ----------
    stream : binary file
        The open table, at its start.
    """
    seal = seal_of(path)
    try:
        text = seal.read_text(errors="replace")
    except FileNotFoundError:
        return
    except IsADirectoryError:
        text = ""
    if hashlib.file_digest(stream, "sha256").hexdigest() not in seals_in(text):
        raise InputError(f"{path}: is not as it was written; delete {path} and {MADE_AGAIN}")
    stream.seek(0)


def assert_unchanged(path: Path) -> None:
    """Raise `InputError` where a file is there and not what was sealed."""
    try:
        with open(path, "rb") as stream:
            assert_sealed(path, stream)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; delete {path} and {MADE_AGAIN}") from None


def complaints(directory: Path, *, missing: bool = True) -> Iterator[str]:
    """Yield one line for each sealed table of a directory that has changed.

    Parameters
    ----------
    missing : bool
        Name the tables that are missing, too.
    """
    for seal in sorted((directory / FOLDER).glob("[!.]*")):
        path = directory / seal.name
        try:
            with open(path, "rb") as stream:
                assert_sealed(path, stream)
        except FileNotFoundError:
            if missing:
                yield f"{path}: {MISSING}"
        except InputError as error:
            yield str(error)
        except OSError:
            yield f"{path}: cannot be read; delete {path} and {MADE_AGAIN}"
