"""Single oddities that servers are reported to answer with: read, or one reason; never short.

The reports are those of the servers' own issue trackers, or of their clients'; `lying_dicomweb` and
`lying_dimse` play them.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from ctcohort.archives.dicomweb import DicomwebArchive
from ctcohort.archives.dimse import DimseArchive
from ctcohort.archives.protocol import Query
from ctcohort.base.faults import Fault

from .hospital import KEY, archive_settings
from .lying_dicomweb import Lies, lying
from .lying_dimse import Lies as DimseLies
from .lying_dimse import lying_dimse
from .servers import ARCHIVE, FETCHER
from .test_faults import tls_in_front
from .test_random_archives import outcome

pytestmark = pytest.mark.usefixtures("hurried")

READ = {
    "gzip, though files are asked for without (dcm4chee-arc-light #2803)": Lies(encoding="gzip"),
    "gzip in chunks, some cut": Lies(encoding="gzip", chunked=True, fails=5),
    "deflate of single parts, some cut": Lies(
        encoding="deflate", series=404, instance_forms=("single",), fails=5
    ),
    "HTTP/1.0, without lengths": Lies(closes=True),
    "429 with a date": Lies(busy=1),
    "searches that heed nothing (dcmjs-org/dicomweb-server #30)": Lies(filters=False),
    "a single part always (dcmjs-org/dicomweb-server #59)": Lies(series=404, always_single=True),
    "application/json only (ImagingDataCommons/dicomweb-client #11)": Lies(
        accepts="application/json"
    ),
    "JSON as text/plain": Lies(json_type="text/plain; charset=utf-8"),
    "JSON after a byte order mark": Lies(json="BOM"),
    "JSON in Latin-1 (lamyj/odil #31)": Lies(json="Latin-1"),
    "no JSON in /metadata (Conquest-DICOM-Server #26)": Lies(json="damaged"),
    "numbers as text (dcm4chee-arc-light #2921)": Lies(json="numbers as text"),
    "the first of several values (knopkem/dicomweb-proxy #12)": Lies(json="first values"),
    "several values in one text": Lies(json="joined values"),
    "NaN and -Infinity (microsoft/dicom-server #3530)": Lies(json="no numbers"),
    "NUL behind text (microsoft/dicom-server #2641)": Lies(json="NUL behind text"),
    "BulkDataURI for values": Lies(json="bulk data"),
    "a boundary that stands in a file (UMEssen/DICOM-RST #59)": Lies(form="fixed"),
    "a boundary with blanks (DICOMcloud #115)": Lies(form="words"),
    "a boundary in single quotes (knopkem/dicomweb-proxy #118)": Lies(form="quoted"),
    "wrong lengths of parts": Lies(form="wrong lengths"),
    "no closing delimiter": Lies(form="unclosed"),
    "no closing delimiter, some cut": Lies(form="unclosed", chunked=True, fails=5),
}


@pytest.fixture(autouse=True)
def working(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def archive_at(url, **dicomweb):
    own = {"url": url, **dicomweb}
    settings = archive_settings(kind="dicomweb", dicomweb=own, patience_seconds=0.6)
    archive = DicomwebArchive(settings, key=KEY)
    archive.manners._granted = True
    return archive


def dimse_at(server, host="127.0.0.1"):
    own = {"host": host, "port": server.port, "called_aet": ARCHIVE, "calling_aet": FETCHER}
    settings = archive_settings(kind="dimse", dimse=own, patience_seconds=4)
    archive = DimseArchive(settings, key=KEY)
    archive.manners._granted = True
    return archive


def received(accession):
    return {path.stem: path.read_bytes() for path in Path("raw", accession).glob("*.dcm")}


@pytest.mark.parametrize("lies", READ.values(), ids=READ)
def test_an_odd_answer_is_read_byte_for_byte(small, lies):
    with lying(small, lies) as server:
        assert outcome(archive_at(server.url), "R1", server.holds("R1")) == "complete"
        files = received("R1")
        assert len(files) == 12  # the better one of two series
        assert files == {
            uid: server.sent(one) for one in small if (uid := one.value("00080018")) in files
        }


def test_a_study_behind_others_that_were_not_asked_for_is_found_by_its_uid(small):
    """dcmjs-org/dicomweb-server #30: searches heed nothing; here with pages of one."""
    with lying(small, Lies(filters=False, page=1)) as server:
        for uid in {one.value("0020000D") for one in small}:
            found = archive_at(server.url).find(Query((), study_uid=uid))
            assert {series.study_uid for series in found} == {uid}


def test_an_instance_that_is_counted_twice_is_not_taken_for_another(small):
    """medplum #10154: an instance that is stored again is told twice."""
    with lying(small, Lies(doubled=2)) as server:
        assert outcome(archive_at(server.url), "R1", server.holds("R1")) == "still_arriving"


def test_a_study_whose_series_are_not_listed_is_not_called_not_found(small, capsys):
    """dcm4chee-arc-light #3719: 204 for the series of a study whose instances were purged."""
    with lying(small, Lies(lists_series=False)) as server:
        assert outcome(archive_at(server.url), "R1", server.holds("R1")) == "no_answer"
    assert "counts 3 series in a study and lists none" in capsys.readouterr().err


