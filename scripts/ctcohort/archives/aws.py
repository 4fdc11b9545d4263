"""AWS Signature Version 4, by botocore's own signer (an optional package)."""

from __future__ import annotations

import requests
from requests.auth import AuthBase

from ctcohort.base.faults import InputError


class SignatureV4(AuthBase):
    """Signs each request with the credentials that botocore finds: the environment's, a profile's
    or those of the machine's role, renewed as they expire.

    Parameters
    ----------
    service, region : str
        What the requests are signed for.
    """

    def __init__(self, service: str, region: str) -> None:
        try:
            from botocore.session import Session
        except ImportError:
            raise InputError(
                "archive.dicomweb.auth: aws_sigv4 needs the package botocore; install it where"
                " Snakemake runs: pip install --no-deps botocore jmespath"
            ) from None
        self._service, self._region = service, region
        self._credentials = Session().get_credentials()
        if self._credentials is None:
            raise InputError(
                "archive.dicomweb.auth is aws_sigv4, but no AWS credentials are found; expected in"
                " the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and"
                " AWS_SESSION_TOKEN), or in the profile that AWS_PROFILE names"
            )

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        # of the fields only Accept is signed: a proxy may change the others
        signed = {"Accept": request.headers["Accept"]} if "Accept" in request.headers else {}
        original = AWSRequest(method=request.method, url=request.url, headers=signed)
        SigV4Auth(self._credentials, self._service, self._region).add_auth(original)
        request.headers.update(dict(original.headers.items()))
        return request
