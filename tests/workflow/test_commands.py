"""Commands on a working directory: explain, verify, prune, purge, status."""

from __future__ import annotations

import base64
import csv
import gzip
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ctcohort.base.files import (
    read_sealed_json,
    sha256,
    write_lines,
    write_sealed_json,
    write_table,
)
from ctcohort.base.seals import seal_of

from .conftest import (
    LATER,
    ONE,
    OTHER,
    PATIENTS,
    THIN,
    TWO,
    Run,
    Site,
    jobs,
    table_of,
    write_reports,
)


def refused(site: Site, name: str, *arguments: str) -> str:
    """What a command that ends with an error says."""
    done = subprocess.run(
        [sys.executable, str(site.workflow / "scripts" / name), *arguments],
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


# Explain


def test_a_made_scan_is_told_from_table_to_volume(site: Site) -> None:
    told = site.script("explain.py", ONE)
    assert told.startswith(f"{ONE}: included\n")
    chapters = re.findall(r"^([a-z][a-z ]+)$", told, re.MULTILINE)
    assert chapters == [
        "report table",
        "query",
        "candidate series",
        "download",
        "volume",
        "files",
        "redo",
    ]
    assert "selected (the one series" in told
    assert "tie_lost (as many slices" in told
    assert "33 instances" in told
    assert sha256(site.folder / "processed" / f"{ONE}.npz") in told
    assert PATIENTS[ONE].patient_id not in told
    assert "Quasimodo" not in told
    assert "Hippocampal" not in told


def test_an_excluded_scan_is_told_with_the_meaning_of_its_reason(site: Site) -> None:
    told = site.script("explain.py", THIN)
    assert told.startswith(f"{THIN}: excluded: too_few_slices (fewer distinct slice positions")
    assert "download\n" not in told
    assert "processed/" not in told


def test_a_failed_scan_is_told_with_its_last_failure(site: Site) -> None:
    (site.folder / "processed" / f"{TWO}.npz").unlink()
    next((site.folder / "raw" / TWO).glob("*.dcm")).write_bytes(b"damaged")
    site.run(ok=False)
    told = site.script("explain.py", TWO)
    assert told.startswith(f"{TWO}: failed: ")
    assert "last failure\n  preprocess_volume: " in told


def test_commands_see_the_reviews_that_the_config_names(site: Site) -> None:
    config = site.folder / "config.yaml"
    config.write_text(config.read_text() + "\nreviews: looked/at.csv\n")
    (site.folder / "looked").mkdir()
    site.write("looked/at.csv", f"accession,verdict\n{ONE},bad\n")
    assert "review: bad" in site.script("explain.py", ONE)
    site.script("status.py")
    with open(site.folder / "status.csv", newline="") as stream:
        verdicts = {row["accession"]: row["review"] for row in csv.DictReader(stream)}
    assert verdicts[ONE] == "bad"
    site.script("write_report.py")
    page = (site.folder / "report.html").read_text()
    assert '"review":{"known":["","bad"]' in page.replace(" ", "")


def test_an_accession_outside_the_cohort_is_no_story(site: Site) -> None:
    said = refused(site, "explain.py", OTHER)
    assert said.startswith(f"error: cohort.csv: accession {OTHER} is not in the cohort")


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("the volume: ", ["preprocess_volume"]),
        ("download and volume: ", ["download_series", "preprocess_volume"]),
    ],
)
def test_the_redoing_commands_redo_just_that(site: Site, line: str, rules: list[str]) -> None:
    (command,) = re.findall(f"^  {line}(.*)$", site.script("explain.py", ONE), re.MULTILINE)
    words = shlex.split(command)
    assert Path(words[0]).name == "snakemake"
    done = subprocess.run(
        [words[0], "--nocolor", "--printshellcmds", *words[1:]],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    run = Run(done.returncode, done.stdout)
    assert run.status == 0, run.output
    assert run.jobs == {job for rule in rules for job in jobs(rule, ONE)}


# Verify


def test_a_data_set_as_it_was_made_is_proven(site: Site) -> None:
    volumes = len(list((site.folder / "processed").glob("*.npz")))
    told = site.script("verify.py", "--raw")
    assert told == f"all is as manifest.csv says: {volumes} volumes\n"


def changed_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_parameters(record: Path) -> None:
    write_sealed_json(record, read_sealed_json(record) | {"parameters_digest": "0" * 16})


def another_set(splits: Path) -> None:
    flipped = {"train": "test", "val": "train", "test": "train"}
    lines = [line.rsplit(",", 1) for line in splits.read_text().splitlines()]
    moved = [[first, flipped.get(last, last)] for first, last in lines]
    write_lines(splits, (",".join(line) for line in moved), sealed=True)


@pytest.mark.parametrize(
    ("file", "damage", "expected"),
    [
        (f"processed/{ONE}.npz", changed_byte, "its bytes have changed"),
        (f"processed/{ONE}.npz", lambda path: path.write_bytes(b""), "has 0 bytes, expected"),
        (f"processed/{ONE}.npz", Path.unlink, "is missing"),
        (f"processed/{ONE}.json", Path.unlink, "is missing"),
        (f"processed/{ONE}.json", other_parameters, "made with other parameters"),
        (f"processed/{ONE}.json", lambda path: path.write_text("{"), "cannot be read as a scan"),
        ("processed/A9.npz", Path.touch, "is not in the manifest"),
        ("splits.csv", another_set, "is in another set than in the manifest"),
    ],
)
def test_whatever_is_not_as_the_manifest_says_is_named(
    site: Site, file: str, damage: Callable[[Path], object], expected: str
) -> None:
    damage(site.folder / file)
    said = refused(site, "verify.py")
    assert expected in said
    assert file.split("/")[-1] in said
    assert said.rstrip().endswith("manifest.csv says")


def changed_value(column: str) -> Callable[[Path], None]:
    """Another value in a row of the manifest."""

    def change(path: Path) -> None:
        with open(path, newline="") as stream:
            rows = list(csv.DictReader(stream))
        rows[0][column] = "7.5"
        write_table(path, list(rows[0]), rows, sealed=True)

    return change


@pytest.mark.parametrize("column", ["age_years", "orig_zdiff", "transform", "flags", "sex"])
def test_a_row_that_its_record_does_not_say_is_named(site: Site, column: str) -> None:
    changed_value(column)(site.folder / "manifest.csv")
    said = refused(site, "verify.py")
    assert f"manifest.csv: accession {ONE}: {column} is not what" in said


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text.splitlines()[0] + "\n", "has no row"),
        (lambda text: text[: len(text) * 2 // 3], "delete manifest.csv and run snakemake again"),
        (lambda text: text.replace("flags", "fl"), "has no column flags"),
        (lambda text: "\xff" + text, "has no column accession"),
    ],
)
def test_a_manifest_that_is_not_whole_proves_nothing(
    site: Site, damage: Callable[[str], str], expected: str
) -> None:
    path = site.folder / "manifest.csv"
    path.write_text(damage(path.read_text()))
    seal_of(path).unlink()  # as an older release left it
    said = refused(site, "verify.py")
    assert said.startswith("error: manifest.csv: ")
    assert expected in said


