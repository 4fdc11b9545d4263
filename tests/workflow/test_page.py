"""The page of a data set that Snakemake really made."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from typing import Any

from .conftest import ONE, PATIENTS, THIN, TWO, Site, jobs
from .test_what_changes import NOTHING


def contents(site: Site) -> dict[str, Any]:
    """What the page says."""
    html = (site.folder / "report.html").read_text(encoding="utf-8")
    (text,) = re.findall(r'id="data">(.*?)</script>', html, re.DOTALL)
    content: dict[str, Any] = json.loads(text)
    return content


def test_the_page_is_asked_for_by_name_and_brings_the_pictures(site: Site) -> None:
    assert site.run("report.html").jobs == {*jobs("draw_scan", ONE, TWO), "report_page"}
    assert site.run("report.html").jobs == NOTHING
    for gone in ("report.html", f"qc/thumbnails/{ONE}.webp"):
        (site.folder / gone).unlink()
    assert site.run("report.html").jobs == {*jobs("draw_scan", ONE), "report_page"}
    said = contents(site)
    assert said["state"] == "finished"
    assert said["thumbnails"] == said["pictures"] == [0, 1]
    rows = site.rows("manifest.csv")
    assert said["accessions"] == [row["accession"] for row in rows]
    assert said["flow"][-1]["count"] == Counter(r["status"] for r in rows)["included"] == 2
    (geometry,) = (step for step in said["flow"] if step["name"] == "geometry")
    assert [(group["reason"], group["count"]) for group in geometry["lost"]] == [
        ("too_few_slices", 1)
    ]


def test_a_review_makes_the_manifest_and_the_page_again_and_nothing_else(site: Site) -> None:
    site.run("report.html")
    site.write("reviews.csv", f"accession,verdict\n{ONE},bad\n")
    assert site.run("report.html").jobs == {"write_manifest", "report_page"}
    review = contents(site)["review"]
    assert [review["known"][code] for code in review["codes"]] == ["bad", "", ""]
    assert site.run("report.html").jobs == NOTHING


def test_a_wrong_review_is_one_clear_error_and_leaves_the_page_of_before(site: Site) -> None:
    site.run("report.html")
    before = (site.folder / "report.html").read_bytes()
    site.write("reviews.csv", f"accession,verdict\n{ONE},secret words\n")
    run = site.run("report.html", ok=False)
    assert "secret" not in run.output
    log = (site.folder / "logs" / "write_manifest.log").read_text()
    assert log.startswith(f"error: reviews.csv: the verdict of accession {ONE}")
    assert (site.folder / "report.html").read_bytes() == before


def test_the_parameters_are_those_that_the_stages_noted(site: Site) -> None:
    site.configure({"series.min_slices": 20, "splits.seed": 7, "volume.max_gap_mm": 12})
    site.run("report.html")
    said = contents(site)["run"]["parameters"]
    assert said["series"]["min_slices"] == 20
    assert said["splits"]["seed"] == 7
    assert said["volume"] | {"max_gap_mm": 12, "spacing_mm": [6.5] * 3} == said["volume"]
    assert said["columns"]["mrn"] == "MRN"
    assert said["select"]["protocols"]
    assert "archive" not in said
    assert "partition" not in said


def test_a_part_says_which_it_is(fresh: Site) -> None:
    fresh.configure({"partition": "1/2"})
    fresh.run("accessions.txt")
    fresh.script("write_report.py")
    said = contents(fresh)
    assert said["table"]["partition"] == said["run"]["parameters"]["partition"] == "1/2"


def test_the_page_can_be_made_at_any_moment_of_a_run(fresh: Site) -> None:
    fresh.run("series.csv")
    fresh.script("write_report.py")
    said = contents(fresh)
    assert said["state"] == "going on"
    assert {step["name"]: step["count"] for step in said["flow"]} == {
        "accession": 3,
        "found": 3,
        "original": 3,
        "geometry": 2,
        "downloaded": 0,
        "volume": 0,
    }
    fresh.run(f"raw/{ONE}")
    fresh.script("write_report.py")
    assert [step["count"] for step in contents(fresh)["flow"]][-2:] == [1, 0]


def test_before_anything_is_selected_there_is_one_clear_error(fresh: Site) -> None:
    done = subprocess.run(
        [sys.executable, str(fresh.workflow / "scripts" / "write_report.py")],
        cwd=fresh.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "nothing has been selected yet" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_is_named_on_the_page(site: Site) -> None:
    site.write("reviews.csv", f"accession,verdict,note\n{ONE},bad,saw Quasimodo\n")
    site.run("report.html")
    html = (site.folder / "report.html").read_text(encoding="utf-8")
    for who in PATIENTS.values():
        for secret in (who.patient_id, *who.patient_name.split("^"), who.birth_date):
            assert secret not in html
    for row in site.rows("series.csv"):
        for column in ("study_uid", "series_uid"):
            assert row[column]
            assert row[column] not in html
    assert "Hippocampal" not in html
    assert str(site.folder) not in html
    assert {ONE, TWO, THIN} <= set(contents(site)["accessions"])
