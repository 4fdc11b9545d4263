"""DICOMweb archives: what is asked, what is believed, and what arrives."""

from __future__ import annotations

import pytest

from ctcohort.archives.dicomweb import DicomwebArchive
from ctcohort.archives.protocol import Query, Stopped
from ctcohort.base.faults import Fault as Refusal

from .dicomweb_server import Fault, Server, read_folder, serving_stored
from .hospital import KEY, Run, archive_settings, make_long_series
from .lying_dicomweb import Lies, lying


@pytest.fixture
def server(stored):
    with serving_stored(stored) as server:
        yield server


@pytest.fixture(autouse=True)
def working(tmp_path, monkeypatch):
    """A fresh working directory: the files that speak between jobs live there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dicomweb(server: Server, **changes) -> dict:
    own = changes.pop("dicomweb", {})
    return archive_settings(kind="dicomweb", dicomweb={"url": server.url, **own}, **changes)


def archive_of(server: Server, **changes) -> DicomwebArchive:
    return DicomwebArchive(dicomweb(server, **changes), key=KEY)


def accession(text: str) -> Query:
    return Query((text,))


def test_same_cohort_from_folder_and_from_dicomweb(hospital, server, tmp_path):
    folder, accessions = hospital
    runs = [
        Run(tmp_path / "folder", archive_settings(folder={"path": str(folder)}), {}),
        Run(tmp_path / "dicomweb", dicomweb(server), {}),
    ]
    for run in runs:
        run.prepare(accessions)
        assert run.index().returncode == 0
        for name in run.chosen():
            assert run.download(name).returncode == 0
    by_folder, by_dicomweb = runs
    assert len(by_folder.chosen()) == 3
    assert by_folder.chosen() == by_dicomweb.chosen()
    for name in by_folder.chosen():
        assert by_folder.received(name) == by_dicomweb.received(name)
    reasons = {row["accession"]: row["reason"] for row in by_dicomweb.series_rows()}
    assert reasons["A0099"] == "not_found"
    assert reasons["A0004"] == "derived"


def test_an_accession_is_compared_exactly(server):
    found = archive_of(server).find(accession("A0001"))
    assert len({series.study_uid for series in found}) == 1


def test_a_wildcard_stands_in_where_the_archive_does_not_decode(stored):
    def undecoded(request):
        return Fault(status=204) if "AccessionNumber=A%20" in request.path else None

    with serving_stored(stored, fault=undecoded) as server:
        found = archive_of(server).find(accession("A 02/B+"))
        assert len(found) == 1
        assert server.paths(r"AccessionNumber=A\?02\?B\?&")


def test_headers_are_asked_only_of_series_that_can_win(server, tmp_path):
    run = Run(tmp_path / "run", dicomweb(server), {})
    run.prepare(["A0001"])
    run.index()
    assert len(server.paths("/metadata$")) == 2  # the reformat of 60 and the series of 40
    assert not server.paths("/instances/")
    reasons = sorted(row["reason"] for row in run.series_rows())
    assert reasons == ["derived", "fewer_slices", "not_ct", "selected", "too_few_slices"]


def test_a_second_index_asks_only_for_what_was_not_found(hospital, server, tmp_path):
    run = Run(tmp_path / "run", dicomweb(server), {})
    run.prepare(hospital[1])
    run.index()
    first = run.series_rows()
    server.requests.clear()
    run.index()
    assert run.series_rows() == first
    asked = [path for path in server.requests if "1.2.3" not in path]
    assert asked
    assert all("AccessionNumber=A0099" in path for path in asked)


def test_pages_are_followed_until_nothing_new_comes(server, monkeypatch):
    monkeypatch.setattr("ctcohort.archives.dicomweb.PAGES", (2,))
    assert len(archive_of(server).find(accession("A0001"))) == 5


def test_a_study_is_found_by_its_uid(server):
    one = archive_of(server).find(accession("A0001"))[0]
    found = archive_of(server).find(Query(("nothing",), one.study_uid))
    assert one in found


def test_prefixes_are_tried_and_two_studies_are_ambiguous(server):
    archive = archive_of(server)
    assert archive.find(Query(("xA0001", "A0001"))) == archive.find(accession("A0001"))
    both = archive.find(Query(("A0001", "a0001")))
    assert len({series.study_uid for series in both}) == 2


def test_an_archive_without_the_wildcard_syntax_still_gives_files(stored, working):
    with serving_stored(stored, accepts_wildcard=False) as server:
        archive = archive_of(server)
        series = next(s for s in archive.find(accession("A0001")) if s.instances == 40)
        archive.fetch(archive.headers(series), working)
        assert len(list(working.glob("*.dcm"))) == 40


@pytest.mark.parametrize("lengths", [True, False])
def test_parts_come_with_and_without_a_length(stored, working, lengths):
    with serving_stored(stored, fault=lambda _: Fault(lengths=lengths)) as server:
        archive = archive_of(server)
        series = next(s for s in archive.find(accession("00A3")) if s.instances == 42)
        archive.fetch(archive.headers(series), working)
    originals = {one.path.read_bytes() for one in stored if one.value("00080050") == "00A3"}
    assert {path.read_bytes() for path in working.glob("*.dcm")} == originals


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut=30_000),
        Fault(cut=30_000, reset=True),
        Fault(cut=30_000, lengths=True),
        Fault(cut=10),
        Fault(status=503, fields={"Retry-After": "0"}),
        Fault(status=429),
        Fault(status=500),
    ],
    ids=str,
)
def test_what_breaks_is_asked_again_and_nothing_twice(tmp_path, working, fault):
    headers = make_long_series(tmp_path / "source", 60)
    (working / "into").mkdir()

    def first_stream_breaks(request):
        whole = request.path.endswith(headers[0].series_uid)
        return fault if whole and request.number == 1 else None

    with serving_stored(read_folder(tmp_path / "source"), fault=first_stream_breaks) as server:
        archive_of(server).fetch(headers, working / "into")
        arrived = {path.stem for path in (working / "into").glob("*.dcm")}
        assert arrived == {header.sop_instance_uid for header in headers}
        assert not list((working / "into").glob(".part*"))
        if fault.cut == 30_000:
            assert len(server.paths("/instances/")) < len(headers)
            assert len(server.paths(headers[0].series_uid + "$")) == 1


def test_only_missing_instances_are_fetched_on_resuming(tmp_path, working):
    headers = make_long_series(tmp_path / "source", 40)
    with serving_stored(read_folder(tmp_path / "source")) as server:
        archive = archive_of(server)
        archive.fetch(headers, working)
        lost = headers[:7]
        for header in lost:
            (working / f"{header.sop_instance_uid}.dcm").unlink()
        server.requests.clear()
        archive.fetch(lost, working)
        assert len(server.paths("/instances/")) == len(lost)
        assert not server.paths(headers[0].series_uid + "$")


def test_an_independent_client_sees_the_same(server):
    from dicomweb_client.api import DICOMwebClient

    client = DICOMwebClient(server.url)
    archive = archive_of(server)
    for series in archive.find(accession("A0001")):
        told = client.retrieve_series_metadata(series.study_uid, series.series_uid)
        uids = {row["00080018"]["Value"][0] for row in told}
        assert uids == {header.sop_instance_uid for header in archive.headers(series)}
        assert len(uids) == series.instances


def test_what_is_no_uid_never_becomes_a_file(stored):
    odd = [one for one in stored if one.value("00080050") == "A0001"]
    first = next(one for one in odd if one.value("00080060") == "CT")
    bad = type(first)(dict(first.row), first.path, first.syntax)
    bad.row["00080018"] = {"vr": "UI", "Value": ["../../etc/passwd"]}
    with serving_stored([*odd, bad]) as server:
        archive = archive_of(server)
        for series in archive.find(accession("A0001")):
            assert all("/" not in one.sop_instance_uid for one in archive.headers(series))


def lying_archive(server, **changes):
    changes.setdefault("patience_seconds", 2)
    own = {"url": server.url}
    return DicomwebArchive(archive_settings(kind="dicomweb", dicomweb=own, **changes), key=KEY)


def test_a_limit_that_the_archive_refuses_is_learned_once(stored):
    with lying(stored, Lies(largest_limit=50)) as server:
        archive = lying_archive(server)
        assert len(archive.find(accession("A0001"))) == 5
        refused = [path for path in server.requests if "limit=50&" not in path]
        assert len(refused) == 5  # 500, 200 and 100, these two also without further attributes
        archive.find(accession("00A3"))
        assert all("limit=50&" in path for path in server.requests[len(refused) :])


def test_attributes_that_the_archive_refuses_cost_no_smaller_pages(stored):
    """Google's Healthcare API answers 400 to attributes that it does not know (wsidicom #149)."""
    with lying(stored, Lies(fields=False)) as server:
        archive = lying_archive(server)
        assert len(archive.find(accession("A0001"))) == 5
        assert len([path for path in server.requests if "includefield" in path]) == 2
        assert "limit=200&" in server.requests[-1]


