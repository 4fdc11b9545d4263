"""Progress of a run from the files in its working directory: scans, bytes, and when it will end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from ctcohort.base.naming import name_of
from ctcohort.base.reasons import SELECTED
from ctcohort.base.text import duration, gigabytes
from ctcohort.base.workdir import Workdir
from ctcohort.dataset.manifest import Dataset

PACE_SECONDS = 3600.0
"""The pace is that of the last hour: jobs of many minutes are in it, last night's is not."""


def progress(
    here: Workdir, dataset: Dataset, rows: Sequence[Mapping[str, Any]], *, now: float
) -> list[str]:
    """Lines for a person.

    Parameters
    ----------
    rows : sequence of mapping
        `manifest.rows` of the directory.
    now : float
        Seconds since the epoch.
    """
    selected = {
        accession: float(series["estimated_bytes"] or 0)
        for accession, candidates in dataset.series.items()
        for series in candidates
        if series["reason"] == SELECTED
    }
    if not selected:
        return []
    received = [
        size for accession, size in selected.items() if here.received(name_of(accession)).exists()
    ]
    made = [row for row in rows if row["status"] == "included"]
    size = sum(float(row["npz_bytes"]) for row in made)
    left = sum(row["status"] == "pending" for row in rows)
    lines = [
        f"downloads: {_of(len(received), len(selected))}, {gigabytes(sum(received))} of about"
        f" {gigabytes(sum(selected.values()))}",
        f"volumes:   {_of(len(made), len(selected))}, {gigabytes(size)}"
        + (f" of about {gigabytes(size / len(made) * len(selected))}" if made else ""),
    ]
    return [*lines, _ends(left, list(_finished(here, made)), now)] if left else lines


def _finished(here: Workdir, made: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    """Yield the time of each volume, in seconds since the epoch."""
    for row in made:
        with suppress(FileNotFoundError):  # just now being made again
            yield (here.volumes / row["full_filename_npz"]).stat().st_mtime


def _ends(left: int, finished: Sequence[float], now: float) -> str:
    recent = [moment for moment in finished if now - moment < PACE_SECONDS]
    if not recent:
        return f"{left} to do; none was finished in the last hour"
    since = now - min(recent)
    # a run younger than the hour: from its first finished scan on, which is not counted itself
    young = len(recent) == len(finished)
    count, span = (len(recent) - 1, since) if young else (len(recent), PACE_SECONDS)
    if not count or not span:
        return f"{left} to do; the pace shows once more are finished"
    seconds = left * span / count
    end = datetime.fromtimestamp(now + seconds).strftime("%Y-%m-%d %H:%M")
    return (
        f"{left} to do; at the pace of the last hour ({3600 * count / span:.0f} scans an hour) done"
        f" in {duration(seconds)}, on {end}"
    )


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,} ({100 * count / total:.1f} %)"
