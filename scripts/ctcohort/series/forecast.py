"""Forecast of what fetching a cohort will take, before any pixel moves."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctcohort.archives import access_log
from ctcohort.base.naming import name_of
from ctcohort.base.reasons import SELECTED
from ctcohort.base.workdir import Workdir
from ctcohort.config.hours import Hours

HERE = Workdir()

FILES_PER_SCAN = 12
"""Files of a scan besides its slices: records, logs and what Snakemake keeps of each."""


def forecast(
    rows: Sequence[Mapping[str, Any]],
    archive: Mapping[str, Any],
    *,
    keep_raw: bool,
    here: Workdir = HERE,
) -> list[str]:
    """Estimate what fetching the selected series will take, as lines for a person.

    Parameters
    ----------
    rows : sequence of mapping
        The rows of ``series.csv``.
    archive : mapping
        The config's `archive`.
    keep_raw : bool
        Whether DICOM files stay when their volume is verified.
    """
    chosen = [row for row in rows if row["reason"] == SELECTED]
    others = [row for row in rows if row.get("series_uid") and row["reason"] != SELECTED]
    slices = sum(_number(row, "slices") for row in chosen)
    waiting = [row for row in chosen if not here.received(name_of(str(row["accession"]))).exists()]
    to_fetch = sum(_number(row, "estimated_bytes") for row in waiting)
    instances = sum(_number(row, "instances") for row in chosen)
    mean = sum(_number(row, "estimated_bytes") for row in chosen) / max(1, instances)
    spared = sum(
        _number(row, "estimated_bytes") or _number(row, "instances") * mean for row in others
    )
    duration = _duration(to_fetch, archive, here.archive_log)
    reasons = Counter(str(row["reason"]) for row in rows if row["reason"] != SELECTED)
    lost = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return [
        f"{len(chosen)} scans selected from {len(chosen) + len(others)} series: {slices:.0f}"
        f" slices; not selected: {lost or 'nothing'}",
        f"to fetch: {len(waiting)} series, about {to_fetch / 1e9:.2f} GB{duration};"
        f" not fetched thanks to choosing first: about {spared / 1e9:.2f} GB",
        _room(waiting, to_fetch, keep_raw=keep_raw),
    ]


def measured_rate(log: Path) -> float | None:
    """Return one connection's bytes per second from the access log; None if nothing was fetched."""
    fetched = access_log.totals(log)
    return fetched.bytes / fetched.seconds if fetched.bytes and fetched.seconds else None


def _duration(size: float, archive: Mapping[str, Any], log: Path) -> str:
    rate = measured_rate(log) if archive["kind"] != "folder" else None
    if not rate or not size:
        return ""
    together = rate * archive["connections"]
    if archive["max_mb_per_second"]:
        together = min(together, archive["max_mb_per_second"] * 1e6)
    days = size / together / 86400 / Hours(archive["hours"], archive["timezone"]).share
    time = f"{days:.1f} days" if days >= 1 else f"{24 * days:.1f} hours"
    return f", {time} at {together / 1e6:.1f} MB/s within the allowed hours"


def _room(waiting: Sequence[Mapping[str, Any]], size: float, *, keep_raw: bool) -> str:
    """Compare what is to be fetched with the free space and inodes of the disk."""
    if not keep_raw:  # a few series at a time
        size = 10 * max((_number(row, "estimated_bytes") for row in waiting), default=0)
    files = sum(_number(row, "instances") * keep_raw + FILES_PER_SCAN for row in waiting)
    free, inodes = shutil.disk_usage(".").free, os.statvfs(".").f_favail
    lacking = []
    if size > free:
        lacking.append(f"{(size - free) / 1e9:.1f} GB more")
    if inodes and files > inodes:  # some file systems do not count them
        lacking.append(f"{files - inodes:.0f} files more")
    judgement = f"too little: it needs {' and '.join(lacking)}" if lacking else "enough"
    more = "; set raw: delete, or make room" if lacking and keep_raw else ""
    return (
        f"disk: {free / 1e9:.1f} GB free for about {size / 1e9:.2f} GB in {files:.0f} files,"
        f" volumes not counted: {judgement}{more}"
    )


def _number(row: Mapping[str, Any], key: str) -> float:
    return float(row.get(key) or 0)
