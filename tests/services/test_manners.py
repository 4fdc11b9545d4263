"""Limits, windows and patience against a server that counts what it is asked."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

import index_series
from ctcohort.archives import web
from ctcohort.archives.dicomweb import DicomwebArchive
from ctcohort.base.faults import Fault
from ctcohort.config.hours import DAYS

from .dicomweb_server import Fault as Misbehaving
from .dicomweb_server import read_folder, serving_stored
from .hospital import KEY, Run, archive_settings, make_long_series

SLICES = 40


@pytest.fixture(scope="module")
def long_series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    headers = make_long_series(folder, SLICES, size=64)
    return read_folder(folder), headers


@pytest.fixture
def server(long_series):
    with serving_stored(long_series[0]) as server:
        yield server


@pytest.fixture
def working(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(server, **changes):
    return archive_settings(kind="dicomweb", dicomweb={"url": server.url}, **changes)


def archive_of(server, **changes):
    return DicomwebArchive(settings(server, **changes), key=KEY)


def test_no_more_bytes_than_allowed(server, long_series, working):
    size = sum(one.path.stat().st_size for one in long_series[0])
    started = time.monotonic()
    archive_of(server, connections=2, max_mb_per_second=0.4).fetch(long_series[1], working)
    assert time.monotonic() - started > 0.95 * size / 0.2e6  # this connection's half


def test_no_more_queries_than_allowed(server, working):  # noqa: ARG001
    archive = archive_of(server, connections=2, max_queries_per_second=20)
    started = time.monotonic()
    for _ in range(6):
        archive.prepare(threads=1)
    assert len(server.requests) == 6
    assert time.monotonic() - started > 5 / 10


@pytest.mark.parametrize("connections", [1, 3])
def test_outside_the_hours_nothing_is_asked_and_a_waiting_index_can_be_ended(
    server, tmp_path, connections
):
    day = DAYS[(datetime.now(UTC) + timedelta(days=2)).weekday()]
    run = Run(tmp_path, settings(server, hours=[day], timezone="UTC"), {})
    run.prepare(["LONG"])
    process = run.start(*run.index_arguments(), "--connections", str(connections))
    assert process.stdout.readline() == "outside archive.hours: waiting for the next window\n"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 1  # one pre-flight check, before anything runs side by side
    assert not server.requests


def test_the_hours_may_end_while_an_index_waits_in_several_threads(stored, tmp_path):
    """Three of five accessions wait at once when the run is ended."""

    def closing(request):
        if "=A0001&" in request.path:
            (tmp_path / "archive.pause").touch()

    with serving_stored(stored, fault=closing) as server:
        run = Run(tmp_path, settings(server), {})
        run.prepare(["A0001", "A 02/B+", "00A3", "A0004", "a0001"])
        process = run.start(*run.index_arguments(), "--connections", "3")
        for line in process.stdout:
            if "archive.pause exists" in line:
                break
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGTERM
        (tmp_path / "archive.pause").unlink()
        server.fault = lambda _request: None
        assert run.index(connections=3).returncode == 0
    assert set(run.chosen()) >= {"A0001", "A 02/B+", "00A3"}


@pytest.mark.parametrize("connections", [1, 3])
def test_an_index_that_is_killed_goes_on_where_it_was(stored, tmp_path, connections):
    accessions = ["A0001", "A 02/B+", "00A3", "A0004", "a0001"]

    def slow(_request):
        time.sleep(0.1)

    with serving_stored(stored, fault=slow) as server:
        run = Run(tmp_path / "run", settings(server), {})
        run.prepare(accessions)
        process = run.start(*run.index_arguments(), "--connections", str(connections))
        kept = run.folder / "index/answers"
        while not (kept.exists() and len(list(kept.glob("*.json.gz"))) >= 2):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert not (run.folder / "series.csv").exists()
        there = {path.name.removesuffix(".json.gz") for path in kept.glob("[!.]*.gz")}
        asked = list(server.requests)
        server.requests.clear()
        assert run.index(connections=connections).returncode == 0
        for name in there:  # a file's name is the accession, encoded as in a query
            assert not server.paths(f"AccessionNumber={name}&")
        repeated = [path for path in server.paths("/metadata$") if path in asked[:-connections]]
        assert not repeated
    whole = Run(tmp_path / "whole", run.archive, {})
    with serving_stored(stored) as server:
        whole.archive = settings(server)
        whole.prepare(accessions)
        assert whole.index().returncode == 0
    assert run.series_rows() == whole.series_rows()


def test_progress_says_how_long_it_will_take(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 31.0, 32.0, 62.0])
    monkeypatch.setattr(index_series.time, "monotonic", lambda: next(clock))
    rows = [[{"accession": name}] for name in "abcd"]
    assert list(index_series.told(iter(rows), 10)) == rows
    assert capsys.readouterr().err.splitlines() == [
        "2 of 10 accessions, 124 s to go",
        "4 of 10 accessions, 93 s to go",
    ]


def recalling(server, path, seconds):
    """The first byte of a series needs a while."""

    def slow(request):
        if request.path.endswith(path):
            time.sleep(seconds)

    server.fault = slow


def test_what_is_nearline_is_asked_for_once_and_waited_for(
    server, long_series, working, monkeypatch
):
    monkeypatch.setattr(web, "SILENT_SECONDS", 0.2)
    headers = long_series[1]
    path = headers[0].series_uid
    recalling(server, path, 1.0)
    server.availability = "NEARLINE"
    archive_of(server).fetch(headers, working)
    assert len(list(working.glob("*.dcm"))) == SLICES
    assert len(server.paths(path + "$")) == 1


def test_a_recall_that_never_ends_is_given_up_without_another(
    server, long_series, working, monkeypatch
):
    monkeypatch.setattr(web, "RECALL_SECONDS", 0.3)
    headers = long_series[1]
    path = headers[0].series_uid
    recalling(server, path, 1.0)
    server.availability = "NEARLINE"
    with pytest.raises(Fault, match="did not bring the series online") as error:
        archive_of(server).fetch(headers, working)
    assert error.value.transient
    assert len(server.paths(path + "$")) == 1


def test_what_is_online_and_silent_is_asked_for_again(server, long_series, working, monkeypatch):
    monkeypatch.setattr(web, "SILENT_SECONDS", 0.2)
    headers = long_series[1]
    path = headers[0].series_uid
    server.fault = lambda request: (
        time.sleep(0.6) if request.path.endswith(path) and request.number == 1 else None
    )
    archive_of(server).fetch(headers, working)
    assert len(list(working.glob("*.dcm"))) == SLICES
    assert len(server.paths(path + "$")) == 2


def test_what_the_archive_asks_to_wait_is_waited(server, long_series, working):
    headers = long_series[1]

    def busy_once(request):
        if request.path.endswith(headers[0].series_uid) and request.number == 1:
            return Misbehaving(status=503, fields={"Retry-After": "2"})
        return None

    server.fault = busy_once
    started = time.monotonic()
    archive_of(server).fetch(headers, working)
    assert time.monotonic() - started >= 2
    assert os.path.getsize("archive.log")
