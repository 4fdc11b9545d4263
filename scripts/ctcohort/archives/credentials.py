"""Secrets, where they come from, and the ways of showing them to an HTTP archive.

A secret comes from the environment, or from a file of ``NAME=value`` lines that only its owner can
read. It is never part of a message, a log, a parameter or a command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import requests

from ctcohort.base.faults import InputError
from ctcohort.base.privacy import must_be_private

NEEDED = {
    "none": (),
    "basic": ("CT_COHORT_USER", "CT_COHORT_PASSWORD"),
    "bearer": ("CT_COHORT_TOKEN",),
    "oauth2_refresh": ("CT_COHORT_CLIENT_ID", "CT_COHORT_REFRESH_TOKEN"),
    "oauth2_client_credentials": ("CT_COHORT_CLIENT_ID", "CT_COHORT_CLIENT_SECRET"),
    "command": (),
    "aws_sigv4": (),
    "google": ("CT_COHORT_GOOGLE_KEY_FILE",),
}
"""Names of the secrets of each `archive.dicomweb.auth`; with `oauth2_refresh`,
CT_COHORT_CLIENT_SECRET is optional."""

SessionOf = Callable[[str], requests.Session]
"""Gives a connection to an address, without a login."""


def needed_secrets(kind: str, path: str | None) -> list[str]:
    """Return the secrets of a way of `auth`; raise `InputError` naming those that are not set."""
    known = secrets(path)
    missing = [name for name in NEEDED[kind] if not known.get(name)]
    if missing:
        raise InputError(
            f"archive.dicomweb.auth is {kind}, but {' and '.join(missing)} is not set; expected in"
            " the environment or in the file that archive.dicomweb.credentials names"
        )
    return [known[name] for name in NEEDED[kind]]


def secrets(path: str | None) -> dict[str, str]:
    """Return the environment's secrets, and over them the lines of a private file."""
    known = {name: value for name, value in os.environ.items() if name.startswith("CT_COHORT_")}
    if not path:
        return known
    must_be_private(path, "archive.dicomweb.credentials")
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"archive.dicomweb.credentials: {path} cannot be read; expected a text file of"
            " NAME=value lines that only you can read"
        ) from None
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            known[name.strip()] = value.strip()
    return known
