"""One DIMSE server that answers as other archives do; see `lying_dicomweb` for DICOMweb."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import DataElement, dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
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
    pending : the status of an answer
    padding : what stands behind text and UIDs of answers
    series : answers about series: "all", "first" (again and again) or "counted" (where their
        number of instances is asked for: one of them, with the number of all)
    numbers : whether InstanceNumber can be matched; where not, it aborts the association
    blank : whether nothing found is one answer without a value
    omits : what answers leave out although it is asked for: "accession", or "empty" (values)
    get_ends : the status behind the instances of a C-GET, 0 for that which they give
    aborts_after : instances of a C-GET after which it aborts the association; 0 for none
    pdu : the longest PDU that it takes; 0 for any
    sends_meta : whether the data sets that it sends begin with elements of the File Meta
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
    pending: int = 0xFF00
    padding: str = ""
    series: str = "all"
    numbers: bool = True
    blank: bool = False
    omits: str = ""
    get_ends: int = 0
    aborts_after: int = 0
    pdu: int = 16382
    sends_meta: bool = False


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
    "dimse-padded": Lies(pending=0xFF01, padding="  ", omits="empty", pdu=20),
    "dimse-conquest": Lies(sends_meta=True, aborts_after=7, pdu=0),
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


def _with_meta(dataset: Dataset) -> Dataset:
    """A data set that begins with what belongs before it in a file only."""
    made = Dataset({**{one.tag: one for one in dataset.file_meta}, **dataset._dict})
    made.file_meta = dataset.file_meta
    return made


@contextmanager
def lying_dimse(stored: list[Stored], lies: Lies, host: str = "127.0.0.1") -> Iterator[Server]:
    """Serve files over DIMSE on loopback until the block ends."""
    archive = Server(lies, datasets=[dcmread(one.path) for one in stored])
    entity = AE(ARCHIVE)
    entity.maximum_pdu_size = lies.pdu
    models = PATIENT_ROOT if lies.patient_root else STUDY_ROOT
    for model in (Verification, *models[: 2 if lies.gets else 1]):
        entity.add_supported_context(model, ImplicitVRLittleEndian)
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
        if lies.blank and not found:
            yield lies.pending, Dataset({e.tag: DataElement(e.tag, e.VR, "") for e in identifier})
        unique: dict[str, Dataset] = {}
        for one in found:
            unique.setdefault(one[UNIQUE[level]].value, one)
        ones, counted = list(unique.values()), "NumberOfSeriesRelatedInstances"
        if not lies.numbers and identifier.get("InstanceNumber") is not None:
            event.assoc.abort()
            return
        if level == "SERIES" and lies.series == "first":
            ones = ones[:1] * len(ones)
        if level == "SERIES" and lies.series == "counted" and counted in identifier:
            ones = ones[:1]
        for number, one in enumerate(ones):
            if level == "IMAGE" and lies.images and number >= lies.images:
                if lies.cut_off:
                    yield lies.cut_off, None
                return
            yield lies.pending, answer(identifier, one, level)

    def answer(identifier: Dataset, one: Dataset, level: str) -> Dataset:
        told = Dataset()
        for element in identifier:
            keeps = level != "IMAGE" or lies.tells or element.VR == "UI"
            if keeps or element.keyword in ("QueryRetrieveLevel", "InstanceNumber"):
                told[element.tag] = one.get(element.tag, element)
        told.QueryRetrieveLevel = level
        if level == "SERIES" and lies.counts:
            series = one.SeriesInstanceUID
            study = [o for o in archive.datasets if o.StudyInstanceUID == one.StudyInstanceUID]
            own = [other for other in study if other.SeriesInstanceUID == series]
            told.NumberOfSeriesRelatedInstances = len(own if lies.series != "counted" else study)
            if lies.series == "counted" and "NumberOfSeriesRelatedInstances" not in identifier:
                del told.NumberOfSeriesRelatedInstances
        if "NumberOfStudyRelatedSeries" in identifier and lies.counts:
            study = [o for o in archive.datasets if o.StudyInstanceUID == one.StudyInstanceUID]
            told.NumberOfStudyRelatedSeries = len({o.SeriesInstanceUID for o in study})
        if lies.omits == "accession":
            told.pop("AccessionNumber", None)
        for element in list(told):
            if lies.omits == "empty" and element.is_empty:
                del told[element.tag]
            elif lies.padding and element.VR in ("UI", "LO", "SH", "CS"):
                values = element.value if element.VM > 1 else [element.value or ""]
                padded = [f"{value}{lies.padding}" for value in values]
                told[element.tag] = DataElement(element.tag, "UC", padded)
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
        yield len(found) + (1 if lies.get_ends else 0)
        for number, one in enumerate(found, 1):
            yield 0xFF00, _with_meta(one) if lies.sends_meta else one
            if number == lies.aborts_after:
                event.assoc.abort()
                return
        if lies.get_ends:
            yield lies.get_ends, Dataset()

    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)]
    server = entity.start_server((host, 0), block=False, evt_handlers=handlers)
    archive.port = server.socket.getsockname()[1]
    try:
        yield archive
    finally:
        server.shutdown()