TABLES = ("accessions.txt", "protocols.csv", "cohort.csv", "series.csv", "splits.csv")


@pytest.mark.parametrize("table", [*TABLES, "manifest.csv"])
def test_a_table_that_was_changed_under_its_old_time_stamp_is_named_and_made_again(
    site: Site, table: str
) -> None:
    path = site.folder / table
    before, stamp = path.read_bytes(), path.stat()
    changed_byte(path)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    said = f"{table}: is not as it was written; delete {table} and run snakemake again"
    assert said in refused(site, "verify.py")
    run = site.run(ok=False)
    assert f"error: {said}" in run.output
    assert "Traceback" not in run.output
    path.unlink()
    site.run()
    assert path.read_bytes() == before
    assert site.script("verify.py")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_that_is_missing_is_named(site: Site, table: str) -> None:
    (site.folder / table).unlink()
    assert refused(site, "verify.py").startswith(f"{table}: is missing; run snakemake again")


@pytest.mark.parametrize("kind", ["received", "processed"])
def test_a_damaged_record_is_named_and_made_again(site: Site, kind: str) -> None:
    path = site.folder / kind / f"{ONE}.json"
    before, stamp = path.read_bytes(), path.stat()
    changed_byte(path)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert f"delete {kind}/{ONE}.json and run snakemake again" in refused(site, "verify.py")
    path.unlink()
    site.run()
    assert path.read_bytes() == before
    assert site.script("verify.py", "--raw")


