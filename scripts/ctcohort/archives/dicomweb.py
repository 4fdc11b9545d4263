"""A DICOMweb archive: QIDO-RS for what there is, WADO-RS for headers and files (PS3.18 10).

An answer is believed only where it proves itself: accessions are compared here, because archives
match them loosely; a reply is whole only at its closing delimiter, because archives send no length.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from requests.adapters import HTTPAdapter

from ctcohort.archives.credentials import TokenRefused, auth_of
from ctcohort.archives.manners import STOP, Manners
from ctcohort.archives.multipart import PartReader, boundary_of
from ctcohort.archives.network import NetworkArchive
from ctcohort.archives.protocol import Arrived, Changed, FoundSeries, Query, nobody
from ctcohort.archives.retrying import FIRST_SECONDS, Patience, Transient
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.naming import is_uid
from ctcohort.dicom.headers import CT_IMAGE, KEYWORDS, Header, header_of

JSON = "application/dicom+json"
STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Instances as they are stored (PS3.18 8.7.3.5.2): nothing is transcoded."""
ANY_SYNTAX = 'multipart/related; type="application/dicom"'
"""For archives that do not know the wildcard: the archive may decompress."""

SERIES_FIELDS = (
    "Modality",
    "NumberOfSeriesRelatedInstances",
    "SOPClassUID",
    "InstanceAvailability",
)
PAGE = 500

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 60.0
"""Longest wait for the next byte."""
RECALL_SECONDS = 3600.0
"""Longest silence of a series that is NEARLINE (PS3.3 C.4.23.1.1): one request, because each
further one may start another recall."""
SLOWEST = 1000.0
"""Bytes per second; an archive that stays below for SILENT_SECONDS has stalled."""
CHUNK = 1 << 18

BUSY = (408, 425, 429, 500, 502, 503, 504)

_Row = dict[str, Any]
"""A dataset as DICOM JSON (PS3.18 F.2)."""
_RESERVED = re.compile(r"[^A-Za-z0-9._~-]")


