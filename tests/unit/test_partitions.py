"""Parts of a cohort: a stable division, and a merge that refuses what is not whole."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ctcohort.base.faults import InputError
from ctcohort.base.files import read_table, write_lines, write_sealed_json, write_table
from ctcohort.base.naming import name_of
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.selection import select
from ctcohort.cohort.splits import assign
from ctcohort.config.settings import SelectSettings
from ctcohort.dataset import manifest, merging
from ctcohort.series import series_table

COLUMNS = {"accession": "A", "mrn": "M", "protocol": "P", "study_uid": None}
RULES = SelectSettings(protocols=("chest",))
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
PARTS = 3
COUNT = 40


def table(path: Path, count: int = COUNT) -> Path:
    """A report table in which every patient has two accessions."""
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["A", "M", "P"])
        writer.writerows([f"ACC {n}", f"{n // 2:05d}", "Chest"] for n in range(count))
    return path


def make(directory: Path, reports: Path, part: tuple[int, int] | None) -> Path:
    """A finished working directory, its volumes a few bytes each; every seventh is excluded."""
    found = select(reports, COLUMNS, RULES, partition=part or (1, 1))
    directory.mkdir()
    home = Path.cwd()
    os.chdir(directory)
    try:
        if part:
            merging.keep(part, found.whole)
        names = [event.accession for event in found.wanted]
        cohort = [
            {"accession": e.accession, "patient_mrn": e.patient_mrn, "split": ""}
            for e in found.wanted
        ]
        cohort = [{**event, "problem": ""} for event in cohort]
        splits = assign(cohort, SHARES, seed=0, key=None, given=False)
        write_lines(Path("accessions.txt"), names)
        write_table(Path("cohort.csv"), ("accession", "patient_mrn", "split", "problem"), cohort)
        write_table(Path("splits.csv"), ("accession", "patient", "split"), splits)
        rows, series = [], []
        for name, split in zip(names, splits, strict=True):
            status = "excluded" if int(name.split()[1]) % 7 == 0 else "included"
            rows.append({**split, "status": status, "npz_sha256": name})
            series += [{"accession": name, "series_uid": uid} for uid in ("1", "2")]
            if status == "included":
                volume = Path("processed") / f"{name_of(name)}.npz"
                write_sealed_json(volume.with_suffix(".json"), {"parameters_digest": "d"})
                volume.write_text(name)
                for template in merging.PICTURES:
                    write_lines(Path(template.format(name_of(name))), ["a picture"])
        protocols = [{"protocol": "chest", "rows": len(found.whole), "selected": True}]
        write_table(Path("protocols.csv"), ("protocol", "rows", "selected"), protocols)
        write_table(Path("manifest.csv"), manifest.COLUMNS, rows)
        write_table(Workdir().series, series_table.COLUMNS, series)
    finally:
        os.chdir(home)
    return directory


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    reports = table(tmp_path / "reports.csv")
    return [make(tmp_path / f"part-{k}", reports, (k, PARTS)) for k in range(1, PARTS + 1)]


def test_the_merge_equals_a_run_that_was_never_divided(parts: list[Path], tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", tmp_path / "reports.csv", None)
    merged = tmp_path / "merged"
    for _ in range(2):  # and may be done again
        merging.merge(parts[::-1], merged)
        names = ("accessions.txt", "cohort.csv", "series.csv", "splits.csv", "manifest.csv")
        for name in (*names, "protocols.csv"):
            assert (merged / name).read_bytes() == (whole / name).read_bytes(), name
        for folder in ("processed", "qc", "qc/thumbnails"):
            made = sorted(path for path in (whole / folder).iterdir() if path.is_file())
            linked = (path for path in (merged / folder).iterdir() if path.is_file())
            assert sorted(path.name for path in linked) == [path.name for path in made]
            for path in made:
                assert (merged / folder / path.name).read_bytes() == path.read_bytes()


def test_a_part_whose_pictures_were_not_made_is_merged_too(
    parts: list[Path], tmp_path: Path
) -> None:
    shutil.rmtree(parts[1] / "qc")
    merging.merge(parts, tmp_path / "merged")
    there = {path.name for part in parts[::2] for path in (part / "qc").glob("*.png")}
    assert {path.name for path in (tmp_path / "merged" / "qc").glob("*.png")} == there


def test_an_accession_keeps_its_part_when_rows_are_added(tmp_path: Path) -> None:
    few, many = table(tmp_path / "few.csv", 20), table(tmp_path / "many.csv", 200)
    for part in range(1, PARTS + 1):
        before = {e.accession for e in select(few, COLUMNS, RULES, partition=(part, PARTS)).wanted}
        after = {e.accession for e in select(many, COLUMNS, RULES, partition=(part, PARTS)).wanted}
        assert before <= after


def test_a_part_without_accessions_is_a_part(tmp_path: Path) -> None:
    reports = table(tmp_path / "reports.csv", 3)
    parts = [make(tmp_path / f"part-{k}", reports, (k, 8)) for k in range(1, 9)]
    merging.merge(parts, tmp_path / "merged")
    assert len(list(read_table(tmp_path / "merged" / "manifest.csv"))) == 3


def missing_part(parts: list[Path]) -> None:
    parts.pop()


def double_part(parts: list[Path]) -> None:
    parts.append(parts[0])


def copied_part(parts: list[Path]) -> None:
    parts[1] = Path(shutil.copytree(parts[0], parts[0].with_name("copy")))


def other_division(parts: list[Path]) -> None:
    reports = parts[0].parent / "reports.csv"
    parts[2] = make(parts[0].with_name("other"), reports, (3, 4))


def other_table(parts: list[Path]) -> None:
    longer = table(parts[0].parent / "longer.csv", COUNT + 5)
    parts[2] = make(parts[0].with_name("other"), longer, (3, PARTS))


def no_partition(parts: list[Path]) -> None:
    Workdir(parts[0]).partition.unlink()


def unfinished(parts: list[Path]) -> None:
    (parts[1] / "manifest.csv").unlink()


def lost_row(parts: list[Path]) -> None:
    lines = (parts[1] / "manifest.csv").read_text().splitlines()
    write_lines(parts[1] / "manifest.csv", lines[:-1])


def shared_accession(parts: list[Path]) -> None:
    for name in ("accessions.txt", "manifest.csv"):
        taken = (parts[0] / name).read_text().splitlines()[-1]
        with open(parts[1] / name, "a") as stream:
            stream.write(taken + "\n")


def other_parameters(parts: list[Path]) -> None:
    record = next((parts[1] / "processed").glob("*.json"))
    record.write_text(json.dumps({"parameters_digest": "e"}, indent=1))


def lost_volume(parts: list[Path]) -> None:
    next((parts[1] / "processed").glob("*.npz")).unlink()


def other_config(parts: list[Path]) -> None:
    for part in parts:
        (part / "config.yaml").write_text("{}" if part == parts[0] else "splits: {seed: 1}")


def other_key(parts: list[Path]) -> None:
    Workdir(parts[1]).key_fingerprint.write_text("other\n")


def changed(part: Path, name: str, column: str, value: str, row: int) -> None:
    rows = list(read_table(part / name))
    rows[row][column] = value
    write_table(part / name, list(rows[0]), rows)


def patient_in_two_sets(parts: list[Path]) -> None:
    for part in parts[:2]:
        changed(part, "cohort.csv", "patient_mrn", "one patient", 1)
    changed(parts[0], "splits.csv", "split", "train", 1)
    changed(parts[1], "splits.csv", "split", "test", 1)


def same_voxels_in_two_sets(parts: list[Path]) -> None:
    for part, split in zip(parts, ("train", "test"), strict=False):
        for column, value in (("status", "included"), ("npz_sha256", "x"), ("split", split)):
            changed(part, "manifest.csv", column, value, 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing_part, "missing: 3/3"),
        (double_part, "both part 1/3"),
        (copied_part, "both part 1/3"),
        (other_division, "of another division: 3/4"),
        (other_table, "different tables"),
        (no_partition, "is missing; expected .* to be the working directory of a run with"),
        (unfinished, "the part is not finished"),
        (lost_row, "not in the manifest of its part"),
        (shared_accession, "is in another part too"),
        (other_parameters, "different parameters"),
        (lost_volume, "npz: missing"),
        (other_config, "config.yaml differ"),
        (other_key, "privacy.key_file"),
        (patient_in_two_sets, "of one patient"),
        (same_voxels_in_two_sets, "identical voxels"),
    ],
)
def test_what_is_not_whole_is_refused_and_nothing_is_written(
    parts: list[Path], tmp_path: Path, damage: Callable[[list[Path]], None], message: str
) -> None:
    damage(parts)
    with pytest.raises(InputError, match=message):
        merging.merge(parts, tmp_path / "merged")
    assert not (tmp_path / "merged" / "manifest.csv").exists()