def test_a_page_that_is_shorter_than_others_were_is_the_last(stored):
    with lying(stored, Lies()) as server:
        archive = lying_archive(server)
        archive.find(accession("A0001"))
        before = len(server.requests)
        archive.find(accession("00A3"))
        assert len(server.requests) - before == 2  # the study, its series, and nothing behind


def test_an_offset_that_is_ignored_ends_though_rows_change(stored):
    lies = Lies(ignores_offset=True, rows_change=True, page=3, counts=False)
    with lying(stored, lies) as server:
        assert len(lying_archive(server).find(accession("A0001"))) == 3
        assert len(server.requests) < 8


@pytest.mark.parametrize("told", [{"hints": "299", "counts": False}, {"rows_change": True}])
def test_a_list_that_the_archive_calls_or_counts_longer_is_not_believed(stored, told):
    """The best series may be among what it does not give (DICOMcloud #17)."""
    with lying(stored, Lies(ignores_offset=True, page=3, **told)) as server:
        with pytest.raises(Refusal, match="more results than the 3") as error:
            lying_archive(server).find(accession("A0001"))
        assert error.value.transient
        assert len(server.requests) < 8


def test_what_nothing_confirms_is_looked_at(stored, working):
    """No count, no list of instances, and metadata that is cut off without a word."""
    with lying(stored, Lies(counts=False, lists=False, described=20)) as server:
        archive = lying_archive(server)
        (series,) = archive.find(accession("00A3"))
        with archive.serving("00A3"):
            assert len(archive.headers(series)) == 42
    assert len(list((working / "raw/.partial/00A3").glob("*.dcm"))) == 42


