"""What a change regenerates, and nothing else: every line of the README's table, as real runs.

Each test changes one thing after a finished first run, runs the workflow again, and says exactly
which jobs that run did.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ctcohort.cohort.splits import split_of

from .conftest import (
    ABDOMEN,
    CHEST,
    CONFIG,
    LATER,
    ONE,
    OTHER,
    OTHER_CHEST,
    PATIENTS,
    ROOT,
    THIN,
    TWO,
    Run,
    Site,
    jobs,
    table_of,
    write_reports,
)

Change = Callable[[Site], None]

NOTHING: set[str] = set()
VOLUMES = jobs("preprocess_volume", ONE, TWO)
REMADE = {*VOLUMES, "write_manifest"}
"""Every volume, and what lists them; no download."""
LISTED = {"index_series", "write_manifest"}
"""A series table with other content, and what reads it."""
TABLES = {"select_accessions", "index_series", "assign_splits", "write_manifest"}


def scan(name: str) -> set[str]:
    """Everything that makes one volume."""
    return jobs("download_series", name) | jobs("preprocess_volume", name)


def assert_nothing_to_do(site: Site) -> None:
    """The same command has nothing left to do."""
    again = site.run()
    assert again.jobs == NOTHING
    assert "Nothing to be done" in again.output


def test_the_first_run_makes_what_the_headers_allow(finished: tuple[Path, Run]) -> None:
    folder, first = finished
    assert first.jobs == {*TABLES, *scan(ONE), *scan(TWO)}
    reasons = {row["accession"]: row["status_reason"] for row in Site(folder).rows("manifest.csv")}
    assert reasons == {ONE: "", TWO: "", THIN: "too_few_slices"}
    assert_nothing_to_do(Site(folder))


# Nothing


def reorder(site: Site) -> None:
    """The same config in another order, ``6.5`` as ``6.50``, neutral options spelled out."""
    site.write(
        "config.yaml",
        """\
series: {min_fov_mm: null, prefer_kernels: [], min_slices: 31.0, allow_lossy: false}
volume:
  max_gap_mm: 10
  clip_hu: [-1000.0, 1000]
  spacing_mm: [6.50, 6.5, 6.5]
