"""Archives from Debian's packages, started for a test and stopped after it."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"

needs_orthanc = pytest.mark.skipif(
    not (Path(ORTHANC).exists() and Path(PLUGIN).exists()),
    reason="Orthanc with DICOMweb: apt-get install -y orthanc orthanc-dicomweb",
)
needs_dcmtk = pytest.mark.skipif(
    not (shutil.which("dcmqrscp") and shutil.which("dcmqridx")),
    reason="dcmqrscp: apt-get install -y dcmtk",
)
needs_stunnel = pytest.mark.skipif(
    not shutil.which("stunnel"), reason="stunnel: apt-get install -y stunnel4"
)

USER, PASSWORD = "demo", "demo-secret"
ARCHIVE, FETCHER = "ARCHIVE", "FETCHER"


@dataclass
class Archive:
    """A running archive: its DICOMweb root, if it has one, and its DICOM port."""

    url: str
    port: int
    move_port: int
    process: subprocess.Popen[bytes] | None = None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(
    command: list[Any], ready: Callable[[], bool], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, from when it answers to the end of the block."""
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(list(map(str, command)), cwd=folder, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if ready():
                break
            assert process.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.1)
        else:
            raise AssertionError((folder / "server.log").read_text())
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def orthanc(folder: Path, files: Path, **options: Any) -> Iterator[Archive]:
    """Orthanc with HTTP Basic authentication, holding the files below a folder."""
    archive = Archive("", free_port(), free_port())
    http = free_port()
    peer = {"AET": FETCHER, "Host": "127.0.0.1", "Port": archive.move_port}
    peer |= {f"Allow{what}": True for what in ("Echo", "Find", "Get", "Move", "Store")}
    config = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomAet": ARCHIVE,
        "DicomPort": archive.port,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowFind": False,
        "DicomAlwaysAllowGet": False,
        "DicomModalities": {"peer": peer},
        "Plugins": [PLUGIN],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **options,
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    base = f"http://127.0.0.1:{http}"
    archive.url = f"{base}/dicom-web"
    command = [ORTHANC, folder / "orthanc.json"]
    with running(command, lambda: _answers(archive.url), folder) as archive.process:
        for path in sorted(files.rglob("*")):
            if path.is_file():
                _ask(f"{base}/instances", path.read_bytes())
        yield archive


_SYNTAXES = ("2.1", "2", "2.4.70", "2.4.80", "2.4.90", "2.5")
_NEGOTIATED = {
    "1.1": "Default",  # verification
    **dict.fromkeys(("5.1.4.1.2.2.1", "5.1.4.1.2.2.2", "5.1.4.1.2.2.3"), "Default"),  # query models
    **dict.fromkeys(("5.1.4.1.1.2", "5.1.4.1.1.2.1", "5.1.4.1.1.2.2", "5.1.4.1.1.7"), "Selected"),
}


def _negotiation() -> str:
    """What dcmqrscp accepts: every transfer syntax in which the tests' files are stored."""
    prefix = "1.2.840.10008."
    lines = ["[[TransferSyntaxes]]", "[All]"]
    lines += [f"TransferSyntax{i} = {prefix}1.{name}" for i, name in enumerate(_SYNTAXES, 1)]
    lines += ["[[PresentationContexts]]", "[Contexts]"]
    lines += [
        f"PresentationContext{i} = {prefix}{name}\\All" for i, name in enumerate(_NEGOTIATED, 1)
    ]
    lines += ["[[SCPSCURoleSelection]]", "[Roles]"]
    storage = [name for name, kind in _NEGOTIATED.items() if kind == "Selected"]
    lines += [f"Role{i} = {prefix}{name}\\BOTH" for i, name in enumerate(storage, 1)]
    lines += ["[[Profiles]]", "[Archive]"]
    lines += ["PresentationContexts = Contexts", "SCPSCURoleSelection = Roles"]
    return "\n".join(lines) + "\n"


@contextmanager
def dcmqrscp(folder: Path, files: Path) -> Iterator[Archive]:
    """DCMTK's archive, which tells nothing about single images, holding the files of a folder."""
    archive = Archive("", free_port(), free_port())
    (folder / "store").mkdir()
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {archive.port}\n"
        "MaxPDUSize = 16384\nMaxAssociations = 4\n"
        f"HostTable BEGIN\nfetcher = ({FETCHER}, 127.0.0.1, {archive.move_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{ARCHIVE} {folder}/store RW (500, 1024mb) ANY\nAETable END\n"
    )
    names = [path for path in sorted(files.rglob("*")) if path.is_file()]
    register = ["dcmqridx", str(folder / "store"), *map(str, names)]
    subprocess.run(register, check=True, capture_output=True)
    (folder / "contexts.cfg").write_text(_negotiation())
    command = ["dcmqrscp", "-c", folder / "dcmqrscp.cfg", "-xf", folder / "contexts.cfg"]
    command += ["Archive", "Archive"]
    with running(command, lambda: _listens(archive.port), folder) as archive.process:
        yield archive


@contextmanager
def stunnel(
    port: int, certificate: Path, key: Path, folder: Path, client_ca: Path | None = None
) -> Iterator[int]:
    """A TLS terminator before a port of this machine; its own port."""
    secure = free_port()
    lines = [
        "foreground = yes",
        "pid =",
        "[archive]",
        f"accept = 127.0.0.1:{secure}",
        f"connect = 127.0.0.1:{port}",
        f"cert = {certificate}",
        f"key = {key}",
    ]
    if client_ca:
        lines += ["verifyChain = yes", f"CAfile = {client_ca}"]
    config = folder / f"stunnel-{secure}.conf"
    config.write_text("\n".join(lines) + "\n")
    with running(["stunnel", config], lambda: _listens(secure), folder):
        yield secure


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    try:
        _ask(f"{url}/studies?limit=1")
    except (OSError, urllib.error.URLError):
        return False
    return True


def _ask(url: str, body: bytes | None = None) -> None:
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(url, body, {"Authorization": f"Basic {token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        answer.read()
