"""The index: reasons of accessions, and what an archive that costs something is asked."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ctcohort.archives.protocol import Changed, FoundSeries, Query, Stopped
from ctcohort.base.faults import Fault
from ctcohort.base.files import write_table
from ctcohort.base.naming import name_of
from ctcohort.base.reasons import ACCESSION_REASONS, REFUSED, SERIES_REASONS
from ctcohort.base.workdir import Workdir
from ctcohort.config.settings import SeriesSettings, VolumeSettings
from ctcohort.dataset.manifest import choice_flags
from ctcohort.dicom.headers import Header, header_of, patient_mark
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import Identity, make_dose_report, make_series, write_files
from ctcohort.series import cache, series_table
from ctcohort.series.cache import Answer
from ctcohort.series.index import patients_of, query_of, rows_of
from tests.objects import make_secondary_capture

from .opened import KEY, Opened

SERIES = SeriesSettings(kinds=("ORIGINAL",), min_slices=3, tie_break=("series_number",))
VOLUME = VolumeSettings(irregular_spacing="mode", gantry_tilt="correct")
WHO = Identity(accession="A1", patient_id="0042")

pytestmark = pytest.mark.usefixtures("here")


def series(count: int, number: int = 2, *, who: Identity = WHO, **options: Any) -> list[Header]:
    stack = SliceStack.axial(count=count, step=5.0, rows=8, columns=8, pixel_spacing=30.0)
    made = make_series(Phantom(), stack, identity=who, series_number=number, noise=0, **options)
    return [header_of(ds, key=KEY) for ds in made]


class Remote:
    """An archive that counts what it is asked, and tells at most how many slices a series has."""

    answers_are_free = False

    def __init__(self, *several: list[Header], hides: Sequence[int] = ()) -> None:
        self.several = {headers[0].series_uid: headers for headers in several}
        self.numbers = {headers[0].series_uid: headers[0].series_number for headers in several}
        self.hides = hides
        self.asked: list[object] = []
        self.fault: Fault | None = None
        self.fault_at = "find"

    def serving(self, accession: str) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()

    def find(self, query: Query) -> list[FoundSeries]:
        self._ask("find")
        return [
            FoundSeries(
                uid,
                h[0].study_uid,
                h[0].patient,
                h[0].modality,
                len(h),
                None if self.numbers[uid] in self.hides else len(h),
            )
            for uid, h in self.several.items()
            if (query.study_uid or h[0].study_uid) == h[0].study_uid
            and (query.study_uid or h[0].accession in query.accession_numbers)
        ]

    def headers(self, series: FoundSeries) -> list[Header]:
        self._ask(self.numbers[series.series_uid])
        return self.several[series.series_uid]

    def _ask(self, what: object) -> None:
        self.asked.append(what)
        if self.fault and what == self.fault_at:
            raise self.fault


def index(
    archive: Any,
    *,
    patients: set[str] | None = None,
    query: Query | None = None,
    rules: SeriesSettings = SERIES,
    accession: str = "A1",
) -> list[dict[str, object]]:
    rows = list(
        rows_of(
            accession,
            query or Query((accession,)),
            patients=patients,
            archive=archive,
            series=rules,
            volume=VOLUME,
        )
    )
    for row in rows:
        assert set(row) <= set(series_table.COLUMNS) | {"gap_mm"}
        assert row["reason"] in {*SERIES_REASONS, *ACCESSION_REASONS, REFUSED}
        assert row["accession"] == accession
    assert sum(bool(row["selected"]) for row in rows) <= 1
    return rows


def reasons(rows: list[dict[str, object]]) -> dict[object, object]:
    return {row.get("series_number"): row["reason"] for row in rows}


def only(rows: list[dict[str, object]]) -> object:
    (row,) = rows
    assert "series_uid" not in row
    return row["reason"]


# Reasons of accessions


def test_an_accession_that_the_archive_does_not_have_is_not_found() -> None:
    archive = Remote(series(5))
    assert only(index(archive, accession="A2")) == "not_found"
    assert only(index(archive, accession="A2")) == "not_found"
    assert archive.asked == ["find", "find"], "asked again, in case it has arrived"


def test_a_study_without_ct_images_has_no_ct_series() -> None:
    report = [header_of(make_dose_report(identity=WHO), key=KEY)]
    capture = [header_of(make_secondary_capture(identity=WHO), key=KEY)]
    rows = index(Remote(report, capture, hides=(501, 999)))
    assert reasons(rows) == {None: "no_ct_series", 501: "not_ct", 999: "secondary"}


def test_two_studies_under_one_accession_are_ambiguous_unless_the_study_is_known() -> None:
    later = replace(WHO, study_date="20250101")
    one, other = series(5), series(6, who=later)
    assert only(index(Remote(one, other))) == "ambiguous_study"
    rows = index(Remote(one, other), query=Query(("A1",), one[0].study_uid), accession="A1-b")
    assert [(row["reason"], row["slices"]) for row in rows] == [("selected", 5)]


def test_two_patients_under_one_accession_are_a_mismatch() -> None:
    other = series(6, who=replace(WHO, patient_id="0043"))
    assert only(index(Remote(series(5), other))) == "patient_mismatch"


@pytest.mark.parametrize(
    ("mrn", "survives", "check", "reason"),
    [
        ("42", "42", True, "selected"),
        (" 0042", "42", True, "selected"),
        ("43", "43", True, "patient_mismatch"),
        ("43", "43", False, "selected"),
        ("43", "42", True, "selected"),
        ("42", "43", True, "selected"),
    ],
)
def test_the_tables_mrn_is_compared_where_it_is_asked_for(
    mrn: str, survives: str, check: bool, reason: str
) -> None:
    patients = patients_of({"mrn": mrn, "patient_mrn": survives}, check=check, key=KEY)
    assert index(Remote(series(5)), patients=patients)[0]["reason"] == reason


def test_prefixes_are_put_before_the_accession() -> None:
    event = {"accession": "1", "study_uid": ""}
    assert query_of(event, ["", "A", "RH"]) == Query(("1", "A1", "RH1"))
    rows = index(Remote(series(5)), query=query_of(event, ["", "A"]), accession="1")
    assert rows[0]["reason"] == "selected"
    Workdir().answer(name_of("1")).unlink()
    query = query_of(event, ["", "B"])
    assert only(index(Remote(series(5)), query=query, accession="1")) == "not_found"


def test_two_prefixes_that_both_hit_are_ambiguous() -> None:
    other = series(6, who=replace(WHO, accession="B1"))
    query = query_of({"accession": "1", "study_uid": ""}, ["A", "B"])
    assert only(index(Remote(series(5), other), query=query, accession="1")) == "ambiguous_study"


# An archive that fails


@pytest.mark.parametrize("where", ["find", 2])
def test_a_transient_fault_gives_no_answer_and_the_next_run_asks_again(where: object) -> None:
    archive = Remote(series(5))
    archive.fault, archive.fault_at = Fault("archive_unreachable", "x", transient=True), where  # type: ignore[assignment]
    assert only(index(archive)) == "no_answer"
    archive.fault = None
    assert index(archive)[0]["reason"] == "selected"


@pytest.mark.parametrize("where", ["find", 2])
def test_a_refusal_is_the_accessions_own_and_asked_again(where: object) -> None:
    archive = Remote(series(5))
    archive.fault, archive.fault_at = Fault("archive_refused", "x"), where  # type: ignore[assignment]
    assert only(index(archive)) == "archive_refused"
    archive.fault = None
    assert reasons(index(archive)) == {2: "selected"}


@pytest.mark.parametrize("where", ["find", 2])
def test_a_stop_ends_the_index(where: object) -> None:
    archive = Remote(series(5))
    archive.fault, archive.fault_at = Stopped("archive_refused", "x"), where  # type: ignore[assignment]
    with pytest.raises(Stopped):
        index(archive)


def test_an_unforeseen_answer_stops_nothing_and_quotes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = Remote(series(5))
    archive.fault, archive.fault_at = ValueError("DOE^JANE"), 2  # type: ignore[assignment]
    assert only(index(archive)) == "no_answer"
    told = capsys.readouterr().err
    assert told.startswith("A1: ValueError at test_indexing.py:")
    assert "DOE" not in told


def test_what_had_arrived_before_a_fault_is_not_asked_again() -> None:
    archive = Remote(series(5, 2), series(5, 3))
    archive.fault, archive.fault_at = Fault("archive_unreachable", "x", transient=True), 3  # type: ignore[assignment]
    assert only(index(archive)) == "no_answer"
    archive.fault = None
    before = [what for what in archive.asked if what != 3]
    archive.asked.clear()
    assert reasons(index(archive)) == {2: "selected", 3: "tie_lost"}
    assert not set(before) & set(archive.asked)


def test_an_answer_that_no_longer_holds_is_dropped() -> None:
    archive = Remote(series(5, 2), series(6, 3))
    archive.fault, archive.fault_at = Changed("gone"), 3  # type: ignore[assignment]
    assert only(index(archive)) == "no_answer"
    archive.fault = None
    archive.asked.clear()
    assert index(archive)[0]["reason"] == "selected"
    assert archive.asked[0] == "find"


# What is asked, and what is not


def test_headers_are_asked_of_the_largest_series_first_and_of_no_smaller_one() -> None:
    archive = Remote(series(5, 2), series(9, 3), series(4, 4))
    rows = index(archive)
    assert archive.asked == ["find", 3]
    assert [row["reason"] for row in rows] == ["selected", "fewer_slices", "fewer_slices"]
    assert sorted(str(row["instances"]) for row in rows) == ["4", "5", "9"]


def test_the_next_largest_is_asked_when_the_largest_is_unusable() -> None:
    bad = series(9, 3, image_type=("ORIGINAL", "SECONDARY", "AXIAL"))
    archive = Remote(series(5, 2), bad, series(4, 4))
    assert reasons(index(archive)) == {2: "selected", 3: "secondary", None: "fewer_slices"}
    assert archive.asked == ["find", 3, 2]


def test_equally_large_series_are_all_asked_because_the_tie_break_needs_their_headers() -> None:
    archive = Remote(series(5, 4), series(5, 2), series(5, 3))
    assert reasons(index(archive)) == {2: "selected", 3: "tie_lost", 4: "tie_lost"}
    assert sorted(map(str, archive.asked)) == ["2", "3", "4", "find"]


def test_a_series_that_may_hide_frames_is_always_asked() -> None:
    archive = Remote(series(9, 3), series(3, 2), hides=(2,))
    assert reasons(index(archive)) == {3: "selected", 2: "fewer_slices"}
    assert sorted(map(str, archive.asked)) == ["2", "3", "find"]


def test_series_that_are_too_small_for_the_rules_are_not_asked() -> None:
    archive = Remote(series(5, 2), series(6, 3))
    rows = index(archive, rules=replace(SERIES, min_slices=31))
    assert archive.asked == ["find"]
    assert not any(row["selected"] for row in rows)


def test_the_order_of_the_archives_answer_does_not_matter() -> None:
    several = [series(5, 2), series(7, 3), series(7, 4), series(4, 5)]
    expected = index(Remote(*several))
    Workdir().answer(name_of("A1")).unlink()
    assert index(Remote(*several[::-1])) == expected


# Stored answers


def test_what_is_known_is_not_asked_again() -> None:
    archive = Remote(series(5, 2), series(9, 3))
    first = index(archive)
    archive.asked.clear()
    assert index(archive) == first
    assert archive.asked == []


def test_an_answer_to_another_question_does_not_count() -> None:
    archive = Remote(series(5, 2))
    index(archive)
    archive.asked.clear()
    assert reasons(index(archive, query=Query(("RHA1", "A1")))) == {2: "selected"}
    assert archive.asked[0] == "find"


def test_an_answer_of_a_release_that_knew_other_facts_is_asked_again() -> None:
    archive = Remote(series(5, 2))
    index(archive)
    path = Workdir().answer(name_of("A1"))
    content = json.loads(gzip.decompress(path.read_bytes()))
    del next(iter(content["headers"].values()))["facts"]["modality"]
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    assert reasons(index(archive)) == {2: "selected"}


def test_other_rules_ask_only_for_what_they_need_besides() -> None:
    archive = Remote(series(5, 2), series(9, 3, description="Biopsy"))
    index(archive)
    archive.asked.clear()
    rows = index(archive, rules=replace(SERIES, exclude_description_regex=("Biopsy",)))
    assert reasons(rows) == {2: "selected", 3: "description_excluded"}
    assert archive.asked == [2]


def test_an_archive_whose_answers_are_free_is_always_asked() -> None:
    archive = Remote(series(5, 2), series(9, 3))
    archive.answers_are_free = True
    index(archive)
    archive.asked.clear()
    index(archive)
    assert sorted(map(str, archive.asked)) == ["2", "3", "find"]


def test_a_damaged_answer_counts_as_none() -> None:
    archive = Remote(series(5))
    index(archive)
    path = Workdir().answer(name_of("A1"))
    path.write_bytes(path.read_bytes()[:-20])
    assert cache.load("A1") is None
    assert index(archive)[0]["reason"] == "selected"
    assert cache.load("A1") is not None


def test_answers_come_back_and_equal_ones_are_not_written_again() -> None:
    headers = series(3)
    found = FoundSeries(headers[0].series_uid, headers[0].study_uid, "p", "CT", 3, None)
    answer = Answer([found], {found.series_uid: headers})
    cache.save("A/1", answer)
    before = Workdir().answer(name_of("A/1")).stat()
    cache.save("A/1", answer)
    assert Workdir().answer(name_of("A/1")).stat().st_mtime_ns == before.st_mtime_ns
    assert Workdir().answer(name_of("A/1")).name == "A%2F1.json.gz"
    assert cache.load("A/1") == answer
    assert cache.headers_of("A/1", found.series_uid) == headers
    with pytest.raises(Fault, match=r"does not contain series 1\.2\.3; run `snakemake"):
        cache.headers_of("A/1", "1.2.3")
    with pytest.raises(Fault, match="does not contain series"):
        cache.headers_of("A2", found.series_uid)


@pytest.mark.usefixtures("umask")
def test_the_patient_key_is_made_once_and_private() -> None:
    key = cache.patient_key()
    assert cache.patient_key() == key
    assert len(key) == 32
    assert Workdir().patient_key.stat().st_mode & 0o077 == 0
    assert patient_mark("42", key)


def test_a_folder_archive_gives_the_same_rows(here: Path, open_folder: Opened) -> None:
    stack = SliceStack.axial(count=5, step=5.0, rows=8, columns=8, pixel_spacing=30.0)
    for number, options in ((2, {}), (3, {"kernel": "B70f"})):
        made = make_series(Phantom(), stack, identity=WHO, series_number=number, noise=0, **options)
        write_files(made, here / "tree" / str(number))
    rows = index(open_folder(here / "tree", here / "folder index"))
    assert reasons(rows) == {2: "selected", 3: "tie_lost"}
    assert rows[0]["transfer_syntax"] == "1.2.840.10008.1.2.1"
    assert int(str(rows[0]["estimated_bytes"])) >= 5 * 8 * 8 * 2


def test_a_table_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    """It lacks columns; it is not made again for them, and tells of no lost slices."""
    known = [column for column in series_table.COLUMNS if column not in series_table.ADDED]
    row = {"accession": "A1", "reason": "selected", "slices": "40", "scan_length_mm": "300"}
    write_table(tmp_path / "series.csv", known, [row])
    ((chosen,),) = series_table.accessions(tmp_path / "series.csv").values()
    assert list(series_table.selected(tmp_path / "series.csv")) == [chosen]
    assert choice_flags([chosen], chosen) == []
    now = chosen | {"lost_slices": "2", "unreadable_files": "1", "missing_slices": "2"}
    assert choice_flags([now], now) == ["end_slices_lost"]
    assert choice_flags([now], now | {"missing_slices": "3"}) == []
