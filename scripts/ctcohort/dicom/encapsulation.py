"""Encapsulated pixel data (PS3.5 A.4): which fragments make up which frame."""

from __future__ import annotations

import itertools
import os
from typing import BinaryIO

from pydicom.uid import UID

_ITEM = b"\xfe\xff\x00\xe0"
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51")
"""How a JPEG or JPEG-LS stream, and a JPEG 2000 codestream, begin."""

BEGINNING = 1 << 12
"""Bytes in which the header of a codestream is looked for."""


def is_compressed(transfer_syntax: str) -> bool:
    """Return whether the standard encapsulates pixel data under a transfer syntax."""
    syntax = UID(transfer_syntax)
    return not syntax.is_private and syntax.is_transfer_syntax and syntax.is_encapsulated


def beginning_of(stream: BinaryIO, start: int) -> bytes:
    """Return the first bytes of the first codestream, where pixel data begins at `start`."""
    stream.seek(start)
    content = b""
    for _ in range(2):  # the Basic Offset Table may come first
        item = stream.read(8)
        if item[:4] != _ITEM:
            break
        length = int.from_bytes(item[4:], "little")
        content = stream.read(min(length, BEGINNING))
        if content.startswith(_STARTS):
            break
        stream.seek(length - len(content), os.SEEK_CUR)
    return content


def frames(value: bytes | memoryview, count: int) -> list[bytes]:
    """Return the codestreams of all frames.

    The value ends with its last whole or cut item: a sequence delimiter is not needed, as every
    frame proves itself complete when it is decoded. Where there are as many fragments as frames,
    the Basic Offset Table is not looked at; writers leave it out, or fill it with zeros.

    Parameters
    ----------
    value : bytes or memoryview
        From the first item on; what follows the last item does not matter.
    count : int
        NumberOfFrames.

    Raises
    ------
    ValueError
        If the fragments cannot be told apart into that many frames.
    """
    offsets, items = _items(value)
    table = b""
    if items and not _is_frame(items, count):
        table, items, offsets = items[0], items[1:], offsets[1:]
    if len(items) == count:
        return items
    if len(items) < count:
        raise ValueError(f"the compressed pixel data holds {len(items)} of {count} frames")
    edges = _edges(table, offsets, count) or _starts(items, count)
    if edges is None:
        raise ValueError(f"{len(items)} fragments cannot be told apart into {count} frames")
    return [b"".join(items[a:b]) for a, b in itertools.pairwise([*edges, len(items)])]


def _is_frame(items: list[bytes], count: int) -> bool:
    """Return whether the first item is a fragment: the Basic Offset Table was left out."""
    return items[0].startswith(_STARTS) or (len(items) == count and len(items[0]) > 4 * count)


def _items(value: bytes | memoryview) -> tuple[list[int], list[bytes]]:
    """Offsets and contents of the items, up to the first thing that is no item."""
    offsets, items, at = [], [], 0
    while at + 8 < len(value) and bytes(value[at : at + 4]) == _ITEM:
        end = at + 8 + int.from_bytes(value[at + 4 : at + 8], "little")
        offsets.append(at)
        items.append(bytes(value[at + 8 : end]))
        at = end
    return offsets, items


def _edges(table: bytes, offsets: list[int], count: int) -> list[int] | None:
    """Index of the first fragment of each frame by the Basic Offset Table, if it can be right."""
    if len(table) != 4 * count or not offsets:
        return None
    index = {offset - offsets[0]: number for number, offset in enumerate(offsets)}
    named = [int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), 4)]
    edges = [index.get(offset, -1) for offset in named]
    return edges if edges[0] == 0 and sorted({*edges}) == edges else None


def _starts(items: list[bytes], count: int) -> list[int] | None:
    """Index of the first fragment of each frame by what begins a codestream; one frame has all."""
    edges = [number for number, item in enumerate(items) if item.startswith(_STARTS)]
    if count == 1:
        return [0]
    return edges if len(edges) == count and edges[0] == 0 else None
