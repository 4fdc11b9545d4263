"""Secrets, and the ways of showing them to an HTTP archive (PS3.18 8.11, RFC 7617, 6750, 6749).

A secret comes from the environment, or from a file of ``NAME=value`` lines that only its owner can
read. It is never part of a message, a log, a parameter or a command line.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from requests.auth import AuthBase

from ..faults import Fault, InputError
from .retrying import Transient

NEEDED = {
    "none": (),
    "basic": ("CT_COHORT_USER", "CT_COHORT_PASSWORD"),
    "bearer": ("CT_COHORT_TOKEN",),
    "oauth2_refresh": ("CT_COHORT_CLIENT_ID", "CT_COHORT_REFRESH_TOKEN"),
}
"""Names of the secrets of each `archive.dicomweb.auth`; CT_COHORT_CLIENT_SECRET is optional."""

TOKEN_TIMEOUT = (10.0, 60.0)


class Basic(AuthBase):
    """User and password, as UTF-8."""

    def __init__(self, user: str, password: str) -> None:
        self._value = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._value
        return request


class Bearer(AuthBase):
    """A token that somebody else renews."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._value
        return request


class RefreshedBearer(AuthBase):
    """An access token got with a refresh token (RFC 6749 6): at first, and once after each 401.

    Parameters
    ----------
    session : requests.Session
        Without `auth`: how the token endpoint is reached.
    url : str
        The token endpoint.
    fields : mapping
        client_id, refresh_token and, where the endpoint wants it, client_secret.
    """

    def __init__(self, session: requests.Session, url: str, fields: Mapping[str, str]) -> None:
        self._session = session
        self._url = url
        self._fields = {"grant_type": "refresh_token", **fields}
        self._token = ""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if not self._token:
            self._token = self._refresh()
        request.headers["Authorization"] = f"Bearer {self._token}"
        request.hooks["response"].append(self._again)
        return request

    def _again(self, response: requests.Response, **options: Any) -> requests.Response:
        if response.status_code != 401:
            return response
        response.close()
        self._token = self._refresh()
        again = response.request.copy()
        again.headers["Authorization"] = f"Bearer {self._token}"
        return self._session.get_adapter(str(again.url)).send(again, **options)

    def _refresh(self) -> str:
        answer = self._session.post(
            self._url, data=self._fields, timeout=TOKEN_TIMEOUT, allow_redirects=False
        )
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Transient(f"the token endpoint answered {answer.status_code}")
        try:
            token = answer.json()["access_token"] if answer.ok else None
        except (ValueError, KeyError, TypeError):
            token = None
        if not isinstance(token, str) or not token:
            raise Fault(
                "archive_refused",
                f"archive.dicomweb.token_url answered {answer.status_code} without an access"
                " token: the refresh token has expired or the client is not known; ask for a new"
                " one and put it where the secrets are",
            )
        return token


def auth_of(settings: Mapping[str, Any], session: requests.Session) -> AuthBase | None:
    """The way of `archive.dicomweb.auth`; `session` reaches a token endpoint."""
    kind = settings["auth"]
    secrets = _secrets(settings["credentials"])
    missing = [name for name in NEEDED[kind] if not secrets.get(name)]
    if missing:
        raise InputError(
            f"archive.dicomweb.auth is {kind}, but {' and '.join(missing)} is not set; expected in"
            " the environment or in the file that archive.dicomweb.credentials names"
        )
    values = [secrets[name] for name in NEEDED[kind]]
    if kind == "basic":
        return Basic(*values)
    if kind == "bearer":
        return Bearer(*values)
    if kind == "oauth2_refresh":
        if not settings["token_url"]:
            raise InputError(
                "archive.dicomweb.token_url is not set; auth: oauth2_refresh needs the address"
                " that gives access tokens"
            )
        fields = dict(zip(("client_id", "refresh_token"), values, strict=True))
        if secrets.get("CT_COHORT_CLIENT_SECRET"):
            fields["client_secret"] = secrets["CT_COHORT_CLIENT_SECRET"]
        return RefreshedBearer(session, settings["token_url"], fields)
    return None


def _secrets(path: str | None) -> dict[str, str]:
    """The environment, and over it the lines of a private file."""
    secrets = {name: value for name, value in os.environ.items() if name.startswith("CT_COHORT_")}
    if not path:
        return secrets
    try:
        if Path(path).stat().st_mode & 0o077:
            raise InputError(
                f"archive.dicomweb.credentials: {path} is readable by others; run chmod 600 {path}"
            )
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"archive.dicomweb.credentials: {path} cannot be read; expected a text file of"
            " NAME=value lines that only you can read"
        ) from None
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            secrets[name.strip()] = value.strip()
    return secrets
