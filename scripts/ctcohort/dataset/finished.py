"""Which scans are as the ledger and the parameters want them, so that no job of theirs is planned.

A planned job costs Snakemake a millisecond and 20 kB, whether it is needed or not; a look at what
the records say costs a twentieth. What is not proved here is left to Snakemake, which may still
find nothing to do. The records also tell where `.snakemake`, and what it knew, is lost.
"""

from __future__ import annotations

import os

from ctcohort.base.files import head


def is_settled(name: str, series: str, parameters: str) -> bool:
    """Whether volume, record and `received` file are there, in this order of age, and agree.

    Parameters
    ----------
    name : str
        The accession as a file name.
    series : str
        What is chosen: its SeriesInstanceUID and how many instances it has, with a blank between.
    parameters : str
        `settings.digest` of the parameters of volumes.
    """
    try:
        arrived = os.stat(_received(name)).st_mtime_ns
        made = min(os.stat(path).st_mtime_ns for path in (_record(name), _volume(name)))
    except OSError:
        return False
    return (
        arrived <= made
        and _says(_received(name), _series(series)) is True
        and _says(_record(name), f'"{parameters}"') is True
    )


def is_another_series(name: str, series: str) -> bool:
    """Whether something was received and it is not `series`."""
    return _says(_received(name), _series(series)) is False


def is_made_otherwise(name: str, parameters: str) -> bool:
    """Whether there is a record and it names other parameters."""
    return _says(_record(name), f'"{parameters}"') is False


def lacking(name: str) -> list[str]:
    """What a scan that is not settled is asked for: its volume, and with a volume what should
    stand beside it, because the volume alone would hide that it is gone."""
    volume = _volume(name)
    beside = [_received(name), _record(name)] if os.path.exists(volume) else []
    return [volume, *(path for path in beside if not os.path.exists(path))]


def _volume(name: str) -> str:
    return f"processed/{name}.npz"


def _record(name: str) -> str:
    return f"processed/{name}.json"


def _received(name: str) -> str:
    return f"received/{name}.json"


def _series(series: str) -> str:
    """How `downloads.fetch_series` begins what it writes about a series."""
    uid, count = series.split()
    return f'"series_uid": "{uid}",\n "instance_count": {count},'


def _says(path: str, what: str) -> bool | None:
    """Whether the head of a record holds `what`; None where there is no record."""
    text = head(path)
    return what in text if text else None
