"""Writing a volume as a deterministic ``.npz`` that plain `numpy.load` reads.

A zip archive of ``.npy`` members whose bytes follow from the arrays alone: fixed order, no time
stamp, no host. Deflate is libdeflate's (in imagecodecs) at level 1: on a chest volume it takes a
sixth of zlib's time at `np.savez_compressed`'s level, for 1.3 % more bytes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .files import write_bytes

LEVEL = 1
_DEFLATED = 8
_EPOCH = 0, 0x21  # 1980-01-01, the first day that a zip archive can name
_LIMIT = 2**32 - 1


def write(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write `arrays` under their names, in their order (APPNOTE.TXT 4.3: the ZIP format).

    Raises
    ------
    ValueError
        For an array of 4 GiB and more.
    """
    from imagecodecs import deflate_encode

    chunks: list[bytes | bytearray] = []
    directory: list[bytes] = []
    offset = 0
    for key, array in arrays.items():
        name = f"{key}.npy".encode()
        content = _npy(array)
        if len(content) > _LIMIT:
            raise ValueError(f"{key} has {len(content)} bytes; a volume is limited to 4 GiB")
        packed = deflate_encode(content, level=LEVEL, raw=True)
        facts = struct.pack(
            "<HHHHHIIIHH",
            20,
            0,
            _DEFLATED,
            *_EPOCH,
            zlib.crc32(content),
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


def _npy(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
