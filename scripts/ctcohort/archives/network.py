"""Base of the DICOMweb and DIMSE archives: limits, patience, and exact matching of studies."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, TypeVar

from ctcohort.archives.manners import Manners
from ctcohort.archives.protocol import FoundSeries, Query
from ctcohort.archives.retrying import Patience
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.naming import name_of
from ctcohort.base.reasons import REFUSED
from ctcohort.base.workdir import Workdir
from ctcohort.dicom.headers import TAGS, Header, header_of_file, patient_mark
from ctcohort.dicom.reading import open_file

_Row = TypeVar("_Row")


class NetworkArchive(ABC, Generic[_Row]):
    """Base of the archives that are asked over a network; `_Row` is one answer of a query.

    Parameters
    ----------
    settings : mapping
        The config's `archive`.
    key : bytes
        Key of `headers.patient_mark`.
    """

    answers_are_free = False

    def __init__(self, settings: Mapping[str, Any], *, key: bytes) -> None:
        self.key = key
        self.manners = Manners(settings)
        self.patience_seconds = settings["patience_seconds"]

    def serving(self, accession: str) -> AbstractContextManager[None]:
        """See `protocol.Archive.serving`."""
        return self.manners.serving(accession)

    @staticmethod
    @abstractmethod
    def text_of(row: _Row, keyword: str) -> str:
        """Return an attribute as text, empty where the answer has no value."""

    @abstractmethod
    def studies_with_uid(self, uid: str, patience: Patience) -> Iterable[_Row]:
        """Query for a StudyInstanceUID; other studies among the answers are ignored."""

    @abstractmethod
    def studies_with_accession(self, number: str, patience: Patience) -> Iterable[_Row]:
        """Query for an AccessionNumber; other studies among the answers are ignored."""

    def patience(self) -> Patience:
        """Return the patience of one piece of work."""
        return Patience(self.patience_seconds)

    def matching_studies(self, query: Query, patience: Patience) -> dict[str, _Row]:
        """Return the studies that match exactly, by StudyInstanceUID.

        The values are compared here, because archives may match more than was asked for: they
        ignore case, take a comma for a list, or answer with everything.

        Raises
        ------
        Fault
            `archive_refused`: no answer tells its AccessionNumber, so that none can be compared.
        """
        if query.study_uid:
            rows = self.studies_with_uid(query.study_uid, patience)
            return {uid: row for row in rows if (uid := self.study_uid(row)) == query.study_uid}
        studies: dict[str, _Row] = {}
        for padded in query.accession_numbers:
            number = padded.strip()
            if not number:
                raise InputError("an empty accession would match the whole archive")
            rows = self.studies_with_accession(number, patience)
            found = {uid: row for row in rows if (uid := self.study_uid(row))}
            told = {uid: self.text_of(row, "AccessionNumber") for uid, row in found.items()}
            if found and not any(told.values()):
                raise Fault(
                    REFUSED,
                    f"the archive answers a search for an accession with {len(found)} studies, and"
                    " tells the AccessionNumber of none; have its administrator let this account"
                    " see it, or name the studies in columns.study_uid",
                )
            studies |= {uid: row for uid, row in found.items() if told[uid] == number}
        return studies

    def study_uid(self, row: _Row) -> str:
        """Return the StudyInstanceUID of an answer."""
        return self.text_of(row, "StudyInstanceUID")

    def count_of(self, row: _Row, keyword: str) -> int:
        """Return an attribute that counts something; 0 where the archive does not say."""
        count = self.text_of(row, keyword)
        return int(count) if count.isdecimal() else 0

    def instance_count(self, row: _Row) -> int:
        """Return how many instances the archive counts in a series; 0 where it does not say."""
        return self.count_of(row, "NumberOfSeriesRelatedInstances")

    def found_series(
        self, study: _Row, row: _Row, *, instances: int, slices_at_most: int | None
    ) -> FoundSeries:
        """Return a series from the answers about its study and about itself."""
        return FoundSeries(
            series_uid=self.text_of(row, "SeriesInstanceUID"),
            study_uid=self.study_uid(study),
            patient=patient_mark(self.text_of(study, "PatientID"), self.key),
            modality=self.text_of(row, "Modality"),
            instances=instances,
            slices_at_most=slices_at_most,
            offline=self.text_of(row, "InstanceAvailability") == "OFFLINE",
        )

    @abstractmethod
    def fetch_to_look(
        self, series: FoundSeries, missing: set[str], into: Path, *, whole: bool
    ) -> None:
        """Fetch instances of a series, taking each out of `missing`.

        With `whole`, the series is asked for as one, and what was not listed is kept too.
        """

    def look(
        self, series: FoundSeries, listed: set[str], told: Sequence[Header] = ()
    ) -> list[Header]:
        """Return headers from the files of a series, fetched to where its download expects them.

        Where the archive counts more instances than it lists, only the whole series tells whether
        they are there. That is tried once for each count and list, as a note beside the files says;
        after that, what was `told` without the files is returned.

        Raises
        ------
        Fault
            `archive_unreachable`: there is nothing to return.
        """
        headers = self._looked_at(series, listed, told)
        if not headers:
            raise Fault(
                "archive_unreachable",
                f"the archive counts {series.instances} instances in a series and gives none; run"
                " again later",
                transient=True,
            )
        return headers

    def _looked_at(
        self, series: FoundSeries, listed: set[str], told: Sequence[Header]
    ) -> list[Header]:
        into = Workdir().partial(name_of(self.manners.accession))
        into.mkdir(parents=True, exist_ok=True)
        note = _Note(into / ".looked_at")
        uid, state = series.series_uid, [series.instances, len(listed)]
        fewer = len(listed) < series.instances
        if fewer and told and note.tried.get(uid) == state and note.holds != uid:
            return list(told)
        if note.holds != uid:
            for path in into.glob("*.dcm"):
                path.unlink()
        note.write(uid)
        there = {path.stem for path in into.glob("*.dcm")}
        if not fewer:
            for gone in there - listed:
                (into / f"{gone}.dcm").unlink()
        missing = listed - there
        if missing or (fewer and len(there) < series.instances and note.tried.get(uid) != state):
            whole = fewer or len(missing) >= len(listed) - 1
            self.fetch_to_look(series, missing, into, whole=whole)
        note.write(uid, state)
        found = (self.read_file(path) for path in sorted(into.glob("*.dcm")))
        return [header for header in found if header.series_uid == uid]

    def read_file(self, path: Path) -> Header:
        """Return the header of a file."""
        with open(path, "rb") as stream:
            return header_of_file(open_file(stream, TAGS), key=self.key)


class _Note:
    """Which series a folder of files holds, and what was tried for which count and list."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError):
            content = {}
        self.holds: str = content.get("holds", "")
        self.tried: dict[str, list[int]] = content.get("tried", {})

    def write(self, holds: str, state: list[int] | None = None) -> None:
        self.holds = holds
        if state:
            self.tried[holds] = state
        self.path.write_text(json.dumps({"holds": holds, "tried": self.tried}))
