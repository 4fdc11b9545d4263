"""What Snakemake is told while it plans."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ctcohort.base.files import write_sealed_json, write_table
from ctcohort.base.workdir import Workdir
from ctcohort.dataset.plan import UNKNOWN_MB, Plan, note
from ctcohort.series import series_table
from ctcohort.volume.memory import THREAD_MB

PARAMETERS = "0123456789abcdef"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workdir:
    """A working directory in which A1 is finished, A2 is to be made and A3 has no series."""
    monkeypatch.chdir(tmp_path)
    here = Workdir()
    write_rows(here, ["A1", "A/2"])
    write_sealed_json(
        here.received("A1"), {"series_uid": "1.2.A1", "instance_count": 64, "bytes": 1}
    )
    here.volume("A1").parent.mkdir()
    here.volume("A1").touch()
    write_sealed_json(here.record("A1"), {"parameters_digest": PARAMETERS})
    return here


def write_rows(here: Workdir, selected: list[str]) -> None:
    rows = [
        {
            "accession": accession,
            "series_uid": f"1.2.{accession}",
            "instances": 64,
            "slices": 64,
            "rows": 512,
            "columns": 512,
            "row_spacing": 0.7,
            "column_spacing": 0.7,
            "slice_spacing": 5.0,
            "scan_length_mm": 320.0,
            "estimated_bytes": 34_000_000,
            "selected": True,
            "reason": "selected",
        }
        for accession in selected
    ]
    rows.append({"accession": "A3", "selected": False, "reason": "not_found"})
    write_table(here.series, series_table.COLUMNS, rows)


def plan_of(here: Workdir, parameters: str = PARAMETERS) -> Plan:
    return Plan(here, parameters=parameters, spacing_mm=0.8)


def test_a_choice_is_known_by_the_file_name_of_its_accession(here: Workdir) -> None:
    choices = plan_of(here).choices()
    assert {name: choice.series for name, choice in choices.items()} == {
        "A1": "1.2.A1 64",
        "A%2F2": "1.2.A/2 64",
    }
    assert choices["A1"].estimated_bytes == 34_000_000


def test_before_an_index_nothing_is_chosen(tmp_path: Path) -> None:
    assert plan_of(Workdir(tmp_path)).choices() == {}
    assert plan_of(Workdir(tmp_path)).series_of("A1") == ""


def test_only_scans_that_the_records_do_not_prove_finished_are_planned(here: Workdir) -> None:
    plan = plan_of(here)
    assert plan.needs_nothing("A1")
    assert not plan.needs_nothing("A3")
    assert plan.unfinished(forced=False, clear=False) == {"A%2F2"}
    assert plan_of(here, "other").unfinished(forced=False, clear=False) == {"A1", "A%2F2"}


def test_a_command_that_forces_jobs_plans_every_scan(here: Workdir) -> None:
    assert plan_of(here).unfinished(forced=True, clear=False) == {"A1", "A%2F2"}


def test_a_new_series_table_is_read_anew(here: Workdir) -> None:
    plan = plan_of(here)
    assert plan.unfinished(forced=False, clear=False) == {"A%2F2"}
    write_rows(here, ["A1", "A4"])
    os.utime(here.series, ns=(0, 1))
    assert plan.unfinished(forced=False, clear=False) == {"A4"}


def test_memory_grows_with_attempts_and_threads(here: Workdir) -> None:
    plan = plan_of(here)
    one = plan.memory_mb("A1", attempt=1, threads=1, beside_mb=0)
    assert plan.memory_mb("A1", attempt=2, threads=1, beside_mb=0) == 2 * one
    assert plan.memory_mb("A1", attempt=1, threads=3, beside_mb=100) == one + 2 * THREAD_MB + 100
    assert plan.memory_mb("A9", attempt=1, threads=1, beside_mb=0) == UNKNOWN_MB


def test_parameters_that_are_noted_already_keep_their_time_stamp(tmp_path: Path) -> None:
    path = tmp_path / "volume.json"
    note(path, ["{}"])
    os.utime(path, ns=(0, 1))
    note(path, ["{}"])
    assert path.stat().st_mtime_ns == 1
    note(path, ["{}", "and a table"])
    assert path.read_text() == "{}\nand a table\n"
    assert path.stat().st_mtime_ns > 1


def test_the_failure_of_a_job_that_was_killed_after_its_work_is_forgotten(here: Workdir) -> None:
    for name in ("A1", "A%2F2", "A9"):
        here.failure(name).parent.mkdir(exist_ok=True)
        here.failure(name).write_text("{}")
    plan_of(here).unfinished(forced=False, clear=False)
    assert here.failure("A1").exists()
    plan_of(here).unfinished(forced=False, clear=True)
    assert [here.failure(name).exists() for name in ("A1", "A%2F2", "A9")] == [False, True, True]