def _tag(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"


_TAGS = tuple(map(_tag, KEYWORDS))
_INSTANCE = tag_for_keyword("SOPInstanceUID")
_INCLUDE = [("includefield", _tag(keyword)) for keyword in SERIES_FIELDS]


class DicomwebArchive(NetworkArchive[_Row]):
    """See `protocol.Archive` and `network.NetworkArchive`."""

    def __init__(self, settings: Mapping[str, Any], *, key: bytes) -> None:
        super().__init__(settings, key=key)
        dicomweb = settings["dicomweb"]
        self.url = (dicomweb["url"] or "").rstrip("/")
        if not self.url:
            raise InputError(
                "archive.dicomweb.url is not set; expected the root of the archive's DICOMweb"
                " service, e.g. https://archive.example.org/dicom-web"
            )
        self.session = _session(dicomweb)
        self.session.auth = auth_of(dicomweb, _session(dicomweb))
        self._accept = STORED

    @staticmethod
    def text_of(row: _Row, keyword: str) -> str:
        return _value(row, keyword)

    def prepare(self, *, threads: int) -> None:  # noqa: ARG002
        """Ask for a study that cannot exist: address, certificate and secrets must be right."""
        patience = Patience(min(self.patience_seconds, FIRST_SECONDS))
        self._search("/studies", [("StudyInstanceUID", "1.2.3")], patience)

    def find(self, query: Query) -> list[FoundSeries]:
        patience = self.patience()
        return [
            self._found(study, row)
            for uid, study in self.matching_studies(query, patience).items()
            for row in self._search(f"/studies/{uid}/series", _INCLUDE, patience)
            if _value(row, "SeriesInstanceUID")
        ]

    def headers(self, series: FoundSeries) -> list[Header]:
        path = f"/studies/{series.study_uid}/series/{series.series_uid}/metadata"
        try:
            rows, _ = self.patience().insist(partial(self._json, "headers", path))
        except _NotThere:
            raise Changed(f"the archive no longer has series {series.series_uid}") from None
        found = (header_of(_dataset(row), key=self.key) for row in rows)
        named = {one.sop_instance_uid: one for one in found if is_uid(one.sop_instance_uid)}
        return list(named.values())

    def fetch(self, instances: Sequence[Header], into: Path, arrived: Arrived = nobody) -> None:
        """One stream for a series of which nothing is there yet; else one request per instance."""
        if not instances:
            return
        study, series = instances[0].study_uid, instances[0].series_uid
        patience = Patience(self.patience_seconds, reason="transfer_incomplete")
        transfer = _Transfer(into, arrived, self._longest_silence(study, series, patience))
        path = f"/studies/{study}/series/{series}"
        missing = {header.sop_instance_uid for header in instances}
        if not any(into.glob("*.dcm")):
            patience.insist(partial(self._stream, path, missing, transfer, patience))
        for uid in sorted(missing):
            url, one = f"{path}/instances/{uid}", {uid}
            patience.insist(partial(self._receive, url, one, transfer))

    def studies_with_uid(self, uid: str, patience: Patience) -> list[_Row]:
        return self._search("/studies", [("StudyInstanceUID", quote(uid, safe=""))], patience)

    def studies_with_accession(self, number: str, patience: Patience) -> list[_Row]:
        """Query for an accession; archives ignore case, take a comma for a list, or answer with
        everything, so that only answers with this number are returned.

        Orthanc 1.10 does not decode percent-encoded values. What it does not find is asked for
        again with a wildcard (PS3.4 C.2.2.2.4) for every character that had to be encoded.
        """
        encoded, wildcards = quote(number, safe=""), _RESERVED.sub("?", number)
        for value in dict.fromkeys((encoded, wildcards)):
            rows = self._search("/studies", [("AccessionNumber", value)], patience)
            rows = [row for row in rows if _value(row, "AccessionNumber") == number]
            if rows:
                return rows
        return []

    def _found(self, study: _Row, row: _Row) -> FoundSeries:
        modality, instances = _value(row, "Modality"), self.instance_count(row)
        at_most: int | None = None
        if modality not in ("", "CT"):
            at_most = 0
        elif instances and _value(row, "SOPClassUID") == CT_IMAGE:
            at_most = instances
        return self.found_series(study, row, instances=instances, slices_at_most=at_most)

    def _longest_silence(self, study: str, series: str, patience: Patience) -> float:
        """How long the archive may need for the next byte of a series."""
        terms = [("SeriesInstanceUID", series), *_INCLUDE]
        for row in self._search(f"/studies/{study}/series", terms, patience):
            if _value(row, "SeriesInstanceUID") == series:
                if _value(row, "InstanceAvailability") == "OFFLINE":
                    raise Changed(f"series {series} is no longer online")
                if _value(row, "InstanceAvailability") == "NEARLINE":
                    return RECALL_SECONDS
        return SILENT_SECONDS

    def _search(
        self, path: str, terms: Sequence[tuple[str, str]], patience: Patience
    ) -> list[_Row]:
        """All pages of a QIDO-RS search (PS3.18 10.6); `terms` are encoded."""
        rows: dict[str, _Row] = {}
        offset = 0
        while True:
            paging = [("limit", str(PAGE)), ("offset", str(offset))]
            query = "&".join(f"{key}={value}" for key, value in [*terms, *paging])
            try:
                page, more = patience.insist(partial(self._json, "find", f"{path}?{query}"))
            except _NotThere:
                raise Fault(
                    "archive_refused",
                    f"archive.dicomweb.url: {self.url} has no {path.split('/')[1]}; expected the"
                    " root of a DICOMweb service, e.g. https://archive.example.org/dicom-web",
                ) from None
            known = len(rows)
            rows |= {json.dumps(row, sort_keys=True): row for row in page}
            offset += len(page)
            if len(rows) == known or (len(page) < PAGE and not more):
                return list(rows.values())

    def _json(self, what: str, path: str) -> tuple[list[_Row], bool]:
        """Rows of a JSON answer, and whether the archive says that there are more."""
        with self._request(what, path, {"Accept": JSON}, SILENT_SECONDS) as reply:
            body = b"".join(reply.chunks)
            if reply.response.status_code == 204 or not body:
                return [], False
            if "json" not in reply.response.headers.get("Content-Type", ""):
                raise _not_dicomweb(reply.response)
            try:
                rows = json.loads(body)
            except ValueError:
                raise Transient("the archive's answer is cut off") from None
            if not isinstance(rows, list):
                raise _not_dicomweb(reply.response)
            return rows, reply.response.headers.get("Warning", "").startswith("299")

    def _stream(
        self, path: str, missing: set[str], transfer: _Transfer, patience: Patience
    ) -> None:
        """Receive a whole series; a stream that breaks after something came is not begun anew."""
        all_of_them = len(missing)
        try:
            self._receive(path, missing, transfer)
        except Transient as error:
            if len(missing) == all_of_them:
                raise
            patience.pause(error)

    def _receive(self, path: str, missing: set[str], transfer: _Transfer) -> None:
        """Write the instances of a reply to files, taking each out of `missing`."""
        fields = {"Accept": self._accept, "Accept-Encoding": "identity"}
        into = transfer.into
        try:
            with self._request("fetch", path, fields, transfer.silence) as reply:
                boundary = boundary_of(reply.response.headers.get("Content-Type", ""))
                if boundary is None:
                    raise _not_dicomweb(reply.response)
                for part in PartReader(reply.chunks, boundary).files(into):
                    uid = _instance_of(part)
                    if uid in missing:
                        transfer.arrived(part.rename(into / f"{uid}.dcm"))
                        missing.discard(uid)
                    elif not (into / f"{uid}.dcm").exists():
                        raise Changed("the series has instances that the archive had not listed")
        except _NotThere:
            raise Changed("the archive no longer has what it had listed") from None
        except _NotAccepted:
            if self._accept == ANY_SYNTAX:
                raise
            self._accept = ANY_SYNTAX
            self._receive(path, missing, transfer)
        if missing:
            raise Transient(f"{len(missing)} instances did not come with a reply that is whole")

    @contextmanager
    def _request(
        self, what: str, path: str, fields: dict[str, str], silence: float
    ) -> Iterator[_Reply]:
        """One request and its reply, if the archive grants it."""
        self.manners.before_request()
        reply, answer = None, "refused"
        try:
            with self.session.get(
                f"{self.url}{path}",
                headers=fields,
                stream=True,
                timeout=(CONNECT_SECONDS, silence),
                allow_redirects=False,
            ) as response:
                answer = str(response.status_code)
                self._grant(response)
                reply = _Reply(response, self.manners)
                yield reply
        except TokenRefused as fault:
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
        if status in (401, 403):
            cause = f"{self.url} answered {status}: " + (
                "user, password or token is wrong or has expired"
                if status == 401
                else "this account may not read it"
            )
            self.manners.stop(cause)
            raise Fault(
                "archive_refused",
                f"{cause}; mend the secrets or ask the archive's administrator, then remove {STOP}",
            )
        if status in BUSY:
            raise Transient(f"the archive answered {status}", wait=_retry_after(response))
        if status == 404:
            raise _NotThere(f"{self.url} answered 404")
        if status in (400, 406, 415):
            raise _NotAccepted(
                "archive_refused",
                f"{self.url} answered {status}: it does not understand the request; check that"
                " archive.dicomweb.url is the root of its DICOMweb service",
            )
        if not response.ok or status >= 300:
            raise Fault(
                "archive_refused",
                f"{self.url} answered {status}; expected 200. If it redirects, put the address it"
                " redirects to into archive.dicomweb.url",
            )


@dataclass(frozen=True)
class _Transfer:
    """Where instances go, who is told of each, and how long the next byte may take, in seconds."""

    into: Path
    arrived: Arrived
    silence: float


class _NotThere(Exception):
    """404."""


class _NotAccepted(Fault):
    """400, 406 or 415."""


class _Reply:
    """A reply that is being read: its body as chunks, and how many bytes have come."""

    def __init__(self, response: requests.Response, manners: Manners) -> None:
        self.response = response
        self.size = 0
        self.chunks = self._read(manners)

    def _read(self, manners: Manners) -> Iterator[bytes]:
        """Chunks as the network brings them; a reply that trickles counts as stalled."""
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


def _session(dicomweb: Mapping[str, Any]) -> requests.Session:
    """One connection; certificates are always verified, and the environment changes nothing."""
    for name in ("ca_bundle", "client_certificate", "client_key"):
        path = dicomweb[name]
        if path and not Path(path).is_file():
            raise InputError(f"archive.dicomweb.{name}: {path} is not a file; expected a PEM file")
    session = requests.Session()
    session.trust_env = False
    session.verify = dicomweb["ca_bundle"] or True
    certificate, key = dicomweb["client_certificate"], dicomweb["client_key"]
    session.cert = (certificate, key) if certificate and key else certificate
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, pool_block=True)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _broken(error: Exception, *, recalled: bool, bare: bool) -> Exception:
    """What a connection's failure means: certificates are permanent, the rest is not.

    `recalled`: a NEARLINE series was waited for. `bare`: this side shows no certificate.
    """
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return Fault(
            "archive_refused",
            "the archive's certificate is not trusted, or names another host; put the CA that"
            " signed it into archive.dicomweb.ca_bundle, or mend the host in archive.dicomweb.url",
        )
    if isinstance(error, requests.exceptions.SSLError) and "ALERT" in text.upper():
        return Fault(
            "archive_refused",
            "the archive refused this side's certificate; set archive.dicomweb.client_certificate"
            " and client_key to what its administrator gave you",
        )
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


