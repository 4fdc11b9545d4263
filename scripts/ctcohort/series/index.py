"""Query the archive for an accession, choose its series, and give the rows of the series table."""

from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import asdict, replace
from pathlib import Path

from ctcohort.archives.protocol import Archive, Changed, FoundSeries, Query, Stopped
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.naming import name_of
from ctcohort.base.reasons import REFUSED, SELECTED
from ctcohort.base.workdir import Workdir
from ctcohort.config.settings import SeriesSettings, VolumeSettings
from ctcohort.dicom.headers import Header, patient_mark
from ctcohort.series import cache
from ctcohort.series.cache import Answer
from ctcohort.series.choice import Candidate, choose_series, has_images
from ctcohort.series.facts import varying

HEADER_BYTES = 4096
"""What an instance weighs beyond its pixels, for the estimate."""


def rows_of(
    accession: str,
    query: Query,
    *,
    patients: Set[str] | None,
    archive: Archive,
    series: SeriesSettings,
    volume: VolumeSettings,
) -> Iterator[dict[str, object]]:
    """Return the rows of the series table for one accession.

    Parameters
    ----------
    patients : set of str or None
        The `headers.patient_mark` of which the series must have one; None where this is not
        checked.

    What fails for this accession never stops the others: a transient fault gives one `no_answer`
    row, a refusal one `archive_refused` row. Raised is what would be the same for every other
    accession: `Stopped`, a mistake in the input, a full disk.
    """
    try:
        with archive.serving(accession):
            answer = None if archive.answers_are_free else cache.load(accession)

            def keep() -> None:
                if answer and answer.series and not archive.answers_are_free:
                    cache.save(accession, answer)

            if answer is None or not answer.final or answer.query != query:
                answer = Answer(archive.find(query), query=query)
                keep()
            reason = _accession_reason(answer, patients)
            candidates = (
                [] if reason else _choose_among(answer, query, archive, series, volume, keep)
            )
            if not reason and _several_patients(answer):
                reason, candidates = "patient_mismatch", []
    except (InputError, OSError, MemoryError, Stopped):
        raise
    except Fault as fault:
        refused = fault.reason == REFUSED and not archive.answers_are_free
        if not (fault.transient or refused):
            raise
        if isinstance(fault, Changed):
            Workdir().answer(name_of(accession)).unlink(missing_ok=True)
        print(f"{accession}: {fault}", file=sys.stderr)
        yield blank_row(accession, "no_answer" if fault.transient else fault.reason)
        return
    except Exception as error:  # an answer that nobody has foreseen; its text may quote a header
        at = traceback.extract_tb(error.__traceback__)[-1]
        print(
            f"{accession}: {type(error).__name__} at {Path(at.filename).name}:{at.lineno};"
            " please report it",
            file=sys.stderr,
        )
        yield blank_row(accession, "no_answer")
        return
    if answer.series and archive.answers_are_free:
        cache.save(accession, answer)  # not written until all is known: asking again is free
    arriving = [candidate for candidate in candidates if candidate.reason == "still_arriving"]
    for candidate in arriving:
        print(
            f"{accession}: the archive counts {candidate.instances} instances in a series and gives"
            f" {len(candidate.headers or ())}",
            file=sys.stderr,
        )
    if not arriving and not any(candidate.reason == SELECTED for candidate in candidates):
        shutil.rmtree(Workdir().partial(name_of(accession)), ignore_errors=True)
    if reason:
        yield blank_row(accession, reason)
        return
    if not any(map(has_images, candidates)):
        yield blank_row(accession, "no_ct_series")
    for candidate in sorted(candidates, key=lambda c: (c.reason != SELECTED, c.series_uid)):
        yield _row(accession, candidate)


def blank_row(accession: str, reason: str) -> dict[str, object]:
    """The row of an accession without a candidate."""
    return {"accession": accession, "selected": False, "reason": reason}


def _accession_reason(answer: Answer, patients: Set[str] | None) -> str:
    if not answer.series:
        return "not_found"
    found = {series.patient for series in answer.series}
    if len(found) > 1 or (patients is not None and not found <= patients):
        return "patient_mismatch"
    if len({series.study_uid for series in answer.series}) > 1:
        return "ambiguous_study"
    if any(series.offline for series in answer.series):
        return "offline"
    return ""