def test_a_count_that_only_the_study_has_is_held_against_the_headers(stored):
    """The last series' count is what the study's leaves."""
    only = [one for one in stored if one.value("00080050") == "00A3"]
    for one in only:
        one.row["00201208"] = {"vr": "IS", "Value": [42]}
    lies = Lies(counts=False)
    try:
        with lying(only, lies) as server:
            (series,) = lying_archive(server).find(accession("00A3"))
            assert series.instances == 42
    finally:
        for one in only:
            del one.row["00201208"]


def test_a_403_before_anything_was_granted_stops_and_later_does_not(stored, working):
    lies = Lies(forbidden=frozenset({"A0001"}))
    with lying(stored, lies) as server:
        with pytest.raises(Stopped, match="403"):
            lying_archive(server).find(accession("A0001"))
        assert (working / "archive.stop").exists()
        (working / "archive.stop").unlink()
        lying_archive(server).find(accession("00A3"))
        again = lying_archive(server)  # another job
        with pytest.raises(Refusal, match="403") as refused, again.serving("A0001"):
            again.find(accession("A0001"))
        assert (refused.value.reason, refused.value.transient) == ("archive_refused", False)
        assert not isinstance(refused.value, Stopped)
        assert not (working / "archive.stop").exists()


def test_ten_refused_in_a_row_stop(stored, working):
    with lying(stored, Lies(forbidden=frozenset({"A0001"}))) as server:
        archive = lying_archive(server)
        archive.find(accession("00A3"))
        for number in range(10):
            assert not (working / "archive.stop").exists()
            with pytest.raises(Refusal), archive.serving(f"B{number}"):
                archive.find(accession("A0001"))
        assert "10 accessions failed in a row" in (working / "archive.stop").read_text()


def test_404_is_nothing_found_only_where_the_service_is_there(stored):
    with lying(stored, Lies(nothing=404)) as server:
        archive = lying_archive(server)
        archive.prepare(threads=1)
        assert archive.find(accession("nobody")) == []
        server.stored = []  # as if there were no such service
        elsewhere = lying_archive(server)
        with pytest.raises(Refusal, match="expected the root of a DICOMweb service"):
            elsewhere.find(accession("nobody"))
