"""Every case of the table: usable and right in patient space, or refused for the right reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ctcohort.archives.folder import FolderArchive
from ctcohort.archives.protocol import Arrived, nobody
from ctcohort.base.faults import Fault
from ctcohort.base.reasons import ACCESSION_REASONS, FLAGS, JOB_REASONS, SELECTED, SERIES_REASONS
from ctcohort.dicom.headers import Header
from ctcohort.series.choice import Candidate

from .cases import CASES, INTERIOR, Case
from .flow import (
    PLACE_MM,
    Judged,
    covered,
    hu_at,
    judged,
    ledger_rows,
    marker_error,
    series_rules,
    volume_of,
    volume_rules,
    write_case,
)

LUNGS = {"lungs_cut", "no_lung"}
"""Most stacks end within the phantom's lungs; tests/unit/test_lungs.py is about that."""

PRECISION = {"tilt_degrees": 0.01, "obliquity_degrees": 0.01}
"""How exactly a measure must be what the case says; others to 0.005 mm, or exactly."""


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    write_case(case, tmp_path)
    series, volume = series_rules(**case.series), volume_rules(**case.volume)
    if case.verdict in ACCESSION_REASONS:
        assert {row["reason"] for row in ledger_rows(tmp_path, series, volume)} >= {case.verdict}
        return
    choice = judged(tmp_path, series, volume)
    reasons = choice.reasons()
    about = next(c for c in choice.candidates if _number(c) in (2, None))
    for measure, truth in case.measures.items():
        value = getattr(about.assessment.measures, measure)
        assert value == pytest.approx(truth, abs=PRECISION.get(measure, 0.005)), measure
    assert {number: reasons[number] for number in case.others} == case.others
    if case.verdict in SERIES_REASONS and not case.usable:
        assert about.reason == case.verdict
        return
    assert about.reason == SELECTED
    if case.verdict in JOB_REASONS:
        with pytest.raises(Fault) as fault:
            volume_of(choice, tmp_path, volume)
        assert fault.value.reason == case.verdict
        return
    _check_volume(case, choice, tmp_path)


def test_every_word_is_in_the_vocabulary() -> None:
    words = {*SERIES_REASONS, *ACCESSION_REASONS, *JOB_REASONS}
    assert {case.verdict for case in CASES.values()} <= words
    assert {flag for case in CASES.values() for flag in case.flags} <= set(FLAGS)


class _StopsEarly(FolderArchive):
    """An archive whose connection ends before the last two instances."""

    def fetch(self, instances: Sequence[Header], into: Path, arrived: Arrived = nobody) -> None:
        super().fetch(instances[:-2], into, arrived)


def test_end_slices_that_the_archive_counts_must_arrive(tmp_path: Path) -> None:
    """Positions cannot tell that end slices are missing; what the archive listed can."""
    write_case(CASES["plain"], tmp_path)
    choice = judged(tmp_path, series_rules(), volume_rules())
    whole = choice.archive
    choice.archive = _StopsEarly(whole.root, link=False, store=whole.store, key=whole.key)
    with pytest.raises(Fault) as fault:
        volume_of(choice, tmp_path, volume_rules())
    assert (fault.value.reason, fault.value.transient) == ("transfer_incomplete", True)
    choice.archive = whole
    _check_volume(CASES["plain"], choice, tmp_path)


def _number(candidate: Candidate) -> int | None:
    return candidate.facts.series_number if candidate.facts else None


def _check_volume(case: Case, choice: Judged, folder: Path) -> None:
    rules = volume_rules(**case.volume)
    volume, record = volume_of(choice, folder, rules)
    assert set(record.flags) - LUNGS == case.flags
    assert len(record.dropped) == case.dropped
    assert record.certificate.padded == pytest.approx(case.padded, abs=1e-3)

    # the axes: head to feet, anterior to posterior, right to left, at right angles, unit length
    assert np.allclose(volume.direction.T @ volume.direction, np.eye(3), atol=1e-9)
    assert volume.direction[2, 0] < -0.98
    assert volume.direction[1, 1] > 0.98
    assert volume.direction[0, 2] > 0.98
    if rules.spacing_mm is not None:
        assert volume.spacing.tolist() == list(rules.spacing_mm)

    # the extent
    positions = record.z_positions
    assert positions[0] - positions[-1] == pytest.approx(case.extent_mm, abs=0.15)
    if "tilt_corrected" not in case.flags and not case.moved_mm:
        whole = case.extent_mm + record.source.slice_spacing
        assert abs(volume.ct.shape[0] * volume.spacing[0] - whole) <= volume.spacing[0]

    # the markers
    markers = covered(volume, case.phantom)
    assert len(markers) >= (6 if record.source.scan_length_mm > 145 else 2)
    errors = np.array([marker_error(volume, marker) for marker in markers])
    assert np.abs(errors[:, :2]).max() <= PLACE_MM
    along = np.abs(errors[:, 2])
    assert along.max() <= case.moved_mm + PLACE_MM
    assert along.max() >= case.moved_mm - PLACE_MM  # what the record says is so
    if rules.clip_hu[1] > 1000:  # told apart by their HU alone: the left stays left
        for marker, error in zip(markers, errors, strict=True):
            assert np.allclose(marker_error(volume, marker, search="global"), error, atol=0.5)

    # Hounsfield units deep inside known tissue
    for tissue, (place, hu) in INTERIOR.items():
        point = case.phantom.pose.points(np.array(place) * case.phantom.scale)
        index = np.linalg.solve(volume.direction * volume.spacing, point - volume.origin)
        if (index < 0).any() or (index > np.array(volume.ct.shape) - 1).any():
            continue
        assert abs(hu_at(volume, point) - hu) <= case.hu_tolerance, tissue
