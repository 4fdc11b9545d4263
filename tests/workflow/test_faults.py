"""What a run does when something is wrong: what it says, what it leaves, and how it goes on."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate

from ctcohort.base.files import read_sealed_json, write_sealed_json
from ctcohort.base.naming import accession_of, name_of

from .conftest import (
    CHEST,
    LATER,
    ONE,
    PATIENTS,
    THIN,
    TWO,
    Run,
    Site,
    jobs,
    table_of,
    write_reports,
    write_scan,
)

FINAL = ("raw", "received", "processed")


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def made(site: Site) -> dict[str, str]:
    """What a run leaves for its user, by content; without what only this machine knows."""
    tables = ("accessions.txt", "protocols.csv", "cohort.csv", "series.csv", "splits.csv")
    files = [*tables, "manifest.csv"]
    files += [
        str(path.relative_to(site.folder))
        for name in ("processed", "received")
        for path in (site.folder / name).glob("[!.]*")
    ]
    return {
        name: hashlib.sha256((site.folder / name).read_bytes()).hexdigest()
        for name in sorted(files)
    }


def assert_whole(folder: Path) -> None:
    """Whatever carries a final name is complete."""
    for path in folder.glob("processed/[!.]*.npz"):
        with np.load(path, allow_pickle=False) as volume:
            assert {key: volume[key].size > 0 for key in volume.files} == dict.fromkeys(
                ("ct", "spacing", "origin", "direction"), True
            )
    for path in [*folder.glob("processed/[!.]*.json"), *folder.glob("received/[!.]*.json")]:
        json.loads(path.read_text())
    for raw in folder.glob("raw/[!.]*"):
        received = folder / "received" / f"{raw.name}.json"
        if received.exists():
            listed = {
                f["sop_instance_uid"]: f for f in json.loads(received.read_text())["instances"]
            }
            assert {path.stem for path in raw.glob("[!.]*")} == set(listed)
        for path in raw.glob("[!.]*"):
            assert len(dcmread(path).pixel_array) == 32
    for path in folder.glob("*.csv"):
        with open(path, encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream, strict=True))
        assert rows
        assert {len(row) for row in rows} == {len(rows[0])}, path


def lines_of(run: Run, start: str = "error: ") -> list[str]:
    return [line.strip() for line in run.output.splitlines() if line.strip().startswith(start)]


def failure(site: Site, accession: str) -> dict[str, object]:
    content: dict[str, object] = json.loads(
        (site.folder / "failures" / f"{name_of(accession)}.json").read_text()
    )
    return content


def assert_only_failed(site: Site, run: Run, accession: str, reason: str) -> None:
    """One line names accession, file and reason; the others are made."""
    told = failure(site, accession)
    assert told["reason"] == reason
    assert told["transient"] is False
    assert lines_of(run) == [f"error: {told['message']}"]
    assert "Traceback" not in run.output
    assert "write_manifest" not in run.jobs
    other = ONE if accession == TWO else TWO
    assert (site.folder / "processed" / f"{other}.npz").exists()
    assert not (site.folder / "processed" / f"{accession}.npz").exists()


def assert_exclusion_ends_it(site: Site, accession: str, reason: str) -> None:
    """The rows that the status proposes, taken over, let the run end well."""
    assert not (site.folder / "manifest.csv").exists()
    assert_whole(site.folder)
    again = site.run(ok=False)
    assert len(again.jobs) == 1  # it stays failed, and nothing else is done again
    said = site.script("status.py")
    assert f"1 failed: {reason}" in said
    assert accession in said
    assert site.rows("exclusions.proposed.csv") == [{"accession": accession, "reason": reason}]
    shutil.copyfile(site.folder / "exclusions.proposed.csv", site.folder / "exclusions.csv")
    site.configure({"exclusions": "exclusions.csv"})
    assert site.run().jobs == {"index_series", "write_manifest"}
    rows = {row["accession"]: row["status_reason"] for row in site.rows("manifest.csv")}
    assert rows[accession] == "excluded_by_user"
    assert not site.run().jobs


# Killed


@pytest.mark.parametrize("moment", ["index", "download", "preprocess"])
def test_a_killed_run_leaves_only_complete_files_and_goes_on(
    fresh: Site, finished: tuple[Path, Run], moment: str
) -> None:
    archive = checksums(fresh.folder / "archive")
    signs = {"index": "cohort.csv", "download": "raw/.partial", "preprocess": f"raw/{ONE}"}
    with fresh.started("nice", "-n", "15") as process:  # not to miss the moment
        while not (fresh.folder / signs[moment]).exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(0.15)
    assert not (fresh.folder / "manifest.csv").exists()
    assert_whole(fresh.folder)
    fresh.run("--unlock")
    fresh.run()
    assert_whole(fresh.folder)
    assert checksums(fresh.folder / "archive") == archive
    assert made(fresh) == made(Site(finished[0]))
    assert not fresh.run().jobs


def test_a_killed_preprocessing_is_done_again(site: Site) -> None:
    before = made(site)
    site.configure({"volume.interpolator": "linear"})
    with site.started(output=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "rule preprocess_volume" in line:
                break
        time.sleep(0.2)
    assert_whole(site.folder)
    site.configure({"volume.interpolator": "bspline"})
    site.run("--unlock")
    site.run()
    assert made(site) == before


# Found only in the files


def test_a_truncated_file_fails_its_own_scan_alone(fresh: Site) -> None:
    path = fresh.folder / "archive" / "2" / "007"
    path.write_bytes(path.read_bytes()[:-500])
    run = fresh.run(ok=False)
    assert_only_failed(fresh, run, TWO, "truncated_file")
    uid = dcmread(path, stop_before_pixels=True).SOPInstanceUID
    assert f"{TWO}/{uid}.dcm" in str(failure(fresh, TWO)["message"])
    assert_exclusion_ends_it(fresh, TWO, "truncated_file")


def test_two_different_images_at_one_place_are_not_chosen_between(fresh: Site) -> None:
    source = fresh.folder / "archive" / "1" / "soft" / "007"
    twin = dcmread(source)
    twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = f"{twin.SOPInstanceUID}"[:-1]
    pixels = twin.pixel_array.copy()
    pixels[16, 16] += 100
    twin.PixelData = pixels.tobytes()
    twin.save_as(source.with_name("twin"))
    run = fresh.run(ok=False)
    assert_only_failed(fresh, run, ONE, "unequal_duplicates")
    assert str(twin.SOPInstanceUID) in str(failure(fresh, ONE)["message"])
    assert_exclusion_ends_it(fresh, ONE, "unequal_duplicates")


def compress_badly(path: Path) -> None:
    """Claims JPEG 2000 and holds something else."""
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    dataset.PixelData = encapsulate([b"not a codestream"])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)


def compress_by_mpeg(path: Path) -> None:
    """A transfer syntax for which there is no decoder."""
    compress_badly(path)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    dataset.save_as(path)


@pytest.mark.parametrize("spoil", [compress_badly, compress_by_mpeg])
def test_pixels_that_cannot_be_decoded_are_named(
    fresh: Site, spoil: Callable[[Path], None]
) -> None:
    path = fresh.folder / "archive" / "2" / "007"
    spoil(path)
    run = fresh.run(ok=False)
    assert_only_failed(fresh, run, TWO, "undecodable_pixels")
    message = str(failure(fresh, TWO)["message"])
    header = dcmread(path, stop_before_pixels=True)
    assert f"raw/{TWO}/{header.SOPInstanceUID}.dcm" in message
    if spoil is compress_by_mpeg:
        assert header.file_meta.TransferSyntaxUID in message


@pytest.mark.parametrize("tampered", ["pixel", "received"])
def test_a_file_that_is_not_the_one_received_stops_its_scan(site: Site, tampered: str) -> None:
    raw = sorted((site.folder / "raw" / TWO).glob("[!.]*.dcm"))[5]
    received = site.folder / "received" / f"{TWO}.json"
    changed = raw if tampered == "pixel" else received
    stamp = changed.stat()
    if tampered == "pixel":
        content = bytearray(raw.read_bytes())
        content[-9] ^= 1
        raw.write_bytes(content)
    else:
        digest = hashlib.sha256(raw.read_bytes()).hexdigest()
        content = json.dumps(read_sealed_json(received)).replace(digest, "0" * 64)
        write_sealed_json(received, json.loads(content))
    os.utime(changed, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert not site.run().jobs
    site.configure({"volume.interpolator": "linear"})
    run = site.run(ok=False)
    assert_only_failed(site, run, TWO, "checksum_mismatch")
    message = str(failure(site, TWO)["message"])
    assert raw.name in message
    shutil.rmtree(site.folder / "raw" / TWO)  # what the message says to do
    assert jobs("download_series", TWO) | jobs("preprocess_volume", TWO) <= site.run().jobs


def test_a_file_that_is_missing_in_a_series_folder_stops_its_scan(site: Site) -> None:
    next((site.folder / "raw" / TWO).glob("[!.]*.dcm")).unlink()
    site.configure({"volume.interpolator": "linear"})
    run = site.run(ok=False)
    assert_only_failed(site, run, TWO, "checksum_mismatch")


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk too small for the hospital's volumes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_leaves_nothing_half_written(
    fresh: Site, small_disk: Path, finished: tuple[Path, Run]
) -> None:
    archive = checksums(fresh.folder / "archive")
    fresh.configure({"archive.folder.path": str(fresh.folder / "archive")})
    ballast = small_disk / "ballast"
    for name in ("reports.csv", "config.yaml"):
        shutil.copyfile(fresh.folder / name, small_disk / name)
    full = Site(small_disk)
    full.run("series.csv")
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(bytes(max(0, free - 450_000)))  # room for the slices, not for the volumes
    run = full.run(ok=False)
    assert "disk is full" in run.output
    assert "Traceback" not in run.output
    assert_whole(small_disk)
    assert not (small_disk / "manifest.csv").exists()
    assert checksums(fresh.folder / "archive") == archive
    assert not list(small_disk.glob("**/.*.part"))
    ballast.unlink()
    full.run()
    assert made(full) == made(Site(finished[0]))


# A config that is wrong


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("volume: {spacing: 1}", ["volume.spacing", "unknown key", "spacing_mm"]),
        ("serie: {}", ["serie", "unknown key", "series"]),
        ("volume: {spacing_mm: wide}", ["volume.spacing_mm", '"wide"', "a number of mm", "0.8"]),
        ("series: {min_slices: many}", ["series.min_slices", '"many"', "whole number", "31"]),
        ("archive: {kind: pacs}", ["archive.kind", '"pacs"', "folder"]),
        ("archive: {connections: 0}", ["archive.connections", "0", "whole number from 1", "4"]),
        ("series: {prefer_kernels: ['B[']}", ["series.prefer_kernels", "B[", "regular expression"]),
        ("select: {protocols_regex: ['(']}", ["select.protocols_regex", "(", "regular expression"]),
        ("splits: {train: 0.9}", ["splits", "sum to 1.2", "expected 1", "0.7"]),
        ("partition: 3", ["partition", "3", "K/N", "3/8"]),
        ("partition: 9/8", ["partition", "9/8", "K/N", "3/8"]),
        ("volume: {clip_hu: [5, -5]}", ["volume.clip_hu", "low below high", "-1000, 1000"]),
        ("raw: [keep]", ["raw", "keep or delete", "keep"]),
        ("volume: 3", ["volume", "3", "expected"]),
        ("splits: null", ["splits", "null", "expected"]),
        ("series: {tie_break: [kernel]}", ["series.tie_break", "kernel", "slice_thickness"]),
        ("columns: {carry: nodule}", ["columns.carry", "nodule", "list of column names"]),
        ("- a\n- b", ["config.yaml: holds no keys", "reports: reports.csv"]),
        ("volume: {spacing_mm: [1, 2", ["config.yaml: line 1", "is not YAML"]),
    ],
    ids=lambda value: value.replace("\n", " ") if isinstance(value, str) else "",
)
def test_a_wrong_config_is_one_clear_error(
    hospital: Path, tmp_path: Path, text: str, said: list[str]
) -> None:
    shutil.copyfile(hospital / "reports.csv", tmp_path / "reports.csv")
    site = Site(tmp_path)
    site.write("config.yaml", text)
    run = site.run(ok=False)
    assert not run.jobs
    assert "Traceback" not in run.output
    told = run.output.partition("Error in file")[2]
    for part in said:
        assert part in told, run.output
    assert not (tmp_path / "accessions.txt").exists()


# A table that is wrong


GOOD = f"AccessionNumber,MRN,Protocol\n{TWO},1,{CHEST}\n"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"", "is empty"),
        (GOOD.replace("MRN", "Patient").encode(), "MRN"),
        (GOOD.encode() + b"A9,2,M\x81nchen\n", "neither UTF-8 nor Windows-1252 (line 3)"),
        (GOOD.encode() + b'A9,2,"never closed\nA10,3,x\n', "quote"),
        (GOOD.encode() + b"A9,2\n", "has 2 fields, the header has 3"),
        (GOOD.replace(CHEST, "MR KNEE").encode(), "mr knee"),
        (GOOD.replace("MRN", "Protocol").encode(), "occurs twice"),
    ],
    ids=["empty", "column", "encoding", "quote", "ragged", "nothing_selected", "twice"],
)
def test_a_wrong_table_is_one_clear_error(tmp_path: Path, table: bytes, said: str) -> None:
    site = Site(tmp_path)
    site.write("reports.csv", table)
    (tmp_path / "archive").mkdir()
    run = site.run(ok=False)
    log = (tmp_path / "logs" / "select_accessions.log").read_text()
    assert log.startswith("error: reports.csv")
    assert said in log
    assert len(lines_of(run)) == 1
    assert "Traceback" not in run.output + log
    assert not (tmp_path / "accessions.txt").exists()


def test_a_missing_table_is_one_clear_error(tmp_path: Path) -> None:
    run = Site(tmp_path).run(ok=False)
    assert "reports.csv" in run.output
    assert "Traceback" not in run.output
    assert not run.jobs


# Hostile names

HOSTILE = [
    "../../etc/x",
    "-rf",
    ".hidden",
    "..",
    "a b",
    "a/b",
    "x;touch PWNED",
    "$(touch PWNED)",
    "`touch PWNED`",
    "'\"; touch PWNED #",
    "Größe",
    "{acc}",
    "000123",
    "a%2Fb",
    "&|<>!~",
]


def test_names_are_never_paths_options_or_commands(tmp_path: Path) -> None:
    """In a working directory and an archive whose own names need quotes."""
    folder = tmp_path / 'it\'s a "site"'
    archive = tmp_path / "the archive's $(touch PWNED)"
    folder.mkdir()
    site = Site(folder)
    rows = []
    for number, accession in enumerate(HOSTILE):
        identity = PATIENTS[ONE].__class__(patient_id=f"H{number}", accession=accession)
        extra = {"SpecificCharacterSet": "ISO_IR 192"}
        write_scan(archive / str(number), "", identity=identity, seed=str(number), extra=extra)
        rows.append((accession, f"H{number}", CHEST))
    rows += [("A*", "H90", CHEST), ("B\\C", "H91", CHEST), ("C?D", "H92", CHEST)]
    write_reports(folder, rows)
    site.write(
        "config.yaml",
        json.dumps({"archive": {"folder": {"path": str(archive)}}, "volume": {"spacing_mm": 9}}),
    )
    before = {path.name for path in tmp_path.iterdir()}
    site.run()
    table = {row["accession"]: row for row in site.rows("manifest.csv")}
    assert {name for name in table if table[name]["status"] == "included"} == set(HOSTILE)
    assert {table[name]["status_reason"] for name in ("A*", "B\\C", "C?D")} == {"invalid_accession"}
    names = {path.stem for path in (folder / "processed").glob("[!.]*.npz")}
    assert {accession_of(name) for name in names} == set(HOSTILE)
    assert {path.name for path in (folder / "raw").iterdir()} - {".partial"} == names
    for name in names:
        assert name == name_of(accession_of(name))
        assert not set(name) - set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%-"
        )
        assert name[0] not in ".-"
    assert {path.name for path in tmp_path.iterdir()} == before
    assert not [path for path in tmp_path.rglob("*") if path.name == "PWNED"]
    assert not Path("PWNED").exists()
    assert not site.run().jobs


# Privacy

OPEN_TO_IDENTIFIERS = ("reports.csv", "cohort.csv", "archive", "raw")


def contents(path: Path) -> bytes:
    """What a file says, with what is compressed in it laid open."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".npz":
        with np.load(path) as volume:
            return b"".join(volume[key].tobytes() for key in volume.files)
    if path.suffix == ".sqlite" and path.parent.name != ".seals":
        with sqlite3.connect(path) as index:
            blobs = index.execute("SELECT header FROM files WHERE header IS NOT NULL").fetchall()
        assert blobs
        return content + b"".join(zlib.decompress(blob) for (blob,) in blobs)
    return content


