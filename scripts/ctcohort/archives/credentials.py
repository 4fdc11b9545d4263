"""Secrets, where they come from, and the ways of showing them to an HTTP archive.

A secret comes from the environment, or from a file of ``NAME=value`` lines that only its owner can
read. It is never part of a message, a log, a parameter or a command line.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
from requests.auth import AuthBase

from ctcohort.base.faults import InputError

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

SETTINGS = {
    "oauth2_refresh": ("token_url",),
    "oauth2_client_credentials": ("token_url",),
    "command": ("token_command",),
    "aws_sigv4": ("aws_region",),
}
"""Keys of `archive.dicomweb` that a way of `auth` needs."""

SessionOf = Callable[[str], requests.Session]
"""Gives a connection to an address, without a login."""


class Basic(AuthBase):
    """User and password, as UTF-8 (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        self._value = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._value
        return request


def auth_of(settings: Mapping[str, Any], session_of: SessionOf) -> AuthBase | None:
    """Return the way of `archive.dicomweb.auth`.

    Raises
    ------
    InputError
        A secret, a key of the config or an optional package is missing.
    """
    kind = settings["auth"]
    for key in SETTINGS.get(kind, ()):
        if not settings[key]:
            raise InputError(f"archive.dicomweb.{key} is not set; auth: {kind} needs it")
    path = settings["credentials"]
    values = needed_secrets(kind, path)
    if kind == "none":
        return None
    if kind == "basic":
        return Basic(*values)
    if kind == "aws_sigv4":
        from ctcohort.archives.aws import SignatureV4

        return SignatureV4(settings["aws_service"], settings["aws_region"])
    from ctcohort.archives import tokens

    if kind == "bearer":
        return tokens.Bearer(lambda: needed_secrets(kind, path)[0], session_of)
    if kind == "command":
        return tokens.Command(settings["token_command"], session_of)
    if kind == "google":
        from ctcohort.archives.google import ServiceAccount

        return ServiceAccount(values[0], settings["scope"], session_of)
    fields = {"client_id": values[0]}
    secret = secrets(path).get("CT_COHORT_CLIENT_SECRET", "")
    if kind == "oauth2_refresh":
        fields |= {"grant_type": "refresh_token", "refresh_token": values[1]}
    else:
        fields["grant_type"] = "client_credentials"
        optional = ("scope", "audience", "resource")
        fields |= {name: settings[name] for name in optional if settings[name]}
    client = (values[0], secret) if settings["client_auth"] == "basic" else None
    if client:
        del fields["client_id"]
    elif secret:
        fields["client_secret"] = secret
    return tokens.OAuth2(settings["token_url"], fields, client, session_of)


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


def must_be_private(path: str, what: str) -> None:
    """Raise `InputError` where others can read a file of secrets."""
    try:
        if Path(path).stat().st_mode & 0o077:
            raise InputError(f"{what}: {path} is readable by others; run chmod 600 {path}")
    except OSError:
        raise InputError(f"{what}: {path} cannot be read; expected a file that you own") from None
