"""A release: who is in it, under which names, and that nothing else is."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydicom import dcmread

from ctcohort.base.faults import Fault, InputError
from ctcohort.base.files import sha256, write_table
from ctcohort.base.naming import name_of
from ctcohort.base.reasons import RELEASE_REASONS
from ctcohort.cohort.reviews import Review
from ctcohort.config.settings import ReleaseSettings
from ctcohort.dataset import manifest
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series, write_files
from ctcohort.release import release
from ctcohort.release.datacard import CITATION
from ctcohort.release.guard.identities import ACCESSION, BIRTH_DATE, MRN, NAME, Identities
from ctcohort.volume import chunked, npz
from ctcohort.volume.record import ScanRecord
from tests.records import receive, scan_record

KEY = b"k" * 64

RECORD = scan_record()


def include(accession: str, *, record: ScanRecord = RECORD, **row: object) -> dict[str, Any]:
    """A made volume with its record, and its row of the manifest."""
    name = name_of(accession)
    volume = Path("processed") / f"{name}.npz"
    seed = int.from_bytes(hashlib.sha256(accession.encode()).digest()[:4], "big")
    ct = np.random.default_rng(seed).integers(-1000, 1000, (6, 5, 4)).astype(np.int16)
    direction = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    arrays = {"ct": ct, "spacing": np.full(3, 0.8), "origin": np.zeros(3), "direction": direction}
    npz.write(volume, arrays)
    record.write(volume.with_suffix(".json"))
    return {
        **dict.fromkeys(manifest.COLUMNS, ""),
        "accession": accession,
        "patient": f"p{accession}",
        "split": "train",
        "status": "included",
        "full_filename_npz": volume.name,
        "orig_numslices": 133,
        "orig_zpositions_all": [1.5, 0.5],
        "final_spacing": 0.8,
        "manufacturer": "Phantom",
        "series_uid_hash": "0011223344",
        "age_years": 64,
        "sex": "F",
        "raw_bytes": 20190305,
        "npz_bytes": volume.stat().st_size,
        "npz_sha256": sha256(volume),
        "algorithm_version": "1",
        "nodule": 1,
        **row,
    }


def write_manifest(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    listed = list(rows)
    extra = [column for column in listed[0] if column not in manifest.COLUMNS]
    write_table(Path("manifest.csv"), (*manifest.COLUMNS, *extra), listed)
    return listed


@pytest.fixture
def rules(here: Path, umask: None) -> ReleaseSettings:  # noqa: ARG001
    return ReleaseSettings(
        key_table=str(here / "safe" / "names.csv"), min_age=18, licence="CC BY 4.0"
    )


def known(common: set[str]) -> Identities:
    identities = Identities(common=common)
    identities.add(MRN, "MRN7712831")
    identities.add(NAME, "Philips^Esmeralda")
    identities.add(BIRTH_DATE, "19510723")
    identities.add(ACCESSION, "A0001")
    return identities


def make(
    rules: ReleaseSettings,
    reviews: Mapping[str, Review] | None = None,
    key: bytes = KEY,
    threads: int = 2,
) -> list[str]:
    return release.make(rules, key=key, reviews=reviews or {}, identities=known, threads=threads)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def metadata() -> dict[str, dict[str, str]]:
    return {row["NoteAcc_DEID"]: row for row in rows_of(Path("release/metadata.csv"))}


def names() -> dict[str, str]:
    return {row["accession"]: row["name"] for row in rows_of(Path("safe/names.csv"))}


def left_out() -> dict[str, str]:
    return {row["accession"]: row["reason"] for row in rows_of(Path("release.left_out.csv"))}


def content(folder: Path = Path("release")) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.iterdir())}


def test_a_release_holds_volumes_a_table_a_card_and_checksums(rules: ReleaseSettings) -> None:
    rows = write_manifest(
        [
            include("A0001"),
            include("../ A 2", patient="pA0001", split="train", sex="X", flags="small_fov"),
            include("B1", split="test", age_years=33.9),
            {**dict.fromkeys(manifest.COLUMNS, ""), "accession": "C1", "status": "excluded"}
            | {"status_reason": "too_few_slices"},
        ]
    )
    assert make(rules) == ["release/ has 3 scans"]
    given = names()
    assert sorted(given.values()) == ["trn00001", "trn00002", "tst00001"]
    assert set(content()) == {
        *(f"{name}.npz" for name in given.values()),
        *("README.md", "SHA256SUMS", "croissant.json", "metadata.csv"),
    }
    for row in rows[:3]:
        made = Path("processed") / f"{name_of(row['accession'])}.npz"
        released = Path("release") / f"{given[row['accession']]}.npz"
        assert released.read_bytes() == made.read_bytes()
        assert released.stat().st_ino != made.stat().st_ino  # no later edit of one is in the other
        assert released.stat().st_mode & 0o777 == 0o600
    table = metadata()
    columns = list(next(iter(table.values())))
    assert columns[:5] == ["NoteAcc_DEID", "VolumeAcc_DEID", "MRN_DEID", "PatientAge", "PatientSex"]
    log = manifest.COLUMNS[6:23]
    assert log[0] == "full_filename_npz"
    assert log[-1] == "transform"
    assert [c for c in columns if c in log] == list(log)
    assert columns[-1] == "nodule"
    assert not {"accession", "patient", "age_years", "series_uid_hash", "raw_bytes"} & set(columns)
    first = table[given["A0001"]]
    assert first["VolumeAcc_DEID"] == first["full_filename_npz"] == f"{given['A0001']}.npz"
    assert (first["PatientAge"], first["PatientSex"], first["split"]) == ("064Y", "F", "train")
    assert table[given["B1"]]["PatientAge"] == "033Y"
    assert table[given["../ A 2"]]["PatientSex"] == ""
    one, two, three = (table[given[row["accession"]]]["MRN_DEID"] for row in rows[:3])
    assert one == two != three
    assert "pA0001" not in one
    sums = dict(
        line.split("  ")[::-1] for line in Path("release/SHA256SUMS").read_text().splitlines()
    )
    assert sums == {n: sha256(Path("release") / n) for n in content() if n != "SHA256SUMS"}
    card = Path("release/README.md").read_text()
    for told in ("3 scans of 2 patients", "CC BY 4.0", "| train | 2 | 1 | 1 | 0 | 64 |"):
        assert told in card
    for told in ("| 1 | `too_few_slices` |", "`nodule`: 1: 3", "| `clip_hu` | [-1000, 1000] |"):
        assert told in card
    assert CITATION in card


@pytest.mark.parametrize(
    ("age", "told"), [(18, "018Y"), (89, "089Y"), (89.99, "089Y"), (90, "090Y"), (91, "090Y")]
)
def test_an_age_is_in_whole_years_and_capped(rules: ReleaseSettings, age: float, told: str) -> None:
    write_manifest([include("A1", age_years=age)])
    make(rules)
    assert [row["PatientAge"] for row in metadata().values()] == [told]


REASONS: dict[str, tuple[dict[str, Any], dict[str, Review]]] = {
    "under_min_age": ({"age_years": 17.99}, {}),
    "age_unknown": ({"age_years": ""}, {}),
    "burned_in_annotation": ({"record": replace(RECORD, burned_in_annotation=True)}, {}),
    "face_possible": ({"record": replace(RECORD, face_possible=True)}, {}),
    "reviewed_bad": ({}, {"A1": Review("bad", "MRN7712831")}),
    "not_reviewed": ({}, {"A2": Review("good")}),
    "burned_in_unknown": (
        {"record": replace(RECORD, burned_in_annotation=None, face_possible=None)},
        {},
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_who_is_left_out(rules: ReleaseSettings, reason: str) -> None:
    more, reviews = REASONS[reason]
    rules = replace(rules, reviewed_only=reason == "not_reviewed")
    write_manifest([include("A1", **more), include("A2")])
    assert make(rules, reviews) == [
        "release/ has 1 scan",
        f"left out: 1 {reason}; release.left_out.csv names them",
    ]
    assert left_out() == {"A1": reason}
    assert set(names()) == {"A2"}  # who is left out gets no number
    assert (
        f"| 1 | `{reason}` | {RELEASE_REASONS[reason]} |" in Path("release/README.md").read_text()
    )


def test_every_reason_is_tested() -> None:
    assert set(REASONS) == set(RELEASE_REASONS)


def test_what_the_config_admits(rules: ReleaseSettings) -> None:
    write_manifest(
        [
            include("A1", age_years=3),
            include("A2", age_years=""),
            include("A3", record=replace(RECORD, face_possible=True)),
        ]
    )
    make(replace(rules, min_age=None, faces="include"))
    told = {a: metadata()[n]["PatientAge"] for a, n in names().items()}
    assert told == {"A1": "003Y", "A2": "", "A3": "064Y"}
    faces = {a: metadata()[n]["face_possible"] for a, n in names().items()}
    assert faces == {"A1": "false", "A2": "false", "A3": "true"}


@pytest.mark.parametrize(
    ("value", "reason"), [("YES", "burned_in_annotation"), ("NO", ""), (None, "")]
)
def test_an_older_record_is_made_up_for_from_the_files(
    rules: ReleaseSettings, value: str | None, reason: str
) -> None:
    old = replace(RECORD, burned_in_annotation=None, face_possible=None)
    stack = SliceStack.axial(count=3, step=5.0, rows=16, columns=16, pixel_spacing=20.0)
    for accession in ("A1", "A2"):
        series = make_series(Phantom(), stack)
        write_files(series, Path("raw") / accession, names=["1", "2", "3"])
        for path in Path("raw", accession).iterdir():
            path.rename(path.with_suffix(".dcm"))
    if value is not None:
        last = Path("raw/A1/2.dcm")
        dataset = dcmread(last)
        dataset.BurnedInAnnotation = value
        dataset.save_as(last)
    for accession in ("A1", "A2"):
        receive(Path("raw", accession))
    write_manifest([include("A1", record=old), include("A2", record=old)])
    make(replace(rules, faces="include"))
    assert left_out() == ({"A1": reason} if reason else {})
    assert set(metadata()[names()["A2"]]["face_possible"]) == set("true")  # noise has no lungs


def test_of_an_older_record_no_file_is_believed_that_has_changed(rules: ReleaseSettings) -> None:
    """One bit makes YES another word."""
    old = replace(RECORD, burned_in_annotation=None, face_possible=None)
    (dataset,) = make_series(Phantom(), SliceStack.axial(count=1, rows=16, columns=16))
    dataset.BurnedInAnnotation = "YES"
    write_files([dataset], Path("raw/A1"), names=["1.dcm"])
    receive(Path("raw/A1"))
    file = Path("raw/A1/1.dcm")
    file.write_bytes(file.read_bytes().replace(b"YES", b"YEQ"))
    write_manifest([include("A1", record=old)])
    with pytest.raises(Fault, match=r"raw/A1/1\.dcm: is not the file that was received"):
        make(replace(rules, faces="include"))
    Path("received/A1.json").unlink()
    with pytest.raises(InputError, match="1 burned_in_unknown"):
        make(replace(rules, faces="include"))


def test_a_second_run_changes_nothing(rules: ReleaseSettings) -> None:
    write_manifest([include("A1"), include("B1", split="val")])
    make(rules)
    before, table = content(), Path("safe/names.csv").stat().st_mtime_ns
    assert make(rules) == ["release/ has 2 scans, as before: nothing to do"]
    assert content() == before
    assert Path("safe/names.csv").stat().st_mtime_ns == table


def test_added_scans_rename_none_and_copy_nothing_again(rules: ReleaseSettings) -> None:
    rows = [include(f"A{number}") for number in range(5)]
    write_manifest(rows)
    make(rules)
    before = names()
    inodes = {p.name: p.stat().st_ino for p in Path("release").glob("*.npz")}
    write_manifest([*(include(f"0{number}") for number in range(5)), *rows])
    make(rules)
    assert {accession: names()[accession] for accession in before} == before
    assert {n: (Path("release") / n).stat().st_ino for n in inodes} == inodes
    assert len(metadata()) == 10


def test_a_withdrawn_scan_is_gone_and_its_number_is_not_given_again(rules: ReleaseSettings) -> None:
    rows = [include("A1"), include("A2"), include("A3")]
    write_manifest(rows)
    make(rules)
    last = next(accession for accession, name in names().items() if name == "trn00003")
    stay = [row for row in rows if row["accession"] != last]
    write_manifest([*stay, include("A4")])
    make(rules)
    assert set(metadata()) == {"trn00001", "trn00002", "trn00004"}
    assert not Path("release/trn00003.npz").exists()
    assert "trn00003" not in Path("release/SHA256SUMS").read_text()
    write_manifest(rows)
    make(rules)
    assert set(metadata()) == {"trn00001", "trn00002", "trn00003"}  # back under its own name


def test_a_volume_that_was_made_again_is_released_again(rules: ReleaseSettings) -> None:
    write_manifest([include("A1"), include("A2")])
    make(rules)
    unlike = np.zeros((2, 3, 4), np.int16)
    with np.load("processed/A1.npz") as arrays:
        npz.write(Path("processed/A1.npz"), {**arrays, "ct": unlike})
    with pytest.raises(InputError, match=r"processed/A1.npz is not the file that manifest.csv"):
        shutil.rmtree("release")
        make(rules)
    size = Path("processed/A1.npz").stat().st_size
    again, row = include("A2"), include("A1")
    with np.load("processed/A1.npz") as arrays:
        npz.write(Path("processed/A1.npz"), {**arrays, "ct": unlike})
    row |= {"npz_bytes": size, "npz_sha256": sha256(Path("processed/A1.npz"))}
    write_manifest([row, again])
    make(rules)
    with np.load(f"release/{names()['A1']}.npz") as arrays:
        assert arrays["ct"].shape == (2, 3, 4)


def test_a_released_file_that_was_damaged_is_replaced(rules: ReleaseSettings) -> None:
    write_manifest([include("A1")])
    make(rules)
    released = Path("release/trn00001.npz")
    whole = released.read_bytes()
    released.write_bytes(whole[:-1] + b"\1")
    write_manifest([include("A1"), include("A2")])
    make(rules)
    assert (
        Path(f"release/{names()['A1']}.npz").read_bytes() == Path("processed/A1.npz").read_bytes()
    )


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("nodule", "MRN7712831", "MRN"),
        ("nodule", "7/23/1951", "birth date"),
        ("nodule", "seen by Esmeralda", "patient name"),
        ("nodule", "see A0001", "accession"),
        ("nodule", "2024-03-05", "date"),
        ("nodule", "1.2.840.113619.2.55.3", "UID"),
        ("convolution_kernel", "Esmeralda", "patient name"),
    ],
)
def test_the_guard_stops_a_release_and_nothing_is_left(
    rules: ReleaseSettings, column: str, value: str, kind: str
) -> None:
    write_manifest([include("A1")])
    make(rules)
    before = content()
    write_manifest([include("A1"), include("A2", **{column: value})])
    with pytest.raises(InputError, match="the guard found what a release may not hold") as error:
        make(rules)
    assert f", column {column}: {kind}" in str(error.value)
    assert value not in str(error.value)
    assert content() == before
    assert not list(Path().glob(".release*"))
    shutil.rmtree("release")
    with pytest.raises(InputError, match="the guard"):
        make(rules)
    assert not Path("release").exists()


def test_a_scanner_s_name_is_no_patient_s_where_many_patients_have_it(
    rules: ReleaseSettings,
) -> None:
    """One of the patients is called Philips."""
    for column, enough in {"manufacturer": 2, "nodule": 5}.items():
        rows = [include(f"B{number}", **{column: "Philips"}) for number in range(enough)]
        write_manifest(rows[:-1])
        with pytest.raises(InputError, match=f"row 2, column {column}: patient name"):
            make(rules)
        write_manifest(rows)
        make(rules)


def test_volumes_of_a_wide_range_are_searched(rules: ReleaseSettings) -> None:
    """Metal of 20000 HU is no text; an MRN in the voxels is."""

    def wide(numbers: bytes) -> dict[str, Any]:
        row, path = include("A1"), Path("processed/A1.npz")
        with np.load(path) as arrays:
            ct = np.frombuffer(numbers.ljust(48, b"\0"), "<i2").reshape(2, 3, 4)
            npz.write(path, {**arrays, "ct": ct})
        return row | {"npz_bytes": path.stat().st_size, "npz_sha256": sha256(path)}

    write_manifest([wide(b"\0\0MRN7712831\0\0")])
    with pytest.raises(InputError, match=r"trn00001.npz: member 1, byte \d+: MRN"):
        make(rules)
    write_manifest([wide(np.array([20000, 20001, -1000], "<i2").tobytes())])
    make(rules)


def test_free_text_and_clashing_labels_are_refused(rules: ReleaseSettings) -> None:
    write_manifest([include("A1", nodule="Findings: " + "the lungs are clear. " * 5)])
    with pytest.raises(InputError, match=r"columns.carry: nodule has values of more than 80"):
        make(rules)
    write_manifest([include("A1", PatientAge="64")])
    with pytest.raises(InputError, match=r"columns.carry: PatientAge is a column of the release"):
        make(rules)


def test_what_is_missing_is_said(rules: ReleaseSettings) -> None:
    with pytest.raises(InputError, match=r"manifest.csv is missing; run snakemake first"):
        make(rules)
    write_manifest([include("A1", age_years=5)])
    with pytest.raises(InputError, match="no scan can be released: 1 under_min_age"):
        make(rules)
    write_manifest([include("A1", patient="")])
    with pytest.raises(InputError, match=r"manifest.csv was written without privacy.key_file"):
        make(rules)
    write_manifest([include("A1"), include("A2", record=replace(RECORD, algorithm_version="0"))])
    with pytest.raises(InputError, match="different parameters or algorithm versions"):
        make(rules)
    write_manifest([include("A1")])
    Path("processed/A1.json").unlink()
    with pytest.raises(InputError, match=r"processed/A1.json is missing"):
        make(rules)


def test_a_lost_or_replaced_key_table_renames_nothing(rules: ReleaseSettings) -> None:
    write_manifest([include("A1"), include("A2")])
    make(rules)
    before, table = content(), Path("safe/names.csv")
    kept = table.read_bytes()
    write_manifest([include("A1"), include("A2"), include("A3")])
    with pytest.raises(InputError, match=r"row 2 does not belong to privacy.key_file"):
        make(rules, key=b"o" * 64)
    table.unlink()
    with pytest.raises(InputError, match=r"does not know trn00001, trn00002 of release/"):
        make(rules)
    assert not table.exists()
    table.write_bytes(kept)
    table.chmod(0o644)
    with pytest.raises(InputError, match="readable by others"):
        make(rules)
    assert content() == before
    table.chmod(0o600)
    make(rules)
    assert len(metadata()) == 3


def test_files_of_others_in_the_folder_are_not_removed(rules: ReleaseSettings) -> None:
    write_manifest([include("A1")])
    make(rules)
    Path("release/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="release/ holds 1 files that this command did not write"):
        make(rules)
    assert Path("release/notes.txt").read_text() == "mine"


def test_a_full_disk_leaves_the_earlier_release(
    rules: ReleaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest([include("A1")])
    make(rules)
    before = content()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_manifest([include("A1"), include("A2")])
    with monkeypatch.context() as patch:
        patch.setattr(release, "copy", full)
        with pytest.raises(OSError, match="No space"):
            make(rules)
    assert content() == before
    assert not list(Path().glob(".release*"))
    make(rules)
    assert len(metadata()) == 2


@pytest.mark.parametrize("moment", ["building", "between the two renames", "tidying up"])
def test_a_run_that_was_killed_is_made_up_for(rules: ReleaseSettings, moment: str) -> None:
    write_manifest([include("A1")])
    make(rules)
    before = content()
    if moment == "building":
        shutil.copytree("release", ".release.part")
    elif moment == "between the two renames":
        Path("release").rename(".release.old")
        shutil.copytree(".release.old", ".release.part")
    else:
        shutil.copytree("release", ".release.old")
    assert make(rules) == ["release/ has 1 scan, as before: nothing to do"]
    assert content() == before
    assert not list(Path().glob(".release*"))


def test_a_release_on_another_disk_may_be_linked_to(rules: ReleaseSettings, here: Path) -> None:
    (here / "elsewhere").mkdir()
    Path("release").symlink_to(here / "elsewhere")
    write_manifest([include("A1")])
    make(rules)
    assert Path("release").is_symlink()
    assert (here / "elsewhere" / "trn00001.npz").exists()


def test_the_columns_are_chosen_one_by_one() -> None:
    """A column that the manifest gains is not released before somebody decides so."""
    withheld = {"accession", "patient", "status", "status_reason", "series_uid_hash", "age_years"}
    withheld |= {"sex", "raw_bytes", "npz_bytes", "review", "body_part", "regions"}
    withheld |= {"full_filename_b2nd"}
    told = {"split", "flags", *release.LOG, *release.MEASURED}
    assert told | withheld == set(manifest.COLUMNS)


def test_damage_in_place_is_seen_and_mended(rules: ReleaseSettings) -> None:
    """Of the same size, and with nothing new to release."""
    write_manifest([include("A1"), include("A2")])
    make(rules)
    before = {path.name: path.read_bytes() for path in Path("release").iterdir()}
    path = Path("release/trn00001.npz")
    path.write_bytes(path.read_bytes()[:-30] + b"\1" + path.read_bytes()[-29:])
    assert make(rules) == ["release/ has 2 scans"]
    assert {path.name: path.read_bytes() for path in Path("release").iterdir()} == before


def test_one_release_at_a_time(rules: ReleaseSettings) -> None:
    write_manifest([include("A1")])

    def meanwhile(common: set[str]) -> Identities:
        with pytest.raises(InputError, match="another release is under way"):
            make(rules)
        return known(common)

    told = release.make(rules, key=KEY, reviews={}, identities=meanwhile, threads=2)
    assert told == ["release/ has 1 scan"]
    assert make(rules) == ["release/ has 1 scan, as before: nothing to do"]


def test_the_card_says_what_its_makers_wrote(rules: ReleaseSettings) -> None:
    write_manifest([include("A1")])
    with pytest.raises(InputError, match=r"release\.about: about\.md cannot be read"):
        make(replace(rules, about="about.md"))
    Path("about.md").write_text("All adults who came in for *screening*.\n")
    make(replace(rules, about="about.md"))
    card = Path("release/README.md").read_text()
    assert "## About\n\nAll adults who came in for *screening*.\n\n## Sets" in card
    make(replace(rules, about="about.md"))
    assert Path("release/README.md").read_text() == card
    Path("about.md").write_text("Quoted from the note of Esmeralda.")
    with pytest.raises(InputError, match=r"README\.md: byte \d+: patient name"):
        make(replace(rules, about="about.md"))
    assert Path("release/README.md").read_text() == card


# Scanners, and spreadsheets


def test_words_of_a_scanner_that_are_not_listed_are_generalised(rules: ReleaseSettings) -> None:
    write_manifest([include("A1", manufacturer="SIEMENS Esmeralda", convolution_kernel="Br40d")])
    with pytest.raises(InputError, match=r"release\.scanner_terms"):
        make(rules)
    make(replace(rules, scanner_terms=("Siemens Healthineers", "br40D")))
    (row,) = metadata().values()
    assert row["manufacturer"] == "SIEMENS other"
    assert row["convolution_kernel"] == "Br40d"
    assert "Esmeralda" not in Path("release/README.md").read_text()


def test_an_empty_list_of_scanner_terms_names_none(rules: ReleaseSettings) -> None:
    write_manifest([include("A1", manufacturer="GE MEDICAL SYSTEMS", model="LightSpeed 16")])
    make(replace(rules, scanner_terms=()))
    (row,) = metadata().values()
    assert (row["manufacturer"], row["model"]) == ("other", "other")


def test_the_table_is_safe_in_a_spreadsheet(rules: ReleaseSettings) -> None:
    write_manifest([include("A1", nodule='=HYPERLINK("http://x")', z_error_mm=-0.5)])
    make(rules)
    (row,) = metadata().values()
    assert row["nodule"] == '\'=HYPERLINK("http://x")'
    assert row["z_error_mm"] == "-0.5"


def chunk(accession: str) -> dict[str, Any]:
    row = include(accession)
    chunked.write(Path("processed") / row["full_filename_npz"], Path(f"chunked/{accession}.b2nd"))
    return {**row, "full_filename_b2nd": f"{accession}.b2nd"}


def test_chunked_volumes_are_released_on_request(rules: ReleaseSettings) -> None:
    write_manifest([chunk("A1"), chunk("A2")])
    make(rules)
    assert not list(Path("release").glob("*.b2nd"))
    asked = replace(rules, chunked=True)
    assert make(asked) == ["release/ has 2 scans"]
    for accession, name in names().items():
        released = Path("release") / f"{name}.b2nd"
        assert released.read_bytes() == Path(f"chunked/{accession}.b2nd").read_bytes()
        assert f"{sha256(released)}  {name}.b2nd" in Path("release/SHA256SUMS").read_text()
    assert "`*.b2nd`" in Path("release/README.md").read_text()
    assert make(asked) == ["release/ has 2 scans, as before: nothing to do"]
    inodes = {p.name: p.stat().st_ino for p in Path("release").glob("*.b2nd")}
    write_manifest([chunk("A1"), chunk("A2"), chunk("A3")])
    damaged = Path("release") / f"{names()['A1']}.b2nd"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\1")
    make(asked)
    kept = {n for n, inode in inodes.items() if (Path("release") / n).stat().st_ino == inode}
    assert kept == {f"{names()['A2']}.b2nd"}  # linked; the damaged one is copied anew
    assert damaged.read_bytes() == Path("chunked/A1.b2nd").read_bytes()
    make(rules)
    assert not list(Path("release").glob("*.b2nd"))


def test_a_chunked_volume_of_other_voxels_is_not_released(rules: ReleaseSettings) -> None:
    write_manifest([chunk("A1")])
    include("A2")
    chunked.write(Path("processed/A2.npz"), Path("chunked/A1.b2nd"))
    with pytest.raises(InputError, match=r"chunked/A1.b2nd: has other voxels"):
        make(replace(rules, chunked=True))
    write_manifest([include("A1")])
    with pytest.raises(InputError, match=r"names no chunked volume of A1; run snakemake chunked"):
        make(replace(rules, chunked=True))


# What programs read of it


def described() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path("release/croissant.json").read_text())
    return content


def test_croissant_describes_every_file_and_every_column(rules: ReleaseSettings) -> None:
    write_manifest([chunk("A1"), chunk("A2")])
    make(replace(rules, chunked=True))
    content = described()
    table, *sets = content["distribution"]
    size = Path("release/metadata.csv").stat().st_size
    assert (table["sha256"], table["contentSize"]) == (
        sha256(Path("release/metadata.csv")),
        str(size),
    )
    there = {path.name for path in Path("release").iterdir()}
    matched = {name for each in sets for name in there if fnmatch(name, each["includes"])}
    assert there - matched == {"README.md", "SHA256SUMS", "croissant.json", table["contentUrl"]}
    splits, scans = content["recordSet"]
    assert [row["splits/name"] for row in splits["data"]] == ["train", "val", "test"]
    columns = list(next(iter(metadata().values())))
    assert [field["source"]["extract"]["column"] for field in scans["field"]] == columns
    assert [field["name"] for field in scans["field"]] == columns
    assert all(field["description"] for field in scans["field"])
    ids = [field["@id"] for each in (splits, scans) for field in each["field"]]
    ids += [each["@id"] for each in (*content["distribution"], splits, scans)]
    assert len(ids) == len(set(ids))
    (split,) = [field for field in scans["field"] if "references" in field]
    assert (split["name"], split["references"]) == ("split", {"field": splits["key"]})
    make(rules)
    assert [each["@id"] for each in described()["distribution"]] == ["metadata.csv", "npz"]


def front_matter() -> dict[str, Any]:
    _, matter, _ = Path("release/README.md").read_text().split("---\n", 2)
    content: dict[str, Any] = yaml.safe_load(matter)
    return content


def test_the_title_is_that_of_what_was_measured(rules: ReleaseSettings) -> None:
    for lung_ml, expected, tags in ((4000, "Chest CT volumes", ["chest"]), ("", "CT volumes", [])):
        write_manifest([include("A1", lung_ml=lung_ml)])
        make(rules)
        matter = front_matter()
        assert f"\n# {expected}\n" in Path("release/README.md").read_text()
        assert matter["pretty_name"] == described()["name"] == expected
        assert matter["tags"] == described()["keywords"]
        assert matter["tags"][3:] == tags
        assert matter["size_categories"] == ["n<1K"]
        assert matter["configs"][0]["data_files"] == [{"split": "scans", "path": "metadata.csv"}]


@pytest.mark.parametrize(
    ("licence", "front", "croissant"),
    [
        (None, {}, None),
        ("CC BY 4.0", {"license": "cc-by-4.0"}, "https://spdx.org/licenses/CC-BY-4.0"),
        ("CC0-1.0", {"license": "cc0-1.0"}, "https://spdx.org/licenses/CC0-1.0"),
        (
            "cc by-nc sa 4.0",
            {"license": "cc-by-nc-sa-4.0"},
            "https://spdx.org/licenses/CC-BY-NC-SA-4.0",
        ),
        (
            "Our: data use, v. 2",
            {"license": "other", "license_name": "our-data-use-v.-2"},
            {"@type": "sc:CreativeWork", "name": "Our: data use, v. 2"},
        ),
    ],
)
def test_a_licence_is_said_as_each_format_wants_it(
    rules: ReleaseSettings, licence: str | None, front: dict[str, str], croissant: object
) -> None:
    write_manifest([include("A1")])
    make(replace(rules, licence=licence))
    assert {k: v for k, v in front_matter().items() if k.startswith("license")} == front
    assert described().get("license") == croissant


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 0, ""), "sc:Integer"),
        ((1, 0.5, "-2e3"), "sc:Float"),
        (("yes", "no", ""), "sc:Text"),
        (("007", "012", "1"), "sc:Text"),
        (("", "", ""), "sc:Text"),
    ],
)
def test_labels_have_the_type_of_all_their_values(
    rules: ReleaseSettings, values: tuple[object, ...], expected: str
) -> None:
    write_manifest([include(f"A{number}", nodule=value) for number, value in enumerate(values)])
    make(rules)
    field = described()["recordSet"][1]["field"][-1]
    assert (field["name"], field["dataType"]) == ("nodule", [expected, "cr:Label"])


def test_the_guard_reads_what_programs_read(rules: ReleaseSettings) -> None:
    write_manifest([include("A1")])
    with pytest.raises(InputError, match=r"croissant\.json: license\.name: patient name"):
        make(replace(rules, licence="ask Esmeralda"))


READ = """
import json, sys
import mlcroissant

