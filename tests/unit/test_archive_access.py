"""The parts of network archives that need no network."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctcohort.archives import manners
from ctcohort.archives.manners import Manners
from ctcohort.archives.multipart import PartReader, boundary_of
from ctcohort.archives.protocol import Changed
from ctcohort.archives.retrying import Patience, Transient
from ctcohort.base.faults import Fault, InputError
from ctcohort.config.hours import Hours
from ctcohort.config.settings import connections_of

BOUNDARY = b"a-boundary"
FREE = {
    "connections": 2,
    "hours": [],
    "timezone": None,
    "max_mb_per_second": None,
    "max_queries_per_second": None,
}


@pytest.fixture
def working(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index").mkdir()
    return tmp_path


def body_of(parts, *, lengths, close=True):
    body = b""
    for part in parts:
        length = b"Content-Length: %d\r\n" % len(part) if lengths else b""
        body += b"\r\n--%s\r\nContent-Type: application/dicom\r\n%s\r\n%s" % (
            BOUNDARY,
            length,
            part,
        )
    return body + (b"\r\n--%s--\r\n" % BOUNDARY if close else b"")


def chunked(body, size):
    return iter([body[start : start + size] for start in range(0, len(body), size)])


@given(
    parts=st.lists(
        st.binary(max_size=200)
        | st.sampled_from([b"", b"\r\n", b"\r\n--a-bound", b"--a-boundary", b"\r\n\r\n--"]),
        max_size=5,
    ),
    size=st.integers(1, 60),
    lengths=st.booleans(),
)
def test_parts_come_out_as_they_went_in(tmp_path_factory, parts, size, lengths):
    into = tmp_path_factory.getbasetemp()
    reader = PartReader(chunked(body_of(parts, lengths=lengths), size), BOUNDARY)
    assert [path.read_bytes() for path in reader.files(into)] == parts
    assert not list(into.glob(".part*"))


@given(st.data())
def test_a_body_that_ends_early_is_never_taken_for_whole(tmp_path_factory, data):
    parts = [b"x" * 40, b"y" * 30]
    body = body_of(parts, lengths=data.draw(st.booleans()))
    cut = data.draw(st.integers(0, len(body) - len(b"--\r\n") - 1))
    reader = PartReader(chunked(body[:cut], 16), BOUNDARY)
    came = []
    with pytest.raises(Transient):
        for path in reader.files(tmp_path_factory.getbasetemp()):
            came.append(path.read_bytes())  # noqa: PERF401 - kept when the next one fails
    assert came == parts[: len(came)]
    assert len(came) >= body[:cut].count(BOUNDARY + b"\r\nContent-Type:") - 1


@given(
    before=st.binary(max_size=20),
    after=st.sampled_from([b"", b"\0", b" of two", b"-x", b"\r", b"\r\n\0a: b", b"\n\r"]),
    size=st.integers(1, 60),
)
def test_a_boundary_that_stands_in_a_part_is_no_delimiter(tmp_path_factory, before, after, size):
    part = before + b"\r\n--a-boundary" + after
    reader = PartReader(chunked(body_of([part, part], lengths=False), size), BOUNDARY)
    into = tmp_path_factory.getbasetemp()
    assert [path.read_bytes() for path in reader.files(into)] == [part, part]


@given(cut=st.integers(0, 200), size=st.integers(1, 60))
def test_a_part_that_is_whole_by_itself_comes_out_though_the_reply_ends(
    tmp_path_factory, cut, size
):
    part = b"x" * 40
    body = body_of([part], lengths=False)[:cut]
    reader = PartReader(chunked(body, size), BOUNDARY, lambda path: path.read_bytes() == part)
    came = []
    closed = cut >= len(body_of([part], lengths=False)) - 2
    try:
        for path in reader.files(tmp_path_factory.getbasetemp()):
            came.append(path.read_bytes())  # noqa: PERF401 - kept when the next one fails
        assert closed
    except Transient:
        assert not closed
    assert came == ([part] if body.endswith(part) or part + b"\r" in body else [])


def test_the_boundary_is_read_quoted_or_not():
    kind = 'multipart/related; type="application/dicom"; boundary='
    assert boundary_of(kind + "abc; start=1") == b"abc"
    assert boundary_of(kind + '"a b"') == b"a b"
    assert boundary_of(kind + "a b; start=1") == b"a b"
    assert boundary_of(kind + "'abc'") == b"abc"
    assert boundary_of("text/html; boundary=abc") is None
    assert boundary_of('Multipart/Related ; type="application/dicom" ; boundary = "abc"') == b"abc"
    assert boundary_of("multipart/mixed;boundary=abc") == b"abc"
    assert boundary_of("multipart/related; no-boundary=abc") is None


@given(parts=st.lists(st.binary(max_size=60), max_size=4), size=st.integers(1, 40))
def test_lines_may_end_in_lf_alone(tmp_path_factory, parts, size):
    body = b"preamble"
    for part in parts:
        body += b"\n--%s\nContent-Type: application/dicom\n\n%s" % (BOUNDARY, part)
    reader = PartReader(chunked(body + b"\n--%s--\n" % BOUNDARY, size), BOUNDARY)
    into = tmp_path_factory.getbasetemp()
    assert [path.read_bytes() for path in reader.files(into)] == parts


@pytest.mark.parametrize(
    ("windows", "when", "expected"),
    [
        ([], "2024-01-01T12:00", True),
        (["mon-fri 18:00-06:00"], "2024-01-01T17:59", False),
        (["mon-fri 18:00-06:00"], "2024-01-01T18:00", True),
        (["mon-fri 18:00-06:00"], "2024-01-02T05:59", True),
        (["mon-fri 18:00-06:00"], "2024-01-06T05:59", True),  # Friday's night
        (["mon-fri 18:00-06:00"], "2024-01-07T20:00", False),
        (["mon-fri 18:00-06:00"], "2024-01-01T05:00", False),  # Sunday's night
        (["sat,sun"], "2024-01-06T00:00", True),
        (["sat,sun"], "2024-01-08T00:00", False),
        (["fri-mon"], "2024-01-07T12:00", True),
        (["22:00-05:00"], "2024-01-03T04:00", True),
    ],
)
def test_windows(windows, when, expected):
    moment = datetime.fromisoformat(when + "+00:00")
    assert Hours(windows, "UTC").are_open(moment) is expected


def test_windows_are_in_their_time_zone():
    noon = datetime(2024, 1, 3, 12, tzinfo=UTC)
    assert Hours(["13:00-13:30"], "Europe/Zurich").are_open(noon)
    assert not Hours(["12:00-12:30"], "Europe/Zurich").are_open(noon)
    assert Hours(["mon-fri 18:00-06:00"], "UTC").share == pytest.approx(60 / 168)


@pytest.mark.parametrize("text", ["", "monday", "mon 25:00-26:00", "mon 18-06", "x-y"])
def test_a_window_that_cannot_be_read_is_shown(text):
    with pytest.raises(InputError, match=r"archive\.hours"):
        Hours([text])


def test_an_unknown_time_zone_is_shown():
    with pytest.raises(InputError, match="Europe/Nowhere"):
        Hours([], "Europe/Nowhere")


def test_patience_ends_as_a_transient_fault(monkeypatch):
    slept = []
    monkeypatch.setattr("random.random", lambda: 0.5)  # no jitter
    monkeypatch.setattr("time.sleep", slept.append)

    def fail():
        raise Transient("it broke")

    patience = Patience(100)
    with pytest.raises(Fault, match="it broke; gave up") as error:
        patience.insist(fail)
    assert error.value.transient
    assert 60 < sum(slept) <= 100
    assert len(slept) > 4


def test_what_the_archive_asks_to_wait_is_waited(monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    answers = iter([Transient("busy", wait=7), Transient("busy", wait=9), None])

    def ask():
        error = next(answers)
        if error:
            raise error
        return "done"

    assert Patience(100).insist(ask) == "done"
    assert slept == [7, 9]


def test_a_wait_that_is_too_long_is_not_begun(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: pytest.fail("waited"))

    def ask():
        raise Transient("busy", wait=3600)

    with pytest.raises(Fault):
        Patience(100).insist(ask)


def fail(behaved, accession, reason="archive_unreachable"):
    with pytest.raises(Fault), behaved.serving(accession):
        behaved.before_request()
        raise Fault(reason, "why", transient=True)


def test_ten_different_accessions_in_a_row_close_the_door(working):
    behaved = Manners(FREE)
    for _ in range(3):
        for number in range(9):
            fail(behaved, f"A{number}")
    assert not (working / "archive.stop").exists()
    with behaved.serving("B"):
        behaved.before_request()
    fail(behaved, "A9")
    assert not (working / "archive.stop").exists()
    for number in range(9):
        fail(Manners(FREE), f"A{number}")
    assert "10 accessions failed in a row: why" in (working / "archive.stop").read_text()
    with pytest.raises(Fault, match=r"remove archive\.stop"):
        behaved.before_request()


def test_transfers_that_break_count_and_answers_that_changed_do_not(working):
    for number in range(12):
        behaved = Manners(FREE)
        with pytest.raises(Changed), behaved.serving(f"A{number}"):
            behaved.before_request()
            raise Changed("gone")
    assert not (working / "archive.stop").exists()
    for number in range(10):
        fail(Manners(FREE), f"A{number}", "transfer_incomplete")
    assert (working / "archive.stop").exists()


def test_reasons_that_are_not_the_archives_do_not_count(working):
    for number in range(12):
        fail(Manners(FREE), f"A{number}", "truncated_file")
    assert not (working / "archive.stop").exists()


def test_limits_are_shared_by_the_connections(working, monkeypatch):  # noqa: ARG001
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    behaved = Manners({**FREE, "max_mb_per_second": 4, "max_queries_per_second": 10})
    behaved.received(1_000_000)
    assert slept == [0.5]  # two connections: 2 MB/s each
    behaved.before_request()
    behaved.before_request()
    assert slept[1:] == [0, pytest.approx(0.2)]


def test_refusals_slow_down_and_answers_speed_up_again(working, monkeypatch):  # noqa: ARG001
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    behaved = Manners(FREE)
    for answer in ("200", "503", "429", "refused", "200", "200", "200", "200", "200"):
        behaved.before_request()
        behaved.after_request("find", 0, answer)
    behaved.before_request()
    assert slept[:5] == [0, 0, 1, 2, 4]
    assert slept[5:] == sorted(slept[5:], reverse=True)
    assert slept[-1] == 0
    for _ in range(20):
        behaved.after_request("find", 0, "503")
    behaved.before_request()
    assert slept[-1] == manners.LONGEST_DELAY


def test_outside_the_hours_and_while_paused_nothing_is_asked(working, monkeypatch):
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    behaved = Manners({**FREE, "hours": [manners_day(tomorrow)], "timezone": "UTC"})
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        behaved.hours = Hours([])

    monkeypatch.setattr("time.sleep", sleep)
    behaved.before_request()
    assert waits[0] == manners.LOOK_SECONDS
    (working / "archive.pause").touch()
    monkeypatch.setattr(
        "time.sleep", lambda _s: (working / "archive.pause").unlink(missing_ok=True)
    )
    behaved.before_request()
    assert not (working / "archive.pause").exists()


def manners_day(when):
    return ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[when.weekday()]


def test_the_access_log_is_appended_to(working):
    behaved = Manners(FREE)
    with behaved.serving("A1"):
        behaved.before_request()
        behaved.after_request("find", 12, "200")
    behaved.after_request("find", 0, "503")
    lines = [line.split("\t") for line in (working / "archive.log").read_text().splitlines()]
    assert [line[1:5] for line in lines] == [["A1", "find", "12", "200"], ["", "find", "0", "503"]]


def test_partitions_share_the_connections():
    def share(partition):
        archive = {"kind": "dicomweb", "connections": 4}
        return connections_of({"archive": archive, "partition": partition})

    assert share(None) == 4
    assert [share(f"{part}/3") for part in (1, 2, 3)] == [2, 1, 1]
    with pytest.raises(InputError, match="no share"):
        share("5/8")
