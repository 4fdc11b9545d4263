"""A DICOM archive for tests: C-ECHO, C-FIND and C-GET over files, by pynetdicom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from ctcohort.dicom.headers import CT_CLASSES

from .dicomweb_server import Stored
from .servers import ARCHIVE

UNIQUE = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}


@dataclass
class Server:
    """A running archive. `fails_after`: instances of one C-GET after which the connection dies;
    `associations`: how many at once."""

    port: int = 0
    associations: int = 4
    datasets: list[Dataset] = field(default_factory=list)
    fails_after: int | None = None
    gets: list[int] = field(default_factory=list)


@contextmanager
def dimse_serving(stored: list[Stored], **more: object) -> Iterator[Server]:
    """Serve files over DIMSE on loopback until the block ends."""
    archive = Server(datasets=[dcmread(one.path) for one in stored], **more)  # type: ignore[arg-type]
    entity = AE(ARCHIVE)
    entity.require_called_aet = True
    entity.maximum_associations = archive.associations
    for model in (Verification, StudyRootQueryRetrieveInformationModelFind):
        entity.add_supported_context(model)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    syntaxes = {str(one.file_meta.TransferSyntaxUID) for one in archive.datasets}
    for context in AllStoragePresentationContexts:
        name = context.abstract_syntax
        if name in CT_CLASSES or "Secondary" in name.name or "SR" in name.name:
            entity.add_supported_context(name, sorted(syntaxes), scu_role=True, scp_role=True)
    lock = threading.Lock()

    def matching(identifier: Dataset) -> list[Dataset]:
        found = archive.datasets
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            wanted = identifier.get(keyword)
            if wanted:
                uids = {wanted} if isinstance(wanted, str) else set(wanted)
                found = [one for one in found if one[keyword].value in uids]
        number = identifier.get("AccessionNumber")
        if number:  # without regard to case, as many archives do
            found = [one for one in found if one.AccessionNumber.lower() == number.lower()]
        return found

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        unique = UNIQUE[event.identifier.QueryRetrieveLevel]
        seen = set()
        for one in matching(event.identifier):
            if one[unique].value in seen:
                continue
            seen.add(one[unique].value)
            answer = Dataset()
            for element in event.identifier:
                answer[element.tag] = one.get(element.tag, element)
            yield 0xFF00, answer

    def get(event: evt.Event) -> Iterator[object]:
        found = matching(event.identifier)
        with lock:
            archive.gets.append(len(found))
        yield len(found)
        for number, one in enumerate(found):
            if archive.fails_after is not None and number >= archive.fails_after:
                event.assoc.abort()
                return
            yield 0xFF00, one

    handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, get)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    archive.port = server.socket.getsockname()[1]
    try:
        yield archive
    finally:
        server.shutdown()
