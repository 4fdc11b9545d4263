"""How much lung a scan holds: against bodies whose lungs are known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from ctcohort.phantoms.anatomy import Phantom
from ctcohort.volume.lungs import Lung, Lungs

MM = 1.6
Y, X = np.mgrid[-128:128:160j, -200:200:250j]
"""mm from the middle; y to posterior."""
STEP = 5.0


def ellipse(a: float, b: float, y: float = 0.0, x: float = 0.0) -> np.ndarray:
    return ((X - x) / a) ** 2 + ((Y - y) / b) ** 2 <= 1


CLOSE = 0.06
"""The hollows have no vessels: at their rim half of a cube is lung, where patients have 40 %."""


def trunk(inner: float = 0.0, hu: float = -850.0) -> np.ndarray:
    """A slice of a trunk with two hollows of so many times their full size."""
    image = np.full(X.shape, -1000.0)
    image[ellipse(170, 110)] = 40
    for side in (-1, 1) if inner else ():
        image[ellipse(55 * inner, 75 * inner, x=80 * side)] = hu
    return image


def table(image: np.ndarray) -> np.ndarray:
    """Two shells of 4 mm, with foam as dense as inflated lung between and above them."""
    image = image.copy()
    below = ellipse(170, 125) & ~ellipse(170, 110) & (Y > 0)
    image[below] = -930
    for top in (112.0, 122.0):
        image[(top <= Y) & (top + 4 > Y) & (np.abs(X) < 190)] = 200
        image[(top + 4 <= Y) & (top + 10 > Y) & (np.abs(X) < 190)] = -930
    return image


def lung(slices: list[np.ndarray], *, noise: float = 0.0, mask: np.ndarray | None = None) -> Lung:
    random = np.random.default_rng(0)
    lungs = Lungs(STEP * np.arange(len(slices)), (256 / 160, 400 / 250))
    for place in reversed(range(len(slices))):  # threads come in any order
        lungs.add_slice(place, slices[place] + random.normal(0, noise, X.shape), mask)
    return lungs.measures()


WHOLE = [trunk()] * 4 + [trunk(s) for s in np.sin(np.linspace(0.3, 2.84, 40))] + [trunk()] * 4
VOLUME_ML = 2 * np.pi * 55 * 75 * STEP * (np.sin(np.linspace(0.3, 2.84, 40)) ** 2).sum() / 1000


@pytest.mark.parametrize("noise", [0.0, 30.0, 100.0])
def test_whole_lungs_have_their_volume(noise: float) -> None:
    """Noise of a sharp kernel scatters lung beyond the densities of lung."""
    found = lung(WHOLE, noise=noise)
    assert found.volume_ml == pytest.approx(VOLUME_ML, rel=CLOSE)
    assert found.cut == []
    assert found.flags() == []


@pytest.mark.parametrize("hu", [-920.0, -700.0, -560.0])
def test_inflated_and_dense_lungs_are_lungs(hu: float) -> None:
    dense = [np.where(image == -850, hu, image) for image in WHOLE]
    assert lung(dense, noise=20).volume_ml == pytest.approx(VOLUME_ML, rel=CLOSE)


def test_a_scan_that_ends_in_a_lung_cuts_it() -> None:
    assert lung(WHOLE[20:]).cut == ["head"]
    assert lung(WHOLE[:24]).cut == ["feet"]
    assert lung(WHOLE[20:24]).cut == ["head", "feet"]
    assert lung(WHOLE[20:24]).flags() == ["lungs_cut"]


def test_a_few_square_millimetres_in_the_last_slice_are_no_cut_lung() -> None:
    """A tip of 14 mm, as in a recess that ends within a slice or two."""
    tip = 7 / 75
    assert lung([*WHOLE[:-4], trunk(tip)]).cut == []


NO_LUNGS = {
    "tissue": [trunk()] * 30,
    "gas as wide as a dilated colon": [trunk(0.5, hu=-1000.0)] * 30,
    "a table's foam": [table(trunk())] * 30,
    "air alone": [np.full(X.shape, -1000.0)] * 30,
}


@pytest.mark.parametrize("name", NO_LUNGS)
@pytest.mark.parametrize("noise", [0.0, 20.0])
def test_what_is_no_lung(name: str, noise: float) -> None:
    found = lung(NO_LUNGS[name], noise=noise)
    assert found.flags() == ["no_lung"]
    assert found.cut == []


def test_a_table_takes_nothing_from_the_lungs_above_it() -> None:
    assert lung([table(image) for image in WHOLE]).volume_ml == pytest.approx(VOLUME_ML, rel=CLOSE)


def test_padding_is_no_lung() -> None:
    assert lung(WHOLE, mask=np.ones(X.shape, bool)).flags() == ["no_lung"]


def test_slices_between_those_that_are_measured_need_not_come() -> None:
    lungs = Lungs(0.5 * np.arange(80), (1.6, 1.6))
    for place in range(80):
        lungs.add_slice(place, trunk(1.0), None)
    found = lungs.measures()
    area = 2 * np.pi * 55 * 75
    assert found.volume_ml == pytest.approx(area * 39.5 / 1000, rel=CLOSE)
    assert found.cut == ["head", "feet"]


def test_a_single_slice_has_no_volume() -> None:
    lungs = Lungs(np.zeros(1), (1.6, 1.6))
    lungs.add_slice(0, trunk(1.0), None)
    assert lungs.measures().volume_ml == 0


def test_the_phantom_s_lungs() -> None:
    """Its own planes, counted voxel by voxel; its wall thins out at the head."""
    z, spacing = np.arange(160.0, -100.0, -4.0), 2.0
    lungs = Lungs(z[0] - z, (spacing, spacing))
    voxels = 0
    x, y = np.arange(-200, 200, spacing), np.arange(-140, 140, spacing)[:, None]
    inner = (x / 150) ** 2 + (y / 100) ** 2 < 1
    for place, height in enumerate(z):
        plane = Phantom().plane((-200, -140, height), (0, spacing, 0), (spacing, 0, 0), 140, 200)
        voxels += int(((plane > -925) & (plane < -405) & inner).sum())
        lungs.add_slice(place, plane, None)
    found = lungs.measures()
    assert found.volume_ml == pytest.approx(voxels * spacing**2 * 4.0 / 1000, rel=0.08)
    assert found.cut == []