def test_patients_are_named_where_that_is_announced_and_nowhere_else(site: Site) -> None:
    path = site.folder / "archive" / "2" / "007"
    path.write_bytes(path.read_bytes()[:-500])
    write_reports(site.folder, table_of(ONE, TWO, THIN, LATER))
    shutil.rmtree(site.folder / "raw" / TWO)
    (site.folder / "processed" / f"{TWO}.npz").unlink()
    site.run("--printshellcmds", "--verbose", ok=False)
    site.script("status.py")
    secrets = {
        secret.encode()
        for who in PATIENTS.values()
        for secret in (who.patient_id, *who.patient_name.split("^"), who.birth_date)
    } | {b"Hippocampal"}
    found = {
        str(path.relative_to(site.folder)): sorted(s for s in secrets if s in contents(path))
        for path in sorted(site.folder.rglob("*"))
        if path.is_file()
    }
    named = {name for name, secrets_in in found.items() if secrets_in}
    assert {name.split("/")[0] for name in named} == set(OPEN_TO_IDENTIFIERS)
    assert any(name.startswith(".snakemake/metadata") for name in found)
    assert "index/folder.sqlite" in found
    assert b"Hippocampal" in contents(site.folder / "reports.csv")
    assert b"Hippocampal" not in contents(site.folder / "cohort.csv")


