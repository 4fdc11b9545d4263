"""One DICOMweb server that answers as other archives are documented, or reported, to answer.

What it holds is the truth, and the number of instances that it tells of a series is too, if it
tells one. Everything else may be short, odd or refused, as `Lies` says; `PROFILES` names mixtures.
"""

from __future__ import annotations

import codecs
import email.utils
import gzip
import json
import re
import socket
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydicom.datadict import tag_for_keyword
from pydicom.uid import ExplicitVRLittleEndian

from .dicomweb_server import _PATH, LEVELS, ROOT, Stored, _Http, _matches

MULTIPART = 'multipart/related; type="application/dicom"'

MAIN_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "AccessionNumber",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "Manufacturer",
    "BodyPartExamined",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "NumberOfFrames",
    "AcquisitionNumber",
)
"""What Orthanc keeps in its database and tells with SeriesMetadata: MainDicomTags."""


IN_A_FILE = b"\r\n--boundary of two tissues\0"
"""What pixel data may end in, by chance."""


def _as_texts(element: Any) -> Any:
    values = element.get("Value", [])
    texts = [str(value) if isinstance(value, (int, float)) else value for value in values]
    return {**element, "Value": texts} if values else element


def _first_value(element: Any) -> Any:
    return {**element, "Value": element["Value"][:1]} if element.get("Value") else element


def _joined(element: Any) -> Any:
    if len(element.get("Value", [])) < 2 or element["vr"] == "SQ":
        return element
    return {**element, "Value": ["\\".join(map(str, element["Value"]))]}


def _no_number(element: Any) -> Any:
    if element.get("vr") not in ("DS", "FD", "FL"):
        return element
    return {**element, "Value": [float("nan"), "NaN", "-Infinity", 1e999][: len(element["Value"])]}


def _padded(element: Any) -> Any:
    values = element.get("Value", [])
    padded = [f"{value}\0" if isinstance(value, str) else value for value in values]
    return {**element, "Value": padded} if values else element


def _elsewhere(element: Any) -> Any:
    if element.get("vr") not in ("DS", "CS", "SQ"):
        return element
    return {"vr": element["vr"], "BulkDataURI": "../bulkdata/1"}


_CHANGES = {
    "numbers as text": _as_texts,
    "first values": _first_value,
    "joined values": _joined,
    "no numbers": _no_number,
    "NUL behind text": _padded,
    "bulk data": _elsewhere,
}


