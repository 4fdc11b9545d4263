"""RLE frames (PS3.5 annex G): every segment must give exactly the bytes of its plane."""

from __future__ import annotations

import imagecodecs
import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 64
PADDING = b"\x00\x80"
"""Zero bytes and no-operations may follow a segment."""

SHORT_REST = 2
"""So few other bytes after a segment are taken for padding too."""


def decode(frame: bytes, rows: int, columns: int, size: int) -> NDArray[np.unsignedinteger]:
    """Return the pixels (rows, columns), of `size` bytes each, of an RLE frame.

    Raises
    ------
    ValueError
        If a segment is missing or does not end with the last byte of its plane.
    """
    header = np.frombuffer(frame[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0"), "<u4")
    offsets = [int(offset) for offset in header[1 : 1 + size]]
    edges = [*offsets, len(frame)]
    if header[0] != size or offsets[0] < HEADER_BYTES or sorted(set(edges)) != edges:
        raise ValueError(f"the RLE header does not name {size} segments within the frame")
    pixels = np.empty((rows * columns, size), np.uint8)
    for plane, (start, end) in enumerate(zip(offsets, edges[1:], strict=True)):
        segment = _segment(frame[start:end], rows, columns)
        pixels[:, size - 1 - plane] = segment  # the most significant byte comes first
    return pixels.view(f"<u{size}").reshape(rows, columns)


def _segment(segment: bytes, rows: int, columns: int) -> NDArray[np.uint8]:
    plane = np.empty(rows * columns, np.uint8)
    try:
        if len(imagecodecs.packbits_decode(segment, out=plane.data)) == plane.size:
            return plane
    except imagecodecs.PackbitsError:
        pass  # something follows the segment, or it is damaged
    end = _end(segment, rows, columns)
    imagecodecs.packbits_decode(segment[:end], out=plane.data)
    return plane


def _end(segment: bytes, rows: int, columns: int) -> int:
    """Index of the byte after the run that completes a plane.

    What follows it is padding, or anything if no run before it crosses the end of a row: encoders
    keep rows apart (PS3.5 G.3.1), and where bytes were lost or overwritten, rows no longer end
    with a run.
    """
    wanted, done, at, kept_apart = rows * columns, 0, 0, True
    while done < wanted:
        if at + 1 >= len(segment):
            raise ValueError(f"an RLE segment holds {done} of {wanted} bytes")
        code = segment[at]
        run = code + 1 if code < 128 else 257 - code if code > 128 else 0
        at += 2 if code > 128 else 1 + run
        kept_apart &= done % columns + run <= columns
        done += run
    rest = segment[at:]
    if done > wanted or at > len(segment):
        raise ValueError(f"a run of an RLE segment goes beyond its {wanted} bytes")
    if len(rest) > SHORT_REST and rest.strip(PADDING) and not kept_apart:
        raise ValueError(f"{len(rest)} bytes remain of an RLE segment after its {wanted} bytes")
    return at
