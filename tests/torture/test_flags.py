"""Each flag of the certificate rises on a scan made wrong for it, and stays down on good ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from ctcohort.base.reasons import FLAGS, SELECTED
from ctcohort.dataset.manifest import choice_flags
from ctcohort.phantoms.anatomy import Phantom, Rigid
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_reformat, write_files
from tests.objects import METAL_HU

from .cases import CASES, PHANTOM, SIZE, chest, stack, without
from .flow import ledger_rows, scan, series_rules, volume_rules

UPSIDE_DOWN = PHANTOM.moved(Rigid.about((0, 0, 1), 180))
ON_ITS_SIDE = PHANTOM.moved(Rigid.about((0, 0, 1), 100))


def _rescaled(slope: float, intercept: float) -> list[Dataset]:
    """Good pixels under a header that says another slope and intercept than they were made with."""
    return chest(extra={"RescaleSlope": str(slope), "RescaleIntercept": str(intercept)}, noise=8.0)


def _cut_out(millimetres: float) -> list[Dataset]:
    heart = np.array([35.0, -35.0, 0.0]) * 0.75
    return chest(stack(centre=heart, rows=64, columns=64, pixel_spacing=millimetres / 64))


WRONG: dict[str, tuple[str, Callable[[], list[Dataset]]]] = {
    "cardiac cut-out": ("small_fov", lambda: _cut_out(150.0)),
    "narrow in one direction": ("small_fov", lambda: chest(stack(rows=64))),
    "stops too early": ("odd_scan_length", lambda: chest(stack(32, 4.0))),
    "as long as a body": ("odd_scan_length", lambda: chest(stack(102, 10.0))),
    "intercept applied twice": ("hu_implausible", lambda: _rescaled(1.0, -2048.0)),
    "slope applied twice": ("hu_implausible", lambda: _rescaled(2.0, -1024.0)),
    "intercept not applied": ("no_air_peak", lambda: _rescaled(1.0, 0.0)),
    "nothing but tissue": ("no_air_peak", lambda: chest(_inside(), noise=8.0)),
    "patient upside down": ("orientation_suspect", lambda: chest(phantom=UPSIDE_DOWN)),
    "patient on the side": ("orientation_suspect", lambda: chest(phantom=ON_ITS_SIDE)),
    "supine registered as prone": (
        "orientation_suspect",
        lambda: chest(stack(position="HFP"), phantom=UPSIDE_DOWN),
    ),
    "declared padding of 0 is tissue": (
        "padding_unapplied",
        lambda: chest(
            pixel_representation=1,
            bits_stored=16,
            intercept=40.0,
            extra={"PixelPaddingValue": 0},
        ),
    ),
    "tilted gantry": (
        "tilt_corrected",
        lambda: chest(SliceStack.tilted(7, **SIZE, count=61, step=4.0)),
    ),
    "nothing but tissue, no lung": ("no_lung", lambda: chest(_inside(), noise=8.0)),
    "the belly alone": ("no_lung", lambda: chest(stack().shifted(np.array([0.0, 0.0, -175.0])))),
    "stops below the tips": ("lungs_cut", chest),
    "lossy pixels": (
        "lossy_pixels",
        lambda: chest(extra={"LossyImageCompression": "01"}, noise=8.0),
    ),
    "a tenth of one slice is lost": ("slice_implausible", lambda: _overwritten(20, 0.1)),
    "a missing slice": ("spacing_irregular", lambda: chest(without(90, [40], 2.0))),
}


def _overwritten(place: int, share: float) -> list[Dataset]:
    """Zeros in the place of this share of one slice's bytes, in its middle."""
    series = chest()
    content = bytearray(series[place].PixelData)
    first, count = int(len(content) * (1 - share) / 2), int(len(content) * share)
    content[first : first + count] = bytes(count)
    series[place].PixelData = bytes(content)
    return series


def _inside() -> SliceStack:
    """A field of view within the wall of the belly."""
    plane = stack(centre=(0.0, -45.0, -80.0), rows=40, columns=40, pixel_spacing=1.0)
    return plane.shifted(np.array([-10.0, 0.0, 0.0]))


GOOD: dict[str, Callable[[], list[Dataset]]] = {
    "plain": lambda: chest(noise=8.0),
    "noisy": lambda: chest(noise=60.0),
    "large patient": lambda: chest(
        stack(pixel_spacing=4.4, step=6.0), phantom=Phantom(scale=1.3), noise=20.0
    ),
    "prone": lambda: chest(
        stack(position="FFP"), phantom=replace(PHANTOM, table="anterior"), noise=8.0
    ),
    "on the left side": lambda: chest(
        stack(position="HFDL"), phantom=replace(PHANTOM, table="left"), noise=8.0
    ),
    "metal": lambda: chest(metal=METAL_HU, noise=8.0),
    "padded outside the circle": lambda: chest(
        pixel_representation=1, bits_stored=16, intercept=0.0, padding=-2000, noise=8.0
    ),
    "padded with air": lambda: chest(padding=0, noise=8.0),
    "slightly oblique": lambda: chest(SliceStack.oblique(5, **SIZE, count=45, step=4.0), noise=8.0),
    "de-tilted with the tag kept": lambda: chest(replace(stack(), gantry_tilt=20.0), noise=8.0),
}


