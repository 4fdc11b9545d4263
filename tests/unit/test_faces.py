"""A face in the field of view: heads and chins are raised, chests are not."""

from __future__ import annotations

import numpy as np
import pytest

from ctcohort.volume.faces import face_possible

MM = np.array([4.0, 2.0, 2.0])
Y, X = np.mgrid[-120:120:2.0, -200:200:2.0]
"""mm from the middle; y to posterior."""


def ellipse(a: float, b: float, y: float = 0.0, x: float = 0.0) -> np.ndarray:
    return ((X - x) / a) ** 2 + ((Y - y) / b) ** 2 <= 1


def blank() -> np.ndarray:
    return np.full(X.shape, -1000, np.int16)


def chest() -> np.ndarray:
    image = blank()
    image[ellipse(170, 110)] = 40
    for side in (-1, 1):
        image[ellipse(55, 75, x=80 * side)] = -850
    image[ellipse(17, 16, y=60)] = 700
    return image


def shoulders() -> np.ndarray:
    image = blank()
    image[ellipse(190, 85, y=20)] = 40
    for side in (-1, 1):
        image[ellipse(25, 25, y=25, x=150 * side)] = 250  # spongy, inside
        image[ellipse(27, 27, y=25, x=150 * side) & ~ellipse(25, 25, y=25, x=150 * side)] = 800
    image[ellipse(14, 13, y=30)] = 600
    image[ellipse(9, 9, y=-15)] = -990  # trachea
    return image


def neck() -> np.ndarray:
    image = blank()
    image[ellipse(62, 60, y=10)] = 40
    image[ellipse(13, 12, y=25)] = 600
    image[ellipse(9, 9, y=-15)] = -990
    return image


def jaw(image: np.ndarray, y: float = 0.0) -> np.ndarray:
    """A mandible's arch in front, in the soft tissue around it."""
    image = image.copy()
    image[ellipse(50, 75, y=y - 25)] = 40
    arch = ellipse(42, 60, y=y - 25) & ~ellipse(32, 48, y=y - 25) & (y - 25 > Y)
    image[arch] = 1000
    image[ellipse(13, 12, y=45)] = 600
    return image


def skull() -> np.ndarray:
    image = blank()
    image[ellipse(78, 98)] = 40
    image[ellipse(74, 94) & ~ellipse(67, 87)] = 1000
    image[ellipse(66, 86)] = 35
    return image


def scan(*parts: tuple[np.ndarray, float]) -> np.ndarray:
    """Images from the head down, each for so many mm."""
    return np.concatenate([np.repeat(image[None], round(mm / MM[0]), 0) for image, mm in parts])


CHEST = [(shoulders(), 32.0), (chest(), 240.0)]

FACES = {
    "a head": scan((skull(), 150)),
    "head to chest": scan((skull(), 150), (jaw(neck()), 40), (neck(), 40), *CHEST),
    "a chin": scan((jaw(neck()), 12), (neck(), 40), *CHEST),
    "a lowered chin before the shoulders": scan((jaw(shoulders(), y=-20), 12), *CHEST),
    "a long neck": scan((neck(), 44), *CHEST),
    "no lungs": scan((shoulders(), 200)),
    "head and feet mixed up": scan(*CHEST, (neck(), 80), (skull(), 100)),
}

NO_FACES = {
    "a chest": scan(*CHEST),
    "cut at the lungs": scan((chest(), 200)),
    "a chest and some neck": scan((neck(), 20), *CHEST),
}


@pytest.mark.parametrize("name", FACES)
def test_a_face_is_raised(name: str) -> None:
    assert face_possible(FACES[name], MM)


@pytest.mark.parametrize("name", NO_FACES)
def test_a_chest_is_not(name: str) -> None:
    assert not face_possible(NO_FACES[name], MM)


@pytest.mark.parametrize("name", [*FACES, *NO_FACES])
@pytest.mark.parametrize("position", ["prone on a table", "table behind", "noise", "finer"])
def test_table_noise_and_voxel_size_change_nothing(name: str, position: str) -> None:
    known = {**FACES, **NO_FACES}
    ct, mm = known[name], MM
    if position == "noise":
        noise = np.random.default_rng(0).normal(0, 25, ct.shape)
        ct = np.clip(ct + noise, -1000, 1000).astype(np.int16)
    elif position == "finer":
        ct, mm = np.repeat(np.repeat(ct, 2, 1), 2, 2), MM / [1, 2, 2]
    else:
        ct = ct.copy()
        ct[:, 1 : 4 if position == "prone on a table" else 3] = 0
        if position == "table behind":
            ct = ct[:, ::1].copy()
            ct[:, 1:3], ct[:, -4:-1] = -1000, 0
    assert face_possible(ct, mm) == (name in FACES)


@pytest.mark.parametrize("mm", [0.5, 0.8, 5.0, 20.0])
def test_any_voxel_size_can_be_judged(mm: float) -> None:
    face_possible(np.full((3, 4, 5), -1000, np.int16), np.full(3, mm))
