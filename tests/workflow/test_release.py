"""The guard over all that the demo and the small hospital make, and releases by real runs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ctcohort.dataset.columns import MANIFEST
from tests.workflow.conftest import (
    CHEST,
    LATER,
    ONE,
    PATIENTS,
    ROOT,
    TWO,
    Site,
    jobs,
    table_of,
    write_reports,
    write_scan,
)
from tests.workflow.test_commands import refused


@pytest.fixture
def keyed(site: Site, tmp_path: Path) -> Site:
    """The hospital after its first run, with a key, and a place for the key table."""
    key = tmp_path / "safe" / "key"
    subprocess.run([sys.executable, ROOT / "scripts" / "make_key.py", key], check=True)
    site.configure(
        {
            "privacy.key_file": str(key),
            "release.key_table": str(tmp_path / "safe" / "names.csv"),
            "columns.carry": ["Protocol"],
        }
    )
    return site


def released(site: Site) -> dict[str, dict[str, str]]:
    return {row["NoteAcc_DEID"]: row for row in site.rows("release/metadata.csv")}


def release_command(site: Site) -> list[str]:
    """As the rule calls it."""
    return [
        *(sys.executable, str(ROOT / "scripts" / "release.py"), "--reports", "reports.csv"),
        *("--rules", json.dumps({"key_table": str(site.folder.parent / "safe" / "names.csv")})),
        *("--key-file", str(site.folder.parent / "safe" / "key"), "--reviews", "reviews.csv"),
        *("--columns", '{"accession": "AccessionNumber", "mrn": "MRN"}'),
    ]


def assert_of_type(text: str, type_: type) -> None:
    """What `dataset.columns` says of a column holds for what runs write into it."""
    if type_ is bool:
        assert text in ("true", "false", "")
    elif text:
        type_(text)


def guard(site: Site, *, ok: bool = True) -> str:
    return site.run("--quiet", "all", "--", "guard", ok=ok).output


def test_the_demo_holds_no_identifier_where_none_may_be(tmp_path: Path) -> None:
    """All that can be asked for: volumes, pictures, page, NIfTI, a release."""
    site = Site(tmp_path / "demo")
    subprocess.run([sys.executable, ROOT / "scripts" / "make_demo.py", site.folder], check=True)
    subprocess.run([sys.executable, ROOT / "scripts" / "make_key.py", tmp_path / "key"], check=True)
    site.configure(
        {
            "volume.spacing_mm": 3,
            "privacy.key_file": str(tmp_path / "key"),
            "release.key_table": str(tmp_path / "names.csv"),
        }
    )
    site.run("--", "all", "pictures", "scrolls", "nifti", "chunked", "report.html")
    site.run("--nolock", "--", "release")
    site.script("status.py")
    assert len(released(site)) == 7
    for row in site.rows("manifest.csv"):
        for name, column in MANIFEST.items():
            assert_of_type(row[name], column.type)
    said = guard(site)
    assert "nothing was found" in said
    # and it looked: the same run with an identifier in it fails
    patient = site.rows("reports.csv")[0]["MRN"]
    log = site.folder / "logs" / "release.log"
    log.write_text(f"{log.read_text()}patient {patient}\n")
    said = guard(site, ok=False)
    assert "logs/release.log: byte" in said
    assert ": MRN" in said
    assert patient not in said


def test_the_hospital_holds_no_identifier_where_none_may_be(keyed: Site) -> None:
    """Its patients' names and birth dates stand in the DICOM headers alone."""
    keyed.run("--", "all", "pictures")
    keyed.run("--nolock", "--", "release")
    assert "nothing was found" in guard(keyed)


