"""Secrets, and the ways of showing them to an HTTP archive (PS3.18 8.11, RFC 7617, 6750, 6749).

A secret comes from the environment, or from a file of ``NAME=value`` lines that only its owner can
read. It is never part of a message, a log, a parameter or a command line.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from requests.auth import AuthBase

from ctcohort.archives.manners import STOP
from ctcohort.archives.retrying import Transient
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.files import write_bytes
from ctcohort.base.workdir import Workdir

NEEDED = {
    "none": (),
    "basic": ("CT_COHORT_USER", "CT_COHORT_PASSWORD"),
    "bearer": ("CT_COHORT_TOKEN",),
    "oauth2_refresh": ("CT_COHORT_CLIENT_ID", "CT_COHORT_REFRESH_TOKEN"),
}
"""Names of the secrets of each `archive.dicomweb.auth`; CT_COHORT_CLIENT_SECRET is optional."""

TOKEN_TIMEOUT = (10.0, 60.0)

TOKENS = Workdir().tokens
"""What a token endpoint gave last; private as the rest of the store."""

USED = 0.9
"""The part of an access token's life in which it is used."""
UNTOLD_SECONDS = 300.0
"""How long an access token is used where the endpoint does not say."""


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


class TokenRefused(Fault):
    """The token endpoint gives nothing for the refresh token: asking again would not help."""


class RefreshedBearer(AuthBase):
    """An access token got with a refresh token (RFC 6749 6): shared by all jobs until it expires,
    and renewed once after each 401.

    The endpoint may give another refresh token each time and void the one before (RFC 6749 10.4).
    So what it gave last is kept in a private file of the working directory, and one job at a time
    asks.

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
        self._given = hashlib.sha256(fields["refresh_token"].encode()).hexdigest()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        self._show(request, self._token())
        request.hooks["response"].append(self._again)
        return request

    def _again(self, response: requests.Response, **options: Any) -> requests.Response:
        if response.status_code != 401:
            return response
        response.close()
        again = response.request.copy()
        self._show(again, self._token(refused=again.headers["Authorization"]))
        return self._session.get_adapter(str(again.url)).send(again, **options)

    def _show(self, request: requests.PreparedRequest, token: str) -> None:
        request.headers["Authorization"] = f"Bearer {token}"

    def _token(self, *, refused: str = "") -> str:
        """An access token other than the one that the archive `refused`."""
        TOKENS.parent.mkdir(parents=True, exist_ok=True)
        with open(TOKENS.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self._kept()
            token = str(kept.get("access_token", ""))
            if token and kept["until"] > time.time() and f"Bearer {token}" != refused:
                return token
            known = kept.get("refresh_token", self._fields["refresh_token"])
            answer = self._ask(str(known))
            lasts = answer.get("expires_in")
            lasts = float(lasts) if isinstance(lasts, (int, float)) else UNTOLD_SECONDS
            content = {
                "given": self._given,
                "refresh_token": answer.get("refresh_token") or known,
                "access_token": answer["access_token"],
                "until": time.time() + lasts * USED,
            }
            write_bytes(TOKENS, json.dumps(content).encode())
            return str(answer["access_token"])

    def _kept(self) -> dict[str, Any]:
        """What was kept for the refresh token that a person gave; empty where it was another."""
        try:
            kept: dict[str, Any] = json.loads(TOKENS.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if kept.get("given") == self._given else {}

    def _ask(self, refresh_token: str) -> dict[str, Any]:
        """The endpoint's answer, with an access token."""
        answer = self._session.post(
            self._url,
            data={**self._fields, "refresh_token": refresh_token},
            timeout=TOKEN_TIMEOUT,
            allow_redirects=False,
        )
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Transient(f"the token endpoint answered {answer.status_code}")
        try:
            content: dict[str, Any] = answer.json() if answer.ok else {}
            token = content.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token:
            raise TokenRefused(
                "archive_refused",
                f"archive.dicomweb.token_url answered {answer.status_code} without an access"
                " token: the refresh token has expired or the client is not known; ask for a new"
                f" one, put it where the secrets are, and remove {STOP}",
            )
        return content


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
