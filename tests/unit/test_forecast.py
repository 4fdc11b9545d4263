"""What is said before anything is fetched."""

import pytest

from ctcohort.series.forecast import forecast, measured_rate

ARCHIVE = {
    "kind": "dicomweb",
    "connections": 2,
    "max_mb_per_second": None,
    "hours": ["sat,sun"],
    "timezone": "UTC",
}


def row(accession, *, chosen, size=0, instances=100):
    return {
        "accession": accession,
        "series_uid": "1.2",
        "reason": "selected" if chosen else "fewer_slices",
        "slices": instances,
        "instances": instances,
        "estimated_bytes": size,
    }


@pytest.fixture(autouse=True)
def working(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_there_is_not_fetched_again(working):
    rows = [row("A", chosen=True, size=4e9), row("B", chosen=True, size=2e9)]
    (working / "received").mkdir()
    (working / "received/B.json").touch()
    scans, fetch, _ = forecast(rows, ARCHIVE, keep_raw=True)
    assert scans.startswith("2 scans selected from 2 series: 200 slices")
    assert fetch.startswith("to fetch: 1 series, about 4.00 GB;")


def test_what_was_not_looked_at_is_estimated_from_its_instances():
    rows = [row("A", chosen=True, size=5e9), row("A", chosen=False, instances=50)]
    assert "choosing first: about 2.50 GB" in forecast(rows, ARCHIVE, keep_raw=True)[1]


def test_days_come_from_the_measured_rate_and_the_allowed_hours(working):
    (working / "archive.log").write_text(
        "2024-01-01T00:00:00+00:00\tA\tfind\t500\t200\t9.0\n"
        "2024-01-01T00:00:00+00:00\tA\tfetch\t6000000\t200\t2.0\n"
        "2024-01-01T00:00:00+00:00\tB\tfetch\t4000000\t200 broken\t3.0\n"
        "2024-01-01T00:00:00+00:00\tB\tfet"  # a job was killed while it wrote
    )
    assert measured_rate(working / "archive.log") == 2e6
    rows = [row("A", chosen=True, size=345.6e9)]
    assert ", 3.5 days at 4.0 MB/s" in forecast(rows, ARCHIVE, keep_raw=True)[1]
    slow = {**ARCHIVE, "max_mb_per_second": 2}
    assert ", 7.0 days at 2.0 MB/s" in forecast(rows, slow, keep_raw=True)[1]


def test_a_disk_that_is_too_small_is_said_so():
    rows = [row(f"A{number}", chosen=True, size=1e15) for number in range(20)]
    assert "too little: it needs" in forecast(rows, ARCHIVE, keep_raw=True)[2]
    rows = [row("A", chosen=True, size=1000)]
    assert forecast(rows, ARCHIVE, keep_raw=False)[2].endswith("enough")
