"""A network that fails between the archive and this side: what breaks is taken up again."""

from __future__ import annotations

import gc
import warnings

import pytest
from pydicom import dcmread

from ctcohort.archives import dimse
from ctcohort.archives.dicomweb import DicomwebArchive
from ctcohort.archives.dimse import DimseArchive
from ctcohort.archives.protocol import Query
from ctcohort.base.faults import Fault

from .hospital import KEY, archive_settings, make_long_series
from .link import Break, linked
from .servers import ARCHIVE, FETCHER, PASSWORD, USER, needs_orthanc, orthanc

pytestmark = needs_orthanc
SLICES, SIZE = 60, 128
BYTES = SLICES * SIZE * SIZE * 2


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A running Orthanc with one long series, its headers, and each file by its instance."""
    folder = tmp_path_factory.mktemp("orthanc")
    headers = make_long_series(folder / "files", SLICES, size=SIZE)
    files = {dcmread(path).SOPInstanceUID: path for path in (folder / "files").iterdir()}
    with orthanc(folder, folder / "files") as archive:
        yield archive, headers, files


@pytest.fixture
def working(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CT_COHORT_USER", USER)
    monkeypatch.setenv("CT_COHORT_PASSWORD", PASSWORD)
    (tmp_path / "into").mkdir()
    yield tmp_path
    with warnings.catch_warnings():  # pynetdicom leaves a broken socket to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def opened(kind, link):
    if kind == "dicomweb":
        url = f"http://127.0.0.1:{link.port}/dicom-web"
        settings = archive_settings(kind=kind, dicomweb={"url": url, "auth": "basic"})
        return DicomwebArchive(settings, key=KEY)
    own = {"host": "127.0.0.1", "port": link.port}
    own |= {"called_aet": ARCHIVE, "calling_aet": FETCHER}
    return DimseArchive(archive_settings(kind=kind, dimse=own), key=KEY)


def port_of(kind, archive):
    return archive.port if kind == "dimse" else int(archive.url.split(":")[2].split("/")[0])


@pytest.mark.parametrize("kind", ["dicomweb", "dimse"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9], ids=["at once", "early", "late"])
@pytest.mark.parametrize("reset", [False, True], ids=["ends", "reset"])
def test_a_connection_that_breaks_twice(served, working, kind, share, reset):
    archive, headers, files = served
    into = working / "into"
    with linked(port_of(kind, archive)) as link:
        one = opened(kind, link)
        one.find(Query(("LONG",)))
        link.breaks = [Break(int(share * BYTES), reset), Break(20_000, reset)]
        before = link.received
        one.fetch(headers, into)
        assert not link.breaks
        # what had come stayed, but for what a reset takes out of this side's buffers: on a busy
        # machine all of the series may lie there
        assert link.received - before < (2.05 if reset else 1.05) * BYTES + 200_000
    assert {path.stem for path in into.glob("*.dcm")} == set(files)
    for path in into.glob("*.dcm"):
        ours, theirs = dcmread(path), dcmread(files[path.stem])
        assert ours == theirs
        if kind == "dicomweb":
            assert path.read_bytes() == files[path.stem].read_bytes()


@pytest.mark.parametrize("kind", ["dicomweb", "dimse"])
def test_a_connection_that_falls_silent(served, working, monkeypatch, kind):
    archive, headers, files = served
    module = "web" if kind == "dicomweb" else kind
    monkeypatch.setattr(f"ctcohort.archives.{module}.SILENT_SECONDS", 1.0)
    with linked(port_of(kind, archive)) as link:
        one = opened(kind, link)
        one.find(Query(("LONG",)))
        link.breaks = [Break(BYTES // 2, stall=6.0)]
        one.fetch(headers, working / "into")
        assert not link.breaks
    assert {path.stem for path in (working / "into").glob("*.dcm")} == set(files)


def test_a_trickle_over_dimse_is_given_up(served, working, monkeypatch):
    """Bytes keep coming, so that no time-out sees it, but far too slowly."""
    archive, headers, _ = served
    monkeypatch.setattr(dimse, "INSTANCE_SECONDS", 2.0)
    monkeypatch.setattr(dimse, "SILENT_SECONDS", 5.0)
    with linked(archive.port) as link:
        one = opened("dimse", link)
        one.patience_seconds = 5
        one.find(Query(("LONG",)))
        link.bytes_per_second = SIZE * SIZE * 2 / 5
        with pytest.raises(Fault, match="gave up") as error:
            one.fetch(headers, working / "into")
    assert (error.value.reason, error.value.transient) == ("transfer_incomplete", True)


def test_an_independent_client_gets_the_same_from_orthanc(served, working):
    from dicomweb_client.api import DICOMwebClient
    from dicomweb_client.session_utils import create_session_from_user_pass

    archive, headers, _ = served
    client = DICOMwebClient(
        archive.url, session=create_session_from_user_pass(username=USER, password=PASSWORD)
    )
    with linked(port_of("dicomweb", archive)) as link:
        one = opened("dicomweb", link)
        (series,) = one.find(Query(("LONG",)))
        assert len(one.headers(series)) == SLICES
        one.fetch(headers, working / "into")
    found = client.search_for_series(search_filters={"AccessionNumber": "LONG"})
    assert [row["0020000E"]["Value"][0] for row in found] == [series.series_uid]
    theirs = list(client.iter_series(series.study_uid, series.series_uid))
    assert len(theirs) == SLICES
    for dataset in theirs:
        assert dcmread(working / "into" / f"{dataset.SOPInstanceUID}.dcm") == dataset
