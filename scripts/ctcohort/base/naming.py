"""Accession <-> file name, and the normal form of an MRN."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

MAX_ACCESSION_CHARACTERS = 64
"""The standard's limit is 16 (PS3.5 6.2, SH); archives keep longer ones, up to an LO's 64."""

MAX_NAME_BYTES = 200
"""File systems allow 255 bytes in a name; the rest is for prefixes and endings."""

NAME_PATTERN = r"[A-Za-z0-9_%][A-Za-z0-9._%-]*"
"""What `name_of` makes: Snakemake's constraint on the wildcard."""

UID_PATTERN = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
"""PS3.5 9.1 allows digits and dots only; de-identifiers write letters too."""

MAX_UID_CHARACTERS = 128
"""The standard's limit is 64 (PS3.5 9.1); a SHA-512 in hexadecimal digits has 128."""

_NOT_SEARCHABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029*?\\]")


def name_of(accession: str) -> str:
    """File name of an accession: percent-encoded outside ``[A-Za-z0-9._-]``.

    A leading dot or hyphen is encoded too, so that a name is never hidden, never ``..`` and never
    looks like an option. `accession_of` is the inverse.

    >>> name_of("../AA 12"), name_of("00123")
    ('%2E.%2FAA%2012', '00123')
    """
    name = quote(accession, safe="").replace("~", "%7E")
    if name[:1] in (".", "-"):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return name


def accession_of(name: str) -> str:
    """Accession of a file name."""
    return unquote(name)


def is_valid_accession(accession: str) -> bool:
    """Return True if an archive can be queried for an accession and a file can be named after it.

    Control characters cannot stand in an SH value, ``*`` and ``?`` are wildcards (PS3.4 C.2.2.2.4)
    and a backslash separates values (PS3.5 6.4): such a query would match other accessions.
    """
    return (
        0 < len(accession) <= MAX_ACCESSION_CHARACTERS
        and not _NOT_SEARCHABLE.search(accession)
        and len(name_of(accession)) <= MAX_NAME_BYTES
    )


def is_uid(text: str) -> bool:
    """Return True if `text` identifies an instance or series and is safe as a file name.

    Letters, digits, ``_`` and ``-`` between single dots: never hidden, never ``..``, never a path.
    """
    return len(text) <= MAX_UID_CHARACTERS and UID_PATTERN.fullmatch(text) is not None


def normal_mrn(mrn: str) -> str:
    """MRN without white space and leading zeros, in upper case: one patient, one string."""
    text = re.sub(r"\s+", "", mrn).upper()
    return text.lstrip("0") or text[:1]


def one_line(accession: str) -> str:
    """`accession` as a line of a text file: control characters as backslash escapes, which no valid
    accession has."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028\u2029]",
        lambda found: found[0].encode("unicode_escape").decode(),
        accession,
    )