def _several_patients(answer: Answer) -> bool:
    """Return True if instances belong to another patient than their series was found for."""
    expected = {series.patient for series in answer.series}
    told = {h.patient for headers in answer.headers.values() for h in headers if h.patient}
    return bool(told - expected)


def _choose_among(
    answer: Answer,
    query: Query,
    archive: Archive,
    series: SeriesSettings,
    volume: VolumeSettings,
    keep: Callable[[], None],
) -> list[Candidate]:
    """Choose among the candidates, asking for headers only of those that can still win; `keep`
    them as they arrive."""
    candidates = [
        Candidate(
            s.series_uid,
            s.study_uid,
            s.instances,
            answer.headers.get(s.series_uid),
            s.modality,
            s.unreadable,
        )
        for s in answer.series
    ]
    limits = {s.series_uid: s for s in answer.series}
    while True:
        best = choose_series(candidates, series, volume)
        most = best.assessment.measures.slices if best else series.min_slices
        open_ones = [
            candidate
            for candidate in candidates
            if candidate.headers is None
            and (
                (at_most := limits[candidate.series_uid].slices_at_most) is None or at_most >= most
            )
        ]
        if not open_ones:
            return candidates
        free = archive.answers_are_free
        for candidate in open_ones if free else [max(open_ones, key=lambda c: c.instances)]:
            headers = archive.headers(limits[candidate.series_uid])
            candidate.headers = answer.headers[candidate.series_uid] = headers
            if candidate.arriving:
                _count_again(candidate, answer, archive.find(query))
            keep()


def _count_again(candidate: Candidate, answer: Answer, found: list[FoundSeries]) -> None:
    """Take over the archive's present count of a series.

    A count that is too small, and stays as it was, is the archive's miscount: the instances are
    there. One that is larger than what was given stays, so that the series is still arriving.
    """
    given = len(candidate.headers or ())
    now = {series.series_uid: series for series in found}.get(candidate.series_uid)
    for index, series in enumerate(answer.series):
        if now is None or series.series_uid != candidate.series_uid:
            continue
        miscounted = series.instances == now.instances < given
        candidate.instances = given if miscounted else now.instances
        answer.series[index] = replace(now, instances=candidate.instances)


def _row(accession: str, candidate: Candidate) -> dict[str, object]:
    first = candidate.facts
    row: dict[str, object] = {
        "accession": accession,
        "study_uid": candidate.study_uid,
        "series_uid": candidate.series_uid,
        "instances": candidate.instances,
        "unreadable_files": candidate.unreadable,
        "selected": candidate.reason == SELECTED,
        "reason": candidate.reason,
    }
    if first is None:
        return row
    return row | {
        **asdict(candidate.assessment.measures),
        "series_number": first.series_number,
        "series_description": " ".join(first.series_description.split()),
        "modality": first.modality,
        "body_part": first.body_part,
        "image_type": "\\".join(first.image_type),
        "manufacturer": first.manufacturer,
        "model": first.model,
        "convolution_kernel": first.kernel,
        "contrast_agent": first.contrast_agent,
        "slice_thickness": first.slice_thickness,
        "transfer_syntax": first.transfer_syntax,
        "varying": " ".join(varying(candidate.kept)),
        "estimated_bytes": sum(map(_estimated_bytes, candidate.headers or ())),
    }


def _estimated_bytes(header: Header) -> int:
    pixels = (header.rows or 0) * (header.columns or 0) * len(header.frames)
    return HEADER_BYTES + pixels * (header.bits_allocated or 16) // 8


def query_of(event: Mapping[str, str], prefixes: list[str]) -> Query:
    """The query for a row of the cohort."""
    accession = event["accession"]
    return Query(tuple(f"{prefix}{accession}" for prefix in prefixes), event["study_uid"])


def patients_of(event: Mapping[str, str], *, check: bool, key: bytes) -> Set[str] | None:
    """The patient marks of which a row's series must have one, or None where it is not checked.

    Where MRNs were merged, the archive may know the patient by the row's own or by the one that
    survives.
    """
    return (
        {patient_mark(event[column], key) for column in ("mrn", "patient_mrn")} if check else None
    )
