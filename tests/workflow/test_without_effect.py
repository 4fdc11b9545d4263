"""What a person changes in the config or a table has an effect or is an error, never neither."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ONE, THIN, TWO, Site, table_of, write_reports


def misspell_exclusions(site: Site) -> None:
    site.write("withdrawn.csv", f"accession,reason\n{ONE},withdrew\n")
    site.configure({"exclusions": "withdrwan.csv"})


def misspell_merged(site: Site) -> None:
    site.configure({"merged_mrns": "megred.csv"})


def lose_the_reports(site: Site) -> None:
    (site.folder / "reports.csv").unlink()


def misspell_reviews(site: Site) -> None:
    site.configure({"reviews": "reveiws.csv"})


def lose_the_archive(site: Site) -> None:
    (site.folder / "archive").rename(site.folder / "elsewhere")


def lose_the_key(site: Site) -> None:
    site.configure({"privacy.key_file": "~/nowhere/key"})


def rename_the_config(site: Site) -> None:
    (site.folder / "config.yaml").rename(site.folder / "config.yml")


def break_the_config(site: Site) -> None:
    site.write("config.yaml", "volume: {spacing_mm: 6.5}\nselect:\n\tsample: 1\n")


def repeat_a_key(site: Site) -> None:
    site.write("config.yaml", "volume: {spacing_mm: 6.5}\nraw: keep\nvolume: {clip_hu: [0, 1]}\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (misspell_exclusions, "exclusions: {}/withdrwan.csv does not exist"),
        (misspell_merged, "merged_mrns: {}/megred.csv does not exist"),
        (lose_the_reports, "reports: {}/reports.csv does not exist"),
        (misspell_reviews, "reviews: {}/reveiws.csv does not exist"),
        (lose_the_archive, "archive.folder.path: {}/archive is no folder"),
        (lose_the_key, "privacy.key_file: {}/nowhere/key does not exist"),
        (rename_the_config, "config.yml in the working directory is not read"),
        (break_the_config, "config.yaml: line 3, column 1: is not YAML"),
        (repeat_a_key, "config.yaml: line 3: volume was set in line 1"),
    ],
)
def test_a_finished_data_set_does_not_say_that_there_is_nothing_to_do(
    site: Site, change: Callable[[Site], None], said: str
) -> None:
    site.environment = {**site.environment, "HOME": str(site.folder)}
    change(site)
    run = site.run(ok=False)
    assert said.format(site.folder) in run.output
    assert "Nothing to be done" not in run.output
    assert "Traceback" not in run.output
    assert not run.jobs


def put(path: Path, text: str) -> None:
    """A file with a time stamp of long ago, moved into place."""
    other = path.with_name("other")
    other.write_text(text)
    os.utime(other, (1e9, 1e9))
    other.rename(path)


def test_a_table_that_an_older_file_replaces_is_noticed(site: Site) -> None:
    put(site.folder / "left_out.csv", "accession,reason\nA9999,x\n")
    site.configure({"exclusions": "left_out.csv"})
    site.run()
    put(site.folder / "left_out.csv", f"accession,reason\n{ONE},withdrew\n")
    shutil.rmtree(site.folder / ".snakemake")
    assert {"index_series", "write_manifest"} <= site.run().jobs
    reasons = {row["accession"]: row["status_reason"] for row in site.rows("manifest.csv")}
    assert reasons[ONE] == "excluded_by_user"

    put(site.folder / "reviews.csv", f"accession,verdict\n{TWO},good\n")
    site.run()
    put(site.folder / "reviews.csv", f"accession,verdict\n{TWO},bad\n")
    assert site.run().jobs == {"write_manifest"}
    put(site.folder / "reviews.csv", f"accession,verdict\n{TWO},good\n")
    assert site.run().jobs == {"write_manifest"}
    assert {row["accession"]: row["review"] for row in site.rows("manifest.csv")}[TWO] == "good"

    write_reports(site.folder, table_of(TWO, THIN))
    put(site.folder / "reports.csv", (site.folder / "reports.csv").read_text())
    assert "select_accessions" in site.run().jobs
    assert [row["accession"] for row in site.rows("manifest.csv")] == [TWO, THIN]
    assert site.run().jobs == set()


def test_a_run_ends_with_what_became_of_it_whatever_the_quiet(fresh: Site) -> None:
    audit = fresh.run("--quiet", "all", "--", "series.csv").output
    assert "2 scans selected from 4 series" in audit
    assert "to fetch: 2 series" in audit
    said = fresh.run("--quiet", "all").output
    assert "3 accessions: 2 included, 1 excluded" in said
    assert "        1 excluded: too_few_slices" in said
    assert "report.html" in said


def test_a_plain_run_shows_how_far_it_is_and_no_job_but_every_error(fresh: Site) -> None:
    fresh.run("series.csv")
    (fresh.folder / "archive" / "2").rename(fresh.folder / "elsewhere")
    command = [word for word in fresh.command() if word != "--printshellcmds"]
    done = subprocess.run(command, cwd=fresh.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "rule download_series:\n    input" not in done.stderr
    assert "Error in rule download_series" in done.stderr
    assert "1 of 2 scans; 1 downloads, " in done.stderr
    assert "3 accessions: 1 included, 1 excluded, 1 failed" in done.stderr
    logs = (fresh.folder / ".snakemake" / "log").glob("*.log")
    assert "rule download_series:" in "".join(path.read_text() for path in logs)