PLANTED = {
    "an MRN in a log": ("logs/x.log", PATIENTS[ONE].patient_id),
    "a name in a record": ("failures/A9.json", json.dumps({"message": "Esmeralda"})),
    "a birth date in a table": ("status.csv", "accession,note\nA1,1951-07-23\n"),
    "an MRN in a release": ("release/notes.txt", PATIENTS[TWO].patient_id),
    "an accession in a release": ("release/notes.txt", TWO),
    "a study date in a release": ("release/notes.txt", "05.03.2024"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_stops_the_guard(what: str, site: Site) -> None:
    name, text = PLANTED[what]
    site.write(name, text)
    said = guard(site, ok=False)
    assert f"{name}: " in said
    assert "error: identifiers were found in 1 place, listed above" in said
    for patient in (PATIENTS[ONE], PATIENTS[TWO]):
        assert patient.patient_id not in said


def test_paths_of_the_folder_archive_are_warned_of(site: Site) -> None:
    """The index needs them; who names folders after patients is told to keep it private."""
    name = PATIENTS[ONE].patient_name.split("^")[0]
    (site.folder / "archive" / "1").rename(site.folder / "archive" / name)
    site.run("--forcerun", "index_series")
    said = guard(site)
    assert "warning: the folder archive's own paths name patients" in said
    assert "nothing else was found" in said
    with sqlite3.connect(site.folder / "index" / "folder.sqlite") as index:
        index.execute("UPDATE files SET modality = ?", (name,))
    index.close()
    assert "column modality: patient name" in guard(site, ok=False)


def test_a_release_is_made_once_and_grows(keyed: Site) -> None:
    first = keyed.run("--nolock", "--", "release")
    assert first.jobs == {
        *("select_accessions", "index_series", "assign_splits", "write_manifest", "release"),
    }
    assert "release/ has 2 scans" in first.output
    before = released(keyed)
    stamps = {p.name: p.stat().st_mtime_ns for p in (keyed.folder / "release").iterdir()}
    again = keyed.run("--nolock", "--", "release")
    assert again.jobs == {"release"}
    assert "as before: nothing to do" in again.output
    assert {p.name: p.stat().st_mtime_ns for p in (keyed.folder / "release").iterdir()} == stamps

    write_reports(keyed.folder, table_of(LATER, ONE, TWO))
    more = keyed.run("--nolock", "--", "release")
    assert jobs("preprocess_volume", LATER) <= more.jobs
    after = released(keyed)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before
    assert all(row["Protocol"] for row in after.values())

    keyed.write("exclusions.csv", f"accession,reason\n{TWO},withdrawn\n")
    keyed.configure({"exclusions": "exclusions.csv"})
    keyed.run("--nolock", "--", "release")
    left = released(keyed)
    assert len(left) == 2
    assert set(left) < set(after)
    assert "nothing was found" in guard(keyed)


def test_reviews_burned_in_text_and_age_leave_out(keyed: Site) -> None:
    scans = {"B1": {"BurnedInAnnotation": "YES"}, "B2": {"PatientAge": "017Y"}, "B3": {}}
    for accession, extra in scans.items():
        folder = keyed.folder / "archive" / accession
        patient = replace(PATIENTS[LATER], patient_id=f"MRN88{accession}", accession=accession)
        write_scan(folder, accession, identity=patient, seed=accession, extra=extra)
    keyed.configure({"release.scanner_terms": ["PHANTOM"]})
    rows = [(accession, f"MRN88{accession}", CHEST) for accession in scans]
    write_reports(keyed.folder, [*table_of(ONE), *rows])
    keyed.write("reviews.csv", "accession,verdict,note\nB3,bad,metal\n")
    keyed.run("--nolock", "--", "release")
    reasons = {row["accession"]: row["reason"] for row in keyed.rows("release.left_out.csv")}
    assert reasons == {
        "B1": "burned_in_annotation",
        "B2": "under_min_age",
        "B3": "reviewed_bad",
    }
    (row,) = released(keyed).values()
    assert row["convolution_kernel"] == "other"
    assert len(released(keyed)) == 1
    log = (keyed.folder / "logs" / "release.log").read_text()
    assert "left out: 1 burned_in_annotation, 1 under_min_age, 1 reviewed_bad" in log
    record = json.loads((keyed.folder / "processed" / "B1.json").read_text())
    assert (record["burned_in_annotation"], record["face_possible"]) == (True, False)


def test_a_release_needs_a_key_and_a_key_table(site: Site) -> None:
    assert "privacy.key_file: is not set" in site.run("--nolock", "--", "release", ok=False).output
    key = site.folder.parent / "key"
    subprocess.run([sys.executable, ROOT / "scripts" / "make_key.py", key], check=True)
    site.configure({"privacy.key_file": str(key)})
    assert "release.key_table: is not set" in site.run("--nolock", "--", "release", ok=False).output
    site.configure({"release.key_table": "release/names.csv"})
    assert "is inside the release" in site.run("--nolock", "--", "release", ok=False).output
    assert not (site.folder / "release").exists()


def test_no_release_while_the_manifest_cannot_be_written(keyed: Site) -> None:
    keyed.run("--nolock", "--", "release")
    before = {p.name: p.read_bytes() for p in (keyed.folder / "release").iterdir()}
    broken = keyed.folder / "archive" / "4"
    for path in broken.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    write_reports(keyed.folder, table_of(ONE, TWO, LATER))
    keyed.run("--nolock", "--", "release", ok=False)
    assert {p.name: p.read_bytes() for p in (keyed.folder / "release").iterdir()} == before


@pytest.mark.parametrize("after", [0.05, 0.3, 0.6])
def test_a_release_that_is_killed_leaves_none_or_the_earlier_one(keyed: Site, after: float) -> None:
    """Wherever it is killed: what bears the name is whole, and the next run makes it new."""
    keyed.run("--nolock", "--", "release")
    earlier = {p.name: p.read_bytes() for p in (keyed.folder / "release").iterdir()}
    process = subprocess.Popen(release_command(keyed), cwd=keyed.folder, start_new_session=True)
    time.sleep(after)  # anywhere: what is tested holds wherever it was
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    folders = [keyed.folder / name for name in ("release", ".release.old")]
    whole = [folder for folder in folders if folder.exists()]
    assert whole
    sums = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=whole[0], check=False
    )
    assert sums.returncode == 0
    keyed.run("--nolock", "--", "release")
    now = {p.name: p.read_bytes() for p in (keyed.folder / "release").iterdir()}
    assert now == earlier
    assert not list(keyed.folder.glob(".release*"))


def test_nifti_of_every_volume(site: Site) -> None:
    run = site.run("--", "nifti")
    assert run.jobs == {"nifti", *jobs("export_nifti", ONE, TWO)}
    assert sorted(path.name for path in (site.folder / "nifti").iterdir()) == [
        f"{ONE}.nii.gz",
        f"{TWO}.nii.gz",
    ]
    assert site.run("--", "nifti").jobs == set()


def test_chunked_of_every_volume(site: Site) -> None:
    """The manifest names them, verify reads them, and no other run asks for them."""
    run = site.run("--", "chunked")
    assert run.jobs == {"chunked", "write_manifest", *jobs("export_chunked", ONE, TWO)}
    assert {row["full_filename_b2nd"] for row in site.rows("manifest.csv")} == {
        f"{ONE}.b2nd",
        f"{TWO}.b2nd",
        "",
    }
    assert site.run("--", "chunked").jobs == set()
    assert site.run().jobs == set()
    site.script("verify.py")
    path = site.folder / "chunked" / f"{ONE}.b2nd"
    path.write_bytes((site.folder / "chunked" / f"{TWO}.b2nd").read_bytes())
    said = refused(site, "verify.py")
    assert f"chunked/{ONE}.b2nd: has " in said
    assert "run snakemake chunked" in said
    path.unlink()
    assert site.run("--", "chunked").jobs == {
        "chunked",
        "write_manifest",
        *jobs("export_chunked", ONE),
    }
    site.script("verify.py")


def test_no_release_during_a_run(keyed: Site) -> None:
    lock = keyed.folder / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("manifest.csv\n")
    assert "LockException" in keyed.run("--", "release", ok=False).output
    assert not (keyed.folder / "release").exists()
    assert lock.exists()
