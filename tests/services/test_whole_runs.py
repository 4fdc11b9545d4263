"""Whole runs of Snakemake on a DICOMweb archive: manners over all jobs, and no secret anywhere."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from ..workflow.conftest import CHEST, Site, write_reports
from .dicomweb_server import basic, serving_stored

SECRET = "s3cret-of-the-archive"
ENVIRONMENT = {"CT_COHORT_USER": "reader-of-ct", "CT_COHORT_PASSWORD": SECRET}
CONNECTIONS = 2


@pytest.fixture
def server(stored):
    """An archive that needs a moment for everything, so that requests meet there."""

    def slow(_request):
        time.sleep(0.2)

    with serving_stored(stored, authorization=basic(*ENVIRONMENT.values()), fault=slow) as server:
        yield server


@pytest.fixture
def site(hospital, server, tmp_path):
    return site_at(tmp_path / "site", hospital[1], server)


def site_at(folder, accessions, server, **archive):
    folder.mkdir()
    write_reports(folder, [(name, f"MRN{i}", CHEST) for i, name in enumerate(accessions)])
    dicomweb = {"url": server.url, "auth": "basic"}
    config = {
        "archive": {"kind": "dicomweb", "connections": CONNECTIONS, "dicomweb": dicomweb},
        "volume": {"spacing_mm": 8},
    }
    config["archive"].update(archive)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Site(folder, environment=ENVIRONMENT)


def assert_no_secret(site, *outputs):
    secrets = [text.encode() for text in (*ENVIRONMENT.values(), basic(*ENVIRONMENT.values())[6:])]
    written = [path for path in site.folder.rglob("*") if path.is_file()]
    assert any(".snakemake" in path.parts for path in written)
    assert any("logs" in path.parts for path in written)
    for content in [*(path.read_bytes() for path in written), *map(str.encode, outputs)]:
        assert not any(secret in content for secret in secrets)


@contextmanager
def watched_command_lines():
    """The command line of every process that ran meanwhile, as `ps` shows it to everybody."""
    seen, done = set(), threading.Event()

    def watch():
        while not done.wait(0.005):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(entry.read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def test_no_secret_is_on_a_command_line(site):
    with watched_command_lines() as seen:
        site.run(cores=2)
    for script in (b"index_series.py", b"download_series.py", b"preprocess_volume.py"):
        assert any(script in line for line in seen)
    secrets = [text.encode() for text in (*ENVIRONMENT.values(), basic(*ENVIRONMENT.values())[6:])]
    assert not [line for line in seen if any(secret in line for secret in secrets)]


def test_no_more_connections_than_allowed_and_no_secret_left(site, server):
    index = site.run("series.csv", cores=6)
    assert server.most_at_once == CONNECTIONS
    server.most_at_once = 0
    rest = site.run("-p", cores=6)
    assert len(list((site.folder / "processed").glob("*.npz"))) == 3
    assert 1 <= server.most_at_once <= CONNECTIONS
    log = (site.folder / "archive.log").read_text().splitlines()
    assert len(log) == len(server.requests)
    assert_no_secret(site, index.output, rest.output)


def test_parts_that_run_at_the_same_time_share_the_connections(hospital, server, tmp_path):
    sites = [site_at(tmp_path / f"{part}", hospital[1], server) for part in (1, 2)]
    runs = [
        subprocess.Popen(
            one.command("--config", f"partition={part}/2", cores=4),
            cwd=one.folder, env={**one.environment, "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for part, one in enumerate(sites, 1)
    ]  # fmt: skip
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    volumes = [path for one in sites for path in (one.folder / "processed").glob("*.npz")]
    assert len(volumes) == 3
    assert server.most_at_once <= CONNECTIONS


def test_a_wrong_password_is_one_line_and_one_request(site, server):
    server.authorization = basic("reader-of-ct", "another")
    run = site.run(ok=False, cores=6)
    assert len(server.requests) == 1
    log = (site.folder / "logs/index_series.log").read_text().splitlines()
    assert len(log) == 1
    assert log[0].startswith("error: ")
    assert "401" in log[0]
    assert (site.folder / "archive.stop").exists()
    assert_no_secret(site, run.output)
    site.run(ok=False)
    assert len(server.requests) == 1


def test_a_failing_download_leaves_no_secret(site, server):
    site.run("series.csv")
    server.authorization = basic("reader-of-ct", "another")
    run = site.run(ok=False, cores=6)
    told = (site.folder / "archive.stop").read_text()
    assert "401" in told
    status = site.script("status.py")
    assert "archive_refused" in status
    assert_no_secret(site, run.output, status)