dataset = mlcroissant.Dataset(sys.argv[1])
records = [
    {key: value.decode() if isinstance(value, bytes) else value for key, value in record.items()}
    for record in dataset.records("scans")
]
print(json.dumps([sorted(dataset.metadata.ctx.issues.warnings), records]))
"""


@pytest.mark.skipif(
    find_spec("mlcroissant") is None,
    reason="mlcroissant, of requirements-dev.lock, is not installed",
)
def test_mlcroissant_finds_no_fault_and_reads_every_record(rules: ReleaseSettings) -> None:
    """A label's name may be anything, an identifier of Croissant may not."""
    odd = "growth (mm/a) #1 é|x"
    write_manifest(
        [
            include("A1", split="val", kvp=120, zdiffs_all_equal="true", final_square=400)
            | {odd: 0.5},
            include("A2", orig_yxspacing=0.7, nodule="", transform=[[0, 0, 1, 2.5]]) | {odd: ""},
        ]
    )
    make(rules)
    done = subprocess.run(
        [sys.executable, "-c", READ, "release/croissant.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    warnings, records = json.loads(done.stdout)
    missing = ("citeAs", "datePublished", "version")  # nobody has told
    assert len(warnings) == len(missing)
    assert all(any(word in line for word in missing) for line in warnings)
    fields = {f["@id"]: f for f in described()["recordSet"][1]["field"]}
    read = {"sc:Integer": int, "sc:Float": float, "sc:Text": str, "sc:Boolean": bool}
    table = list(metadata().values())
    assert len(records) == len(table) == 2
    for record, row in zip(records, table, strict=True):
        assert record.keys() == fields.keys()
        for identifier, field in fields.items():
            kind = field["dataType"]
            kind = read[kind if isinstance(kind, str) else kind[0]]
            text, value = row[field["name"]], record[identifier]
            assert value == (None if text == "" else text == "true" if kind is bool else kind(text))
