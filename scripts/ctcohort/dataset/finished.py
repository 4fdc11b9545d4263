"""Tell which scans are finished, so that none of their jobs is planned.

A planned job costs Snakemake a millisecond and 20 kB, whether it is needed or not; reading the
beginning of two records costs a twentieth. Where the records do not prove a scan finished, its jobs
are planned and Snakemake decides. The records also tell where `.snakemake`, and what it knew, is
lost.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ctcohort.base.faults import Fault, InputError
from ctcohort.base.files import delete
from ctcohort.base.workdir import RAW, RECEIVED, RECORD, VOLUME
from ctcohort.series.received import Received, chosen_series
from ctcohort.volume.record import ScanRecord, made_with


def is_finished(name: str, series: str, parameters: str, root: str = "") -> bool:
    """Return whether volume, record and `received` file are there, in this order of age, and agree.

    Parameters
    ----------
    name : str
        The accession as a file name.
    series : str
        What is chosen: its SeriesInstanceUID and how many instances it has, with a blank between.
    parameters : str
        `settings.digest` of the parameters of volumes.
    root : str
        The working directory, with a slash at its end; empty for the current one. Also below.
    """
    received, record = root + RECEIVED.format(name), root + RECORD.format(name)
    try:
        arrived = os.stat(received).st_mtime_ns
        made = min(os.stat(path).st_mtime_ns for path in (record, root + VOLUME.format(name)))
    except OSError:
        return False
    return arrived <= made and chosen_series(received) == series and made_with(record) == parameters


def is_another_series(name: str, series: str, root: str = "") -> bool:
    """Return whether something was received and it is not `series`, or cannot be told to be."""
    received = root + RECEIVED.format(name)
    return os.path.exists(received) and chosen_series(received) != series


def is_made_otherwise(name: str, parameters: str, root: str = "") -> bool:
    """Return whether there is a record and it does not name these parameters."""
    record = root + RECORD.format(name)
    return os.path.exists(record) and made_with(record) != parameters


def missing_files(name: str, root: str = "") -> list[str]:
    """Return what to ask for of an unfinished scan: its volume, and beside an existing volume what
    is missing, because the volume alone would hide that. The paths are below `root`."""
    volume = VOLUME.format(name)
    beside = [RECEIVED.format(name), RECORD.format(name)] if os.path.exists(root + volume) else []
    return [volume, *(path for path in beside if not os.path.exists(root + path))]


def clear_damaged(name: str, root: str = "") -> None:
    """Delete the record and the `received` file of an unfinished scan where they are damaged.

    They are then made again, the `received` file with its download first. As the input of a new
    volume it would only be found damaged after Snakemake has deleted the old one. So would DICOM
    files: where nothing but its record is lost of a volume, they are compared with their checksums
    here, and fetched anew where they are not what was received.
    """
    received = Path(root + RECEIVED.format(name))
    record = Path(root + RECORD.format(name))
    for read, path in ((Received.read, received), (ScanRecord.read, record)):
        try:
            read(path)
        except FileNotFoundError:
            pass
        except InputError:
            print(f"warning: {path}: is damaged; it is made again", file=sys.stderr)
            delete(path)
    raw = Path(root + RAW.format(name))
    if os.path.exists(root + VOLUME.format(name)) and received.exists() and not record.exists():
        try:
            Received.read(received).assert_is(raw)
        except Fault:
            print(f"warning: {raw}: is not what was received; it is fetched anew", file=sys.stderr)
            delete(received)