@pytest.mark.parametrize("name", WRONG)
def test_flag_rises(name: str, tmp_path: Path) -> None:
    flag, make = WRONG[name]
    _, record = scan(make(), tmp_path, series=series_rules(allow_lossy=True))
    assert flag in record.flags


@pytest.mark.parametrize("name", GOOD)
def test_no_flag_on_a_good_scan(name: str, tmp_path: Path) -> None:
    _, record = scan(GOOD[name](), tmp_path)
    assert set(record.flags) <= {"lungs_cut"}  # most stacks end within the phantom's lungs


def test_no_flag_at_all_on_a_whole_chest(tmp_path: Path) -> None:
    whole = stack(60).shifted(np.array([0.0, 0.0, 20.0]))
    _, record = scan(chest(whole, noise=8.0), tmp_path)
    assert record.flags == []


def _without_first_position() -> list[Dataset]:
    first, *others = chest()
    del first.ImagePositionPatient
    return [first, *others]


def _targeted() -> list[Dataset]:
    return chest(stack(60, 1.0), series_number=3, seed="targeted")


CHOICES: dict[str, tuple[list[str], Callable[[], list[Dataset]]]] = {
    "a thin targeted reconstruction has the most slices": (
        ["partial_coverage"],
        lambda: [*chest(), *_targeted()],
    ),
    "a derived series is larger": (
        ["derived_is_larger"],
        lambda: [
            *chest(),
            *make_reformat(PHANTOM, SliceStack.coronal(**SIZE, count=64, step=4.0)),
        ],
    ),
    "the smaller matrix of an end slice is dropped": (
        ["end_slices_lost"],
        lambda: CASES["one_smaller_matrix_at_the_end"].make(),
    ),
    "an end slice has no position": (
        ["end_slices_lost"],
        _without_first_position,
    ),
    "an inner slice has no position": ([], lambda: CASES["one_slice_without_position"].make()),
    "a scout in the series": ([], lambda: CASES["localizer_in_the_series"].make()),
    "a scout that is not called one": ([], lambda: CASES["localizer_not_called_one"].make()),
    "a few derived slices in the series": ([], lambda: CASES["a_few_derived_slices"].make()),
    "a kernel pair": ([], lambda: [*chest(), *chest(series_number=3, kernel="B70f")]),
    "a smaller derived series": ([], lambda: [*chest(), *make_reformat(PHANTOM)]),
    "a shorter series that was not chosen": (
        [],
        lambda: [*chest(), *chest(stack(32, 2.0), series_number=3)],
    ),
}


@pytest.mark.parametrize("name", CHOICES)
def test_flags_of_the_choice(name: str, tmp_path: Path) -> None:
    flags, make = CHOICES[name]
    write_files(make(), tmp_path / "archive")
    rows = [
        {key: "" if value is None else str(value) for key, value in row.items()}
        for row in ledger_rows(tmp_path, series_rules(), volume_rules())
    ]
    chosen = next(row for row in rows if row["reason"] == SELECTED)
    assert choice_flags(rows, chosen) == flags


DAMAGE: dict[str, tuple[list[str], Callable[[list[Path]], None]]] = {
    "nothing": ([], lambda paths: _emptied(paths[:0])),
    "end slices are empty": (["end_slices_lost"], lambda paths: _emptied(paths[-3:])),
    "an inner slice is empty": ([], lambda paths: _emptied(paths[20:21])),
    "an inner and an end slice": (["end_slices_lost"], lambda paths: _emptied(paths[19:46:25])),
    "end slices lost their first bytes": (["end_slices_lost"], lambda paths: _zeroed(paths[-2:])),
    "a text beside them": ([], lambda paths: _beside(paths, "notes.txt", b"text\n" * 50)),
}


def _emptied(paths: list[Path]) -> None:
    for path in paths:
        path.write_bytes(b"")


def _zeroed(paths: list[Path]) -> None:
    for path in paths:
        path.write_bytes(bytes(512) + path.read_bytes()[512:])


def _beside(paths: list[Path], name: str, content: bytes) -> None:
    (paths[0].parent / name).write_bytes(content)


@pytest.mark.parametrize("name", DAMAGE)
def test_files_that_cannot_be_read_are_lost_slices(name: str, tmp_path: Path) -> None:
    flags, damage = DAMAGE[name]
    paths = write_files(
        chest(noise=8.0), tmp_path / "archive", names=[f"{i:03d}.dcm" for i in range(45)]
    )
    damage(paths)
    (row,) = ledger_rows(tmp_path, series_rules(), volume_rules())
    assert row["reason"] == SELECTED
    chosen = {key: "" if value is None else str(value) for key, value in row.items()}
    assert choice_flags([chosen], chosen) == flags


def test_every_flag_is_shown_to_rise() -> None:
    shown = {flag for flag, _ in WRONG.values()} | {
        f for flags, _ in CHOICES.values() for f in flags
    }
    assert shown == set(FLAGS)
