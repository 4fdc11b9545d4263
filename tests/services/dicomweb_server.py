"""A DICOMweb archive over a folder of DICOM files, for tests: QIDO-RS, metadata and WADO-RS.

Standard library and pydicom only. It behaves like a real archive where that matters: Basic and
Bearer authentication, 204 for nothing, paging, replies without a length. `faults` makes single
requests go wrong. Every request is counted in `requests`.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword

ROOT = "/dicom-web"
STUDY = ["00080020", "00080050", "00080061", "00100010", "00100020", "0020000D", "00200010"]
SERIES = ["00080060", "0008103E", "0020000E", "00200011"]
INSTANCE = ["00080016", "00080018", "00200013", "00280010", "00280011"]
LEVELS = {
    "studies": ("0020000D", STUDY),
    "series": ("0020000E", STUDY + SERIES),
    "instances": ("00080018", STUDY + SERIES + INSTANCE),
}
_PATH = re.compile(
    rf"{ROOT}/studies(?:/(?P<study>[0-9.]+))?(?P<series_level>/series)?(?:/(?P<series>[0-9.]+))?"
    r"(?P<instance_level>/instances)?(?:/(?P<instance>[0-9.]+))?(?P<metadata>/metadata)?"
)


@dataclass
class Stored:
    """One file: its attributes as DICOM JSON, and where it is."""

    row: dict[str, dict]
    path: Path
    syntax: str

    def value(self, tag: str) -> str:
        values = self.row.get(tag, {}).get("Value") or [""]
        return values[0].get("Alphabetic", "") if isinstance(values[0], dict) else str(values[0])


@dataclass
class Request:
    """What a fault sees: the path, which request of this path it is, and the header fields."""

    path: str
    number: int
    fields: dict[str, str]


@dataclass
class Fault:
    """What goes wrong with one request.

    Attributes
    ----------
    status, fields, body : an answer instead of the real one
    cut : bytes of the body after which the connection ends
    reset : end it with RST instead of FIN
    stall : seconds of silence at that point, before the end
    trickle : seconds between single bytes from there on
    lengths : whether the reply says how long it is
    """

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    reset: bool = False
    stall: float = 0.0
    trickle: float = 0.0
    lengths: bool = False


@dataclass
class Server:
    """A running archive; `url` is its DICOMweb root. Any attribute may be changed meanwhile."""

    stored: list[Stored]
    authorization: str = ""
    fault: Callable[[Request], Fault | None] = lambda _request: None
    availability: str = "ONLINE"
    counted: Callable[[str, int], int] = lambda _series, count: count
    accepts_wildcard: bool = True
    url: str = ""
    requests: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def paths(self, pattern: str) -> list[str]:
        """The requests so far whose path has `pattern`."""
        return [path for path in self.requests if re.search(pattern, path)]


def basic(user: str, password: str) -> str:
    """The Authorization field of RFC 7617."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def read_folder(folder: Path) -> list[Stored]:
    """Every DICOM file below a folder, in an order that says nothing."""
    stored = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.read_bytes()[128:132] != b"DICM":
            continue
        dataset = dcmread(path, stop_before_pixels=True)
        row = json.loads(dataset.to_json(suppress_invalid_tags=True))
        stored.append(Stored(row, path, str(dataset.file_meta.TransferSyntaxUID)))
    return stored


@contextmanager
def serving(folder: Path, port: int = 0, **more: object) -> Iterator[Server]:
    """Serve a folder's files on loopback until the block ends."""
    with serving_stored(read_folder(folder), port, **more) as server:
        yield server


@contextmanager
def serving_stored(stored: list[Stored], port: int = 0, **more: object) -> Iterator[Server]:
    """Serve files that have been read already."""
    archive = Server(stored, **more)  # type: ignore[arg-type]
    http = _Http(("127.0.0.1", port), _handler(archive))
    archive.url = f"http://127.0.0.1:{http.server_port}{ROOT}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield archive
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that goes away is not this server's mistake."""


