"""The page: its numbers are the manifest's, its texts are harmless, and nobody is named on it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks.page.fabricate import fabricate

from ctcohort.base import reasons
from ctcohort.base.faults import InputError
from ctcohort.base.files import read_table, write_table
from ctcohort.base.workdir import Workdir
from ctcohort.page import html
from ctcohort.page.flow import STEPS, VOLUME, flow, meaning, reached, table_rows
from ctcohort.page.oddness import MEASURES, SAID, Spread, oddness, spread
from tests.records import scan_record

COUNT = 400

HOSTILE = (
    '</script><img src=x onerror="document.title=1">',
    "<!--<script>",
    "{{pictures}} {{data}}",
    "'\"><svg/onload=alert(1)>",
    "\u202eabc & \u2028 = \\u003c",
)


@dataclass(frozen=True)
class Made:
    """A page, and what it says."""

    path: Path

    @property
    def html(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def part(self, name: str) -> Any:
        found = re.findall(
            rf'<script type="application/json" id="{name}">(.*?)</script>', self.html, re.DOTALL
        )
        assert len(found) == 1
        return json.loads(found[0])

    @property
    def data(self) -> dict[str, Any]:
        content: dict[str, Any] = self.part("data")
        return content

    def words(self, key: str) -> list[str]:
        columns = {column["key"]: column for column in self.data["words"]}
        columns |= {"flags": self.data["flags"], "review": self.data["review"]}
        return [columns[key]["known"][code] for code in columns[key]["codes"]]


def made(directory: Path) -> Made:
    html.write_page(Workdir(directory), directory / "reviews.csv", directory / "report.html")
    return Made(directory / "report.html")


@pytest.fixture(scope="session")
def fabricated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fabricated") / "cohort"
    fabricate(folder, COUNT, whole=False)
    return folder


@pytest.fixture
def cohort(fabricated: Path, tmp_path: Path) -> Path:
    """A working directory of 400 accessions, for this test alone."""
    return Path(shutil.copytree(fabricated, tmp_path / "cohort"))


def edit(path: Path, changes: dict[int, dict[str, str]]) -> None:
    """Change fields of a table's rows, by the row's place."""
    rows = list(read_table(path))
    for place, change in changes.items():
        rows[place] |= change
    write_table(path, list(rows[0]), rows)


def places(cohort: Path, status: str) -> list[int]:
    rows = enumerate(read_table(cohort / "manifest.csv"))
    return [place for place, row in rows if row["status"] == status]


# Counts


def test_every_accession_is_on_the_page_once_and_in_order(cohort: Path) -> None:
    rows = list(read_table(cohort / "manifest.csv"))
    assert made(cohort).data["accessions"] == [row["accession"] for row in rows]
    assert len(rows) == COUNT


@pytest.mark.parametrize(
    "column", ["status", "status_reason", "split", "manufacturer", "convolution_kernel", "flags"]
)
def test_words_are_those_of_the_manifest(cohort: Path, column: str) -> None:
    rows = read_table(cohort / "manifest.csv")
    assert made(cohort).words(column) == [row[column] for row in rows]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.column)
def test_numbers_are_those_of_the_manifest(cohort: Path, measure: Any) -> None:
    (shown,) = [m for m in made(cohort).data["numbers"] if m["column"] == measure.column]
    for row, value in zip(read_table(cohort / "manifest.csv"), shown["values"], strict=True):
        text = row[measure.column]
        if text:
            assert abs(float(text) * measure.factor - value) <= 0.5000001 * 10**-measure.digits
        else:
            assert value is None


def test_what_is_lost_at_each_step_adds_up_to_the_manifest(cohort: Path) -> None:
    rows = list(read_table(cohort / "manifest.csv"))
    steps = made(cohort).data["flow"]
    lost = {(g["status"], g["reason"]): g["count"] for step in steps for g in step["lost"]}
    excluded = [(r["status"], r["status_reason"]) for r in rows if r["status"] == "excluded"]
    assert lost == dict(Counter(excluded))
    assert steps[-1]["count"] == sum(row["status"] == "included" for row in rows)
    left = COUNT
    for step in steps:
        left -= sum(group["count"] for group in step["lost"])
        assert step["count"] == left


def test_bytes_are_the_sums_of_the_tables(cohort: Path) -> None:
    said = made(cohort).data["bytes"]
    rows = [r for r in read_table(cohort / "manifest.csv") if r["status"] == "included"]
    series = [r for r in read_table(cohort / "series.csv") if r["series_uid"]]
    assert said["raw_bytes"] == sum(int(row["raw_bytes"]) for row in rows)
    assert said["npz_bytes"] == sum(int(row["npz_bytes"]) for row in rows)
    assert said["spared"] == sum(
        int(row["estimated_bytes"]) for row in series if row["reason"] != "selected"
    )
    assert sum(entry["series"] for entry in said["series"]) == len(series)


def test_a_series_of_unknown_size_counts_as_its_images_would(cohort: Path) -> None:
    series = list(read_table(cohort / "series.csv"))
    unknown = next(i for i, row in enumerate(series) if row["reason"] == "fewer_slices")
    edit(cohort / "series.csv", {unknown: {"estimated_bytes": ""}})
    known = sum(
        int(row["estimated_bytes"])
        for row in series
        if row["series_uid"] and row["reason"] != "selected"
    )
    assert made(cohort).data["bytes"]["spared"] == known  # every image has the same size here


def test_time_comes_from_the_access_log(cohort: Path) -> None:
    assert made(cohort).data["bytes"]["log"] is None
    (cohort / "archive.log").write_text(
        "2026-05-01T10:00:00\tA1\tfind\t0\t200\t0.5\n"
        "2026-05-01T10:00:01\tA1\tfetch\t3000000\t200\t2.0\n"
        "2026-05-01T10:00:04\tA2\tfetch\t1000000\t200\t2.0\n"
        "2026-05-01T10:00:06\tA2\tfet"
    )
    assert made(cohort).data["bytes"]["log"] == {"requests": 3, "bytes": 4e6, "seconds": 4.0}


def test_patients_and_sets_are_counted_over_the_volumes(cohort: Path) -> None:
    data = made(cohort).data
    rows = {row["accession"]: row for row in read_table(cohort / "manifest.csv")}
    patient = {row["accession"]: row["patient_mrn"] for row in read_table(cohort / "cohort.csv")}
    inside = [name for name, row in rows.items() if row["status"] == "included"]
    assert data["patients"] == len({patient[name] for name in inside})
    assert [entry["split"] for entry in data["splits"]] == ["train", "val", "test"]
    for entry in data["splits"]:
        mine = [name for name in inside if rows[name]["split"] == entry["split"]]
        assert entry["volumes"] == len(mine)
        assert entry["patients"] == len({patient[name] for name in mine})
        assert entry["labels"]["nodule"] == dict(Counter(rows[name]["nodule"] for name in mine))
        assert entry["sex"] == dict(Counter(rows[name]["sex"] for name in mine))
    assert [entry["wanted"] for entry in data["splits"]] == [0.7, 0.1, 0.2]


def test_rows_of_the_report_table_are_counted_by_protocol(cohort: Path) -> None:
    protocols = list(read_table(cohort / "protocols.csv"))
    said = made(cohort).data["table"]
    assert said["rows"] == sum(int(row["rows"]) for row in protocols)
    chosen = [row for row in protocols if row["selected"] == "true"]
    assert said["selected_rows"] == sum(int(row["rows"]) for row in chosen)
    assert [each["protocol"] for each in said["protocols"]] == [row["protocol"] for row in chosen]


def test_a_protocol_that_the_config_does_not_name_is_counted_and_not_shown() -> None:
    rows = [
        {"protocol": "ct chest", "rows": "5", "selected": "true"},
        {"protocol": "ct chest mr smith", "rows": "2", "selected": "true"},
        {"protocol": "mr smith", "rows": "4", "selected": "false"},
    ]
    said = table_rows(rows, ["ct chest"])
    assert (said["rows"], said["selected_rows"], said["other_protocols"]) == (11, 7, 1)
    assert said["by_pattern"] == {"protocols": 1, "rows": 2}
    assert "smith" not in json.dumps(said)


def test_a_run_that_goes_on_shows_what_is_pending_and_failed(cohort: Path) -> None:
    (cohort / "manifest.csv").unlink()
    included, failed = list(read_table(cohort / "cohort.csv"))[:2]
    (cohort / "failures").mkdir()
    name = failed["accession"]
    (cohort / "failures" / f"{name}.json").write_text(
        json.dumps({"stage": "download_series", "reason": "transfer_incomplete"})
    )
    (cohort / "received").mkdir()
    (cohort / "received" / f"{included['accession']}.json").write_text("{}")
    page_now = made(cohort)
    assert page_now.data["state"] == "going on"
    assert page_now.words("status")[:2] == ["pending", "failed"]
    downloaded = [step.name for step in STEPS].index("downloaded")
    assert page_now.data["reached"][:2] == [downloaded + 1, downloaded]
    assert page_now.data["flow"][-1]["count"] == 0


def test_a_manifest_of_an_earlier_run_is_said_to_be_one(cohort: Path) -> None:
    assert made(cohort).data["state"] == "finished"
    made_at = (cohort / "manifest.csv").stat().st_mtime
    os.utime(cohort / "series.csv", (made_at + 1, made_at + 1))
    rows = list(read_table(cohort / "cohort.csv"))
    write_table(cohort / "cohort.csv", list(rows[0]), rows[:-100])  # a narrower selection
    assert made(cohort).data["state"] == "earlier"


def test_a_merged_directory_has_a_page_too(cohort: Path) -> None:
    (cohort / "protocols.csv").unlink()
    shutil.rmtree(cohort / ".parameters")
    shutil.rmtree(cohort / "qc")
    (cohort / "processed").mkdir()
    scan_record(parameters={"spacing_mm": [1, 1, 1]}).write(cohort / "processed" / "AA100000.json")
    data = made(cohort).data
    assert data["table"] is None
    assert data["run"]["parameters"] == {"volume": {"spacing_mm": [1, 1, 1]}}
    assert data["thumbnails"] == data["pictures"] == []
    assert len(data["accessions"]) == COUNT


def test_a_link_to_a_picture_that_is_gone_is_no_picture(cohort: Path) -> None:
    folder = cohort / "qc" / "thumbnails"
    gone = next(folder.glob("AA*.webp"))
    gone.unlink()
    gone.symlink_to(cohort / "part-1" / gone.name)
    assert len(made(cohort).data["thumbnails"]) == len(places(cohort, "included")) - 1


def test_nothing_selected_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing has been selected yet"):
        made(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_reason_of_another_release_is_one_clear_error(cohort: Path) -> None:
    place = places(cohort, "excluded")[0]
    edit(cohort / "manifest.csv", {place: {"status_reason": "moon_phase"}})
    with pytest.raises(InputError, match="a reason that this release does not know"):
        made(cohort)


# The steps


def test_every_word_of_the_vocabulary_stops_an_accession_at_exactly_one_step() -> None:
    words = [word for step in STEPS for word in step.reasons]
    assert sorted(words) == sorted(
        {
            *reasons.SERIES_REASONS,
            *reasons.ACCESSION_REASONS,
            *reasons.JOB_REASONS,
        }
        - {reasons.SELECTED}
    )


@pytest.mark.parametrize(
    ("status", "reason", "received", "step"),
    [
        ("excluded", "no_mrn", False, "accession"),
        ("excluded", "not_found", False, "found"),
        ("pending", "not indexed", False, "found"),
        ("excluded", "derived", False, "original"),
        ("excluded", "too_few_slices", False, "geometry"),
        ("excluded", "archive_refused", False, "found"),
        ("failed", "archive_refused", False, "downloaded"),
        ("pending", "", False, "downloaded"),
        ("failed", "archive_unreachable", False, "downloaded"),
        ("failed", "archive_unreachable", True, "downloaded"),
        ("failed", "no_space", False, "downloaded"),
        ("failed", "no_space", True, "volume"),
        ("failed", "too_irregular", True, "volume"),
        ("failed", "undecodable_pixels", True, "volume"),
        ("pending", "another series is chosen now", True, "volume"),
        ("pending", "", True, "volume"),
    ],
)
def test_where_an_accession_is_lost(status: str, reason: str, received: bool, step: str) -> None:
    assert STEPS[reached(status, reason, received=received)].name == step


def test_an_included_accession_has_passed_every_step() -> None:
    assert reached("included", "") == VOLUME == len(STEPS)


def test_the_flow_of_nothing_is_nothing() -> None:
    assert [step["count"] for step in flow([])] == [0] * VOLUME


def test_what_is_pending_says_so() -> None:
    assert meaning("pending", "") == "not made yet"
    assert meaning("excluded", "not_found") == reasons.ACCESSION_REASONS["not_found"]


# Outliers first


def about(**spreads: Spread) -> dict[str, Spread | None]:
    return {measure.column: spreads.get(measure.column) for measure in MEASURES}


def test_the_measure_that_is_farthest_from_the_median_says_how_odd_a_volume_is() -> None:
    spreads = about(fov_mm=Spread(300, 350, 400), z_error_mm=Spread(0, 0, 0))
    values = {"fov_mm": 450.0, "z_error_mm": 2.0}
    # 100 mm of a 100 mm range; 2 mm, where no range is but 0.5 mm is the least
    assert oddness(values, spreads, []) == (4.0, "z_error_mm")
    assert oddness({"fov_mm": 250.0, "z_error_mm": 0.0}, spreads, []) == (1.0, "fov_mm")


def test_a_volume_at_every_median_is_not_odd() -> None:
    assert oddness({"fov_mm": 350.0}, about(fov_mm=Spread(300, 350, 400)), []) == (0.0, "")


def test_a_flag_that_warns_adds_more_than_one_that_tells() -> None:
    nothing: dict[str, Spread | None] = {}
    (warning, _), (telling, _) = (
        oddness({}, nothing, [flag]) for flag in ("hu_implausible", "tilt_corrected")
    )
    assert warning > telling > 0
    assert set(reasons.FLAGS) >= SAID


def test_the_size_of_a_file_makes_no_volume_odd() -> None:
    assert oddness({"npz_bytes": 900.0}, about(npz_bytes=Spread(1, 2, 3)), []) == (0.0, "")


def test_the_spread_of_few_values() -> None:
    assert spread([None, None]) is None
    assert spread([None, 3.0]) == Spread(3.0, 3.0, 3.0)
    assert spread([4.0, None, 2.0]) == Spread(2.5, 3.0, 3.5)


# Harmless


def test_hostile_texts_stay_texts(cohort: Path) -> None:
    changes = {
        place: {"manufacturer": text, "convolution_kernel": text, "nodule": text[:24]}
        for place, text in zip(places(cohort, "included"), HOSTILE, strict=False)
    }
    plain = made(cohort).html
    edit(cohort / "manifest.csv", changes)
    hostile = made(cohort)
    for place, change in changes.items():
        assert hostile.words("manufacturer")[place] == change["manufacturer"]
        assert hostile.words("convolution_kernel")[place] == change["convolution_kernel"]

    def tags(html: str) -> Counter[str]:
        return Counter(re.findall(r"<[!/]?[a-z-]*", html.lower()))

    assert tags(hostile.html) == tags(plain)
    assert hostile.part("pictures") == {}


def test_hostile_accessions_stay_texts_and_their_pictures_are_found(cohort: Path) -> None:
    rows = list(read_table(cohort / "manifest.csv"))
    chosen = places(cohort, "included")[: len(HOSTILE)]
    for table in ("manifest.csv", "cohort.csv"):
        edit(
            cohort / table,
            {place: {"accession": text} for place, text in zip(chosen, HOSTILE, strict=True)},
        )
    hostile = made(cohort)
    assert [hostile.data["accessions"][place] for place in chosen] == list(HOSTILE)
    assert [hostile.data["accessions"].index(text) for text in HOSTILE] == chosen
    names = [hostile.data["names"][str(place)] for place in chosen]
    assert all(re.fullmatch(r"[A-Za-z0-9._%-]+", name) for name in names)
    assert len(rows) == len(hostile.data["accessions"])


def test_only_its_own_script_may_run_and_nothing_may_be_loaded(cohort: Path) -> None:
    html = made(cohort).html
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "'self' data:"
    for kind, tag in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
    assert not re.search(r"(src|href)=[\"']?(https?:|//)", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", html)


# Privacy


def test_nobody_is_named_on_the_page(cohort: Path) -> None:
    (cohort / "reviews.csv").write_text(
        "accession,verdict,note,who\nAA100000,good,a private note,Dr Hippocampus\n"
    )
    html = made(cohort).html
    mrns = {row["mrn"] for row in read_table(cohort / "cohort.csv")}
    data = json.dumps(made(cohort).data)
    tokens = set(re.findall(r"[0-9]+", data))
    assert len(mrns) > 100
    assert not mrns & tokens
    for secret in (
        "private note",
        "Hippocampus",
        "stays in the series table",
        "1.2.826",
        "other 7",
    ):
        assert secret not in html
    assert str(cohort) not in html
    assert "age_years" not in html


def test_a_carried_column_is_shown_only_if_it_is_a_label(cohort: Path) -> None:
    rows = list(read_table(cohort / "manifest.csv"))
    for number, row in enumerate(rows):
        row["comment"] = f"free text {number}"
        row["grade"] = "ab"[number % 2]
    write_table(cohort / "manifest.csv", list(rows[0]), rows)
    data = made(cohort).data
    assert "label grade" in {column["key"] for column in data["words"]}
    assert data["hidden_labels"] == ["comment"]
    assert "free text" not in json.dumps(data)


def test_the_age_of_few_is_not_summed_up(cohort: Path) -> None:
    inside = places(cohort, "included")
    edit(
        cohort / "manifest.csv",
        {place: {"split": "test" if place in inside[:4] else "train"} for place in inside},
    )
    ages = {entry["split"]: entry["age"] for entry in made(cohort).data["splits"]}
    assert ages["test"] is None
    assert len(ages["train"]) == 3


# Reviews


def test_reviews_are_those_of_the_table_now(cohort: Path) -> None:
    first, second, *_ = made(cohort).data["accessions"]
    (cohort / "reviews.csv").write_text(f"accession,verdict\n{first},good\n{second},bad\n")
    reviewed = made(cohort)
    assert reviewed.words("review")[:3] == ["good", "bad", ""]
    assert not reviewed.data["reviews_hold_more"]


@pytest.mark.parametrize(
    "content",
    [
        "accession,verdict,note\nAA100000,good,moved\n",
        "accession,verdict\nNOBODY,good\n",
        "accession,verdict,who\nAA100000,good,me\n",
    ],
    ids=["note", "other accession", "other column"],
)
def test_a_table_that_holds_more_than_the_page_is_said_to(cohort: Path, content: str) -> None:
    (cohort / "reviews.csv").write_text(content)
    assert made(cohort).data["reviews_hold_more"]


def test_reviews_of_other_accessions_are_warned_of(cohort: Path) -> None:
    reviews, target = cohort / "reviews.csv", cohort / "report.html"
    assert not html.write_page(Workdir(cohort), reviews, target)[0].startswith("warning")
    reviews.write_text("accession,verdict\nNOBODY,good\n")
    assert html.write_page(Workdir(cohort), reviews, target)[0] == (
        f"warning: {reviews}: 1 row names no accession of the cohort (NOBODY); not used"
    )


def test_a_wrong_reviews_table_is_one_clear_error(cohort: Path) -> None:
    (cohort / "reviews.csv").write_text("accession,verdict\nAA100000,fine\n")
    with pytest.raises(InputError, match="neither good nor bad"):
        made(cohort)


# Size


def test_thumbnails_are_embedded_up_to_the_budget_the_oddest_unreviewed_first(
    cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = made(cohort)
    volumes = places(cohort, "included")
    assert set(everything.part("thumbnails")) == {str(place) for place in volumes}
    odd = everything.data["odd"]
    oddest = max(volumes, key=lambda place: odd[place])
    accession = everything.data["accessions"][oddest]
    (cohort / "reviews.csv").write_text(f"accession,verdict\n{accession},good\n")
    budget = everything.path.stat().st_size - 500_000
    monkeypatch.setattr(html, "PAGE_BYTES", budget)
    smaller = made(cohort)
    assert budget - 10_000 < smaller.path.stat().st_size <= budget
    inside = {int(place) for place in smaller.part("thumbnails")}
    unseen = set(volumes) - {oddest}
    assert 0 < len(inside) < len(unseen)
    assert oddest not in inside
    assert min(odd[place] for place in inside) >= max(odd[place] for place in unseen - inside)
    assert len(smaller.data["thumbnails"]) == len(volumes)  # the others are beside it


def test_the_full_pictures_are_embedded_only_where_all_of_them_fit(
    cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [made(cohort).data["accessions"][place] for place in places(cohort, "included")[:3]]
    for name in names:
        (cohort / "qc" / f"{name}.png").write_bytes(b"\x89PNG" + name.encode() * 100)
    assert len(made(cohort).part("pictures")) == 3
    monkeypatch.setattr(html, "PICTURES_BYTES", 2000)
    small = made(cohort)
    assert small.part("pictures") == {}
    assert len(small.data["pictures"]) == 3


def test_a_thumbnail_is_the_file_that_was_made(cohort: Path) -> None:
    small = made(cohort)
    place, text = next(iter(small.part("thumbnails").items()))
    file = cohort / "qc" / "thumbnails" / f"{small.data['accessions'][int(place)]}.webp"
    assert base64.b64decode(text) == file.read_bytes()


# Documentation


def documented(repository: Path, title: str) -> list[list[str]]:
    """Rows of the table in a section of docs/report.md."""
    text = (repository / "docs" / "report.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def test_the_steps_are_explained_in_the_words_of_the_page(repository: Path) -> None:
    rows = documented(repository, "How each step is counted")
    assert [(title, passed.replace("`", "")) for title, passed, _ in rows] == [
        (step.title, step.passed.replace("`", "")) for step in STEPS
    ]
    for step, (*_, words) in zip(STEPS, rows, strict=True):
        assert re.findall(r"`(\w+)`", words) == sorted(step.reasons)


def test_the_measures_are_explained(repository: Path) -> None:
    def least(measure: Any) -> str:
        return "not used" if measure.least is None else f"{measure.least:g} {measure.unit}".strip()

    assert documented(repository, "Outliers first") == [
        [measure.title, f"`{measure.column}`", least(measure)] for measure in MEASURES
    ]
