"""Orthanc told to say less of its instances than their files do: the same cohort as from Full."""

from __future__ import annotations

import pytest

from .hospital import Run, archive_settings
from .servers import PASSWORD, USER, needs_orthanc, orthanc

pytestmark = needs_orthanc
ENVIRONMENT = {"CT_COHORT_USER": USER, "CT_COHORT_PASSWORD": PASSWORD}


@pytest.mark.parametrize("mode", ["Full", "MainDicomTags", "Extrapolate"])
def test_the_same_cohort_whatever_orthanc_tells(hospital, tmp_path, mode):
    folder, accessions = hospital
    by_folder = Run(tmp_path / "folder", archive_settings(folder={"path": str(folder)}), {})
    by_folder.fetch(accessions)
    web = {"Enable": True, "Root": "/dicom-web/", "SeriesMetadata": mode, "StudiesMetadata": mode}
    with orthanc(tmp_path, folder, DicomWeb=web) as archive:
        settings = archive_settings(kind="dicomweb", dicomweb={"url": archive.url, "auth": "basic"})
        run = Run(tmp_path / "run", settings, ENVIRONMENT)
        run.fetch(accessions)
    assert run.chosen() == by_folder.chosen()
    assert len(run.chosen()) == 3
    for accession in run.chosen():
        assert run.received(accession) == by_folder.received(accession)
    facts = (
        "slices",
        "z_error_mm",
        "slice_thickness",
        "convolution_kernel",
        "image_type",
        "reason",
    )
    told, expected = (
        sorted([row["series_uid"], *(row[fact] for fact in facts)] for row in one.series_rows())
        for one in (run, by_folder)
    )
    chosen = set(run.chosen().values())
    assert [row for row in told if row[0] in chosen] == [
        row for row in expected if row[0] in chosen
    ]
