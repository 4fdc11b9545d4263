"""A DICOM archive over DIMSE: C-FIND for what there is, C-GET or C-MOVE for files (PS3.4 C, PS3.7).

Archives differ in what a C-FIND tells. Where it tells everything that the choice rests on, nothing
is fetched to be looked at. Where it does not, one instance says what a series is, and a series that
may win is fetched in full to where its download expects it.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from ctcohort.archives.manners import STOP, Manners
from ctcohort.archives.network import NetworkArchive
from ctcohort.archives.protocol import Arrived, Changed, FoundSeries, Query, nobody
from ctcohort.archives.retrying import FIRST_SECONDS, Patience, Transient
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.naming import is_uid, name_of
from ctcohort.base.workdir import Workdir
from ctcohort.dicom.headers import (
    CT_CLASSES,
    CT_IMAGE,
    KEYWORDS,
    SECONDARY_CAPTURE,
    Header,
    header_of,
)

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 60.0
"""Longest wait for the next message."""

INSTANCE_SECONDS = 900.0
"""Longest time for one instance: at 1 kB/s, or a multi-frame instance of 500 MB at 0.6 MB/s."""

BREAKS = 3
"""Queries broken off by an archive that answers C-ECHO, before that is taken for its answer."""

LIST = 50
"""SOPInstanceUIDs in one request for single instances (PS3.4 C.2.2.2.2)."""

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

_PENDING = (0xFF00, 0xFF01)
_LATER = (0xA700, 0xA701, 0xA702, 0xB000, 0x0110, 0x0213)
"""Out of resources, some sub-operations failed, processing failure (PS3.4 C.4.2, PS3.7 C)."""


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

    @staticmethod
    def text_of(row: Dataset, keyword: str) -> str:
        return _text(row, keyword)

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
        patience = self.patience()
        found = []
        for uid, study in self.matching_studies(query, patience).items():
            rows = self._find(
                patience,
                "SERIES",
                StudyInstanceUID=uid,
                SeriesInstanceUID="",
                Modality="",
                NumberOfSeriesRelatedInstances="",
                SOPClassUID="",
                InstanceAvailability="",
            )
            series = {_text(row, "SeriesInstanceUID"): row for row in rows}
            found += [
                self._found(study, row, patience)
                for series_uid, row in series.items()
                if series_uid
            ]
        return found

    def headers(self, series: FoundSeries) -> list[Header]:
        patience = self.patience()
        rows = self._images(series.study_uid, series.series_uid, _ASKED, patience)
        if rows and all(_tells_all(row) for row in rows.values()):
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
        return self._look(series, set(rows))

    def fetch(self, instances: Sequence[Header], into: Path, arrived: Arrived = nobody) -> None:
        """The whole series where nothing of it is there yet; else lists of instances."""
        if not instances:
            return
        study, series = instances[0].study_uid, instances[0].series_uid
        classes = sorted({header.sop_class_uid for header in instances})
        missing = {header.sop_instance_uid for header in instances}
        patience = Patience(self.patience_seconds, reason="transfer_incomplete")
        whole = not any(into.glob("*.dcm"))
        target = _Target(into, arrived)
        self._fetch(study, series, missing, classes, target, patience, whole=whole)

    def studies_with_uid(self, uid: str, patience: Patience) -> list[Dataset]:
        return self._find(patience, "STUDY", **_STUDY | {"StudyInstanceUID": uid})

    def studies_with_accession(self, number: str, patience: Patience) -> list[Dataset]:
        return self._find(patience, "STUDY", **_STUDY | {"AccessionNumber": number})

    def _found(self, study: Dataset, row: Dataset, patience: Patience) -> FoundSeries:
        study_uid, series_uid = self.study_uid(study), _text(row, "SeriesInstanceUID")
        modality, sop_class = _text(row, "Modality"), _text(row, "SOPClassUID")
        instances = self.instance_count(row)
        at_most: int | None = 0
        if modality in ("", "CT"):
            if not (instances and sop_class):
                asked = ("SOPInstanceUID", "SOPClassUID")
                images = self._images(study_uid, series_uid, asked, patience)
                instances = instances or len(images)
                sop_class = sop_class or self._class_of(study_uid, series_uid, images, patience)
            at_most = instances if sop_class == CT_IMAGE else None
        return self.found_series(study, row, instances=instances, slices_at_most=at_most)

    def _class_of(
        self, study: str, series: str, images: dict[str, Dataset], patience: Patience
    ) -> str:
        """SOP class of a series whose answers do not tell it: that of one instance, fetched."""
        if not images:
            return ""
        uid = min(images)
        told = _text(images[uid], "SOPClassUID")
        if told:
            return told
        into = self._looked_at()
        self._fetch(study, series, {uid}, STORAGE_CLASSES, _Target(into), patience, whole=False)
        path = into / f"{uid}.dcm"
        return str(dcmread(path, stop_before_pixels=True).SOPClassUID)

    def _look(self, series: FoundSeries, wanted: set[str]) -> list[Header]:
        """Headers from the files of a series, fetched to where its download expects them."""
        into = self._looked_at()
        names = {f"{uid}.dcm" for uid in wanted}
        for path in into.iterdir():
            if path.name not in names:
                path.unlink()
        missing = {uid for uid in wanted if not (into / f"{uid}.dcm").exists()}
        patience = Patience(self.patience_seconds, reason="transfer_incomplete")
        study, uid = series.study_uid, series.series_uid
        whole = len(missing) >= len(wanted) - 1
        self._fetch(study, uid, missing, STORAGE_CLASSES, _Target(into), patience, whole=whole)
        return [_read(into / name, self.key) for name in sorted(names)]

    def _looked_at(self) -> Path:
        into = Workdir().partial(name_of(self.manners.accession))
        into.mkdir(parents=True, exist_ok=True)
        return into

    def _images(
        self, study: str, series: str, keywords: Sequence[str], patience: Patience
    ) -> dict[str, Dataset]:
        """Answers about the images of a series, by SOPInstanceUID."""
        asked: dict[str, Any] = dict.fromkeys(keywords, "")
        asked |= {"StudyInstanceUID": study, "SeriesInstanceUID": series}
        rows = self._find(patience, "IMAGE", **asked)
        return {uid: row for row in rows if is_uid(uid := _text(row, "SOPInstanceUID"))}

    def _find(self, patience: Patience, level: str, **keys: Any) -> list[Dataset]:
        return patience.insist(lambda: self._find_once(level, **keys))

    def _find_once(self, level: str, **keys: Any) -> list[Dataset]:
        """One C-FIND (PS3.4 C.4.1); its answers."""
        rows = []
        model = StudyRootQueryRetrieveInformationModelFind
        with self._association("find", [build_context(model)]) as association:
            for status, row in association.send_c_find(_identifier(level, **keys), model):
                code = self._status(status)
                if code in _PENDING and row is not None:
                    rows.append(row)
        return rows

    def _echo(self) -> None:
        with self._association("echo", [build_context(Verification)]) as association:
            self._status(association.send_c_echo())

    def _fetch(
        self,
        study: str,
        series: str,
        missing: set[str],
        classes: Sequence[str],
        target: _Target,
        patience: Patience,
        *,
        whole: bool,
    ) -> None:
        """Fetch instances, taking each out of `missing`; what comes is kept whatever follows.

        DCMTK's archive sends over the first context that it has accepted for a SOP class, whatever
        the file's transfer syntax. Where it says that nothing could be sent, another one is offered
        first, at once: that is another request. What worked stays first.
        """
        untried = len(self._syntaxes)

        def once() -> None:
            nonlocal untried
            before = len(missing)
            keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
            identifiers = [_identifier("SERIES", **keys)]
            if not whole:
                uids = sorted(missing)
                lists = [uids[start : start + LIST] for start in range(0, len(uids), LIST)]
                identifiers = [_identifier("IMAGE", **keys, SOPInstanceUID=one) for one in lists]
            receiver = _Receiver(missing, target, self.manners)
            try:
                if self.move_port:
                    self._move(identifiers, classes, receiver)
                else:
                    self._get(identifiers, classes, receiver)
                if missing:
                    raise Transient(f"{len(missing)} instances did not arrive")
            except Transient as error:
                if len(missing) < before:
                    patience.pause(error)
                    return
                self._syntaxes.append(self._syntaxes.pop(0))
                untried -= 1
                if isinstance(error, _NotSent) and untried > 0 and not self.move_port:
                    raise Transient(str(error), wait=0.0) from None
                raise

        patience.insist(once)
        whole = False
        while missing:
            patience.insist(once)

    def _get(
        self,
        identifiers: list[Dataset],
        classes: Sequence[str],
        receiver: _Receiver,
    ) -> None:
        """C-GET (PS3.4 C.4.3): instances come over the association that asks for them.

        Each transfer syntax is offered in a context of its own, so that the archive sends what it
        has instead of choosing one and converting.
        """
        model = StudyRootQueryRetrieveInformationModelGet
        contexts = [build_context(model)]
        contexts += [build_context(name, [syntax]) for name in classes for syntax in self._syntaxes]
        options = {
            "ext_neg": [build_role(name, scp_role=True) for name in classes],
            "evt_handlers": [(evt.EVT_C_STORE, receiver.store)],
        }
        with self._association("fetch", contexts, receiver, **options) as association:
            if not any(one.abstract_syntax == model for one in association.accepted_contexts):
                raise Fault(
                    "archive_refused",
                    "the archive does not offer C-GET; set archive.dimse.method: move, and have"
                    " its administrator enter this machine as a destination",
                )
            for identifier in identifiers:
                for status, _ in association.send_c_get(identifier, model):
                    receiver.check()
                    self._status(status)

    def _move(
        self, identifiers: list[Dataset], classes: Sequence[str], receiver: _Receiver
    ) -> None:
        """C-MOVE (PS3.4 C.4.2): the archive opens an association to this machine."""
        model = StudyRootQueryRetrieveInformationModelMove
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
            context = [build_context(model)]
            with self._association("fetch", context, receiver) as association:
                for identifier in identifiers:
                    for status, _ in association.send_c_move(identifier, self.calling, model):
                        receiver.check()
                        self._status(status)
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
        """Why there is no association (PS3.8 9.3.4, 9.2.2)."""
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
        except ssl.SSLCertVerificationError:
            return Fault(
                "archive_refused",
                "the archive's certificate is not trusted, or names another host; put the CA that"
                " signed it into archive.dimse.tls.ca_bundle, or mend archive.dimse.host",
            )
        except ssl.SSLError:
            return Fault(
                "archive_refused",
                "the archive does not speak TLS at this port, or refuses this side's certificate;"
                " check archive.dimse.port and archive.dimse.tls",
            )
        except ConnectionRefusedError:
            return Transient("the archive refused the connection")
        except OSError:
            return Transient("the archive did not answer in time")
        hint = "" if self.tls else "; it may want TLS (archive.dimse.tls)"
        return Transient(f"the archive ended the connection before an association was made{hint}")

    def _status(self, status: Dataset) -> int:
        """The code of a response's status, if it is success or pending (PS3.7 C)."""
        if "Status" not in status:
            raise _BrokenOff(
                "the archive broke the association off; where it always does, it does not let the"
                f" calling AE title {self.calling!r} query"
            )
        code = int(status.Status)
        if code == 0 or code in _PENDING:
            return code
        if code == 0xA801:
            raise Fault(
                "archive_refused",
                f"the archive does not know {self.calling!r} as a destination of C-MOVE; have its"
                " administrator enter the AE title, this machine and archive.dimse.move_port",
            )
        if code == 0x0124:
            cause = f"the archive does not allow {self.calling!r} to ask this (status 0124)"
            self.manners.stop(cause)
            raise Fault("archive_refused", f"{cause}; ask its administrator, then remove {STOP}")
        if code in _LATER or code & 0xF000 == 0xC000:
            raise _NotSent(f"the archive answered with status {code:04X}")
        raise Fault(
            "archive_refused",
            f"the archive answered with status {code:04X}; expected 0000. Ask its administrator",
        )


class _BrokenOff(Transient):
    """The archive ended an association instead of answering."""


class _NotSent(Transient):
    """The archive answered that it failed at what was asked."""


@dataclass(frozen=True)
class _Target:
    """Where instances go, and who is told of each."""

    into: Path
    arrived: Arrived = nobody


class _Receiver:
    """Writes the instances that arrive, original bytes with a file header before them."""

    def __init__(self, missing: set[str], target: _Target, manners: Manners) -> None:
        self.missing = missing
        self.target = target
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
        into = self.target.into
        if uid not in self.missing:
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
        self.target.arrived(path)
        self.missing.discard(uid)
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


def _text(row: Dataset, keyword: str) -> str:
    value = row.get(keyword)
    return "" if value is None else str(value).strip(" \0")


def _tells_all(row: Dataset) -> bool:
    """Whether an answer about an image has all that the choice rests on; frames are never told."""
    single = _text(row, "SOPClassUID") not in CT_CLASSES - {CT_IMAGE}
    return single and all(keyword in row for keyword in NEEDED)


def _read(path: Path, key: bytes) -> Header:
    dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(KEYWORDS))
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    return header_of(dataset, key=key, transfer_syntax=syntax)


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