def test_folders_and_files_that_the_workflow_makes_are_private(site: Site) -> None:
    own = [path for path in site.folder.rglob("*") if "archive" not in path.parts]
    folders = {str(path.relative_to(site.folder)) for path in own if path.is_dir()}
    assert {".parameters", ".seals", ".snakemake", "logs", "raw", "received", "processed"} < folders
    users = ("reports.csv", "config.yaml")
    made = [path for path in own if path.name not in users and ".snakemake" not in path.parts[:-1]]
    assert not [str(path) for path in made if path.stat().st_mode & 0o077]


def test_files_that_can_name_patients_are_private(site: Site) -> None:
    private = [site.folder / "cohort.csv", *(site.folder / "index").rglob("*")]
    private += (site.folder / "raw").rglob("*.dcm")
    assert not [str(path) for path in private if path.is_file() and path.stat().st_mode & 0o077]


def test_a_line_break_of_any_kind_in_a_value_loses_no_scan(fresh: Site) -> None:
    for path in (fresh.folder / "archive" / "2").iterdir():
        dataset = dcmread(path)
        dataset.ConvolutionKernel = "B3\r0f"
        dataset.Manufacturer = "one\r\ntwo"
        dataset.save_as(path)
    with open(fresh.folder / "reports.csv", newline="") as stream:
        header, *rows = csv.reader(stream)
    with open(fresh.folder / "reports.csv", "w", newline="") as stream:
        writer = csv.writer(stream)  # whose own line ends are CR LF, so that it quotes both
        writer.writerows([[*header, "label"], *([*row, "a\rb"] for row in rows)])
    fresh.configure({"columns.carry": ["label"]})
    fresh.run()
    made_rows = {row["accession"]: row for row in fresh.rows("manifest.csv")}
    assert made_rows[TWO]["status"] == "included"
    assert made_rows[TWO]["label"] == "a\nb"
    assert fresh.script("verify.py")


# The same bytes


def test_the_same_bytes_whatever_the_cores_and_threads(
    fresh: Site, finished: tuple[Path, Run]
) -> None:
    first = made(Site(finished[0]))
    fresh.run(cores=1)
    assert made(fresh) == first
    for path in (fresh.folder / "processed").glob("*"):
        path.unlink()
    fresh.run("--set-threads", "preprocess_volume=2")
    assert made(fresh) == first


def test_exclusions_that_match_nothing_are_said_so(site: Site) -> None:
    site.write(
        "exclusions.csv", f"accession,mrn,reason\n{TWO},,seen\nA00O1,,misspelt\n,99,no one\n"
    )
    site.configure({"exclusions": "exclusions.csv"})
    site.run()
    log = (site.folder / "logs/index_series.log").read_text().splitlines()
    (warning,) = [line for line in log if "warning" in line]
    assert warning.startswith("warning: exclusions.csv: 2 of 3 accessions and MRNs match nothing")
    assert f"index_series: {warning}" in site.script("status.py")