def _not_dicomweb(response: requests.Response) -> Fault:
    kind = response.headers.get("Content-Type", "nothing").split(";")[0]
    return Fault(
        "archive_refused",
        f"{response.url.split('?')[0]} answered with {kind}, not with DICOM: a login page or a"
        " proxy may stand before the archive; check archive.dicomweb.url and auth",
    )


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that Retry-After asks for: a number or a date (RFC 9110 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _value(row: _Row, keyword: str) -> str:
    """First value of an attribute of a DICOM JSON row (PS3.18 F.2), as text; "" where none."""
    values = row.get(_tag(keyword), {}).get("Value") or [""]
    return "" if values[0] is None else str(values[0]).strip(" \0")


def _dataset(row: _Row) -> Dataset:
    """The part of a /metadata row that `headers.header_of` reads."""
    return Dataset.from_json({tag: row[tag] for tag in _TAGS if tag in row})


def _instance_of(path: Path) -> str:
    """SOPInstanceUID of a received file: nothing behind it is read."""
    try:
        with open(path, "rb") as stream:
            dataset = read_partial(stream, lambda tag, *_: tag > _INSTANCE)
    except Exception:
        raise Transient("a part of the reply is not a DICOM file") from None
    return str(dataset.get("SOPInstanceUID", "")).strip()
