"""A report table made of a tree of DICOM files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ctcohort.archives.starter_table import starter_table, studies_in
from ctcohort.cohort.selection import select
from ctcohort.config.settings import SelectSettings
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import Identity, make_series, write_files

from .opened import REPOSITORY

STACK = SliceStack.axial(count=3, step=5.0, rows=8, columns=8, pixel_spacing=40.0)


def write(root: Path, accession: str, patient: str, description: str, **extra: object) -> str:
    who = Identity(patient_id=patient, patient_name="Quasimodo^E", accession=accession)
    extra = {"StudyDescription": description, **extra}
    series = make_series(Phantom(), STACK, identity=who, seed=f"{accession}{patient}", extra=extra)
    write_files(series, root / str(len(list(root.iterdir()))))
    return str(series[0].StudyInstanceUID)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "dicom"
    folder.mkdir()
    (folder / "note.txt").write_text("Not DICOM.")
    (folder / "damaged.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    return folder


def test_one_row_per_study_with_ct_images(root: Path) -> None:
    one = write(root, "#007", "0042", "CT  Chest\tWO")
    two = write(root, "A2", "43", "Thorax nativ für Ü", SpecificCharacterSet="ISO_IR 192")
    write(root, "A3", "44", "MR Chest", Modality="MR")
    table = starter_table(studies_in(root, threads=2))
    assert [tuple(row.values()) for row in table.rows] == [
        (one, "#007", "0042", "CT Chest WO"),
        (two, "A2", "43", "Thorax nativ für Ü"),
    ]
    assert (table.named_by_uid, table.without_patient) == (0, 0)


def test_a_study_whose_accession_is_missing_or_shared_is_named_by_its_uid(root: Path) -> None:
    studies = [
        write(root, "", "1", "CT Chest"),
        write(root, "SAME", "2", "CT Chest"),
        write(root, "SAME", "3", "CT Chest"),
        write(root, "A*1", "4", "CT Chest"),
        write(root, "A5", "", "CT Chest"),
    ]
    table = starter_table(studies_in(root, threads=1))
    named = {row["StudyInstanceUID"]: row["AccessionNumber"] for row in table.rows}
    assert named == {study: study for study in studies[:4]} | {studies[4]: "A5"}
    assert (table.named_by_uid, table.without_patient) == (4, 1)


def test_the_command_makes_a_table_that_is_selected_from_and_never_overwrites(
    root: Path, tmp_path: Path
) -> None:
    write(root, "#007", "0042", "CT Chest")
    write(root, "100", "43", "CT Abdomen")
    command = [sys.executable, str(REPOSITORY / "scripts" / "make_table.py")]
    command += ["--directory", str(tmp_path), "--threads", "1"]

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "FROM"}
        return subprocess.run(
            command, env=environment | variables, capture_output=True, text=True, check=False
        )

    assert "say where the DICOM files are: make table FROM=" in run().stderr
    assert "FROM is no folder" in run(FROM=str(tmp_path / "lost")).stderr
    made = run(FROM=str(root))
    assert made.returncode == 0, made.stderr
    assert "2 studies with CT images" in made.stdout
    table = tmp_path / "reports.csv"
    assert table.stat().st_mode & 0o777 == 0o600
    columns = {"accession": "AccessionNumber", "mrn": "MRN", "protocol": "Protocol"}
    columns["study_uid"] = "StudyInstanceUID"
    (event,) = select(table, columns, SelectSettings(protocols_regex=("chest",))).wanted
    assert (event.accession, event.mrn, event.problem) == ("#007", "0042", "")
    before = table.read_bytes()
    again = run(FROM=str(root))
    assert again.returncode == 1
    assert "reports.csv exists; move it" in again.stderr
    assert table.read_bytes() == before


def test_a_tree_without_ct_images_is_an_error(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "make_table.py"), "--threads", "1"],
        env={**os.environ, "FROM": str(root)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no CT image was found" in done.stderr
    assert "Traceback" not in done.stderr
