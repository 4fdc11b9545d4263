"""A DICOM archive over DIMSE: C-FIND for what there is, C-GET or C-MOVE for files (PS3.4 C, PS3.7).

Archives differ in what a C-FIND tells. Where it tells everything that the choice rests on, nothing
is fetched to be looked at. Where it does not, one instance says what a series is, and a series that
may win is fetched in full to where its download expects it.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from ctcohort.archives.manners import STOP, Manners
from ctcohort.archives.network import NetworkArchive
from ctcohort.archives.protocol import Arrived, Changed, FoundSeries, Query, Stopped, nobody
from ctcohort.archives.retrying import FIRST_SECONDS, Patience, Transient
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.naming import is_uid
from ctcohort.dicom.headers import (
    CT_CLASSES,
    CT_IMAGE,
    KEYWORDS,
    SECONDARY_CAPTURE,
    Header,
    header_of,
    text_of,
)

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 60.0
"""Longest wait for the next message."""

INSTANCE_SECONDS = 900.0
"""Longest time for one instance: at 1 kB/s, or a multi-frame instance of 500 MB at 0.6 MB/s."""

FIND = (
    StudyRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelFind,
)
GET = (StudyRootQueryRetrieveInformationModelGet, PatientRootQueryRetrieveInformationModelGet)
MOVE = (StudyRootQueryRetrieveInformationModelMove, PatientRootQueryRetrieveInformationModelMove)
"""Information models (PS3.4 C.6), the one that is used where the archive has it first."""

BREAKS = 3
"""Queries broken off by an archive that answers C-ECHO, before that is taken for its answer."""

LIST = 50
"""SOPInstanceUIDs in one request for single instances (PS3.4 C.2.2.2.2)."""
WHOLE = 0
"""Stands for a request for the whole series."""

ROUND = 10
"""Limits of lists are round numbers: a list of another length was not cut off."""
IN_VAIN = 5
"""Queries for an InstanceNumber that bring nothing new before no more are made."""

STORAGE_CLASSES = (*sorted(CT_CLASSES), SECONDARY_CAPTURE)

SYNTAXES = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.4.70",  # JPEG, lossless
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.80",  # JPEG-LS
    "1.2.840.10008.1.2.4.90",  # JPEG 2000
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",  # HTJ2K
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",  # deflated
)

_NOT_ASKED = {
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
}
_ASKED = tuple(keyword for keyword in KEYWORDS if keyword not in _NOT_ASKED)
_UNJUDGED = {"AvailableTransferSyntaxUID", "PatientID", "AccessionNumber", "Modality"}
NEEDED = tuple(keyword for keyword in _ASKED if keyword not in _UNJUDGED)
"""What an answer about an image must have, if only empty, for the series to be judged by it."""

_STUDY = {"StudyInstanceUID": "", "AccessionNumber": "", "PatientID": ""}
"""Keys of a query for studies."""

_OPTIONAL = ("NumberOfSeriesRelatedInstances", "SOPClassUID", "InstanceAvailability")
"""Keys of a query for series that an archive need not know (PS3.4 C.3.4)."""

_PENDING = (0xFF00, 0xFF01)
_NOT_AUTHORIZED = 0x0124
_UNKNOWN_DESTINATION = 0xA801
_CUT_OFF = (0xA700, 0xA701)
"""What an archive may say behind the last answer that its limit allows."""
_UNSUPPORTED = (0x0122, 0xA900)
MEANINGS = {
    0x0110: "it failed while processing the request",
    0x0122: "it does not offer this service",
    0x0213: "it lacks the resources",
    0xA700: "it is out of resources",
    0xA701: "it is out of resources to count the matches",
    0xA702: "it is out of resources to send instances",
    0xA900: "the request does not fit what it can match",
    0xB000: "it could not send some or all instances, often because none of the transfer syntaxes"
    " agreed on is the one in which they are stored",
    0xFE00: "it, or a person there, cancelled the request",
}
"""Statuses of PS3.4 C.4 and PS3.7 C, in words."""


class DimseArchive(NetworkArchive[Dataset]):
    """See `protocol.Archive` and `network.NetworkArchive`."""

    def __init__(self, settings: Mapping[str, Any], *, key: bytes) -> None:
        super().__init__(settings, key=key)
        dimse = settings["dimse"]
        for name in ("host", "port", "called_aet", "calling_aet"):
            if not dimse[name]:
                raise InputError(
                    f"archive.dimse.{name} is not set; ask the archive's administrator"
                )
        self.address = (dimse["host"], dimse["port"])
        self.called, self.calling = dimse["called_aet"], dimse["calling_aet"]
        self.move_port = dimse["move_port"] if dimse["method"] == "move" else None
        if dimse["method"] == "move" and not self.move_port:
            raise InputError(
                "archive.dimse.move_port is not set; method: move needs the port to which the"
                " archive has been told to send for archive.dimse.calling_aet"
            )
        self.tls = _tls(dimse["tls"])
        self._syntaxes = list(SYNTAXES)
        self._patients: dict[str, str] = {}
        self._needs_patient = False

    @staticmethod
    def text_of(row: Dataset, keyword: str) -> str:
        """See `network.NetworkArchive.text_of`."""
        return text_of(row, keyword)

    def prepare(self, *, threads: int) -> None:  # noqa: ARG002
        """C-ECHO, and a C-FIND for a study that cannot exist.

        An archive that answers the one and breaks off every other does not know who asks: Orthanc
        says it that way.
        """
        patience = Patience(min(self.patience_seconds, FIRST_SECONDS))
        patience.insist(self._echo)
        broken = 0

        def ask() -> None:
            nonlocal broken
            try:
                self._find_once("STUDY", StudyInstanceUID="1.2.3")
            except _BrokenOff:
                broken += 1
                if broken < BREAKS:
                    raise
                raise Fault(
                    "archive_refused",
                    f"the archive answers C-ECHO and broke off {broken} queries: it does not let"
                    f" the calling AE title {self.calling!r} query. Put the one that its"
                    " administrator names into archive.dimse.calling_aet",
                ) from None

        patience.insist(ask)

    def find(self, query: Query) -> list[FoundSeries]:
        """See `protocol.Archive.find`."""
        patience = self.patience()
        found = []
        for uid, study in self.matching_studies(query, patience).items():
            found += [
                self._found(study, row, patience) for row in self._series(uid, patience).values()
            ]
        return found

    def _series(self, study: str, patience: Patience) -> dict[str, Dataset]:
        """Answers about the series of a study, by SeriesInstanceUID.

        There are archives that answer a question for the number of instances with one series and
        the number of all, or with one series again and again (tiny_pacs 0.4 does both).

        Raises
        ------
        Fault
            `archive_unreachable`: a series comes again, and that there are no others is not told.
        """
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": "", "Modality": ""}
        rows = self._find(patience, "SERIES", **keys, **dict.fromkeys(_OPTIONAL, ""))
        series = _by_uid(rows, "SeriesInstanceUID")
        if len(series) == 1:
            plain = self._find(patience, "SERIES", **keys)
            if len(plain) > 1:
                rows, series = plain, _by_uid(plain, "SeriesInstanceUID")
        if len(series) == 1 and len(rows) > 1:
            self._must_be_the_only(study, next(iter(series)), len(rows), patience)
        return series

    def _must_be_the_only(self, study: str, series: str, answers: int, patience: Patience) -> None:
        """Raise unless a series that came several times is the only one of its study: the archive
        counts one, or gave an answer for each of its images (pynetdicom's qrscp)."""
        asked = {"StudyInstanceUID": study, "NumberOfStudyRelatedSeries": ""}
        studies = self._find(patience, "STUDY", **_STUDY | asked)
        counted = {self.count_of(row, "NumberOfStudyRelatedSeries") for row in studies} - {0}
        images = len(self._images(study, series, ("SOPInstanceUID",), patience))
        if counted != {1} and (counted or images != answers):
            raise Fault(
                "archive_unreachable",
                f"the archive gives {answers} answers about the series of a study, and names 1;"
                " expected one answer for each. Ask its administrator, or use its DICOMweb service",
                transient=True,
            )

    def headers(self, series: FoundSeries) -> list[Header]:
        """See `protocol.Archive.headers`.

        Where the archive lists fewer images than it counts, it is asked for the others by their
        number, and where that does not help, for the files.
        """
        patience = self.patience()
        rows = self._images(series.study_uid, series.series_uid, _ASKED, patience)
        try:
            if len(rows) < series.instances:
                rows |= self._by_number(series, rows, range(1, series.instances + 1), patience)
            elif rows and len(rows) % ROUND == 0:
                rows |= self._behind(series, rows, patience)
        except _Unconfirmed:
            return self.look(series, set(rows))
        if len(rows) >= max(1, series.instances) and all(map(_tells_all, rows.values())):
            found = [header_of(row, key=self.key) for row in rows.values()]
            return [
                replace(
                    header,
                    study_uid=series.study_uid,
                    series_uid=series.series_uid,
                    patient=series.patient,
                    modality=header.modality or series.modality,
                )
                for header in found
            ]
        return self.look(series, set(rows))

    def fetch(self, instances: Sequence[Header], into: Path, arrived: Arrived = nobody) -> None:
        """The whole series where nothing of it is there yet; else lists of instances."""
        if not instances:
            return
        study, series = instances[0].study_uid, instances[0].series_uid
        classes = sorted({header.sop_class_uid for header in instances})
        missing = {header.sop_instance_uid for header in instances}
        whole = not any(into.glob("*.dcm"))
        wanted = _Wanted(study, series, missing, into, arrived)
        self._fetch(wanted, classes, whole=whole)

    def fetch_to_look(
        self, series: FoundSeries, missing: set[str], into: Path, *, whole: bool
    ) -> None:
        """See `network.NetworkArchive.fetch_to_look`."""
        wanted = _Wanted(series.study_uid, series.series_uid, missing, into, unlisted=whole)
        self._fetch(wanted, STORAGE_CLASSES, whole=whole)

    def studies_with_uid(self, uid: str, patience: Patience) -> list[Dataset]:
        """See `network.NetworkArchive.studies_with_uid`."""
        return self._find(patience, "STUDY", **_STUDY | {"StudyInstanceUID": uid})

    def studies_with_accession(self, number: str, patience: Patience) -> list[Dataset]:
        """See `network.NetworkArchive.studies_with_accession`."""
        return self._find(patience, "STUDY", **_STUDY | {"AccessionNumber": number})

    def _found(self, study: Dataset, row: Dataset, patience: Patience) -> FoundSeries:
        study_uid, series_uid = self.study_uid(study), text_of(row, "SeriesInstanceUID")
        modality, sop_class = text_of(row, "Modality"), text_of(row, "SOPClassUID")
        instances, may_be_more = self.instance_count(row), False
        at_most: int | None = 0
        if modality in ("", "CT"):
            if not (instances and sop_class):
                asked = ("SOPInstanceUID", "SOPClassUID")
                images = self._images(study_uid, series_uid, asked, patience)
                if not instances:
                    instances, may_be_more = len(images), len(images) % ROUND == 0
                sop_class = sop_class or self._class_of(study_uid, series_uid, images)
            at_most = instances if sop_class == CT_IMAGE and not may_be_more else None
        return self.found_series(study, row, instances=instances, slices_at_most=at_most)

    def _class_of(self, study: str, series: str, images: dict[str, Dataset]) -> str:
        """SOP class of a series whose answers do not tell it: that of one instance, fetched."""
        if not images:
            return ""
        uid = min(images)
        told = text_of(images[uid], "SOPClassUID")
        if told:
            return told
        with tempfile.TemporaryDirectory(prefix="ct-cohort-") as folder:
            into = Path(folder)
            self._fetch(_Wanted(study, series, {uid}, into), STORAGE_CLASSES, whole=False)
            return self.read_file(into / f"{uid}.dcm").sop_class_uid

    def _images(
        self, study: str, series: str, keywords: Sequence[str], patience: Patience
    ) -> dict[str, Dataset]:
        """Answers about the images of a series, by SOPInstanceUID."""
        asked: dict[str, Any] = dict.fromkeys(keywords, "")
        asked |= {"StudyInstanceUID": study, "SeriesInstanceUID": series}
        return _images_of(series, self._find(patience, "IMAGE", **asked))

    def _behind(
        self, series: FoundSeries, known: Mapping[str, Dataset], patience: Patience
    ) -> dict[str, Dataset]:
        """Answers about images behind a list that may have been cut off: an archive that does not
        count tells no other number."""
        told = [int(text) for row in known.values() if (text := _number_of(row)).isdecimal()]
        if not told:
            return {}
        after = max(told) + 1
        gaps = sorted(set(range(1, after)) - set(told))
        rows = self._by_number(series, known, [*gaps[:1], after], patience)
        if rows:
            numbers = chain(range(1, after), count(after + 1))
            rows |= self._by_number(series, {**known, **rows}, numbers, patience)
        return rows

    def _by_number(
        self,
        series: FoundSeries,
        known: Mapping[str, Dataset],
        numbers: Iterable[int],
        patience: Patience,
    ) -> dict[str, Dataset]:
        """Answers about images that a list left out: each InstanceNumber is asked for by itself.

        Archives cut lists off, and no range can be asked for. Given up where several numbers in a
        row bring nothing new.
        """
        told = {_number_of(row) for row in known.values()}
        rows: dict[str, Dataset] = {}
        in_vain = 0
        for number in map(str, numbers):
            if number in told:
                continue
            found = self._numbered(series, number, patience)
            new = found.keys() - known.keys() - rows.keys()
            rows |= {uid: found[uid] for uid in new}
            in_vain = 0 if new else in_vain + 1
            if in_vain == IN_VAIN:
                break
        return rows

    def _numbered(self, series: FoundSeries, number: str, patience: Patience) -> dict[str, Dataset]:
        """Answers about the images with an InstanceNumber.

        Raises
        ------
        _Unconfirmed
            The archive broke the query off every time: there are some that cannot match numbers.
        """
        broken = 0

        def ask() -> dict[str, Dataset]:
            nonlocal broken
            keys = dict.fromkeys(_ASKED, "") | {"InstanceNumber": number}
            keys |= {"StudyInstanceUID": series.study_uid, "SeriesInstanceUID": series.series_uid}
            try:
                return _images_of(series.series_uid, self._find_once("IMAGE", **keys))
            except _BrokenOff:
                broken += 1
                if broken < BREAKS:
                    raise
                raise _Unconfirmed from None

        return patience.insist(ask)

    def _find(self, patience: Patience, level: str, **keys: Any) -> list[Dataset]:
        return patience.insist(lambda: self._find_once(level, **keys))

    def _find_once(self, level: str, **keys: Any) -> list[Dataset]:
        """One C-FIND (PS3.4 C.4.1); its answers."""
        rows: list[Dataset] = []
        with self._association("find", [build_context(model) for model in FIND]) as association:
            model = _accepted(association, FIND)
            if model is None:
                raise Fault(
                    "archive_refused",
                    "the archive offers no query (C-FIND) to this AE title; ask its administrator",
                )
            identifier = _identifier(level, **self._rooted(model, keys))
            for status, row in association.send_c_find(identifier, model):
                if level == "IMAGE" and rows and status.get("Status") in _CUT_OFF:
                    break  # its limit is reached: held against its count by the caller
                code = self._status(status)
                if code in _PENDING and row is not None:
                    rows.append(row)
        if level == "STUDY":
            for row in rows:
                self._patients[self.study_uid(row)] = text_of(row, "PatientID")
        return rows

    def _rooted(self, model: Any, keys: dict[str, Any]) -> dict[str, Any]:
        """`keys`, with the PatientID that the Patient Root model wants above every study (PS3.4
        C.6.1); it is kept in memory only."""
        if model not in (FIND[1], GET[1], MOVE[1]) or keys.get("PatientID"):
            return keys
        study = str(keys.get("StudyInstanceUID", ""))
        if keys["StudyInstanceUID"] and study not in self._patients and model != FIND[1]:
            self._needs_patient = True
            raise Transient("the archive wants the patient of a study", wait=0.0)
        return {**keys, "PatientID": self._patients.get(study, "")}

    def _echo(self) -> None:
        with self._association("echo", [build_context(Verification)]) as association:
            self._status(association.send_c_echo())

    def _fetch(self, wanted: _Wanted, classes: Sequence[str], *, whole: bool) -> None:
        """Fetch instances, taking each out of what is missing; what comes is kept whatever follows.

        An archive that does nothing about a list of UIDs is asked for single ones, and where that
        does not help either, for the series.

        DCMTK's archive sends over the first context that it has accepted for a SOP class, whatever
        the file's transfer syntax. Where it says that nothing could be sent, another one is offered
        first, at once: that is another request. What worked stays first.
        """
        patience = Patience(self.patience_seconds, reason="transfer_incomplete")
        ways = [LIST, 1, WHOLE]
        if whole:
            ways.insert(0, ways.pop())
        untried = len(self._syntaxes)

        def once() -> None:
            nonlocal untried
            before = len(wanted.missing)
            try:
                self._request_instances(wanted, classes, ways[0])
                if wanted.missing:
                    raise Transient(f"{len(wanted.missing)} instances did not arrive")
            except Transient as error:
                arrived = before - len(wanted.missing)
                if arrived and ways[0] == WHOLE:
                    ways.append(ways.pop(0))
                elif isinstance(error, _NotSent) and not arrived and ways[0] == LIST:
                    ways.append(ways.pop(0))
                    raise Transient(str(error), wait=0.0) from None
                elif (
                    isinstance(error, _NotSent)
                    and not isinstance(error, _NotSupported)
                    and untried > 0
                    and not (arrived or self.move_port)
                ):
                    self._syntaxes.append(self._syntaxes.pop(0))
                    untried -= 1
                    raise Transient(str(error), wait=0.0) from None
                elif arrived <= before // 2 and not (arrived and isinstance(error, _BrokenOff)):
                    ways.append(ways.pop(0))
                if not arrived:
                    raise
                patience.pause(error)

        if whole and not wanted.missing:
            patience.insist(lambda: self._request_instances(wanted, classes, WHOLE))
        while wanted.missing:
            patience.insist(once)

    def _request_instances(self, wanted: _Wanted, classes: Sequence[str], way: int) -> None:
        """Ask once for what is missing: lists of so many UIDs, or the whole series."""
        keys = {"StudyInstanceUID": wanted.study, "SeriesInstanceUID": wanted.series}
        requests: list[tuple[str, dict[str, Any]]] = [("SERIES", keys)]
        if way != WHOLE:
            uids = sorted(wanted.missing)
            lists = [uids[start : start + way] for start in range(0, len(uids), way)]
            requests = [("IMAGE", {**keys, "SOPInstanceUID": one}) for one in lists]
        if self._needs_patient and wanted.study not in self._patients:
            self._find_once("STUDY", **_STUDY | {"StudyInstanceUID": wanted.study})
        receiver = _Receiver(wanted, self.manners)
        if self.move_port:
            self._move(requests, classes, receiver)
        else:
            self._get(requests, classes, receiver)

    def _get(
        self,
        requests: list[tuple[str, dict[str, Any]]],
        classes: Sequence[str],
        receiver: _Receiver,
    ) -> None:
        """C-GET (PS3.4 C.4.3): instances come over the association that asks for them.

        Each transfer syntax is offered in a context of its own, so that the archive sends what it
        has instead of choosing one and converting.
        """
        contexts = [build_context(model) for model in GET]
        contexts += [build_context(name, [syntax]) for name in classes for syntax in self._syntaxes]
        options = {
            "ext_neg": [build_role(name, scp_role=True) for name in classes],
            "evt_handlers": [(evt.EVT_C_STORE, receiver.store)],
        }
        with self._association("fetch", contexts, receiver, **options) as association:
            model = _accepted(association, GET)
            if model is None:
                raise Fault("archive_refused", f"the archive does not offer C-GET; {_USE_MOVE}")
            storage = [
                one for one in association.accepted_contexts if one.abstract_syntax not in GET
            ]
            if not any(one.as_scp for one in storage):
                raise Fault(
                    "archive_refused",
                    "the archive offers C-GET, but does not let this side receive over the same"
                    f" association (it grants no storage role); {_USE_MOVE}",
                )
            for level, keys in requests:
                identifier = _identifier(level, **self._rooted(model, keys))
                for status, _ in association.send_c_get(identifier, model):
                    receiver.check()
                    self._status(status, retrieving=True)

    def _move(
        self,
        requests: list[tuple[str, dict[str, Any]]],
        classes: Sequence[str],
        receiver: _Receiver,
    ) -> None:
        """C-MOVE (PS3.4 C.4.2): the archive opens an association to this machine."""
        entity = _entity(self.calling)
        for name in classes:
            entity.add_supported_context(name, list(SYNTAXES))
        try:
            server = entity.start_server(
                ("", self.move_port), block=False, evt_handlers=[(evt.EVT_C_STORE, receiver.store)]
            )
        except OSError:
            raise Transient(f"port {self.move_port} (archive.dimse.move_port) is in use") from None
        try:
            contexts = [build_context(model) for model in MOVE]
            with self._association("fetch", contexts, receiver) as association:
                model = _accepted(association, MOVE)
                if model is None:
                    raise Fault(
                        "archive_refused",
                        "the archive does not offer C-MOVE to this AE title; ask its administrator",
                    )
                for level, keys in requests:
                    identifier = _identifier(level, **self._rooted(model, keys))
                    for status, _ in association.send_c_move(identifier, self.calling, model):
                        receiver.check()
                        self._status(status, retrieving=True)
        finally:
            server.shutdown()

    @contextmanager
    def _association(
        self, what: str, contexts: list[Any], receiver: _Receiver | None = None, **options: Any
    ) -> Iterator[Association]:
        """An association for one request; released, or aborted where something failed."""
        self.manners.before_request()
        answer = "refused"
        association = None
        if self.tls:
            options["tls_args"] = (self.tls, self.address[0])
        try:
            try:
                association = _entity(self.calling).associate(
                    *self.address, contexts=contexts, ae_title=self.called, **options
                )
            except socket.gaierror:
                raise Transient("the archive's host name is not known") from None
            if not association.is_established:
                raise self._why_not(association)
            answer = "broken"
            with receiver.watching(association) if receiver else nullcontext():
                yield association
            answer = "ok"
        finally:
            self.manners.after_request(what, receiver.size if receiver else 0, answer)
            if association is not None and association.is_established:
                (association.release if answer == "ok" else association.abort)()

    def _why_not(self, association: Association) -> Exception:
        """Return why there is no association (PS3.8 9.3.4, 9.2.2)."""
        if association.is_rejected:
            answer = association.acceptor.primitive
            if answer.result_source == 1 and answer.diagnostic in (3, 7):
                who = (
                    ("calling", self.calling) if answer.diagnostic == 3 else ("called", self.called)
                )
                return Fault(
                    "archive_refused",
                    f"the archive does not know the {who[0]} AE title {who[1]!r}; put the one that"
                    f" its administrator names into archive.dimse.{who[0]}_aet",
                )
            return Transient("the archive refused the association")
        try:
            with socket.create_connection(self.address, CONNECT_SECONDS) as plain:
                if self.tls:
                    self.tls.wrap_socket(plain, server_hostname=self.address[0]).close()
        except ssl.SSLCertVerificationError as error:
            return Fault(
                "archive_refused",
                f"the archive's certificate is not trusted ({error.verify_message}); put the CA"
                " that signed it, and every intermediate that the archive does not send, into"
                " archive.dimse.tls.ca_bundle, or fix archive.dimse.host",
            )
        except ssl.SSLError:
            return Fault(
                "archive_refused",
                "the archive does not speak TLS at this port, only TLS before 1.2, or refuses this"
                " side's certificate; check archive.dimse.port and archive.dimse.tls",
            )
        except ConnectionRefusedError:
            return Transient("the archive refused the connection")
        except OSError:
            return Transient("the archive did not answer in time")
        hint = "" if self.tls else "; it may want TLS (archive.dimse.tls)"
        return Transient(f"the archive ended the connection before an association was made{hint}")

    def _status(self, status: Dataset, *, retrieving: bool = False) -> int:
        """The code of a response's status, if it is success or pending (PS3.7 C)."""
        if "Status" not in status:
            unknown = f"it does not let the calling AE title {self.calling!r} query"
            if retrieving and self.move_port:
                unknown = f"it does not know {self.calling!r} as a destination of C-MOVE"
            raise _BrokenOff(
                f"the archive broke the association off; where it always does, {unknown}"
            )
        code = int(status.Status)
        if code == 0 or code in _PENDING:
            return code
        if code == _UNKNOWN_DESTINATION:
            raise Fault(
                "archive_refused",
                f"the archive does not know {self.calling!r} as a destination of C-MOVE; have its"
                " administrator enter the AE title, this machine and archive.dimse.move_port",
            )
        if code == _NOT_AUTHORIZED:
            self._not_authorized()
        said = f"the archive answered with status {code:04X}"
        meaning = MEANINGS.get(code, "it could not process the request" * (code >> 12 == 0xC))
        if meaning:
            said = f"{said}: {meaning}"
        if code in _UNSUPPORTED or (retrieving and not meaning):
            raise _NotSupported(said)
        if meaning:
            raise _NotSent(said)
        raise Fault("archive_refused", f"{said}; expected 0000. Ask its administrator")

    def _not_authorized(self) -> None:
        """Raise for a request that this AE title may not make: of one study, or at all where
        nothing has been granted yet."""
        cause = f"the archive does not allow {self.calling!r} to ask this (status 0124)"
        if self.manners.has_been_granted():
            raise Fault("archive_refused", f"{cause}; ask its administrator")
        self.manners.stop(cause)
        raise Stopped("archive_refused", f"{cause}; ask its administrator, then remove {STOP}")


class _Unconfirmed(Exception):
    """Whether a list of images is whole cannot be asked; its files tell."""


class _BrokenOff(Transient):
    """The archive ended an association instead of answering."""


class _NotSent(Transient):
    """The archive answered that it failed at what was asked."""


class _NotSupported(_NotSent):
    """The archive answered that it does not do what was asked."""


@dataclass(frozen=True)
class _Wanted:
    """The instances wanted of a series, their folder, the callback for each, and whether instances
    that were not listed are kept."""

    study: str
    series: str
    missing: set[str]
    into: Path
    arrived: Arrived = nobody
    unlisted: bool = False


class _Receiver:
    """Writes the instances that arrive, original bytes with a file header before them."""

    def __init__(self, wanted: _Wanted, manners: Manners) -> None:
        self.wanted = wanted
        self.manners = manners
        self.size = 0
        self.error: Exception | None = None
        self._last = time.monotonic()

    @contextmanager
    def watching(self, association: Association) -> Iterator[None]:
        """Abort the association where an instance takes too long: a trickle is no silence."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(1.0):
                if time.monotonic() - self._last > INSTANCE_SECONDS:
                    association.abort()
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def store(self, event: evt.Event) -> int:
        """The handler of C-STORE (PS3.4 B.2.3); a status, 0 or out of resources."""
        uid = str(event.request.AffectedSOPInstanceUID)
        into = self.wanted.into
        if uid not in self.wanted.missing and not (self.wanted.unlisted and is_uid(uid)):
            if not (into / f"{uid}.dcm").exists():
                self.error = Changed("the series has instances that the archive had not listed")
            return 0
        data = event.encoded_dataset()
        part = into / f".part-{uid}.{os.getpid()}"
        try:
            part.write_bytes(data)
            path = part.rename(into / f"{uid}.dcm")
        except OSError as error:
            part.unlink(missing_ok=True)
            self.error = error
            return 0xA700
        self.wanted.arrived(path)
        self.wanted.missing.discard(uid)
        self.size += len(data)
        self.manners.received(len(data))
        self._last = time.monotonic()
        return 0

    def check(self) -> None:
        """Raise what went wrong in the handler."""
        if self.error:
            raise self.error


def _entity(title: str) -> AE:
    entity = AE(title)
    entity.connection_timeout = CONNECT_SECONDS
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SILENT_SECONDS
    return entity


_USE_MOVE = (
    "set archive.dimse.method: move, and have its administrator enter this machine as a destination"
)


def _accepted(association: Association, models: Sequence[Any]) -> Any:
    """The first of several information models that the archive has accepted; None where none."""
    accepted = {one.abstract_syntax for one in association.accepted_contexts}
    return next((model for model in models if model in accepted), None)


def _identifier(level: str, **keys: Any) -> Dataset:
    """A query's keys; one that is empty asks for the value (PS3.4 C.2.2.2.3)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    if any(isinstance(value, str) and not value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        empty = None if dictionary_VR(keyword) in ("DS", "IS", "US", "FD") else ""
        setattr(identifier, keyword, value or empty)
    return identifier


def _by_uid(rows: Iterable[Dataset], keyword: str) -> dict[str, Dataset]:
    """Answers by their UID; what has none is left out."""
    return {uid: row for row in rows if is_uid(uid := text_of(row, keyword))}


def _images_of(series: str, rows: Iterable[Dataset]) -> dict[str, Dataset]:
    """Answers about images of a series by SOPInstanceUID; others than were asked for do occur."""
    own = (row for row in rows if text_of(row, "SeriesInstanceUID") in ("", series))
    return _by_uid(own, "SOPInstanceUID")


def _number_of(row: Dataset) -> str:
    return text_of(row, "InstanceNumber")


def _tells_all(row: Dataset) -> bool:
    """Return True if an answer about an image has all that the choice needs; frames are never
    listed."""
    single = text_of(row, "SOPClassUID") not in CT_CLASSES - {CT_IMAGE}
    return single and all(keyword in row for keyword in NEEDED)


def _tls(settings: Mapping[str, Any] | None) -> ssl.SSLContext | None:
    if settings is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.get("ca_bundle"))
        if settings.get("certificate"):
            context.load_cert_chain(settings["certificate"], settings.get("key"))
    except (OSError, ssl.SSLError):
        raise InputError(
            "archive.dimse.tls: ca_bundle, certificate or key cannot be read; expected PEM files"
        ) from None
    return context
