"""One DIMSE server that answers as other archives do; see `lying_dicomweb` for DICOMweb."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from ctcohort.dicom.headers import CT_CLASSES

from .dicomweb_server import Stored
from .dimse_server import UNIQUE
from .servers import ARCHIVE

STUDY_ROOT = (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet)
PATIENT_ROOT = (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
)
ABOVE = {"PATIENT": (), "STUDY": ("PatientID",), "SERIES": ("PatientID", "StudyInstanceUID")}
ABOVE["IMAGE"] = (*ABOVE["SERIES"], "SeriesInstanceUID")


@dataclass(frozen=True)
class Lies:
    """How the server differs from one that does all that it is asked.

    Attributes
    ----------
    images : the most answers about images
    cut_off : the status behind them; 0 as if there were no more
    counts : whether it tells NumberOfSeriesRelatedInstances
    tells : whether it tells of images more than their UIDs
    uid_lists : "yes", "A900" or "C001" (refused), "nothing" (status 0), or "first" (of the list)
    patient_root : whether it has no other model, and wants the PatientID in it
    gets : whether it offers C-GET
    role : whether it grants the storage role
    sent : the most instances of one C-GET
    get_status : the status of the first C-GET instead of an answer
    forbidden : accessions for which queries are answered with 0124
    """

    images: int = 0
    cut_off: int = 0
    counts: bool = True
    tells: bool = True
    uid_lists: str = "yes"
    patient_root: bool = False
    gets: bool = True
    role: bool = True
    sent: int = 0
    get_status: int = 0
    forbidden: frozenset[str] = frozenset()


PROFILES = {
    "dimse-capped": Lies(images=20),
    "dimse-capped-a700": Lies(images=20, cut_off=0xA700),
    "dimse-capped-dumb": Lies(images=20, tells=False),
    "dimse-capped-everywhere": Lies(images=20, tells=False, sent=20, uid_lists="nothing"),
    "dimse-no-uid-lists": Lies(uid_lists="A900", sent=7),
    "dimse-lists-fail": Lies(uid_lists="C001", sent=7),
    "dimse-lists-bring-nothing": Lies(uid_lists="nothing", sent=7),
    "dimse-lists-bring-one": Lies(uid_lists="first", sent=7),
    "dimse-patient-root": Lies(patient_root=True),
    "dimse-no-counts": Lies(counts=False, tells=False),
    "dimse-no-counts-capped": Lies(counts=False, images=20),
    "dimse-restricted": Lies(forbidden=frozenset({"00A3"})),
    "dimse-out-of-resources": Lies(get_status=0xA702),
    "dimse-cancelled": Lies(get_status=0xFE00),
}


@dataclass
class Server:
    """A running archive."""

    lies: Lies
    port: int = 0
    datasets: list[Dataset] = field(default_factory=list)
    finds: int = 0
    gets: list[int] = field(default_factory=list)

    def holds(self, accession: str) -> dict[str, int]:
        """Instances of each series of an accession."""
        held: dict[str, int] = {}
        for one in self.datasets:
            if one.AccessionNumber == accession:
                held[one.SeriesInstanceUID] = held.get(one.SeriesInstanceUID, 0) + 1
        return held


@contextmanager
def lying_dimse(stored: list[Stored], lies: Lies) -> Iterator[Server]:
    """Serve files over DIMSE on loopback until the block ends."""
    archive = Server(lies, datasets=[dcmread(one.path) for one in stored])
    entity = AE(ARCHIVE)
    models = PATIENT_ROOT if lies.patient_root else STUDY_ROOT
    for model in (Verification, *models[: 2 if lies.gets else 1]):
        entity.add_supported_context(model)
    syntaxes = sorted({str(one.file_meta.TransferSyntaxUID) for one in archive.datasets})
    roles = {"scu_role": True, "scp_role": True} if lies.role else {}
    for context in AllStoragePresentationContexts:
        name = context.abstract_syntax
        if name in CT_CLASSES or "Secondary" in name.name or "SR" in name.name:
            entity.add_supported_context(name, syntaxes, **roles)
    lock = threading.Lock()

    def matching(identifier: Dataset) -> list[Dataset]:
        found = archive.datasets
        keys = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        if lies.patient_root and any(
            not identifier.get(key) for key in ABOVE[identifier.QueryRetrieveLevel][1:]
        ):
            return []
        if lies.patient_root and identifier.QueryRetrieveLevel != "STUDY":
            found = [one for one in found if one.PatientID == identifier.get("PatientID")]
        for keyword in (*keys, "AccessionNumber", "InstanceNumber"):
            wanted = identifier.get(keyword)
            if wanted not in (None, ""):
                values = {str(wanted)} if isinstance(wanted, (str, int)) else set(map(str, wanted))
                found = [one for one in found if str(one[keyword].value) in values]
        return found

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        level = identifier.QueryRetrieveLevel
        with lock:
            archive.finds += 1
        found = matching(identifier)
        if any(one.AccessionNumber in lies.forbidden for one in found):
            yield 0x0124, None
            return
        unique: dict[str, Dataset] = {}
        for one in found:
            unique.setdefault(one[UNIQUE[level]].value, one)
        for number, one in enumerate(unique.values()):
            if level == "IMAGE" and lies.images and number >= lies.images:
                if lies.cut_off:
                    yield lies.cut_off, None
                return
            yield 0xFF00, answer(identifier, one, level)

    def answer(identifier: Dataset, one: Dataset, level: str) -> Dataset:
        told = Dataset()
        for element in identifier:
            keeps = level != "IMAGE" or lies.tells or element.VR == "UI"
            if keeps or element.keyword in ("QueryRetrieveLevel", "InstanceNumber"):
                told[element.tag] = one.get(element.tag, element)
        told.QueryRetrieveLevel = level
        if level == "SERIES" and lies.counts:
            series = one.SeriesInstanceUID
            count = sum(other.SeriesInstanceUID == series for other in archive.datasets)
            told.NumberOfSeriesRelatedInstances = count
        return told

    def get(event: evt.Event) -> Iterator[object]:
        identifier = event.identifier
        uids = identifier.get("SOPInstanceUID")
        listed = uids is not None and not isinstance(uids, str) and len(uids) > 1
        found = matching(identifier)
        with lock:
            archive.gets.append(len(found))
            first = len(archive.gets) == 1
        if lies.get_status and first:
            yield 1
            yield lies.get_status, None
            return
        if listed and lies.uid_lists in ("A900", "C001"):
            yield 1
            yield int(lies.uid_lists, 16), None
            return
        if listed and lies.uid_lists == "nothing":
            found = []
        if listed and lies.uid_lists == "first":
            found = found[:1]
        found = found[: lies.sent or len(found)]
        yield len(found)
        for one in found:
            yield 0xFF00, one

    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    archive.port = server.socket.getsockname()[1]
    try:
        yield archive
    finally:
        server.shutdown()
