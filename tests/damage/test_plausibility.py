"""`slice_implausible`: no false alarm on odd but sound scans, and few damaged slices missed."""

from __future__ import annotations

import numpy as np
import pytest

from .plausibility import detected, implausible, odd_but_sound, phantom

SOUND = dict(odd_but_sound())


@pytest.mark.parametrize("name", SOUND)
def test_no_false_alarm(name: str) -> None:
    assert implausible(SOUND[name]) == []


def test_nine_of_ten_damaged_slices_are_found() -> None:
    assert detected(phantom(), 60)[0] >= 0.9
    assert detected(phantom(count=33, step=8.0), 60)[0] >= 0.9


@pytest.mark.parametrize("places", [[7], [1], [39], [12, 30]])
def test_the_slice_is_named(places: list[int]) -> None:
    slices = phantom()
    for place in places:
        slices[place, 60:90] = -1024
    assert implausible(slices) == places


@pytest.mark.parametrize("place", [0, 40])
def test_the_first_and_the_last_slice_have_one_neighbour_and_are_not_judged(place: int) -> None:
    slices = phantom()
    slices[place] = -1024
    assert implausible(slices) == []


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_too_few_slices_are_not_judged(count: int) -> None:
    slices = np.zeros((count, 64, 64), np.int32)
    slices[count // 2] = 900
    assert implausible(slices) == []