def _handler(archive: Server) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()
    open_now = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            nonlocal open_now
            with lock:
                number = archive.requests.count(self.path) + 1
                archive.requests.append(self.path)
                open_now += 1
                archive.most_at_once = max(archive.most_at_once, open_now)
            try:
                fault = archive.fault(Request(self.path, number, dict(self.headers))) or Fault()
                self._serve(fault)
            finally:
                with lock:
                    open_now -= 1

        def _serve(self, fault: Fault) -> None:
            if fault.status:
                return self._answer(fault.status, fault.body, fault.fields)
            if archive.authorization not in ("", self.headers.get("Authorization")):
                return self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="archive"'})
            url = urlsplit(self.path)
            found = _PATH.fullmatch(url.path)
            if not found:
                return self._answer(404, b"")
            wanted = {"0020000D": found["study"], "0020000E": found["series"]}
            wanted["00080018"] = found["instance"]
            stored = [
                one
                for one in archive.stored
                if all(not uid or one.value(tag) == uid for tag, uid in wanted.items())
            ]
            level = "instances" if found["instance_level"] else "series"
            level = level if found["series_level"] else "studies"
            if found["metadata"] or wanted[LEVELS[level][0]]:
                if not stored:
                    return self._answer(404, b"{}", {"Content-Type": "application/json"})
                if found["metadata"]:
                    return self._json([one.row for one in stored], fault)
                return self._instances(stored, fault)
            return self._search(stored, level, parse_qsl(url.query, keep_blank_values=True), fault)

        def _search(
            self, stored: list[Stored], level: str, terms: list[tuple[str, str]], fault: Fault
        ) -> None:
            unique, tags = LEVELS[level]
            tags = list(tags)
            limit, offset = len(stored), 0
            for key, value in terms:
                if key == "includefield":
                    tags.append(value if value[0] == "0" else f"{tag_for_keyword(value):08X}")
                elif key in ("limit", "offset"):
                    limit, offset = (int(value), offset) if key == "limit" else (limit, int(value))
                elif tag := tag_for_keyword(key):
                    stored = [one for one in stored if _matches(one.value(f"{tag:08X}"), value)]
                else:
                    return self._answer(400, b"")
            groups: dict[str, list[Stored]] = {}
            for one in stored:
                groups.setdefault(one.value(unique), []).append(one)
            rows = []
            for uid, members in groups.items():
                row = {tag: members[0].row[tag] for tag in tags if tag in members[0].row}
                if level == "series":
                    count = archive.counted(uid, len(members))
                    row["00201209"] = {"vr": "IS", "Value": [count]}
                    row["00080056"] = {"vr": "CS", "Value": [archive.availability]}
                rows.append(row)
            return self._json(rows[offset : offset + limit], fault)

        def _json(self, rows: list[dict[str, dict]], fault: Fault) -> None:
            if not rows:
                return self._answer(204, b"")
            body = json.dumps(rows).encode()
            fields = {"Content-Type": "application/dicom+json"}
            if fault.cut is None:
                return self._answer(200, body, fields)
            return self._stream([body], fields, fault)

        def _instances(self, stored: list[Stored], fault: Fault) -> None:
            accept = self.headers.get("Accept", "")
            if not accept.startswith('multipart/related; type="application/dicom"'):
                return self._answer(400, b"")
            if "transfer-syntax=*" in accept and not archive.accepts_wildcard:
                return self._answer(406, b"")
            boundary = uuid.uuid4().hex
            head = f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n"
            pieces = []
            for one in stored:
                length = f"Content-Length: {one.path.stat().st_size}\r\n" if fault.lengths else ""
                pieces += [f"{head}{length}\r\n".encode(), one.path]
            pieces.append(f"\r\n--{boundary}--\r\n".encode())
            kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
            return self._stream(pieces, {"Content-Type": kind}, fault)

        def _answer(self, status: int, body: bytes, fields: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (fields or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def _stream(self, pieces: list, fields: dict[str, str], fault: Fault) -> None:
            """A reply that ends when the connection does, as Orthanc's do."""
            self.send_response(200)
            for name, value in {**fields, "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            left = fault.cut
            for piece in pieces:
                data = piece if isinstance(piece, bytes) else piece.read_bytes()
                self.wfile.write(data if left is None else data[:left])
                if left is not None:
                    left -= len(data)
                    if left <= 0:
                        return self._break(fault, data[left:] if left else b"")
            self.wfile.flush()
            return None

        def _break(self, fault: Fault, rest: bytes) -> None:
            self.wfile.flush()
            if fault.trickle:
                for byte in rest:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(fault.trickle)
            time.sleep(fault.stall)
            if fault.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()

    return Handler


def _matches(value: str, pattern: str) -> bool:
    if not re.search(r"[*?]", pattern):
        return value == pattern
    wild = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch(wild, value) is not None
