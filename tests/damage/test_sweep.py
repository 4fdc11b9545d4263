"""No damaged file becomes a volume without a word, and no sound one is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ctcohort.dicom.pixels import CODECS

from .sweep import CONTAINERS, DAMAGES, ENCODINGS, SOUND, Scan

DRAWS = 3

REFUSED = {
    "uncompressed": 0.15,
    "uncompressed, big endian": 0.15,
    "deflated": 0.5,
    "encapsulated uncompressed": 0.4,
    "RLE": 0.9,
    "JPEG 2000": 0.75,
    "HTJ2K": 0.85,
}
"""Least share of the damages that is refused; of JPEG and JPEG-LS, 19 of 20."""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sound_files_are_accepted_and_damaged_ones_never_wrong(
    encoding: str, tmp_path: Path
) -> None:
    scan = Scan(encoding, tmp_path / "scan")
    outcomes = [(variant, scan.outcome(variant)) for variant in scan.variants(DRAWS)]
    refused = [v.name for v, outcome in outcomes if v.sound and outcome != "accepted"]
    assert not refused
    assert not [v.name for v, outcome in outcomes if not v.sound and outcome == "wrong"]
    damaged = Counter(outcome for v, outcome in outcomes if not v.sound)
    assert damaged["refused"] >= REFUSED.get(encoding, 0.95) * damaged.total()


def test_the_sweep_is_as_wide_as_it_says() -> None:
    """At least 300 combinations, and every codec that pixels are decoded with."""
    compressed = [each for each in ENCODINGS.values() if each.encode]
    native = len(ENCODINGS) - len(compressed)
    count = native * len(DAMAGES) * DRAWS
    for each in compressed:
        count += len(CONTAINERS) + len(SOUND[each.family]) + (len(DAMAGES) + 1) * DRAWS
    assert count >= 300
    swept = {CODECS[str(each.syntax)] for each in compressed}
    assert swept == set(CODECS.values())
