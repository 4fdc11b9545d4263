"""What must hold for every scan of a patient, wherever and however it was made."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from ctcohort.dicom.headers import header_of
from ctcohort.phantoms.anatomy import Phantom, Rigid
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import write_files
from ctcohort.series.choice import Candidate, choose_series
from ctcohort.series.geometry import assess
from ctcohort.volume import npz
from ctcohort.volume.build import Volume
from ctcohort.volume.record import ScanRecord

from .cases import PHANTOM, SIZE, chest, stack
from .flow import (
    PLACE_MM,
    covered,
    judged,
    marker_error,
    scan,
    series_rules,
    volume_of,
    volume_rules,
)

MILLIMETRES = st.integers(-600, 600).map(lambda halves: halves / 2)
SHIFTS = st.tuples(MILLIMETRES, MILLIMETRES, MILLIMETRES).map(np.array)
AXES = st.tuples(*3 * [st.floats(-1, 1)]).filter(lambda v: np.linalg.norm(v) > 0.1)
POSITIONS = st.sampled_from(["HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"])
SLOW = settings(deadline=None, derandomize=True, max_examples=6)

SERIES = chest(noise=8.0)


def _volume(
    datasets: Sequence[Dataset], names: Sequence[str] | None = None
) -> tuple[Volume, ScanRecord, bytes]:
    """Volume, record and the bytes of the npz of a series whose files have these names."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_files(datasets, folder / "archive", names=names)
        rules = volume_rules()
        choice = judged(folder, series_rules(), rules)
        assert choice.winner is not None, choice.reasons()
        volume, record = volume_of(choice, folder, rules)
        npz.write(folder / "volume.npz", volume.arrays())
        return volume, record, (folder / "volume.npz").read_bytes()


def _assert_in_place(volume: Volume, body: Phantom) -> None:
    markers = covered(volume, body)
    assert len(markers) >= 4
    for marker in markers:
        assert np.abs(marker_error(volume, marker)).max() <= PLACE_MM, marker.name
        assert np.abs(marker_error(volume, marker, search="global")).max() <= 1.0, marker.name


REFERENCE = _volume(SERIES)


@SLOW
@given(order=st.permutations(range(45)))
def test_the_order_of_files_never_matters(order: list[int]) -> None:
    again = _volume([SERIES[i] for i in order], [f"{i:03d}" for i in range(45)])
    assert again[1:] == REFERENCE[1:]


@SLOW
@given(folders=st.lists(st.sampled_from(["a", "b/c", "b/d", "."]), min_size=45, max_size=45))
def test_folders_never_matter(folders: list[str]) -> None:
    names = [f"{folder}/{i * 29 % 45:03d}" for i, folder in enumerate(folders)]
    assert _volume(SERIES, names)[1:] == REFERENCE[1:]


@SLOW
@given(position=POSITIONS, axis=AXES, degrees=st.floats(-9.5, 9.5), shift=SHIFTS)
def test_any_placement_of_the_patient(
    position: str, axis: tuple[float, float, float], degrees: float, shift: np.ndarray
) -> None:
    """The patient, on a scanner that is turned a little against the frame of reference."""
    placed = Rigid.about(axis, degrees, shift=shift)
    body = PHANTOM.moved(placed)
    volume, record, _ = _volume(chest(stack(position=position).moved(placed), phantom=body))
    assert record.source.obliquity_degrees <= abs(degrees) + 0.01
    _assert_in_place(volume, body)


@SLOW
@given(position=POSITIONS, axis=AXES, degrees=st.floats(-9.5, 9.5))
def test_any_placement_of_the_slices(
    position: str, axis: tuple[float, float, float], degrees: float
) -> None:
    """The patient stays; the slices are turned."""
    placed = Rigid.about(axis, degrees)
    volume, _, _ = _volume(chest(stack(51, position=position).moved(placed)))
    _assert_in_place(volume, PHANTOM)


@SLOW
@given(position=POSITIONS, degrees=st.floats(-25, 25).filter(lambda d: abs(d) > 0.3))
def test_any_tilt_of_the_gantry(position: str, degrees: float) -> None:
    plane = SliceStack.tilted(degrees, position=position, **SIZE, count=61, step=4.0)
    volume, record, _ = _volume(chest(plane))
    assert abs(record.source.tilt_degrees - abs(degrees)) < 0.01
    _assert_in_place(volume, PHANTOM)


FEET_FIRST = stack(position="FFP")


@pytest.fixture(scope="module")
def feet_first() -> tuple[list[Dataset], Volume]:
    """A series whose positions have all their decimals, and its volume."""
    series = chest(FEET_FIRST, decimals=None)
    return series, _volume(series)[0]


@SLOW
@given(constant=SHIFTS)
def test_a_constant_on_all_positions_moves_only_the_origin(
    feet_first: tuple[list[Dataset], Volume], constant: np.ndarray
) -> None:
    series, here = feet_first
    moved = FEET_FIRST.positions + constant
    there, _, _ = _volume([_placed(ds, at) for ds, at in zip(series, moved, strict=True)])
    assert here.ct.tobytes() == there.ct.tobytes()
    assert np.allclose(there.origin - here.origin, constant, atol=1e-6)
    assert np.allclose(there.direction, here.direction, atol=1e-12)
    assert np.array_equal(there.spacing, here.spacing)


def _placed(dataset: Dataset, position: np.ndarray) -> Dataset:
    """The instance, now with this ImagePositionPatient."""
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
    return dataset


def test_threads_never_matter(tmp_path: Path) -> None:
    volume, record = scan(SERIES, tmp_path)
    choice = judged(tmp_path, series_rules(), volume_rules())
    again, same = volume_of(choice, tmp_path, volume_rules(), threads=3)
    assert volume.ct.tobytes() == again.ct.tobytes()
    assert record == same


def test_at_the_spacing_of_the_config(tmp_path: Path) -> None:
    """0.8 mm, the article's: everything else is measured at a coarser one."""
    volume, record = scan(chest(), tmp_path, volume=volume_rules(spacing_mm=0.8))
    assert volume.ct.shape == (225, 336, 336)
    assert record.flags == ["lungs_cut"]  # the phantom's go on above the stack
    _assert_in_place(volume, replace(PHANTOM))


def test_two_tilted_slices_keep_their_shear() -> None:
    """Two positions make a line, and the line tells tilt from obliquity."""
    plane = SliceStack.tilted(20, **SIZE, count=2, step=4.0)
    headers = [header_of(dataset, key=b"") for dataset in chest(plane)]
    assessment = assess(headers, volume_rules())
    assert assessment.stack is not None and assessment.stack.tilted
    assert np.allclose(assessment.stack.stack_direction, [0, 0, -1])
    assert assessment.measures.tilt_degrees == pytest.approx(20, abs=1e-3)
    assert assessment.measures.slice_spacing == pytest.approx(4.0)


MIXED = [
    header_of(dataset, key=b"")
    for dataset in chest(
        stack(80, 2.0),
        extra={"ImageType": lambda i: [("ORIGINAL", "DERIVED")[i % 2], "PRIMARY", "AXIAL"]},
    )
]


@SLOW
@given(order=st.permutations(range(80)))
def test_the_order_of_headers_never_matters(order: list[int]) -> None:
    """As many slices of one kind as of another: still one reason."""
    verdicts = []
    for headers in (MIXED, [MIXED[i] for i in order]):
        candidate = Candidate("1.2", "1.3", len(headers), headers)
        choose_series([candidate], series_rules(), volume_rules())
        verdicts.append((candidate.reason, candidate.assessment.measures))
    assert verdicts[0] == verdicts[1]