splits: {seed: 0, test: 0.20, train: 0.70, val: 0.1}
select: {sample: null, protocols_regex: []}
columns: {carry: [], study_uid: null, protocol: Protocol, mrn: MRN}
archive: {folder: {link: false, path: archive}, check_patient: false}
privacy: {key_file: null}
partition: null
exclusions: null
reviews: reviews.csv
""",
    )


def move_archive(site: Site) -> None:
    (site.folder / "archive").rename(site.folder / "moved archive")
    site.configure({"archive.folder.path": "moved archive"})


def touch_inputs(site: Site) -> None:
    """The report table with a new time stamp and the same content."""
    (site.folder / "reports.csv").touch()


@pytest.mark.parametrize(
    "change",
    [
        reorder,
        move_archive,
        touch_inputs,
        lambda site: site.configure({"archive.connections": 1}),
        lambda site: site.configure({"archive.accession_prefixes": ["", "X"]}),
    ],
    ids=["neutral", "archive_moved", "table_touched", "connections", "prefixes"],
)
def test_a_change_without_meaning_runs_nothing(site: Site, change: Change) -> None:
    change(site)
    assert_nothing_to_do(site)


def test_threads_memory_and_verbosity_run_nothing(site: Site) -> None:
    run = site.run(
        *("--set-threads", "preprocess_volume=2", "index_series=1"),
        *("--set-resources", "preprocess_volume:mem_mb=4321"),
        "--printshellcmds",
        cores=1,
    )
    assert run.jobs == NOTHING


def test_an_archive_that_moved_is_used_where_it_is_now(site: Site) -> None:
    move_archive(site)
    write_reports(site.folder, table_of(ONE, TWO, THIN, OTHER, LATER))
    assert site.run().jobs == TABLES | scan(LATER)


def clone(tree: Path) -> None:
    """The same content, with every time stamp new."""
    assert (tree / "Snakefile").stat().st_mtime > (ROOT / "Snakefile").stat().st_mtime


def edit_rules(tree: Path) -> None:
    """A blank and a comment in the text of every command."""
    for path in (tree / "rules").glob("*.smk"):
        path.write_text(path.read_text().replace("> {log:q} 2>&1", ">  {log:q} 2>&1 # edited"))
    assert "# edited" in (tree / "rules" / "download.smk").read_text()


def edit_environments(tree: Path) -> None:
    for path in (tree / "envs").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        content["dependencies"].append("zlib")
        path.write_text(yaml.safe_dump(content))


def reformat_scripts(tree: Path) -> None:
    for path in [*(tree / "scripts").rglob("*.py"), tree / "Snakefile", tree / "config.yaml"]:
        path.write_text(path.read_text() + "\n\n# reformatted\n")


@pytest.mark.parametrize("edit", [clone, edit_rules, edit_environments, reformat_scripts])
def test_another_copy_of_the_workflow_runs_nothing(
    site: Site, tmp_path: Path, edit: Callable[[Path], None]
) -> None:
    edit(site.copy_workflow(tmp_path / "another copy"))
    assert_nothing_to_do(site)


def test_an_edited_rule_would_rerun_everything_by_the_default_triggers(
    site: Site, tmp_path: Path
) -> None:
    """Why the profiles name the triggers: so that the test above is not true by accident."""
    edit_rules(site.copy_workflow(tmp_path / "another"))
    run = site.run("--dry-run", "--rerun-triggers", "mtime", "params", "input", "code")
    assert run.jobs & TABLES


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*/*.yaml")), ids=str)
def test_every_profile_has_exactly_the_triggers_that_mean_something(profile: Path) -> None:
    assert yaml.safe_load(profile.read_text())["rerun-triggers"] == ["mtime", "params", "input"]


def test_the_slurm_profile_repeats_what_it_replaces() -> None:
    own, other = (
        yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())
        for name in ("default", "slurm")
    )
    assert own.items() <= other.items()


def test_snakemakes_own_records_lost_run_nothing(site: Site) -> None:
    shutil.rmtree(site.folder / ".snakemake")
    assert_nothing_to_do(site)


def test_a_deleted_series_folder_runs_nothing(site: Site) -> None:
    shutil.rmtree(site.folder / "raw" / ONE)
    assert_nothing_to_do(site)


def test_a_deleted_record_of_the_parameters_remakes_no_volume(site: Site) -> None:
    shutil.rmtree(site.folder / ".parameters")
    assert_nothing_to_do(site)


def test_a_change_that_was_only_looked_at_and_taken_back_runs_nothing(site: Site) -> None:
    site.configure({"volume.spacing_mm": 7, "series.prefer_kernels": ["^B7"]})
    assert "index_series" in site.run("--dry-run").jobs
    site.configure(CONFIG | {"volume.spacing_mm": 6.5, "series.prefer_kernels": []})
    assert_nothing_to_do(site)


def test_scans_that_need_nothing_are_not_even_planned(site: Site) -> None:
    """So that a cohort of any size is looked at within seconds."""
    assert "download_series" not in site.run("--dag").output
    write_reports(site.folder, table_of(ONE, TWO, THIN, OTHER, LATER))
    site.run("series.csv")
    planned = site.run("--dag").output
    assert LATER in planned
    assert ONE not in planned


def test_a_newer_time_stamp_of_the_same_content_runs_nothing(site: Site) -> None:
    (site.folder / "received" / f"{ONE}.json").touch()
    assert "download_series" in site.run("--dag").output
    assert_nothing_to_do(site)


def test_what_is_asked_for_by_force_is_done(site: Site) -> None:
    assert site.run("--forcerun", "preprocess_volume").jobs == REMADE
    assert scan(TWO) <= site.run("--forcerun", "download_series", "--dry-run").jobs
    assert_nothing_to_do(site)


# New accessions


def test_a_row_added_makes_that_scan(site: Site) -> None:
    write_reports(site.folder, table_of(LATER, ONE, TWO, THIN, OTHER))
    assert site.run().jobs == TABLES | scan(LATER)
    assert_nothing_to_do(site)


def test_a_wider_selection_makes_the_scans_it_adds(site: Site) -> None:
    site.configure({"select.protocols": [CHEST, OTHER_CHEST, ABDOMEN]})
    assert site.run().jobs == TABLES | scan(OTHER)
    assert_nothing_to_do(site)


# Index and tables; nothing is deleted


def remove_row(site: Site) -> None:
    write_reports(site.folder, table_of(ONE, THIN, OTHER))


def narrow(site: Site) -> None:
    site.configure({"select.protocols": [CHEST]})


@pytest.mark.parametrize("change", [remove_row, narrow])
def test_a_smaller_selection_deletes_nothing(site: Site, change: Change) -> None:
    change(site)
    assert site.run().jobs == TABLES
    assert [row["accession"] for row in site.rows("manifest.csv")] == [ONE, THIN]
    for left in (f"raw/{TWO}", f"received/{TWO}.json", f"processed/{TWO}.npz"):
        assert (site.folder / left).exists()
    assert_nothing_to_do(site)


def test_exclusions_change_the_tables_alone(site: Site) -> None:
    site.write("exclusions.csv", f"accession,reason\n{TWO},withdrawn\n")
    site.configure({"exclusions": "exclusions.csv"})
    assert site.run().jobs == LISTED
    assert {row["accession"]: row["status_reason"] for row in site.rows("manifest.csv")} == {
        ONE: "",
        TWO: "excluded_by_user",
        THIN: "too_few_slices",
    }
    assert (site.folder / "processed" / f"{TWO}.npz").exists()
    assert_nothing_to_do(site)
    site.write("exclusions.csv", "accession,reason\n")
    assert site.run().jobs == LISTED  # the volume is still there
    assert_nothing_to_do(site)


def test_merged_mrns_put_scans_of_one_patient_into_one_set(site: Site) -> None:
    one, two = (PATIENTS[accession].patient_id for accession in (ONE, TWO))
    shares = {"train": 0.7, "val": 0.1, "test": 0.2}
    apart = (n for n in range(100) if split_of(one, shares, n) != split_of(two, shares, n))
    site.configure({"splits.seed": next(apart)})
    site.run()
    sets = {row["accession"]: row["split"] for row in site.rows("splits.csv")}
    assert sets[ONE] != sets[TWO]
    site.write("merged.csv", f"mrn,merged_into\n{one},{two}\n")
    site.configure({"merged_mrns": "merged.csv"})
    assert site.run().jobs == TABLES
    merged = {row["accession"]: row["split"] for row in site.rows("splits.csv")}
    assert merged[ONE] == merged[TWO] == sets[TWO]
    assert_nothing_to_do(site)


def test_reviews_change_the_manifest_alone(site: Site) -> None:
    site.write("reviews.csv", f"accession,verdict,note\n{ONE},good,\nNOBODY,bad,secret words\n")
    assert site.run().jobs == {"write_manifest"}
    assert {row["accession"]: row["review"] for row in site.rows("manifest.csv")} == {
        ONE: "good",
        TWO: "",
        THIN: "",
    }
    assert_nothing_to_do(site)
    log = (site.folder / "logs" / "write_manifest.log").read_text()
    assert "1 row names no accession of the cohort (NOBODY)" in log
    assert "secret" not in log
    (site.folder / "reviews.csv").unlink()
    assert site.run().jobs == {"write_manifest"}
    assert {row["review"] for row in site.rows("manifest.csv")} == {""}
    assert_nothing_to_do(site)


# series.*


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"series.prefer_kernels": ["^B7"]}, {*LISTED, *scan(ONE)}),
        ({"series.min_slices": 10}, {*LISTED, *scan(THIN)}),
        ({"series.contrast": "none"}, {"index_series"}),
        ({"series.min_fov_mm": 5000}, LISTED),
        ({"series.body_part_exclude": ["chest"]}, LISTED),
    ],
    ids=["another_series", "one_more_scan", "same_choice", "no_scan_left", "no_body_part_left"],
)
def test_series_keys_fetch_what_is_chosen_now(
    site: Site, changes: dict[str, object], expected: set[str]
) -> None:
    site.configure(changes)
    assert site.run().jobs == expected
    assert " 0 read now" in (site.folder / "logs" / "index_series.log").read_text()
    assert_nothing_to_do(site)


def test_the_series_that_was_chosen_first_can_come_back(site: Site) -> None:
    before = (site.folder / "processed" / f"{ONE}.npz").read_bytes()
    site.configure({"series.prefer_kernels": ["^B7"]})
    site.run()
    assert (site.folder / "processed" / f"{ONE}.npz").read_bytes() != before
    site.configure({"series.prefer_kernels": []})
    assert site.run().jobs == LISTED | scan(ONE)
    assert (site.folder / "processed" / f"{ONE}.npz").read_bytes() == before


# volume.*


@pytest.mark.parametrize(
    ("key", "value"), [("spacing_mm", 7), ("interpolator", "linear"), ("clip_hu", [-900, 500])]
)
def test_volume_keys_remake_every_volume_without_a_download(
    site: Site, key: str, value: object
) -> None:
    site.configure({f"volume.{key}": value})
    assert site.run().jobs == REMADE
    assert_nothing_to_do(site)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gantry_tilt", "exclude"),
        ("irregular_spacing", "positions"),
        ("max_z_error_mm", None),
        ("max_gap_mm", 20),
    ],
)
def test_volume_keys_that_can_exclude_redo_the_index_too(
    site: Site, key: str, value: object
) -> None:
    site.configure({f"volume.{key}": value})
    assert site.run().jobs == REMADE | {"index_series"}
    assert_nothing_to_do(site)


def test_a_new_algorithm_remakes_every_volume_without_a_download(
    site: Site, tmp_path: Path
) -> None:
    path = site.copy_workflow(tmp_path / "release") / "scripts" / "ctcohort" / "__init__.py"
    text, count = re.subn(
        r'(?m)^ALGORITHM_VERSION = ".*"$', 'ALGORITHM_VERSION = "x"', path.read_text()
    )
    assert count == 1
    path.write_text(text)
    assert site.run().jobs == REMADE
    assert_nothing_to_do(site)
    assert {row["algorithm_version"] for row in site.rows("manifest.csv")} == {"x", ""}


def test_the_splits_alone_follow_their_seed(site: Site) -> None:
    site.configure({"splits.seed": 1})
    assert site.run().jobs == {"assign_splits", "write_manifest"}


# Deleted by hand


@pytest.mark.parametrize(
    ("deleted", "expected"),
    [
        (f"processed/{ONE}.npz", jobs("preprocess_volume", ONE)),
        (f"processed/{ONE}.json", jobs("preprocess_volume", ONE)),
        (f"received/{ONE}.json", scan(ONE)),
    ],
    ids=["volume", "record", "received"],
)
def test_what_was_deleted_by_hand_is_made_again(
    site: Site, deleted: str, expected: set[str]
) -> None:
    before = (site.folder / deleted).read_bytes()
    (site.folder / deleted).unlink()
    assert site.run().jobs == expected | {"write_manifest"}
    assert (site.folder / deleted).read_bytes() == before
    assert_nothing_to_do(site)


@pytest.mark.parametrize(
    ("deleted", "expected"),
    [
        ("manifest.csv", {"write_manifest"}),
        ("series.csv", {"index_series"}),
        ("splits.csv", {"assign_splits", "write_manifest"}),
        ("accessions.txt", TABLES),
        ("protocols.csv", TABLES),
        ("cohort.csv", TABLES),
    ],
)
def test_a_deleted_table_alone_is_made_again(site: Site, deleted: str, expected: set[str]) -> None:
    (site.folder / deleted).unlink()
    assert site.run().jobs == expected
    assert_nothing_to_do(site)


# Snakemake's own records lost, then a change


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"volume.spacing_mm": 7}, REMADE),
        ({"series.prefer_kernels": ["^B7"]}, {*LISTED, *scan(ONE)}),
        ({"volume.gantry_tilt": "exclude"}, REMADE | {"index_series"}),
        ({"select.protocols": [CHEST, OTHER_CHEST, ABDOMEN]}, TABLES | scan(OTHER)),
        ({"splits.seed": 1}, {"assign_splits", "write_manifest"}),
    ],
    ids=["volume", "series", "verdict", "select", "splits"],
)
def test_a_change_is_noticed_without_snakemakes_own_records(
    site: Site, changes: dict[str, object], expected: set[str]
) -> None:
    shutil.rmtree(site.folder / ".snakemake")
    site.configure(changes)
    assert site.run().jobs == expected
    assert_nothing_to_do(site)


# A run that failed is never "Nothing to be done"


def test_rows_added_before_an_index_that_failed_are_made_by_the_next_run(site: Site) -> None:
    write_reports(site.folder, table_of(ONE, TWO, THIN, LATER))
    site.write("left_out.csv", "accession,why\nA9999,x\n")
    site.configure({"exclusions": "left_out.csv"})
    failed = site.run(ok=False)
    assert failed.jobs == {"select_accessions", "index_series", "assign_splits"}
    assert "expected the columns accession (or mrn) and reason" in failed.output
    assert "Traceback" not in failed.output
    site.write("left_out.csv", "accession,reason\nA9999,x\n")
    assert site.run().jobs == LISTED | scan(LATER)
    assert_nothing_to_do(site)


# The audit


def test_the_dry_run_after_the_ledger_lists_exactly_what_would_be_done(fresh: Site) -> None:
    indexed = fresh.run("series.csv")
    assert indexed.jobs == {"select_accessions", "index_series"}
    assert not (fresh.folder / "raw").exists()
    selected = [row["accession"] for row in fresh.rows("series.csv") if row["selected"] == "true"]
    assert selected == [ONE, TWO]
    planned = fresh.run("--dry-run")
    assert planned.jobs == {
        *("assign_splits", "write_manifest"),
        *scan(ONE),
        *scan(TWO),
    }
    assert fresh.run().jobs == planned.jobs


def test_one_volume_can_be_asked_for_by_name(fresh: Site) -> None:
    run = fresh.run(f"processed/{TWO}.npz")
    assert run.jobs == {"select_accessions", "index_series", *scan(TWO)}
    assert not (fresh.folder / "raw" / ONE).exists()