def assert_volume_outlives(site: Site, warning: str) -> None:
    """The scan is away from the archive: what would make the volume again is missing."""
    volume = site.folder / "processed" / f"{ONE}.npz"
    before = volume.read_bytes()
    (site.folder / "archive" / "1").rename(site.folder / "away")
    run = site.run(ok=False)
    assert f"warning: {warning}" in run.output
    assert volume.read_bytes() == before
    (site.folder / "away").rename(site.folder / "archive" / "1")
    site.run()
    assert volume.read_bytes() == before
    assert site.script("verify.py", "--raw")


def test_a_good_volume_outlives_a_damaged_file_beside_it(site: Site) -> None:
    changed_byte(site.folder / "received" / f"{ONE}.json")
    assert_volume_outlives(site, f"received/{ONE}.json: is damaged; it is made again")


def test_a_volume_whose_record_is_damaged_outlives_damaged_dicom_files(site: Site) -> None:
    """They are looked at before Snakemake deletes the volume to make it anew."""
    (site.folder / "processed" / f"{ONE}.json").write_text("{}")
    changed_byte(next((site.folder / "raw" / ONE).glob("*.dcm")))
    assert_volume_outlives(site, f"raw/{ONE}: is not what was received; it is fetched anew")


def test_an_export_looks_at_records_before_the_volume_is_made_again(site: Site) -> None:
    volume, received = (
        site.folder / place for place in (f"processed/{ONE}.npz", f"received/{ONE}.json")
    )
    before, stamp = volume.read_bytes(), received.stat()
    content = received.read_bytes()
    received.write_bytes(content[:-40] + b"0" + content[-39:])  # far from what planning reads
    os.utime(received, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    site.configure({"volume.interpolator": "linear"})
    (site.folder / "archive" / "1").rename(site.folder / "away")
    run = site.run(f"nifti/{ONE}.nii.gz", ok=False)
    assert f"warning: received/{ONE}.json: is damaged; it is made again" in run.output
    assert volume.read_bytes() == before
    (site.folder / "away").rename(site.folder / "archive" / "1")
    site.run(f"nifti/{ONE}.nii.gz")
    assert volume.read_bytes() != before


def test_changed_dicom_files_are_found_when_asked_for(site: Site) -> None:
    changed_byte(next((site.folder / "raw" / ONE).glob("*.dcm")))
    assert site.script("verify.py")
    assert "is not the file that was received" in refused(site, "verify.py", "--raw")


def test_without_a_manifest_there_is_nothing_to_prove(fresh: Site) -> None:
    assert refused(fresh, "verify.py").startswith("error: manifest.csv: is missing")


# Prune


def about(site: Site, *accessions: str) -> set[str]:
    """Files and folders outside the user's own that name an accession, in name or content."""
    own = {"reports.csv", "exclusions.csv", "config.yaml"}
    found = set()
    words = re.compile("|".join(accessions).encode())
    for path in site.folder.rglob("*"):
        relative = path.relative_to(site.folder)
        if relative.parts[0] == "archive" or str(relative) in own or path.is_dir():
            continue
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        name = str(relative).encode()
        if ".snakemake" in relative.parts[0] and "metadata" in relative.parts:
            name = base64.urlsafe_b64decode(path.name)
        if words.search(name) or words.search(content):
            found.add(str(relative))
    return found


def test_nothing_is_pruned_of_a_cohort_that_is_whole(site: Site) -> None:
    assert (
        "nothing is left of scans that are not in the cohort"
        in site.run("--nolock", "prune").output
    )


def test_prune_lists_first_and_deletes_when_asked_again(site: Site) -> None:
    write_reports(site.folder, table_of(ONE, THIN, OTHER))
    site.run()
    listed = site.run("--nolock", "prune").output
    expected = [
        f"raw/{TWO}",
        f"received/{TWO}.json",
        f"processed/{TWO}.npz",
        f"processed/{TWO}.json",
        f"index/answers/{TWO}.json.gz",
        f"logs/download_series/{TWO}.log",
        f"logs/preprocess_volume/{TWO}.log",
    ]
    for path in expected:
        assert path in listed
        assert (site.folder / path).exists()
    assert ONE not in listed
    site.environment = {"DELETE": "yes"}
    site.run("--nolock", "prune")
    assert not any((site.folder / path).exists() for path in expected)
    site.environment = {}
    assert site.run().jobs == set()
    assert site.script("verify.py")


def test_prune_takes_what_killed_jobs_left_half_written(site: Site) -> None:
    halves = [f"processed/.{ONE}.npz.4711.part", f"received/.{ONE}.json.4711.part"]
    for half in halves:
        site.write(half, "half")
    listed = site.script("prune.py", "--delete").splitlines()
    assert sorted(listed[:-1]) == halves
    assert not any((site.folder / half).exists() for half in halves)
    assert (site.folder / "processed" / f"{ONE}.npz").exists()


def test_prune_keeps_what_the_archive_just_did_not_answer_for(site: Site) -> None:
    series = (site.folder / "series.csv").read_text()
    rows = [line for line in series.splitlines() if not line.startswith(TWO)]
    blank = "," * (rows[0].count(",") - 2)
    (site.folder / "series.csv").write_text("\n".join([*rows, f"{TWO}{blank},false,no_answer"]))
    (site.folder / ".seals" / "series.csv").unlink()
    assert TWO not in site.script("prune.py", "--delete")
    assert (site.folder / "processed" / f"{TWO}.npz").exists()


def test_prune_without_the_tables_deletes_nothing(site: Site) -> None:
    (site.folder / "series.csv").unlink()
    assert "what is wanted is not known" in refused(site, "prune.py", "--delete")


@pytest.mark.parametrize("command", ["prune.py", "purge.py"])
def test_nothing_is_taken_while_a_run_is_under_way(site: Site, command: str) -> None:
    site.write(".snakemake/locks/0.input.lock", "reports.csv\n")
    assert "a run of Snakemake is under way" in refused(site, command, "--delete")
    assert (site.folder / ".snakemake" / "locks" / "0.input.lock").exists()


# Purge


@pytest.mark.parametrize("by", ["ACCESSION", "MRN"])
def test_a_withdrawn_patient_is_nowhere_any_more(site: Site, by: str) -> None:
    site.run("pictures", "scrolls")
    site.script("status.py")
    site.write(f"processed/.{TWO}.npz.4711.part", "half")
    site.write("exclusions.csv", f"accession,reason\n{TWO},withdrawn\n")
    site.configure({"exclusions": "exclusions.csv"})
    who = TWO if by == "ACCESSION" else f"000{PATIENTS[TWO].patient_id.lower()}"
    assert about(site, TWO)
    site.environment = {by: who}
    listed = site.run("--nolock", "purge").output
    assert f"processed/{TWO}.npz" in listed
    assert (site.folder / "processed" / f"{TWO}.npz").exists()
    site.environment = {by: who, "DELETE": "yes"}
    site.run("--nolock", "--quiet", "all", "--", "purge")
    assert about(site, TWO, PATIENTS[TWO].patient_id) == set()
    with sqlite3.connect(site.folder / "index" / "folder.sqlite") as index:
        left = index.execute("SELECT count(*) FROM files WHERE accession = ?", (TWO,)).fetchone()
    assert left == (0,)
    site.environment = {}
    volume = sha256(site.folder / "processed" / f"{ONE}.npz")
    assert site.run().jobs == {"index_series", "write_manifest"}  # the new exclusions table
    assert sha256(site.folder / "processed" / f"{ONE}.npz") == volume
    assert site.script("verify.py")


def test_who_is_still_wanted_is_not_purged(site: Site) -> None:
    site.environment = {"ACCESSION": TWO, "DELETE": "yes"}
    said = site.run("--nolock", "purge", ok=False).output
    assert f"error: {TWO}: still wanted, so the next run would fetch it again" in said
    assert (site.folder / "processed" / f"{TWO}.npz").exists()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "error: say who"),
        ({"ACCESSION": ONE, "MRN": "1"}, "error: say who"),
        ({"MRN": "SECRET9"}, "error: cohort.csv has no accession of this MRN"),
    ],
)
def test_purge_must_know_whom(site: Site, environment: dict[str, str], expected: str) -> None:
    site.environment = environment
    said = site.run("--nolock", "purge", ok=False).output
    assert expected in said
    assert "SECRET9" not in said


