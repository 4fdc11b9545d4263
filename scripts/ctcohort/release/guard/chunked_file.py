"""Prove that a chunked volume holds its voxels and its metadata and not a byte more."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from ctcohort.release.guard.volume_file import NO_TEXT_HU
from ctcohort.volume import chunked

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_proven(path: Path) -> bool:
    """Whether a file, made anew from the voxels and numbers that it holds, is the same file.

    One that another version of Blosc2 has written may not be: it is not proven, and must be
    searched.
    """
    content = path.read_bytes()
    try:
        ct, metadata = chunked.unpacked(content)
    except ValueError:
        return False
    location = [number for key in chunked.PLACE for number in _flat(metadata[key])]
    return (
        all(isinstance(number, float) and math.isfinite(number) for number in location)
        and _SHA256.fullmatch(str(metadata[chunked.SOURCE])) is not None
        and max(-int(ct.min()), int(ct.max()) + 1) <= NO_TEXT_HU
        and chunked.packed(ct, metadata) == content
    )


def _flat(values: Any) -> list[Any]:
    if isinstance(values, list):
        return [number for value in values for number in _flat(value)]
    return [values]
