"""Whole runs on a server that answers as other archives do: complete, or a reason; never short."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from ctcohort.base.naming import name_of

from ..workflow.conftest import CHEST, Site, write_reports
from .hospital import REPOSITORY
from .lying_dicomweb import PROFILES, lying
from .lying_dimse import PROFILES as DIMSE_PROFILES
from .lying_dimse import Lies, lying_dimse
from .servers import ARCHIVE, FETCHER

GOOD = ("A0001", "A 02/B+", "00A3")
"""The accessions that a sound archive gives a volume of."""
OUTCOMES = {
    "capped-everywhere": dict.fromkeys(GOOD, "still_arriving"),
    "restricted": {"00A3": "archive_refused"},
    "dimse-restricted": {"00A3": "archive_refused"},
}
"""Of the profiles that do not give all three: accession -> reason."""
MOST_REQUESTS = 900


def dicomweb(server):
    return {"kind": "dicomweb", "dicomweb": {"url": server.url}}


def dimse(server):
    titles = {"called_aet": ARCHIVE, "calling_aet": FETCHER}
    return {"kind": "dimse", "dimse": {"host": "127.0.0.1", "port": server.port, **titles}}


def site_on(folder, accessions, archive):
    folder.mkdir()
    write_reports(folder, [(name, f"MRN{i}", CHEST) for i, name in enumerate(accessions)])
    archive = {**archive, "connections": 2, "patience_seconds": 9}
    config = {"archive": archive, "volume": {"spacing_mm": 8}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Site(folder)


def received(site, accession):
    path = site.folder / "received" / f"{name_of(accession)}.json"
    return json.loads(path.read_text()) if path.exists() else None


def assert_nothing_short(site, server):
    """What was received of a series is all that the archive has of it."""
    for accession in GOOD:
        content = received(site, accession)
        if content:
            held = server.holds(accession)
            assert content["instance_count"] == held[content["series_uid"]]
            assert content["instance_count"] >= 40  # the right one of several series


def assert_outcomes(site, profile):
    rows = {row["accession"]: row for row in site.rows("manifest.csv")}
    reasons = OUTCOMES.get(profile, {})
    for accession in GOOD:
        row = rows[accession]
        expected = ("excluded", reasons[accession]) if accession in reasons else ("included", "")
        assert (row["status"], row["status_reason"]) == expected
    assert rows["A0004"]["status_reason"] == "derived"
    assert rows["A0099"]["status_reason"] == "not_found"


@pytest.mark.parametrize("profile", sorted(set(PROFILES) - {"restricted-files"}))
def test_a_run_ends_with_whole_volumes_or_reasons(hospital, stored, tmp_path, profile):
    with lying(stored, PROFILES[profile]) as server:
        site = site_on(tmp_path / "site", hospital[1], dicomweb(server))
        site.run()
        assert_nothing_short(site, server)
        assert len(server.requests) < MOST_REQUESTS
    assert_outcomes(site, profile)


@pytest.mark.parametrize("profile", sorted(DIMSE_PROFILES))
def test_a_run_over_dimse_ends_with_whole_volumes_or_reasons(hospital, stored, tmp_path, profile):
    with lying_dimse(stored, DIMSE_PROFILES[profile]) as server:
        site = site_on(tmp_path / "site", hospital[1], dimse(server))
        site.run()
        assert_nothing_short(site, server)
        assert server.finds + len(server.gets) < MOST_REQUESTS
    assert_outcomes(site, profile)


@pytest.mark.parametrize("lies", [Lies(role=False), Lies(gets=False)], ids=["no role", "no C-GET"])
def test_an_archive_that_sends_nothing_over_c_get_is_one_line(hospital, stored, tmp_path, lies):
    with lying_dimse(stored, lies) as server:
        site = site_on(tmp_path / "site", hospital[1], dimse(server))
        site.run(ok=False)
        assert not server.gets
    for accession in GOOD:
        failure = json.loads((site.folder / f"failures/{name_of(accession)}.json").read_text())
        assert failure["reason"] == "archive_refused"
        assert "set archive.dimse.method: move" in failure["message"]


def test_files_that_one_study_refuses_fail_its_job_alone(hospital, stored, tmp_path):
    with lying(stored, PROFILES["restricted-files"]) as server:
        site = site_on(tmp_path / "site", hospital[1], dicomweb(server))
        site.run(ok=False)
        assert_nothing_short(site, server)
    failure = json.loads((site.folder / "failures/00A3.json").read_text())
    assert failure["reason"] == "archive_refused"
    assert not (site.folder / "archive.stop").exists()
    made = {path.stem for path in (site.folder / "processed").glob("*.npz")}
    assert made == {name_of("A0001"), name_of("A 02/B+")}


def test_the_table_of_the_docs_names_every_profile():
    text = (REPOSITORY / "docs/archives/profiles.md").read_text()
    told = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert told == [*PROFILES, *DIMSE_PROFILES]
