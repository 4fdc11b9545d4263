"""The ways to log in to a DICOMweb archive."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import requests
from requests.auth import AuthBase

from ctcohort.archives.credentials import SessionOf, needed_secrets, secrets
from ctcohort.base.faults import InputError

SETTINGS = {
    "oauth2_refresh": ("token_url",),
    "oauth2_client_credentials": ("token_url",),
    "command": ("token_command",),
    "aws_sigv4": ("aws_region",),
}
"""Keys of `archive.dicomweb` that a way of `auth` needs."""


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
