"""The same cohort from a folder and from Orthanc, to the last byte."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from ctcohort.settings import volume_parameters

from .hospital import DEFAULTS, SCRIPTS, Run, archive_settings, make_long_series
from .servers import PASSWORD, USER, needs_orthanc, orthanc

pytestmark = needs_orthanc
ENVIRONMENT = {"CT_COHORT_USER": USER, "CT_COHORT_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def by_folder(hospital, tmp_path_factory):
    """The cohort from the folder, down to the volumes."""
    folder, accessions = hospital
    run = Run(
        tmp_path_factory.mktemp("by_folder"), archive_settings(folder={"path": str(folder)}), {}
    )
    return run.fetch(accessions)


def volume_of(run, name):
    volume = run.folder / f"processed/{name}.npz"
    parameters = volume_parameters(DEFAULTS["volume"])
    subprocess.run(
        [sys.executable, SCRIPTS / "preprocess_volume.py", name, "--raw", f"raw/{name}",
         "--received", f"received/{name}.json", "--parameters", parameters, "--keep-raw", "keep",
         "--threads", "1", "--volume", volume, "--record", f"processed/{name}.json"],
        cwd=run.folder, check=True, capture_output=True,
    )  # fmt: skip
    return volume.read_bytes()


def test_same_cohort_over_dicomweb(hospital, by_folder, tmp_path):
    with orthanc(tmp_path, hospital[0]) as archive:
        settings = archive_settings(kind="dicomweb", dicomweb={"url": archive.url, "auth": "basic"})
        run = Run(tmp_path / "run", settings, ENVIRONMENT).fetch(hospital[1])
    assert run.chosen() == by_folder.chosen()
    assert set(run.chosen()) == {"A0001", "A 02/B+", "00A3"}
    for accession in run.chosen():
        assert run.received(accession) == by_folder.received(accession)
    for name in ("A0001", "00A3"):
        assert volume_of(run, name) == volume_of(by_folder, name)


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
