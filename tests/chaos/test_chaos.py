"""A few injected faults of each kind; `make chaos` injects 500."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workflow.conftest import make_hospital

from . import injections, run, trials

pytestmark = pytest.mark.xdist_group("chaos")  # one set of references for all of them

DAMAGES = [
    ("series.csv", "bit flipped", "nothing"),
    ("cohort.csv", "truncated", "splits"),
    (f"received/{injections.ONE}.json", "emptied", "volume"),
    (f"processed/{injections.ONE}.json", "directory in its place", "nothing"),
    ("index/folder.sqlite", "zeroed", "series"),
    (f"raw/{injections.ONE}/#", "bit flipped", "volume"),
    (".parameters/volume.json", "directory in its place", "nothing"),
    (".parameters/volume.json", "truncated", "nothing"),
]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> trials.Hospital:
    fresh = tmp_path_factory.mktemp("fresh")
    make_hospital(fresh)
    return trials.Hospital(tmp_path_factory.mktemp("reference"), fresh)


def assert_handled(outcome: trials.Outcome) -> None:
    assert outcome.verdict not in trials.BAD, "\n".join([outcome.fault, *outcome.said])


@pytest.mark.parametrize(("target", "kind", "change"), DAMAGES)
def test_a_damage_is_healed_or_said(
    hospital: trials.Hospital, tmp_path: Path, target: str, kind: str, change: str
) -> None:
    assert_handled(
        trials.damaged(hospital, 0, tmp_path / "site", target, kind, stamp=True, change=change)
    )


@pytest.mark.parametrize("number", [7, 8, 17, 18])
def test_an_interrupted_run_goes_on(hospital: trials.Hospital, tmp_path: Path, number: int) -> None:
    assert_handled(run.one(hospital, number, tmp_path))


@pytest.mark.parametrize("kind", [injections.FULL, injections.READ_ONLY])
def test_a_disk_that_fails_does_no_harm(
    hospital: trials.Hospital, tmp_path: Path, kind: str
) -> None:
    if not trials.can_mount(tmp_path):
        pytest.skip("a small disk cannot be mounted here")
    assert_handled(trials.disk_fails(hospital, 0, tmp_path / "disk", kind))


def test_what_nobody_says_is_called_silent(hospital: trials.Hospital, tmp_path: Path) -> None:
    """The judge itself: with another reference, a run that ends well is not one that healed."""
    site = trials.Site(tmp_path / "site")
    trials.copy_of(hospital.finished["nothing"], site.folder)
    expected = {**hospital.expected["nothing"], "manifest.csv": "0" * 64}
    assert trials.judge(0, "none", site, expected, 0.0).verdict == trials.SILENT
    shutil.rmtree(site.folder)