def test_who_is_misspelt_is_unknown(site: Site) -> None:
    site.environment = {"ACCESSION": "A00O2", "DELETE": "yes"}
    said = site.run("--nolock", "purge", ok=False).output
    assert "error: nothing is known of accession A00O2" in said


def test_a_patient_who_was_excluded_and_run_before_is_gone_from_the_index(site: Site) -> None:
    site.write("exclusions.csv", f"accession,reason\n{TWO},withdrawn\n")
    site.configure({"exclusions": "exclusions.csv"})
    site.run()
    site.environment = {"ACCESSION": TWO, "DELETE": "yes"}
    site.run("--nolock", "purge")
    assert about(site, TWO, PATIENTS[TWO].patient_id) == set()


def test_another_accession_that_begins_alike_is_left_alone(site: Site) -> None:
    longer = f"{TWO}-1"
    for path in (f"processed/{longer}.npz", f"failures/{longer}.json", f"qc/{longer}.png"):
        site.write(path, "{}")
    site.write("exclusions.csv", f"accession,reason\n{TWO},withdrawn\n")
    site.configure({"exclusions": "exclusions.csv"})
    site.environment = {"ACCESSION": TWO, "DELETE": "yes"}
    site.run("--nolock", "purge")
    assert (site.folder / "processed" / f"{longer}.npz").exists()
    assert (site.folder / "failures" / f"{longer}.json").exists()
    assert (site.folder / "qc" / f"{longer}.png").exists()


