"""DIMSE archives: the same choice and the same bytes, whatever the archive tells."""

from __future__ import annotations

import threading
import time

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from .dicomweb_server import read_folder
from .dimse_server import dimse_serving
from .hospital import Run, archive_settings, make_long_series
from .servers import ARCHIVE, FETCHER, dcmqrscp, needs_dcmtk, needs_orthanc, orthanc


@pytest.fixture(scope="module")
def by_folder(hospital, tmp_path_factory):
    folder, accessions = hospital
    settings = archive_settings(folder={"path": str(folder)})
    return Run(tmp_path_factory.mktemp("by_folder"), settings, {}).fetch(accessions)


def dimse(port, **changes):
    own = {"host": "127.0.0.1", "port": port, "called_aet": ARCHIVE, "calling_aet": FETCHER}
    own |= changes.pop("dimse", {})
    return archive_settings(kind="dimse", dimse=own, **changes)


def assert_same(run, other):
    assert run.chosen() == other.chosen()
    assert set(run.chosen()) == {"A0001", "A 02/B+", "00A3"}
    for accession in run.chosen():
        assert run.data_sets(accession) == other.data_sets(accession)


def test_same_cohort_from_a_pynetdicom_archive(hospital, stored, by_folder, tmp_path):
    with dimse_serving(stored) as server:
        assert_same(Run(tmp_path, dimse(server.port), {}).fetch(hospital[1]), by_folder)


@needs_orthanc
def test_same_cohort_from_orthanc_by_get(hospital, by_folder, tmp_path):
    with orthanc(tmp_path, hospital[0]) as archive:
        run = Run(tmp_path / "run", dimse(archive.port), {}).fetch(hospital[1])
    assert_same(run, by_folder)


@needs_orthanc
def test_same_cohort_from_orthanc_by_move(hospital, by_folder, tmp_path):
    with orthanc(tmp_path, hospital[0]) as archive:
        own = {"method": "move", "move_port": archive.move_port}
        run = Run(tmp_path / "run", dimse(archive.port, dimse=own), {}).fetch(hospital[1])
    assert_same(run, by_folder)


@needs_dcmtk
def test_same_cohort_from_an_archive_that_tells_nothing_of_images(hospital, by_folder, tmp_path):
    with dcmqrscp(tmp_path, hospital[0]) as archive:
        run = Run(tmp_path / "run", dimse(archive.port), {})
        run.prepare(hospital[1])
        assert run.index().returncode == 0
        looked_at = run.folder / "raw/.partial/A0001"
        assert len(list(looked_at.glob("*.dcm"))) >= 40
        assert not (run.folder / "raw/.partial/A0004").exists()
        log = run.folder / "archive.log"
        before = log.read_text()
        for accession in run.chosen():
            assert run.download(accession).returncode == 0
        assert log.read_text() == before  # nothing was asked: the files were there
    assert_same(run, by_folder)


def test_wrong_called_title_is_one_line(stored, tmp_path):
    with dimse_serving(stored) as server:
        run = Run(tmp_path, dimse(server.port, dimse={"called_aet": "ELSEWHERE"}), {})
        run.prepare(["A0001"])
        result = run.index()
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "error: the archive does not know the called AE title 'ELSEWHERE'; put the one that its"
        " administrator names into archive.dimse.called_aet"
    ]


@needs_orthanc
def test_a_calling_title_that_orthanc_does_not_know_is_one_line(tmp_path):
    (tmp_path / "files").mkdir()
    with orthanc(tmp_path, tmp_path / "files") as archive:
        run = Run(tmp_path / "run", dimse(archive.port, dimse={"calling_aet": "STRANGER"}), {})
        run.prepare(["A0001"])
        started = time.monotonic()
        result = run.index()
        assert time.monotonic() - started < 15
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == (
        "error: the archive answers C-ECHO and broke off 3 queries: it does not let the calling AE"
        " title 'STRANGER' query. Put the one that its administrator names into"
        " archive.dimse.calling_aet"
    )


def test_an_archive_whose_associations_are_all_taken_is_asked_again(stored, tmp_path):
    with dimse_serving(stored, associations=1) as server:
        entity = AE("SOMEBODY")
        entity.add_requested_context(Verification)
        other = entity.associate("127.0.0.1", server.port, ae_title=ARCHIVE)
        assert other.is_established
        threading.Timer(1.5, other.release).start()
        run = Run(tmp_path, dimse(server.port), {})
        run.prepare(["A0001"])
        result = run.index()
    assert result.returncode == 0
    assert "the archive refused the association; trying again" in result.stdout
    assert "\trefused\t" in (tmp_path / "archive.log").read_text()
    assert set(run.chosen()) == {"A0001"}


def test_an_association_that_dies_is_taken_up_where_it_was(tmp_path):
    headers = make_long_series(tmp_path / "files", 80)
    with dimse_serving(read_folder(tmp_path / "files"), fails_after=30) as server:
        run = Run(tmp_path / "run", dimse(server.port), {})
        run.prepare(["LONG"])
        assert run.index().returncode == 0
        assert run.download("LONG").returncode == 0
        assert len(run.received("LONG")) == len(headers)
        assert server.gets[0] == 80
        assert server.gets[1] == 50
        assert sum(server.gets) < 80 + 50 + 50


@pytest.mark.parametrize(
    ("host", "told"),
    [("127.0.0.1", "refused the connection"), ("no.such.host.invalid", "host name is not known")],
)
def test_host_down_is_one_line(tmp_path, host, told):
    run = Run(tmp_path, dimse(9, dimse={"host": host}, patience_seconds=1), {})
    run.prepare(["A0001"])
    result = run.index()
    assert result.returncode == 1
    *tries, last = result.stdout.splitlines()
    assert all("trying again" in line for line in tries)
    assert told in last


@needs_orthanc
def test_tls_with_a_private_ca(hospital, by_folder, certificates, tmp_path):
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificates / "server.pem"),
        "DicomTlsPrivateKey": str(certificates / "server.key"),
        "DicomTlsTrustedCertificates": str(certificates / "ca.pem"),
    }
    own = {
        "certificate": str(certificates / "client.pem"),
        "key": str(certificates / "client.key"),
    }
    with orthanc(tmp_path, hospital[0], **options) as archive:

        def run_with(name, tls):
            settings = dimse(archive.port, dimse={"tls": tls}, patience_seconds=1)
            run = Run(tmp_path / name, settings, {})
            run.prepare(["A0001"])
            return run

        wrong = run_with("wrong", {**own, "ca_bundle": str(certificates / "other.pem")}).index()
        assert wrong.returncode == 1
        assert "certificate is not trusted" in wrong.stdout.splitlines()[-1]
        plain = run_with("plain", None).index()
        assert plain.returncode == 1
        assert plain.stdout.splitlines()[-1].startswith("error: ")
        run = run_with("right", {**own, "ca_bundle": str(certificates / "ca.pem")})
        result = run.index()
        assert result.returncode == 0, result.stdout
        assert run.download("A0001").returncode == 0
    assert run.data_sets("A0001") == by_folder.data_sets("A0001")
