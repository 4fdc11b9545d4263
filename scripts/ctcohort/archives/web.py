"""HTTP requests to an archive: one connection, its login, and what each answer means."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from ctcohort.archives.login import auth_of
from ctcohort.archives.manners import STOP, Manners
from ctcohort.archives.protocol import Stopped
from ctcohort.archives.retrying import Transient
from ctcohort.base.faults import Fault, InputError
from ctcohort.dicom.dicom_json import Row

JSON = ("application/dicom+json", "application/json")
"""Media types of JSON, asked for in turn; the second is that of archives before 2016."""

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 60.0
"""Longest wait for the next byte."""
RECALL_SECONDS = 3600.0
"""Longest silence of a series that is NEARLINE (PS3.3 C.4.23.1.1): one request, because each
further one may start another recall."""
SLOWEST = 1000.0
"""Bytes per second; an archive that stays below for SILENT_SECONDS has stalled."""
CHUNK = 1 << 18

BUSY = (408, 424, 425, 429, 502, 503, 504)
UNSUPPORTED = (400, 405, 406, 413, 414, 415, 416, 422, 501)
"""Answers of an archive that does not do what was asked, or not in this way."""


_UNVERIFIED = re.compile(r"certificate verify failed: ([^()]+?)\.? \(")
"""OpenSSL's own words, e.g. `certificate has expired`."""