def tag(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"


@dataclass(frozen=True)
class Lies:
    """How the server differs from one that does all that it is asked.

    Attributes
    ----------
    page : the most rows of one page of a search, without a word
    hints : "206" or "299" where a page is not the last one
    largest_limit : a larger `limit` is answered with 400
    fields : whether it heeds `includefield`; 400 where not
    ignores_offset : every page is the first one
    rows_change : no row is the same twice
    nothing : the status of a search that finds nothing
    odd_search : a search of which the first answer is "empty" (200, no length, no body) or "202"
    counts : whether it tells NumberOfStudyRelatedSeries and NumberOfSeriesRelatedInstances
    doubled : instances of a series that are counted and told twice
    lists : whether `/instances` can be searched
    listed, described, streamed : the most instances of a list, of `/metadata`, of a series
    metadata : the status of `/metadata`, 200 where it has it
    odd_metadata : first answers "200", "202" or "204" without a body
    odd_always : whether they are the only ones
    told : the attributes that `/metadata` tells; all where empty
    malformed : elements that stand in every row of `/metadata`
    foreign : whether rows of another series stand in `/metadata` and in lists
    json_type : Content-Type of JSON; None for no field at all
    series : the status of a whole series, 200 where it gives it
    instance_forms : "multipart", "single" or both
    wildcard : the status of `transfer-syntax=*`, 200 where it knows it
    not_yet : the first answers to a retrieval are 202
    form : of multipart replies: "plain", "blanks", "mixed", "lf", "lengths", "wrong lengths",
        "fixed" (a boundary that stands in a file too), "words" (one with blanks), "quoted" (in
        single quotes) or "unclosed" (no closing delimiter)
    forbidden : accessions whose study is answered with 403, at "search" or at "retrieve"
    forbidden_at : where that is
    fails : every so manieth retrieval is cut in half; 0 for none
    prefixes : what stands before the paths of searches and of retrievals
    filters : whether searches heed what they are asked for
    lists_series : whether the series of a study can be searched; nothing is found where not
    tells_accession : whether the answers to a search tell AccessionNumber
    json : of rows: "plain", "numbers as text", "first values" (of several), "joined values" (in one
        text), "no numbers" (NaN and infinities), "NUL behind text", "bulk data" (elsewhere), "BOM",
        "Latin-1" or "damaged" (`/metadata` is no JSON, ever)
    accepts : the one media type of JSON that it gives
    encoding : the Content-Encoding of every reply, even where it is not accepted
    chunked : whether replies come in chunks, without a length
    closes : whether it speaks HTTP/1.0: no lengths, a connection for each request
    always_single : whether an instance is a single part even where several are asked for
    redirects : whether retrievals are redirected to signed addresses of another server
    busy : how many first requests for a path are answered 429, with a date after which to ask again
    """

    page: int = 0
    hints: str = ""
    largest_limit: int = 0
    fields: bool = True
    ignores_offset: bool = False
    rows_change: bool = False
    nothing: int = 204
    odd_search: str = ""
    counts: bool = True
    doubled: int = 0
    lists: bool = True
    listed: int = 0
    described: int = 0
    streamed: int = 0
    metadata: int = 200
    odd_metadata: str = ""
    odd_always: bool = False
    told: tuple[str, ...] = ()
    malformed: Mapping[str, Any] = field(default_factory=dict)
    foreign: bool = False
    json_type: str | None = "application/dicom+json"
    series: int = 200
    instance_forms: tuple[str, ...] = ("multipart",)
    wildcard: int = 200
    not_yet: int = 0
    form: str = "plain"
    forbidden: frozenset[str] = frozenset()
    forbidden_at: str = "search"
    fails: int = 0
    prefixes: tuple[str, str] = ("", "")
    filters: bool = True
    lists_series: bool = True
    tells_accession: bool = True
    json: str = "plain"
    accepts: str = ""
    encoding: str = ""
    chunked: bool = False
    closes: bool = False
    always_single: bool = False
    redirects: bool = False
    busy: int = 0


PROFILES = {
    "azure": Lies(largest_limit=200, instance_forms=("multipart", "single")),
    "google": Lies(
        fields=False,
        nothing=200,
        page=100,
        instance_forms=("multipart", "single"),
        form="blanks",
        busy=1,
    ),
    "aws": Lies(series=405, instance_forms=("single",), json_type="application/json", page=100),
    "dcm4chee": Lies(
        page=5, hints="299", form="lengths", not_yet=1, encoding="gzip", json="numbers as text"
    ),
    "medplum": Lies(described=20, lists=False, nothing=200, json_type="application/json"),
    "orthanc-maindicomtags": Lies(told=MAIN_TAGS, form="lengths"),
    "capped": Lies(page=20, described=20),
    "capped-lists": Lies(listed=20, ignores_offset=True, rows_change=True, described=20),
    "capped-everywhere": Lies(listed=20, described=20, streamed=20),
    "partial-206": Lies(page=7, hints="206", described=15),
    "no-counts": Lies(counts=False, page=9, described=20),
    "no-metadata": Lies(metadata=501),
    "empty-metadata": Lies(odd_metadata="200"),
    "always-empty-metadata": Lies(odd_metadata="204", odd_always=True),
    "empty-search": Lies(odd_search="empty"),
    "malformed": Lies(
        malformed={
            "00180060": {"vr": "DS", "Value": ["120kV"]},
            "00180050": {"vr": "DS", "Value": ["1.25mm"]},
            "00200012": {"vr": "IS", "Value": ["1.0"]},
            "00180010": {"Value": ["NONE"]},
            "00181100": None,
            "00181120": {"vr": "DS", "Value": 0},
            "00080070": {"vr": "LO", "Value": [""]},
        }
    ),
    "foreign-rows": Lies(foreign=True),
    "restricted": Lies(forbidden=frozenset({"00A3"})),
    "restricted-files": Lies(forbidden=frozenset({"00A3"}), forbidden_at="retrieve"),
    "quirky-multipart": Lies(form="mixed", json_type=None),
    "lf-multipart": Lies(form="lf"),
    "no-wildcard": Lies(wildcard=406),
    "crashing-wildcard": Lies(wildcard=500),
    "404-empty": Lies(nothing=404),
    "series-413": Lies(series=413, fails=17),
    "series-503": Lies(series=503),
    "dicom-rst": Lies(form="fixed"),
    "dcmjs-server": Lies(filters=False, ignores_offset=True, series=404, always_single=True),
    "dicomcloud": Lies(page=12, described=12, form="words"),
    "dicomweb-proxy": Lies(json="first values", form="quoted"),
    "conquest": Lies(json="damaged"),
}


@dataclass
class Server:
    """A running archive; `url` is its DICOMweb root."""

    stored: list[Stored]
    lies: Lies
    granted: Callable[[BaseHTTPRequestHandler], bool] = lambda _request: True
    url: str = ""
    elsewhere: str = ""
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def number_of(self, path: str) -> int:
        """Which request for this path it is, from 1."""
        with self.lock:
            self.requests.append(path)
            return self.requests.count(path)

    def sent(self, one: Stored) -> bytes:
        """The file as it is sent."""
        content = one.path.read_bytes()
        if self.lies.form == "fixed" and one.syntax == ExplicitVRLittleEndian:
            content = content[: -len(IN_A_FILE)] + IN_A_FILE
        return content

    def holds(self, accession: str) -> dict[str, int]:
        """Instances of each series of an accession."""
        held: dict[str, int] = {}
        for one in self.stored:
            if one.value("00080050") == accession:
                held[one.value("0020000E")] = held.get(one.value("0020000E"), 0) + 1
        return held


class _Http6(_Http):
    address_family = socket.AF_INET6


@contextmanager
def lying(
    stored: list[Stored], lies: Lies, host: str = "127.0.0.1", **more: Any
) -> Iterator[Server]:
    """Serve files that have been read already, until the block ends."""
    archive = Server(stored, lies, **more)
    http = (_Http6 if ":" in host else _Http)((host, 0), _handler(archive))
    archive.url = f"http://{f'[{host}]' if ':' in host else host}:{http.server_port}{ROOT}"
    archive.elsewhere = f"http://localhost:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield archive
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _handler(archive: Server) -> type[BaseHTTPRequestHandler]:
    lies = archive.lies
    prefixed = [f"{ROOT}/{prefix}" for prefix in lies.prefixes]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0" if lies.closes else "HTTP/1.1"
        wbufsize = 1 << 16

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.number = archive.number_of(self.path)
            url = urlsplit(self.path)
            path, prefix = url.path, next(filter(url.path.startswith, prefixed), None)
            if any(lies.prefixes):
                path = ROOT + path.removeprefix(prefix) if prefix else ""
            found = _PATH.fullmatch(path)
            if "signature=" in url.query:
                return self._signed(found)
            if not archive.granted(self):
                return self._status(401)
            if self.number <= lies.busy:
                return self._status(429, {"Retry-After": email.utils.formatdate(usegmt=True)})
            if not found:
                return self._status(404)
            terms = parse_qsl(url.query, keep_blank_values=True)
            stored = archive.stored
            levels = {"0020000D": "study", "0020000E": "series", "00080018": "instance"}
            for key, name in levels.items():
                if found[name]:
                    stored = [one for one in stored if one.value(key) == found[name]]
            searching = not (found["metadata"] or found["instance"])
            level = "studies"
            if found["series_level"]:
                level = "series"
                searching = searching and (not found["series"] or bool(found["instance_level"]))
            if found["instance_level"]:
                level = "instances"
            if prefix and any(lies.prefixes) and (prefix == prefixed[0]) != searching:
                return self._status(404)
            if searching:
                return self._search(stored, level, terms)
            if not stored:
                return self._status(404)
            if found["metadata"]:
                return self._metadata(stored)
            return self._retrieve(stored, whole=not found["instance"])

        def _search(self, stored: list[Stored], level: str, terms: list[tuple[str, str]]) -> None:
            if level == "instances" and not lies.lists:
                return self._status(404)
            if self.number == 1 and lies.odd_search and "1.2.3" not in self.path:
                if lies.odd_search == "202":
                    return self._status(202, {"Retry-After": "0"})
                return self._unframed(200)
            unique, tags = LEVELS[level]
            limit, offset, asked = 100, 0, list(tags)
            for key, value in terms:
                if key == "limit":
                    limit = int(value)
                elif key == "offset":
                    offset = int(value)
                elif key == "includefield":
                    asked.append(value)
                elif lies.filters and (wanted := tag_for_keyword(key)):
                    value = unquote(value)
                    stored = [one for one in stored if _matches(one.value(f"{wanted:08X}"), value)]
            if level == "series" and not lies.lists_series:
                stored = []
            if not lies.fields and "includefield=" in self.path:
                return self._status(400)
            if lies.largest_limit and limit > lies.largest_limit:
                return self._status(400)
            if any(self._is_forbidden(one, "search") for one in stored):
                return self._status(403)
            groups: dict[str, list[Stored]] = {}
            for one in stored:
                groups.setdefault(one.value(unique), []).append(one)
            rows = []
            for members in groups.values():
                row = {name: members[0].row[name] for name in asked if name in members[0].row}
                if not lies.tells_accession:
                    row["00080050"] = {"vr": "SH"}
                if level == "studies" and lies.counts:
                    series = {one.value("0020000E") for one in members}
                    row["00201206"] = {"vr": "IS", "Value": [len(series)]}
                if level == "series" and lies.counts:
                    row["00201209"] = {"vr": "IS", "Value": [len(members) + lies.doubled]}
                if lies.rows_change:
                    row["00081190"] = {"vr": "UR", "Value": [f"{archive.url}/{time.time_ns()}"]}
                rows.append(row)
            if level == "instances":
                rows = [*rows, *rows[: lies.doubled]][: lies.listed or None]
                if lies.foreign and rows:
                    rows = [self._foreign(rows[0]), *rows]
            page = min(limit, lies.page or limit)
            start = 0 if lies.ignores_offset else offset
            return self._rows(rows[start : start + page], more=len(rows) > start + page)

        def _metadata(self, stored: list[Stored]) -> None:
            if lies.metadata != 200:
                return self._status(lies.metadata)
            if lies.odd_metadata and (self.number == 1 or lies.odd_always):
                if lies.odd_metadata == "200":
                    return self._unframed(200)
                return self._status(int(lies.odd_metadata), {"Retry-After": "0"})
            if any(self._is_forbidden(one, "search") for one in stored):
                return self._status(403)
            rows = [dict(one.row) for one in [*stored, *stored[: lies.doubled]]]
            if lies.told:
                told = set(map(tag, lies.told))
                rows = [{key: value for key, value in r.items() if key in told} for r in rows]
            rows = [{**row, **lies.malformed} for row in rows[: lies.described or len(rows)]]
            if lies.foreign:
                rows.append(self._foreign(rows[0]))
            return self._rows(rows, more=len(rows) < len(stored))

        def _foreign(self, row: dict[str, Any]) -> dict[str, Any]:
            return {
                **row,
                "0020000E": {"vr": "UI", "Value": ["1.2.999.1"]},
                "00080018": {"vr": "UI", "Value": ["1.2.999.1.1"]},
            }

        def _rows(self, rows: list[dict[str, Any]], *, more: bool) -> None:
            if lies.accepts not in ("", self.headers.get("Accept")):
                return self._status(406)
            if not rows:
                if lies.nothing != 200:
                    return self._status(lies.nothing)
                return self._send(200, b"[]", self._json_fields())
            status = 206 if more and lies.hints == "206" else 200
            fields = self._json_fields()
            if more and lies.hints == "299":
                fields["Warning"] = "299 archive: there are more results that can be requested"
            return self._send(status, self._written(rows), fields)

        def _written(self, rows: list[dict[str, Any]]) -> bytes:
            change = _CHANGES.get(lies.json)
            if change:
                rows = [{key: change(value) for key, value in row.items()} for row in rows]
            if lies.json == "Latin-1":
                rows = [{**row, "00081030": {"vr": "LO", "Value": ["Hüfte"]}} for row in rows]
                return json.dumps(rows, ensure_ascii=False).encode("latin-1")
            text = json.dumps(rows).encode()
            if lies.json == "damaged" and "/metadata" in self.path:
                return text[:200] + b"}," + text[180:]
            return (codecs.BOM_UTF8 if lies.json == "BOM" else b"") + text

        def _json_fields(self) -> dict[str, str]:
            return {"Content-Type": lies.json_type} if lies.json_type else {}

        def _retrieve(self, stored: list[Stored], *, whole: bool) -> None:
            if self.number <= lies.not_yet:
                return self._status(202, {"Retry-After": "0"})
            if any(self._is_forbidden(one, at) for one in stored for at in ("search", "retrieve")):
                return self._status(403)
            if whole and lies.series != 200:
                return self._status(lies.series)
            if lies.redirects:
                return self._status(
                    307, {"Location": f"{archive.elsewhere}{self.path}?signature=1"}
                )
            return self._bring(stored, whole=whole)

        def _signed(self, found: re.Match[str]) -> None:
            """As object stores do: one login for a request, and no more."""
            if "Authorization" in self.headers:
                return self._status(400)
            keys = {"0020000E": found["series"], "00080018": found["instance"]}
            stored = archive.stored
            for key, uid in keys.items():
                stored = [one for one in stored if not uid or one.value(key) == uid]
            return self._bring(stored, whole=not found["instance"])

        def _bring(self, stored: list[Stored], *, whole: bool) -> None:
            accept = self.headers.get("Accept", "")
            if accept.endswith("transfer-syntax=*") and lies.wildcard != 200:
                return self._status(lies.wildcard)
            multipart = accept.startswith(MULTIPART)
            if not whole and ("multipart" if multipart else "single") not in lies.instance_forms:
                return self._status(406)
            if whole and not multipart:
                return self._status(400)
            stored = stored[: lies.streamed or len(stored)] if whole else stored
            cut = lies.fails and len(archive.requests) % lies.fails == 0
            if multipart and (whole or not lies.always_single):
                return self._parts(stored, cut=bool(cut))
            content = archive.sent(stored[0])
            return self._body(content, {"Content-Type": "application/dicom"}, cut=bool(cut))

        def _parts(self, stored: list[Stored], *, cut: bool) -> None:
            boundary = {"fixed": "boundary", "words": "DICOM DATA BOUNDARY"}.get(
                lies.form, uuid.uuid4().hex
            )
            line = b"\n" if lies.form == "lf" else b"\r\n"
            body = b""
            for one in stored:
                content = archive.sent(one)
                body += line + b"--" + boundary.encode() + line
                body += b"Content-Type: application/dicom" + line
                if lies.form in ("lengths", "wrong lengths"):
                    less = 8 if lies.form == "wrong lengths" else 0
                    body += b"Content-Length: %d" % (len(content) - less) + line
                body += line + content
            if lies.form != "unclosed":
                body += line + b"--" + boundary.encode() + b"--" + line
            kind = f'{MULTIPART}; boundary="{boundary}"'
            if lies.form == "blanks":
                kind = f'Multipart/Related ; type="application/dicom" ; boundary = "{boundary}"'
            elif lies.form == "mixed":
                kind = f"multipart/mixed;boundary={boundary}"
            elif lies.form == "words":
                kind = f"multipart/related; boundary={boundary}; type=APPLICATION/DICOM"
            elif lies.form == "quoted":
                kind = f"multipart/related;start=1;type='application/dicom';boundary='{boundary}'"
            return self._body(body, {"Content-Type": kind}, cut=cut)

        def _body(self, body: bytes, fields: dict[str, str], *, cut: bool) -> None:
            """A reply that ends when the connection does."""
            if lies.encoding or lies.chunked:
                self._send(200, body, fields, cut=cut)
                return
            self._begin(200, {**fields, "Connection": "close"})
            self.close_connection = True
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.wfile.flush()

        def _is_forbidden(self, one: Stored, at: str) -> bool:
            return at == lies.forbidden_at and one.value("00080050") in lies.forbidden

        def _unframed(self, status: int) -> None:
            """A reply with neither a length nor a body."""
            self._begin(status, {"Connection": "close"})
            self.close_connection = True
            self.wfile.flush()

        def _status(self, status: int, fields: dict[str, str] | None = None) -> None:
            self._send(status, b"", fields or {})

        def _send(
            self, status: int, body: bytes, fields: dict[str, str], *, cut: bool = False
        ) -> None:
            if lies.encoding and body:
                fields["Content-Encoding"] = lies.encoding
                body = gzip.compress(body, 1) if lies.encoding == "gzip" else zlib.compress(body, 1)
            whole, body = body, body[: len(body) // 2] if cut else body
            self.close_connection = self.close_connection or cut
            if lies.chunked:
                self._begin(status, {**fields, "Transfer-Encoding": "chunked"})
                for start in range(0, len(body), 5000):
                    piece = body[start : start + 5000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"" if cut else b"0\r\n\r\n")
            else:
                self._begin(
                    status, fields if lies.closes else {**fields, "Content-Length": str(len(whole))}
                )
                self.wfile.write(body)
            self.wfile.flush()

        def _begin(self, status: int, fields: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler
