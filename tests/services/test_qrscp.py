"""A third archive of its own kind: pynetdicom's qrscp, which answers with a row per instance at
every level and tells nothing of images."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from contextlib import contextmanager

import pytest

from .hospital import Run, archive_settings
from .servers import ARCHIVE, FETCHER, Archive, _listens, free_port, running

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sqlalchemy") is None,
    reason="pynetdicom's qrscp: pip install sqlalchemy",
)


@contextmanager
def qrscp(folder, files):
    """The server, holding the files below a folder."""
    archive = Archive("", free_port(), free_port())
    (folder / "store").mkdir()
    command = [sys.executable, "-m", "pynetdicom", "qrscp", "--port", archive.port]
    command += ["-aet", ARCHIVE, "--database-location", folder / "qrscp.sqlite"]
    command += ["--instance-location", folder / "store"]
    with running(command, lambda: _listens(archive.port), folder) as archive.process:
        send = [sys.executable, "-m", "pynetdicom", "storescu", "127.0.0.1", str(archive.port)]
        send += [str(files), "-r", "-aec", ARCHIVE, "-cx"]
        subprocess.run(send, check=True, capture_output=True, cwd=folder)
        yield archive


def test_same_cohort_from_qrscp(hospital, tmp_path):
    accessions = ["A0001", "A 02/B+", "A0004", "A0099"]
    by_folder = Run(tmp_path / "folder", archive_settings(folder={"path": str(hospital[0])}), {})
    by_folder.fetch(accessions)
    with qrscp(tmp_path, hospital[0] / "plain") as archive:
        own = {"host": "127.0.0.1", "port": archive.port}
        own |= {"called_aet": ARCHIVE, "calling_aet": FETCHER}
        run = Run(tmp_path / "run", archive_settings(kind="dimse", dimse=own), {})
        run.fetch(accessions)
    assert run.chosen() == by_folder.chosen()
    assert set(run.chosen()) == {"A0001", "A 02/B+"}
    for accession in run.chosen():
        assert run.data_sets(accession) == by_folder.data_sets(accession)
