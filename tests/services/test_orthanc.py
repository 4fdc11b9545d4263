"""The same cohort from a folder and from Orthanc, to the last byte."""

from __future__ import annotations

import time

from .hospital import Run, archive_settings, make_long_series
from .servers import PASSWORD, USER, needs_orthanc, orthanc

pytestmark = needs_orthanc
ENVIRONMENT = {"CT_COHORT_USER": USER, "CT_COHORT_PASSWORD": PASSWORD}


def test_orthanc_killed_while_it_sends(tmp_path):
    headers = make_long_series(tmp_path / "files" / "plain", 150, size=256)
    (tmp_path / "db").mkdir()
    settings = archive_settings(kind="dicomweb", dicomweb={"auth": "basic"}, patience_seconds=3)
    run = Run(tmp_path / "run", settings, ENVIRONMENT)
    with orthanc(tmp_path, tmp_path / "files") as archive:
        settings["dicomweb"]["url"] = archive.url
        run.prepare(["LONG"])
        assert run.index().returncode == 0
        settings["max_mb_per_second"] = 20
        process = run.start(*run.download_arguments("LONG"))
        partial = run.folder / "raw/.partial/LONG"
        while len(list(partial.glob("*.dcm"))) < 5:
            time.sleep(0.005)
    output, _ = process.communicate()
    assert process.returncode == 1, output
    there = len(list(partial.glob("*.dcm")))
    assert 5 <= there < len(headers)
    assert run.failure("LONG")["reason"] == "transfer_incomplete"
    empty = tmp_path / "empty"
    empty.mkdir()
    with orthanc(tmp_path, empty) as archive:
        settings["dicomweb"]["url"] = archive.url
        assert run.download("LONG").returncode == 0
    assert len(run.received("LONG")) == len(headers)
    log = (run.folder / "archive.log").read_text().splitlines()
    granted = [line for line in log if "\tfetch\t" in line and "\t200\t" in line]
    assert len(granted) == len(headers) - there
