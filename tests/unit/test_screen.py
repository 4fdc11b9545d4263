"""The line that says how far a run is, and the summary that ends it."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake_interface_logger_plugins.common import LogEvent

from ctcohort.base.files import write_table
from ctcohort.base.workdir import Workdir
from ctcohort.dataset.screen import Run, Screen, show
from ctcohort.dataset.summary import summary, told_forecast
from ctcohort.series import series_table

from .opened import REPOSITORY

CONFIG: dict[str, Any] = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
AGAIN = "snakemake --cores all"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


# The line


def test_the_line_says_scans_downloads_bytes_failures_and_the_time_of_this_run() -> None:
    sizes = {f"A{n}": 5e8 for n in range(10)}
    run = Run(sizes, done={"A0", "A1", "A2"}, fetched={"A2", "A3"}, made=1, failed=2)
    run.began, run.latest = 100.0, 130.0
    said = "3 of 10 scans; 2 downloads, 1.00 GB; 2 failed; "
    assert run.line(130.0) == said + "4 min to go"
    assert run.line(310.0) == said + "30 s to go"
    assert run.line(9999.0) == said + "0 s to go"


def test_a_run_that_has_made_nothing_yet_promises_no_end() -> None:
    run = Run({"A0": 1e9, "A1": 1e9}, done={"A0"}, began=1.0)
    assert run.line(1000.0) == "1 of 2 scans; 0 downloads, 0.00 GB; 0 failed"
    assert Run().line(1.0) == ""


@pytest.fixture
def here(tmp_path: Path) -> Workdir:
    (tmp_path / "processed").mkdir()
    return Workdir(tmp_path)


def record(event: LogEvent | None, level: int = logging.INFO, **facts: Any) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, "", 0, facts.pop("msg", "chatter"), (), None)
    made.__dict__.update(facts, event=event)
    return made


def job(number: int, rule: str, name: str = "") -> logging.LogRecord:
    wildcards = {"acc": name} if name else None
    return record(LogEvent.JOB_INFO, jobid=number, rule_name=rule, wildcards=wildcards)


def screen_on(stream: io.StringIO, here: Workdir) -> Screen:
    inner = logging.StreamHandler(stream)
    return Screen(inner, here, lambda: {"A1": 1e9, "A2": 1e9})


def test_jobs_are_counted_and_their_chatter_is_not_shown(here: Workdir) -> None:
    stream = io.StringIO()
    screen = screen_on(stream, here)
    screen.handle(job(1, "download_series", "A1"))
    screen.handle(record(LogEvent.JOB_FINISHED, job_id=1))
    screen.handle(job(2, "preprocess_volume", "A1"))
    screen.handle(record(LogEvent.JOB_FINISHED, job_id=2))
    screen.handle(job(3, "download_series", "A2"))
    screen.handle(record(None, msg="Select jobs to execute..."))
    screen.handle(record(LogEvent.JOB_ERROR, logging.ERROR, jobid=3, msg="Error in rule x"))
    screen.handle(record(None, logging.WARNING, msg="the disk is slow"))
    screen.end()
    *before, last = stream.getvalue().splitlines()
    assert before == ["Error in rule x", "the disk is slow"]
    assert last.startswith("1 of 2 scans; 1 downloads, 1.00 GB; 1 failed; ")


def test_volumes_of_earlier_runs_are_done_already(here: Workdir) -> None:
    here.volume("A2").touch()
    screen = screen_on(io.StringIO(), here)
    screen.end()
    assert screen.run.line(0.0).startswith("1 of 2 scans; 0 downloads")


def test_on_a_terminal_the_line_is_taken_away_before_an_error(here: Workdir) -> None:
    stream = Terminal()
    screen = screen_on(stream, here)
    screen._shown = "1 of 2 scans"
    stream.write(screen._shown)
    screen.handle(record(LogEvent.JOB_ERROR, logging.ERROR, jobid=3, msg="Error in rule x"))
    screen.end()
    assert stream.getvalue() == "1 of 2 scans\r\033[KError in rule x\n"


def test_while_the_archive_is_asked_the_index_log_is_followed(here: Workdir) -> None:
    screen = screen_on(io.StringIO(), here)
    screen.handle(job(1, "index_series"))
    assert screen._line() == "asking the archive: which series there are"
    log = here.log("index_series")
    log.parent.mkdir(parents=True)
    log.write_text("warning: x\n10 of 90 accessions, 80 s to go\nsomething else\n")
    assert screen._line() == "asking the archive: 10 of 90 accessions, 80 s to go"
    screen.handle(record(LogEvent.JOB_FINISHED, job_id=1))
    assert screen._line().startswith("0 of 2 scans")
    screen.end()


def test_snakemakes_own_handler_comes_back(here: Workdir) -> None:
    logger = logging.Logger("snakemake")
    inner = logging.StreamHandler(io.StringIO())
    inner.name = "DefaultStreamHandler"
    logger.addHandler(inner)
    take_away = show(logger, here, dict)
    assert inner not in logger.handlers
    take_away()
    assert logger.handlers == [inner]
    logger.handlers = []
    show(logger, here, dict)()
    assert logger.handlers == []


# The summary


def series(here: Workdir, reasons: dict[str, str]) -> None:
    here.accessions.write_text("".join(f"{name}\n" for name in reasons))
    rows = [
        {"accession": name, "series_uid": "1.2", "slices": 40, "reason": reason, "instances": 40}
        | {"estimated_bytes": 1e9, "selected": reason == "selected"}
        for name, reason in reasons.items()
    ]
    write_table(here.series, series_table.COLUMNS, rows)


def fail(here: Workdir, name: str, reason: str) -> None:
    here.failures.mkdir(exist_ok=True)
    content = {"stage": "x", "reason": reason, "message": f"{name} broke", "transient": False}
    (here.failures / f"{name}.json").write_text(json.dumps(content))


def make(here: Workdir, name: str) -> None:
    here.volume(name).touch()
    here.record(name).touch()


def test_every_accession_is_counted_with_reasons_causes_and_the_next_command(here: Workdir) -> None:
    series(
        here,
        {"A1": "selected", "A2": "selected", "A3": "not_found", "A4": "too_few_slices"}
        | {"A5": "too_few_slices", "A6": "selected"},
    )
    make(here, "A1")
    fail(here, "A2", "undecodable_pixels")
    log = here.log("select_accessions")
    log.parent.mkdir(parents=True)
    log.write_text("note: x\nwarning: the column MRN holds numbers\n")
    lines = summary(here, CONFIG, again=AGAIN)
    assert lines[0] == "6 accessions: 1 included, 3 excluded, 1 failed, 1 to do"
    assert lines[1:4] == [
        "        2 excluded: too_few_slices",
        "        1 excluded: not_found",
        "        1 failed: undecodable_pixels",
    ]
    text = "\n".join(lines)
    assert "undecodable_pixels means: " in text
    assert "  A2: A2 broke" in text
    assert "select_accessions: warning: the column MRN holds numbers" in text
    assert f"next: make status DIR={here.root}" in text


def test_a_finished_data_set_is_told_the_page_and_an_unfinished_one_to_go_on(here: Workdir) -> None:
    series(here, {"A1": "selected", "A2": "selected"})
    make(here, "A1")
    assert summary(here, CONFIG, again=AGAIN)[-1] == f"next: {AGAIN}"
    make(here, "A2")
    assert summary(here, CONFIG, again=AGAIN)[-1] == f"next: {AGAIN} {here.page}"


def test_before_the_archive_was_asked_there_is_nothing_to_sum_up(here: Workdir) -> None:
    assert summary(here, CONFIG, again=AGAIN) == []
    assert told_forecast(here, CONFIG) == []
    assert not here.folder_index.exists()


@pytest.mark.parametrize(
    ("accessions", "columns", "kind", "said"),
    [
        (["", "", ""], {}, "folder", "3 instances are indexed"),
        (["", "", ""], {}, "folder", "none has an AccessionNumber: set columns.study_uid"),
        (["B1", "B1", "B2"], {}, "folder", "none of their 2 accessions is in the table"),
        ([], {}, "folder", "archive.folder.path may be another folder"),
        (["B1"], {"study_uid": "Study"}, "folder", "none is of a study in the column Study"),
        ([], {}, "dicomweb", "make check-archive ACCESSION="),
    ],
)
def test_when_nothing_was_found_the_likely_cause_is_said(
    here: Workdir, accessions: list[str], columns: dict[str, str], kind: str, said: str
) -> None:
    series(here, {"A1": "not_found", "A2": "not_found"})
    here.store.mkdir()
    with sqlite3.connect(here.folder_index) as index:
        index.execute("CREATE TABLE files (instance TEXT, accession TEXT)")
        index.execute("INSERT INTO files VALUES (NULL, NULL)")
        index.executemany("INSERT INTO files VALUES ('1.2', ?)", [(name,) for name in accessions])
    index.close()
    config = CONFIG | {"columns": CONFIG["columns"] | columns}
    config |= {"archive": CONFIG["archive"] | {"kind": kind}}
    *_, cause, then = summary(here, config, again=AGAIN)
    assert said in cause
    assert then == f"then: {AGAIN} --forcerun index_series"


def test_the_forecast_counts_the_selected_series_of_the_table(here: Workdir) -> None:
    series(here, {"A1": "selected", "A2": "too_few_slices"})
    lines = told_forecast(here, CONFIG)
    assert lines[0].startswith("1 scans selected from 2 series: 40 slices")
    assert lines[1].startswith("to fetch: 1 series, about 1.00 GB")


def test_the_forecast_reads_the_table_of_an_earlier_release(here: Workdir) -> None:
    series(here, {"A1": "selected"})
    lines = told_forecast(here, CONFIG)
    columns = [column for column in series_table.COLUMNS if column not in series_table.ADDED]
    write_table(here.series, columns, list(series_table.rows(here.series)), sealed=True)
    assert told_forecast(here, CONFIG) == lines
