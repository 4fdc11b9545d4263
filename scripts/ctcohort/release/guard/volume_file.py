"""Prove that a volume's file holds its four arrays and not a byte more.

The format is spelled here a second time on purpose: a guard that shared code with the writer would
share its mistakes."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MEMBERS = {
    "ct": ("<i2", (None, None, None)),
    "spacing": ("<f8", (3,)),
    "origin": ("<f8", (3,)),
    "direction": ("<f8", (3, 3)),
}
"""The members of a volume's npz in their order: dtype, and shape where it is fixed."""

STEP = 1 << 18
"""Bytes of compressed data that are unpacked at once."""

_NO_TIME = 0, 0x21
"""The first day that a zip archive can name."""

NO_TEXT_HU = 8192
"""The high byte of no smaller number is a letter or digit: an array of them cannot hold text."""

_WIDE = "wide"


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of checking a volume's file.

    `faults` are locations with what is wrong there. `wide` says that there are numbers from
    `NO_TEXT_HU` on, so that its voxels must be searched.
    """

    faults: list[str]
    wide: bool
    sha256: str


def check_volume(path: Path) -> Proof:
    """Prove that a file is a volume and nothing else.

    Every byte is accounted for: the local entries follow each other, the directory follows them,
    and the file ends with it; no time stamp, comment or extra field; each member is the npy header
    that NumPy writes and exactly its array.
    """
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        faults = list(_volume_faults(content))
    except (struct.error, zlib.error, ValueError, IndexError, SyntaxError) as error:
        faults = [f"is not a volume's npz ({type(error).__name__})"]
    return Proof([fault for fault in faults if fault != _WIDE], _WIDE in faults, digest)


def _volume_faults(content: bytes) -> Iterator[str]:
    location = 0
    directory = b""
    for name, (dtype, shape) in MEMBERS.items():
        member = f"{name}.npy".encode()
        fixed = content[location : location + 30]
        if fixed[:4] != b"PK\x03\x04" or len(fixed) < 30:
            yield f"byte {location}: expected the member {name}.npy"
            return
        version, flags, method, time, day, checksum, packed, size, length, extra = struct.unpack(
            "<HHHHHIIIHH", fixed[4:]
        )
        if content[location + 30 : location + 30 + length] != member:
            yield f"byte {location + 30}: expected the member {name}.npy"
            return
        if (version, flags, method, time, day, extra) != (20, 0, 8, *_NO_TIME, 0):
            yield f"{name}.npy: its entry has a time stamp, an extra field or another version"
            return
        start = location + 30 + length
        yield from _member_faults(
            name, content[start : start + packed], dtype, shape, size, checksum
        )
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + fixed[4:]
        directory += struct.pack("<HHHII", 0, 0, 0, 0o600 << 16, location) + member
        location = start + packed
    counts = len(MEMBERS), len(MEMBERS), len(directory), location, 0
    end = directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, *counts)
    if content[location : location + len(end)] != end:
        yield f"byte {location}: expected the directory of {len(MEMBERS)} members and no comment"
    elif len(content) != location + len(end):
        after = len(content) - location - len(end)
        yield f"byte {location + len(end)}: {after} bytes after the end"


def _member_faults(
    name: str, packed: bytes, dtype: str, shape: tuple[int | None, ...], size: int, checksum: int
) -> Iterator[str]:
    unpacker = zlib.decompressobj(-15)
    blocks = (
        unpacker.decompress(packed[start : start + STEP]) for start in range(0, len(packed), STEP)
    )
    start = next(blocks, b"")
    header_size = 10 + int.from_bytes(start[8:10], "little")
    stream = io.BytesIO(start[:header_size])
    if np.lib.format.read_magic(stream) != (1, 0):
        yield f"{name}.npy: is not an npy file of version 1.0"
        return
    there, fortran, kind = np.lib.format.read_array_header_1_0(stream)
    fits = len(there) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, there, strict=True)
    )
    if fortran or kind.str != dtype or not fits:
        yield f"{name}.npy: is {kind.str} of {len(there)} axes; expected {dtype} of {len(shape)}"
        return
    if start[:header_size] != _npy_header(there, dtype):
        yield f"{name}.npy: its header is not the one that NumPy writes"
    total, crc, low, high = len(start), zlib.crc32(start), 0, 0
    rest = start[header_size:]
    while rest or total < size:
        if dtype == "<i2":
            values = np.frombuffer(rest, dtype, len(rest) // 2)
            low, high = (
                min(low, int(values.min(initial=0))),
                max(high, int(values.max(initial=0))),
            )
        block = next(blocks, b"")
        if not block:
            break
        total += len(block)
        crc = zlib.crc32(block, crc)
        rest = rest[len(rest) // 2 * 2 :] + block
    if total != size or size != header_size + int(np.prod(there)) * kind.itemsize:
        yield f"{name}.npy: has {total} bytes; expected those of its array"
    if not unpacker.eof or unpacker.unused_data or any(blocks) or crc != checksum:
        yield f"{name}.npy: its compressed data is longer, shorter or other than its entry says"
    if max(-low, high + 1) > NO_TEXT_HU:
        yield _WIDE


def _npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    stream = io.BytesIO()
    facts = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue()
