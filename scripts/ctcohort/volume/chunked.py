"""A volume as Blosc2 (``.b2nd``): the same voxels in small pieces, each of which can be read alone.

A chunk is a cube of 64 voxels and is read by blocks of 32: a patch unpacks little more than itself.
Zstandard at level 1 on bytes sorted by significance takes three quarters of the npz's bytes
(``benchmarks/patches``). Level 5 was tried on two real volumes and a phantom: 0.3 to 2.7 % fewer
bytes for two to four times the time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctcohort.base.files import sha256, write_bytes
from ctcohort.volume import npz

CHUNK, BLOCK = 64, 32
"""Voxels along each axis."""

LEVEL = 1

PLACE = ("spacing", "origin", "direction")
"""The npz's other arrays, which are metadata here, as lists of numbers."""

SOURCE = "npz_sha256"
"""Metadata: the SHA-256 of the npz that the file was made of. The manifest finds it in the file's
first bytes, without Blosc2."""


def write(volume: Path, target: Path) -> None:
    """Write ``<name>.npz`` to `target`. The bytes follow from the npz and the version of Blosc2.

    Raises
    ------
    InputError
        Not a volume of this workflow.
    """
    arrays = npz.read(volume)
    place = {key: arrays[key].tolist() for key in PLACE}
    write_bytes(target, packed(arrays["ct"], {**place, SOURCE: sha256(volume)}))


def packed(ct: NDArray[np.int16], metadata: dict[str, Any]) -> bytes:
    """Return the bytes of a file with these voxels (z, y, x) and metadata."""
    import blosc2

    coding = blosc2.CParams(  # more threads would write chunks in any order
        codec=blosc2.Codec.ZSTD,
        clevel=LEVEL,
        filters=[blosc2.Filter.SHUFFLE],
        filters_meta=[0],
        nthreads=1,
    )
    for variable in [name for name in os.environ if name.startswith("BLOSC_")]:
        del os.environ[variable]  # BLOSC_NTHREADS, BLOSC_CLEVEL and others would come before these
    array = blosc2.asarray(
        np.ascontiguousarray(ct),
        chunks=(CHUNK,) * 3,
        blocks=(BLOCK,) * 3,
        cparams=coding,
        meta=metadata,
    )
    return bytes(array.to_cframe())


def unpacked(content: bytes) -> tuple[NDArray[np.int16], dict[str, Any]]:
    """Return voxels and metadata of the bytes of a file.

    Raises
    ------
    ValueError
        It is no such file.
    """
    import blosc2

    try:
        array = blosc2.ndarray_from_cframe(content)
        return array[:], {key: array.schunk.meta[key] for key in (*PLACE, SOURCE)}
    except (RuntimeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a chunked volume: {error}") from None


def difference(path: Path, volume: Path) -> str:
    """Say in what a chunked volume differs from its npz, voxels and places; empty if in nothing."""
    try:
        ct, metadata = unpacked(path.read_bytes())
    except ValueError as error:
        return f"{path}: is {error}"
    arrays = npz.read(volume)
    if any(not np.array_equal(np.array(metadata[key]), arrays[key]) for key in PLACE):
        return f"{path}: has another spacing, origin or direction than {volume}"
    if ct.dtype != arrays["ct"].dtype or not np.array_equal(ct, arrays["ct"]):
        return f"{path}: has other voxels than {volume}"
    return ""
