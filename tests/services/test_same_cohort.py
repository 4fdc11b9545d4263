"""One cohort from four archives: the same choice, the same files, byte-identical volumes."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from pydicom import dcmread

from .hospital import Run, archive_settings, make_archive, make_compressed
from .servers import (
    ARCHIVE,
    FETCHER,
    PASSWORD,
    USER,
    dcmqrscp,
    needs_dcmtk,
    needs_orthanc,
    orthanc,
)

ENVIRONMENT = {"CT_COHORT_USER": USER, "CT_COHORT_PASSWORD": PASSWORD}
CHOSEN = {
    "A0001": "1.2.840.10008.1.2.1",
    "A 02/B+": "1.2.840.10008.1.2.1",
    "00A3": "1.2.840.10008.1.2.5",
    "JPEG": "1.2.840.10008.1.2.4.70",
    "JPEGLS": "1.2.840.10008.1.2.4.80",
    "J2K": "1.2.840.10008.1.2.4.90",
}
"""The accessions of which a series can be used, and how their files are stored."""
COARSE = {"spacing_mm": 5.0}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A folder of DICOM files, and the accessions of a report table."""
    folder = tmp_path_factory.mktemp("cohort")
    return folder, make_archive(folder) + make_compressed(folder)


@pytest.fixture(scope="module")
def by_folder(cohort, tmp_path_factory):
    folder, accessions = cohort
    settings = archive_settings(folder={"path": str(folder)})
    run = Run(tmp_path_factory.mktemp("by_folder"), settings, {}).fetch(accessions)
    return run, {accession: run.volume(accession, **COARSE) for accession in CHOSEN}


def dimse(port, **more):
    own = {"host": "127.0.0.1", "port": port, "called_aet": ARCHIVE, "calling_aet": FETCHER}
    connections = 1 if more.get("method") == "move" else 4
    return archive_settings(kind="dimse", dimse={**own, **more}, connections=connections)


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("DICOMweb from Orthanc", marks=needs_orthanc),
        pytest.param("C-GET from Orthanc", marks=needs_orthanc),
        pytest.param("C-MOVE from Orthanc", marks=needs_orthanc),
        pytest.param("C-GET from dcmqrscp", marks=needs_dcmtk),
    ],
)
def test_same_choice_files_and_volumes(cohort, by_folder, tmp_path, way):
    folder, accessions = cohort
    expected, volumes = by_folder
    with ExitStack() as stack:
        if way.endswith("dcmqrscp"):
            settings = dimse(stack.enter_context(dcmqrscp(tmp_path, folder)).port)
        else:
            archive = stack.enter_context(orthanc(tmp_path, folder))
            web = {"url": archive.url, "auth": "basic"}
            settings = {
                "DICOMweb": archive_settings(kind="dicomweb", dicomweb=web),
                "C-GET": dimse(archive.port),
                "C-MOVE": dimse(archive.port, method="move", move_port=archive.move_port),
            }[way.split()[0]]
        run = Run(tmp_path / "run", settings, ENVIRONMENT).fetch(accessions)
    assert run.chosen() == expected.chosen()
    assert set(run.chosen()) == set(CHOSEN)
    for accession, syntax in CHOSEN.items():
        if way.startswith("DICOMweb"):
            assert run.received(accession) == expected.received(accession)
        assert run.data_sets(accession) == expected.data_sets(accession)
        path = next((run.folder / "raw").glob(f"*/{min(run.received(accession))}.dcm"))
        assert dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
        assert run.volume(accession, **COARSE) == volumes[accession]