def test_an_accession_that_is_not_told_is_not_called_not_found(small, capsys):
    """dcm4chee-arc-light #2956: the accession number is blanked in answers to some."""
    with lying(small, Lies(tells_accession=False)) as server:
        assert outcome(archive_at(server.url), "R1", server.holds("R1")) == "archive_refused"
        found = archive_at(server.url).find(Query((), study_uid=small[0].value("0020000D")))
        assert len(found) == 3
    with lying_dimse(small, DimseLies(omits="accession")) as server:
        assert outcome(dimse_at(server), "R1", server.holds("R1")) == "archive_refused"
    assert capsys.readouterr().err.count("tells the AccessionNumber of none") == 2


def test_no_login_follows_a_redirect(small, monkeypatch):
    monkeypatch.setenv("CT_COHORT_USER", "me")
    monkeypatch.setenv("CT_COHORT_PASSWORD", "mine")
    with lying(small, Lies(redirects=True)) as server:
        archive = archive_at(server.url, auth="basic")
        (series,) = (s for s in archive.find(Query(("R1",))) if s.instances == 12)
        headers = archive.headers(series)
        with pytest.raises(Fault, match="redirects to localhost, which is not followed"):
            archive.fetch(headers, Path())
        assert not [path for path in server.requests if "signature=" in path]


def test_an_intermediate_that_the_archive_does_not_send(small, certificates, tmp_path):
    bundle = tmp_path / "bundle.pem"
    with lying(small, Lies()) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        side = (certificates / "behind.pem", certificates / "behind.key", None)
        with tls_in_front(port, *side) as secure:
            url = f"https://127.0.0.1:{secure}/dicom-web"
            bundle.write_bytes((certificates / "ca.pem").read_bytes())
            with pytest.raises(Fault, match=r"issuer.*every intermediate that the archive does"):
                archive_at(url, ca_bundle=str(bundle)).prepare(threads=1)
            with bundle.open("ab") as stream:
                stream.write((certificates / "intermediate.pem").read_bytes())
            archive_at(url, ca_bundle=str(bundle)).prepare(threads=1)


def test_an_archive_that_speaks_only_old_tls_is_told_from_one_that_wants_a_certificate(
    small, certificates
):
    bundle = str(certificates / "ca.pem")
    with lying(small, Lies()) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        side = (certificates / "server.pem", certificates / "server.key", None)
        with tls_in_front(port, *side, newest=ssl.TLSVersion.TLSv1_1) as secure:
            archive = archive_at(f"https://127.0.0.1:{secure}/dicom-web", ca_bundle=bundle)
            with pytest.raises(Fault, match="versions of TLS that are no longer safe"):
                archive.prepare(threads=1)


def test_an_archive_at_an_ipv6_address(small):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("IPv6 on this machine's loopback")
    with lying(small, Lies(), host="::1") as server:
        assert outcome(archive_at(server.url), "R1", server.holds("R1")) == "complete"
    with lying_dimse(small, DimseLies(), host="::1") as server:
        assert outcome(dimse_at(server, "::1"), "R 2", server.holds("R 2")) == "complete"


@pytest.mark.parametrize("lies", [DimseLies(series="counted"), DimseLies(numbers=False, images=10)])
def test_the_right_series_is_found_where_numbers_cannot_be_asked_for(small, lies):
    """tiny_pacs 0.4: the number of instances is that of the study, under one of its series; a query
    for an InstanceNumber ends the association."""
    with lying_dimse(small, lies) as server:
        assert outcome(dimse_at(server), "R1", server.holds("R1")) == "complete"
    assert len(received("R1")) == 12


@pytest.mark.parametrize("counts", [True, False])
def test_one_series_again_and_again_is_no_answer(small, capsys, counts):
    """tiny_pacs 0.4: as many answers as there are series, each the first one."""
    with lying_dimse(small, DimseLies(series="first", counts=counts)) as server:
        assert outcome(dimse_at(server), "R1", server.holds("R1")) == "no_answer"
    assert "3 answers about the series of a study, and names 1" in capsys.readouterr().err


def test_an_answer_without_a_value_is_nothing_found(small):
    """pynetdicom #749: an empty identifier where nothing matches."""
    with lying_dimse(small, DimseLies(blank=True)) as server:
        assert outcome(dimse_at(server), "R9", {}) == "not_found"
        assert outcome(dimse_at(server), "R1", server.holds("R1")) == "complete"


@pytest.mark.parametrize(
    "lies",
    [
        DimseLies(padding="\0\0", pending=0xFF01),
        DimseLies(padding="   ", omits="empty", pdu=20),
        DimseLies(get_ends=0xB000, sent=5),
        DimseLies(aborts_after=5, pdu=0),
        DimseLies(sends_meta=True),
    ],
    ids=["NUL, FF01", "blanks, nothing empty, a PDU of 20", "B000", "aborts", "File Meta"],
)
def test_an_odd_answer_over_dimse_is_read(small, lies):
    with lying_dimse(small, lies) as server:
        assert outcome(dimse_at(server), "R1", server.holds("R1")) == "complete"
    assert len(received("R1")) == 12