# Status


def test_status_says_what_holds_a_run_up(site: Site) -> None:
    assert "exists" not in site.script("status.py")
    site.write("archive.stop", "401 for everybody\n")
    site.write("archive.pause", "")
    said = site.script("status.py")
    assert "archive.stop exists: 401 for everybody" in said
    assert "archive.pause exists: nothing is asked until it is removed" in said


def test_status_during_a_run_counts_what_is_whole(site: Site) -> None:
    (site.folder / "processed" / f"{TWO}.json").unlink()  # the volume is there, its record not yet
    said = site.script("status.py")
    assert "volumes:   1 of 2 (50.0 %)" in said
    assert "1 to do; " in said
    assert {row["accession"]: row["status"] for row in site.rows("status.csv")}[TWO] == "pending"


def test_the_next_command_is_one_that_works(site: Site) -> None:
    shutil.rmtree(site.folder / "raw" / TWO)
    (site.folder / "received" / f"{TWO}.json").unlink()
    (site.folder / "archive" / "2").rename(site.folder / "elsewhere")
    site.run(ok=False)
    (command,) = set(
        re.findall(
            r"next: (?:fix the cause, then )?(/\S+.*? --cores all)", site.script("status.py")
        )
    )
    (site.folder / "elsewhere").rename(site.folder / "archive" / "2")
    words = shlex.split(command)
    assert words[words.index("--directory") + 1] == str(site.folder)
    assert site.run().jobs == jobs("download_series", TWO) | jobs("preprocess_volume", TWO) | {
        "write_manifest"
    }
    assert LATER not in site.script("status.py")


# Try the archive


@pytest.mark.parametrize("by", ["accession", "study_uid"])
def test_the_archive_is_tried_on_one_scan(site: Site, by: str) -> None:
    row = next(row for row in site.rows("series.csv") if row["accession"] == TWO)
    site.environment = {"ACCESSION": row[by]}
    said = site.run("--nolock", "check_archive").output
    steps = [
        "1 connection      ok (folder)",
        "2 accession       1 study, 1 series",
        "3 headers         33 of 33, 33 CT images",
        "    all required attributes are present",
        "the archive provides everything that the workflow needs",
    ]
    assert [line for line in said.splitlines() if line in steps] == steps
    assert PATIENTS[TWO].patient_id not in said


def test_an_accession_that_the_archive_lacks_is_said_so(site: Site) -> None:
    site.environment = {"ACCESSION": "A0O02"}
    said = site.run("--nolock", "check_archive", ok=False).output
    assert "error: no CT series that is online was found for this accession; check" in said


def test_a_cohort_of_which_nothing_is_found_says_where_to_look(fresh: Site) -> None:
    fresh.configure({"archive.accession_prefixes": ["X"]})
    fresh.run()
    said = fresh.script("status.py")
    assert "no accession was found: check the archive's path or address, columns.study_uid" in said
