"""Resampling: equal to SimpleITK, exact to the bit, and well behaved at the ends and gaps."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK as sitk

from ctcohort.volume import resampling
from ctcohort.volume.resampling import axis, output_size, round_hu

from .opened import REPOSITORY

Array = np.ndarray
CLIP = (-1000.0, 1000.0)


def noise(shape: tuple[int, ...]) -> Array:
    """HU with all frequencies, on multiples of 1/8 HU."""
    hu = np.random.default_rng(1).uniform(-900, 900, shape)
    round_hu(hu)
    return hu


def grid(count: int, spacing: float, target: float) -> tuple[Array, Array]:
    size = output_size(count, spacing, target)
    return np.arange(count) * spacing, np.arange(size) * target


def resampled(
    volume: Array, spacing: tuple[float, ...], target: tuple[float, ...], interpolator: str
) -> Array:
    z, y, x = (
        axis(*grid(n, s, t), step=s, interpolator=interpolator)
        for n, s, t in zip(volume.shape, spacing, target, strict=True)
    )
    straight = resampling.Straight(z, y, x)

    def arrive(places: range) -> None:
        for place in places:
            straight.add_slice(place, volume[place])

    return straight.volume(arrive, CLIP)


def by_sitk(
    volume: Array, spacing: tuple[float, ...], target: tuple[float, ...], interpolator: str
) -> Array:
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(spacing[::-1])
    size = [output_size(*each) for each in zip(volume.shape, spacing, target, strict=True)]
    kinds = {"bspline": sitk.sitkBSpline, "linear": sitk.sitkLinear}
    result = sitk.Resample(
        image, size[::-1], sitk.Transform(), kinds[interpolator], (0, 0, 0), target[::-1]
    )
    return np.clip(sitk.GetArrayFromImage(result), *CLIP)


def inside(counts: tuple[int, ...], spacing: tuple[float, ...], target: tuple[float, ...]) -> tuple:
    """The output voxels between the first and the last source voxel centre."""
    return tuple(
        slice(0, int((np.arange(output_size(n, s, t)) * t <= (n - 1) * s + 1e-9).sum()))
        for n, s, t in zip(counts, spacing, target, strict=True)
    )


GRIDS = [
    ((40, 33, 37), (1.25, 0.7, 0.7), (0.8, 0.8, 0.8)),
    ((12, 20, 31), (5.0, 0.9, 0.6), (0.8, 0.8, 0.8)),
    ((9, 17, 16), (0.8, 0.8, 0.8), (0.8, 0.8, 0.8)),
    ((61, 24, 18), (0.625, 0.488, 0.977), (1.5, 1.0, 0.5)),
    ((2, 3, 4), (3.0, 2.0, 1.0), (0.8, 0.7, 0.6)),
]


@pytest.mark.parametrize(("shape", "spacing", "target"), GRIDS)
@pytest.mark.parametrize("interpolator", ["bspline", "linear"])
def test_it_equals_simpleitk_between_the_first_and_the_last_voxel_centre(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    target: tuple[float, ...],
    interpolator: str,
) -> None:
    volume = noise(shape)
    ours = resampled(volume, spacing, target, interpolator)
    theirs = by_sitk(volume, spacing, target, interpolator)
    assert ours.shape == theirs.shape
    where = inside(shape, spacing, target)
    assert np.abs(ours[where] - theirs[where]).max() <= 1.0


@pytest.mark.parametrize("interpolator", ["bspline", "linear"])
def test_beyond_the_last_voxel_centre_the_edge_value_is_held(interpolator: str) -> None:
    volume = noise((6, 4, 4))
    ours = resampled(volume, (5.0, 1.0, 1.0), (0.8, 1.0, 1.0), interpolator)
    assert ours.shape[0] == 38
    beyond = np.arange(38) * 0.8 > 25.0
    assert beyond.sum() == 6
    assert np.array_equal(ours[beyond], np.repeat(np.rint(volume[-1:]), 6, axis=0))


@pytest.mark.parametrize("value", [-1000.0, -0.125, 0.0, 37.375, 1000.0])
@pytest.mark.parametrize("interpolator", ["bspline", "linear"])
def test_flat_stays_flat(value: float, interpolator: str) -> None:
    volume = np.full((7, 9, 11), value)
    ours = resampled(volume, (2.5, 0.71, 0.93), (0.8, 0.8, 0.8), interpolator)
    assert np.array_equal(np.unique(ours), [np.rint(value)])


def test_its_own_grid_gives_the_volume_back() -> None:
    volume = np.rint(noise((9, 8, 7)))
    assert np.array_equal(resampled(volume, (0.8,) * 3, (0.8,) * 3, "bspline"), volume)


def test_overshoot_is_clipped() -> None:
    volume = np.full((6, 6, 6), -1000.0)
    volume[:, :, 3:] = 1000.0
    ours = resampled(volume, (1.0,) * 3, (0.3,) * 3, "bspline")
    assert (ours.min(), ours.max()) == (-1000, 1000)


# The same bytes everywhere


@pytest.mark.parametrize("block", [1, 7, 64, 10_000])
def test_the_size_of_blocks_does_not_change_a_byte(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    volume = noise((23, 40, 41))
    args = (volume, (1.3, 0.71, 0.93), (0.8, 0.8, 0.8), "bspline")
    expected = resampled(*args)
    monkeypatch.setattr(resampling, "BLOCK", block)
    assert resampled(*args).tobytes() == expected.tobytes()


def test_the_order_of_summation_does_not_change_a_byte() -> None:
    """Every sum of products is exact, so a correct BLAS has no choice."""
    knots, targets = grid(50, 1.3, 0.8)
    each = axis(knots, targets, step=1.3, interpolator="bspline")
    samples = noise((50,))
    for block in each.blocks:
        products = block.weights * samples[block.low : block.high]
        forwards = np.add.accumulate(products, axis=1)[:, -1]
        backwards = np.add.accumulate(products[:, ::-1], axis=1)[:, -1]
        assert np.array_equal(forwards, backwards)
        assert np.array_equal(forwards, block.weights @ samples[block.low : block.high])


PROGRAM = """
import hashlib, sys
sys.path[:0] = sys.argv[1:]
from tests.unit import test_resampling as t
ct = t.resampled(t.noise((23, 90, 91)), (1.3, 0.71, 0.93), (0.8, 0.8, 0.8), "bspline")
print(hashlib.sha256(ct.tobytes()).hexdigest())
"""


@pytest.mark.parametrize(("threads", "kernel"), [("1", ""), ("2", ""), ("1", "Prescott")])
def test_the_threads_and_the_kernels_of_the_blas_do_not_change_a_byte(
    threads: str, kernel: str
) -> None:
    expected = resampled(noise((23, 90, 91)), (1.3, 0.71, 0.93), (0.8, 0.8, 0.8), "bspline")
    environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    environment |= {"OPENBLAS_CORETYPE": kernel} if kernel else {}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(REPOSITORY / "scripts"), str(REPOSITORY)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == hashlib.sha256(expected.tobytes()).hexdigest()


@pytest.mark.parametrize("late", [31, 47])
def test_a_slice_that_comes_late_takes_no_place_of_another(late: int) -> None:
    """Every second slice lies on the grid, and between two blocks one is used by neither."""
    shape = (70, 8, 8)
    z, y, x = (
        axis(*grid(n, 1.0, t), step=1.0, interpolator="bspline")
        for n, t in zip(shape, (2, 1, 1), strict=True)
    )
    straight = resampling.Straight(z, y, x)

    def put(place: int) -> None:
        if place == late:
            time.sleep(0.1)
        straight.add_slice(place, np.full(shape[1:], float(place)))

    with ThreadPoolExecutor(2) as pool:
        ct = straight.volume(lambda places: list(pool.map(put, places)), CLIP, pool.map)
    assert np.array_equal(ct[:, 4, 4], np.arange(0, 70, 2))


def test_slices_that_no_voxel_needs_are_asked_for_all_the_same() -> None:
    """They must be checked too. Each is asked for once, from the head on."""
    z = axis(np.arange(40.0), np.array([0.0, 1.0]), step=1.0, interpolator="linear")
    y = x = axis(*grid(4, 1.0, 1.0), step=1.0, interpolator="linear")
    straight = resampling.Straight(z, y, x)
    asked: list[int] = []

    def arrive(places: range) -> None:
        for place in places:
            asked.append(place)
            straight.add_slice(place, np.full((4, 4), float(place)))

    ct = straight.volume(arrive, CLIP)
    assert asked == list(range(40))
    assert ct[:, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("interpolator", ["bspline", "linear"])
def test_a_single_slice_is_everywhere(interpolator: str) -> None:
    (block,) = axis(
        np.array([3.0]), np.array([0.0, 3.0, 9.0]), step=1.0, interpolator=interpolator
    ).blocks
    assert block.weights.tolist() == [[1.0]] * 3


def test_weights_are_exact_and_sum_to_one() -> None:
    each = axis(*grid(200, 0.625, 0.8), step=0.625, interpolator="bspline")
    for block in each.blocks:
        units = block.weights / resampling.WEIGHT_UNIT
        assert np.array_equal(units, np.rint(units))
        assert np.array_equal(block.weights.sum(axis=1), np.ones(block.last - block.first))


def smallest_step(values: Array) -> float:
    """The largest power of two of which all values are multiples."""
    step = 1.0
    while not np.array_equal(values / step, np.rint(values / step)):
        step /= 2
    return step


def test_the_units_leave_room_for_exact_sums() -> None:
    """53 bits: 18 of the weights, 13 of HU, 3 or 10 below one HU."""
    hu = np.random.default_rng(4).uniform(-900, 900, (30, 31))
    rounded = hu.copy()
    round_hu(rounded)
    assert smallest_step(rounded) == 2**-3
    assert np.abs(rounded - hu).max() <= 2**-4
    y, x = (axis(*grid(n, 0.7, 0.8), step=0.7, interpolator="bspline") for n in hu.shape)
    assert smallest_step(np.concatenate([b.weights.ravel() for b in y.blocks])) == 2**-18
    wide = np.empty((y.size, x.size))
    resampling._Room(y, x).resample(rounded, wide)
    assert smallest_step(wide) == 2**-10


# Beyond the ends


def test_half_a_step_beyond_the_ends_is_inside() -> None:
    line = resampling.Line(np.array([0.0, 2.0, 4.0]), 2.0, "bspline")
    just, no_more = 0.9e-6, 1.2e-6
    targets = np.array([-1 - no_more, -1 - just, 0, 3, 5 + just, 5 + no_more])
    assert line.covered(targets).tolist() == [False, True, True, True, True, False]


@pytest.mark.parametrize(
    ("interpolator", "expected"),
    [("bspline", [1.4, 1.0, 2.5, 5.0, 4.2]), ("linear", [1.0, 1.0, 2.5, 5.0, 5.0])],
)
def test_beyond_the_ends_a_spline_is_mirrored_and_a_line_keeps_its_last_value(
    interpolator: str, expected: list[float]
) -> None:
    line = resampling.Line(np.array([1.0, 3.0, 5.0]), 2.0, interpolator)
    reflected = line.reflected(np.array([0.6, 1.0, 2.5, 5.0, 5.8]))
    assert np.allclose(reflected, expected, atol=1e-12)


def test_of_a_single_slice_there_is_nothing_to_mirror() -> None:
    line = resampling.Line(np.array([3.0]), 2.0, "bspline")
    assert line.reflected(np.array([2.2, 3.0, 3.9])).tolist() == [3.0] * 3
    assert line.covered(np.array([1.9, 2.0, 4.0, 4.1])).tolist() == [False, True, True, False]


# Uneven knots


def curve(knots: Array, values: Array, targets: Array, step: float) -> Array:
    each = axis(knots, targets, step=step, interpolator="bspline")
    parts = [block.weights @ values[block.low : block.high] for block in each.blocks]
    return np.concatenate(parts)


def uneven(count: int = 30) -> Array:
    steps = np.random.default_rng(2).uniform(0.7, 1.6, count - 1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def test_the_curve_passes_through_the_samples() -> None:
    knots, values = uneven(), noise((30,))
    assert np.array_equal(curve(knots, values, knots, 1.0), values)


def test_even_knots_that_differ_by_rounding_are_the_even_case() -> None:
    knots, targets = grid(30, 1.3, 0.8)
    values = noise((30,))
    shaken = knots + np.random.default_rng(3).uniform(-1e-9, 1e-9, 30)
    even = curve(knots, values, targets, 1.3)
    assert np.abs(curve(shaken, values, targets, 1.3) - even).max() < 0.02


def test_inside_a_long_scan_a_cubic_is_reproduced() -> None:
    """The ends have slope zero, which a cubic does not; that fades by 0.27 per sample."""
    knots = uneven(60)
    x = knots / knots[-1] - 0.5

    def cubic(t: Array) -> Array:
        return 4000 * t**3 - 300 * t**2 + 100 * t

    middle = np.linspace(knots[20], knots[40], 201)
    result = curve(knots, cubic(x), middle, 1.0)
    assert np.abs(result - cubic(middle / knots[-1] - 0.5)).max() < 0.05


def test_the_slope_and_its_change_are_continuous_at_inner_knots() -> None:
    knots, values = uneven(), noise((30,)) / 10
    h = 1e-2
    for knot in knots[5:25]:
        left = curve(knots, values, knot - h * np.arange(4)[::-1], 1.0)
        right = curve(knots, values, knot + h * np.arange(4), 1.0)
        before, after = np.diff(left)[-1] / h, np.diff(right)[0] / h
        assert abs(before - after) < 20
        bends = np.diff(left, 2)[-1] / h**2, np.diff(right, 2)[0] / h**2
        assert abs(bends[0] - bends[1]) < 0.15 * max(100, *map(abs, bends)) + 80


def test_an_interval_of_more_than_two_steps_is_bridged_by_a_line() -> None:
    knots = np.array([0.0, 1, 2, 3, 4, 7, 8, 9, 10])
    values = noise((9,))
    targets = np.linspace(4, 7, 31)
    line = values[4] + (targets - 4) / 3 * (values[5] - values[4])
    assert np.abs(curve(knots, values, targets, 1.0) - line).max() < 0.02
    left = curve(knots, values, np.linspace(0, 4, 33), 1.0)
    alone = curve(knots[:5], values[:5], np.linspace(0, 4, 33), 1.0)
    assert np.array_equal(left, alone)


def test_an_interval_of_two_steps_is_not_bridged() -> None:
    knots = np.array([0.0, 1, 2, 4, 5, 6])
    values = np.array([0.0, 0, 0, 800, 0, 0])
    middle = curve(knots, values, np.array([3.0]), 1.0)[0]
    assert abs(middle - 400) > 50


# The grid


@pytest.mark.parametrize(
    ("count", "spacing", "target", "size"),
    [(480, 0.625, 0.8, 375), (6, 5.0, 0.8, 38), (512, 0.7, 0.8, 448), (1, 0.3, 0.8, 0)],
)
def test_the_size_is_the_articles_expression(
    count: int, spacing: float, target: float, size: int
) -> None:
    assert output_size(count, spacing, target) == size == int(np.round(count * (spacing / target)))


@pytest.mark.parametrize(("count", "size"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_halves_are_rounded_to_even(count: int, size: int) -> None:
    assert output_size(count, 0.5, 1.0) == size


def test_a_tilted_stack_without_tilt_is_left_as_it_is() -> None:
    volume = np.rint(noise((5, 6, 7))).astype(np.float32)
    same = resampling.sheared(
        volume,
        np.eye(3),
        np.zeros(3),
        size=(5, 6, 7),
        interpolator="bspline",
        clip=CLIP,
        threads=1,
    )
    assert np.abs(same - volume).max() <= 1
    outside = resampling.sheared(
        volume,
        np.eye(3),
        np.array([0.0, 0.0, 4.6]),
        size=(3, 6, 7),
        interpolator="linear",
        clip=CLIP,
        threads=1,
    )
    assert np.array_equal(np.unique(outside), [-1000])


ANGLE = np.radians(17.0)
STEPS = 3.0, 1.2, 0.9
"""Of slices along their line, of the leaning and of the kept axis, mm."""


@pytest.mark.parametrize("interpolator", ["bspline", "linear"])
@pytest.mark.parametrize("lean", [1, -1])
def test_a_sheared_stack_equals_one_step_of_simpleitk(interpolator: str, lean: int) -> None:
    """Wherever an output voxel lies: between the slices, half a voxel beyond, or outside."""
    volume = noise((13, 24, 20))
    across, along = STEPS[1] * np.cos(ANGLE), lean * STEPS[1] * np.sin(ANGLE)
    low, size, mm = np.array([-9.0, -1.0, -0.8]), (75, 35, 27), np.array([0.8, 0.85, 0.7])
    targets = [first + step * np.arange(n) for first, step, n in zip(low, mm, size, strict=True)]
    z, leaning, kept = (
        resampling.Line(np.arange(n) * step, step, interpolator)
        for n, step in zip(volume.shape, (STEPS[0], across, STEPS[2]), strict=True)
    )
    sheared = resampling.Sheared(
        z, leaning, kept, (targets[0], targets[1], targets[2]), targets[1] / across * along
    )
    for place, hu in enumerate(volume):
        sheared.add_slice(place, hu)
    made = np.empty(size, np.int16)
    sheared.fill(made, CLIP)
    # (column, row, slice) of the input per (x, y, z) in mm
    to_index = np.linalg.inv(
        np.array([[STEPS[2], 0, 0], [0, across, 0], [0, along, STEPS[0]]], dtype=float)
    )
    expected = resampling.sheared(
        volume.astype(np.float32),
        to_index @ np.diag(mm[::-1]),
        to_index @ low[::-1],
        size=size,
        interpolator=interpolator,
        clip=CLIP,
        threads=1,
    )
    assert np.array_equal(made == -1000, expected == -1000)
    assert np.abs(made.astype(int) - expected).max() <= 1
    assert 0.2 < (made != -1000).mean() < 0.9


def test_the_leaning_axis_may_be_either_and_threads_never_matter() -> None:
    volume = noise((9, 15, 15))
    lines = [resampling.Line(np.arange(n) * 1.0, 1.0, "bspline") for n in volume.shape]
    targets = [0.7 * np.arange(n) for n in (14, 20, 20)]
    made = []
    for turned in (False, True):
        sheared = resampling.Sheared(*lines, (targets[0], targets[1], targets[2]), 0.2 * targets[1])
        for place, hu in enumerate(volume):
            sheared.add_slice(place, hu)
        room = np.empty((14, 20, 20), np.int16)
        with ThreadPoolExecutor(3) as pool:
            view = room.transpose(0, 2, 1) if turned else room
            sheared.fill(view, CLIP, pool.map if turned else map)
        made.append(view.copy())
    assert np.array_equal(*made)