class Refused(Fault):
    """The archive does not do what was asked; `status` is its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__("archive_refused", message)
        self.status = status


class NotThere(Refused):
    """404 or 410."""


class Forbidden(Refused):
    """403."""


class ServerError(Transient):
    """500: the archive failed at what was asked."""


class Web:
    """Requests to the DICOMweb service of the config.

    Parameters
    ----------
    settings : mapping
        The config's `archive`.
    manners : Manners
        The limits to keep to.
    """

    def __init__(self, settings: Mapping[str, Any], manners: Manners) -> None:
        dicomweb = settings["dicomweb"]
        self.manners = manners
        self.url = (dicomweb["url"] or "").rstrip("/")
        if not self.url:
            raise InputError(
                "archive.dicomweb.url is not set; expected the root of the archive's DICOMweb"
                " service, e.g. https://archive.example.org/dicom-web"
            )
        self._kinds: dict[str, tuple[str, ...]] = {}
        self._searching = _prefixed(self.url, dicomweb["qido_prefix"])
        self._retrieving = _prefixed(self.url, dicomweb["wado_prefix"])
        self.session = session_of(dicomweb, self.url)
        self.session.auth = auth_of(dicomweb, partial(session_of, dicomweb))

    def search(self, path: str) -> tuple[list[Row], bool]:
        """Return the rows of a search, and whether the archive says that there are more.

        Raises
        ------
        Transient
            The answer is cut off, or has neither a length nor a body: that is not "nothing found".
        """
        return self._json("find", f"{self._searching}{path}", nothing=_says_nothing)

    def metadata(self, path: str) -> tuple[list[Row], bool]:
        """Return the rows about the instances of a series, and whether they are not all.

        Raises
        ------
        Transient
            The answer is cut off or empty: a series has at least one instance.
        """
        url = f"{self._retrieving}{path}"
        return self._json("headers", url, nothing=lambda _response: False)

    @contextmanager
    def instances(self, path: str, accept: str, silence: float) -> Iterator[Reply]:
        """Ask for instances; `silence` is the longest wait for the next byte, in seconds."""
        with self._request("fetch", f"{self._retrieving}{path}", accept, silence) as reply:
            yield reply

    def _json(self, what: str, url: str, *, nothing: Any) -> tuple[list[Row], bool]:
        """Read rows in the first media type that the archive does not refuse, and remember it."""
        kinds = self._kinds.get(what, JSON)
        for kind in kinds:
            try:
                with self._request(what, url, kind, SILENT_SECONDS) as reply:
                    answer = _rows(reply, nothing=nothing)
            except Refused as refused:
                if refused.status not in (406, 415) or kind == kinds[-1]:
                    raise
            else:
                self._kinds[what] = (kind,)
                return answer
        raise AssertionError("the last kind returns or raises")

    @contextmanager
    def _request(self, what: str, url: str, accept: str, silence: float) -> Iterator[Reply]:
        """One request and its reply, if the archive grants it."""
        self.manners.before_request()
        reply, answer = None, "refused"
        encoding = {"Accept-Encoding": "identity"} if what == "fetch" else {}
        try:
            with self.session.get(
                url,
                headers={"Accept": accept, **encoding},
                stream=True,
                timeout=(CONNECT_SECONDS, silence),
                allow_redirects=False,
            ) as response:
                answer = str(response.status_code)
                self._grant(response)
                reply = Reply(response, self.manners)
                yield reply
        except Stopped as fault:
            # no token is to be had, or nothing may be asked any more
            self.manners.stop(str(fault))
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            answer = f"{answer} broken"
            recalled, bare = silence == RECALL_SECONDS, not self.session.cert
            raise _broken(error, recalled=recalled, bare=bare) from None
        except Transient:
            answer = f"{answer} broken"
            raise
        finally:
            self.manners.after_request(what, reply.size if reply else 0, answer)

    def _grant(self, response: requests.Response) -> None:
        """Raise unless the archive grants the request."""
        status = response.status_code
        if status == 401:
            cause = f"{self.url} answered 401: user, password or token is wrong or has expired"
            self.manners.stop(cause)
            raise Stopped("archive_refused", f"{cause}; fix the secrets, then remove {STOP}")
        if status == 403:
            self._forbidden()
        if status == 202:
            raise Transient("the archive answered 202, not yet", wait=_retry_after(response))
        if status in BUSY:
            raise Transient(f"the archive answered {status}", wait=_retry_after(response))
        if status == 500:
            raise ServerError("the archive answered 500", wait=_retry_after(response))
        if status in (404, 410):
            raise NotThere(status, f"{self.url} answered {status}: it does not have what was asked")
        if status in UNSUPPORTED:
            raise Refused(
                status,
                f"{self.url} answered {status}: it does not understand the request; check that"
                " archive.dicomweb.url is the root of its DICOMweb service",
            )
        if status >= 500:
            raise Transient(f"the archive answered {status}", wait=_retry_after(response))
        if not response.ok or status >= 300:
            said = f"{self.url} answered {status}; expected 200"
            host = urlsplit(response.headers.get("Location", "")).hostname
            if host:
                said += (
                    f". It redirects to {host}, which is not followed, so that no login goes"
                    " elsewhere: put the new address into archive.dicomweb.url, or, where only"
                    " files are there, have the archive's administrator let it send them itself"
                )
            raise Fault("archive_refused", said)

    def _forbidden(self) -> None:
        """Raise for 403: one study may be restricted, or a quota used up, where others are granted.
        Where nothing has been granted yet, the account may read nothing."""
        cause = f"{self.url} answered 403: this account may not read it, or its quota is used up"
        if self.manners.has_been_granted():
            raise Forbidden(403, f"{cause}; ask the archive's administrator")
        self.manners.stop(cause)
        raise Stopped(
            "archive_refused",
            f"{cause}; fix the secrets or ask the archive's administrator, then remove {STOP}",
        )


class Reply:
    """A reply that is being read: its body as chunks, and how many bytes have come."""

    def __init__(self, response: requests.Response, manners: Manners) -> None:
        self.response = response
        self.kind = response.headers.get("Content-Type", "").strip().lower()
        self.size = 0
        self.chunks = self._read(manners)

    @property
    def has_length(self) -> bool:
        """Return True if the end of the body can be told from a broken connection."""
        return _has_length(self.response)

    def _read(self, manners: Manners) -> Iterator[bytes]:
        """Yield the body as the network brings it; a reply that trickles counts as stalled."""
        waited, came = 0.0, 0
        while True:
            started = time.monotonic()
            chunk = self.response.raw.read1(CHUNK, decode_content=True)
            if not chunk:
                return
            waited += time.monotonic() - started
            came += len(chunk)
            self.size += len(chunk)
            if waited > SILENT_SECONDS:
                if came < SLOWEST * waited:
                    raise Transient(f"the archive sent less than {SLOWEST:.0f} bytes per second")
                waited, came = 0.0, 0
            manners.received(len(chunk))
            yield chunk


def session_of(dicomweb: Mapping[str, Any], url: str) -> requests.Session:
    """Return one connection to an address.

    Certificates are always verified. Of the environment only the proxies are taken, and
    `archive.dicomweb.proxy` overrides them.
    """
    for name in ("ca_bundle", "client_certificate", "client_key"):
        path = dicomweb[name]
        if path and not Path(path).is_file():
            raise InputError(f"archive.dicomweb.{name}: {path} is not a file; expected a PEM file")
    session = requests.Session()
    session.trust_env = False
    proxy = dicomweb["proxy"]
    session.proxies = (
        {"http": proxy, "https": proxy} if proxy else requests.utils.get_environ_proxies(url)
    )
    session.verify = dicomweb["ca_bundle"] or True
    certificate, key = dicomweb["client_certificate"], dicomweb["client_key"]
    session.cert = (certificate, key) if certificate and key else certificate
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, pool_block=True)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def longest_silence(availability: str) -> float:
    """Return how long the archive may need for the next byte of a series, by its
    InstanceAvailability."""
    return RECALL_SECONDS if availability == "NEARLINE" else SILENT_SECONDS


def not_dicomweb(response: requests.Response) -> Fault:
    """Return the fault of an answer that is something else, such as a login page."""
    kind = response.headers.get("Content-Type", "nothing").split(";")[0]
    return Fault(
        "archive_refused",
        f"{response.url.split('?')[0]} answered with {kind}, not with DICOM: a login page or a"
        " proxy may stand before the archive; check archive.dicomweb.url and auth",
    )


def _prefixed(url: str, prefix: str | None) -> str:
    return f"{url}/{prefix.strip('/')}" if prefix else url


def _rows(reply: Reply, *, nothing: Any) -> tuple[list[Row], bool]:
    """Read a JSON answer; `nothing` says whether an answer without a body means no rows."""
    response = reply.response
    body = b"".join(reply.chunks)
    if not body.strip():
        if nothing(response):
            return [], False
        raise Transient(f"the archive's answer ({response.status_code}) is empty")
    try:
        rows = _loaded(body)
    except ValueError:
        if "json" not in reply.kind:
            raise not_dicomweb(response) from None
        raise Transient("the archive's answer is cut off, or no JSON") from None
    if not isinstance(rows, list):
        raise not_dicomweb(response)
    more = response.status_code == 206 or response.headers.get("Warning", "").startswith("299")
    return [row for row in rows if isinstance(row, dict)], more


def _loaded(body: bytes) -> Any:
    """Return what JSON holds, in UTF-8 (PS3.18 F.2), or in bytes as the files have them."""
    try:
        return json.loads(body)
    except UnicodeDecodeError:
        return json.loads(body.decode("latin-1"))


def _says_nothing(response: requests.Response) -> bool:
    return response.status_code == 204 or _has_length(response)


def _has_length(response: requests.Response) -> bool:
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return chunked or "Content-Length" in response.headers


def _broken(error: Exception, *, recalled: bool, bare: bool) -> Exception:
    """Return what a connection's failure means: certificates are permanent, the rest is not.

    `recalled`: a NEARLINE series was waited for. `bare`: this side shows no certificate.
    """
    text = str(error)
    if unverified := _UNVERIFIED.search(text):
        return Fault(
            "archive_refused",
            f"the archive's certificate is not trusted ({unverified[1]}); put the CA that signed"
            " it, and every intermediate that the archive does not send, into"
            " archive.dicomweb.ca_bundle, or fix the host in archive.dicomweb.url",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return Transient(
            "the proxy did not connect to the archive; check archive.dicomweb.proxy, or the"
            " variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        )
    if isinstance(error, requests.exceptions.SSLError) and "ALERT" in text.upper():
        own = (
            "wants a certificate of this side, or another one; set"
            " archive.dicomweb.client_certificate and client_key to what its administrator gave you"
        )
        if "PROTOCOL_VERSION" in text:
            own = (
                "speaks only versions of TLS that are no longer safe; ask its administrator for 1.2"
            )
        elif "HANDSHAKE_FAILURE" in text:
            own += ". Or it knows only ciphers that this machine's OpenSSL refuses"
        return Fault("archive_refused", f"the archive refused the TLS handshake: it {own}")
    if isinstance(error, (requests.Timeout, urllib3.exceptions.ReadTimeoutError)) or (
        "timed out" in text
    ):
        if recalled:
            return Fault(
                "archive_unreachable",
                f"the archive did not bring the series online within {RECALL_SECONDS:.0f} s; it may"
                " still do so: run again later",
                transient=True,
            )
        return Transient("the archive did not answer in time")
    if "refused" in text:
        return Transient("the archive refused the connection")
    if "resolve" in text or "Name or service" in text:
        return Transient("the archive's host name is not known")
    request = getattr(error, "request", None)
    if bare and request is not None and str(request.url).startswith("https:"):
        return Transient(
            "the connection to the archive broke; where it always does, it may not speak https at"
            " this port, or want a certificate of this side (archive.dicomweb.client_certificate)"
        )
    return Transient("the connection to the archive broke")


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds that Retry-After asks for: a number or a date (RFC 9110 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
