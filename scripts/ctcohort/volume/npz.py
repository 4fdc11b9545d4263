"""Writing a volume as a deterministic ``.npz`` that plain `numpy.load` reads.

A zip archive of ``.npy`` members whose bytes follow from the arrays alone: fixed order, no time
stamp, no host. Deflate is libdeflate's (in imagecodecs), at the lowest level after which the next
one is not worth its time. The noise of most scans hardly shrinks further: they get level 1, in a
tenth of the time of `np.savez_compressed` and for 1 to 2 % more bytes. Smooth volumes get more.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctcohort.base.faults import InputError
from ctcohort.base.files import write_bytes

KEYS = ("ct", "spacing", "origin", "direction")
"""The arrays of a volume."""

WORTH = 0.01
"""Share of the bytes that the next level must save: each takes a third more time than the last."""

HIGHEST = 3

PIECE = 1 << 18
PIECES = 8
"""Bytes and number of pieces on which that is tried, one in each part of the volume."""

WITHIN = 0.618034
"""Where in its part a piece lies: by this share further than the last. At even distances all would
lie at the same place of a slice, and be all air or all spine."""

_DEFLATED = 8
_EPOCH = 0, 0x21  # 1980-01-01, the first day that a zip archive can name
_LIMIT = 2**32 - 1


def empty(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """An array that `write` can deflate where it lies: its memory begins with its npy header.

    Deflating needs header and voxels in one piece; joining them would take the volume's memory
    a second time.
    """
    header = _header(shape, np.dtype(dtype))
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(len(header) + size, np.uint8)
    memory[: len(header)] = np.frombuffer(header, np.uint8)
    return memory[len(header) :].view(dtype).reshape(shape)


def write(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write `arrays` under their names, in their order (APPNOTE.TXT 4.3: the ZIP format).

    Raises
    ------
    ValueError
        For an array of 4 GiB and more.
    """
    from imagecodecs import deflate_crc32, deflate_encode

    chunks: list[bytes | memoryview] = []
    directory: list[bytes] = []
    offset = 0
    for key, array in arrays.items():
        name = f"{key}.npy".encode()
        content = _npy(array)
        if len(content) > _LIMIT:
            raise ValueError(f"{key} has {len(content)} bytes; a volume is limited to 4 GiB")
        bound = len(content) + len(content) // 500 + 64  # if nothing shrinks
        room: Any = np.empty(bound, np.uint8)
        packed = memoryview(deflate_encode(content, level=level(content), raw=True, out=room))
        facts = struct.pack(
            "<HHHHHIIIHH",
            20,
            0,
            _DEFLATED,
            *_EPOCH,
            deflate_crc32(content),
            len(packed),
            len(content),
            len(name),
            0,
        )
        chunks += [b"PK\x03\x04" + facts + name, packed]
        rest = struct.pack("<HHHII", 0, 0, 0, 0o600 << 16, offset)
        directory.append(b"PK\x01\x02" + struct.pack("<H", 20) + facts + rest + name)
        offset += 30 + len(name) + len(packed)
    size = sum(map(len, directory))
    count = len(directory)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, size, offset, 0)
    write_bytes(path, *chunks, *directory, end)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a volume's npz by their names, in the order of `KEYS`.

    Raises
    ------
    InputError
        Not a volume of this workflow.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError
        with open(path, "rb") as stream, np.load(stream) as arrays:
            if set(arrays.files) != set(KEYS):
                raise ValueError
            return {key: arrays[key] for key in KEYS}
    except (ValueError, zipfile.BadZipFile, zlib.error):
        raise InputError(f"{path}: expected an npz with {', '.join(sorted(KEYS))}") from None


def level(content: Any) -> int:
    """The level at which `content` (bytes) is deflated, judged on some of it."""
    from imagecodecs import deflate_encode

    view: Any = memoryview(content)
    if len(view) <= PIECE:
        return HIGHEST
    room = len(view) / PIECES
    starts = [int(room * (i + i * WITHIN % 1 * (1 - min(1, PIECE / room)))) for i in range(PIECES)]

    def size(at: int) -> int:
        pieces = (view[start : start + PIECE] for start in starts)
        return sum(len(deflate_encode(piece, level=at, raw=True)) for piece in pieces)

    last = size(1)
    for at in range(1, HIGHEST):
        smaller = size(at + 1)
        if last - smaller < WORTH * last:
            return at
        last = smaller
    return HIGHEST


def _npy(array: NDArray[np.generic]) -> Any:
    """The bytes of a ``.npy`` file; without a copy for an array that `empty` made."""
    header = _header(array.shape, array.dtype)
    memory = array
    while isinstance(memory.base, np.ndarray):
        memory = memory.base
    if memory.dtype == np.uint8 and memory.nbytes == len(header) + array.nbytes:
        start = np.frombuffer(header, np.uint8)
        if array.flags.c_contiguous and np.array_equal(memory[: len(header)], start):
            return memory.data
    return header + np.ascontiguousarray(array).tobytes()


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    stream = io.BytesIO()
    facts = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue()
