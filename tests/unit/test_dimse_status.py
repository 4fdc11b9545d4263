"""What a status of a DIMSE archive means: trying again, one accession's refusal, or one line."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from ctcohort.archives.dimse import DimseArchive
from ctcohort.archives.protocol import Stopped
from ctcohort.archives.retrying import Transient
from ctcohort.base.faults import Fault

SETTINGS = {
    "dimse": {
        "host": "archive.example.org",
        "port": 11112,
        "called_aet": "ARCHIVE",
        "calling_aet": "COHORT",
        "method": "get",
        "move_port": None,
        "tls": None,
    },
    "connections": 1,
    "hours": [],
    "timezone": None,
    "max_mb_per_second": None,
    "max_queries_per_second": None,
    "patience_seconds": 1,
}


@pytest.fixture
def archive(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> DimseArchive:
    monkeypatch.chdir(tmp_path)
    return DimseArchive(SETTINGS, key=b"k" * 32)


def status(code: int) -> Dataset:
    answer = Dataset()
    answer.Status = code
    return answer


@pytest.mark.parametrize("code", [0x0000, 0xFF00, 0xFF01])
def test_success_and_pending_go_on(archive: DimseArchive, code: int) -> None:
    assert archive._status(status(code)) == code


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0xA700, "A700: it is out of resources"),
        (0xA701, "A701: it is out of resources to count"),
        (0xA702, "A702: it is out of resources to send"),
        (0xA900, "A900: the request does not fit"),
        (0xB000, "B000: it could not send some or all instances"),
        (0xC001, "C001: it could not process the request"),
        (0xFE00, "FE00: it, or a person there, cancelled the request"),
        (0x0122, "0122: it does not offer this service"),
    ],
)
def test_what_may_pass_is_said_and_tried_again(archive: DimseArchive, code: int, told: str) -> None:
    with pytest.raises(Transient) as error:
        archive._status(status(code))
    assert told in str(error.value)


def test_an_unknown_status_is_permanent_for_a_query_and_another_way_for_files(
    archive: DimseArchive,
) -> None:
    with pytest.raises(Fault, match="0999; expected 0000"):
        archive._status(status(0x0999))
    with pytest.raises(Transient, match="0999"):
        archive._status(status(0x0999), retrieving=True)


def test_an_unknown_destination_is_one_line(archive: DimseArchive) -> None:
    with pytest.raises(Fault, match="does not know 'COHORT' as a destination of C-MOVE"):
        archive._status(status(0xA801), retrieving=True)


def test_what_is_not_allowed_stops_where_nothing_was_granted_yet(
    archive: DimseArchive, tmp_path: Any
) -> None:
    with pytest.raises(Stopped):
        archive._status(status(0x0124))
    assert (tmp_path / "archive.stop").exists()
    (tmp_path / "archive.stop").unlink()
    archive.manners.before_request()
    archive.manners.after_request("echo", 0, "ok")
    with pytest.raises(Stopped):  # an echo grants nothing
        archive._status(status(0x0124))
    (tmp_path / "archive.stop").unlink()
    archive.manners.before_request()
    archive.manners.after_request("find", 0, "ok")
    with pytest.raises(Fault) as refused:
        archive._status(status(0x0124))
    assert not isinstance(refused.value, Stopped)
    assert not (tmp_path / "archive.stop").exists()


def test_an_association_that_is_broken_off_is_tried_again(archive: DimseArchive) -> None:
    with pytest.raises(Transient, match="broke the association off"):
        archive._status(Dataset())
