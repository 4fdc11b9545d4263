"""Logins by an access token in the Authorization field (RFC 6750)."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import re
import subprocess
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from requests.auth import AuthBase

from ctcohort.archives.credentials import SessionOf
from ctcohort.archives.manners import STOP
from ctcohort.archives.protocol import Stopped
from ctcohort.archives.retrying import Transient
from ctcohort.base.files import write_bytes
from ctcohort.base.workdir import Workdir

TOKENS = Workdir().tokens
"""What was given last; private as the rest of the store."""

TOKEN_TIMEOUT = (10.0, 60.0)
COMMAND_SECONDS = 120.0

USED = 0.9
"""The part of an access token's life in which it is used."""
UNTOLD_SECONDS = 300.0
"""How long an access token is used where nobody says."""

_ERROR = re.compile(r"[a-z_]{1,40}")
"""An error code of a token endpoint (RFC 6749 5.2)."""
_LONGEST_TEXT = 200


class TokenRefused(Stopped):
    """There is no token to be had: asking again would not help."""


class Token(AuthBase):
    """A token that is asked for again, once, where the archive answers 401."""

    def __init__(self, session_of: SessionOf) -> None:
        self._session_of = session_of

    @abstractmethod
    def token(self, *, refused: str = "") -> str:
        """Return a token, another one than what the archive has `refused`, if there is."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token()}"
        request.hooks["response"].append(self._again)
        return request

    def _again(self, response: requests.Response, **options: Any) -> requests.Response:
        if response.status_code != 401:
            return response
        shown = response.request.headers["Authorization"].removeprefix("Bearer ")
        token = self.token(refused=shown)
        if token == shown:
            return response
        response.close()
        again = response.request.copy()
        again.headers["Authorization"] = f"Bearer {token}"
        return self._session_of(str(again.url)).get_adapter(str(again.url)).send(again, **options)


class Bearer(Token):
    """A token that somebody else renews: read again, once, where the archive answers 401."""

    def __init__(self, read: Callable[[], str], session_of: SessionOf) -> None:
        super().__init__(session_of)
        self._read = read
        self._value = read()

    def token(self, *, refused: str = "") -> str:
        """Return the token; after a refusal of this one, another."""
        if refused:
            self._value = self._read()
        return self._value


class SharedToken(Token):
    """A token that all jobs share until nine tenths of its life are over.

    What was given last is kept in a private file of the working directory, and one job at a time
    asks: a token endpoint may void what it gave before (RFC 6749 10.4).

    Parameters
    ----------
    given : str
        What a person has set; another value takes the place of what is kept.
    """

    def __init__(self, given: str, session_of: SessionOf) -> None:
        super().__init__(session_of)
        self._given = hashlib.sha256(given.encode()).hexdigest()

    @abstractmethod
    def ask(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Return `access_token`, `until` (seconds since the epoch) and what is to be kept."""

    def token(self, *, refused: str = "") -> str:
        """Return the token; after a refusal of this one, another."""
        TOKENS.parent.mkdir(parents=True, exist_ok=True)
        with open(TOKENS.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self._kept()
            token = str(kept.get("access_token", ""))
            if token and kept["until"] > time.time() and token != refused:
                return token
            answer = self.ask(kept)
            write_bytes(TOKENS, json.dumps({"given": self._given, **answer}).encode())
            return str(answer["access_token"])

    def _kept(self) -> dict[str, Any]:
        """Return what was kept for what a person has set; empty where it was something else."""
        try:
            kept: dict[str, Any] = json.loads(TOKENS.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if kept.get("given") == self._given else {}


class OAuth2(SharedToken):
    """An access token from a token endpoint, for a refresh token (RFC 6749 6) or for the client
    itself (RFC 6749 4.4).

    Parameters
    ----------
    url : str
        The token endpoint.
    fields : mapping
        What it is sent: grant_type and, as it wants, client_id, client_secret, refresh_token,
        scope, audience (Keycloak, Auth0) or resource (RFC 8707, Azure).
    client : (str, str) or None
        The client's name and secret where it shows them by HTTP Basic (RFC 6749 2.3.1).
    """

    def __init__(
        self,
        url: str,
        fields: Mapping[str, str],
        client: tuple[str, str] | None,
        session_of: SessionOf,
    ) -> None:
        given = fields.get("refresh_token") or json.dumps([url, fields, client], sort_keys=True)
        super().__init__(given, session_of)
        self._url = url
        self._fields = dict(fields)
        self._client = client
        self._session = session_of(url)

    def ask(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """See `SharedToken.ask`."""
        fields = dict(self._fields)
        if "refresh_token" in fields:
            fields["refresh_token"] = str(kept.get("refresh_token", fields["refresh_token"]))
        headers = {"Accept": "application/json"}
        if self._client:
            name, secret = (quote(text, safe="") for text in self._client)
            shown = base64.b64encode(f"{name}:{secret}".encode()).decode()
            headers["Authorization"] = f"Basic {shown}"
        answer = self._session.post(
            self._url, data=fields, headers=headers, timeout=TOKEN_TIMEOUT, allow_redirects=False
        )
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Transient(f"the token endpoint answered {answer.status_code}")
        content = _json_object(answer)
        token = content.get("access_token")
        if not answer.ok or not isinstance(token, str) or not token:
            raise TokenRefused("archive_refused", self._refusal(answer.status_code, content))
        kept_on = {"access_token": token, "until": _until(content, token)}
        if "refresh_token" in fields:
            kept_on["refresh_token"] = content.get("refresh_token") or fields["refresh_token"]
        return kept_on

    def _refusal(self, status: int, content: Mapping[str, Any]) -> str:
        """Return what the endpoint says, as it says it, without a secret."""
        error = content.get("error")
        said = f" {error}" if isinstance(error, str) and _ERROR.fullmatch(error) else ""
        text = content.get("error_description")
        if said and isinstance(text, str):
            for secret in (*self._fields.values(), *(self._client or ())):
                text = text.replace(secret, "***")
            said += f" ({' '.join(text.split())[:_LONGEST_TEXT]})"
        what = (
            "the refresh token has expired or the client is not known; ask for a new one, put it"
            if "refresh_token" in self._fields
            else "check the client, its secret, archive.dicomweb.scope, audience, resource and"
            " client_auth, put what is right"
        )
        return (
            f"archive.dicomweb.token_url answered {status}{said} without an access token: {what}"
            f" where the secrets and the config are, and remove {STOP}"
        )


class Command(SharedToken):
    """A token that a command of the user's prints, alone or in JSON.

    Parameters
    ----------
    command : sequence of str
        Such as ``gcloud auth print-access-token``; it is not run by a shell.
    """

    def __init__(self, command: Sequence[str], session_of: SessionOf) -> None:
        super().__init__(json.dumps(list(command)), session_of)
        self._command = list(command)

    def ask(self, kept: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """See `SharedToken.ask`."""
        name = Path(self._command[0]).name
        where = f"archive.dicomweb.token_command: {name}"
        try:
            done = subprocess.run(  # noqa: S603
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it may quote a secret
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Transient(f"{where} did not end within {COMMAND_SECONDS:.0f} s") from None
        except OSError as error:
            raise TokenRefused(
                "archive_refused",
                f"{where} cannot be run ({error.strerror}); fix the command and remove {STOP}",
            ) from None
        printed = done.stdout.decode(errors="replace").strip()
        content = _parsed(printed)
        token = content.get("access_token") or content.get("accessToken") or printed
        if done.returncode or not re.fullmatch(r"[\x21-\x7e]+", str(token)):
            raise TokenRefused(
                "archive_refused",
                f"{where} ended with status {done.returncode} and printed no token; run it by hand,"
                f" log in where it asks for that, and remove {STOP}",
            )
        return {"access_token": token, "until": _until(content, str(token))}


def _json_object(answer: requests.Response) -> dict[str, Any]:
    return _parsed(answer.text)


def _parsed(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _until(content: Mapping[str, Any], token: str) -> float:
    """Return when a token is no longer to be used: what is said beside it or, in a JSON Web Token
    (RFC 7519), in it."""
    now = time.time()
    lasts = content.get("expires_in")
    try:
        if lasts is not None:
            return now + float(lasts) * USED
        end = content.get("expires_on") or content.get("expiresOn") or _expiry_inside(token)
        if isinstance(end, str) and not end.isdecimal():
            end = datetime.fromisoformat(end).timestamp()
        if end is not None:
            return now + (float(end) - now) * USED
    except (TypeError, ValueError):
        pass
    return now + UNTOLD_SECONDS * USED


def _expiry_inside(token: str) -> float | None:
    """Return the time at which a JSON Web Token expires; None for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        inside = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(inside["exp"])
    except (ValueError, KeyError, TypeError):
        return None
