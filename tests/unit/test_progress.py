"""How far a run is: counts, bytes, and when it will end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ctcohort.base.workdir import Workdir
from ctcohort.dataset.manifest import Dataset
from ctcohort.dataset.progress import progress

NOW = 1_000_000_000.0


def site(folder: Path, *, scans: int, received: int, minutes: list[float]) -> list[str]:
    """Lines for `scans` selected scans, of which some are volumes made so many minutes ago."""
    names = [f"A{number}" for number in range(scans)]
    for kind in ("received", "processed"):
        (folder / kind).mkdir()
    for name in names[:received]:
        (folder / "received" / f"{name}.json").touch()
    rows: list[dict[str, Any]] = []
    for name, ago in zip(names, minutes, strict=False):
        volume = folder / "processed" / f"{name}.npz"
        volume.touch()
        os.utime(volume, (NOW - 60 * ago,) * 2)
        rows.append({"status": "included", "npz_bytes": 5e7, "full_filename_npz": volume.name})
    rows += [{"status": "pending"}] * (scans - len(minutes))
    series = {"reason": "selected", "estimated_bytes": "2e8"}
    other = {"reason": "fewer_slices", "estimated_bytes": "9e9"}
    series_rows = {name: [other, series] for name in names}
    return progress(Workdir(folder), Dataset([], series_rows, {}, {}), rows, now=NOW)


def test_counts_and_bytes_are_those_of_the_selected_series(tmp_path: Path) -> None:
    downloads, volumes, _ = site(tmp_path, scans=10, received=5, minutes=[1, 2])
    assert downloads == "downloads: 5 of 10 (50.0 %), 1.00 GB of about 2.00 GB"
    assert volumes == "volumes:   2 of 10 (20.0 %), 0.10 GB of about 0.50 GB"


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        # a young run: two more scans in the 20 minutes since its first
        ([0, 10, 20], "7 to do; at the pace of the last hour (6 scans an hour) done in 70 min"),
        # of an old run only the last hour counts
        ([600, 500, 30], "7 to do; at the pace of the last hour (1 scans an hour) done in 7.0 h"),
        ([600, 500, 400], "7 to do; none was finished in the last hour"),
        ([5], "9 to do; the pace shows once more are finished"),
        ([], "10 to do; none was finished in the last hour"),
    ],
)
def test_the_end_follows_from_the_pace_of_the_last_hour(
    tmp_path: Path, minutes: list[float], expected: str
) -> None:
    assert site(tmp_path, scans=10, received=0, minutes=minutes)[-1].startswith(expected)


def test_a_finished_run_has_no_end_to_come(tmp_path: Path) -> None:
    assert len(site(tmp_path, scans=2, received=2, minutes=[1, 2])) == 2


def test_before_there_is_a_ledger_nothing_is_said(tmp_path: Path) -> None:
    assert progress(Workdir(tmp_path), Dataset([], {}, {}, {}), [], now=NOW) == []
