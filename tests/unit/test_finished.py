"""Which scans are finished: what is not proved by the records is left to Snakemake."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ctcohort.base.files import write_sealed_json
from ctcohort.dataset.finished import (
    is_another_series,
    is_finished,
    is_made_otherwise,
    missing_files,
)

SERIES, PARAMETERS = "1.2.3 64", "0123456789abcdef"
RECEIVED, VOLUME, RECORD = "received/A1.json", "processed/A1.npz", "processed/A1.json"


@pytest.fixture(autouse=True)
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with one finished scan."""
    monkeypatch.chdir(tmp_path)
    write_sealed_json(Path(RECEIVED), {"series_uid": "1.2.3", "instance_count": 64, "bytes": 1})
    write_sealed_json(Path(RECORD), {"parameters_digest": PARAMETERS, "series_uid": "1.2.3"})
    Path(VOLUME).write_bytes(b"")
    for age, path in ((30, RECEIVED), (20, VOLUME), (10, RECORD)):
        os.utime(path, ns=(0, 10**18 - age))


def test_a_finished_scan_is_finished() -> None:
    assert is_finished("A1", SERIES, PARAMETERS)
    assert not is_another_series("A1", SERIES)
    assert not is_made_otherwise("A1", PARAMETERS)


@pytest.mark.parametrize("path", [RECEIVED, VOLUME, RECORD])
def test_a_scan_that_lacks_a_file_is_not(path: str) -> None:
    Path(path).unlink()
    assert not is_finished("A1", SERIES, PARAMETERS)
    assert missing_files("A1") == ([VOLUME] if path == VOLUME else [VOLUME, path])


@pytest.mark.parametrize("path", [VOLUME, RECORD])
def test_a_volume_or_record_older_than_what_was_received_is_not(path: str) -> None:
    os.utime(path, ns=(0, 10**18 - 40))
    assert not is_finished("A1", SERIES, PARAMETERS)


@pytest.mark.parametrize("series", ["1.2.3 65", "1.2.3 6", "1.2 64", "1.2.34 64"])
def test_another_series_or_more_of_it_is_noticed(series: str) -> None:
    assert is_another_series("A1", series)
    assert not is_finished("A1", series, PARAMETERS)


def test_other_parameters_are_noticed() -> None:
    assert is_made_otherwise("A1", "fedcba9876543210")
    assert not is_finished("A1", SERIES, "fedcba9876543210")


def test_of_what_is_not_there_nothing_is_said() -> None:
    assert not is_another_series("A2", SERIES)
    assert not is_made_otherwise("A2", PARAMETERS)
    assert missing_files("A2") == ["processed/A2.npz"]


@pytest.mark.parametrize("length", [0, 3, 20])
@pytest.mark.parametrize("path", [RECEIVED, RECORD])
def test_a_damaged_record_proves_nothing(path: str, length: int) -> None:
    times = os.stat(path)
    os.truncate(path, length)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not is_finished("A1", SERIES, PARAMETERS)


def test_a_longer_record_is_told_by_its_head_alone() -> None:
    content = json.loads(Path(RECEIVED).read_text())
    times = os.stat(RECEIVED)
    write_sealed_json(Path(RECEIVED), {**content, "instances": ["x" * 100] * 1000})
    os.utime(RECEIVED, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert is_finished("A1", SERIES, PARAMETERS)
