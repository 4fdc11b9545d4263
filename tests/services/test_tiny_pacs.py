"""An independent archive of both protocols, from the package index: tiny_pacs, on pynetdicom2."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from ctcohort.archives.dicomweb import DicomwebArchive
from ctcohort.archives.dimse import DimseArchive

from .hospital import KEY, archive_settings
from .servers import ARCHIVE, FETCHER, Archive, _listens, free_port, running
from .test_random_archives import outcome

pytestmark = [pytest.mark.needs_index, pytest.mark.usefixtures("hurried")]

PACKAGES = (
    *("tiny-pacs==0.4.1", "tiny-pacs-dicomweb==0.1.0", "pynetdicom2==0.9.8"),
    *("peewee==4.5.3", "trolleybus==0.2.0", "bottle==0.13.4", "waitress==3.0.2"),
)
"""What it needs beside the lock."""


@contextmanager
def tiny_pacs(folder, packages, stored):
    """The server, holding files that have been read already."""
    archive = Archive("", free_port(), free_port())
    http = free_port()
    archive.url = f"http://127.0.0.1:{http}/dicomweb"
    components = {
        "HttpServer": {"on": True, "host": "127.0.0.1", "port": http},
        "DICOMWeb": {"on": True},
        "FileStorage": {"on": True, "storage_dir": str(folder / "store")},
        "InMemoryStorage": {"on": False},
    }
    config = {
        "ae": {"ae_title": [ARCHIVE], "port": archive.port},
        "log": {"version": 1, "root": {"level": "ERROR"}},
        "components": components,
    }
    (folder / "store").mkdir()
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    start = [sys.executable, "-m", "tiny_pacs", "run", "-c", folder / "tiny.yaml"]
    command = ["env", f"PYTHONPATH={packages}", *start]
    with running(command, lambda: _listens(archive.port) and _listens(http), folder) as process:
        archive.process = process
        send = [sys.executable, "-m", "pynetdicom", "storescu", "127.0.0.1", str(archive.port)]
        send += [os.path.commonpath([one.path for one in stored]), "-r", "-aec", ARCHIVE]
        subprocess.run(send, check=True, capture_output=True, cwd=folder)
        yield archive


def test_tiny_pacs(small, tmp_path, tmp_path_factory, monkeypatch, pip, capsys):
    """Over DICOMweb the right series comes whole; over DIMSE it names one series of three."""
    packages = tmp_path_factory.mktemp("packages")
    done = pip("install", "--quiet", "--no-compile", "--no-deps", f"--target={packages}", *PACKAGES)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    holds = {one.value("0020000E"): 12 for one in small if one.value("00200011") == "2"}
    with tiny_pacs(tmp_path, packages, small) as archive:
        settings = archive_settings(kind="dicomweb", dicomweb={"url": archive.url})
        web = DicomwebArchive({**settings, "patience_seconds": 4}, key=KEY)
        web.prepare(threads=1)
        assert outcome(web, "R1", holds) == "complete"
        own = {"host": "127.0.0.1", "port": archive.port}
        own |= {"called_aet": ARCHIVE, "calling_aet": FETCHER}
        settings = archive_settings(kind="dimse", dimse=own, patience_seconds=9)
        assert outcome(DimseArchive(settings, key=KEY), "R 2", holds) == "no_answer"
    assert "answers about the series of a study, and names 1" in capsys.readouterr().err
    sent = {one.value("00080018"): one.path.read_bytes() for one in small}
    for path in Path("raw/R1").glob("*.dcm"):
        assert data_set(path.read_bytes()) == data_set(sent[path.stem])


def data_set(content: bytes) -> bytes:
    """What follows the File Meta, which the sender writes."""
    return content[144 + int.from_bytes(content[140:144], "little") :]
