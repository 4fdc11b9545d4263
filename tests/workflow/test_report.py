"""`snakemake --report`: pictures and tables in one file, and no patient's name."""

from __future__ import annotations

import zipfile
from pathlib import Path

from .conftest import ONE, PATIENTS, TWO, Site

TARGETS = ("all", "report.html", "pictures")


def test_the_report_shows_pictures_and_tables_and_names_nobody(site: Site, tmp_path: Path) -> None:
    site.run(*TARGETS)
    site.run("--report", str(tmp_path / "shown.zip"), *TARGETS)
    with zipfile.ZipFile(tmp_path / "shown.zip") as report:
        content = {name: report.read(name) for name in report.namelist()}
    results = {Path(name).name for name in content if "/data/" in name}
    assert results == {"manifest.csv", "splits.csv", "report.html", f"{ONE}.png", f"{TWO}.png"}
    whole = b"".join(content.values())
    assert b"Three planes through the volume" in whole  # a caption
    for patient in PATIENTS.values():
        family, given = patient.patient_name.split("^")
        for word in (patient.patient_id, family, given, patient.birth_date):
            assert word.encode() not in whole, word
    # no place on this machine, and no text of reports
    for word in (str(site.folder), "Hippocampal"):
        assert word.encode() not in content["shown/report.html"], word
