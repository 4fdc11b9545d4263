"""The interface of every archive: find series, list their headers, fetch instances.

An archive is asked three things: which series an accession has (`find`), what the headers of a
series' instances say (`headers`), and for instances themselves (`fetch`); `serving` says for whom.
Choosing, judging and checking that everything arrived are not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ctcohort.base.faults import Fault
from ctcohort.dicom.headers import Header


@dataclass(frozen=True, slots=True)
class Query:
    """The keys of a query: the StudyInstanceUID where the table has one, else the
    AccessionNumber, which may carry one of the configured prefixes. Compared exactly."""

    accession_numbers: tuple[str, ...]
    study_uid: str = ""


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """A series that the archive has for a query.

    Attributes
    ----------
    patient : `headers.patient_mark` of its PatientID
    instances : how many the archive counts
    slices_at_most : upper bound of its slices; None where a multi-frame instance may hide more,
        or where headers cost nothing, so that the series is always looked at
    unreadable : files beside it that could not be read and may be slices of it
    offline : whether a person would have to fetch the medium (InstanceAvailability, PS3.3
        C.4.23.1.1)
    """

    series_uid: str
    study_uid: str
    patient: str
    modality: str
    instances: int
    slices_at_most: int | None
    offline: bool = False
    unreadable: int = 0


class Changed(Fault):
    """The archive no longer has exactly what it answered before: it must be asked again."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "transfer_incomplete", f"{message}; run again to ask for it anew", transient=True
        )


class Stopped(Fault):
    """Nothing may be asked any more, for no accession."""


Arrived = Callable[[Path], object]
"""Told of each file when it has its final name, from whatever thread."""


def nobody(_path: Path) -> None:
    """Ignore a file's arrival: the default `Arrived`."""


class Archive(Protocol):
    """The protocol. Every method may raise `faults.Fault` with an archive reason."""

    answers_are_free: bool
    """True where asking again costs nothing: then stored answers are not used."""

    def serving(self, accession: str) -> AbstractContextManager[None]:
        """A block in which everything is asked for one accession: for the archive's log, and to
        stop asking when accession after accession fails."""

    def prepare(self, *, threads: int) -> None:
        """Make ready for queries: a connection test, or the reading of what is new."""

    def find(self, query: Query) -> list[FoundSeries]:
        """The series of every study that matches, in any order; empty if there is none."""

    def headers(self, series: FoundSeries) -> list[Header]:
        """Headers of all instances of a series, one per SOPInstanceUID, in any order."""

    def fetch(self, instances: Sequence[Header], into: Path, arrived: Arrived = nobody) -> None:
        """Write each instance, original bytes, as ``<SOPInstanceUID>.dcm`` into a folder.

        A file has its final name only when it is written whole; then `arrived` is told. May stop
        early: the caller compares what has arrived with what it asked for.
        """
