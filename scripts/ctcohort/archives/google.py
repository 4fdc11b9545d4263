"""A Google service account, by google-auth (an optional package)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from ctcohort.archives.credentials import SessionOf
from ctcohort.archives.manners import STOP
from ctcohort.archives.retrying import Transient
from ctcohort.archives.tokens import USED, SharedToken, TokenRefused
from ctcohort.base.faults import InputError
from ctcohort.base.privacy import must_be_private

SCOPE = "https://www.googleapis.com/auth/cloud-healthcare"


class ServiceAccount(SharedToken):
    """Access tokens for the key file of a service account.

    Parameters
    ----------
    path : str
        The key file (JSON), private to its owner.
    scope : str or None
        With blanks between where there are several; None for that of the Healthcare API.
    """

    def __init__(self, path: str, scope: str | None, session_of: SessionOf) -> None:
        scopes = (scope or SCOPE).split()
        super().__init__(f"{path} {scopes}", session_of)
        try:
            from google.oauth2 import service_account
        except ImportError:
            raise InputError(
                "archive.dicomweb.auth: google needs the package google-auth; install it where"
                " Snakemake runs, e.g. pip install google-auth"
            ) from None
        must_be_private(path, "CT_COHORT_GOOGLE_KEY_FILE")
        try:
            self._credentials = service_account.Credentials.from_service_account_file(
                path, scopes=scopes
            )
        except ValueError:
            raise InputError(
                f"CT_COHORT_GOOGLE_KEY_FILE: {path} is not the key file of a service account"
            ) from None

    def ask(self, kept: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """See `tokens.SharedToken.ask`."""
        from google.auth.exceptions import RefreshError, TransportError
        from google.auth.transport.requests import Request

        try:
            self._credentials.refresh(Request(self._session_of("https://oauth2.googleapis.com")))
        except TransportError:
            raise Transient("Google's token endpoint did not answer") from None
        except RefreshError as error:
            if error.retryable:
                raise Transient("Google's token endpoint failed") from None
            raise TokenRefused(
                "archive_refused",
                "Google's token endpoint gives no token for the key file: the key may have been"
                f" withdrawn, or the clock be wrong; fix it and remove {STOP}",
            ) from None
        now = time.time()
        end = self._credentials.expiry.replace(tzinfo=UTC).timestamp()
        return {"access_token": self._credentials.token, "until": now + (end - now) * USED}
