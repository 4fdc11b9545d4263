"""A DICOMweb archive: QIDO-RS for what there is, WADO-RS for headers and files (PS3.18 10).

An answer is believed only where it proves itself: accessions are compared here, because archives
match them loosely; lists are held against the archive's own count, because archives cut them short;
a reply is whole only at its closing delimiter, because archives send no length.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_partial

from ctcohort.archives.multipart import PartReader, boundary_of
from ctcohort.archives.network import NetworkArchive
from ctcohort.archives.protocol import Arrived, Changed, FoundSeries, Query, Stopped, nobody
from ctcohort.archives.retrying import FIRST_SECONDS, Patience, Transient
from ctcohort.archives.web import (
    Forbidden,
    NotThere,
    Refused,
    Reply,
    ServerError,
    Web,
    longest_silence,
    not_dicomweb,
)
from ctcohort.base.faults import Fault
from ctcohort.base.naming import is_uid
from ctcohort.dicom.dicom_json import Row, dataset_of, tag_of, text_of
from ctcohort.dicom.headers import CT_CLASSES, CT_IMAGE, Frame, Header, header_of
from ctcohort.dicom.integrity import check_whole

MULTIPART = 'multipart/related; type="application/dicom"'
AS_STORED = "; transfer-syntax=*"
"""Instances as they are stored (PS3.18 8.7.3.5.2): nothing is transcoded."""
SERIES_FORMS = (MULTIPART + AS_STORED, MULTIPART)
INSTANCE_FORMS = (*SERIES_FORMS, "application/dicom" + AS_STORED, "application/dicom")
"""What is asked for, in turn, where the archive does not know a form. Without the wildcard, the
archive may decompress; a single part is no standard form, and the only one of some archives."""

SERIES_FIELDS = (
    "Modality",
    "NumberOfSeriesRelatedInstances",
    "SOPClassUID",
    "InstanceAvailability",
)
STUDY_FIELDS = ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
_FIELDS = {"studies": STUDY_FIELDS, "series": SERIES_FIELDS, "instances": ()}
_UNIQUE = {
    "studies": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instances": "SOPInstanceUID",
}

PAGES = (500, 200, 100, 50, 20)
"""Rows asked for at once; a smaller number where the archive refuses one."""
SMALLEST_LIMIT = 10
"""No archive is known that answers with fewer rows than these at once and has more."""

TYPICAL = (
    "ImageType",
    "SeriesNumber",
    "Manufacturer",
    "SliceThickness",
    "KVP",
    "AcquisitionNumber",
    "InstanceNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
)
"""Attributes of type 1 and 2 of a CT image (PS3.3 A.3): the header of a sound file has them all, if
only empty. An answer without one of them either tells less than the file, or the file is not
sound."""
TYPICAL_MULTIFRAME = ("ImageType", "PerFrameFunctionalGroupsSequence")
READABLE = ("position", "orientation", "pixel_spacing", "slope", "intercept", "image_type")
"""Facts of a frame without which it cannot be used."""

CRASHES = 3
"""Answers of 500 to one form of a request before another form is tried."""

SHARE = 1 / 3
"""The part of `patience_seconds` that one way of asking may lose before another is tried."""

_RESERVED = re.compile(r"[^A-Za-z0-9._~-]")
_INSTANCE = tag_for_keyword("SOPInstanceUID")
_SERIES = tag_for_keyword("SeriesInstanceUID")


class DicomwebArchive(NetworkArchive[Row]):
    """See `protocol.Archive` and `network.NetworkArchive`."""

    def __init__(self, settings: Mapping[str, Any], *, key: bytes) -> None:
        super().__init__(settings, key=key)
        self.web = Web(settings, self.manners)
        self._limit = PAGES[0]
        self._with_fields = True
        self._longest: dict[str, int] = {}
        self._form: dict[tuple[str, ...], int] = {}
        self._nothing_is_404: bool | None = None

    @staticmethod
    def text_of(row: Row, keyword: str) -> str:
        """See `network.NetworkArchive.text_of`."""
        return text_of(row, keyword)

    def prepare(self, *, threads: int) -> None:  # noqa: ARG002
        """Ask for a study that cannot exist: address, certificate and secrets must be right."""
        patience = Patience(min(self.patience_seconds, FIRST_SECONDS))
        self._search("studies", "/studies", [("StudyInstanceUID", "1.2.3")], patience)

    def find(self, query: Query) -> list[FoundSeries]:
        """See `protocol.Archive.find`."""
        patience = self.patience()
        found = []
        for uid, study in self.matching_studies(query, patience).items():
            rows = self._series_of(uid, study, patience)
            counts = [self.instance_count(row) for row in rows]
            if counts.count(0) == 1:  # its count is what the study's leaves
                rest = self.count_of(study, "NumberOfStudyRelatedInstances") - sum(counts)
                counts[counts.index(0)] = max(0, rest)
            found += [
                self._found(study, row, instances)
                for row, instances in zip(rows, counts, strict=True)
            ]
        return found

    def headers(self, series: FoundSeries) -> list[Header]:
        """See `protocol.Archive.headers`.

        Where `/metadata` gives fewer instances than the archive counts, or tells less of them than
        their files, the instances are listed, and their files fetched and read.
        """
        patience = self.patience()
        rows, more = self._metadata(series, patience)
        listed = set(rows)
        if more or not series.instances or len(rows) < series.instances:
            found, cut_off = self._listed(series, patience)
            listed |= found
            # neither a count nor a list of instances confirms what `/metadata` gives
            more = cut_off or (not found and (more or not series.instances))
        if not listed and not series.instances:
            raise Changed(f"the archive no longer has series {series.series_uid}")
        if more:  # it does not say how many
            series = replace(series, instances=max(series.instances, len(listed) + 1))
        told = {uid: self._header(series, row) for uid, row in rows.items()}
        if len(rows) == len(listed):
            if len(rows) >= series.instances and self._tells_all(series, rows, told):
                return list(told.values())
            return self.look(series, listed, list(told.values()))
        return self.look(series, listed)

    def fetch(self, instances: Sequence[Header], into: Path, arrived: Arrived = nobody) -> None:
        """One stream for a series of which nothing is there yet; else one request per instance."""
        if not instances:
            return
        study, series = instances[0].study_uid, instances[0].series_uid
        patience = Patience(self.patience_seconds, reason="transfer_incomplete")
        whole = not any(into.glob("*.dcm"))
        row = self._row_of(study, series, patience)
        if whole and row and self.instance_count(row) > len(instances):
            raise Changed(
                f"the archive counts more instances in series {series} than it had listed"
            )
        missing = {header.sop_instance_uid for header in instances}
        silence = _silence(row, series)
        transfer = _Transfer(study, series, missing, into, arrived, silence)
        self._retrieve(transfer, patience, whole=whole)

    def fetch_to_look(
        self, series: FoundSeries, missing: set[str], into: Path, *, whole: bool
    ) -> None:
        """See `network.NetworkArchive.fetch_to_look`."""
        patience = Patience(self.patience_seconds, reason="transfer_incomplete")
        study, uid = series.study_uid, series.series_uid
        silence = _silence(self._row_of(study, uid, patience), uid)
        transfer = _Transfer(study, uid, missing, into, nobody, silence, unlisted=whole)
        self._retrieve(transfer, patience, whole=whole)

    def studies_with_uid(self, uid: str, patience: Patience) -> list[Row]:
        """See `network.NetworkArchive.studies_with_uid`."""
        row = self._row_with("studies", "/studies", uid, patience)
        return [row] if row else []

    def studies_with_accession(self, number: str, patience: Patience) -> list[Row]:
        """See `network.NetworkArchive.studies_with_accession`.

        Orthanc 1.10 does not decode percent-encoded values. What it does not find is asked for
        again with a wildcard (PS3.4 C.2.2.2.4) for every character that had to be encoded; an
        archive without wildcards may refuse that.
        """
        found: list[Row] = []
        encoded, wildcards = quote(number, safe=""), _RESERVED.sub("?", number)
        for value in dict.fromkeys((encoded, wildcards)):
            try:
                rows = self._search("studies", "/studies", [("AccessionNumber", value)], patience)
            except Refused:
                if value == encoded:
                    raise
                break
            found += rows
            if any(text_of(row, "AccessionNumber") == number for row in rows):
                break
        return found

    def _series_of(self, uid: str, study: Row, patience: Patience) -> list[Row]:
        count = self.count_of(study, "NumberOfStudyRelatedSeries")
        rows = self._search("series", f"/studies/{uid}/series", [], patience, count=count)
        if count and not rows:
            raise Fault(
                "archive_unreachable",
                f"the archive counts {count} series in a study and lists none; run again later",
                transient=True,
            )
        return rows

    def _found(self, study: Row, row: Row, instances: int) -> FoundSeries:
        modality = text_of(row, "Modality")
        at_most: int | None = None
        if modality not in ("", "CT"):
            at_most = 0
        elif instances and text_of(row, "SOPClassUID") == CT_IMAGE:
            at_most = instances
        return self.found_series(study, row, instances=instances, slices_at_most=at_most)

    def _row_of(self, study: str, series: str, patience: Patience) -> Row | None:
        """Return what the archive says of a series now."""
        return self._row_with("series", f"/studies/{study}/series", series, patience)

    def _row_with(self, level: str, path: str, uid: str, patience: Patience) -> Row | None:
        """Return the one row of a search with this UID.

        An archive that does not heed what it is asked for may give others first: then all.
        """
        keyword = _UNIQUE[level]
        terms = [(keyword, quote(uid, safe=""))]
        for count in (1, 0):
            rows = self._search(level, path, terms, patience, count=count)
            row = next((row for row in rows if text_of(row, keyword) == uid), None)
            if row or not rows:
                return row
        return None

    def _metadata(self, series: FoundSeries, patience: Patience) -> tuple[dict[str, Row], bool]:
        """Return what `/metadata` tells of a series, by SOPInstanceUID, and whether the archive
        says that there is more; nothing where it has no such resource, or fails at it for a third
        of the patience."""
        path = f"/studies/{series.study_uid}/series/{series.series_uid}/metadata"
        own = Patience(self.patience_seconds * SHARE)
        try:
            rows, more = own.insist(partial(self.web.metadata, path))
        except (Forbidden, Stopped):
            raise
        except Fault as fault:
            if not (fault.transient or isinstance(fault, Refused)):
                raise
            patience.lost += own.lost
            return {}, False
        return _of_series(rows, series.series_uid), more

    def _listed(self, series: FoundSeries, patience: Patience) -> tuple[set[str], bool]:
        """Return the SOPInstanceUIDs that a search for instances lists, and whether the archive
        says that there are more; none where it has no such resource."""
        path = f"/studies/{series.study_uid}/series/{series.series_uid}/instances"
        try:
            rows, more = self._pages("instances", path, [], patience, count=series.instances)
        except Forbidden:
            raise
        except Refused:
            return set(), False
        return set(_of_series(rows, series.series_uid)), more

    def _tells_all(
        self, series: FoundSeries, rows: Mapping[str, Row], told: Mapping[str, Header]
    ) -> bool:
        """Return whether `/metadata` tells what the files do.

        Where attributes are missing that a CT image has, one file says whether it has them.
        """
        poorest = min(rows, key=lambda uid: (_completeness(rows[uid], told[uid]), uid))
        if _completeness(rows[poorest], told[poorest]) >= 1:
            return True
        with tempfile.TemporaryDirectory(prefix="ct-cohort-") as folder:
            into = Path(folder)
            self.fetch_to_look(series, {poorest}, into, whole=False)
            return _tells_as_much(told[poorest], self.read_file(into / f"{poorest}.dcm"))

    def _header(self, series: FoundSeries, row: Row) -> Header:
        header = header_of(dataset_of(row), key=self.key)
        return replace(header, study_uid=series.study_uid, series_uid=series.series_uid)

    def _search(
        self,
        level: str,
        path: str,
        terms: Sequence[tuple[str, str]],
        patience: Patience,
        *,
        count: int = 0,
    ) -> list[Row]:
        """Return all rows of a search.

        Raises
        ------
        Fault
            The archive says that there are more, and does not give them.
        """
        rows, more = self._pages(level, path, terms, patience, count=count)
        if more:
            raise Fault(
                "archive_unreachable",
                f"the archive says that a search for {level} has more results than the {len(rows)}"
                " that it gives; ask its administrator for a higher limit",
                transient=True,
            )
        return rows

    def _pages(
        self,
        level: str,
        path: str,
        terms: Sequence[tuple[str, str]],
        patience: Patience,
        *,
        count: int = 0,
    ) -> tuple[list[Row], bool]:
        """Return the rows of a search (PS3.18 10.6), one for each UID, and whether the archive says
        that there are more than it gives.

        Pages are asked for until one is empty or brings nothing new, or `count` is reached. An
        archive's own limit is unknown, so that a page is the last one only where the archive has
        answered with longer ones before, and counts no more. A page again and again is no end where
        it counts more. `terms` are encoded.
        """
        rows: dict[str, Row] = {}
        offset = 0
        while True:
            page, more = self._page(level, path, terms, offset, patience)
            found = {uid: row for row in page if (uid := text_of(row, _UNIQUE[level]))}
            known, offset = len(rows), offset + len(page)
            rows = found | rows
            anywhere = max(self._longest.values(), default=0)
            enough = max(self._longest.get(level, 0), min(SMALLEST_LIMIT, anywhere))
            self._longest[level] = max(self._longest.get(level, 0), len(page))
            reached = 0 < count <= len(rows)
            if len(rows) == known:
                return list(rows.values()), (more or bool(page and count)) and not reached
            if not more and (reached or (len(page) < enough and not count)):
                return list(rows.values()), False

    def _page(
        self,
        level: str,
        path: str,
        terms: Sequence[tuple[str, str]],
        offset: int,
        patience: Patience,
    ) -> tuple[list[Row], bool]:
        """Return one page of a search.

        An archive that refuses the number of rows is asked for fewer, and one that refuses these
        too, without further attributes. What it takes is kept to.
        """
        limits = [limit for limit in PAGES if limit <= self._limit]
        ways = [(limit, self._with_fields) for limit in limits]
        if self._with_fields and _FIELDS[level]:
            ways += [(limit, False) for limit in limits if limit < PAGES[0]]
            ways.sort(key=lambda way: (-way[0], not way[1]))
        for limit, with_fields in ways:
            fields_asked = _FIELDS[level] if with_fields else ()
            asked = [*terms, *(("includefield", tag_of(name)) for name in fields_asked)]
            asked += [("limit", str(limit)), ("offset", str(offset))]
            query = "&".join(f"{key}={value}" for key, value in asked)
            try:
                answer = patience.insist(partial(self.web.search, f"{path}?{query}"))
            except NotThere:
                self._must_be_there(path)
                return [], False
            except Refused as refused:
                if refused.status not in (400, 413, 422) or (limit, with_fields) == ways[-1]:
                    raise
            else:
                self._limit, self._with_fields = limit, with_fields
                return answer
        raise AssertionError("the last way returns or raises")

    def _must_be_there(self, path: str) -> None:
        """Raise unless 404 is how this archive says that a search found nothing: then it has an
        answer to a search that finds something."""
        if self._nothing_is_404 is None:
            patience = Patience(min(self.patience_seconds, FIRST_SECONDS))
            try:
                rows, _ = patience.insist(partial(self.web.search, "/studies?limit=1"))
            except Refused:
                rows = []
            self._nothing_is_404 = bool(rows)
        if not self._nothing_is_404:
            raise Fault(
                "archive_refused",
                f"archive.dicomweb.url: {self.web.url} has no {path.split('/')[1]}; expected the"
                " root of a DICOMweb service, e.g. https://archive.example.org/dicom-web",
            )

    def _retrieve(self, transfer: _Transfer, patience: Patience, *, whole: bool) -> None:
        """Receive what is missing: the series as one where it is asked for `whole`, and what that
        does not bring, instance by instance."""
        if whole:
            self._retrieve_series(transfer, patience)
        for uid in sorted(transfer.missing):
            self._in_some_form(
                INSTANCE_FORMS,
                partial(self._receive_one, uid, transfer),
                patience.insist,
            )

    def _retrieve_series(self, transfer: _Transfer, patience: Patience) -> None:
        """Receive a whole series, as far as the archive gives it.

        A stream that breaks after something came is not begun anew. An archive that does not give
        series, or fails at it for a third of the patience, may still give instances.
        """
        at_first = len(transfer.missing)
        own = Patience(self.patience_seconds * SHARE, reason=patience.reason)

        def once(form: str) -> None:
            try:
                self._receive(transfer.path, form, transfer)
            except Transient as error:
                if len(transfer.missing) == at_first:
                    raise
                own.pause(error)

        try:
            self._in_some_form(SERIES_FORMS, once, own.insist)
        except Refused:
            if not transfer.missing:
                raise
        except Fault as fault:
            if fault.reason != own.reason or isinstance(fault, Changed) or not transfer.missing:
                raise
        patience.lost += own.lost

    def _in_some_form(
        self,
        forms: tuple[str, ...],
        receive: Callable[[str], None],
        insist: Callable[[Callable[[], None]], None],
    ) -> None:
        """Receive in the first form that the archive does not refuse, and remember it.

        An archive refuses a form by its status, or fails at it every time.
        """
        for number in range(self._form.get(forms, 0), len(forms)):
            last = number == len(forms) - 1
            crashes = 0

            def once(form: str = forms[number], last: bool = last) -> None:
                nonlocal crashes
                try:
                    receive(form)
                except ServerError as error:
                    crashes += 1
                    if crashes < CRASHES or last:
                        raise
                    raise Refused(500, str(error)) from None

            try:
                insist(once)
            except (Forbidden, NotThere):
                raise
            except Refused:
                if last:
                    raise
            else:
                self._form[forms] = number
                return

    def _receive_one(self, uid: str, transfer: _Transfer, form: str) -> None:
        try:
            self._receive(f"{transfer.path}/instances/{uid}", form, transfer)
        except NotThere:
            raise Changed("the archive no longer has what it had listed") from None
        except Transient:
            if uid in transfer.missing:
                raise
        if uid in transfer.missing:
            raise Transient("an instance did not come with a reply that is whole")

    def _receive(self, path: str, form: str, transfer: _Transfer) -> None:
        """Write the instances of a reply to files, taking each out of what is missing."""
        with self.web.instances(path, form, transfer.silence) as reply:
            for part in _parts(reply, transfer.into):
                self._keep(part, transfer)

    def _keep(self, part: Path, transfer: _Transfer) -> None:
        """Give a received file its name if it is wanted."""
        uid, series = _identity_of(part)
        path = transfer.into / f"{uid}.dcm"
        if uid in transfer.missing:
            transfer.arrived(part.rename(path))
            transfer.missing.discard(uid)
        elif not path.exists() and series == transfer.series and is_uid(uid):
            if not transfer.unlisted:
                raise Changed("the series has instances that the archive had not listed")
            part.rename(path)


@dataclass(frozen=True)
class _Transfer:
    """The instances wanted of a series, their folder, the callback for each, how long the next
    byte may take in seconds, and whether instances that were not listed are kept."""

    study: str
    series: str
    missing: set[str]
    into: Path
    arrived: Arrived
    silence: float
    unlisted: bool = False

    @property
    def path(self) -> str:
        return f"/studies/{self.study}/series/{self.series}"


def _silence(row: Row | None, series: str) -> float:
    """Return how long the archive may need for the next byte of a series; raise where a person
    would have to fetch the medium."""
    availability = text_of(row, "InstanceAvailability") if row else ""
    if availability == "OFFLINE":
        raise Changed(f"series {series} is no longer online")
    return longest_silence(availability)


def _of_series(rows: Sequence[Row], series: str) -> dict[str, Row]:
    """Return the rows of a series by SOPInstanceUID; others than were asked for do occur."""
    return {
        uid: row
        for row in rows
        if is_uid(uid := text_of(row, "SOPInstanceUID"))
        and text_of(row, "SeriesInstanceUID") in ("", series)
    }


def _completeness(row: Row, told: Header) -> float:
    """Return which part of what is typical of its class an answer has; 1 for what is no CT."""
    if not told.sop_class_uid:
        return 0.0
    if told.sop_class_uid not in CT_CLASSES:
        return 1.0
    typical = TYPICAL if told.sop_class_uid == CT_IMAGE else TYPICAL_MULTIFRAME
    frame = told.frames[0]
    readable = [getattr(frame, name) for name in READABLE] + [told.rows, told.columns]
    has = [tag_of(keyword) in row for keyword in typical]
    has += [not _is_blank(value) for value in readable]
    return sum(has) / len(has)


def _tells_as_much(told: Header, file: Header) -> bool:
    """Return whether an answer has every fact that the file has."""
    apart = ("transfer_syntax", "accession", "patient", "frames", "copies", "location", "pixels")
    facts = [field.name for field in fields(Header) if field.name not in apart]
    if len(told.frames) != len(file.frames):
        return False
    pairs = [(getattr(told, name), getattr(file, name)) for name in facts]
    first, read = told.frames[0], file.frames[0]
    pairs += [(getattr(first, one.name), getattr(read, one.name)) for one in fields(Frame)]
    return not any(_is_blank(ours) and not _is_blank(theirs) for ours, theirs in pairs)


def _is_blank(value: object) -> bool:
    return value is None or value is False or value == "" or value == ()


def _parts(reply: Reply, into: Path) -> Iterator[Path]:
    """Yield the instances of a reply as files under temporary names."""
    boundary = boundary_of(reply.response.headers.get("Content-Type", ""))
    if boundary is not None:
        yield from PartReader(reply.chunks, boundary, _is_whole).files(into)
        return
    if not reply.kind.startswith(("application/dicom", "application/octet-stream")) or (
        "json" in reply.kind or "xml" in reply.kind
    ):
        raise not_dicomweb(reply.response)
    path = into / f".part-0.{os.getpid()}"
    try:
        with open(path, "wb") as stream:
            stream.writelines(reply.chunks)
        if not (reply.has_length or _is_whole(path)):
            raise Transient("the reply ended before all of it had arrived")
        yield path
    finally:
        path.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    """Return whether a file is whole, where the end of a reply does not tell."""
    try:
        check_whole(path)
    except Fault:
        return False
    return True


def _identity_of(path: Path) -> tuple[str, str]:
    """Return SOPInstanceUID and SeriesInstanceUID of a received file: nothing behind is read."""
    try:
        with open(path, "rb") as stream:
            dataset = read_partial(stream, lambda tag, *_: tag > _SERIES)
    except Exception:
        raise Transient("a part of the reply is not a DICOM file") from None
    uid, series = dataset.get("SOPInstanceUID", ""), dataset.get("SeriesInstanceUID", "")
    return str(uid).strip(), str(series).strip()
